"""The cells of a column with their lines, to say in a note how many are meant and which is the first.

cells = Cells(table["price"], table["line"])
cells.fact(unknown_N, "{} no number, and unknown")   # "2 values are no number, and unknown ('call us', line 9)"
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from qr_env.shop.readers.load_report import shorten

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """A column of N cells."""

    values: pa.ChunkedArray
    """(N,) text."""
    lines: pa.ChunkedArray
    """(N,) line of each."""
    place: str = "line"
    """What the lines are called: "row" in files without lines."""

    def example(self, mask_N: Mask) -> str:
        """The first of the cells, with its line."""
        row = int(np.argmax(mask_N))
        value = self.values[row].as_py()
        where = f"{self.place} {self.lines[row]}"
        return f"({shorten(value)}, {where})" if value else f"({where})"

    def fact(self, mask_N: Mask, sentence: str) -> str:
        """The sentence with its subject in the place of "{}", and an example; "" where no cell is meant."""
        count = int(np.count_nonzero(mask_N))
        subject = "1 value is" if count == 1 else f"{count:,} values are"
        return f"{sentence.format(subject)} {self.example(mask_N)}" if count else ""
