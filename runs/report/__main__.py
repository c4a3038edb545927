"""`python -m runs.report` is `qr report`."""

import sys

from runs.common.cli import main

main(["report", *sys.argv[1:]])
