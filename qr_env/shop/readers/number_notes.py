"""The note on a column of numbers: which format was decided, and which cells could not be read.

    number_note(Column("price", kind="price"), cells, table["price"], table["line"])
    # "price: a comma is the decimal mark ('1.299,00', line 3); 2 values are no numbers and unknown ('call us', line 9)"

It is "" for a column of plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.columns import Column
from qr_env.shop.readers.load_report import shorten
from qr_env.shop.readers.numbers import POINT, THOUSANDS, UNDECIDED, Mask, NumberColumn

# What stands for a missing value.
INSTEAD = {"price": "unknown", "frequency": "taken as 1"}


def number_note(column: Column, cells: NumberColumn, values: pa.ChunkedArray, lines: pa.ChunkedArray) -> str:
    """One sentence a fact, each with a count and an example."""
    texts = _Texts(values, lines)
    instead = INSTEAD[column.kind]
    facts = [
        _format_fact(cells, texts),
        texts.fact(cells.other_N, "{} written with the other decimal mark, and read by it"),
        _currency_fact(cells, texts),
        texts.fact(cells.unknown_N, f"{{}} no number ≥ 0, and {instead}"),
    ]
    if column.kind == "frequency":
        zero_N = np.asarray(pc.fill_null(pc.equal(cells.values, 0), False), bool)
        facts += [texts.fact(zero_N, f"{{}} 0, and {instead}"), texts.fact(cells.empty_N, f"{{}} empty, and {instead}")]
    text = "; ".join(filter(None, facts))
    return f"{column.name}: {text}" if text else ""


@dataclass(frozen=True)
class _Texts:
    """The cells of a column, for examples."""

    values: pa.ChunkedArray
    """(N,) text."""
    lines: pa.ChunkedArray
    """(N,) line of each."""

    def example(self, mask_N: Mask) -> str:
        """The first of the cells, with its line."""
        row = int(np.argmax(mask_N))
        value = self.values[row].as_py()
        return f"({shorten(value)}, line {self.lines[row]})" if value else f"(line {self.lines[row]})"

    def fact(self, mask_N: Mask, sentence: str) -> str:
        """The sentence, "{}" its subject; "" where no cell is meant."""
        count = int(np.count_nonzero(mask_N))
        subject = "1 value is" if count == 1 else f"{count:,} values are"
        return f"{sentence.format(subject)} {self.example(mask_N)}" if count else ""


def _format_fact(cells: NumberColumn, texts: _Texts) -> str:
    shown_N = cells.marked_N & ~cells.other_N
    if cells.rule == POINT:
        shown_N = shown_N & np.asarray(pc.match_substring(texts.values, ","), bool)
    if not shown_N.any():
        return ""
    if cells.rule == UNDECIDED:
        return (
            "decimal points and decimal commas both occur, so that each value is read by its own mark, and one like "
            "'1.234' or '1,234' is unknown"
        )
    why = ", as no value has a decimal mark" if cells.rule == THOUSANDS else ""
    return f"{cells.rule}{why} {texts.example(shown_N)}"


def _currency_fact(cells: NumberColumn, texts: _Texts) -> str:
    named = texts.values.filter(pa.array(cells.currency_N))
    names = pc.unique(pc.replace_substring_regex(named, r"[-+\d.,'’\s]+", "")).to_pylist()
    if len(names) > 1:
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return texts.fact(cells.currency_N, f"{{}} in {len(names)} currencies ({listed}), and not converted")
    return texts.fact(cells.currency_N, "{} written with a currency, which is left out")
