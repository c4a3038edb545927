"""What the readers of all formats share: a chunk of rows, the row of a text file, and opening such a file.

with open_text(path, newline="") as handle:
    rows = ((number, [line], "") for number, line in enumerate(handle, start=1))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from qr_env.common.errors import DataError

CHUNK_ROWS = 65_536
Problem = tuple[int, str, str]  # line, reason, value
Fields = list[str | None]
Row = tuple[int, Fields | str, str]
# Given the file's header, says which column has which name here; columns that are not named are not read.
Naming = Callable[[list[str]], dict[str, str]]


@dataclass
class Chunk:
    """Some rows of a file.

    columns: our name → (N,) strings. lines: (N,) int64, where each row begins, from 1. ordinals: (N,) int64, number
    of the data row from 0, dirty rows counted. problems: rows that could not be read. rows: all of them.
    """

    columns: dict[str, pa.Array]
    lines: npt.NDArray[np.int64]
    ordinals: npt.NDArray[np.int64]
    problems: list[Problem]
    rows: int


def open_text(path: Path, newline: str) -> IO[str]:
    """Text in which undecodable bytes survive as lone surrogates, so that the row can be named later."""
    with path.open("rb") as handle:
        start = handle.read(4)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: this is UTF-16; save it as UTF-8")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def excerpt(line: str) -> str:
    """The beginning of a line for a message, escaped."""
    return ascii(line.rstrip("\r\n")[:60])
