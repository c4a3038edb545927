"""`python -m runs.table` is `qr table`."""

import sys

from runs.common.cli import main

main(["table", *sys.argv[1:]])
