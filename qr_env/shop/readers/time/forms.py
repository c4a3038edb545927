"""The written forms of a time: which cells have which form, and their value as seconds since 1970.

    forms = match_forms(pa.array(["2026-01-31 10:00:00 UTC", "31/Jan/2026:10:00:00 +0100"]))
    forms["year-month-day"].rows_M, forms["year-month-day"].clock.seconds()

Every form is one regular expression that runs over the whole column. Which form a column has, and the order of day and
month, is decided in `column.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SAMPLE = 1_000  # cells by which the forms are ordered
_CLOCK = (
    r"(?:[T ,@:]+(?:at )?(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d\d))?"
    r"(?:[:.](?P<second>\d\d)(?P<fraction>[.,]\d{1,18})?)?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?"
)
_ZONE = (
    r"(?: ?(?P<zone>[Zz]|(?:UTC|GMT|UT)?[+-]\d{1,2}(?::?\d\d)?|[A-Z]{2,5}|[A-Z][A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+))?"
    r"(?: ?\[(?P<named>[A-Z][A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+)\]| ?[\[(][^\])]*[\])])?\]?$"
)
_WEEKDAY = r"^\[?(?:[A-Za-z]{3,9},? +)?"
_MONTH = r"(?P<month>\p{L}{3,9})\.?"
FORMS = {
    "year-month-day": (
        r"^\[?(?P<year>\d{4})[-/.年년] ?(?P<month>\d{1,2})[-/.月월] ?(?P<day>\d{1,2})[.日일]?" + _CLOCK + _ZONE
    ),
    "yearmonthdayThour": (
        r"^(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)T(?P<hour>\d\d)(?P<minute>\d\d)"
        r"(?:(?P<second>\d\d)(?P<fraction>[.,]\d{1,18})?)?" + _ZONE
    ),
    "day month year": _WEEKDAY + r"(?P<day>\d{1,2})[ /-]" + _MONTH + r"[ /-](?P<year>\d{4}|\d\d)" + _CLOCK + _ZONE,
    "month day year": _WEEKDAY + _MONTH + r" +(?P<day>\d{1,2}),? +(?P<year>\d{4})" + _CLOCK + _ZONE,
    "month day clock year": _WEEKDAY + _MONTH + r" +(?P<day>\d{1,2})" + _CLOCK + r"(?: [A-Z]{2,5})? (?P<year>\d{4})$",
    "numbers": r"^(?P<first>\d{1,2})(?P<mark>[./-])(?P<other>\d{1,2})[./-](?P<year>\d{4}|\d\d)" + _CLOCK + _ZONE,
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Of RFC 2822, and Central European time. Others, such as IST, have several meanings.
_ZONE_HOURS = {
    "z": 0, "utc": 0, "gmt": 0, "ut": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8,
    "pdt": -7, "cet": 1, "cest": 2,
}  # fmt: skip
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d{1,2}):?(\d\d)?")


@dataclass(frozen=True)
class Written:
    """M cells of one form, taken apart."""

    rows_M: Integers
    """Row of each in the column."""
    parts: dict[str, pa.Array]
    """Name of a part → (M,) strings, "" where the cell does not have it."""

    def __len__(self) -> int:
        return len(self.rows_M)

    def number(self, name: str) -> Integers:
        """(M,) the part as whole numbers; 0 where the cell or the form has none."""
        if name not in self.parts:
            return np.zeros(len(self), np.int64)
        text = self.parts[name]
        return pc.if_else(pc.equal(text, ""), "0", text).cast(pa.int64()).to_numpy(zero_copy_only=False)

    def has(self, name: str) -> npt.NDArray[np.bool_]:
        """(M,) whether the cell has the part."""
        if name not in self.parts:
            return np.zeros(len(self), np.bool_)
        return np.asarray(pc.not_equal(self.parts[name], ""))

    def month(self) -> Integers:
        """(M,) month from its number or English name; 0 for another name."""
        if not len(self) or self.parts["month"][0].as_py().isdigit():
            return self.number("month")
        short = pc.utf8_lower(pc.utf8_slice_codeunits(self.parts["month"], 0, 3))
        return pc.add(pc.index_in(short, pa.array(_MONTHS)), 1).fill_null(0).to_numpy(zero_copy_only=False)

    def seconds(self, month_M: Integers, day_M: Integers) -> Floats:
        """(M,) seconds since 1970 in UTC, without a zone taken as UTC; NaN where there is no such time or zone."""
        year_M = self._year()
        month_at_M = (year_M - 1970) * 12 + month_M - 1
        days_M = month_at_M.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day_M - 1
        same_M = days_M.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) == month_at_M
        hour_M, clock_M = self._hour()
        minute_M, second_M = self.number("minute"), self.number("second")
        clock_M &= (minute_M < 60) & (second_M <= 60)  # 60: a leap second
        local_M = days_M * 86_400 + hour_M * 3_600 + minute_M * 60 + second_M
        good_M = same_M & clock_M & (month_M >= 1) & (month_M <= 12) & (day_M >= 1) & (day_M <= 31)
        return np.where(good_M, self._in_utc(local_M) + self._fraction(), np.nan)

    def _year(self) -> Integers:
        """(M,) year; of two digits those from 1970 to 2069."""
        year_M = self.number("year")
        short_M = np.asarray(pc.equal(pc.binary_length(self.parts["year"]), 2))
        return np.where(short_M, np.where(year_M < 70, year_M + 2000, year_M + 1900), year_M)

    def zone_unknown(self) -> npt.NDArray[np.bool_]:
        """(M,) whether the cell names a zone that is not known."""
        if not self.has("zone").any():
            return np.zeros(len(self), np.bool_)
        zones = pc.unique(self.parts["zone"])
        unknown = [zone for zone in zones.to_pylist() if np.isnan(_without_zone(np.zeros(1, np.int64), zone)).any()]
        return np.asarray(pc.is_in(self.parts["zone"], pa.array(unknown, pa.string())))

    def _hour(self) -> tuple[Integers, npt.NDArray[np.bool_]]:
        """(M,) hour of the day, and whether it is one."""
        hour_M, half_M = self.number("hour"), self.has("half")
        after_noon_M = np.asarray(pc.equal(pc.utf8_lower(self.parts["half"]), "p")) if "half" in self.parts else half_M
        of_half_M = hour_M % 12 + 12 * after_noon_M
        good_M = np.where(half_M, (hour_M >= 1) & (hour_M <= 12), hour_M <= 23)
        return np.where(half_M, of_half_M, hour_M), good_M

    def _fraction(self) -> Floats:
        if not self.has("fraction").any():
            return np.zeros(len(self))
        digits = pc.replace_substring_regex(self.parts["fraction"], "^[.,]", "0.")
        return pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.float64()).to_numpy(zero_copy_only=False)

    def _in_utc(self, local_M: Integers) -> Floats:
        """Local times as UTC; NaN where the zone is not known."""
        utc_M = local_M.astype(np.float64)
        if not self.has("zone").any():
            return utc_M
        zones = self.parts["zone"].dictionary_encode()
        at_M = zones.indices.to_numpy(zero_copy_only=False)
        for at, zone in enumerate(zones.dictionary.to_pylist()):
            of_zone_M = at_M == at
            utc_M[of_zone_M] = _without_zone(local_M[of_zone_M], zone)
        return utc_M


def _without_zone(local_M: Integers, zone: str) -> Floats:
    """Local times of one zone as UTC. An hour that comes twice is its first; NaN for a zone that is not known."""
    if not zone:
        return local_M.astype(np.float64)
    if offset := _OFFSET.fullmatch(zone):
        seconds = int(offset[2]) * 3_600 + int(offset[3] or 0) * 60
        return local_M.astype(np.float64) - (seconds if offset[1] == "+" else -seconds)
    if zone.lower() in _ZONE_HOURS:
        return (local_M - 3_600 * _ZONE_HOURS[zone.lower()]).astype(np.float64)
    times = pa.array(local_M).cast(pa.timestamp("s"))
    try:
        known = pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent="latest")
    except pa.ArrowException:
        return np.full(len(local_M), np.nan)
    return known.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)


def match_forms(values_N: pa.Array) -> dict[str, Written]:
    """Form → the cells that have it. The form of most of the first cells is tried first."""
    sample = values_N[:SAMPLE]
    matches = {name: _matches(sample, pattern) for name, pattern in FORMS.items()}
    found: dict[str, Written] = {}
    left_M = np.arange(len(values_N), dtype=np.int64)
    for name in sorted(FORMS, key=matches.__getitem__, reverse=True):
        cells = values_N if len(left_M) == len(values_N) else values_N.take(pa.array(left_M))
        parts = pc.extract_regex(cells, FORMS[name])
        matched_M = np.asarray(pc.is_valid(parts))
        if matched_M.any():
            parts = parts.filter(pa.array(matched_M))
            texts = {field.name: pc.fill_null(parts.field(field.name), "") for field in parts.type}
            if (
                named := texts.pop("named", None)
            ) is not None:  # 10:00[Europe/Berlin]; with an offset before it, that decides
                texts["zone"] = pc.if_else(pc.equal(texts["zone"], ""), named, texts["zone"])
            found[name] = Written(left_M[matched_M], texts)
            left_M = left_M[~matched_M]
    return found


def _matches(values_N: pa.Array, pattern: str) -> int:
    """Number of cells that a form matches."""
    return pc.sum(pc.match_substring_regex(values_N, pattern)).as_py() or 0
