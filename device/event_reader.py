"""Read the event database while a bin writes to it, and take a person's corrections.

    SQLite (WAL) -> read_events, read_corrections, read_counts -> command line, dashboard, trainer
    a person -> add_correction, answer_spot_check -> SQLite

Reading opens the file read-only and never delays the writer; only a file of an older schema is brought up first. It
must never make a database where there is none, and never take a correction for the answer to a spot check: people
correct what is wrong, so that what is right would go uncounted.
"""

import csv
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TextIO

from device.errors import EventsError, UsageError
from device.event_schema import SCHEMA_VERSION, refuse_foreign, upgrade_schema
from device.event_store import (
    BUSY_TIMEOUT_S,
    COLUMNS,
    Event,
    Kind,
    connect_sqlite,
    iso_utc,
    to_row,
)

__all__ = [
    "Correction",
    "Landing",
    "SpotCheck",
    "add_correction",
    "answer_spot_check",
    "read_corrections",
    "read_counts",
    "read_events",
    "read_landings",
    "read_spot_checks",
    "read_wrongs",
    "select_rows",
    "write_csv",
]


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person says the item of a decision really was; the last word counts."""

    event_id: int
    at: str
    label: str


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a break beam saw the item of a decision fall; usually one for each decision."""

    event_id: int
    at: str
    bin: str


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """A decision drawn by chance that people are asked about.

    Attributes:
        rate: how likely it was to be drawn, above 0, at most 1.
        answered_at, label: what somebody said that it was, and when; None until then.
    """

    event_id: int
    asked_at: str
    rate: float
    answered_at: str | None
    label: str | None


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
    rows = select_rows(
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
    return [Correction(*row) for row in select_rows(path, query, [first])]


def read_landings(path: Path, first: int = 0) -> list[Landing]:
    """Where items were seen to fall, in order of decision, from decision `first` on.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    query = "SELECT event_id, at, bin FROM landings WHERE event_id >= ? ORDER BY event_id, at"
    return [Landing(*row) for row in select_rows(path, query, [first])]


def read_wrongs(path: Path, first: int = 0) -> list[int]:
    """Decisions that somebody marked as wrong at the machine and that nobody has corrected yet, from `first` on.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    query = (
        "SELECT event_id FROM wrongs WHERE event_id >= ? "
        "AND event_id NOT IN (SELECT event_id FROM corrections) ORDER BY event_id"
    )
    return [row[0] for row in select_rows(path, query, [first])]


def read_spot_checks(path: Path, first: int = 0) -> list[SpotCheck]:
    """Decisions that people are, or were, asked about, in order, from decision `first` on.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    query = "SELECT * FROM spot_checks WHERE event_id >= ? ORDER BY event_id"
    return [SpotCheck(*row) for row in select_rows(path, query, [first])]


def read_counts(path: Path) -> dict[str, int]:
    """Counters by name, in order of name.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    return dict(select_rows(path, "SELECT name, value FROM counters ORDER BY name"))


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
    _require_label(label, labels)
    correction = Correction(event_id, iso_utc(wall_s), label)
    with _writing(path, "correction") as connection:
        _require_decision(path, connection, event_id)
        connection.execute(_CORRECT, [event_id, correction.at, label])
    return correction


def answer_spot_check(path: Path, event_id: int, label: str, labels: Sequence[str], *, wall_s: float) -> SpotCheck:
    """Record what somebody who was asked says that the item was, right or wrong; a later answer replaces it.

    Another label than the decision's is a correction as well, and with it the consent to keep the picture.

    Args:
        path: the database; a bin may be writing to it.
        event_id: number of a decision that was drawn for a spot check.
        label: the true material, one of `labels`.
        labels: what may be said: the model's labels.
        wall_s: wall-clock seconds now.

    Raises:
        UsageError: no such label, no such decision, or nobody was asked about it.
        EventsError: there is no database, or it cannot be written.
    """
    _require_label(label, labels)
    at = iso_utc(wall_s)
    with _writing(path, "answer") as connection:
        decided = _require_decision(path, connection, event_id)
        asked = connection.execute("SELECT asked_at, rate FROM spot_checks WHERE event_id = ?", [event_id]).fetchone()
        if asked is None:
            raise UsageError(f"{path}: nobody was asked about decision {event_id}; use: wastebin correct")
        connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?) "
            "ON CONFLICT (event_id) DO UPDATE SET at = excluded.at, label = excluded.label",
            [event_id, at, label],
        )
        if label != decided:
            connection.execute(_CORRECT, [event_id, at, label])
        else:  # taken back, if it was corrected by mistake
            connection.execute("DELETE FROM corrections WHERE event_id = ?", [event_id])
    return SpotCheck(event_id, asked[0], asked[1], at, label)


def write_csv(events: Iterable[Event], stream: TextIO) -> None:
    """Write events as CSV with a header line; `probs` is JSON, what does not apply is empty."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(to_row(event) for event in events)


def select_rows(path: Path, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """What a query gives, for readers of other modules.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    _require_file(path)
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        ) as connection:
            if refuse_foreign(path, connection) < SCHEMA_VERSION:
                _bring_up(path)
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as exc:
        raise EventsError(f"{path}: cannot be read: {exc}; see: wastebin doctor") from exc


_CORRECT: Final = (
    "INSERT INTO corrections VALUES (?, ?, ?) "
    "ON CONFLICT (event_id) DO UPDATE SET at = excluded.at, label = excluded.label"
)


@contextmanager
def _writing(path: Path, what: str) -> Iterator[sqlite3.Connection]:
    """A connection in a transaction of its own."""
    _require_file(path)
    try:
        with closing(connect_sqlite(path)) as connection:
            upgrade_schema(path, connection)
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # closed without a commit, nothing is written
            connection.execute("COMMIT")
    except sqlite3.Error as exc:
        raise EventsError(f"{path}: the {what} was not written: {exc}; see: wastebin doctor") from exc


def _bring_up(path: Path) -> None:
    try:
        with closing(connect_sqlite(path)) as connection:
            upgrade_schema(path, connection)
    except sqlite3.Error as exc:
        raise EventsError(
            f"{path}: has an older schema and cannot be brought up to {SCHEMA_VERSION}: {exc}; start the bin once "
            "(wastebin run), or read it as a user who may write there"
        ) from exc


def _require_label(label: str, labels: Sequence[str]) -> None:
    if label not in labels:
        near = get_close_matches(label, labels, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"label {label!r} is unknown; choose one of {', '.join(labels)}{hint}")


def _require_decision(path: Path, connection: sqlite3.Connection, event_id: int) -> str | None:
    """The label that was decided."""
    found = connection.execute("SELECT kind, label FROM events WHERE id = ?", [event_id]).fetchone()
    if found is None:
        raise UsageError(f"{path}: there is no event {event_id}; see: wastebin events")
    if found[0] != "decision":
        raise UsageError(f"{path}: event {event_id} is a {found[0]}; only a decision can be corrected")
    return None if found[1] is None else str(found[1])


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
