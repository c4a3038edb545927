"""Checkpoints: a Hugging Face folder with everything beside it that the next update depends on.

A checkpoint is written aside and renamed, so a killed run leaves the old one or the new one, never half of one and
never neither; a manifest of SHA-256 sums tells damage when it is read.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from agents.policy.student import Student
from qr_env.common.atomic_io import atomic_folder, recover_all, saving
from qr_env.common.errors import RunFolderError
from qr_env.common.hashing import sha256_file

STATE_FILE = "state.pt"
MANIFEST = "manifest.json"
KEEP = 2


def save_checkpoint(folder: Path, update: int, student: Student, state: dict[str, Any]) -> Path:
    """Write `folder/update-NNNNNN` atomically and drop all but the newest `KEEP`.

    Args:
        state: the trainer's, the environment's and the loop's own state; the global RNGs are added here.

    Raises:
        RunFolderError: the disk is full or broken; the checkpoints before are untouched.
    """
    target = folder / f"update-{update:06d}"
    with _replacing(target) as aside:
        student.save(aside)
        torch.save(state | {"update": update, "rng": rng_state()}, aside / STATE_FILE)
        sums = {file.name: sha256_file(file) for file in sorted(aside.iterdir())}
        (aside / MANIFEST).write_text(json.dumps(sums, indent=2) + "\n")
    for old in checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)
    return target


def save_student(folder: Path, student: Student) -> Path:
    """Write a student for serving, without trainer state, replacing what was there; errors as `save_checkpoint`."""
    with _replacing(folder) as aside:
        student.save(aside)
    return folder


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """`qr_env.common.atomic_io.replacing`, with a name for what the disk does."""
    with saving(target), atomic_folder(target) as aside:
        try:
            yield aside
        except (RuntimeError, SafetensorError) as error:  # how torch and safetensors report a disk's error
            raise OSError(str(error)) from error


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first; for who works in the folder: what a kill left beside its place goes back."""
    recover_all(folder)
    found = [path for path in folder.glob("update-*") if (path / MANIFEST).is_file()]
    return sorted((path for path in found if _update(path).isdecimal()), key=lambda path: int(_update(path)))


def _update(checkpoint: Path) -> str:
    """The number in its name: more than six digits sort wrongly as text."""
    return checkpoint.name.removeprefix("update-")


def load_checkpoint(folder: Path) -> tuple[Student, dict[str, Any]]:
    """The newest checkpoint's student, trainable, and its state; call `set_rng_state(state["rng"])` before going on.

    Raises:
        RunFolderError: there is none, or a file is missing or not what was written; names the one before, if any.
    """
    found = checkpoints(folder)
    if not found:
        raise RunFolderError(f"no checkpoint in {folder}; start the run without --resume")
    newest = found[-1]
    if (damaged := _damaged(newest)) is not None:
        way_out = f"to go on from {found[-2].name}" if len(found) > 1 else "and start the stage anew: none is before it"
        raise RunFolderError(f"{damaged} is missing or damaged; delete {newest} {way_out}")
    # To the CPU: each of several processes has a card of its own, and what was saved came from the first.
    state = torch.load(newest / STATE_FILE, weights_only=False, map_location="cpu")
    return Student.load(newest, trainable=True), state


def _damaged(checkpoint: Path) -> Path | None:
    """The first file that is not what the manifest says, the manifest if it cannot be read; None: all is well."""
    try:
        sums = json.loads((checkpoint / MANIFEST).read_bytes())
        files = {checkpoint / name: expected for name, expected in sums.items()}
    except (ValueError, AttributeError):
        return checkpoint / MANIFEST
    return next((file for file, expected in files.items() if not file.is_file() or sha256_file(file) != expected), None)


def rng_state() -> dict[str, Any]:
    """State of every global generator that sampling or training might draw from."""
    # The legacy global numpy generator: ours are all local, but a library may still draw from it.
    numpy_state = np.random.get_state()  # noqa: NPY002
    state = {"torch": torch.get_rng_state(), "numpy": numpy_state, "python": random.getstate()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what `rng_state` gave."""
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
