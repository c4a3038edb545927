"""Line charts as inline SVG, for the report: one y axis, named lines, horizontal marks, readable in light and dark.

    chart(Chart("reward", "update", [Line("reward", [(1, 0.1), (2, 0.2)])]))  # "<figure>…<svg>…"

Colours come from the page's CSS variables (--c0, --c1, …), so the same SVG follows the reader's colour scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 52, 14, 14, 38
CHARACTER = 6.0  # pixels of one in a small text
SMOOTH_FROM = 40  # a line of this many points is drawn faint, with its moving mean on top


@dataclass(frozen=True)
class Line:
    """points: (x, y) in order of x. color: number of the CSS variable --c0 … --c5. dots: mark every point."""

    name: str
    points: Sequence[Point]
    color: int = 0
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """marks: (name, y, color) horizontal lines. events: (x, name) vertical ones. note: a sentence below the title."""

    title: str
    x_label: str
    lines: Sequence[Line]
    marks: Sequence[tuple[str, float, int]] = ()
    note: str = ""
    width: int = 420
    height: int = 230
    y_label: str = ""
    percent: bool = False
    events: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Frame:
    """From data to pixels."""

    x0: float
    x1: float
    y0: float
    y1: float
    width: int
    height: int

    def x(self, value: float) -> float:
        span = self.width - MARGIN_LEFT - MARGIN_RIGHT
        return round(MARGIN_LEFT + span * (value - self.x0) / (self.x1 - self.x0), 1)

    def y(self, value: float) -> float:
        span = self.height - MARGIN_TOP - MARGIN_BOTTOM
        return round(self.height - MARGIN_BOTTOM - span * (value - self.y0) / (self.y1 - self.y0), 1)


def chart(spec: Chart) -> str:
    """One figure with its caption and legend; "" when there is nothing to draw."""
    lines = [Line(line.name, _finite(line.points), line.color, line.dots) for line in spec.lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    marks = [mark for mark in spec.marks if math.isfinite(mark[1])]
    frame = _frame(spec, lines, [mark[1] for mark in marks])
    parts = [_grid(spec, frame), *_events(spec.events, frame), *(_mark(mark, frame) for mark in marks)]
    parts += [_line(line, frame) for line in lines]
    label = escape(f"{spec.title}: line chart over {spec.x_label}")
    svg = f'<svg viewBox="0 0 {spec.width} {spec.height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    note = f"<p>{escape(spec.note)}</p>" if spec.note else ""
    return f"<figure><figcaption><b>{escape(spec.title)}</b>{note}{_legend(lines, marks)}</figcaption>{svg}</figure>"


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _frame(spec: Chart, lines: Sequence[Line], levels: Sequence[float]) -> Frame:
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + list(levels)
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


def _mark(mark: tuple[str, float, int], frame: Frame) -> str:
    name, level, color = mark
    y, right = frame.y(level), frame.width - MARGIN_RIGHT
    style = f"stroke:var(--c{color})"
    title = f"<title>{escape(name)}: {level:.4g}</title>"
    return f'<line class="mark" style="{style}" x1="{MARGIN_LEFT}" x2="{right}" y1="{y}" y2="{y}">{title}</line>'


def _events(events: Sequence[tuple[float, str]], frame: Frame) -> list[str]:
    """Dotted vertical lines; a name is written where it does not meet the next one."""
    parts, shown = [], sorted(event for event in events if frame.x0 <= event[0] <= frame.x1)
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
    return f'<path class="line" style="{style}" d="{_path(line.points, frame)}"/>{dots}'


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


def _legend(lines: Sequence[Line], marks: Sequence[tuple[str, float, int]]) -> str:
    if len(lines) + len(marks) < 2:
        return ""
    items = [f'<span><i style="background:var(--c{line.color})"></i>{escape(line.name)}</span>' for line in lines]
    items += [
        f'<span><i class="dash" style="border-color:var(--c{color})"></i>{escape(name)} {level:.3f}</span>'
        for name, level, color in marks
    ]
    return f'<div class="legend">{"".join(items)}</div>'
