"""What `qr models` does; its settings, and the commands, are in `runs/models/args.py`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from runs.common.cli import write_json
from runs.models.args import Args


def main(args: Args) -> None:
    """Fetch or list."""
    from qr_env.common.errors import ConfigError

    if args.action == "fetch" and not args.names:
        raise ConfigError("qr models fetch needs a name: qr models fetch smollm2-135m minilm-l6")
    report = _fetch(args) if args.action == "fetch" else _list(args)
    if args.json != "-":
        for name, model in report.items():
            print(f"{name:16} {model['state']:22} {model['folder']}")
    write_json(args.json, report)


def _fetch(args: Args) -> dict[str, Any]:
    from qr_env.models.hub import resolve

    report = {}
    for name in args.names:
        start = time.perf_counter()
        folder = resolve(name, args.cache, full_check=args.check)
        report[name] = {"state": f"ready in {time.perf_counter() - start:.1f} s", **_describe(folder)}
    return report


def _list(args: Args) -> dict[str, Any]:
    from qr_env.models.hub import MODELS, model_folder

    report: dict[str, Any] = {}
    for name, pinned in MODELS.items():
        folder = model_folder(name, args.cache)
        here = folder.is_dir()
        report[name] = {"state": "cached" if here else "not fetched", "what": pinned.what, **_describe(folder)}
    for folder in sorted(model_folder("any", args.cache).parent.glob("[!.]*")):
        if folder.name not in report:
            report[folder.name.replace("--", "/")] = {"state": "cached", **_describe(folder)}
    return report


def _describe(folder: Path) -> dict[str, Any]:
    from qr_env.models.hub import MANIFEST

    manifest = folder / MANIFEST
    source = json.loads(manifest.read_text(encoding="utf-8"))["source"] if manifest.is_file() else ""
    return {"folder": str(folder), "source": source}
