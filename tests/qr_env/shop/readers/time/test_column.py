"""Columns of times: every form, units by size, the order of day and month, faults by reason, zones."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from qr_env.common.errors import DataError
from qr_env.shop.readers.time.column import Times, read_times

TEN = datetime(2026, 1, 31, 10, tzinfo=UTC)
SECONDS = 1_769_853_600  # of TEN


def times_of(*values: str) -> Times:
    return read_times("log.csv", "time", pa.array(values, pa.string()))


def faults_of(*values: str) -> list[str]:
    """The reason of each value's fault, "" where it is read."""
    times, reasons = times_of(*values), [""] * len(values)
    for wrong_N, reason in reversed(times.faults):
        reasons = [reason if wrong else old for wrong, old in zip(wrong_N.tolist(), reasons, strict=True)]
    assert [bool(reason) for reason in reasons] == np.isnan(times.seconds_N).tolist()
    return reasons


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T10:00:00Z", "2026-01-31 10:00:00 UTC", "2026-01-31 10:00:00.000000 UTC", "2026-01-31T10:00",
        "2026-01-31 10:00:00", "2026-01-31T11:00:00+01:00", "2026-01-31T11:00:00+0100", "2026-01-31 11:00:00+01",
        "2026-01-31 05:00:00 -0500", "2026-01-31T10:00:00.000+0000", "2026-01-31T11:00:00+01:00[Europe/Berlin]",
        "2026-01-31T11:00:00[Europe/Berlin]", "2026年1月31日 10:00", "2026년 1월 31일 10:00", "2026. 1. 31. 10:00",
        "2026-01-31 05:00:00 America/New_York", "2026/01/31 10:00", "20260131T100000Z", "2026-01-31 10:00:00,000",
        "Sat, 31 Jan 2026 10:00:00 +0000", "Sat, 31 Jan 2026 10:00:00 GMT", "[31/Jan/2026:11:00:00 +0100]",
        "Jan 31, 2026 @ 10:00:00.000", "January 31, 2026, 10:00:00 AM", "Jan 31, 2026, 10:00:00\u202fAM",
        "Sat Jan 31 10:00:00 2026", "Sat Jan 31 2026 10:00:00 GMT+0000 (Coordinated Universal Time)",
        "31-JAN-26 10.00.00.000000 AM", "31.01.2026 10:00", "31.1.2026, 10:00:00", "1/31/2026 10:00 AM",
        "01/31/26 10:00", "31/01/2026 10:00:00", "31-01-2026 10:00", "1769853600", "1769853600.0", "1769853600,0",
        "1769853600000",
        "1769853600000000", "1769853600000000000", "1.7698536E9", "1.7698536E12", "2026013110", "202601311000",
        "20260131100000", "$date: 2026-01-31T10:00:00Z", "$date: $numberLong: 1769853600000",
    ],
)  # fmt: skip
def test_one_moment_in_every_form(text: str) -> None:
    assert times_of(text).seconds_N.tolist() == [SECONDS]


def test_a_day_alone_is_its_first_second_and_noted() -> None:
    for text in ("2026-01-31", "20260131", "31.01.2026", "1/31/2026", "31 January 2026"):
        assert times_of(text).seconds_N.tolist() == [SECONDS - 10 * 3600]
    assert times_of("2026-01-31").notes == [
        "log.csv: 1 of 1 values of 'time' hold a day alone, read as its first second, UTC"
    ]
    assert times_of("2026-01-31 10:00Z", "2026-01-31 10:00Z", "2026-02-30").notes == []
    mixed = times_of("2026-01-31 10:00", "2026-01-31 10:00Z").notes
    assert mixed == ["log.csv: 1 of 2 values of 'time' have no zone and are read as UTC"]


def test_fractions_and_noon() -> None:
    texts = ("2026-01-31 10:00:00.25", "2026-01-31T10:00:00,500Z", "2026-01-31T10:00:00.123456789Z")
    assert times_of(*texts).seconds_N.tolist() == pytest.approx([SECONDS + 0.25, SECONDS + 0.5, SECONDS + 0.123456789])
    hours = times_of("1/31/2026 12:00 AM", "1/31/2026 12:00 PM", "1/31/2026 1 PM").seconds_N
    assert ((hours - (SECONDS - 36_000)) / 3600).tolist() == [0, 12, 13]


def test_the_unit_of_a_column_is_that_of_most_and_the_others_are_faults() -> None:
    times = times_of("1769853600000", "1769853600", "1769853601000", "1769853602000000")
    assert times.seconds_N.tolist()[::2] == [SECONDS, SECONDS + 1]
    assert times.notes == ["log.csv: 'time' is read as milliseconds since 1970, such as '1769853600000'"]
    reasons = faults_of("1769853600000", "1769853600", "1769853601000", "1769853602000000")
    assert reasons[1] == "time is in seconds since 1970 (the column is in milliseconds since 1970)"
    assert reasons[3] == "time is in microseconds since 1970 (the column is in milliseconds since 1970)"


def test_ten_digits_are_hours_only_if_all_of_them_are() -> None:
    assert times_of("2026013110", "2026013111").seconds_N.tolist() == [SECONDS, SECONDS + 3600]
    assert times_of("1769853600", "2026013110").seconds_N.tolist() == [SECONDS, 2_026_013_110]


def test_another_form_than_the_columns_is_a_fault() -> None:
    reasons = faults_of("2026-01-31T10:00:00Z", "1769853600", "31/01/2026", "2026-01-31 10:00:00 UTC")
    assert reasons[0] == reasons[3] == ""
    assert reasons[1] == reasons[2] and "most are like '2026-01-31T10:00:00Z'" in reasons[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("46053,41", "spreadsheet's day number"),
        ("1.77E+09", "without its last digits"),
        ("1.76985e+12", "without its last digits"),
        ("0", "number that is no time"),
        ("12345678901234567890", "number that is no time"),
        ("2026-01-31T11:00:00[Europe/Nowhere]", "has a zone that is not known"),
        ("10:00:00", "has no day"),
        ("yesterday", "is no time that is known"),
        ("31 Mär 2026", "does not exist"),
        ("2026-02-30", "does not exist"),
        ("2026-13-01 10:00", "does not exist"),
        ("2026-01-31 25:00", "does not exist"),
        ("1/31/2026 13:00 PM", "does not exist"),
        ("20260231", "is no time|does not exist"),
        ("2026-01-31 10:00 IST", "zone that is not known"),
        ("2026-01-31 10:00 Mars/Olympus", "zone that is not known"),
        ("0001-01-01", "outside the years 1990 to 2099"),
        ("1970-01-01T00:00:00Z", "outside the years 1990 to 2099"),
        ("9999-12-31", "outside the years 1990 to 2099"),
    ],
)
def test_what_is_no_time_has_its_reason(text: str, reason: str) -> None:
    (found,) = faults_of(text)
    assert any(part in found for part in reason.split("|"))


def test_the_order_of_day_and_month_is_the_one_that_some_value_needs() -> None:
    american = times_of("1/2/2026 10:00 AM", "1/31/2026 10:00 AM")
    assert [datetime.fromtimestamp(s, UTC).day for s in american.seconds_N] == [2, 31]
    assert "read as month, day, year (1 of 2 values need this order, such as '1/31/2026 10:00 AM')" in american.notes[0]
    british = times_of("01/02/2026", "31/01/2026")
    assert [datetime.fromtimestamp(s, UTC).month for s in british.seconds_N] == [2, 1]
    assert datetime.fromtimestamp(times_of("01.02.2026").seconds_N[0], UTC).month == 2, "dots: the day is first"
    reasons = faults_of("1/31/2026", "1/30/2026", "31/1/2026")
    assert reasons[:2] == ["", ""] and "not in the column's order (which is month, day, year)" in reasons[2]


@pytest.mark.parametrize("values", [("1/2/2026", "3/4/2026"), ("31/01/2026", "01/31/2026"), ("01-02-2026 10:00",)])
def test_an_order_that_cannot_be_told_stops(values: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"log\.csv: day and month of .* told apart.*write the year first"):
        times_of(*values)


def test_an_hour_that_comes_twice_is_its_first() -> None:
    autumn = times_of("2025-10-26 02:30:00 Europe/Berlin", "2025-10-26 03:30:00 Europe/Berlin").seconds_N
    assert np.diff(autumn).tolist() == [7200.0]


def test_an_empty_column_and_one_of_nothing_but_faults() -> None:
    assert times_of().seconds_N.tolist() == []
    assert len(faults_of("", "never")) == 2


def test_a_quarter_million_times_take_seconds() -> None:
    texts = [f"{TEN + timedelta(seconds=n):%Y-%m-%d %H:%M:%S} UTC" for n in range(500)] * 500
    column = pa.array(texts)
    started = time.process_time()
    times = read_times("log.csv", "time", column)
    assert time.process_time() - started < 15
    assert times.seconds_N[[0, 499, 500]].tolist() == [SECONDS, SECONDS + 499, SECONDS] and not times.faults
