"""Events are taken at once, written soon, and survive full disks, kills and damaged files."""

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from device import events as events_module
from device.errors import EventsError, UsageError
from device.event_store import connect_sqlite
from device.events import (
    Correction,
    Event,
    EventLog,
    add_correction,
    read_boot_id,
    read_corrections,
    read_counts,
    read_events,
    write_csv,
)

LABELS = ("glass", "metal", "paper")
DECISION = Event(
    "decision",
    label="glass",
    prob=0.75,
    probs={"glass": 0.75, "metal": 0.25},
    accepted=True,
    bin="Glass",
    frames=3,
    decision_ms=210.5,
    model_version="1763856000-0123456789ab",
    mono_s=12.5,
)
WRITTEN = replace(DECISION, id=1, at="2025-11-23T00:00:00.000+00:00", boot_id="boot")
WALL_S = 1763856000.0


def open_log(path: Path, **options: object) -> EventLog:
    return EventLog(path, wall=lambda: WALL_S, mono=lambda: 99.0, boot_id="boot", **options)  # type: ignore[arg-type]


def fault(event_id: int, detail: str) -> Event:
    return Event("fault", detail, id=event_id, at=WRITTEN.at, mono_s=99.0, boot_id="boot")


@dataclass
class Disk:
    """A disk whose room for the database can be changed, and which can refuse outright.

    Attributes:
        pages: most pages that the database may have, 0 for no limit.
        error: raised instead of opening, if set.
        is_read_only: hands out connections that cannot write.
    """

    pages: int = 0
    error: sqlite3.Error | None = None
    is_read_only: bool = False

    def connect(self, path: Path) -> sqlite3.Connection:
        if self.error is not None:
            raise self.error
        if self.is_read_only:
            return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        connection = connect_sqlite(path)
        if self.pages:
            connection.execute(f"PRAGMA max_page_count={self.pages}")
        return connection


def full_disk() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "events.db"


def test_what_is_read_is_what_was_added_stamped_with_number_time_and_boot(path: Path) -> None:
    with open_log(path) as log:
        assert log.add(DECISION) == 1
        assert log.add(Event("stop", "asked to")) == 2
        assert log.flush()
        stop = Event("stop", "asked to", id=2, at=WRITTEN.at, mono_s=99.0, boot_id="boot")
        assert read_events(path) == [WRITTEN, stop]
        assert read_events(path)[0].accepted is True
        assert log.faults == ()


def test_numbers_and_counters_continue_after_a_restart(path: Path) -> None:
    with open_log(path) as log:
        assert [log.add(DECISION), log.add(DECISION)] == [1, 2]
        log.count("sorted:Glass", 2)
    with open_log(path) as log:
        assert log.add(DECISION) == 3
        log.count("sorted:Glass")
        log.count("jam")
    assert [event.id for event in read_events(path)] == [1, 2, 3]
    assert read_counts(path) == {"jam": 1, "sorted:Glass": 3}


def test_the_newest_events_of_a_kind_come_oldest_first(path: Path) -> None:
    with open_log(path) as log:
        for kind in ("start", "decision", "fault", "decision", "decision"):
            log.add(Event(kind))  # type: ignore[arg-type]
    assert [event.id for event in read_events(path, limit=2)] == [4, 5]
    assert [event.id for event in read_events(path, limit=2, kind="fault")] == [3]
    assert [event.id for event in read_events(path, kind="decision")] == [2, 4, 5]


def test_numbers_of_numpy_and_undecodable_bytes_are_stored_like_any_other(path: Path) -> None:
    event = Event(
        "decision",
        "a\udcffb",
        prob=np.float32(0.5),  # type: ignore[arg-type]
        probs={"glass": np.float32(0.5)},  # type: ignore[dict-item]
        accepted=np.bool_(False),  # type: ignore[arg-type]
        frames=np.int64(3),  # type: ignore[arg-type]
        decision_ms=np.float32(1.5),  # type: ignore[arg-type]
        mono_s=np.float64(2.0),
    )
    with open_log(path) as log:
        log.add(event)
        assert log.flush()
    stored = Event("decision", "a\\udcffb", None, 0.5, {"glass": 0.5}, False, None, 3, 1.5, None, 2.0)
    assert read_events(path) == [replace(stored, id=1, at=WRITTEN.at, boot_id="boot")]


def test_the_database_is_in_wal_mode_and_carries_its_schema_version(path: Path) -> None:
    synchronous = []

    class Watched(sqlite3.Connection):
        def close(self) -> None:
            synchronous.append(self.execute("PRAGMA synchronous").fetchone()[0])
            super().close()

    def connect(where: Path) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Watched)

    with open_log(path, connect=connect):
        other = sqlite3.connect(path)
        assert [other.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "user_version")] == [
            "wal",
            2,
        ]
        other.close()
    assert synchronous == [1]  # NORMAL


class Committing:
    """Opens connections that tell how often they committed."""

    def __init__(self) -> None:
        self.commits = 0
        self.happened = threading.Event()

    def connect(self, path: Path) -> sqlite3.Connection:
        outer = self

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
                cursor = super().execute(sql, *values)  # type: ignore[arg-type]
                if sql == "COMMIT":
                    outer.commits += 1
                    outer.happened.set()
                return cursor

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Watched)


def test_an_event_is_written_without_being_asked_for(path: Path) -> None:
    disk = Committing()
    with open_log(path, connect=disk.connect, batch_s=0.01) as log:
        log.add(DECISION)
        assert disk.happened.wait(30)
        assert read_events(path) == [WRITTEN]


def test_a_counter_alone_is_written_without_being_asked_for(path: Path) -> None:
    disk = Committing()
    with open_log(path, connect=disk.connect, batch_s=0.01) as log:
        log.count("jam")
        assert disk.happened.wait(30)
        assert read_counts(path) == {"jam": 1}


def test_events_wait_for_company_until_there_are_sixty_four(path: Path) -> None:
    disk = Committing()
    with open_log(path, connect=disk.connect, batch_s=3600) as log:
        for _ in range(63):
            log.add(DECISION)
        assert not disk.happened.wait(0.05)
        log.add(DECISION)
        assert disk.happened.wait(30)
        assert (disk.commits, len(read_events(path))) == (1, 64)


def test_a_full_disk_delays_events_and_loses_none(path: Path) -> None:
    disk = Disk(pages=20)
    with open_log(path, connect=disk.connect) as log:
        log.add(DECISION)
        assert log.flush()
        long = replace(DECISION, detail="x" * 1000)
        ids = [log.add(long) for _ in range(200)]
        log.count("decisions", 200)
        assert not log.flush()
        assert log.faults == (
            f"{path}: events wait in memory: database or disk is full; free some space: journalctl --vacuum-size=50M",
        )
        assert log.add(long) == ids[-1] + 2  # the fault took a number
        assert not log.flush()
        assert read_events(path) == [WRITTEN]
        assert read_counts(path) == {}

        disk.pages = 0
        assert log.flush()
        assert log.faults == ()
    found = read_events(path)
    assert [event.id for event in found] == list(range(1, 204))
    assert [event for event in found if event.kind == "fault"] == [
        fault(
            202,
            f"{path}: events wait in memory: database or disk is full; free some space: journalctl --vacuum-size=50M",
        )
    ]
    assert read_counts(path) == {"decisions": 200}


def test_a_disk_that_turns_read_only_delays_events_and_loses_none(path: Path) -> None:
    disk = Disk()
    open_log(path).close()
    disk.is_read_only = True
    with open_log(path, connect=disk.connect) as log:
        log.add(DECISION)
        assert not log.flush()
        assert log.faults == (
            f"{path}: events wait in memory: attempt to write a readonly database; "
            "make it writable again; a card that turns read-only is dying",
        )
        disk.is_read_only = False
        assert log.flush()
    assert [event.kind for event in read_events(path)] == ["decision", "fault"]


def test_what_does_not_fit_into_memory_goes_oldest_decision_first_and_is_told(path: Path) -> None:
    disk = Disk()
    with open_log(path, connect=disk.connect, queue_limit=5) as log:
        disk.error = full_disk()
        path.unlink()  # makes the log open it anew
        log.add(Event("alarm", "jam"))
        assert not log.flush()
        for _ in range(6):
            log.add(DECISION)
            log.count("decisions")
        assert not log.flush()
        disk.error = None
        assert log.flush()
        log.count("jam")
        assert log.flush()
    story = f"{path}: recording again; 3 events did not fit into memory, the counters are whole"
    found = read_events(path)
    assert [(event.id, event.kind) for event in found[:-1]] == [
        (1, "alarm"),
        (2, "fault"),
        (6, "decision"),
        (7, "decision"),
        (8, "decision"),
    ]
    assert found[-1] == fault(9, story)
    assert read_counts(path) == {"decisions": 6, "jam": 1}


def test_a_bin_that_starts_on_a_full_disk_records_once_there_is_room(path: Path) -> None:
    with open_log(path) as log:
        log.add(DECISION)
    disk = Disk(error=full_disk())
    with open_log(path, connect=disk.connect) as log:
        assert log.faults != ()
        assert log.add(Event("start")) == 2  # provisional: 1 went to the fault
        disk.error = None
        assert log.flush()
        assert log.add(Event("stop")) == 4
    assert [(event.id, event.kind) for event in read_events(path)] == [
        (1, "decision"),
        (2, "fault"),
        (3, "start"),
        (4, "stop"),
    ]


def test_a_folder_that_cannot_be_made_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(EventsError, match=r"cannot be opened for events: .*set \[events\] path$"):
        open_log(tmp_path / "state" / "events.db")


def test_two_bins_never_write_to_one_database(path: Path) -> None:
    with open_log(path) as log:
        with pytest.raises(EventsError, match="another wastebin is writing its events here; stop it"):
            open_log(path)
        log.add(DECISION)
    open_log(path).close()
    assert read_events(path) == [WRITTEN]


def test_adding_never_waits_and_closing_gives_up_on_a_disk_that_hangs(path: Path) -> None:
    may_go_on = threading.Event()
    hangs = threading.Event()

    class Hanging(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                hangs.set()
                may_go_on.wait(60)
            return super().execute(sql, *values)  # type: ignore[arg-type]

    def connect(where: Path) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Hanging)

    now_s = [99.0]
    log = EventLog(path, wall=lambda: WALL_S, mono=lambda: now_s[0], boot_id="boot", connect=connect)
    assert log.writing_s == 0.0
    log.add(DECISION)
    assert not log.flush(timeout_s=0)
    assert hangs.wait(30)
    now_s[0] += 61.0
    assert log.writing_s == 61.0  # what the watchdog asks
    assert [log.add(DECISION), log.add(DECISION)] == [2, 3]
    assert not log.close(timeout_s=0)
    assert log.faults == (f"{path}: the disk did not answer in 0 s; 2 events may be lost",)
    may_go_on.set()
    log.close(timeout_s=30)
    assert log.writing_s == 0.0
    assert [event.id for event in read_events(path)] == [1, 2, 3]


def test_an_event_after_the_end_is_refused_and_closing_twice_is_allowed(path: Path) -> None:
    log = open_log(path)
    assert log.close()
    assert log.close()
    assert log.flush()
    with pytest.raises(EventsError, match="the event log is closed; a stop event came too late"):
        log.add(Event("stop"))


WRITER = """
import sys
from pathlib import Path
from device.events import Event, EventLog
log = EventLog(Path(sys.argv[1]))
while True:
    for _ in range(7):
        number = log.add(Event("decision", "x" * 500))
        log.count("decisions")
    log.flush()
    print(number, flush=True)
"""


@pytest.fixture
def killed(path: Path) -> int:
    """The last number that a process had flushed before it was killed while writing."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as lines:
        flushed = [int(next(lines)) for _ in range(25)]
        child.send_signal(signal.SIGKILL)
        flushed += [int(line) for line in lines if line.endswith("\n")]
    assert child.wait() == -signal.SIGKILL
    return flushed[-1]


def test_a_kill_loses_nothing_that_was_committed(path: Path, killed: int) -> None:
    with open_log(path) as log:
        number = log.add(Event("start"))
        assert log.faults == ()
    found = read_events(path)
    assert number > killed >= 175
    assert [event.id for event in found] == list(range(1, number + 1))
    assert read_counts(path) == {"decisions": number - 1}
    assert list(path.parent.glob("*.corrupt.*")) == []


def overwrite_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096)


def record_many(log: EventLog) -> None:
    """Three hundred events, enough for pages that opening the database never reads."""
    for _ in range(300):
        log.add(replace(DECISION, detail="x" * 500))
    assert log.flush()


def overwrite_middle(path: Path) -> None:
    """Damage one of those pages."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4096 // 2 * 4096)
        file.write(b"\xa5" * 4096)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def put_text(path: Path) -> None:
    path.write_text("this is no database " * 100)


@pytest.mark.parametrize("damage", [overwrite_pages, zero, put_text])
def test_a_damaged_database_is_set_aside_and_a_new_one_begun(path: Path, damage: Callable[[Path], None]) -> None:
    with open_log(path) as log:
        log.add(DECISION)
    damage(path)
    damaged = path.read_bytes()
    with open_log(path) as log:
        assert log.add(DECISION) == 2
    name = "events.db.corrupt.20251123T000000Z"
    assert path.with_name(name).read_bytes() == damaged
    assert read_events(path) == [
        fault(1, f"{path}: was damaged; set aside as {name}, a new one begun"),
        replace(WRITTEN, id=2),
    ]


def test_damage_in_a_page_that_opening_never_reads_is_found_too(path: Path) -> None:
    with open_log(path) as log:
        record_many(log)
    overwrite_middle(path)
    open_log(path).close()
    assert [event.kind for event in read_events(path)] == ["fault"]
    assert len(list(path.parent.glob("*.corrupt.*"))) == 1


def test_a_second_damage_in_the_same_second_keeps_the_first_file(path: Path) -> None:
    for text in ("no database, one", "no database, two"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text * 100)
        open_log(path).close()
    stem = "events.db.corrupt.20251123T000000Z"
    assert path.with_name(stem).read_text() == "no database, one" * 100
    assert path.with_name(stem + ".2").read_text() == "no database, two" * 100


def test_a_log_cut_short_by_a_power_cut_costs_only_its_tail(path: Path, killed: int) -> None:
    wal = path.with_name("events.db-wal")
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size // 2)
    with open_log(path) as log:
        assert log.faults == ()
        number = log.add(Event("start"))
    assert [event.id for event in read_events(path)] == list(range(1, number + 1))
    assert list(path.parent.glob("*.corrupt.*")) == []


def make_large(path: Path) -> None:
    """Let a database look too large to be checked whenever it is opened; SQLite ignores what hangs over."""
    os.truncate(path, 70_000_000)


def keep_size(path: Path) -> None:
    """Leave it as it is."""


def checkpoint(path: Path) -> None:
    """Move everything from the -wal file into the database, as happens now and then by itself."""
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()


def test_a_large_database_is_checked_after_a_power_cut(path: Path) -> None:
    with open_log(path) as log:
        record_many(log)
        checkpoint(path)
        log.add(DECISION)
        assert log.flush()
        cut = path.parent.parent / "cut"
        shutil.copytree(path.parent, cut)  # what a card holds when the power goes now
    cut /= path.name
    overwrite_middle(cut)
    make_large(cut)
    open_log(cut).close()
    assert [event.kind for event in read_events(cut)] == ["fault"]


@pytest.mark.parametrize("resize", [keep_size, make_large])
def test_damage_while_running_sets_the_file_aside_and_goes_on(path: Path, resize: Callable[[Path], None]) -> None:
    is_struck = threading.Event()

    class Struck(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE" and is_struck.is_set():
                is_struck.clear()
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
            return super().execute(sql, *values)  # type: ignore[arg-type]

    def connect(where: Path) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Struck)

    with open_log(path, connect=connect) as log:
        record_many(log)
        checkpoint(path)
        overwrite_middle(path)
        resize(path)
        is_struck.set()
        assert log.add(DECISION) == 301
        assert not log.flush()
        assert log.flush()
    name = "events.db.corrupt.20251123T000000Z"
    assert read_events(path) == [
        replace(WRITTEN, id=301),
        fault(
            302,
            f"{path}: events wait in memory: database disk image is malformed; the file is set aside at the next try",
        ),
        fault(303, f"{path}: was damaged; set aside as {name}, a new one begun"),
    ]


def test_a_database_deleted_under_a_running_bin_is_made_again(path: Path) -> None:
    with open_log(path) as log:
        log.add(DECISION)
        assert log.flush()
        path.unlink()
        log.add(DECISION)
        assert log.flush()
        assert read_events(path) == [replace(WRITTEN, id=2)]


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photographs (name TEXT)")
    other.close()
    with pytest.raises(EventsError, match="a database of another program; give"):
        open_log(path)
    with pytest.raises(EventsError, match="a database of another program; give"):
        read_events(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("photographs",)]
    other.close()


def test_a_database_of_a_newer_wastebin_is_refused(path: Path) -> None:
    open_log(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version=3")
    other.close()
    for attempt in (open_log, read_events):
        with pytest.raises(EventsError, match="has schema 3, this wastebin knows 2; install the wastebin that made it"):
            attempt(path)


def test_a_file_system_without_wal_is_refused(path: Path) -> None:
    def connect(where: Path) -> sqlite3.Connection:
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

    with pytest.raises(EventsError, match=r"allows journal mode memory, not WAL; put \[events\] path on a local disk"):
        open_log(path, connect=connect)


def test_reading_where_nothing_was_recorded_says_so_and_makes_no_file(path: Path) -> None:
    attempts: list[Callable[[Path], object]] = [read_events, read_counts, read_corrections]
    for attempt in attempts:
        with pytest.raises(EventsError, match="no events are recorded here; start a bin"):
            attempt(path)
    assert not path.exists()


def test_reading_a_damaged_database_names_the_next_step(path: Path) -> None:
    path.parent.mkdir()
    put_text(path)
    with pytest.raises(EventsError, match="cannot be read: file is not a database; see: wastebin doctor"):
        read_events(path)
    with pytest.raises(
        EventsError, match="the correction was not written: file is not a database; see: wastebin doctor"
    ):
        add_correction(path, 1, "glass", LABELS, wall_s=WALL_S)


@pytest.fixture
def recorded(path: Path) -> Iterator[Path]:
    """A database with a start (1) and a decision (2), open in a running bin."""
    with open_log(path) as log:
        log.add(Event("start"))
        log.add(DECISION)
        log.flush()
        yield path


def test_a_correction_is_kept_and_the_last_word_counts(recorded: Path) -> None:
    first = add_correction(recorded, 2, "metal", LABELS, wall_s=WALL_S)
    assert read_corrections(recorded) == [first] == [Correction(2, "2025-11-23T00:00:00.000+00:00", "metal")]
    second = add_correction(recorded, 2, "paper", LABELS, wall_s=WALL_S + 1)
    assert read_corrections(recorded) == [second] == [Correction(2, "2025-11-23T00:00:01.000+00:00", "paper")]


@pytest.mark.parametrize(
    ("number", "label", "sentence"),
    [
        (2, "glas", "label 'glas' is unknown; choose one of glass, metal, paper; did you mean glass?"),
        (2, "", "label '' is unknown; choose one of glass, metal, paper"),
        (9, "glass", "{path}: there is no event 9; see: wastebin events"),
        (1, "glass", "{path}: event 1 is a start; only a decision can be corrected"),
    ],
)
def test_a_correction_that_makes_no_sense_is_refused(recorded: Path, number: int, label: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        add_correction(recorded, number, label, LABELS, wall_s=WALL_S)
    assert str(caught.value) == sentence.format(path=recorded)
    assert read_corrections(recorded) == []


def test_csv_has_a_header_and_a_line_per_event() -> None:
    stream = io.StringIO()
    write_csv([WRITTEN, fault(2, 'a "bad", day')], stream)
    probs = json.dumps({"glass": 0.75, "metal": 0.25}).replace('"', '""')
    assert stream.getvalue().splitlines() == [
        "id,at,mono_s,boot_id,kind,label,prob,probs,accepted,bin,frames,decision_ms,model_version,detail,about",
        f'1,2025-11-23T00:00:00.000+00:00,12.5,boot,decision,glass,0.75,"{probs}",True,Glass,3,210.5,1763856000-0123456789ab,,',
        '2,2025-11-23T00:00:00.000+00:00,99.0,boot,fault,,,,,,,,,"a ""bad"", day",',
    ]


def test_the_boot_is_named_by_the_kernel_and_nameless_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("6b1a\n")
    assert read_boot_id(tmp_path / "boot_id") == "6b1a"
    assert read_boot_id(tmp_path / "none") == ""


def test_the_public_names_are_these() -> None:
    assert events_module.__all__ == [
        "Correction",
        "Event",
        "EventLog",
        "Kind",
        "add_correction",
        "read_boot_id",
        "read_corrections",
        "read_counts",
        "read_events",
        "write_csv",
    ]
