"""Build: photographs in, a bundle out, in one command.

    data -> views -> teach -> distill -> quantize -> evaluate -> pack

Each step is the command of the same name and is skipped when nothing changed, so a build that was cut off goes on when
it is asked for again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from device.bundle import Bundle
from trainer.data import prepare_data
from trainer.dataset import Source
from trainer.distill import distill
from trainer.evaluate import evaluate
from trainer.pack import pack
from trainer.progress import console
from trainer.quantize_student import quantize_student
from trainer.recipe import Recipe
from trainer.teach import teach
from trainer.views import make_views

__all__ = ["build", "measured_steps", "walk"]

T = TypeVar("T")


def measured_steps(
    run: Path, sources: Sequence[Source], recipe: Recipe, split: Path | None
) -> dict[str, Callable[[], object]]:
    """The steps up to a measured model that this recipe needs, by name, in order."""
    views: dict[str, Callable[[], object]] = {}
    taught: dict[str, Callable[[], object]] = {}
    if recipe.views.photographs:
        views["views"] = lambda: make_views(run, recipe)
    if recipe.teach.nets:
        taught["teach"] = lambda: teach(run, recipe)
    return {
        "data": lambda: prepare_data(run, sources, recipe, split),
        **views,
        **taught,
        "distill": lambda: distill(run, recipe, run if recipe.teach.nets else None),
        "quantize": lambda: quantize_student(run, recipe),
        "evaluate": lambda: evaluate(run, recipe),
    }


def walk(before: Mapping[str, Callable[[], object]], last: Mapping[str, Callable[[], T]]) -> list[T]:
    """Carry out steps in order, saying which one it is at and how long it has taken.

    Returns:
        What the steps of `last` gave.
    """
    start_s, whole = time.monotonic(), len(before) + len(last)

    def say(number: int, name: str) -> None:
        console.print(f"step {number} of {whole}: {name} ({(time.monotonic() - start_s) / 60:.0f} min so far)")

    for number, (name, do) in enumerate(before.items(), 1):
        say(number, name)
        do()
    given = []
    for number, (name, give) in enumerate(last.items(), len(before) + 1):
        say(number, name)
        given.append(give())
    return given


def build(run: Path, sources: Sequence[Source], recipe: Recipe, out: Path, split: Path | None = None) -> Bundle:
    """Run every step that the recipe needs.

    Raises:
        TrainerError: whatever a step raises; what came before it is kept.
    """
    return walk(measured_steps(run, sources, recipe, split), {"pack": lambda: pack(run, recipe, out)})[0]
