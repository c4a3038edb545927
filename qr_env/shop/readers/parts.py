"""Rows that are no products but parts of one: the variants and images of Shopify, Wix and WooCommerce exports.

A row is a part if it has no title and repeats the id of a row above, or names its parent; in exports that give a
product several rows by design (`Spec.groups`) every row that repeats an id. Parts are left out and counted; they are
no dirty rows.

    parts = Parts(matching)
    table = parts.leave_out(table)
    parts.note()  # "products.csv: 2 rows are variants or images of a product above (such as line 3); they are left out"
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.matching import PARENT, Matching

TITLE = "title"


@dataclass
class Parts:
    """The parts that one file has."""

    matching: Matching
    """The file's columns."""
    count: int = 0
    """Parts so far."""
    line: int = 0
    """Line of the first one, from 1."""

    def leave_out(self, table: pa.Table) -> pa.Table:
        """The rows of the file that are no parts, without their parents' column."""
        if not self.matching.spec.groups:
            return table
        is_part_N = self._repeats(table)
        if PARENT in table.column_names:
            parented = pc.and_(pc.equal(table[TITLE], ""), pc.not_equal(table[PARENT], ""))
            is_part_N = is_part_N | np.asarray(parented, dtype=bool)
            table = table.drop_columns([PARENT])
        if not is_part_N.any():
            return table
        self.line = self.line or table["line"][int(is_part_N.argmax())].as_py()
        self.count += int(is_part_N.sum())
        return table.filter(pa.array(~is_part_N))

    def _repeats(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """(N,) whether a row repeats the id of a row with a title above it and, unless grouped, has no title itself."""
        is_titled = pc.not_equal(table[TITLE], "")
        rows = np.arange(len(table)) if self.matching.grouped else np.flatnonzero(~np.asarray(is_titled, dtype=bool))
        repeats_N = np.zeros(len(table), bool)
        if len(rows):
            ids = table[self.matching.spec.key].combine_chunks()
            titled = pc.if_else(is_titled, ids, pa.scalar(None, pa.string())).combine_chunks()
            candidates = ids.take(pa.array(rows))
            first = np.asarray(pc.fill_null(pc.index_in(candidates, titled, skip_nulls=True), len(table)))
            repeats_N[rows] = first < rows
        return repeats_N

    def note(self) -> str:
        """What was left out, for the report; "" if nothing."""
        if not self.count:
            return ""
        rows = f"{self.count:,} rows are variants or images" if self.count > 1 else "1 row is a variant or an image"
        return f"{self.matching.path.name}: {rows} of a product above and left out (such as line {self.line})"
