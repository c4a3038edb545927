"""`python -m runs.headroom` is `qr headroom`."""

import sys

from runs.common.cli import main

main(["headroom", *sys.argv[1:]])
