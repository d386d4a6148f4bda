"""ImageNet's thousand classes are learnt beside the materials, from answers that are computed once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Drawn, StopsAfter

from trainer.checkpoint import read_checkpoint
from trainer.classes import CLASSES
from trainer.distill import distill
from trainer.draws import normalise
from trainer.errors import TrainerError
from trainer.nets import imagenet_lite
from trainer.progress import console
from trainer.recipe import Recipe, Teach, Views
from trainer.student import load_student
from trainer.teach import teach
from trainer.views import open_views


@pytest.fixture
def recipe(drawn: Drawn) -> Recipe:
    """A student that learns from one teacher and, beside it, ImageNet's classes."""
    plain = drawn.recipe
    return replace(
        plain,
        views=Views(photographs=28, drawings=4, size_px=96, calm=0.25),
        teach=Teach(("nano",), 4, probe_passes=1, passes=1, batch=16),
        teacher=replace(plain.teacher, classes=0.5),
    )


def student(run: Path, recipe: Recipe) -> dict[str, torch.Tensor]:
    return dict(load_student(run, recipe).state_dict())


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_student_learns_the_classes_too_and_ships_without_them(fresh: Path, recipe: Recipe) -> None:
    teach(fresh, recipe)
    distill(fresh, recipe, fresh)
    with_classes = student(fresh, recipe)
    answers = np.load(fresh / "classes" / "views.npy")
    assert (answers.shape, answers.dtype) == ((32, CLASSES), np.float16)
    pixels = normalise(torch.from_numpy(np.array(open_views(fresh).pixels[:4])))
    with torch.inference_mode():
        seen = imagenet_lite(2).eval()(pixels).numpy()
    assert np.corrcoef(seen.ravel(), answers[:4].ravel())[0, 1] > 0.99  # half precision, where the processor has it
    written = (fresh / "classes" / "views.npy").stat().st_mtime_ns

    plain = replace(recipe, teacher=replace(recipe.teacher, classes=0.0))
    distill(fresh, plain, fresh)
    without = student(fresh, plain)
    assert with_classes.keys() == without.keys()
    assert not same(with_classes, without)

    distill(fresh, recipe, fresh)
    assert same(student(fresh, recipe), with_classes)
    assert (fresh / "classes" / "views.npy").stat().st_mtime_ns == written


def test_what_was_cut_off_keeps_what_it_knew_of_the_classes(fresh: Path, recipe: Recipe) -> None:
    teach(fresh, recipe)
    distill(fresh, recipe, fresh)
    whole = student(fresh, recipe)
    (fresh / "distill" / "stage.json").unlink()
    (fresh / "distill" / "last.pt").unlink()
    console.file = StopsAfter("epoch 2/")  # type: ignore[assignment]
    try:
        with pytest.raises(KeyboardInterrupt):
            distill(fresh, recipe, fresh)
    finally:
        console.file = None  # type: ignore[assignment]
    kept = read_checkpoint(fresh / "distill" / "last.pt")
    assert len(kept["beside"]["weight"]) == CLASSES
    distill(fresh, recipe, fresh)
    assert same(student(fresh, recipe), whole)


def test_without_a_teacher_there_are_no_classes_and_without_kept_views_none_to_learn(
    fresh: Path, drawn: Drawn, recipe: Recipe
) -> None:
    teach(fresh, recipe)
    distill(fresh, recipe)
    assert "beside" not in read_checkpoint(fresh / "distill" / "last.pt")
    live = replace(drawn.recipe, teacher=recipe.teacher)
    with pytest.raises(TrainerError, match=r"teacher\.classes needs kept views; set views\.photographs"):
        distill(fresh, live, fresh)
