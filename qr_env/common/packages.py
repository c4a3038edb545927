"""Optional packages: where one is missing, the error names the extra of qr-env that installs it.

    require("faiss", "sentence_transformers", what="dense retrieval")
    import faiss

ConfigError: dense retrieval needs the package faiss-cpu, which is not installed: pip install 'qr-env[dense]'
"""

from __future__ import annotations

from importlib.util import find_spec

from qr_env.common.errors import ConfigError

# module → (name at the package index, extra of qr-env that installs it; "": qr-env itself does)
PACKAGES: dict[str, tuple[str, str]] = {
    "httpx": ("httpx", ""),
    "torch": ("torch", "train"),
    "transformers": ("transformers", "train"),
    "huggingface_hub": ("huggingface-hub", "train"),
    "safetensors": ("safetensors", "train"),
    "tokenizers": ("tokenizers", "train"),
    "accelerate": ("accelerate", "train"),
    "datasets": ("datasets", "train"),
    "trl": ("trl", "train"),
    "peft": ("peft", "train"),
    "gguf": ("gguf", "train"),
    "faiss": ("faiss-cpu", "dense"),
    "sentence_transformers": ("sentence-transformers", "dense"),
    "sklearn": ("scikit-learn", "dense"),
    "onnx": ("onnx", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "starlette": ("starlette", "serve"),
    "uvicorn": ("uvicorn", "serve"),
    "httptools": ("httptools", "serve"),
    "uvloop": ("uvloop", "serve"),
    "prometheus_client": ("prometheus-client", "serve"),
    "redis": ("redis", "redis"),
    "ctranslate2": ("ctranslate2", "fast"),
    "wandb": ("wandb", "wandb"),
    "wandb_workspaces": ("wandb-workspaces", "dashboard"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "trackio": ("trackio", "trackio"),
}


def require(*modules: str, what: str) -> None:
    """Raise ConfigError if one of these modules (keys of `PACKAGES`) is not installed; imports none of them.

    what: who needs them, the first words of the message.
    """
    for module in modules:
        if find_spec(module) is None:
            raise ConfigError(f"{what} needs {_way_out(module)}")


def missing_package(error: ImportError) -> ConfigError | None:
    """The error to show instead of a failed import of an optional package; None for every other failed import."""
    module = (error.name or "").partition(".")[0]
    return ConfigError(f"this needs {_way_out(module)}") if module in PACKAGES else None


def _way_out(module: str) -> str:
    package, extra = PACKAGES[module]
    target = f"'qr-env[{extra}]'" if extra else package
    return f"the package {package}, which is not installed: pip install {target}"
