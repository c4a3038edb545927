"""`qr models`: fetch or list model weights; settings: `runs/models/args.py`."""

from __future__ import annotations

import json
import time
from pathlib import Path

from qr_env.common.errors import ConfigError
from qr_env.models.hub import MANIFEST, MODELS, model_folder, resolve
from runs.common.output import write_json
from runs.models.args import Args
from runs.models.export import export

Report = dict[str, dict[str, str]]  # model → state, folder, source, and for known models what they are


def main(args: Args) -> None:
    """Fetch or list, and print one line a model."""
    if args.action == "export":
        export(args)
        return
    if args.action == "fetch" and not args.names:
        raise ConfigError("qr models fetch needs a name: qr models fetch smollm2-135m minilm-l6")
    report = fetch_models(args) if args.action == "fetch" else list_models(args.cache)
    if args.json != "-":
        for name, model in report.items():
            print(f"{name:16} {model['state']:22} {model['folder']}")
    write_json(args.json, report)


def fetch_models(args: Args) -> Report:
    """Make sure that the models are in the cache."""
    report = {}
    for name in args.names:
        start = time.perf_counter()
        folder = resolve(name, args.cache, full_check=args.check)
        report[name] = {"state": f"ready in {time.perf_counter() - start:.1f} s", **_origin(folder)}
    return report


def list_models(cache: Path | None) -> Report:
    """The models with pinned weights, and every other model in the cache."""
    report: Report = {}
    for name, pinned in MODELS.items():
        folder = model_folder(name, cache)
        state = "cached" if folder.is_dir() else "not fetched"
        report[name] = {"state": state, "what": pinned.what, **_origin(folder)}
    for folder in sorted(model_folder("any", cache).parent.glob("[!.]*")):
        if folder.name not in report:
            report[folder.name.replace("--", "/")] = {"state": "cached", **_origin(folder)}
    return report


def _origin(folder: Path) -> dict[str, str]:
    manifest = folder / MANIFEST
    source = json.loads(manifest.read_text(encoding="utf-8"))["source"] if manifest.is_file() else ""
    return {"folder": str(folder), "source": source}
