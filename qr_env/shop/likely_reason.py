"""Why the ids of one file are not those of another: the example and the likely reason for a message.

why_unknown(pa.array(["123.0", "7.0"]), pa.array(["7", "123"]))
# ("123.0", "123", "one of the files has '.0' behind whole numbers, as pandas writes a column with empty cells")
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc


class Change(NamedTuple):
    """A way in which ids differ between files."""

    pattern: str
    """Regular expression whose matches are removed from both sides, in lower case if `fold`."""
    fold: bool
    """Whether case is ignored."""
    reason: str
    """What probably happened."""


CHANGES = (
    Change(
        r"\.0+$", False, "one of the files has '.0' behind whole numbers, as pandas writes a column with empty cells"
    ),
    Change(r"^0+", False, "one of the files has lost leading zeros, as Excel does: read the id column as text there"),
    Change(r"^0+|\.0+$", False, "one of the files has lost leading zeros and has '.0' behind whole numbers"),
    Change(r"^$", True, "the files differ in upper and lower case"),
    Change(r"[\s\x{feff}\x{200b}'\"`]+", False, "one of the files has spaces or quotes in the ids"),
    Change(r"[\s_\-./:#]+", True, "the files differ in the signs between the parts of an id"),
    Change(r"^.*[/:_\-#|. ]", True, "one of the files has a prefix before the ids"),
    Change(r"[/:_\-#|. ].*$", True, "one of the files has something behind the ids"),
    Change(r"^[^\d]+", True, "one of the files has a prefix before the numbers"),
)
ROUNDED = r"^-?\d([.,]\d+)?[eE]\+?\d+$"


def why_unknown(unknown: pa.Array, known: pa.Array) -> tuple[str, str, str]:
    """(an unknown id, a known id, the likely reason or "") for ids that are not among the known ones.

    The examples are the same id in both files where a reason explains at least half of the unknown ids, else the first
    of either side.
    """
    for change in CHANGES:
        ours, theirs = _changed(unknown, change), _changed(known, change)
        at = pc.index_in(ours, theirs)
        found = pc.and_(pc.is_valid(at), pc.not_equal(ours, ""))
        if 2 * (pc.sum(found).as_py() or 0) >= len(unknown):
            place = pc.index(found, True).as_py()
            return unknown[place].as_py(), known[at[place].as_py()].as_py(), change.reason
    rounded = pc.match_substring_regex(unknown, ROUNDED)
    if pc.any(rounded).as_py():
        first = unknown[pc.index(rounded, True).as_py()].as_py()
        return first, known[0].as_py(), "a spreadsheet has rounded long numbers: export the id column as text"
    return unknown[0].as_py(), known[0].as_py(), ""


def _changed(ids: pa.Array, change: Change) -> pa.Array:
    return pc.replace_substring_regex(pc.utf8_lower(ids) if change.fold else ids, change.pattern, "")
