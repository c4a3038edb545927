"""Clean the text of a file's columns: HTML, words for nothing ("nan"), characters that cannot be seen.

    cleaner = TextCleaner(PRODUCTS, "line")
    columns = cleaner.clean(chunk.columns, chunk.lines)      # "Caf&eacute;" → "Café", brand "nan" → ""
    for note in cleaner.notes("products.csv"):
        print(note)

Only cells that hold one of a few characters are looked at one by one.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.columns.spec import Column, Spec
from qr_env.shop.readers.tally import Tallies
from qr_env.shop.readers.text.html_text import decode_entities, plain_text

# What programs write where they know nothing; compared with the whole cell.
NOTHING = (
    *("nan", "NaN", "NAN", "-nan", "None", "none", "NONE", "null", "NULL", "Null", "(null)", "(none)", "NaT", "<NA>"),
    *("N/A", "n/a", "N/a", "NA", "N.A.", "n.a.", "#N/A", "#NA", "#N/A N/A", "#VALUE!", "#REF!", "#NAME?", "#DIV/0!"),
    *(
        "undefined",
        "(not set)",
        "(not provided)",
        "(other)",
        "(empty)",
        "(blank)",
        "<empty search>",
        "\\N",
        "-",
        "--",
        "–",
        "—",
        "[]",
        "{}",
    ),
)
UNKNOWN = "cells that say nothing are read as unknown"
KEPT = "cells that say nothing are kept"
MARKUP = "HTML tags are left out and entities decoded"
UNSEEN = "characters that cannot be seen are left out or made spaces"
LINE_ENDS = "line ends written as \\n are made spaces"
MISREAD = "text was decoded wrongly before it came here (write it again as UTF-8)"
ROUNDED = "numbers that a spreadsheet has rounded (format the column as text and export again)"
LOST = "characters were lost before they came here (\ufffd stands for each)"

_WINDOWS = {code: char for code in range(0x80, 0xA0) if (char := bytes([code]).decode("cp1252", "ignore"))}
_SPACES = (0x0B, 0x0C, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFFFC)
_GONE = (
    *(*range(1, 9), *range(0x0E, 0x20), *range(0x7F, 0xA0), 0xAD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F),
    *(*range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF),
)
_UNSEEN = {**dict.fromkeys(_GONE), **_WINDOWS, **dict.fromkeys(_SPACES, " ")}
_FORMULA = r'^="([^"]*)"$'  # Excel's way to keep an id as text
_ROUNDED = r"^\d([.,]\d+)?E\+\d\d$"
_JOINER = "[\u200c\u200d]+"  # joins or parts letters of Persian and Indian scripts, and emoji; elsewhere it is noise
_STRAY_JOINER = re.compile(f"(?<![\u0590-\U0010ffff]){_JOINER}|{_JOINER}(?![\u0590-\U0010ffff])")
_NO_SPACES = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"  # Thai, Lao, Burmese, Khmer: U+200B parts their words
_WORD_BREAK = re.compile(f"(?<={_NO_SPACES})\u200b(?={_NO_SPACES})")
_TYPED_LINE_END = re.compile(r"(?:\\r)?\\n")
_SECOND = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # second byte of a character in UTF-8 as Windows-1252 reads it
_MISREAD = re.compile(f"[ÃÂ]{_SECOND}|â(?:€.|‚¬|„¢)|(?:[ÐÑ]{_SECOND}){{2}}")

_ODD = (
    "\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufffc"
    "\ufffdÃÂâÐÑ"
)
_HAS_ODD = re.compile(f"[{_ODD}]")
_EXTRA = {"": "", "entities": "&", "markup": r"&<\\"}
_ODD_BYTES = {*range(1, 9), 11, 12, *range(14, 32), 127, 0xC2, 0xC3, 0xD8, 0xE1, 0xE2, 0xE3, 0xEF}


class TextCleaner:
    """Cleans the columns of one file, chunk by chunk, and counts what it changed."""

    def __init__(self, spec: Spec, place: str = "line") -> None:
        self._columns = {column.name: column for column in spec.columns}
        self._tallies = Tallies(place)

    def clean(self, columns: dict[str, pa.Array], lines: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """The columns of a chunk, (N,) strings each, cleaned, trimmed and "" for null; `lines` (N,) for the notes."""
        return {name: self._clean(name, values, lines) for name, values in columns.items()}

    def notes(self, file: str) -> list[str]:
        """What was done to the text of a file, in one note a kind."""
        return self._tallies.notes(file)

    def _clean(self, name: str, values: pa.Array, lines: npt.NDArray[np.int64]) -> pa.Array:
        base = name.removesuffix("~")
        column = self._columns.get(base, _OTHER)
        values = pc.fill_null(values, "")
        rows = _rows_to_look_at(values, column.clean)
        if len(rows):
            old = values.take(pa.array(rows)).to_pylist()
            new = [self._clean_cell(text, column, line) for text, line in zip(old, lines[rows].tolist(), strict=True)]
            mask = np.zeros(len(values), bool)
            mask[rows] = True
            values = pc.replace_with_mask(values, pa.array(mask), pa.array(new, pa.string()))
        values = pc.utf8_trim_whitespace(values)
        if pc.any(pc.starts_with(values, '="')).as_py():
            values = pc.replace_substring_regex(values, _FORMULA, r"\1")
        if name.endswith("_id"):
            self._note_rounded(values, column, lines)
        optional = base != name or not (column.filled or column.clean == "entities")
        return self._without_nothing(values, column, lines, optional)

    def _note_rounded(self, values: pa.Array, column: Column, lines: npt.NDArray[np.int64]) -> None:
        if pc.any(pc.match_substring(values, "E+")).as_py():
            rows = np.flatnonzero(pc.match_substring_regex(values, _ROUNDED))
            for row in rows:
                self._tallies.add(ROUNDED, column.name, int(lines[row]), values[int(row)].as_py())

    def _clean_cell(self, text: str, column: Column, line: int) -> str:
        if not text.isascii():
            if _MISREAD.search(text):
                self._tallies.add(MISREAD, column.name, line, text)
            if "\ufffd" in text:
                self._tallies.add(LOST, column.name, line, text)
        before = text
        if column.clean == "markup":
            text = plain_text(text)
        elif column.clean == "entities":
            text = decode_entities(text)
        if text != before:
            self._tallies.add(MARKUP, column.name, line, before)
        if column.clean == "markup" and "\\n" in text:
            text = _TYPED_LINE_END.sub(" ", text)
            self._tallies.add(LINE_ENDS, column.name, line, before)
        seen = _without_unseen(text)
        if seen != text:
            self._tallies.add(UNSEEN, column.name, line, before)
        return seen

    def _without_nothing(
        self, values: pa.Array, column: Column, lines: npt.NDArray[np.int64], optional: bool
    ) -> pa.Array:
        nothing = pc.is_in(values, pa.array(NOTHING))
        rows = np.flatnonzero(nothing)
        if not len(rows) or (not optional and column.kind != "text"):
            return values
        kind = UNKNOWN if optional else KEPT
        self._tallies.add(kind, column.name, int(lines[rows[0]]), values[int(rows[0])].as_py(), len(rows))
        return pc.if_else(nothing, "", values) if optional else values


_OTHER = Column("")  # a column that only tells which rows are parts of a product


def _rows_to_look_at(values: pa.Array, level: str) -> npt.NDArray[np.int64]:
    """Rows with a character that may have to go; `level` as in `Column.clean`."""
    content = values.buffers()[2]
    odd = _ODD_BYTES | set(_EXTRA[level].encode())
    if content is None or not content.to_pybytes().translate(None, bytes(set(range(256)) - odd)):
        return np.empty(0, np.int64)
    return np.flatnonzero(pc.match_substring_regex(values, f"[{_EXTRA[level]}{_ODD}]"))


def _without_unseen(text: str) -> str:
    if not _HAS_ODD.search(text):
        return text
    return _STRAY_JOINER.sub("", _WORD_BREAK.sub(" ", text)).translate(_UNSEEN)
