"""`python -m runs.pairs` is `qr pairs`."""

import sys

from runs.common.cli import main

main(["pairs", *sys.argv[1:]])
