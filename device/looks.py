"""Looks: labelled pictures that this bin holds. What a new model must name no worse than the one before it.

    <state>/looks/<label>/<name>.png -> find_looks -> probe_child
    a correction, a guided look      -> keep_look  -> <state>/looks/<label>/<name>.png

Golden pictures prove that bytes, colours and kernels arrived whole; they came with the model and agree with whatever it
does. Only pictures that the bin took itself, with a label that a person gave, can tell that a well-signed model is bad.
A picture is kept only together with such a label, never before.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from device.camera.frame import Rgb
from device.errors import ItemsError, UsageError
from device.pictures import decode_picture, find_pictures

__all__ = [
    "CORRECTED",
    "MOST_PER_LABEL",
    "Look",
    "find_looks",
    "keep_items",
    "keep_look",
    "looks_folder",
    "remove_picture",
]

MOST_PER_LABEL: Final = 60
"""So many of a label are looked at, the last by name: a Raspberry Pi 4 names 400 pictures in about ten seconds."""

CORRECTED: Final = "event-"
"""The name of a corrected item's picture begins so, and the number of its decision follows."""

_NAME: Final = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Look:
    """One labelled picture, not yet read.

    Attributes:
        name: `<label>/<file>`.
        label: what a person says it shows.
        path: of the PNG file.
    """

    name: str
    label: str
    path: Path

    @property
    def is_correction(self) -> bool:
        """It is here because a decision was wrong; other looks were brought to be learnt from."""
        return self.path.name.startswith(CORRECTED)


def looks_folder(events_path: Path) -> Path:
    """Where a bin keeps them: beside its events."""
    return events_path.with_name("looks")


def find_looks(folder: Path, most_per_label: int = MOST_PER_LABEL) -> list[Look]:
    """The labelled pictures, by label and name; none where the folder does not exist.

    Raises:
        ItemsError: the folder may not be listed.
    """
    try:
        labels = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        return [look for label in labels for look in _of_label(label)[-most_per_label:]]
    except OSError as error:
        raise ItemsError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions") from error


def keep_look(folder: Path, label: str, name: str, rgb: Rgb) -> Path:
    """Keep one picture that a person has labelled; a power cut leaves all of it or nothing.

    Args:
        folder: of all looks; made if missing.
        label: a material; a folder's name.
        name: of the file, without `.png`, such as `event-17`; a picture of that name is replaced.
        rgb: uint8 [H, W, 3].

    Raises:
        UsageError: label or name is no plain word.
        ItemsError: it cannot be written.
    """
    for word in (label, name):
        if not _NAME.fullmatch(word):
            raise UsageError(f"looks: {word!r} is no name for a picture; expected letters, digits, - and _ only")
    path = folder / label / f"{name}.png"
    # A leading dot hides it from `find_looks` until it is whole.
    partial = path.with_name(f".{path.name}")
    png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(png)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise ItemsError(f"{path}: the picture was not kept ({error.strerror}); see: wastebin doctor") from error
    return path


def keep_items(folder: Path, items: Path) -> int:
    """Keep somebody's pictures as looks, and say how many; the same picture twice is one.

    Args:
        items: class folders or a zip of them.

    Raises:
        UsageError: a picture is in no class folder.
        PictureError, ItemsError: it cannot be read or written.
    """
    count = 0
    for picture in find_pictures(items):
        if picture.label is None:
            raise UsageError(f"{picture.name}: not inside a class folder; expected <label>/<picture>")
        data = picture.read()
        name = f"item-{hashlib.sha256(data).hexdigest()[:12]}"
        keep_look(folder, picture.label, name, decode_picture(data, picture.name))
        count += 1
    return count


def remove_picture(path: Path) -> None:
    """Remove a kept picture, if it is there.

    Raises:
        ItemsError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ItemsError(f"{path}: cannot be removed ({error.strerror}); see: wastebin doctor") from error


def _of_label(folder: Path) -> list[Look]:
    files = [path for path in folder.iterdir() if path.suffix == ".png" and not path.name.startswith(".")]
    files.sort(key=_by_number)
    return [Look(f"{folder.name}/{path.name}", folder.name, path) for path in files]


def _by_number(path: Path) -> list[str | int]:
    """`event-100` comes after `event-99`."""
    return [int(part) if at % 2 else part for at, part in enumerate(re.split(r"([0-9]+)", path.name))]
