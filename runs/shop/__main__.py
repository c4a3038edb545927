"""`python -m runs.shop` is `qr shop`."""

import sys

from runs.common.cli import main

main(["shop", *sys.argv[1:]])
