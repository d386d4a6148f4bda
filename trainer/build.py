"""Build: photographs in, a bundle out, in one command.

    data -> views -> teach -> distill -> quantize -> evaluate -> pack

Each step is the command of the same name and is skipped when nothing changed, so a build that was cut off goes on when
it is asked for again.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

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

__all__ = ["build", "steps"]


def steps(recipe: Recipe) -> tuple[str, ...]:
    """The steps that this recipe needs, in order."""
    views = ("views",) if recipe.views.photographs else ()
    taught = ("teach",) if recipe.teach.nets else ()
    return ("data", *views, *taught, "distill", "quantize", "evaluate", "pack")


def build(run: Path, sources: Sequence[Source], recipe: Recipe, out: Path, split: Path | None = None) -> Bundle:
    """Run every step that the recipe needs, saying which one it is at.

    Raises:
        TrainerError: whatever a step raises; what came before it is kept.
    """
    did: dict[str, Callable[[], object]] = {
        "data": lambda: prepare_data(run, sources, recipe, split),
        "views": lambda: make_views(run, recipe),
        "teach": lambda: teach(run, recipe),
        "distill": lambda: distill(run, recipe, run if recipe.teach.nets else None),
        "quantize": lambda: quantize_student(run, recipe),
        "evaluate": lambda: evaluate(run, recipe),
    }
    needed, start_s = steps(recipe), time.monotonic()
    for number, name in enumerate(needed[:-1], 1):
        console.print(f"step {number} of {len(needed)}: {name} ({(time.monotonic() - start_s) / 60:.0f} min so far)")
        did[name]()
    console.print(f"step {len(needed)} of {len(needed)}: pack ({(time.monotonic() - start_s) / 60:.0f} min so far)")
    return pack(run, recipe, out)
