"""Charts as SVG: round ticks, flat and missing values, names of events."""

from __future__ import annotations

import re

import pytest

from runs.report.charts import Chart, Line, Span, chart, moving_mean, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.31, 0.52, [0.35, 0.4, 0.45, 0.5]),
        (-1.0, 200.0, [0, 50, 100, 150, 200]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_charts_survive_flat_single_and_missing_values() -> None:
    assert chart(Chart("none", "x", [Line("a", [(0, float("nan"))])])) == ""
    flat = chart(Chart("flat", "x", [Line("a", [(0, 0.0), (1, 0.0)])]))
    single = chart(Chart("one", "x", [Line("a", [(3, 2.0)])], levels=[("m", 1.0, 1), ("gone", float("nan"), 2)]))
    for svg in (flat, single):
        assert "nan" not in svg and "inf" not in svg
    assert "gone" not in single and "m 1.000" in single
    # A higher value is drawn higher up.
    points = re.search(r'd="M(\S+) (\S+)L(\S+) (\S+)"', chart(Chart("up", "x", [Line("a", [(0, 1.0), (1, 2.0)])])))
    assert points and float(points[4]) < float(points[2]) and float(points[3]) > float(points[1])


def test_moving_mean_keeps_the_length_and_the_mean_of_a_line() -> None:
    points = [(float(x), 2.0 * x) for x in range(41)]
    smooth = moving_mean(points)
    assert [x for x, _ in smooth] == [x for x, _ in points]
    assert smooth[20] == (20.0, pytest.approx(40.0))


def test_names_of_events_do_not_overlap_and_ticks_stay_inside() -> None:
    line = Line("a", [(0, 0.0), (12_000, 1.0)])
    svg = chart(Chart("t", "queries", [line], events=[(3000, "words"), (3100, "typos"), (99_999, "later")]))
    assert svg.count('class="event"') == 2
    assert ">typos</text>" in svg and ">words</text>" not in svg and "words, 3,000</title>" in svg
    assert ">12,000</text>" in svg and "e+0" not in svg


def test_spans_widen_the_frame_and_a_label_stands_beside_the_last_point() -> None:
    line = Line("a", [(0, 1.0), (1, 2.0)], spans=[Span(0, -4.0, 4.0)], label="a <judge>")
    drawn = chart(Chart("spread", "x", [line]))
    assert 'text-anchor="end" y=' in drawn and ">a &lt;judge&gt;</text>" in drawn  # no room on its right
    low, high = (float(y) for y in re.findall(r'stroke-width="3"[^>]*y1="(\S+)" y2="(\S+)"', drawn)[0])
    assert 0 <= high < low <= 230
