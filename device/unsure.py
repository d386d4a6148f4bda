"""Pictures of items that the bin could not name: for a person to label, where the configuration asks for them.

    [events] keep_unsure = N -> Keeper -> keep_unsure -> <state>/unsure/event-<number>.png -> export, trainer pull

They are what a next model learns most from, and pictures that nobody has agreed to: none is kept unless somebody has
asked for it in the bin's own configuration, only the newest N, and `wastebin wipe` removes them.
"""

import re
from pathlib import Path
from typing import Final

from device.camera.frame import Rgb
from device.errors import ItemsError
from device.looks import CORRECTED, keep_look, remove_picture

__all__ = ["find_unsure", "forget_unsure", "keep_unsure", "unsure_folder"]

_OF_EVENT: Final = re.compile(r"event-([1-9][0-9]*)\.png")


def unsure_folder(events_path: Path) -> Path:
    """Where a bin keeps them: beside its events."""
    return events_path.with_name("unsure")


def keep_unsure(folder: Path, event: int, rgb: Rgb, most: int) -> None:
    """Keep the picture of a decision, and only the newest `most`.

    Args:
        folder: made if missing.
        event: number of the decision.
        rgb: uint8 [H, W, 3].
        most: 1 or more.

    Raises:
        ItemsError: the disk does not take it, or does not let go of an old one.
    """
    keep_look(folder.parent, folder.name, f"{CORRECTED}{event}", rgb)
    for old in list(find_unsure(folder))[:-most]:
        forget_unsure(folder, old)


def forget_unsure(folder: Path, event: int) -> None:
    """Remove a picture, if it is there.

    Raises:
        ItemsError: it cannot be removed.
    """
    remove_picture(folder / f"{CORRECTED}{event}.png")


def find_unsure(folder: Path) -> dict[int, Path]:
    """Number of the decision -> picture, the oldest first; none where the folder does not exist.

    Raises:
        ItemsError: the folder may not be listed.
    """
    try:
        files = list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise ItemsError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    found = {int(match[1]): path for path in files if (match := _OF_EVENT.fullmatch(path.name))}
    return dict(sorted(found.items()))
