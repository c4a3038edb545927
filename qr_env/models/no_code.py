"""Model folders that could run code are refused by name: weights in pickles, and Python of the model's own.

    refuse_code(Path("their/model"))      # ConfigError: their/model/pytorch_model.bin is a pickle, …

A pickle may execute anything when it is read, and so may a class that a model's `config.json` or `modules.json` names
by a file of its own. Weights are therefore read from safetensors alone. QR_ALLOW_PICKLES=1 allows those of a folder
without safetensors, which PyTorch then reads as data (`weights_only`). A model's own Python (`trust_remote_code`) is
never run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from qr_env.common.errors import ConfigError

LOAD_ERRORS = (OSError, ValueError, KeyError, ImportError, UnpicklingError)  # of `from_pretrained`
ALLOW = "QR_ALLOW_PICKLES"
# Names under which transformers, PEFT and sentence-transformers look for weights.
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json", "adapter_model.bin")

# How a file under the name of safetensors begins that is something else.
NO_SAFETENSORS = {
    b"\x80": "a pickle",
    b"PK": "a ZIP file of PyTorch, which holds a pickle",
    b"version ": "a Git LFS pointer",
}


def pickles_allowed() -> bool:
    """Whether the user allows weights in pickles, by QR_ALLOW_PICKLES."""
    return os.environ.get(ALLOW, "").strip().lower() in ("1", "true", "yes", "on")


def safe_loading() -> dict[str, Any]:
    """Arguments of transformers' `from_pretrained` for weights."""
    return {"trust_remote_code": False} if pickles_allowed() else {"trust_remote_code": False, "use_safetensors": True}


def refuse_code(folder: Path | str) -> Path:
    """The folder of a model, if reading it can run no code. Raises ConfigError, which names the file that could.

    Folders of a sentence-transformers model's modules and the base model of an adapter count as well.
    """
    folder = Path(folder)
    for part in (folder, *_modules(folder)):
        _refuse_pickles(part)
    base = _json(folder / "adapter_config.json").get("base_model_name_or_path")
    if isinstance(base, str) and Path(base).is_dir() and Path(base).resolve() != folder.resolve():
        refuse_code(base)
    return folder


def _refuse_pickles(folder: Path) -> None:
    """Raise ConfigError if the only weights of a folder are pickles."""
    for weights in sorted(folder.glob("*.safetensors")):
        _refuse_disguise(weights)
    pickles = sorted(path for pattern in PICKLED_WEIGHTS for path in folder.glob(pattern))
    if pickles and not any(folder.glob("*.safetensors")) and not pickles_allowed():
        raise ConfigError(
            f"{pickles[0]} is a pickle, which can run code when it is read, and {folder} has no safetensors: take a "
            "copy of the model in safetensors (`model.save_pretrained` writes one), or, if you trust its maker, set "
            f"{ALLOW}=1"
        )


def _refuse_disguise(weights: Path) -> None:
    """Raise ConfigError if a file is no safetensors by its first bytes: eight for a length, then a JSON object."""
    with weights.open("rb") as file:
        start = file.read(9)
    what = next((kind for mark, kind in NO_SAFETENSORS.items() if start.startswith(mark)), "")
    if what and start[8:] != b"{":
        raise ConfigError(f"{weights} is no safetensors file but {what}: it is not read; fetch the model again")


def _modules(folder: Path) -> list[Path]:
    """Folders of a sentence-transformers model's modules. Raises ConfigError for a module of its own Python code."""
    file = folder / "modules.json"
    modules = _json(file).get("modules", [])
    for module in modules:
        kind = str(module.get("type", ""))
        if not kind.startswith("sentence_transformers."):
            raise ConfigError(
                f"{file} asks to run Python code of its own (module {kind!r}): that is never done; take a model of "
                "sentence_transformers' own modules"
            )
    return [folder / str(module.get("path")) for module in modules if module.get("path")]


def _json(file: Path) -> dict[str, Any]:
    """The object in a JSON file, a list as {"modules": …}; {} where there is none, which other readers report."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if isinstance(content, list):
        return {"modules": [entry for entry in content if isinstance(entry, dict)]}
    return content if isinstance(content, dict) else {}
