"""Read the event database while a bin writes to it, and take a person's corrections.

    SQLite (WAL) -> read_events, read_corrections, read_counts -> command line, dashboard, trainer
    a person -> add_correction -> SQLite

Reading opens the file read-only and never delays the writer. It must never make a database where there is none.
"""

import csv
import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

from device.errors import EventsError, UsageError
from device.event_store import BUSY_TIMEOUT_S, COLUMNS, Event, Kind, connect_sqlite, iso_utc, refuse_foreign, to_row

__all__ = ["Correction", "add_correction", "read_corrections", "read_counts", "read_events", "write_csv"]


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person says the item of a decision really was; the last word counts."""

    event_id: int
    at: str
    label: str


def read_events(path: Path, limit: int | None = None, kind: Kind | None = None) -> list[Event]:
    """The newest events, oldest first; safe while a bin is writing.

    Args:
        path: the database.
        limit: at most so many; None for all.
        kind: only this kind.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    where, values = ("WHERE kind = ?", [kind]) if kind else ("", [])
    rows = _select(
        path,
        f"SELECT {', '.join(COLUMNS)} FROM events {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
        [*values, -1 if limit is None else limit],
    )
    return [_event(row) for row in reversed(rows)]


def read_corrections(path: Path, first: int = 0) -> list[Correction]:
    """Every corrected decision, in order of event, from event `first` on.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    query = "SELECT event_id, at, label FROM corrections WHERE event_id >= ? ORDER BY event_id"
    return [Correction(*row) for row in _select(path, query, [first])]


def read_counts(path: Path) -> dict[str, int]:
    """Counters by name, in order of name.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    return dict(_select(path, "SELECT name, value FROM counters ORDER BY name"))


def add_correction(path: Path, event_id: int, label: str, labels: Sequence[str], *, wall_s: float) -> Correction:
    """Record what the item of a decision really was; a later correction of the same decision replaces it.

    Args:
        path: the database; a bin may be writing to it.
        event_id: number of a decision.
        label: the true material, one of `labels`.
        labels: what may be said: the model's labels.
        wall_s: wall-clock seconds now.

    Raises:
        UsageError: no such label or no such decision.
        EventsError: there is no database, or it cannot be written.
    """
    if label not in labels:
        near = get_close_matches(label, labels, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"label {label!r} is unknown; choose one of {', '.join(labels)}{hint}")
    correction = Correction(event_id, iso_utc(wall_s), label)
    _require_file(path)
    try:
        with closing(connect_sqlite(path)) as connection:
            refuse_foreign(path, connection)
            found = connection.execute("SELECT kind FROM events WHERE id = ?", [event_id]).fetchone()
            if found is None:
                raise UsageError(f"{path}: there is no event {event_id}; see: wastebin events")
            if found[0] != "decision":
                raise UsageError(f"{path}: event {event_id} is a {found[0]}; only a decision can be corrected")
            connection.execute(
                "INSERT INTO corrections VALUES (?, ?, ?) "
                "ON CONFLICT (event_id) DO UPDATE SET at = excluded.at, label = excluded.label",
                [correction.event_id, correction.at, correction.label],
            )
    except sqlite3.Error as exc:
        raise EventsError(f"{path}: the correction was not written: {exc}; see: wastebin doctor") from exc
    return correction


def write_csv(events: Iterable[Event], stream: TextIO) -> None:
    """Write events as CSV with a header line; `probs` is JSON, what does not apply is empty."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(to_row(event) for event in events)


def _select(path: Path, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    _require_file(path)
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        ) as connection:
            refuse_foreign(path, connection)
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as exc:
        raise EventsError(f"{path}: cannot be read: {exc}; see: wastebin doctor") from exc


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise EventsError(f"{path}: no events are recorded here; start a bin (wastebin run) or correct [events] path")


def _event(row: tuple[Any, ...]) -> Event:
    values = dict(zip(COLUMNS, row, strict=True))
    if values["probs"] is not None:
        values["probs"] = json.loads(values["probs"])
    if values["accepted"] is not None:
        values["accepted"] = bool(values["accepted"])
    return Event(**values)
