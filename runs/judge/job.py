"""Judges: `qr judge WHAT --flag …`; `qr judge WHAT --help` explains each.

qr judge serve smollm2-135m                    # a vLLM server on loopback
qr judge calibrate --shop icecat --judge llm   # how far its verdicts can be trusted
qr judge probe --judge embedding               # how easily it is fooled
qr judge distill --shop generated              # a fast judge from a slow one
qr judge store --stats                         # what is known already
"""

from __future__ import annotations

import importlib

from qr_env.common.errors import ConfigError
from runs.common.cli import run

PARTS = {
    "serve": "start a vLLM server with a model, wait until it is healthy, stop it cleanly",
    "calibrate": "agreement with human labels, calibration, biases, throughput; a page with plots",
    "probe": "exploit rate: how often a planted product or rewrite gets a better grade than its honest twin",
    "distill": "train the cross-encoder judge from a teacher's verdicts (Walmart's recipe)",
    "store": "the verdict store: --stats, --export, --merge, --prune",
    "shopper": "how well a simulated shopper matches clicks and purchases",
}


def main(argv: list[str]) -> None:
    """Dispatch to `runs/judge_WHAT.py`."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        for name, what in PARTS.items():
            print(f"  {name:10} {what}")
        return
    if argv[0] not in PARTS:
        raise ConfigError(f"qr judge: no {argv[0]!r}; choose one of {', '.join(PARTS)}")
    module = importlib.import_module(f"runs.judge.{argv[0]}")
    run(module.Args, module.main, argv[1:], prog=f"qr judge {argv[0]}", description=module.__doc__)
