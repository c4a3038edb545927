"""`python -m runs.bench` is `qr bench`."""

import sys

from runs.common.cli import main

main(["bench", *sys.argv[1:]])
