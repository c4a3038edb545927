"""`python -m runs.evaluate` is `qr evaluate`."""

import sys

from runs.common.cli import main

main(["evaluate", *sys.argv[1:]])
