"""Types shared by the readers of all formats.

row = (7, ["1", "sofa"], "")                                                    # line 7 of a file
row = (8, "ragged row (1 fields, the header has 2)", excerpt("lamp\n"))          # an invalid one
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

CHUNK_ROWS = 65_536
Problem = tuple[int, str, str]  # an invalid row: line, reason, value
Fields = list[str] | list[str | None]
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


def excerpt(line: str) -> str:
    """The first 60 characters of a line, escaped, for a message."""
    return ascii(line.rstrip("\r\n")[:60])
