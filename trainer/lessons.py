"""Lessons: what an epoch shows the student: pictures, their labels, and a teacher's opinion of the very same pixels.

    draws (live) or views (kept) [+ teachers] -> Lessons.epoch -> Lesson, Lesson, ... -> distill

Live pictures are new in every epoch, and a teacher answers each batch as it passes. Kept views cost nothing to make
again, and neither do the answers to them (see `trainer.views`). Everything random comes from the seed, the epoch and
the position, so that a run that was cut off goes on as if it had not been.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from device.preprocess import fit
from trainer.classes import class_answers
from trainer.data import Dataset, open_dataset
from trainer.draws import TrainingPictures, draw_epoch, make_batches, normalise
from trainer.errors import TrainerError
from trainer.machine import Machine
from trainer.nets import Net
from trainer.recipe import Recipe
from trainer.stage import Stage
from trainer.student import load_student
from trainer.taught import has_teachers, load_teachers, teacher_answers
from trainer.views import Views, has_views, open_views

__all__ = ["Lesson", "Lessons", "open_lessons"]

_BATCHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Lesson:
    """One batch, or of several processes one's rows of it.

    Attributes:
        records: whose pictures they are: indices in the data set, negative for drawings.
        pixels: uint8 [N, S, S, 3] RGB, at the student's size.
        allowed: float32 [N, K], 1 where a label is right.
        opinion: float32 [N, K], the teacher's logits or log-probabilities; None without a teacher.
        classes: float32 [N, 1000], the logits of ImageNet's classes; None where the recipe does not ask for them.
    """

    records: list[int]
    pixels: Tensor
    allowed: Tensor
    opinion: Tensor | None
    classes: Tensor | None = None


class Lessons(Protocol):
    """Where lessons come from.

    Attributes:
        origin: what the student's training depends on beside the recipe: fingerprints.
        per_epoch: pictures in an epoch.
        has_classes: they come with the logits of ImageNet's classes.
    """

    origin: tuple[str, ...]
    per_epoch: int
    has_classes: bool

    def epoch(self, number: int) -> Iterator[Lesson]:
        """The lessons of epoch `number`, from 0; the same number gives the same lessons."""
        ...


def open_lessons(run: Path, recipe: Recipe, teacher: Path | None, machine: Machine) -> Lessons:
    """The lessons of a run: from its views where the recipe asks for views, else live.

    Args:
        machine: whose rows of each batch they are, and where a teacher answers.
        teacher: a run folder with taught teachers, or else with a student to learn from; None for labels alone.

    Raises:
        StageMissing: a step before has not been run.
        TrainerError: the teacher has other labels, its answers are about other views, or the recipe asks for
            ImageNet's classes of pictures that are not kept.
    """
    if recipe.teacher.classes and teacher and not recipe.views.photographs:
        raise TrainerError(
            f"recipe {recipe.name}: teacher.classes needs kept views; set views.photographs, or teacher.classes = 0"
        )
    if recipe.views.photographs:
        return _ViewLessons(open_views(run), recipe, run, teacher, machine)
    return _LiveLessons(open_dataset(run), recipe, teacher, machine)


class _LiveLessons:
    """Pictures made as they are asked for."""

    def __init__(self, dataset: Dataset, recipe: Recipe, teacher: Path | None, machine: Machine) -> None:
        self._dataset, self._recipe, self._machine = dataset, recipe, machine
        self._far, self._calm = TrainingPictures(dataset, recipe), TrainingPictures(dataset, recipe.at_finish())
        self._teacher: nn.Module | None = None
        mark = ""
        if teacher is not None:
            self._teacher, mark = _open_teacher(teacher, recipe)
            machine.place(self._teacher)
        self.origin: tuple[str, ...] = (dataset.fingerprint, mark)
        self.per_epoch = recipe.train.pictures_per_epoch + recipe.drawings.per_epoch
        self.has_classes = False

    def epoch(self, number: int) -> Iterator[Lesson]:
        shown = self._far if number < self._recipe.train.epochs else self._calm
        shown.order = draw_epoch(self._dataset, self._recipe, number)
        machine, size = self._machine, self._recipe.train.batch
        for start, (pixels, allowed) in zip(
            range(0, len(shown), size), make_batches(shown, size, machine.rows), strict=True
        ):
            rows = machine.rows(start, min(start + size, len(shown)))
            opinion = None
            if self._teacher is not None:
                with torch.no_grad(), machine.autocast(), machine.within_memory(size):
                    opinion = self._teacher(normalise(pixels.to(machine.device)))
            yield Lesson([shown.order[row][0] for row in rows], pixels, allowed, opinion)


class _ViewLessons:
    """Views in a new order every epoch, some of them mirrored."""

    def __init__(self, views: Views, recipe: Recipe, run: Path, teacher: Path | None, machine: Machine) -> None:
        self._views, self._recipe, self._machine = views, recipe, machine
        self._answers = _open_answers(run, recipe, teacher, views) if teacher else None
        # Kept by the teacher's run, so that each student of it finds them.
        self._classes = class_answers(teacher, views, machine) if teacher and recipe.teacher.classes else None
        self.origin: tuple[str, ...] = (views.fingerprint, Stage.result_of(teacher, "teach")[0] if teacher else "")
        self.per_epoch = min(recipe.train.pictures_per_epoch, len(views))
        self.has_classes = self._classes is not None

    def epoch(self, number: int) -> Iterator[Lesson]:
        seed, size = self._recipe.train.seed, self._recipe.train.batch
        # Every view is shown before one is shown again, also where an epoch is shorter than all of them.
        first = number * self.per_epoch
        rows = np.array([self._row(seed, position) for position in range(first, first + self.per_epoch)])
        mirrored = np.random.default_rng([seed, number, 1]).random(len(rows)) < 0.5
        starts = iter(range(0, len(rows), size))

        def make(start: int) -> Lesson:
            own = np.array(self._machine.rows(start, min(start + size, len(rows))))
            return self._lesson(rows[own], mirrored[own])

        with ThreadPoolExecutor(2) as pool:
            ahead = deque(pool.submit(make, start) for start in islice(starts, _BATCHES_AHEAD))
            while ahead:
                lesson = ahead.popleft().result()
                ahead.extend(pool.submit(make, start) for start in islice(starts, 1))
                yield lesson

    def _row(self, seed: int, position: int) -> int:
        lap, place = divmod(position, len(self._views))
        if getattr(self, "_lap", None) != lap:
            self._lap = lap
            self._order = np.random.default_rng([seed, lap, 0]).permutation(len(self._views))
        return int(self._order[place])

    def _lesson(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> Lesson:
        side = self._recipe.size_px
        pictures = [fit(np.asarray(self._views.pixels[row]), side) for row in rows]
        pixels = np.stack(
            [picture[:, ::-1] if flip else picture for picture, flip in zip(pictures, mirrored, strict=True)]
        )
        allowed = torch.from_numpy(self._views.allowed[rows].astype(np.float32))
        opinion = None if self._answers is None else torch.from_numpy(self._answers[rows].astype(np.float32))
        classes = None if self._classes is None else torch.from_numpy(self._classes[rows].astype(np.float32))
        return Lesson(self._views.record[rows].tolist(), torch.from_numpy(pixels), allowed, opinion, classes)


def _open_answers(run: Path, recipe: Recipe, teacher: Path, views: Views) -> NDArray[np.float16]:
    _, result = Stage.result_of(teacher, "teach")
    _check_teacher(teacher, result["labels"], recipe)
    if not has_views(teacher) or open_views(teacher).fingerprint != views.fingerprint:
        raise TrainerError(
            f"{teacher}: its teachers answered other views than those of {run}; use its own: "
            f"remove {run}/views and {run}/data, and run trainer distill again"
        )
    return teacher_answers(teacher)


def _open_teacher(run: Path, recipe: Recipe) -> tuple[nn.Module, str]:
    """The teachers of a run, or its student as one; with the fingerprint of the step that made them."""
    if has_teachers(run):
        mark, result = Stage.result_of(run, "teach")
        _check_teacher(run, result["labels"], recipe)
        return load_teachers(run), mark
    mark, result = Stage.result_of(run, "distill")
    _check_teacher(run, result["labels"], recipe)
    return _Logits(load_student(run)).eval().requires_grad_(False), mark


class _Logits(nn.Module):
    """A student as a teacher: its logits alone."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.net(pixels)[0]
        return logits


def _check_teacher(run: Path, labels: list[str], recipe: Recipe) -> None:
    if labels != list(recipe.data.labels):
        raise TrainerError(
            f"{run}: a teacher of {', '.join(labels)}, but the recipe asks for {', '.join(recipe.data.labels)}; "
            "train the teacher with the same labels"
        )
