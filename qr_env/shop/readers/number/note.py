"""The note on a column of numbers: which format was decided, and which cells could not be read.

    number_note(Column("price", kind="price"), numbers, Cells(table["price"], table["line"]))
    # "price: a comma is the decimal mark ('1.299,00', line 3); 2 values are no numbers and unknown ('call us', line 9)"

It is "" for a column of plain numbers.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.cells import Cells
from qr_env.shop.readers.columns.spec import Column
from qr_env.shop.readers.number.column import POINT, THOUSANDS, UNDECIDED, NumberColumn
from qr_env.shop.readers.number.currencies import CODES, REMARK

_AMOUNT = r"[-+\d.,:/'’‘´–—\s\x{a0}\x{202f}]+"
# What stands for a missing value.
INSTEAD = {"price": "unknown", "frequency": "taken as 1"}


def number_note(column: Column, numbers: NumberColumn, cells: Cells) -> str:
    """One sentence a fact, each with a count and an example."""
    instead = INSTEAD[column.kind]
    facts = [
        _format_fact(numbers, cells),
        cells.fact(numbers.other_N, "{} written with the other decimal mark, and read by it"),
        _currency_fact(numbers, cells),
        cells.fact(numbers.unknown_N, f"{{}} no number ≥ 0, and {instead}"),
    ]
    if column.kind == "frequency":
        zero_N = np.asarray(pc.fill_null(pc.equal(numbers.values, 0), False), bool)
        facts += [
            cells.fact(zero_N, f"{{}} 0, and {instead}"),
            cells.fact(numbers.empty_N, f"{{}} empty, and {instead}"),
        ]
    text = "; ".join(filter(None, facts))
    return f"{column.name}: {text}" if text else ""


def _format_fact(numbers: NumberColumn, cells: Cells) -> str:
    shown_N = numbers.marked_N & ~numbers.other_N
    if numbers.rule == POINT:
        shown_N = shown_N & np.asarray(pc.match_substring_regex(cells.values, r",|\.\d{3}($|\D)"), bool)
    if not shown_N.any():
        return ""
    if numbers.rule == UNDECIDED:
        return (
            "points and commas are used both ways, so that each value is read by its own mark, and one like '1.234' or "
            "'1,234' is unknown"
        )
    why = ", as no value has a decimal mark" if numbers.rule == THOUSANDS else ""
    return f"{numbers.rule}{why} {cells.example(shown_N)}"


def _currency_fact(numbers: NumberColumn, cells: Cells) -> str:
    named = cells.values.filter(pa.array(numbers.currency_N))
    spelled = pc.replace_substring_regex(pc.replace_substring_regex(named, f"(?i){REMARK}", ""), _AMOUNT, "")
    # Of several spellings, € and EUR, the first is shown.
    first = {CODES.get(name.lower(), name.lower()): name for name in reversed(pc.unique(spelled).to_pylist())}
    names = list(first.values())[::-1]
    if len(names) > 1:
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return cells.fact(numbers.currency_N, f"{{}} in {len(names)} currencies ({listed}), and not converted")
    return cells.fact(numbers.currency_N, "{} written with a currency, which is left out")
