"""Forget what people have left at a bin: pictures, corrections, what was learnt; the record of events on request.

    <state>/looks, unsure, learnt, corrections -> find_traces -> (a person agrees) -> wipe_traces

It must never take what makes the bin a bin: models, calibration and token stay.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from device.durable import Files, remove_tree
from device.errors import EventsError, ItemsError
from device.event_reader import read_corrections
from device.event_schema import refuse_foreign
from device.event_store import connect_sqlite, is_written
from device.learnt import learnt_folder
from device.looks import looks_folder
from device.unsure import unsure_folder

__all__ = ["Traces", "find_traces", "wipe_traces"]


@dataclass(frozen=True, slots=True)
class Traces:
    """What is there.

    Attributes:
        pictures: labelled ones, and those of items that it could not name.
        corrections: what people said of items.
        versions: of what was learnt.
        files: of the record of events, when it shall go as well.
    """

    pictures: int
    corrections: int
    versions: int
    files: tuple[Path, ...] = ()

    @property
    def is_anything(self) -> bool:
        """Whether there is anything to remove."""
        return bool(self.pictures or self.corrections or self.versions or self.files)

    def text(self) -> str:
        """For a person."""
        record = ", the record of events" if self.files else ""
        return f"{self.pictures} pictures, {self.corrections} corrections, {self.versions} versions learnt{record}"


def find_traces(events_path: Path, *, with_events: bool = False) -> Traces:
    """Count what is kept beside a database.

    Raises:
        EventsError: the database cannot be read, or its record is asked for while a bin writes it.
    """
    corrections = len(read_corrections(events_path)) if events_path.is_file() else 0
    if with_events and is_written(events_path):
        raise EventsError(f"{events_path}: a bin is writing to it; stop it first: systemctl stop wastebin")
    files = tuple(sorted(events_path.parent.glob(f"{events_path.name}*"))) if with_events else ()
    pictures = _count(looks_folder(events_path), "*/*.png") + _count(unsure_folder(events_path), "*.png")
    return Traces(pictures, corrections, _count(learnt_folder(events_path), "*.npz"), files)


def wipe_traces(events_path: Path, traces: Traces) -> None:
    """Remove what was found; a bin that runs goes on, and its learner takes off what it wore.

    Raises:
        EventsError: the database refused.
        ItemsError: a file cannot be removed.
    """
    if traces.corrections and not traces.files:
        try:
            with closing(connect_sqlite(events_path)) as connection:
                refuse_foreign(events_path, connection)
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("DELETE FROM corrections")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as exc:
            raise EventsError(f"{events_path}: the corrections were not removed: {exc}; see: wastebin doctor") from exc
    try:
        for folder in (looks_folder(events_path), unsure_folder(events_path), learnt_folder(events_path)):
            remove_tree(Files(), folder)
        for file in traces.files:
            file.unlink(missing_ok=True)
        if events_path.parent.is_dir():
            Files().sync(events_path.parent)
    except OSError as error:
        raise ItemsError(
            f"{error.filename}: cannot be removed ({error.strerror}); run it as the user of the bin: sudo -u wastebin"
        ) from error


def _count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern)) if folder.is_dir() else 0
