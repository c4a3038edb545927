"""`python -m runs.stream` is `qr stream`."""

import sys

from runs.common.cli import main

main(["stream", *sys.argv[1:]])
