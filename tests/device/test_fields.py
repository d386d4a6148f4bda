"""A table becomes a dataclass, or every problem comes out in one go."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from device.fields import build


@dataclass(frozen=True, slots=True)
class Lamp:
    pin_bcm: int
    level: float = 1.0


@dataclass(frozen=True, slots=True)
class Room:
    name: str
    lamp: Lamp
    is_lit: bool = False
    sizes: tuple[int, ...] = ()
    gains: dict[str, float] = field(default_factory=dict)
    spare: Lamp | None = None
    matrix: tuple[tuple[float, ...], ...] = ()
    by_name: dict[str, Lamp] = field(default_factory=dict)


def room(**changes: Any) -> tuple[Room | None, list[str]]:
    problems: list[str] = []
    made = build(Room, {"name": "hall", "lamp": {"pin_bcm": 4}} | changes, "a.toml", problems)
    return made, problems


def test_a_table_becomes_its_dataclass() -> None:
    gains, spare = {"red": 1.0, "blue": 0.5}, Lamp(5, 0.0)
    assert room(
        is_lit=True,
        sizes=[1, 2],
        gains={"red": 1, "blue": 0.5},
        spare={"pin_bcm": 5, "level": 0},
        matrix=[[1.0, 2], [3.5]],
        by_name={"left": {"pin_bcm": 6}},
    ) == (Room("hall", Lamp(4), True, (1, 2), gains, spare, ((1.0, 2.0), (3.5,)), {"left": Lamp(6)}), [])


def test_fields_with_defaults_may_be_missing() -> None:
    assert room() == (Room("hall", Lamp(4)), [])


def test_a_whole_number_serves_as_a_number_and_becomes_one() -> None:
    made, _ = room(lamp={"pin_bcm": 4, "level": 1})
    assert made is not None
    assert type(made.lamp.level) is float


def test_null_is_nothing_where_nothing_is_allowed() -> None:
    assert room(spare=None) == (Room("hall", Lamp(4)), [])
    assert room(lamp=None) == (None, ["a.toml.lamp is None, expected a table"])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": 7}, "a.toml.name is 7, expected a text"),
        ({"name": None}, "a.toml.name is None, expected a text"),
        ({"is_lit": 1}, "a.toml.is_lit is 1, expected true or false"),
        ({"lamp": {"pin_bcm": True}}, "a.toml.lamp.pin_bcm is True, expected a whole number"),
        ({"lamp": {"pin_bcm": 4.0}}, "a.toml.lamp.pin_bcm is 4.0, expected a whole number"),
        ({"lamp": {"pin_bcm": 2**63}}, f"a.toml.lamp.pin_bcm is {2**63}, expected a whole number"),
        ({"lamp": {"pin_bcm": 4, "level": "1"}}, "a.toml.lamp.level is '1', expected a number"),
        ({"lamp": {"pin_bcm": 4, "level": False}}, "a.toml.lamp.level is False, expected a number"),
        ({"lamp": {"pin_bcm": 4, "level": math.nan}}, "a.toml.lamp.level is nan, expected a number"),
        ({"lamp": {"pin_bcm": 4, "level": -math.inf}}, "a.toml.lamp.level is -inf, expected a number"),
        ({"lamp": {"pin_bcm": 4, "level": 10**400}}, f"a.toml.lamp.level is 1{'0' * 56}..., expected a number"),
        ({"lamp": [4]}, "a.toml.lamp is [4], expected a table"),
        ({"spare": 7}, "a.toml.spare is 7, expected a table"),
        ({"sizes": 7}, "a.toml.sizes is 7, expected a list, each a whole number"),
        ({"sizes": "12"}, "a.toml.sizes is '12', expected a list, each a whole number"),
        ({"sizes": [1, "2"]}, "a.toml.sizes[1] is '2', expected a whole number"),
        ({"matrix": [[1.0], [None]]}, "a.toml.matrix[1][0] is None, expected a number"),
        ({"gains": [1.0]}, "a.toml.gains is [1.0], expected a table"),
        ({"gains": {"red": "much"}}, "a.toml.gains.red is 'much', expected a number"),
        ({"gains": {"a\nb": "much"}}, "a.toml.gains.'a\\nb' is 'much', expected a number"),
        ({"by_name": {"left": {}}}, "a.toml.by_name.left has no 'pin_bcm'; expected a whole number"),
        ({"nam": 1}, "a.toml has an unknown key 'nam'; did you mean 'name'?"),
        ({"lamp": {"pin_bcm": 4, "xyz": 1}}, "a.toml.lamp has an unknown key 'xyz'; known here: pin_bcm, level"),
    ],
)
def test_a_wrong_field_is_one_sentence(changes: dict[str, Any], problem: str) -> None:
    assert room(**changes) == (None, [problem])


def test_all_problems_come_at_once_unknown_keys_first() -> None:
    problems = ["earlier: kept"]
    assert build(Room, {"lamp": {"level": "x"}, "colour": 1}, "a.toml", problems) is None
    assert problems == [
        "earlier: kept",
        "a.toml has an unknown key 'colour'; known here: name, lamp, is_lit, sizes, gains, spare, matrix, by_name",
        "a.toml has no 'name'; expected a text",
        "a.toml.lamp has no 'pin_bcm'; expected a whole number",
        "a.toml.lamp.level is 'x', expected a number",
    ]


def test_problems_that_were_there_before_spoil_nothing() -> None:
    assert build(Lamp, {"pin_bcm": 4}, "a.toml", ["something else"]) == Lamp(4)


@pytest.mark.parametrize("table", [None, [], 7, "text"])
def test_what_is_no_table_is_said(table: object) -> None:
    problems: list[str] = []
    assert build(Lamp, table, "a.toml", problems) is None
    assert problems == [f"a.toml is {table!r}, expected a table"]
