"""Why releases were refused or rolled back: one small file for each, kept when the release itself is long gone.

    device.releases -> refused/<release>.json -> `wastebin models list`, `trainer ship`

A record for people: nothing is decided by it but what may be removed first, so that a damaged one does no harm.
"""

import json
from pathlib import Path
from typing import Final

from device.durable import Files, replace_file
from device.event_store import iso_utc
from device.release_state import sequence_of

__all__ = ["Refusals"]

KEPT: Final = 20


class Refusals:
    """The records in one folder."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files

    def why(self, release: str) -> str | None:
        """The reason, one sentence; None when the release was not refused."""
        try:
            return str(json.loads(self._path(release).read_bytes())["reason"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return "it was refused, but the record of the reason is damaged"

    def all(self) -> dict[str, str]:
        """Release -> reason."""
        releases = [path.stem for path in self._folder.glob("[0-9]*-*.json")]
        return {release: why for release in releases if (why := self.why(release)) is not None}

    def write(self, release: str, reason: str, *, wall_s: float) -> None:
        """Keep a reason, in place of an older one; certain at return.

        Raises:
            OSError: the disk does not take it.
        """
        table = {"release": release, "reason": reason, "at": iso_utc(wall_s)}
        replace_file(self._files, self._path(release), (json.dumps(table, indent=1) + "\n").encode())
        self._files.sync(self._folder)

    def forget(self, release: str) -> None:
        """The release has proved itself after all."""
        if self._path(release).exists():
            self._files.remove(self._path(release))

    def prune(self) -> None:
        """Keep those of the newest releases only."""
        releases = sorted((path.stem for path in self._folder.glob("[0-9]*-*.json")), key=sequence_of)
        for release in releases[:-KEPT]:
            self._files.remove(self._path(release))

    def _path(self, release: str) -> Path:
        return self._folder / f"{release}.json"
