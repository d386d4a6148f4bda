"""Fields: a table read from a file -> a frozen dataclass, or every problem in one go.

Strict on purpose: an unknown key is a typing error, a missing one is never guessed, True is no number, NaN no size.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["build"]

T = TypeVar("T")


def build(kind: type[T], table: object, where: str, problems: list[str]) -> T | None:
    """Make dataclass `kind` from a table.

    Understands int, float (an int will do), str, bool, nested dataclasses, `tuple[X, ...]` from a list, `dict[str,
    X]` and `X | None`. Fields with defaults may be missing.

    Args:
        where: file and place, the beginning of every sentence.
        problems: gets one sentence for each thing wrong.

    Returns:
        None when this table added a problem.
    """
    if not isinstance(table, Mapping):
        problems.append(f"{where} is {_show(table)}, expected a table")
        return None
    before = len(problems)
    hints = get_type_hints(kind)
    names = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in names:
            near = get_close_matches(str(key), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
            problems.append(f"{where} has an unknown key {key!r}; {hint}")
    values: dict[str, Any] = {}
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name in table:
            values[entry.name] = _value(hints[entry.name], table[entry.name], f"{where}.{entry.name}", problems)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            problems.append(f"{where} has no {entry.name!r}; expected {_kind_name(hints[entry.name])}")
    return kind(**values) if len(problems) == before else None


def _value(hint: Any, value: object, where: str, problems: list[str]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is UnionType and NoneType in args:
        return None if value is None else _value(args[0], value, where, problems)
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where, problems)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(args[0], item, f"{where}[{i}]", problems) for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(args[1], item, f"{where}.{_key(key)}", problems) for key, item in value.items()}
    if hint is float and _is_number(value):
        return float(value)  # type: ignore[arg-type]
    if hint in (int, str, bool) and type(value) is hint and not _is_endless(value):
        return value
    problems.append(f"{where} is {_show(value)}, expected {_kind_name(hint)}")
    return None


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _kind_name(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return f"{_kind_name(args[0])} or nothing"
    if origin is tuple:
        return f"a list, each {_kind_name(args[0])}"
    if origin is dict or is_dataclass(hint):
        return "a table"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}.get(hint, str(hint))


def _is_endless(value: object) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _key(key: object) -> str:
    text = str(key)
    return text if text.isprintable() else repr(text)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
