"""A chart of intervals for the pages: a dot and a 95 % interval for each name, with vertical lines for comparison.

chart = interval_chart([Interval("suggest", "+0.025", 0.025, 0.020, 0.030)], {"the original queries": 0.0})
# in a template: {{ m.interval_chart(chart) }}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROW_HEIGHT = 30  # pixels of a name in the chart


@dataclass(frozen=True)
class Interval:
    """A figure with its interval."""

    name: str
    """text on the left"""
    text: str
    """text on the right"""
    mean: float
    """the figure"""
    low: float
    """lower end"""
    high: float
    """upper end"""
    color: int = 0
    """number of the CSS variable, --c0 … --c5"""


@dataclass(frozen=True)
class Bar:
    """An interval in the chart; coordinates in pixels."""

    name: str
    """text on the left"""
    text: str
    """text on the right"""
    mean: float
    """x of the dot"""
    low: float
    """x of the lower end"""
    high: float
    """x of the upper end"""
    y: float
    """y of dot and bar"""
    color: int
    """number of the CSS variable"""


@dataclass(frozen=True)
class Mark:
    """A vertical line in the chart."""

    text: str
    """its label"""
    x: float
    """x in pixels"""


@dataclass(frozen=True)
class IntervalChart:
    """What the macro `interval_chart` draws."""

    bars: list[Bar]
    """one for each name, from top to bottom"""
    marks: list[Mark]
    """vertical lines"""
    width: int = 1060
    """pixels"""
    left: int = 190
    """pixels on the left for the names"""
    right: int = 210
    """pixels on the right for the values"""

    @property
    def height(self) -> int:
        """Pixels."""
        return ROW_HEIGHT * (len(self.bars) + 1)


def interval_chart(intervals: Sequence[Interval], levels: Mapping[str, float]) -> IntervalChart:
    """The chart of some intervals; `levels` are values with a vertical line each, by label."""
    ends = [*levels.values(), *(end for interval in intervals for end in (interval.low, interval.high))]
    least, most = min(ends), max(ends)
    scale = (IntervalChart.width - IntervalChart.left - IntervalChart.right) / max(most - least, 1e-9)

    def x(value: float) -> float:
        return round(IntervalChart.left + (value - least) * scale, 1)

    bars = [
        Bar(
            name=interval.name,
            text=interval.text,
            mean=x(interval.mean),
            low=x(interval.low),
            high=x(interval.high),
            y=ROW_HEIGHT * position + ROW_HEIGHT / 2,
            color=interval.color,
        )
        for position, interval in enumerate(intervals)
    ]
    return IntervalChart(bars, [Mark(text, x(value)) for text, value in levels.items()])
