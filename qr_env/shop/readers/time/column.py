"""A column of times as seconds since 1970, by the one form that the whole column has.

    times = read_times("log.csv", "time", pa.array(["31.01.2026 10:00", "01.02.2026 11:30"]))
    times.seconds_N, times.notes

Read are (without a zone as UTC):

- ISO 8601 and its relatives: 2026-01-31, 2026-01-31T10:00:00.5Z, 2026-01-31 10:00:00 UTC (BigQuery), …+01:00, …+0100,
  …+01, … Europe/Berlin, 2026/01/31, 20260131T100000Z;
- month names: Sat, 31 Jan 2026 10:00:00 +0000 (RFC 2822), [31/Jan/2026:10:00:00 +0000] (Apache),
  Jan 31, 2026 @ 10:00:00.000 (Kibana), Sat Jan 31 10:00:00 2026;
- seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size; 1.7698536E9;
- 20260131, 2026013110, 202601311000 (GA4's date, dateHour, dateHourMinute) and 20260131100000;
- a day and a time of day in two columns;
- 31/01/2026 10:00 and 1/31/2026 10:00 AM, by the order that some value of the column needs; with dots the day is first.

The form is decided for the column, never by cell: a time in another form is an invalid row, since 1/2/2026 in a column
of ISO times, or milliseconds among seconds, are signs of a damaged file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.errors import DataError
from qr_env.shop.readers.load_report import shorten
from qr_env.shop.readers.time.forms import Floats, Integers, Written, match_forms
from qr_env.shop.readers.time.numbers import NUMBER, Numbers

EARLIEST, LATEST = 631_152_000, 4_102_444_800  # 1990-01-01 and 2100-01-01
ALONE = r"^\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp]\.?[Mm]\.?)?$"  # a time of day
_SPACES = "\u00a0\u2009\u202f"
Mask = npt.NDArray[np.bool_]
ACCEPTED = "write it as 2026-01-31T10:00:00Z, or as seconds since 1970"


@dataclass
class Times:
    """A column of N times."""

    seconds_N: Floats
    """Seconds since 1970, UTC; NaN where a cell is at fault."""
    faults: list[tuple[Mask, str]] = field(default_factory=list)
    """(N,) cells that are no time, and why. A cell has the first that applies."""
    notes: list[str] = field(default_factory=list)
    """What was decided for the column."""

    def fault(self, wrong_N: Mask, reason: str) -> None:
        """Mark cells as invalid, if there are any."""
        if wrong_N.any():
            self.faults.append((wrong_N, reason))
            self.seconds_N[wrong_N] = np.nan


def read_times(where: str, name: str, values_N: pa.Array) -> Times:
    """Read a column of times.

    Args:
        where: the file, for messages.
        name: the column's name, for messages.
        values_N: (N,) text, trimmed.

    Raises:
        DataError: the order of day and month cannot be told.
    """
    values_N = _plain(values_N)
    times = Times(np.full(len(values_N), np.nan))
    is_number_N = np.asarray(pc.match_substring_regex(values_N, NUMBER))
    forms = match_forms(pc.if_else(pa.array(is_number_N), "", values_N) if is_number_N.any() else values_N)
    ordered = forms.pop("numbers", None)
    families = {
        "number": is_number_N,
        "day and month as numbers": _mask(len(values_N), [ordered] if ordered else []),
        "time": _mask(len(values_N), list(forms.values())),
    }
    counts = {kind: int(mask_N.sum()) for kind, mask_N in families.items()}
    kind = max(counts, key=counts.__getitem__)
    if not counts[kind]:
        pass
    elif kind == "number":
        _numbers(times, where, name, values_N, np.flatnonzero(is_number_N))
    elif kind == "time":
        for written in forms.values():
            _written(times, name, written, written.month(), written.number("day"))
        _note_zones(times, where, name, list(forms.values()))
    elif ordered is not None:
        _ordered(times, where, name, values_N, ordered)
    example = _example(values_N, families[kind])
    for other, odd_N in families.items():
        if other != kind:
            times.fault(odd_N, f"{name} has another form than the column (most are like {example})")
    _rest(times, name, values_N, np.logical_or.reduce(list(families.values())))
    return times


def with_days(values_N: pa.Array, days_N: pa.Array) -> pa.Array:
    """Times of day with the day of another column before them, (N,) strings, where most values are times of day."""
    alone = pc.match_substring_regex(values_N, ALONE)
    if 2 * (pc.sum(alone).as_py() or 0) <= len(values_N):
        return values_N
    return pc.if_else(alone, pc.binary_join_element_wise(days_N, values_N, " "), values_N)


def _plain(values_N: pa.Array) -> pa.Array:
    """Values without the keys of MongoDB's dates; no-break and thin spaces, as macOS writes before AM, are spaces."""
    if pc.any(pc.starts_with(values_N, "$")).as_py():
        values_N = pc.replace_substring_regex(values_N, r"^(?:\$\w+: )+", "")
    if any(pc.any(pc.match_substring(values_N, space)).as_py() for space in _SPACES):
        return pc.replace_substring_regex(values_N, f"[{_SPACES}]", " ")
    return values_N


def _mask(size: int, parts: list[Written]) -> Mask:
    mask_N = np.zeros(size, np.bool_)
    for written in parts:
        mask_N[written.rows_M] = True
    return mask_N


def _example(values_N: pa.Array, mask_N: Mask) -> str:
    """The first value of a mask, quoted; "" where there is none."""
    return shorten(values_N[int(mask_N.argmax())].as_py()) if mask_N.any() else ""


def _written(times: Times, name: str, written: Written, month_M: Integers, day_M: Integers) -> None:
    times.seconds_N[written.rows_M] = written.seconds(month_M, day_M)
    unknown_M = written.zone_unknown()
    if unknown_M.any():
        unknown_N = np.zeros(len(times.seconds_N), np.bool_)
        unknown_N[written.rows_M[unknown_M]] = True
        times.fault(unknown_N, f"{name} has a zone that is not known (write its offset, as +05:30)")


def _rest(times: Times, name: str, values_N: pa.Array, known_N: Mask) -> None:
    """The cells without any form, then impossible times and years."""
    alone_N = np.asarray(pc.match_substring_regex(values_N, ALONE))
    times.fault(alone_N & ~known_N, f"{name} has no day (join the columns of date and time)")
    times.fault(~known_N & ~alone_N, f"{name} is no time that is known ({ACCEPTED})")
    at_fault_N = np.zeros(len(values_N), np.bool_)
    for wrong_N, _ in times.faults:
        at_fault_N |= wrong_N
    impossible_N = np.isnan(times.seconds_N) & ~at_fault_N
    times.fault(impossible_N, f"{name} names a day, month or hour that does not exist ({ACCEPTED})")
    with np.errstate(invalid="ignore"):
        outside_N = (times.seconds_N < EARLIEST) | (times.seconds_N >= LATEST)
    times.fault(outside_N, f"{name} is outside the years 1990 to 2099")


def _note_zones(times: Times, where: str, name: str, forms: list[Written]) -> None:
    """Note how many of the times have no zone."""
    total = bare = days = 0
    for written in forms:
        good_M = ~np.isnan(times.seconds_N[written.rows_M])
        total += int(good_M.sum())
        bare += int((good_M & ~written.has("zone")).sum())
        days += int((good_M & ~written.has("zone") & ~written.has("hour")).sum())
    if bare:
        what = "hold a day alone, read as its first second, UTC" if days == bare else "have no zone and are read as UTC"
        times.notes.append(f"{where}: {bare:,} of {total:,} values of {name!r} {what}")


def _numbers(times: Times, where: str, name: str, values_N: pa.Array, rows_M: Integers) -> None:
    """Numbers since 1970, or digits of a calendar."""
    numbers = Numbers.of(values_N.take(pa.array(rows_M)))
    seconds_M, what = numbers.seconds()
    times.seconds_N[rows_M] = seconds_M
    if what and what != "seconds since 1970":
        times.notes.append(f"{where}: {name!r} is read as {what}, such as {shorten(numbers.example())}")
    for wrong_M, reason in numbers.faults():
        wrong_N = np.zeros(len(values_N), np.bool_)
        wrong_N[rows_M[wrong_M]] = True
        times.fault(wrong_N, f"{name} {reason}")


def _ordered(times: Times, where: str, name: str, values_N: pa.Array, written: Written) -> None:
    """Days and months as numbers: the order is what some value needs; with dots the day comes first."""
    first_M, other_M = written.number("first"), written.number("other")
    day_first_M, month_first_M = (first_M > 12) & (other_M <= 12), (first_M <= 12) & (other_M > 12)
    for_day, for_month = int(day_first_M.sum()), int(month_first_M.sum())
    dotted = written.parts["mark"][0].as_py() == "."
    if for_day == for_month and not dotted:
        raise DataError(
            f"{where}: day and month of {name!r} cannot be told apart: "
            + (f"{for_day:,} values need each order" if for_day else "no value has a day above 12")
            + f", such as {_example(values_N, _mask(len(values_N), [written]))}; write the year first, as 2026-01-31 "
            "10:00:00 (in a spreadsheet: format the column as yyyy-mm-dd hh:mm:ss, then export it again)"
        )
    day_first = for_day >= for_month
    day_M, month_M = (first_M, other_M) if day_first else (other_M, first_M)
    _written(times, name, written, month_M, day_M)
    order = "day, month, year" if day_first else "month, day, year"
    needed_M = day_first_M if day_first else month_first_M
    why = f"{int(needed_M.sum()):,} of {len(written):,} values need this order" if needed_M.any() else "as dots say"
    at = int(written.rows_M[int(needed_M.argmax())])
    times.notes.append(f"{where}: {name!r} is read as {order} ({why}, such as {shorten(values_N[at].as_py())})")
    _note_zones(times, where, name, [written])
    contrary_N = np.zeros(len(values_N), np.bool_)
    contrary_N[written.rows_M[month_first_M if day_first else day_first_M]] = True
    times.fault(contrary_N, f"{name} is not in the column's order (which is {order})")
