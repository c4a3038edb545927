"""NumPy files as data: an array of Python objects is a pickle, which could run code, and is refused by name.

vectors_CD = load_array(Path("products.npy"), mmap=True)
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import DataError

ERRORS = (OSError, ValueError, EOFError, BadZipFile)
PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))  # first bytes of a pickle


def load_array(path: Path, mmap: bool = False) -> npt.NDArray:
    """The array of a .npy file. mmap: mapped from disk, read-only. Raises DataError where it is damaged or a pickle."""
    try:
        if mmap:
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except ERRORS as error:
        raise DataError(_unreadable(path, error)) from error


def load_arrays(path: Path) -> dict[str, npt.NDArray]:
    """Name → array of a .npz file. Raises DataError where it is damaged or holds a pickle."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except ERRORS as error:
        raise DataError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    """Why an array file is not read, and what to do."""
    start = _start(path)
    if start in PICKLES or "pickle" in str(error) or "Python objects" in str(error):
        return f"{path} is or holds a pickle, which could run code: it is not read; delete it, and it is made again"
    return f"{path} is damaged ({error}); delete it, and it is made again"


def _start(path: Path) -> bytes:
    """The first two bytes; b"" of a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError:
        return b""
