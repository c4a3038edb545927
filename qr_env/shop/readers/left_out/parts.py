"""Rows that are no products but parts of one: the variants and images of Shopify, Wix and WooCommerce exports.

A row is a part if it has no title and repeats the id of a row above or names its parent; in exports that give a product
several rows by design (`Spec.groups`) if it repeats an id; or if it says that it is one (`Spec.kinds`). Parts are left
out and counted; they are no dirty rows.

    parts = Parts(matching)
    table = parts.leave_out(table)
    parts.notes()  # ["products.csv: variants and images of a product, left out: 2 (such as line 3)"]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.columns.matching import ATTRIBUTES, KEPT, KIND, OTHER_ID, PARENT, Matching
from qr_env.shop.readers.columns.property_pairs import SEPARATOR

TITLE = "title"
PART_KINDS = ("sku", "rule", "variant", "variation", "image", "video")
INHERITED = ("description", "brand", "category", "color", "attributes")


@dataclass
class Parts:
    """The parts that one file has."""

    matching: Matching
    """The file's columns."""
    count: int = 0
    """Parts so far."""
    line: int = 0
    """Line of the first one, from 1."""
    inherited: int = 0
    """Rows with a title whose parent is in the file."""

    def leave_out(self, table: pa.Table) -> pa.Table:
        """The rows of the file that are no parts; those with a title and a parent take from it what they lack."""
        if not self.matching.spec.groups:
            return table
        first_N = self._first_rows(table)
        is_part_N = first_N < len(table)
        if self.matching.pairs:
            table = _with_properties(table, first_N)
        if PARENT in table.column_names:
            parented = pc.and_(pc.equal(table[TITLE], ""), pc.not_equal(table[PARENT], ""))
            is_part_N = is_part_N | np.asarray(parented, dtype=bool)
            table = self._inherited(table)
        if KIND in table.column_names:
            is_part_N = is_part_N | np.asarray(pc.is_in(pc.utf8_lower(table[KIND]), pa.array(PART_KINDS)), dtype=bool)
        table = table.drop_columns([name for name in KEPT if name in table.column_names])
        if not is_part_N.any():
            return table
        self.line = self.line or table["line"][int(is_part_N.argmax())].as_py()
        self.count += int(is_part_N.sum())
        return table.filter(pa.array(~is_part_N))

    def _inherited(self, table: pa.Table) -> pa.Table:
        """The table with empty texts of rows that name a parent filled by the parent's."""
        names = pc.replace_substring_regex(table[PARENT], r"^id:\s*", "")
        parent_N = pc.index_in(names, table[self.matching.spec.key].combine_chunks())
        if OTHER_ID in table.column_names:
            parent_N = pc.coalesce(pc.index_in(table[PARENT], table[OTHER_ID].combine_chunks()), parent_N)
        parent_N = pc.if_else(pc.equal(table[PARENT], ""), None, parent_N).combine_chunks()
        if parent_N.null_count == len(table):
            return table
        self.inherited = pc.sum(pc.and_(pc.is_valid(parent_N), pc.not_equal(table[TITLE], ""))).as_py()
        for name in INHERITED:
            if name in table.column_names:
                own = table[name]
                theirs = pc.fill_null(own.combine_chunks().take(parent_N), "")
                table = table.set_column(
                    table.column_names.index(name), name, pc.if_else(pc.equal(own, ""), theirs, own)
                )
        return table

    def _first_rows(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """(N,) the row above with the same id and a title, of a row without a title or, if grouped, of any; else N."""
        titled_N = np.asarray(pc.not_equal(table[TITLE], ""), dtype=bool)
        rows = np.arange(len(table)) if self.matching.grouped else np.flatnonzero(~titled_N)
        first_N = np.full(len(table), len(table))
        if not len(rows):
            return first_N
        ids = table[self.matching.spec.key].combine_chunks()
        if self.matching.grouped:
            codes = ids.dictionary_encode()
            known, place_N = codes.dictionary, np.asarray(codes.indices)
        else:  # only the few ids of rows without a title are looked up; -1 for the others
            known = pc.unique(ids.take(pa.array(rows)))
            place_N = np.asarray(pc.fill_null(pc.index_in(ids, known), -1))
        titled = np.flatnonzero(titled_N & (place_N >= 0))
        first_U = np.full(len(known), len(table))  # row of the first title of each of them
        first_U[place_N[titled][::-1]] = titled[::-1]  # of several the last one written stays: the first row
        rows = rows[first_U[place_N[rows]] < rows]
        first_N[rows] = first_U[place_N[rows]]
        first_N[np.asarray(pc.equal(ids, ""), dtype=bool)] = len(table)
        return first_N

    def notes(self) -> list[str]:
        """What was left out and what was taken from parents, for the report."""
        notes, file = [], self.matching.path.name
        if self.count:
            notes.append(
                f"{file}: variants and images of a product, left out: {self.count:,} (such as line {self.line})"
            )
        if self.inherited:
            notes.append(
                f"{file}: variations with a title of their own: {self.inherited:,}; what they lack is their parent's"
            )
        return notes


def _with_properties(table: pa.Table, first_N: npt.NDArray[np.int64]) -> pa.Table:
    """The table with the values of further rows' properties (sizes, colors) behind those of their first row."""
    texts = table[ATTRIBUTES].to_pylist()
    for row in np.flatnonzero(first_N < len(table)).tolist():
        first = int(first_N[row])
        known = {part.rpartition(": ")[2] for part in texts[first].split(SEPARATOR)}
        parts = [texts[first], *(part for part in texts[row].split(SEPARATOR) if part.rpartition(": ")[2] not in known)]
        texts[first] = SEPARATOR.join(filter(None, parts))
    return table.set_column(table.column_names.index(ATTRIBUTES), ATTRIBUTES, pa.array(texts, pa.string()))
