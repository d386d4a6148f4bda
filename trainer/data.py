"""Data: sources -> one folder that every later step reads.

dataset.read_sources -> features -> split -> data/records.tsv  data/pixels.npy  data/features.npy  data/split.txt
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from device.pictures import find_pictures
from device.simulator.items import outline
from trainer.dataset import (
    CACHE_PX,
    SPLITS,
    Record,
    Source,
    cache_pixels,
    read_records,
    read_sources,
    read_split,
    with_split,
    without_leaks,
    write_records,
    write_split,
)
from trainer.errors import DatasetError
from trainer.nets import MEAN, STD, imagenet_lite
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.split import SHARES, Fold, assign_fold, assign_splits, group_near_copies
from trainer.stage import Stage

__all__ = ["Dataset", "open_dataset", "prepare_data"]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What `prepare_data` made.

    Attributes:
        records: one per picture.
        pixels: uint8 RGB [N, CACHE_PX, CACHE_PX, 3], on the disk.
        alpha: uint8 [N, CACHE_PX, CACHE_PX], where the item is in each of them, on the disk.
        sources: where the originals are.
        split_path: the split in the form that is committed.
        fingerprint: of the step that made it.
    """

    records: list[Record]
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    sources: list[Path]
    split_path: Path
    fingerprint: str

    def indices(self, split: str) -> list[int]:
        """Which records belong to a split."""
        return [index for index, record in enumerate(self.records) if record.split == split]


def prepare_data(
    run: Path, sources: Sequence[Source], recipe: Recipe, split: Path | None = None, fold: Fold | None = None
) -> Dataset:
    """Read, check, group and split the pictures; nothing is done when nothing changed.

    Args:
        split: a split that was written down; pictures that it names keep it, others are added to it by groups.
        fold: of a cross-validation, in place of the recipe's share of *val*.

    Raises:
        DatasetError: see `trainer.dataset.read_sources`.
    """
    inputs = {  # not the weights and licences: they are used later, and reading again takes minutes
        "data": (recipe.data.labels, recipe.data.label_map, recipe.data.leave_out, recipe.data.same_object),
        "seed": recipe.train.seed,
        "sources": [(source.name, *_stamp(source.path)) for source in sources],
        "split": split.read_text(encoding="utf-8") if split and split.is_file() else str(split),
    }
    shares = dict(zip(SPLITS, recipe.data.shares, strict=True))
    if shares != SHARES:  # named only where it says something: data that was read before there was a choice stays
        inputs["shares"] = shares
    if fold:
        inputs["fold"] = fold
    stage = Stage(run, "data", inputs)
    if stage.is_done:
        console.print(f"data: unchanged, {len(read_records(stage.path / 'records.tsv'))} pictures")
        return open_dataset(run)
    given = read_split(split) if split else {}
    stage.begin()
    total = sum(1 for source in sources for _ in find_pictures(source.path))
    shape = (total, CACHE_PX, CACHE_PX)
    pixels = open_memmap(stage.path / "pixels.npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
    alpha = open_memmap(stage.path / "alpha.npy", mode="w+", dtype=np.uint8, shape=shape)
    count = 0

    def keep(_record: Record, rgb: NDArray[np.uint8]) -> None:
        nonlocal count
        pixels[count] = cache_pixels(rgb)
        alpha[count] = outline(pixels[count])
        count += 1

    with console.status(f"reading {total} pictures"):
        records, complaints = read_sources(sources, recipe.data, keep)
    pixels.flush()
    alpha.flush()
    for complaint in complaints:
        console.print(f"left out: {complaint}")
    features = _features(pixels[:count])
    np.save(stage.path / "features.npy", features.astype(np.float16))  # the audit looks at them again
    groups = group_near_copies(features, recipe.data.same_object)
    seed = recipe.train.seed
    parted = assign_fold(records, groups, seed, fold, shares) if fold else assign_splits(records, groups, seed, shares)
    records = with_split(parted, given)
    if leaks := sum(len({records[i].split for i in members}) > 1 for members in _by_group(records).values()):
        console.print(
            f"note: the given split puts {leaks} groups of near-copies on both sides; those of their pictures that "
            "are not trained on are left out of every figure"
        )
    _check_splits(records, recipe.data.labels)
    write_records(records, stage.path / "records.tsv")
    write_split(records, stage.path / "split.txt")
    sizes = Counter(record.group for record in records)
    stage.finish(
        {
            "pictures": len(records),
            "sources": [source.path.resolve() for source in sources],
            "left_out": complaints,
            "near_copy_groups": sum(1 for size in sizes.values() if size > 1),
            "largest_group": max(sizes.values()),
            "splits": Counter(record.split for record in records),
            "targets": Counter(f"{record.source}: {record.target}" for record in records),
        }
    )
    return open_dataset(run)


def open_dataset(run: Path) -> Dataset:
    """Open what `prepare_data` made.

    Raises:
        StageMissing: it has not been run.
    """
    fingerprint, result = Stage.result_of(run, "data")
    sources = [Path(text) for text in result["sources"]]
    path = run / "data"
    pixels, alpha = (np.load(path / f"{name}.npy", mmap_mode="r") for name in ("pixels", "alpha"))
    return Dataset(
        without_leaks(read_records(path / "records.tsv")), pixels, alpha, sources, path / "split.txt", fingerprint
    )


def _check_splits(records: Sequence[Record], labels: Sequence[str]) -> None:
    """Refuse a label that could not be trained on, chosen by or measured."""
    for label in labels:
        of_label = [record for record in records if record.target == label]
        found = [split for split in SPLITS if any(record.split == split for record in of_label)]
        if len(found) < len(SPLITS):
            raise DatasetError(
                f"label {label!r}: its {len(of_label)} pictures show {len({record.group for record in of_label})} "
                f"different objects and fall into {' and '.join(found)} alone, expected {', '.join(SPLITS)}; "
                "add pictures of other objects"
            )


def _by_group(records: Sequence[Record]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(record.group, []).append(index)
    return groups


def _features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pooled ImageNet features, float32 [N, 1280], for finding near-copies."""
    net = imagenet_lite(0).eval().to(memory_format=torch.channels_last)
    rows = []
    with torch.inference_mode():
        for start in track(range(0, len(pixels), 64), "features for near-copies"):
            batch = torch.from_numpy(pixels[start : start + 64].astype(np.float32)).permute(0, 3, 1, 2)
            rows.append(net.forward_features((batch - MEAN) / STD).mean((2, 3)).numpy())  # type: ignore[operator]
    return np.concatenate(rows)


def _stamp(path: Path) -> list[str]:
    """What changes when a source changes, without reading its pictures."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
