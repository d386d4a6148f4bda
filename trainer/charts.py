"""Charts: figures -> drawings, one function a kind. Pure.

    Figures' rows -> Canvas -> SVG text

The same thing looks the same on every chart: INT8 is a blue disc, float an orange ring, the teacher a green diamond.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.plot import Axis, Canvas, Points, linear, logarithmic, percent, spaced
from trainer.stats import Share
from trainer.wording import percent_text

__all__ = [
    "FrontPoint", "SlopeRow", "contamination_chart", "coverage_chart", "curve_chart", "front_chart", "heatmap",
    "interval_chart", "reliability_chart", "robustness_chart",
]  # fmt: skip

_KINDS = {"teacher": "teacher", "float": "float", "int8": "INT8"}


@dataclass(frozen=True, slots=True)
class SlopeRow:
    """One row of an interval chart; without shares it is a heading.

    Attributes:
        shares: kind -> share.
        guide: a share to compare with.
    """

    label: str
    shares: Mapping[str, Share]
    guide: float | None = None


def interval_chart(title: str, rows: Sequence[SlopeRow], guide: str = "") -> str:
    """Shares with their intervals, one row each, the kinds named at the first row that has them.

    Args:
        guide: what the rows' guides are.
    """
    step, top = 32.0, 10.0
    named_row = next((number for number, row in enumerate(rows) if len(row.shares) > 1), -1)
    heights = [58.0 if number == named_row else step for number in range(len(rows))]
    axis = Axis("accuracy with its 95 % interval", 0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1), percent)
    height = round(top + sum(heights)) + 46
    canvas = Canvas(axis, Axis("", 0, 1, (), percent), title, 860, height, left=200, right=150, top=round(top))
    canvas.axes(x_grid=True)
    guided = False
    middle = top
    for number, (row, high) in enumerate(zip(rows, heights, strict=True)):
        middle += high / 2
        if row.shares:
            _interval_row(canvas, row, middle, 16.0 if number == named_row else 8.0, is_named=number == named_row)
        else:
            canvas.text(0, middle + 8, row.label, "head")
        if row.guide is not None:
            at = canvas.x(row.guide)
            canvas.segment(at, middle - 12, at, middle + 12, "guide")
            if not guided:
                canvas.text(at - 6, middle + 4, guide, "tick", "end")
            guided = True
        middle += high / 2
    return canvas.svg()


def _interval_row(canvas: Canvas, row: SlopeRow, middle: float, apart: float, *, is_named: bool) -> None:
    canvas.text(canvas.left - 12, middle + 4, row.label, "plain", "end")
    order = [kind for kind in _KINDS if kind in row.shares]
    is_left = max(share.high for share in row.shares.values()) > 0.8
    edge = min(s.low for s in row.shares.values()) if is_left else max(s.high for s in row.shares.values())
    for place, kind in enumerate(order):
        share, y = row.shares[kind], middle + apart * (place - (len(order) - 1) / 2)
        canvas.segment(canvas.x(share.low), y, canvas.x(share.high), y, f"whisker {kind}")
        says = f"{_KINDS[kind]}: {share.accuracy:.1%} ({share.low:.1%} to {share.high:.1%}), n = {share.pictures}"
        canvas.mark(canvas.x(share.accuracy), y, kind, says=says)
        if is_named:
            at = canvas.x(edge) + (-12 if is_left else 12)
            canvas.text(at, y + 4, _KINDS[kind], f"label {kind}", "end" if is_left else "start")
    shown = row.shares.get("int8") or next(iter(row.shares.values()))
    canvas.text(canvas.right + 66, middle + 4, percent_text(shown.accuracy), "label", "end")
    canvas.text(canvas.right + 78, middle + 4, f"n = {shown.pictures}", "tick")


def heatmap(title: str, table: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """A confusion matrix: counts, shaded by their share of the row; what is right in one colour, wrong in another."""
    cell, left, top = 42, 86, 74
    width, height = left + cell * len(labels) + 46, top + cell * len(labels) + 12
    blank = Axis("", 0, 1, (), percent)
    canvas = Canvas(blank, blank, title, width, height, left=left, top=top)
    for column, label in enumerate(labels):
        x = left + cell * (column + 0.5)
        canvas.text(x, top - 8, label, "tick", more=f' transform="rotate(-45 {x:.1f} {top - 8})"')
    for row, counts in enumerate(table):
        total, y = sum(counts), top + cell * row
        canvas.text(left - 8, y + cell / 2 + 4, labels[row], "plain" if total else "tick", "end")
        canvas.text(left + cell * len(labels) + 8, y + cell / 2 + 4, str(total) if total else "none", "tick")
        for column, count in enumerate(counts):
            x, part = left + cell * column, count / total if total else 0.0
            canvas.rect(x + 1, y + 1, cell - 2, cell - 2, kind="bar quiet", opacity=0.07)
            if count:
                kind = "cell" if row == column else "wrong"
                canvas.rect(x + 1, y + 1, cell - 2, cell - 2, kind=kind, opacity=0.12 + 0.88 * part)
                canvas.text(x + cell / 2, y + cell / 2 + 4, str(count), "on" if part > 0.5 else "plain", "middle")
    return canvas.svg()


def reliability_chart(title: str, bins: Sequence[Mapping[str, float]]) -> str:
    """Confidence against accuracy, and under it how many pictures have that confidence."""
    axis = Axis("confidence", 0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1), percent)
    canvas = Canvas(axis, Axis("accuracy", 0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1), percent), title, 520, 360, right=36)
    canvas.axes()
    canvas.segment(canvas.x(0), canvas.y(0), canvas.x(1), canvas.y(1), "guide")
    canvas.text(canvas.x(0.30), canvas.y(0.30) - 12, "as sure as right", "tick", "middle",
                more=f' transform="rotate(-41 {canvas.x(0.30):.1f} {canvas.y(0.30) - 12:.1f})"')  # fmt: skip
    filled = [row for row in bins if row["share"] > 0]
    for row in filled:
        x = canvas.x(row["confidence"])
        high = 0.25 * (canvas.bottom - canvas.top) * row["share"]
        canvas.rect(x - 5, canvas.bottom - high, 10, high, kind="bar quiet", opacity=0.35)
    canvas.line([(row["confidence"], row["accuracy"]) for row in filled], "int8 thin")
    for row in filled:
        says = f"sure {row['confidence']:.0%}, right {row['accuracy']:.0%}, {row['share']:.0%} of the pictures"
        canvas.mark(canvas.x(row["confidence"]), canvas.y(row["accuracy"]), "int8", 3 + 6 * row["share"], says)
    return canvas.svg()


def coverage_chart(title: str, points: Points) -> str:
    """Share of pictures that are answered, the surest first, against the accuracy of those."""
    least = min(accuracy for _, accuracy in points)
    low = max(0.0, (int(least * 10 - 1e-9)) / 10)
    y = linear("accuracy of what is answered", [low, 1.0], percent, low=low, high=1.0)
    x = Axis("share of pictures answered, the surest first", 0, 1, (0, 0.25, 0.5, 0.75, 1), percent)
    canvas = Canvas(x, y, title, 520, 360, right=36)
    canvas.axes()
    canvas.line(points, "int8")
    for wanted in (0.5, 0.9, 1.0):
        coverage, accuracy = min(points, key=lambda point: abs(point[0] - wanted))
        canvas.mark(canvas.x(coverage), canvas.y(accuracy), "int8", 4)
        anchor, back = ("middle", 0) if wanted == 1 else ("end", 4)
        canvas.text(canvas.x(coverage) - back, canvas.y(accuracy) + 19, percent_text(accuracy), "label int8", anchor)
    return canvas.svg()


def contamination_chart(title: str, points: Sequence[Mapping[str, Any]], default: Mapping[str, Any] | None) -> str:
    """Diversion against contamination, from the strictest threshold to none, and where the bundle's default lies."""
    shown = [row for row in points if row["contamination"] is not None]
    x = Axis("diversion: of what could be recycled, the share that was", 0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1), percent)
    most = max([0.1, *(row["contamination_high"] for row in shown)])
    y = linear("contamination of the recycling bins", [0.0, most], percent, low=0.0)
    canvas = Canvas(x, y, title, 640, 360, right=30)
    canvas.axes()
    goal_top, goal_left = canvas.y(0.10), canvas.x(0.70)
    goal_width, goal_height = canvas.right - goal_left, canvas.bottom - goal_top
    canvas.rect(goal_left, goal_top, goal_width, goal_height, kind="goal", opacity=0.12)
    canvas.text(canvas.right - 6, canvas.bottom - 8, "wanted", "tick", "end")
    line = [(row["diversion"], row["contamination"]) for row in shown]
    high = [(row["diversion"], row["contamination_high"]) for row in shown]
    canvas.band(line, high, "int8")
    canvas.line(line, "int8")
    canvas.line(high, "int8 thin")
    if shown:
        strictest = min(shown, key=lambda row: row["diversion"])
        place = canvas.x(strictest["diversion"]), canvas.y(strictest["contamination_high"])
        canvas.text(place[0], place[1] - 8, "95 % bound", "tick")
    if default is not None and default["contamination"] is not None:
        across, top = canvas.x(default["diversion"]), canvas.y(default["contamination_high"])
        canvas.segment(across, canvas.y(default["contamination"]), across, top, "whisker int8")
        canvas.mark(across, canvas.y(default["contamination"]), "int8", 6)
        label = f"default: {percent_text(default['contamination'])} at {percent_text(default['diversion'], 0)}"
        canvas.text(across - 4, top - 9, label, "label int8", "end")
    return canvas.svg()


def robustness_chart(change: Mapping[str, Any], low: float) -> str:
    """Accuracy under one change of the pictures, from unchanged to strong."""
    points = change["points"]
    places = [row["at"] for row in points]
    most = len(places) - 1
    # By steps, not to scale: what matters is where it breaks, and strengths of different changes do not compare.
    text = {float(number): f"{place:g}" for number, place in enumerate(places)}
    label = f"{change['change']}, {change['unit']}" if change["unit"] else str(change["change"])
    x = Axis(label, 0, max(1, most), tuple(text), lambda value: text[value])
    y = linear("", [low, 1.0], percent, low=low, high=1.0, most_ticks=5)
    canvas = Canvas(x, y, f"Accuracy under {change['change']}", 340, 230, left=46, right=26)
    canvas.axes()
    canvas.band(
        [(float(at), row["low"]) for at, row in enumerate(points)],
        [(float(at), row["high"]) for at, row in enumerate(points)], "int8",
    )  # fmt: skip
    canvas.line([(float(at), row["accuracy"]) for at, row in enumerate(points)], "int8")
    worst = min(range(len(points)), key=lambda at: points[at]["accuracy"])
    start = next((at for at, place in enumerate(places) if place == change.get("none_at")), 0)
    for at in {start, worst}:
        across, down = canvas.x(at), canvas.y(points[at]["accuracy"])
        canvas.mark(across, down, "int8", 3.5)
        is_worst = at == worst and at != start
        anchor = "middle" if not is_worst or 0 < at < most else "end" if at else "start"
        canvas.text(across, down + (19 if is_worst else -10), percent(points[at]["accuracy"]), "label int8", anchor)
    return canvas.svg()


def curve_chart(title: str, y_label: str, lines: Sequence[tuple[str, Points, str]], *, is_share: bool) -> str:
    """Something per epoch, one line a training, each named at its end."""
    values = [value for _, points, _ in lines for _, value in points]
    if is_share:  # at least five points high, so that its ticks are whole and two epochs' chance is no cliff
        values.append(max(values) - 0.05)
    y = linear(y_label, values, percent if is_share else lambda value: f"{value:g}")
    last = max(points[-1][0] for _, points, _ in lines)
    x = linear("epoch", [1.0, last], lambda value: f"{value:.0f}", low=1.0, high=max(last, 2.0), is_whole=True)
    canvas = Canvas(x, y, title, 520, 300, right=round(28 + 7 * max(len(name) for name, _, _ in lines)))
    canvas.axes()
    for _, points, kind in lines:
        canvas.line(points, kind)
    canvas.end_labels(lines)
    return canvas.svg()


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A model on the front.

    Attributes:
        cost: in the axis' unit.
    """

    name: str
    kind: str
    cost: float
    share: Share


def front_chart(title: str, x_label: str, points: Sequence[FrontPoint], unit: float) -> str:
    """Accuracy against cost, with the line of those that no other beats in both.

    Args:
        unit: of the axis, in the points' own.
    """
    costs = [point.cost / unit for point in points]
    x = logarithmic(x_label, costs, lambda value: f"{value:g}")
    low = min(point.share.low for point in points)
    y = linear("accuracy", [low, 1.0], percent, high=1.0)
    canvas = Canvas(x, y, title, 760, 380, right=40)
    canvas.axes()
    best: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.share.accuracy)):
        if not best or point.share.accuracy > best[-1][1]:
            if best:
                best.append((point.cost / unit, best[-1][1]))
            best.append((point.cost / unit, point.share.accuracy))
    if len(best) > 1:
        canvas.line(best, "quiet thin")
    for point, cost in zip(points, costs, strict=True):
        at, share = canvas.x(cost), point.share
        canvas.segment(at, canvas.y(share.low), at, canvas.y(share.high), f"whisker {point.kind}")
        canvas.mark(at, canvas.y(share.accuracy), point.kind, says=f"{point.name}: {share.accuracy:.1%}")
    for near in _neighbours([canvas.x(cost) for cost in costs], 150):
        # Above its mark, or the line of the best would go through the name.
        wanted = [canvas.y(points[number].share.accuracy) - 10 for number in near]
        for number, place in zip(near, spaced(wanted, 16, canvas.top + 6, canvas.bottom - 6), strict=True):
            canvas.beside(canvas.x(costs[number]), place, points[number].name, points[number].kind)
    return canvas.svg()


def _neighbours(places: Sequence[float], near: float) -> list[list[int]]:
    """Indices in groups whose labels could touch: from left to right, each closer to the group's first than `near`."""
    groups: list[list[int]] = []
    for number in sorted(range(len(places)), key=lambda number: places[number]):
        if groups and places[number] - places[groups[-1][0]] < near:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
