"""Why a row is not in the encoding of its file, and which encoding the file may have instead.

undecoded = Undecoded(file)
undecoded.reason("caf\\udce9")     # "not UTF-8 (Windows-1252, it seems: it reads 'café'; pass encoding='cp1252')"
"""

from __future__ import annotations

import re
from functools import cached_property

from qr_env.common.errors import DataError
from qr_env.shop.readers.formats.opening.table_file import TableFile

SAMPLE = 4 * 1024 * 1024  # bytes of a file that are looked at
_BROKEN = re.compile("[\udc80-\udcff]+")
# A letter and a mark of Windows-1252 whose bytes are a character in UTF-8 too, as in “groß”.
_BY_CHANCE = re.compile("[ÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞß][‚„…‘’“”•–—™®°»«]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]+")


class Undecoded:
    """The rows of a file that its encoding cannot read; the file is looked at when the first one is met."""

    def __init__(self, file: TableFile) -> None:
        self._file = file
        self.rows = 0
        """Rows met so far."""

    @cached_property
    def guess(self) -> str:
        """ "cp1252" where all bytes beyond ASCII are of that encoding, "other" of another, "" for damaged UTF-8."""
        with self._file.binary() as handle:
            text = handle.read(SAMPLE).decode(self._file.encoding, "surrogateescape")
        runs = _BEYOND_ASCII.findall(text)
        broken = [run for run in runs if _BROKEN.search(run)]
        valid = sum(not _BY_CHANCE.fullmatch(_as_windows(run)) for run in runs) - len(broken)
        if valid > max(1, 0.2 * len(broken)) or not self._file.encoding.startswith("utf-8"):
            return ""
        # Western words have single letters beyond ASCII; runs of them are Cyrillic, Greek, Chinese, …
        return "other" if sum(map(len, broken)) > 2.5 * len(broken) or not _windows(text) else "cp1252"

    def reason(self, text: str) -> str:
        """The reason for a row, `text` one of its cells, in which undecodable bytes are lone surrogates."""
        self.rows += 1
        name = "UTF-8" if self._file.encoding.startswith("utf-8") else self._file.encoding
        if self.guess == "cp1252":
            reading = repr(_windows(text).strip()[:40])
            return f"not {name} (Windows-1252, it seems: then it reads {reading}; pass encoding='cp1252')"
        if self.guess == "other":
            return f"not {name} (in another encoding: pass it as `encoding`, such as cp1251, gb18030 or shift_jis)"
        return f"not {name}"

    def note(self) -> str:
        """A note on all rows of the file; "" if there were none, or they are damaged."""
        if not self.rows or not self.guess:
            return ""
        way = "encoding='cp1252' reads them" if self.guess == "cp1252" else "name its `encoding`"
        return f"{self._file.path.name}: rows that are not UTF-8: {self.rows:,}; {way}"


def check_decoded(file: TableFile, header: list[str]) -> None:
    """Raise DataError where the names of the columns are not in the encoding of the file."""
    for name in header:
        if _BROKEN.search(name):
            raise DataError(f"{file.path}: the column {name!a} is {Undecoded(file).reason(name)}")


def _as_windows(run: str) -> str:
    """The bytes of valid UTF-8 as Windows-1252; "" for others."""
    return "" if _BROKEN.search(run) else run.encode().decode("cp1252", "replace")


def _windows(text: str) -> str:
    """The text with its undecodable bytes as Windows-1252; "" if they cannot be that."""
    try:
        return _BROKEN.sub(lambda run: run.group().encode("ascii", "surrogateescape").decode("cp1252"), text)
    except UnicodeDecodeError:
        return ""
