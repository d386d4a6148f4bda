"""Progress: one line with the time left for anything long; on stderr, so that stdout stays for results."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["console", "track"]

T = TypeVar("T")

console = Console(stderr=True, highlight=False)
"""Where the trainer talks to a person."""


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Hand the items on, showing how many are done and how long the rest takes."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total, description=what)
