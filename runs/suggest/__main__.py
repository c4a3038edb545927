"""`python -m runs.suggest` is `qr suggest`."""

import sys

from runs.common.cli import main

main(["suggest", *sys.argv[1:]])
