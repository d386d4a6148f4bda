"""Bench: how many pictures a second this machine augments, trains on and has a teacher answer.

    recipe -> made-up pictures -> Augmenter | the student's step | a teacher's answers -> Speed, one a row

It tells before a long run how long it will be, and which part to feed with more cores. Drawings are cheaper to make
than to photograph and as slow to compute, so it needs no data; weights start at random, for speed does not ask for
them. It must never touch a run.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device.simulator.drawings import LABELS, draw_item
from trainer.augment import Augmenter
from trainer.dataset import CACHE_PX
from trainer.losses import allowed_loss
from trainer.machine import Machine
from trainer.nets import RANDOM, build_net, freeze
from trainer.recipe import Recipe
from trainer.teachers import build_teacher

__all__ = ["Speed", "bench", "pictures_per_s"]


@dataclass(frozen=True, slots=True)
class Speed:
    """One row of the table.

    Attributes:
        what: for a person.
        pictures_per_s: of all processes together.
    """

    what: str
    pictures_per_s: float


def bench(
    recipe: Recipe, machine: Machine, least_s: float = 5.0, clock: Callable[[], float] = time.perf_counter
) -> Iterator[Speed]:
    """Measure each part for itself, one after the other.

    Args:
        least_s: how long each is measured, after one pass to warm up.
    """
    for what, work in _works(recipe, machine):
        yield Speed(what, pictures_per_s(work, machine, least_s, clock))


def pictures_per_s(work: Callable[[], int], machine: Machine, least_s: float, clock: Callable[[], float]) -> float:
    """Pictures a second of something that is done again and again.

    Args:
        work: one pass; returns how many pictures it was. It ends when its result is there, on a GPU as well.
    """
    work()
    pictures, start_s = 0, clock()
    while True:
        pictures += work()
        passed_s = clock() - start_s
        if not machine.agree(passed_s < least_s):
            return machine.total(pictures / passed_s)


def _works(recipe: Recipe, machine: Machine) -> Iterator[tuple[str, Callable[[], int]]]:
    augmenter = Augmenter(recipe.augment, recipe.size_px, recipe.train.seed)
    yield f"augmentation to {recipe.size_px} px, one thread", _augmentation(augmenter)
    yield f"{recipe.net}'s step at {recipe.size_px} px, {recipe.train.batch} a batch", _step(recipe, machine)
    for name in recipe.teach.nets:
        size_px = recipe.views.size_px
        yield f"{name}'s answers at {size_px} px, {recipe.teach.batch} a batch", _answers(name, recipe, machine)


def _augmentation(augmenter: Augmenter) -> Callable[[], int]:
    pictures = [_photograph(label) for label in LABELS]
    seeds = count()

    def work() -> int:
        for rgb, alpha in pictures:
            augmenter.photograph(rgb, alpha, np.random.default_rng(next(seeds)))
        return len(pictures)

    return work


def _photograph(label: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A drawing on a grey board as the data step keeps photographs: uint8 RGB [C, C, 3] and its outline [C, C]."""
    rgba = draw_item(label, 0, size_px=CACHE_PX)
    board = np.full((CACHE_PX, CACHE_PX, 4), 150, np.uint8)
    board[..., 3] = 0
    height, width = rgba.shape[:2]
    covered = rgba[..., 3:] > 127
    board[:height, :width] = np.where(covered, rgba, board[:height, :width])
    return np.ascontiguousarray(board[..., :3]), np.ascontiguousarray(board[..., 3])


def _noise(rows: int, size_px: int, machine: Machine) -> Tensor:
    pixels = torch.randn(rows, 3, size_px, size_px, device=machine.device)
    return pixels.contiguous(memory_format=torch.channels_last)


def _step(recipe: Recipe, machine: Machine) -> Callable[[], int]:
    net = build_net(recipe.net, len(recipe.data.labels), RANDOM).train()
    freeze(net, recipe.train.frozen_stages)
    machine.place(net)
    optimizer = torch.optim.AdamW([weight for weight in net.parameters() if weight.requires_grad])
    own, share = machine.rows(0, recipe.train.batch), machine.share(0, recipe.train.batch)
    pixels = _noise(len(own), recipe.size_px, machine)
    allowed = torch.eye(len(recipe.data.labels), device=machine.device)[torch.arange(len(own)) % 2]

    def work() -> int:
        with machine.within_memory(recipe.train.batch):
            with machine.autocast():
                logits, _ = net(pixels)
                loss = allowed_loss(logits.float(), allowed)
            whole = machine.backward(loss, share, net)
        machine.step(optimizer)
        whole.item()
        return len(own)

    return work


def _answers(name: str, recipe: Recipe, machine: Machine) -> Callable[[], int]:
    net = machine.place(build_teacher(name, len(recipe.data.labels), RANDOM)).eval()
    own = machine.rows(0, recipe.teach.batch)
    pixels = _noise(len(own), recipe.views.size_px, machine)

    def work() -> int:
        with torch.inference_mode(), machine.autocast(), machine.within_memory(recipe.teach.batch, "teach.batch"):
            logits, _ = net(pixels)
        logits.sum().item()
        return len(own)

    return work
