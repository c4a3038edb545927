"""`python -m runs.dashboard` is `qr dashboard`."""

import sys

from runs.common.cli import main

main(["dashboard", *sys.argv[1:]])
