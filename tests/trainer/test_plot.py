"""Drawings: round axes, labels that do not touch, well-formed text."""

import xml.etree.ElementTree as ET

import pytest

from trainer.charts import FrontPoint, SlopeRow, curve_chart, front_chart, heatmap, interval_chart, robustness_chart
from trainer.plot import Axis, Canvas, linear, logarithmic, percent, spaced
from trainer.stats import share


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


@pytest.mark.parametrize(
    ("values", "ends", "ticks"),
    [
        ([0.03, 0.97], (0.0, 1.0), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([0.8, 1.9], (0.75, 2.0), (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)),
        ([5.0, 5.0], (5.0, 6.0), (5.0, 5.2, 5.4, 5.6, 5.8, 6.0)),
    ],
)
def test_an_axis_has_round_ends_that_hold_every_value(
    values: list[float], ends: tuple[float, float], ticks: tuple[float, ...]
) -> None:
    axis = linear("x", values, percent)
    assert ((axis.low, axis.high), axis.ticks) == (ends, ticks)


def test_given_ends_stay() -> None:
    axis = linear("x", [0.33, 0.9], percent, low=0.3, high=1.0)
    assert (axis.low, axis.high, axis.ticks) == (0.3, 1.0, (0.4, 0.6, 0.8, 1.0))


def test_equal_ratios_are_equal_steps_on_a_logarithmic_axis() -> None:
    axis = logarithmic("MB", [0.33, 52], str)
    assert (axis.low, axis.high, axis.ticks[:3]) == (0.2, 100.0, (0.2, 0.5, 1.0))
    assert axis.part(2) - axis.part(1) == pytest.approx(axis.part(20) - axis.part(10))


def test_what_lies_outside_is_drawn_on_the_edge() -> None:
    axis = Axis("x", 0, 1, (), percent)
    assert (axis.part(-3), axis.part(0.25), axis.part(7)) == (0.0, 0.25, 1.0)


def test_labels_move_apart_as_little_as_needed() -> None:
    assert spaced([10, 90], 15, 0, 100) == [10, 90]
    assert spaced([50, 50], 20, 0, 100) == [40, 60]  # both give way, in the order given
    assert spaced([60, 50, 52], 10, 0, 100) == [64, 44, 54]
    assert spaced([98, 99], 10, 0, 100) == [90, 100]
    assert spaced([], 10, 0, 100) == []


def test_words_in_a_drawing_are_escaped() -> None:
    axis = Axis("a < b", 0, 1, (0.5,), percent)
    canvas = Canvas(axis, axis, 'a "title"')
    canvas.axes()
    canvas.mark(1, 2, "int8", says="<&>")
    drawn = ET.fromstring(canvas.svg())
    assert drawn.attrib["aria-label"] == 'a "title"'
    assert texts(canvas.svg()) == ["50 %", "50 %", "a < b", "a < b"]
    assert [title.text for title in drawn.iter("title")] == ["<&>"]


def test_kinds_differ_in_shape() -> None:
    rows = [SlopeRow("lab", {kind: share(9, 10) for kind in ("teacher", "float", "int8")})]
    drawn = ET.fromstring(interval_chart("t", rows))
    shapes = [(e.tag, e.attrib["class"]) for e in drawn.iter() if e.attrib.get("class", "").startswith("mark")]
    assert shapes == [("polygon", "mark teacher"), ("circle", "mark float"), ("circle", "mark int8")]


def test_each_kind_is_named_once_and_a_row_without_shares_is_a_heading() -> None:
    kinds = {kind: share(9, 10) for kind in ("float", "int8")}
    rows = [SlopeRow("seen", {}), SlopeRow("lab", kinds), SlopeRow("phone", kinds, 0.3), SlopeRow("home", kinds, 0.4)]
    words = texts(interval_chart("t", rows, "guess"))
    assert [words.count(word) for word in ("float", "INT8", "seen", "guess", "n = 10")] == [1, 1, 1, 1, 3]


def test_a_heatmap_writes_every_count_that_is_not_zero_and_every_support() -> None:
    words = texts(heatmap("t", [[3, 1, 0], [0, 0, 0], [0, 0, 7]], ["a", "b", "c"]))
    assert words == ["a", "b", "c", "a", "4", "3", "1", "b", "none", "c", "7", "7"]


def test_robustness_marks_the_unchanged_and_the_worst() -> None:
    points = [{"at": at, "accuracy": a, "low": a, "high": a} for at, a in ((-1, 0.7), (0, 0.9), (1, 0.8))]
    change = {"change": "brightness", "unit": "stops", "none_at": 0, "points": points}
    words = texts(robustness_chart(change, 0.5))
    assert (words[:3], sorted(words[-2:])) == (["-1", "0", "1"], ["70 %", "90 %"])
    assert "brightness, stops" in words


def test_the_front_joins_only_what_nothing_beats() -> None:
    points = [
        FrontPoint(name, "int8", cost, share(right, 100))
        for name, cost, right in (("small", 1e6, 80), ("beaten", 2e6, 70), ("large", 4e6, 90))
    ]
    drawn = ET.fromstring(front_chart("t", "MB", points, 1e6))
    (line,) = drawn.iter("polyline")
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    circles = {float(circle.attrib["cx"]): float(circle.attrib["cy"]) for circle in drawn.iter("circle")}
    (x1, y1), (x2, y2), (x3, y3) = places
    assert (y1, x2, y2, y3) == (circles[x1], x3, y1, circles[x3])
    assert len(circles) == 3
    assert {"small", "beaten", "large"} <= set(texts(front_chart("t", "MB", points, 1e6)))


def test_lines_are_named_at_their_ends() -> None:
    lines = [("one", [(1.0, 2.0), (2.0, 1.0)], "int8"), ("two", [(1.0, 2.0), (2.0, 1.0)], "float")]
    drawn = ET.fromstring(curve_chart("t", "loss", lines, is_share=False))
    named = {e.text: float(e.attrib["y"]) for e in drawn.iter("text") if e.text in ("one", "two")}
    assert abs(named["one"] - named["two"]) == pytest.approx(15, abs=0.2)
    # A single epoch is drawn too.
    assert "one" in texts(curve_chart("t", "loss", [("one", [(1.0, 2.0)], "int8")], is_share=False))


def test_a_curve_of_shares_has_each_percentage_once() -> None:
    words = texts(curve_chart("t", "right", [("one", [(1.0, 0.839), (2.0, 0.846)], "int8")], is_share=True))
    ticks = [word for word in words if word.endswith(" %")]
    assert ticks == sorted(set(ticks))
    assert {"84 %", "85 %"} <= set(ticks)


@pytest.mark.parametrize("epochs", [2, 3, 8, 12, 30, 300])
def test_epochs_have_whole_ticks_where_they_belong(epochs: int) -> None:
    lines = [("one", [(1.0, 1.5), (float(epochs), 1.25)], "int8")]
    ticks = [e for e in ET.fromstring(curve_chart("t", "loss", lines, is_share=False)).iter("text") if is_tick(e)]
    low = max(float(tick.attrib["y"]) for tick in ticks)
    places = [(int(tick.text or ""), float(tick.attrib["x"])) for tick in ticks if float(tick.attrib["y"]) == low]
    (first, left), (last, right) = places[0], places[-1]
    assert 1 <= first < last <= epochs
    for epoch, at in places:
        assert at == pytest.approx(left + (right - left) * (epoch - first) / (last - first), abs=0.2)


def is_tick(element: ET.Element) -> bool:
    return element.attrib["class"] == "tick"


def test_a_name_on_the_front_lies_above_its_mark() -> None:
    points = [FrontPoint("small", "int8", 1e6, share(8, 10)), FrontPoint("large", "int8", 4e6, share(9, 10))]
    drawn = ET.fromstring(front_chart("t", "MB", points, 1e6))
    named = {e.text: float(e.attrib["y"]) for e in drawn.iter("text") if e.text in ("small", "large")}
    large, small = sorted(float(circle.attrib["cy"]) for circle in drawn.iter("circle"))
    assert named["large"] < large < named["small"] < small
