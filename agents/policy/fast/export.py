"""A student's checkpoint converted for CTranslate2: the same weights in a runtime that decodes on a CPU without torch.

    export_student(Path("out/mine/checkpoints/best"), Path("out/fast"))
    FastStudent.load("out/fast").rewrite(["navy couch"])            # agents/policy/fast/student.py

The folder holds the model (`model.bin`, no pickle), the tokenizer, the student's settings and `fast.json`: the hash of
the checkpoint that it was made from, the quantization, the version of CTranslate2. LoRA adapters are merged first. In
"float32" the weights are the checkpoint's and sums are taken in another order; "int8" keeps 8 bits of each weight.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from agents.policy.fast.facts import FAST_FILE, FastFacts, is_exported
from agents.policy.saved_settings import SETTINGS_FILE, saved_settings
from agents.policy.student import Student
from qr_env.common.atomic_io import atomic_folder, current_version
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_files
from qr_env.common.packages import require

Quantization = Literal["float32", "int8"]


def export_student(checkpoint: Path, out: Path, quantization: Quantization = "float32") -> FastFacts:
    """Convert a checkpoint; the folder is written atomically.

    Raises:
        ConfigError: no student, one that is exported already, no CTranslate2, a model that it cannot convert, or `out`
            holds something else, which would be lost.
    """
    require("ctranslate2", what="an exported student")
    import ctranslate2  # noqa: PLC0415 - for exported students only
    from ctranslate2.converters import TransformersConverter  # noqa: PLC0415

    checkpoint = current_version(checkpoint)
    saved_settings(checkpoint)
    check_export(checkpoint, out)
    student = Student.load(checkpoint)
    with tempfile.TemporaryDirectory() as merged, atomic_folder(out) as folder:
        source = merged_checkpoint(student, checkpoint, Path(merged))
        try:
            TransformersConverter(str(source)).convert(str(folder), quantization=quantization, force=True)
        except (ValueError, NotImplementedError, RuntimeError) as error:
            raise ConfigError(f"{checkpoint} cannot be converted for CTranslate2: {error}") from error
        eos = str(student.tokenizer.eos_token)
        name_special_tokens(folder / "config.json", eos)
        student.tokenizer.save_pretrained(folder)
        shutil.copy(checkpoint / SETTINGS_FILE, folder / SETTINGS_FILE)
        facts = FastFacts(
            source=str(checkpoint.resolve()),
            source_hash=sha256_files(checkpoint, sorted(path for path in checkpoint.iterdir() if path.is_file())),
            quantization=quantization,
            eos_token=eos,
            ctranslate2=ctranslate2.__version__,
            model_hash=sha256_files(folder, [folder / "model.bin"]),
        )
        (folder / FAST_FILE).write_text(json.dumps(asdict(facts), indent=1) + "\n", encoding="utf-8")
    return facts


def check_export(checkpoint: Path, out: Path) -> None:
    """Raise ConfigError if the checkpoint is exported already, or writing `out` would delete what is no export."""
    if is_exported(current_version(checkpoint)):
        raise ConfigError(f"{checkpoint} is an exported student already: name the checkpoint that it was made from")
    if out.is_dir() and any(out.iterdir()) and not is_exported(out):
        raise ConfigError(f"out={str(out)!r} holds something that is no exported student; name another folder")


def merged_checkpoint(student: Student, checkpoint: Path, folder: Path) -> Path:
    """The checkpoint itself, or a copy in `folder` with its LoRA adapters merged into the weights."""
    if not (checkpoint / "adapter_config.json").is_file():
        return checkpoint
    adapted: Any = student.model  # a PeftModel
    student.model = adapted.merge_and_unload()
    student.save(folder)
    return folder


def name_special_tokens(config: Path, eos_token: str) -> None:
    """Write the end token where the tokenizer has no token of a kind, which CTranslate2 needs as text."""
    values = json.loads(config.read_text(encoding="utf-8"))
    named = {key: eos_token if key.endswith("_token") and not value else value for key, value in values.items()}
    config.write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8")
