"""`python -m runs.models` is `qr models`."""

import sys

from runs.common.cli import main

main(["models", *sys.argv[1:]])
