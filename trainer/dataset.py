"""Dataset: folders and archives of photographs -> checked records, cached pixels and a split.

    sources -> find, decode, map the label, drop exact copies -> group near-copies -> train / tune / val

A record is named by the SHA-256 of its file, so a split can be written down and read on another machine.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import ItemsError, PictureError
from device.pictures import decode_picture, find_pictures
from device.preprocess import fit
from trainer.errors import DatasetError
from trainer.recipe import Data

__all__ = [
    "CACHE_PX",
    "SPLITS",
    "Record",
    "Source",
    "cache_pixels",
    "map_label",
    "parse_source",
    "read_records",
    "read_sources",
    "read_split",
    "with_split",
    "without_leaks",
    "write_records",
    "write_split",
]

SPLITS = ("train", "tune", "val")
"""Trained on; used for every choice; read once per released bundle."""

CACHE_PX = 256
"""Side of the cached square pictures: room for crops of an input of 160 to 224 px."""

FEWEST = 10
"""Pictures a label needs, so that 70 / 10 / 20 leaves at least one in *tune* and two in *val*."""

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Source:
    """A folder or archive, and the name that its pictures are reported under."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Record:
    """One photograph.

    Attributes:
        sha256: of the file's bytes, in hexadecimal.
        name: path, `x.zip!/class/f.jpg` inside an archive.
        source: who it came from.
        target: a label, or `!label`: anything but that.
        group: pictures of the same object share it; -1 before grouping.
        split: one of `SPLITS`; empty before splitting, and for a picture that is not used.
    """

    sha256: str
    name: str
    source: str
    target: str
    group: int = -1
    split: str = ""

    def allowed(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """Which labels are right: float32 [K], 1 or 0."""
        names = np.array([label == self.target.removeprefix("!") for label in labels])
        return (names ^ self.target.startswith("!")).astype(np.float32)


def parse_source(text: str) -> Source:
    """`NAME=PATH`, or a path whose stem is the name.

    Raises:
        DatasetError: nothing is there.
    """
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists():  # a path may hold a = of its own
        name, rest = "", text
    path = Path(rest)
    if not path.exists():
        raise DatasetError(f"{path}: no such folder or archive; give a folder of class folders or a zip of them")
    return Source(name or path.stem, path)


def map_label(source: str, folder: str, data: Data) -> str | None:
    """The target for pictures of this folder; None where they are left out.

    Raises:
        DatasetError: the folder is no label and is not mapped.
    """
    if source in data.leave_out or source.rpartition("/")[2] in data.leave_out:
        return None
    target = data.label_map.get(f"{source}/{folder}", data.label_map.get(folder, folder))
    if target == "-":
        return None
    if target.removeprefix("!") not in data.labels:
        raise DatasetError(
            f"{source}: folder {folder!r} is none of the labels {', '.join(data.labels)}; "
            f"map it in the recipe: [data.label_map] {folder} = a label, !label or -"
        )
    return target


def read_sources(
    sources: Iterable[Source], data: Data, keep: Callable[[Record, U8], None]
) -> tuple[list[Record], list[str]]:
    """Read every picture once.

    Args:
        keep: is handed each record that is kept and its picture, uint8 RGB [H, W, 3].

    Returns:
        The records in the sources' order, and one sentence for each picture that was left out.

    Raises:
        DatasetError: a label has too few pictures, or a folder cannot be mapped.
    """
    found: list[tuple[Record, Callable[[], bytes]]] = []
    complaints: list[str] = []
    first: dict[str, Record] = {}
    contested: set[str] = set()
    for source in sources:
        for name, folder, origin, read in _pictures(source):
            target = map_label(origin, folder, data)
            if target is None:
                continue
            try:
                digest = hashlib.sha256(read()).hexdigest()
            except (PictureError, OSError) as error:
                complaints.append(str(error))
                continue
            record = Record(digest, name, origin, target)
            twin = first.setdefault(digest, record)
            if twin is record:
                found.append((record, read))
            elif twin.target == target:
                complaints.append(f"{name}: the same file as {twin.name}; kept once")
            else:
                contested.add(digest)
                complaints.append(
                    f"{name}: the same file as {twin.name}, but {target!r} here and {twin.target!r} there; "
                    "both left out"
                )
    records: list[Record] = []
    for record, read in found:
        if record.sha256 in contested:
            continue
        try:
            keep(record, decode_picture(read(), record.name))
        except PictureError as error:
            complaints.append(str(error))
        else:
            records.append(record)
    count = Counter(record.target for record in records)
    for label in data.labels:
        if count[label] < FEWEST:
            raise DatasetError(
                f"label {label!r} has {count[label]} pictures, expected at least {FEWEST}; "
                "add a source that has it, or take it out of the recipe's data.labels"
            )
    return records, complaints


def _pictures(source: Source) -> Iterator[tuple[str, str, str, Callable[[], bytes]]]:
    """Name, folder, origin and reader of each picture; a source with several upper folders is several origins."""
    try:
        found = list(find_pictures(source.path))
    except ItemsError as error:
        raise DatasetError(str(error)) from error
    uppers = [ref.name.replace("!/", "/").split("/")[:-2] for ref in found]
    several = len({tuple(upper) for upper in uppers}) > 1
    for ref, upper in zip(found, uppers, strict=True):
        if ref.label is None:
            raise DatasetError(f"{ref.name}: not inside a class folder; expected SOURCE/<label>/<picture>")
        yield ref.name, ref.label, f"{source.name}/{upper[-1]}" if several else source.name, ref.read


def cache_pixels(rgb: U8, side_px: int = CACHE_PX) -> U8:
    """Fit a whole picture into the cached square, uint8 RGB [side, side, 3], as the device's preprocess does."""
    return fit(rgb, side_px)


_COLUMNS = ("sha256", "split", "group", "source", "target", "name")


def write_records(records: Iterable[Record], path: Path) -> None:
    """Write all that is known of each picture as a tab-separated table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, _COLUMNS, delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(record) for record in records)


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Record(**{**row, "group": int(row["group"])})  # type: ignore[arg-type]
            for row in csv.DictReader(stream, delimiter="\t")
        ]


def write_split(records: Iterable[Record], path: Path) -> None:
    """Write the committed form of a split: `split sha256`, sorted; it names no file of anybody's."""
    lines = sorted(f"{record.split} {record.sha256}\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")


def read_split(path: Path) -> Mapping[str, str]:
    """SHA-256 -> split, from what `write_split` wrote.

    Raises:
        DatasetError: no such file, or a line that is not `split sha256`.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such split file; leave --split out to make a new split")
    split = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, _, digest = line.partition(" ")
        if name not in SPLITS or len(digest) != 64:
            raise DatasetError(f"{path}:{number}: {line[:40]!r}, expected one of {', '.join(SPLITS)} and a SHA-256")
        split[digest] = name
    return split


def with_split(records: Iterable[Record], split: Mapping[str, str]) -> list[Record]:
    """Give records the split that was written down for them; a new near-copy of one of them goes where that one is."""
    listed = list(records)
    of_group: dict[int, str] = {}
    for record in listed:
        if record.sha256 in split:
            of_group.setdefault(record.group, split[record.sha256])
    return [
        replace(record, split=split.get(record.sha256, of_group.get(record.group, record.split))) for record in listed
    ]


def without_leaks(records: Iterable[Record]) -> list[Record]:
    """Take pictures out of *tune* and *val* that are near-copies of a training picture: they would flatter.

    A split that is made here has none; one that was written down may, since grouping features differ by machine.
    """
    listed = list(records)
    trained = {record.group for record in listed if record.split == "train" and record.group >= 0}
    return [
        replace(record, split="") if record.split != "train" and record.group in trained else record
        for record in listed
    ]
