"""`python -m runs.ope` is `qr ope`."""

import sys

from runs.common.cli import main

main(["ope", *sys.argv[1:]])
