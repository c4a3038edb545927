"""Times that are numbers: which unit or calendar a whole column has.

numbers = Numbers.of(pa.array(["1769853600123", "1769853600999"]))
numbers.seconds()    # (array of seconds since 1970, "milliseconds since 1970")
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.time.forms import Floats, Written

NUMBER = r"^\d{1,25}([.,]\d{0,25})?([eE]\+?\d{1,2})?$"
# As spreadsheets and R write large numbers. BigQuery's 1.7698536E9, without a plus, lacks zeros alone.
ROUNDED = r"^\d([.,]\d{0,6})?[eE]\+\d+$"
# Of 1990 to 2099: the ranges of the units do not overlap.
EARLIEST, LATEST = 631_152_000, 4_102_444_800
UNITS = {
    "seconds since 1970": 1.0,
    "milliseconds since 1970": 1e3,
    "microseconds since 1970": 1e6,
    "nanoseconds since 1970": 1e9,
}
# Days, hours, minutes and seconds of the calendar. 2026013110 would be a second of the year 2034.
_DAY = r"^(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])"
_HOUR, _MINUTE = r"(?P<hour>[01]\d|2[0-3])", r"(?P<minute>[0-5]\d)"
CALENDARS = {
    "year, month, day": _DAY + "$",
    "year, month, day, hour": _DAY + _HOUR + "$",
    "year, month, day, hour, minute": _DAY + _HOUR + _MINUTE + "$",
    "year, month, day, hour, minute, second": _DAY + _HOUR + _MINUTE + r"(?P<second>[0-5]\d)$",
}
HOURS = "year, month, day, hour"
SPREADSHEET = "a spreadsheet's day number"
FIRST_DAY, LAST_DAY = 20_000, 80_000  # of a spreadsheet: 1954 to 2119
_SHORT = "a rounded number"
_KINDS = (*UNITS, *CALENDARS, SPREADSHEET, _SHORT, "")  # "": none of them


@dataclass(frozen=True)
class Numbers:
    """M cells that are numbers."""

    values_M: pa.Array
    """(M,) as text"""
    number_M: Floats
    """(M,) as numbers"""

    @classmethod
    def of(cls, values_M: pa.Array) -> Numbers:
        """The cells, which match `NUMBER`."""
        number_M = pc.replace_substring(values_M, ",", ".").cast(pa.float64())
        return cls(values_M, number_M.to_numpy(zero_copy_only=False))

    @cached_property
    def kind_M(self) -> npt.NDArray[np.int64]:
        """(M,) position of each cell's kind in `_KINDS`."""
        kind_M = np.full(len(self.values_M), len(_KINDS) - 1)
        for name, factor in UNITS.items():
            inside_M = (self.number_M >= EARLIEST * factor) & (self.number_M < LATEST * factor)
            kind_M[inside_M] = _KINDS.index(name)
        for name, pattern in CALENDARS.items():
            dates_M = np.asarray(pc.match_substring_regex(self.values_M, pattern))
            long_M = np.asarray(pc.equal(pc.utf8_length(self.values_M), 10))
            # Ten digits are hours only where all of the column's are; else they are seconds since 1970.
            if name != HOURS or (dates_M.any() and dates_M[long_M].all()):
                kind_M[dates_M] = _KINDS.index(name)
        spreadsheet_M = (self.number_M >= FIRST_DAY) & (self.number_M < LAST_DAY)
        kind_M[spreadsheet_M] = _KINDS.index(SPREADSHEET)
        kind_M[np.asarray(pc.match_substring_regex(self.values_M, ROUNDED))] = _KINDS.index(_SHORT)
        return kind_M

    @cached_property
    def kind(self) -> str:
        """The kind of most cells."""
        return _KINDS[int(np.bincount(self.kind_M, minlength=len(_KINDS)).argmax())]

    def example(self) -> str:
        """The first cell of the column's kind."""
        return self.values_M[int((self.kind_M == _KINDS.index(self.kind)).argmax())].as_py()

    def seconds(self) -> tuple[Floats, str]:
        """(M,) seconds since 1970, NaN for cells of another kind, and the column's kind; "" if no cell is a time."""
        seconds_M = np.full(len(self.values_M), np.nan)
        of_kind_M = self.kind_M == _KINDS.index(self.kind)
        if self.kind in UNITS:
            seconds_M[of_kind_M] = self.number_M[of_kind_M] / UNITS[self.kind]
        elif self.kind in CALENDARS:
            rows_K = np.flatnonzero(of_kind_M)
            parts = pc.extract_regex(self.values_M.take(pa.array(rows_K)), CALENDARS[self.kind])
            written = Written(rows_K, {field.name: parts.field(field.name) for field in parts.type})
            seconds_M[rows_K] = written.seconds(written.number("month"), written.number("day"))
        else:
            return seconds_M, ""
        return seconds_M, self.kind

    def faults(self) -> list[tuple[npt.NDArray[np.bool_], str]]:
        """(M,) cells that are not of the column's kind, and why."""
        save = "format the column as yyyy-mm-dd hh:mm:ss in the spreadsheet and export it again"
        reasons = {
            SPREADSHEET: f"is {SPREADSHEET} (days since 1900: {save})",
            _SHORT: f"is a number without its last digits ({save})",
            "": "is a number that is no time (accepted: seconds or milliseconds since 1970, or 20260131)",
        }
        found = []
        for at, name in enumerate(_KINDS):
            wrong_M = self.kind_M == at
            if name in reasons:
                found.append((wrong_M, reasons[name]))
            elif name != self.kind:
                found.append((wrong_M, f"is in {name} (the column is in {self.kind or 'no known unit'})"))
        return found
