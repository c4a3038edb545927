"""`python -m runs.serve` is `qr serve`."""

import sys

from runs.common.cli import main

main(["serve", *sys.argv[1:]])
