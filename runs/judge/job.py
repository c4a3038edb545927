"""Run one part of `qr judge`; the parts and their settings are in `runs/judge/args.py`."""

from __future__ import annotations

import importlib

from qr_env.common.errors import ConfigError
from runs.common.cli import run
from runs.judge import args as settings


def main(argv: list[str]) -> None:
    """Parse the settings of a part, then import its module and run it."""
    if not argv or argv[0] in ("-h", "--help"):
        print(settings.__doc__)
        for name, (_, _, text) in settings.PARTS.items():
            print(f"  {name:10} {text}")
        return
    if argv[0] not in settings.PARTS:
        raise ConfigError(f"qr judge: no {argv[0]!r}; choose one of {', '.join(settings.PARTS)}")
    args_type, module, _ = settings.PARTS[argv[0]]
    action = importlib.import_module(module).main
    run(args_type, action, argv[1:], prog=f"qr judge {argv[0]}", description=args_type.__doc__)
