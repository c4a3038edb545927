"""Types shared by the readers of all formats, and opening text files.

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
Problem = tuple[int, str, str]  # an invalid row: line, reason, value
Fields = list[str | None]
Row = tuple[int, Fields | str, str]  # line, fields or the reason why it is unreadable, value
# File header → mapping from a column of the file to our column name; other columns are not read.
Naming = Callable[[list[str]], dict[str, str]]


@dataclass
class Chunk:
    """Consecutive rows of a file, N of them readable."""

    columns: dict[str, pa.Array]
    """Our column name → (N,) strings."""
    lines: npt.NDArray[np.int64]
    """(N,) line on which each row begins, from 1."""
    ordinals: npt.NDArray[np.int64]
    """(N,) number of each data row, from 0, invalid rows included in the count."""
    problems: list[Problem]
    """Rows that could not be read."""
    rows: int
    """Number of rows, readable or not."""


def open_text(path: Path, newline: str) -> IO[str]:
    """Open as UTF-8; undecodable bytes become lone surrogates, so that the row can be reported later."""
    with path.open("rb") as handle:
        start = handle.read(4)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: this is UTF-16; save it as UTF-8")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def excerpt(line: str) -> str:
    """The first 60 characters of a line, escaped, for a message."""
    return ascii(line.rstrip("\r\n")[:60])
