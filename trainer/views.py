"""Views: every training picture made once, many times over, and kept.

    data/ -> draw_epoch -> augment -> views/pixels.npy  views/rows.npz -> teach, distill

A *view* is one augmented picture. Made live, each epoch pays for the augmentation again, and a teacher for its answer.
Kept, teacher and student see the very same pixels (what makes distillation work: Beyer et al. 2022), the teacher
answers each once, and every seed, control and student after it shares the work (Shen and Xing 2022, "A Fast Knowledge
Distillation Framework"). It must never hold a picture of *tune* or *val*.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from trainer.data import Dataset, open_dataset
from trainer.draws import Batch, TrainingPictures, draw_epoch, make_batches
from trainer.errors import StageMissing
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.stage import Stage, write_atomic

__all__ = ["Views", "has_views", "make_views", "open_views", "view_batches"]

_CHUNK = 48
_SAVED_EVERY = 40
"""Chunks between two notes of how far it has come."""


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What `make_views` made.

    Attributes:
        pixels: uint8 RGB [N, P, P, 3], on the disk.
        allowed: uint8 [N, K], 1 where a label is right.
        record: int32 [N], the picture's index in the data set, or -1 - number for a drawing.
        fingerprint: of the step that made them.
    """

    pixels: NDArray[np.uint8]
    allowed: NDArray[np.uint8]
    record: NDArray[np.int32]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.allowed)


def has_views(run: Path) -> bool:
    """Whether this run's views are finished."""
    return (run / "views" / "stage.json").is_file()


def make_views(run: Path, recipe: Recipe) -> Views:
    """Make the views of a run; cut off, it goes on where it was.

    Raises:
        StageMissing: the recipe asks for none, or there is no data yet.
    """
    if not recipe.views.photographs:
        raise StageMissing(f"recipe {recipe.name}: views.photographs is 0, so every epoch makes its own pictures")
    dataset = open_dataset(run)
    inputs = {
        "data": dataset.fingerprint, "weight": recipe.data.weight, "views": recipe.views, "augment": recipe.augment,
        "calm": recipe.at_finish().augment, "per_label": recipe.drawings.per_label, "seed": recipe.train.seed,
    }  # fmt: skip
    stage = Stage(run, "views", inputs)
    if stage.is_done:
        console.print(f"views: unchanged, {len(open_views(run))} of them")
        return open_views(run)
    total, size_px = recipe.views.photographs + recipe.views.drawings, recipe.views.size_px
    shape, note = (total, size_px, size_px, 3), stage.path / "made.txt"
    made = int(note.read_text(encoding="utf-8")) if stage.is_begun and note.is_file() else 0
    if not made:
        note.unlink(missing_ok=True)
        stage.begin()
    path = stage.path / "pixels.npy"
    pixels = open_memmap(path, mode="r+" if made else "w+", dtype=np.uint8, shape=shape)
    order = _order(dataset, recipe)
    for start, batch in track(_made(dataset, recipe, order, made), "views", -(-(total - made) // _CHUNK)):
        pixels[start : start + len(batch)] = batch
        if start // _CHUNK % _SAVED_EVERY == _SAVED_EVERY - 1:
            pixels.flush()
            write_atomic(note, str(start + len(batch)).encode())
    pixels.flush()
    labels = recipe.data.labels
    drawn = recipe.drawings.per_label
    allowed = np.array(
        [
            dataset.records[index].allowed(labels) if index >= 0 else np.eye(len(labels))[(-1 - index) // drawn]
            for index, _ in order
        ],
        dtype=np.uint8,
    )
    np.savez(stage.path / "rows.npz", allowed=allowed, record=np.array([index for index, _ in order], dtype=np.int32))
    stage.finish({"views": total, "size_px": size_px, "of_pictures": len({index for index, _ in order if index >= 0})})
    return open_views(run)


def open_views(run: Path) -> Views:
    """Open what `make_views` made.

    Raises:
        StageMissing: it has not been run.
    """
    fingerprint, _ = Stage.result_of(run, "views")
    with np.load(run / "views" / "rows.npz") as rows:
        allowed, record = rows["allowed"], rows["record"]
    return Views(np.load(run / "views" / "pixels.npy", mmap_mode="r"), allowed, record, fingerprint)


def _order(dataset: Dataset, recipe: Recipe) -> list[tuple[int, int]]:
    """(record index, or -1 - drawing index; seed) of every view."""
    many = replace(
        recipe,
        train=replace(recipe.train, pictures_per_epoch=recipe.views.photographs),
        drawings=replace(recipe.drawings, per_epoch=recipe.views.drawings),
    )
    return draw_epoch(dataset, many, 0)


def _made(
    dataset: Dataset, recipe: Recipe, order: list[tuple[int, int]], made: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The views from `made` on, in chunks: the first ones stray far, the last as little as `Finish` says."""
    sized = replace(recipe, size_px=recipe.views.size_px, drawings=replace(recipe.drawings, per_epoch=1))
    border = round(len(order) * (1 - recipe.views.calm)) // _CHUNK * _CHUNK
    for rule, begin, end in ((sized, 0, border), (sized.at_finish(), border, len(order))):
        if max(begin, made) >= end:
            continue
        pictures = TrainingPictures(dataset, rule)
        pictures.order = order[max(begin, made) : end]
        for number, (pixels, _) in enumerate(make_batches(pictures, _CHUNK)):
            yield max(begin, made) + number * _CHUNK, pixels.numpy()


def view_batches(views: Views, rows: NDArray[np.int64], size: int) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Batches of these rows, in this order: (rows, (uint8 [n, P, P, 3], float32 [n, K]))."""
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        pixels = torch.from_numpy(np.asarray(views.pixels[some]))
        yield some, (pixels, torch.from_numpy(views.allowed[some].astype(np.float32)))
