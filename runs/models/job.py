"""Fetch weights into the cache, or list what is there.

qr models fetch smollm2-135m minilm-l6
qr models fetch Qwen/Qwen2.5-0.5B-Instruct
qr models list
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from runs.common.cli import write_json


@dataclass
class Args:
    """What to do, and with which models."""

    action: tyro.conf.Positional[Literal["fetch", "list"]]
    """fetch: make sure that the models are in the cache. list: what is known and what is cached."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """smollm2-135m, minilm-l6, any Hugging Face id, or a local folder to check."""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where to keep them; default $QR_CACHE, else ~/.cache/qr-env."""
    check: bool = False
    """Hash every file of models that are cached already, instead of comparing sizes and times."""
    json: str | None = None
    """Write the result as JSON to this file, "-" for standard output."""


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
