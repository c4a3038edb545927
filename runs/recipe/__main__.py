"""`python -m runs.recipe` is `qr recipe`."""

import sys

from runs.common.cli import main

main(["recipe", *sys.argv[1:]])
