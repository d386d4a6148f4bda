"""Draws: which pictures an epoch shows, and each of them made when it is asked for.

    data/ + recipe -> draw_epoch -> TrainingPictures -> make_batches -> uint8 batches

Everything random comes from the recipe's seed, the epoch and the position, so that a run that was cut off goes on as
if it had not been.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device.simulator.drawings import TRAINING_SHAPES, draw_item
from trainer.augment import Augmenter, corner
from trainer.data import Dataset
from trainer.nets import MEAN, STD
from trainer.recipe import Recipe

__all__ = ["Batch", "TrainingPictures", "draw_epoch", "make_batches", "normalise"]

Batch = tuple[Tensor, Tensor]
"""uint8 [N, S, S, 3] RGB and float32 [N, K] allowed labels."""

_BATCHES_AHEAD = 4
_SURFACES_PER_SOURCE = 80


def draw_epoch(dataset: Dataset, recipe: Recipe, epoch: int) -> list[tuple[int, int]]:
    """What one epoch shows: (record index, or -1 - drawing index; seed), in order.

    A picture's chance is its source's weight over the square root of how many pictures its label has, so that rare
    labels are seen often enough without being learnt by heart.
    """
    rng = np.random.default_rng([recipe.train.seed, epoch])
    train = np.array(dataset.indices("train"))
    targets = [dataset.records[index].target for index in train]
    count = {target: targets.count(target) for target in set(targets)}
    weight = np.array([
        recipe.data.weight.get(dataset.records[index].source, 1.0) / count[target] ** 0.5
        for index, target in zip(train, targets, strict=True)
    ])  # fmt: skip
    photographs = rng.choice(train, recipe.train.pictures_per_epoch, p=weight / weight.sum())
    drawings = -1 - rng.integers(0, recipe.drawings.per_label * len(recipe.data.labels), recipe.drawings.per_epoch)
    drawn = np.concatenate([photographs, drawings])
    rng.shuffle(drawn)
    return [(int(index), int(seed)) for index, seed in zip(drawn, rng.integers(0, 2**62, len(drawn)), strict=True)]


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [N, S, S, 3] RGB -> float32 [N, 3, S, S] as every network takes it."""
    return ((pixels.permute(0, 3, 1, 2).float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


class TrainingPictures:
    """The pictures of one epoch, each made when it is asked for.

    Attributes:
        order: what `draw_epoch` drew.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self._dataset = dataset
        self._labels = recipe.data.labels
        surfaces = _surfaces(dataset, recipe.train.seed) if recipe.augment.surface else ()
        self._augmenter = Augmenter(recipe.augment, recipe.size_px, recipe.train.seed, surfaces)
        self._drawings = _draw(self._labels, recipe.drawings.per_label) if recipe.drawings.per_epoch else ()
        self.order: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        index, seed = self.order[position]
        rng = np.random.default_rng(seed)
        if index < 0:
            rgba, label = self._drawings[-1 - index]
            allowed = np.array([name == label for name in self._labels], dtype=np.float32)
            return self._augmenter.item(rgba, rng), allowed
        record = self._dataset.records[index]
        picture = self._augmenter.photograph(self._dataset.pixels[index], self._dataset.alpha[index], rng)
        return picture, record.allowed(self._labels)


def _surfaces(dataset: Dataset, seed: int) -> list[NDArray[np.uint8]]:
    """Corners of training photographs, of every source alike."""
    rng = np.random.default_rng([seed, 0xC0])
    by_source: dict[str, list[int]] = {}
    for index in dataset.indices("train"):
        by_source.setdefault(dataset.records[index].source, []).append(index)
    chosen = [int(rng.choice(rows)) for rows in by_source.values() for _ in range(_SURFACES_PER_SOURCE)]
    return [corner(dataset.pixels[index], rng) for index in chosen]


@lru_cache(maxsize=1)  # a minute of drawing, the same for every step of a run
def _draw(labels: tuple[str, ...], per_label: int) -> tuple[tuple[NDArray[np.uint8], str], ...]:
    return tuple(
        (draw_item(label, number, TRAINING_SHAPES[label][number % len(TRAINING_SHAPES[label])], 224), label)
        for label in labels
        for number in range(per_label)
    )


def make_batches(pictures: TrainingPictures, size: int, rows: Callable[[int, int], range] = range) -> Iterator[Batch]:
    """Batches in order, made ahead in threads: OpenCV and numpy let go of the interpreter, and nothing is forked.

    Args:
        rows: which positions to make of the batch from a start to an end; all of them if not told else.
    """
    starts = iter(range(0, len(pictures), size))

    def make(start: int) -> Batch:
        made = [pictures[position] for position in rows(start, min(start + size, len(pictures)))]
        return torch.from_numpy(np.stack([row[0] for row in made])), torch.from_numpy(
            np.stack([row[1] for row in made])
        )

    with ThreadPoolExecutor(2) as pool:
        ahead = deque(pool.submit(make, start) for start in islice(starts, _BATCHES_AHEAD))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(make, start) for start in islice(starts, 1))
            yield batch
