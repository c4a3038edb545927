"""`python -m runs.shoppers` is `qr shoppers`."""

import sys

from runs.common.cli import main

main(["shoppers", *sys.argv[1:]])
