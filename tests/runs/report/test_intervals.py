"""The chart of intervals: pixels by hand."""

from runs.report.intervals import ROW_HEIGHT, Interval, IntervalChart, interval_chart


def test_values_are_mapped_between_the_margins():
    chart = interval_chart([Interval("a", "+1", 1.0, 0.5, 2.0, 2), Interval("b", "-1", -1.0, -2.0, 0.0)], {"zero": 0.0})
    left, right = IntervalChart.left, IntervalChart.width - IntervalChart.right
    first, second = chart.bars
    assert (second.low, first.high) == (left, right)
    assert chart.marks[0].x == second.high == (left + right) / 2
    assert (first.y, second.y, chart.height) == (ROW_HEIGHT / 2, 1.5 * ROW_HEIGHT, 3 * ROW_HEIGHT)
    assert (first.color, second.color) == (2, 0)


def test_equal_values_do_not_divide_by_zero():
    assert interval_chart([Interval("a", "0", 0.0, 0.0, 0.0)], {"zero": 0.0}).bars[0].mean == IntervalChart.left
