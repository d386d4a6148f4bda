"""What the event database holds, and how an older one is brought up.

    SQLite file -> make_schema, upgrade_schema -> event_store, event_reader

It must never change a file that is not ours.

What the file holds, schema 2:
- `events`, a row for each thing that happened, as `Event` says; `about` is the decision that it belongs to.
- `counters`, which survive restarts.
- What people say: `corrections` (what an item really was) and `answers` (to spot checks).
- Three views, for whoever reads: `landings` (event_id, at, bin: where a break beam saw the item of a decision fall),
  `wrongs` (event_id, at: somebody pressed "wrong" at the machine) and `spot_checks` (event_id, asked_at, rate,
  answered_at, label; the last two are empty until somebody answers).
A file of schema 1 has neither `about` nor `answers` nor the views; it is brought up when it is opened, all or nothing.
"""

import sqlite3
from pathlib import Path
from typing import Final

from device.errors import EventsError

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "make_schema", "refuse_foreign", "upgrade_schema"]

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x77_62_69_6E  # "wbin": tells our file from any other SQLite file

_SCHEMA: Final = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, mono_s REAL NOT NULL, boot_id TEXT NOT NULL, kind TEXT NOT NULL,
    label TEXT, prob REAL, probs TEXT, accepted INTEGER, bin TEXT, frames INTEGER, decision_ms REAL,
    model_version TEXT, detail TEXT NOT NULL
);
CREATE INDEX events_by_kind ON events (kind, id);
CREATE TABLE corrections (event_id INTEGER PRIMARY KEY REFERENCES events (id), at TEXT NOT NULL, label TEXT NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

_SINCE_2: Final = (
    "ALTER TABLE events ADD COLUMN about INTEGER",
    "CREATE INDEX events_by_kind_and_time ON events (kind, at)",
    "CREATE INDEX events_by_decision ON events (about) WHERE about IS NOT NULL",
    "CREATE TABLE answers (event_id INTEGER PRIMARY KEY REFERENCES events (id), at TEXT NOT NULL, label TEXT NOT NULL)",
    """CREATE VIEW landings AS
        SELECT about AS event_id, at, bin FROM events WHERE kind = 'landed' AND about IS NOT NULL""",
    """CREATE VIEW wrongs AS
        SELECT about AS event_id, min(at) AS at FROM events
        WHERE kind = 'wrong' AND about IS NOT NULL GROUP BY about""",
    """CREATE VIEW spot_checks AS
        SELECT asked.about AS event_id, asked.at AS asked_at, asked.prob AS rate,
            answers.at AS answered_at, answers.label AS label
        FROM events AS asked LEFT JOIN answers ON answers.event_id = asked.about
        WHERE asked.kind = 'asked' AND asked.about IS NOT NULL""",
)
"""What schema 2 has beyond schema 1; a new file goes the same way, so that there is one way only."""


def make_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Make an empty file ours, or bring up one that is; see `upgrade_schema`.

    Raises:
        EventsError: not our file, or made by a newer version.
        sqlite3.Error: nothing was changed.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == 0 and tables == 0:
        newest = "".join(f"{step};" for step in _SINCE_2)
        connection.executescript(
            f"BEGIN;{_SCHEMA}{newest}PRAGMA application_id={APPLICATION_ID};"
            f"PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
        )
        return
    upgrade_schema(path, connection)


def upgrade_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Bring a database of ours up to this schema, all or nothing; one that is there already is left alone.

    A program of schema 1 that still writes to it goes on: it names its columns.

    Args:
        connection: may write, and is in autocommit mode.

    Raises:
        EventsError: not our file, or made by a newer version.
        sqlite3.Error: nothing was changed.
    """
    if refuse_foreign(path, connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker while this one waited for the lock.
        if refuse_foreign(path, connection) < SCHEMA_VERSION:
            for step in _SINCE_2:
                connection.execute(step)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def refuse_foreign(path: Path, connection: sqlite3.Connection) -> int:
    """The schema of an open database of ours: this one, or an older one that can be brought up.

    Raises:
        EventsError: not our file, or made by a newer version.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise EventsError(f"{path}: a database of another program; give [events] path a name of its own")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if not 1 <= version <= SCHEMA_VERSION:
        raise EventsError(
            f"{path}: has schema {version}, this wastebin knows {SCHEMA_VERSION}; "
            "install the wastebin that made it, or move the file away"
        )
    return version
