"""Plot: numbers -> the text of an SVG drawing. Pure.

    Axis + marks -> Canvas.svg() -> inline in a page

Every line and mark is named where it is, so that nobody hunts in a legend; kinds differ in shape as well as in colour
(colours after Okabe and Ito 2008, which colour-blind people tell apart). Colours are the page's CSS variables, so one
drawing is readable on light and on dark. Numbers in, text out: no figure is computed here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Axis", "Canvas", "Points", "linear", "logarithmic", "percent", "spaced"]

Points = Sequence[tuple[float, float]]

_CHAR_PX = 7.2
"""Width of a bold character of 12 px on average, for keeping labels inside."""


def percent(value: float) -> str:
    """0.895 -> 90 %."""
    return f"{100 * value:.0f} %"


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot.

    Attributes:
        label: what it shows, with its unit.
        low, high: its ends.
        ticks: where a value is written.
        text: how.
        is_log: equal ratios are equal steps.
    """

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    text: Callable[[float], str]
    is_log: bool = False

    def part(self, value: float) -> float:
        """Where a value lies, 0 at `low` and 1 at `high`; what lies outside is put on the edge."""
        if self.is_log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, part))


def linear(
    label: str, values: Sequence[float], text: Callable[[float], str], *, low: float | None = None,
    high: float | None = None, most_ticks: int = 6, is_whole: bool = False,
) -> Axis:  # fmt: skip
    """An axis with round ends that holds all values.

    Args:
        low, high: ends that are not to be chosen.
        is_whole: it counts something, so that only whole numbers have a tick.
    """
    least = min(values) if low is None else low
    most = max(values) if high is None else high
    if most <= least:
        most = least + 1.0
    step = _round_step((most - least) / (most_ticks - 1), is_whole=is_whole)
    start = least if low is not None else math.floor(least / step + 1e-9) * step
    end = most if high is not None else math.ceil(most / step - 1e-9) * step
    first = math.ceil(start / step - 1e-9)
    ticks = tuple(round(number * step, 10) for number in range(first, math.floor(end / step + 1e-9) + 1))
    return Axis(label, start, end, ticks, text)


def logarithmic(label: str, values: Sequence[float], text: Callable[[float], str]) -> Axis:
    """An axis of equal ratios from 1, 2 or 5 times a power of ten to another."""
    steps = [part * 10.0**power for power in range(-12, 16) for part in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values))
    high = min(step for step in steps if step > max(values) * 1.05)
    return Axis(label, low, high, tuple(step for step in steps if low <= step <= high), text, is_log=True)


def _round_step(least: float, *, is_whole: bool) -> float:
    least = max(least, 1.0) if is_whole else least
    power = 10.0 ** math.floor(math.log10(least))
    steps = [part * power for part in (1, 2, 2.5, 5, 10)]
    return next(step for step in steps if step >= least * (1 - 1e-9) and not (is_whole and step % 1))


def spaced(places: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Move labels apart, as little as can be in the sum of squares; in the order given.

    Args:
        places: where they should be.
        apart: least distance between two.
        low, high: where they must stay; more labels than fit go on below `high`.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    # Without the distances it is a sequence that must not fall: neighbours that do are replaced by their mean.
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        mean, count = places[index] - rank * apart, 1
        while blocks and blocks[-1][0] > mean:
            last, size = blocks.pop()
            mean, count = (mean * count + last * size) / (count + size), count + size
        blocks.append((mean, count))
    top = max(low, high - (len(order) - 1) * apart)
    flat = [min(max(mean, low), top) for mean, count in blocks for _ in range(count)]
    result = [0.0] * len(places)
    for rank, index in enumerate(order):
        result[index] = flat[rank] + rank * apart
    return result


class Canvas:
    """A plot that grows by drawing on it.

    Args:
        x, y: its axes.
        width_px, height_px: of the whole drawing, in units that a browser scales down to fit.
        left, right, top, bottom: margins for labels.
        title: for people who hear the page instead of seeing it.
    """

    def __init__(
        self, x: Axis, y: Axis, title: str, width_px: int = 640, height_px: int = 320, *, left: int = 64,
        right: int = 24, top: int = 16, bottom: int = 46,
    ) -> None:  # fmt: skip
        self.x_axis, self.y_axis = x, y
        self._title = title
        self._size = width_px, height_px
        self.left, self.top = float(left), float(top)
        self.right, self.bottom = float(width_px - right), float(height_px - bottom)
        self._parts: list[str] = []

    def x(self, value: float) -> float:
        """Where a value of the x axis is drawn."""
        return self.left + self.x_axis.part(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Where a value of the y axis is drawn."""
        return self.bottom - self.y_axis.part(value) * (self.bottom - self.top)

    def axes(self, *, x_grid: bool = False, y_grid: bool = True) -> None:
        """Draw the frame: fine grid lines, ticks and what is shown."""
        for value in self.x_axis.ticks:
            at = self.x(value)
            if x_grid:
                self.segment(at, self.top, at, self.bottom, "grid")
            self.text(at, self.bottom + 17, self.x_axis.text(value), "tick", "middle")
        for value in self.y_axis.ticks:
            at = self.y(value)
            if y_grid:
                self.segment(self.left, at, self.right, at, "grid")
            self.text(self.left - 8, at + 4, self.y_axis.text(value), "tick", "end")
        self.segment(self.left, self.bottom, self.right, self.bottom, "axis")
        self.text((self.left + self.right) / 2, self.bottom + 38, self.x_axis.label, "axis-label", "middle")
        if self.y_axis.label:
            middle = (self.top + self.bottom) / 2
            turn = f' transform="rotate(-90 13 {middle:.1f})"'
            self.text(13, middle, self.y_axis.label, "axis-label", "middle", more=turn)

    def segment(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line between two places of the drawing."""
        self._parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def rect(self, x: float, y: float, width: float, height: float, *, kind: str, opacity: float = 1.0) -> None:
        """A filled box at a place of the drawing."""
        see = "" if opacity == 1.0 else f' fill-opacity="{opacity:.3f}"'
        self._parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" '
            f'height="{max(0.0, height):.1f}"{see}/>'
        )

    def text(self, x: float, y: float, text: str, kind: str, anchor: str = "start", *, more: str = "") -> None:
        """Words at a place of the drawing."""
        self._parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
        )

    def line(self, points: Points, kind: str) -> None:
        """A line through values."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self._parts.append(f'<polyline class="line {kind}" points="{places}"/>')

    def band(self, low: Points, high: Points, kind: str) -> None:
        """The room between two lines of values: an interval along a line."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in [*low, *reversed(high)])
        self._parts.append(f'<polygon class="band {kind}" points="{places}"/>')

    def mark(self, x: float, y: float, kind: str, size: float = 5.0, says: str = "") -> None:
        """One point at a place of the drawing: a disc, a ring for `float`, a diamond for `teacher`.

        Args:
            says: shown when the pointer rests on it.
        """
        tip = f"<title>{escape(says)}</title>" if says else ""
        if kind == "teacher":
            reach = size * 1.25
            corners = f"{x:.1f},{y - reach:.1f} {x + reach:.1f},{y:.1f} {x:.1f},{y + reach:.1f} {x - reach:.1f},{y:.1f}"
            self._parts.append(f'<polygon class="mark {kind}" points="{corners}">{tip}</polygon>')
        else:
            self._parts.append(f'<circle class="mark {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}">{tip}</circle>')

    def end_labels(self, lines: Sequence[tuple[str, Points, str]]) -> None:
        """Name lines (label, points, kind) right of their last points, apart from each other."""
        places = spaced([self.y(points[-1][1]) + 4 for _, points, _ in lines], 15, self.top + 8, self.bottom)
        for (label, points, kind), place in zip(lines, places, strict=True):
            self.text(self.x(points[-1][0]) + 8, place, label, f"label {kind}")

    def beside(self, x: float, y: float, label: str, kind: str) -> None:
        """Name a point of the drawing on the side where there is room."""
        is_left = x + 10 + len(label) * _CHAR_PX > self._size[0]
        self.text(x - 9 if is_left else x + 9, y + 4, label, f"label {kind}", "end" if is_left else "start")

    def svg(self) -> str:
        """The drawing."""
        width, height = self._size
        return (
            f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{escape(self._title)}">{"".join(self._parts)}</svg>'
        )
