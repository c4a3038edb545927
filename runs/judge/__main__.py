"""`python -m runs.judge` is `qr judge`."""

import sys

from runs.common.cli import main

main(["judge", *sys.argv[1:]])
