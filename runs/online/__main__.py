"""`python -m runs.online` is `qr online`."""

import sys

from runs.common.cli import main

main(["online", *sys.argv[1:]])
