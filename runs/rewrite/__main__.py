"""`python -m runs.rewrite` is `qr rewrite`."""

import sys

from runs.common.cli import main

main(["rewrite", *sys.argv[1:]])
