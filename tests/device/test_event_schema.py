"""A file of the first schema is brought up with everything in it; what people and sensors say is kept beside it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from device.errors import EventsError, UsageError
from device.event_reader import (
    Correction,
    Landing,
    SpotCheck,
    add_correction,
    answer_spot_check,
    read_corrections,
    read_counts,
    read_events,
    read_landings,
    read_spot_checks,
    read_wrongs,
)
from device.event_schema import APPLICATION_ID, upgrade_schema
from device.event_store import connect_sqlite
from device.events import Event, EventLog

LABELS = ("glass", "metal", "paper")
WALL_S = 1763856000.0
AT = "2025-11-23T00:00:00.000+00:00"

# As wastebin wrote it before schema 2; never to be changed.
SCHEMA_1 = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, mono_s REAL NOT NULL, boot_id TEXT NOT NULL, kind TEXT NOT NULL,
    label TEXT, prob REAL, probs TEXT, accepted INTEGER, bin TEXT, frames INTEGER, decision_ms REAL,
    model_version TEXT, detail TEXT NOT NULL
);
CREATE INDEX events_by_kind ON events (kind, id);
CREATE TABLE corrections (event_id INTEGER PRIMARY KEY REFERENCES events (id), at TEXT NOT NULL, label TEXT NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
OLD = Event(
    "decision", "", "glass", 0.75, {"glass": 0.75, "metal": 0.25}, True, "Glass", 3, 210.5, "1-abc", 12.5,
    id=1, at=AT, boot_id="boot",
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def make_old(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.executescript(f"{SCHEMA_1}PRAGMA application_id={APPLICATION_ID};PRAGMA user_version=1;")
        old.execute(
            "INSERT INTO events VALUES (1, ?, 12.5, 'boot', 'decision', 'glass', 0.75, ?, 1, 'Glass', 3, 210.5, "
            "'1-abc', '')",
            [AT, '{"glass": 0.75, "metal": 0.25}'],
        )
        old.execute("INSERT INTO corrections VALUES (1, ?, 'metal')", [AT])
        old.execute("INSERT INTO counters VALUES ('sorted:Glass', 7)")
        old.commit()


def open_log(path: Path) -> EventLog:
    return EventLog(path, wall=lambda: WALL_S, mono=lambda: 99.0, boot_id="boot")


def record(path: Path, *events: Event) -> None:
    with open_log(path) as log:
        for event in events:
            log.add(event)


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def schema_of(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_an_old_file_keeps_its_events_corrections_and_counters_and_takes_the_new(path: Path):
    make_old(path)
    record(path, Event("landed", bin="Glass", about=1))
    landed = Event("landed", bin="Glass", about=1, id=2, at=AT, boot_id="boot", mono_s=99.0)
    assert read_events(path) == [OLD, landed]
    assert read_corrections(path) == [Correction(1, AT, "metal")]
    assert read_counts(path) == {"sorted:Glass": 7}
    assert read_landings(path) == [Landing(1, AT, "Glass")]
    assert version_of(path) == 2


def test_an_old_file_that_was_brought_up_is_made_like_a_new_one(path: Path, tmp_path: Path):
    make_old(path)
    open_log(path).close()
    open_log(tmp_path / "new.db").close()
    assert schema_of(path) == schema_of(tmp_path / "new.db")


@pytest.mark.parametrize(
    ("read", "expected"),
    [(read_events, [OLD]), (read_landings, []), (read_wrongs, []), (read_spot_checks, [])],
    ids=["events", "landings", "wrongs", "spot checks"],
)
def test_reading_an_old_file_brings_it_up_first(path: Path, read: Callable[[Path], object], expected: object):
    make_old(path)
    assert read(path) == expected
    assert version_of(path) == 2


def test_a_step_that_fails_leaves_the_old_file_as_it_was(path: Path):
    make_old(path)
    before = schema_of(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE answers (taken TEXT)")
    with closing(connect_sqlite(path)) as connection, pytest.raises(sqlite3.OperationalError, match="already exists"):
        upgrade_schema(path, connection)
    assert version_of(path) == 1
    assert [row for row in schema_of(path) if row[1] != "answers"] == before
    with pytest.raises(EventsError, match="has an older schema and cannot be brought up to 2: table answers already"):
        read_events(path)


def test_a_program_of_the_first_schema_that_still_writes_goes_on(path: Path):
    make_old(path)
    with closing(sqlite3.connect(path)) as old:
        assert old.execute("SELECT count(*) FROM events").fetchone() == (1,)
        open_log(path).close()
        old.execute(
            "INSERT INTO events (id, at, mono_s, boot_id, kind, detail) VALUES (2, 'then', 1.0, '', 'stop', '')"
        )
        old.commit()
    assert [(event.id, event.kind, event.about) for event in read_events(path)] == [
        (1, "decision", None),
        (2, "stop", None),
    ]


# ------------------------------------------------------------------------------------------ what people say


def test_what_was_marked_wrong_waits_for_a_correction(path: Path):
    decision = replace(OLD, id=None, at=None, boot_id=None)
    record(path, decision, decision, Event("wrong", about=1), Event("wrong", about=2), Event("wrong", about=2))
    assert read_wrongs(path) == [1, 2]
    add_correction(path, 1, "metal", LABELS, wall_s=WALL_S)
    assert read_wrongs(path) == [2]
    assert read_wrongs(path, first=3) == []


def test_a_spot_check_is_open_until_it_is_answered(path: Path):
    record(path, replace(OLD, id=None), Event("asked", prob=0.25, about=1))
    assert read_spot_checks(path) == [SpotCheck(1, AT, 0.25, None, None)]
    answered = answer_spot_check(path, 1, "glass", LABELS, wall_s=WALL_S + 60)
    assert answered == SpotCheck(1, AT, 0.25, "2025-11-23T00:01:00.000+00:00", "glass")
    assert read_spot_checks(path) == [answered]
    assert read_corrections(path) == []


def test_an_answer_that_it_was_something_else_is_a_correction_and_the_last_word_counts(path: Path):
    record(path, replace(OLD, id=None), Event("asked", prob=0.25, about=1))
    answer_spot_check(path, 1, "metal", LABELS, wall_s=WALL_S)
    assert read_corrections(path) == [Correction(1, AT, "metal")]
    answer_spot_check(path, 1, "glass", LABELS, wall_s=WALL_S)
    assert (read_corrections(path), read_spot_checks(path)[0].label) == ([], "glass")


def test_a_correction_answers_no_spot_check(path: Path):
    record(path, replace(OLD, id=None), Event("asked", prob=0.25, about=1))
    add_correction(path, 1, "metal", LABELS, wall_s=WALL_S)
    assert [check.label for check in read_spot_checks(path)] == [None]


@pytest.mark.parametrize(
    ("event_id", "label", "says"),
    [
        (1, "gold", "label 'gold' is unknown; choose one of glass, metal, paper"),
        (2, "glass", "event 2 is a stop; only a decision can be corrected"),
        (3, "glass", "nobody was asked about decision 3; use: wastebin correct"),
        (9, "glass", "there is no event 9"),
    ],
)
def test_an_answer_to_what_was_not_asked_is_refused_and_nothing_is_written(
    path: Path, event_id: int, label: str, says: str
):
    decision = replace(OLD, id=None)
    record(path, decision, Event("stop"), decision, Event("asked", prob=0.25, about=1))
    with pytest.raises(UsageError, match=says):
        answer_spot_check(path, event_id, label, LABELS, wall_s=WALL_S)
    assert (read_corrections(path), [check.label for check in read_spot_checks(path)]) == ([], [None])


def test_events_that_waited_for_the_disk_still_belong_to_their_decision(path: Path):
    record(path, Event("start"), Event("stop"))
    is_full = [True]

    def connect(where: Path) -> sqlite3.Connection:
        if is_full[0]:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return connect_sqlite(where)

    log = EventLog(path, wall=lambda: WALL_S, mono=lambda: 99.0, boot_id="boot", connect=connect, batch_s=0.01)
    number = log.add(replace(OLD, id=None))
    log.add(Event("landed", bin="Glass", about=number))
    is_full[0] = False
    assert log.close()
    decision, landed = [event for event in read_events(path) if event.kind in ("decision", "landed")]
    assert landed.about == decision.id
