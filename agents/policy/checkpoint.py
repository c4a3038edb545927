"""Checkpoints: a Hugging Face folder that also holds all state that the next update depends on.

A checkpoint is written to a temporary folder and renamed, so that a killed run leaves either the old one or the new one
complete. Loading compares the files with a manifest of SHA-256 sums.
"""

from __future__ import annotations

import json
import pickle
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
from agents.suggestions.suggester import Suggester
from qr_env.common.atomic_io import atomic_folder, recover_all, saving
from qr_env.common.errors import RunFolderError
from qr_env.common.hashing import sha256_file

STATE_FILE = "state.pt"
MANIFEST = "manifest.json"
ARRAY = "numpy array"  # key of an array's tensor in the state's file
KEPT_CHECKPOINTS = 2


def save_checkpoint(folder: Path, update: int, student: Student, state: dict[str, Any]) -> Path:
    """Write `folder/update-NNNNNN` atomically and delete all but the newest `KEPT_CHECKPOINTS`.

    Args:
        state: state of the optimizer, the environment and the loop; that of the global random generators is added.

    Raises:
        RunFolderError: the disk is full or broken; earlier checkpoints are unchanged.
    """
    target = folder / f"update-{update:06d}"
    with _atomic_model_folder(target) as temporary:
        student.save(temporary)
        torch.save(as_data(state | {"update": update, "rng": rng_state()}), temporary / STATE_FILE)
        sums = {file.name: sha256_file(file) for file in sorted(temporary.iterdir())}
        (temporary / MANIFEST).write_text(json.dumps(sums, indent=2) + "\n")
    for old in checkpoints(folder)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)
    return target


def save_student(folder: Path, student: Student) -> Path:
    """Write a student alone, atomically replacing `folder`; raises as `save_checkpoint` does."""
    with _atomic_model_folder(folder) as temporary:
        student.save(temporary)
    return folder


@contextmanager
def _atomic_model_folder(target: Path) -> Iterator[Path]:
    """`atomic_folder`, where a disk error that torch or safetensors report is a RunFolderError."""
    with saving(target), atomic_folder(target) as temporary:
        try:
            yield temporary
        except (RuntimeError, SafetensorError) as error:  # torch's and safetensors' report of a disk error
            raise OSError(str(error)) from error


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first.

    Only for the process that writes to the folder: interrupted replacements are recovered first.
    """
    recover_all(folder)
    found = [path for path in folder.glob("update-*") if (path / MANIFEST).is_file()]
    return sorted((path for path in found if _update_digits(path).isdecimal()), key=_update_number)


def _update_number(checkpoint: Path) -> int:
    """The update of a checkpoint; beyond six digits names do not sort as numbers."""
    return int(_update_digits(checkpoint))


def _update_digits(checkpoint: Path) -> str:
    return checkpoint.name.removeprefix("update-")


def load_checkpoint(folder: Path, suggester: Suggester | None = None) -> tuple[Student, dict[str, Any]]:
    """The newest checkpoint's student, trainable, and state; call `set_rng_state(state["rng"])` before the next update.

    Args:
        folder: holds the checkpoints.
        suggester: the student's, if it sees suggestions.

    Raises:
        RunFolderError: there is no checkpoint, or one of its files is missing or damaged; names the previous one.
    """
    found = checkpoints(folder)
    if not found:
        raise RunFolderError(f"no checkpoint in {folder}; start the run without `resume`")
    newest = found[-1]
    if (damaged := _damaged_file(newest)) is not None:
        way_out = (
            f"to continue from {found[-2].name}" if len(found) > 1 else "and restart the stage: it is the only one"
        )
        raise RunFolderError(f"{damaged} is missing or damaged; delete {newest} {way_out}")
    # To the CPU: tensors were saved from the main process's GPU, and each process has its own.
    # Tensors and plain values only: a run folder that somebody sends can run no code.
    try:
        state = from_data(torch.load(newest / STATE_FILE, weights_only=True, map_location="cpu"))
    except pickle.UnpicklingError as error:
        raise RunFolderError(
            f"{newest / STATE_FILE} holds objects other than plain values and tensors, which could run code: it is "
            "not read, start the run again"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise RunFolderError(f"{newest / STATE_FILE} is damaged ({error}): start the run again") from error
    return Student.load(newest, trainable=True, suggester=suggester), state


def as_data(value: Any) -> Any:
    """The value with NumPy's arrays as {`ARRAY`: tensor} and its numbers as Python's: `torch.load` reads no others."""
    if isinstance(value, dict):
        return {key: as_data(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(as_data, value))
    if isinstance(value, np.ndarray):
        return {ARRAY: torch.from_numpy(value.copy())}
    return value.item() if isinstance(value, np.generic) else value


def from_data(value: Any) -> Any:
    """The value that `as_data` was given, with Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return value[ARRAY].numpy() if ARRAY in value else {key: from_data(one) for key, one in value.items()}
    return type(value)(map(from_data, value)) if isinstance(value, list | tuple) else value


def _damaged_file(checkpoint: Path) -> Path | None:
    """The first file that differs from the manifest, or the manifest if it is unreadable; None: all are intact."""
    try:
        sums = json.loads((checkpoint / MANIFEST).read_bytes())
        files = {checkpoint / name: expected for name, expected in sums.items()}
    except (ValueError, AttributeError):
        return checkpoint / MANIFEST
    return next((file for file, expected in files.items() if not file.is_file() or sha256_file(file) != expected), None)


def rng_state() -> dict[str, Any]:
    """State of every global random generator that sampling or training might use."""
    # The legacy global numpy generator: this project uses local ones, but a library may draw from it.
    numpy_state = np.random.get_state()  # noqa: NPY002
    state = {"torch": torch.get_rng_state(), "numpy": numpy_state, "python": random.getstate()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what `rng_state` returned."""
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
