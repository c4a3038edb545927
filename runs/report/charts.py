"""Line charts as inline SVG for the pages: one y axis, named lines, horizontal reference levels.

    chart(Chart("reward", "update", [Line("reward", [(1, 0.1), (2, 0.2)])]))  # "<figure>…<svg>…"

Colours come from the page's CSS variables (--c0, --c1, …), so the same SVG follows the reader's colour scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

Point = tuple[float, float]
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 52, 14, 14, 38
CHARACTER = 6.0  # pixels of one in a small text
SMOOTH_FROM = 40  # a line of this many points is drawn faint, with its moving mean on top


@dataclass(frozen=True)
class Span:
    """A vertical bar, such as the spread between seeds."""

    x: float
    """its place"""
    low: float
    """y of the lower end"""
    high: float
    """y of the upper end"""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    """text of the legend and of the tooltips"""
    points: Sequence[Point]
    """(x, y) in order of x; points that are not finite are left out"""
    color: int = 0
    """number of the CSS variable, --c0 … --c5"""
    dots: bool = False
    """draw a dot at every point, and no moving mean"""
    spans: Sequence[Span] = ()
    """vertical bars in the line's color"""
    label: str = ""
    """text beside the last point, instead of a place in the legend"""


@dataclass(frozen=True)
class Chart:
    """One chart with its texts, in pixels."""

    title: str
    """caption"""
    x_label: str
    """text below the x axis"""
    lines: Sequence[Line]
    """what is drawn"""
    levels: Sequence[tuple[str, float, int]] = ()
    """horizontal dashed lines: (name, y, color)"""
    note: str = ""
    """a sentence below the caption"""
    width: int = 420
    """pixels"""
    height: int = 230
    """pixels"""
    y_label: str = ""
    """text beside the y axis"""
    percent: bool = False
    """whether y values are shares, shown in per cent"""
    events: Sequence[tuple[float, str]] = ()
    """vertical dotted lines: (x, name)"""


@dataclass(frozen=True)
class Frame:
    """Maps data to pixels."""

    x0: float
    """x at the left end"""
    x1: float
    """x at the right end"""
    y0: float
    """y at the bottom"""
    y1: float
    """y at the top"""
    width: int
    """pixels"""
    height: int
    """pixels"""

    def x(self, value: float) -> float:
        """Horizontal position in pixels."""
        span = self.width - MARGIN_LEFT - MARGIN_RIGHT
        return round(MARGIN_LEFT + span * (value - self.x0) / (self.x1 - self.x0), 1)

    def y(self, value: float) -> float:
        """Vertical position in pixels, from the top."""
        span = self.height - MARGIN_TOP - MARGIN_BOTTOM
        return round(self.height - MARGIN_BOTTOM - span * (value - self.y0) / (self.y1 - self.y0), 1)


def chart(spec: Chart) -> Markup:
    """One figure with its caption and legend; "" when there is nothing to draw."""
    lines = [replace(line, points=_finite(line.points)) for line in spec.lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return Markup("")
    note = f"<p>{escape(spec.note)}</p>" if spec.note else ""
    caption = f"<figcaption><b>{escape(spec.title)}</b>{note}{_legend(lines, _drawn_levels(spec))}</figcaption>"
    return Markup(f"<figure>{caption}{_svg(spec, lines)}</figure>")


def svg(spec: Chart) -> Markup:
    """The drawing alone, without caption and legend; "" when there is nothing to draw."""
    lines = [replace(line, points=_finite(line.points)) for line in spec.lines]
    lines = [line for line in lines if line.points]
    return Markup(_svg(spec, lines) if lines else "")


def _svg(spec: Chart, lines: Sequence[Line]) -> str:
    levels = _drawn_levels(spec)
    frame = _frame(spec, lines, [y for _, y, _ in levels])
    parts = [_grid(spec, frame), *_events(spec.events, frame), *(_level(level, frame) for level in levels)]
    parts += [_line(line, frame) for line in lines]
    label = escape(f"{spec.title}: line chart over {spec.x_label}")
    return f'<svg viewBox="0 0 {spec.width} {spec.height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _drawn_levels(spec: Chart) -> list[tuple[str, float, int]]:
    return [level for level in spec.levels if math.isfinite(level[1])]


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _frame(spec: Chart, lines: Sequence[Line], levels: Sequence[float]) -> Frame:
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + list(levels)
    ys += [y for line in lines for span in line.spans for y in (span.low, span.high)]
    low, high = min(ys), max(ys)
    # Room above and below; a flat line sits in the middle instead of dividing by zero.
    pad = 0.08 * (high - low) or 0.1 * abs(high) or 0.01
    low = 0.0 if 0 <= low <= 0.3 * high else low - pad
    x0, x1 = min(xs), max(xs)
    return Frame(x0, x1 if x1 > x0 else x0 + 1, low, high + pad, spec.width, spec.height)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers inside [low, high], about `wanted` of them: 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(at * step, 12) for at in range(first, math.floor(high / step + 1e-9) + 1)]


def _tick(value: float, percent: bool = False) -> str:
    if percent:
        return f"{100 * value:.3g} %"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _grid(spec: Chart, frame: Frame) -> str:
    left, right, bottom = MARGIN_LEFT, spec.width - MARGIN_RIGHT, spec.height - MARGIN_BOTTOM
    parts = []
    for value in ticks(frame.y0, frame.y1):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{left - 6}" y="{y + 3.5}" text-anchor="end">{_tick(value, spec.percent)}</text>'
        )
    for value in ticks(frame.x0, frame.x1, 6):
        x, text = frame.x(value), _tick(value)
        inside = x + CHARACTER * len(text) / 2 < spec.width  # else its end would be cut off
        anchor = f'x="{x}" text-anchor="middle"' if inside else f'x="{right + MARGIN_RIGHT}" text-anchor="end"'
        parts.append(f'<text class="tick" {anchor} y="{bottom + 15}">{text}</text>')
    parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle = (left + right) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{spec.height - 6}" text-anchor="middle">{escape(spec.x_label)}</text>'
    )
    if spec.y_label:
        turn = f"rotate(-90 11 {spec.height / 2})"
        parts.append(
            f'<text class="label" x="11" y="{spec.height / 2}" transform="{turn}" text-anchor="middle">'
            f"{escape(spec.y_label)}</text>"
        )
    return "".join(parts)


def _level(level: tuple[str, float, int], frame: Frame) -> str:
    name, value, color = level
    y, right = frame.y(value), frame.width - MARGIN_RIGHT
    style = f"stroke:var(--c{color})"
    title = f"<title>{escape(name)}: {value:.4g}</title>"
    return f'<line class="level" style="{style}" x1="{MARGIN_LEFT}" x2="{right}" y1="{y}" y2="{y}">{title}</line>'


def _events(events: Sequence[tuple[float, str]], frame: Frame) -> list[str]:
    """Dotted vertical lines; a name is written where it does not meet the next one."""
    parts, shown = list[str](), sorted(event for event in events if frame.x0 <= event[0] <= frame.x1)
    places = [*(frame.x(at) for at, _ in shown), float(frame.width)]
    for (at, name), x, following in zip(shown, places, places[1:], strict=False):
        top, bottom = MARGIN_TOP, frame.height - MARGIN_BOTTOM
        title = f"<title>{escape(name)}, {at:,g}</title>"
        parts.append(f'<line class="event" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}">{title}</line>')
        if x + 8 + CHARACTER * len(name) < following:
            parts.append(f'<text class="tick" x="{x + 4}" y="{top + 9}">{escape(name)}</text>')
    return parts


def _line(line: Line, frame: Frame) -> str:
    style = f"stroke:var(--c{line.color})"
    if len(line.points) >= SMOOTH_FROM and not line.dots:
        smooth = moving_mean(line.points)
        return (
            f'<path class="faint" style="{style}" d="{_path(line.points, frame)}"/>'
            f'<path class="line" style="{style}" d="{_path(smooth, frame)}"/>'
        )
    dots = "".join(
        f'<circle style="fill:var(--c{line.color})" cx="{frame.x(x)}" cy="{frame.y(y)}" r="3">'
        f"<title>{escape(line.name)}, {x:g}: {y:.4g}</title></circle>"
        for x, y in (line.points if line.dots or len(line.points) == 1 else ())
    )
    path = f'<path class="line" style="{style}" d="{_path(line.points, frame)}"/>'
    return f"{path}{dots}{_spans(line, frame)}{_label(line, frame)}"


def _spans(line: Line, frame: Frame) -> str:
    return "".join(
        f'<line style="stroke:var(--c{line.color})" opacity=".5" stroke-width="3" x1="{frame.x(span.x)}" '
        f'x2="{frame.x(span.x)}" y1="{frame.y(span.low)}" y2="{frame.y(span.high)}"/>'
        for span in line.spans
    )


def _label(line: Line, frame: Frame) -> str:
    """The line's label to the right of its last point, or to the left where there is no room."""
    if not line.label:
        return ""
    x, y = (float(place) for place in (frame.x(line.points[-1][0]), frame.y(line.points[-1][1])))
    fits = x + 8 + CHARACTER * len(line.label) < frame.width
    place = f'x="{x + 8}"' if fits else f'x="{x - 8}" text-anchor="end"'
    return f'<text class="tick" {place} y="{y + 3.5}">{escape(line.label)}</text>'


def moving_mean(points: Sequence[Point]) -> list[Point]:
    """Centred mean over a tenth of the line, shorter at its ends."""
    half = max(1, len(points) // 20)
    smooth = []
    for at, (x, _) in enumerate(points):
        near = points[max(0, at - half) : at + half + 1]
        smooth.append((x, sum(y for _, y in near) / len(near)))
    return smooth


def _path(points: Sequence[Point], frame: Frame) -> str:
    return "M" + "L".join(f"{frame.x(x)} {frame.y(y)}" for x, y in points)


def _legend(lines: Sequence[Line], levels: Sequence[tuple[str, float, int]]) -> str:
    if len(lines) + len(levels) < 2:
        return ""
    items = [
        f'<span><i style="background:var(--c{line.color})"></i>{escape(line.name)}</span>'
        for line in lines
        if not line.label
    ]
    items += [
        f'<span><i class="dash" style="border-color:var(--c{color})"></i>{escape(name)} {level:.3f}</span>'
        for name, level, color in levels
    ]
    return f'<div class="legend">{"".join(items)}</div>'
