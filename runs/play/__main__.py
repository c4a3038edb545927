"""`python -m runs.play` is `qr play`."""

import sys

from runs.common.cli import main

main(["play", *sys.argv[1:]])
