"""The event database as a file: what a row is, how to open it safely and write to it.

    events.EventLog -> open_store, write_rows -> SQLite (WAL) -> event_reader

Must never write into a file that is not ours, overwrite a damaged file (it is set aside), or let two processes number
events. WAL with synchronous=NORMAL cannot be damaged by a power cut on an honest disk; only the last commits may be
missing (sqlite.org/wal.html). That a card is not always honest is why the file is checked at start.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from device.errors import EventsBusy, EventsError
from device.event_schema import make_schema

__all__ = [
    "BUSY_TIMEOUT_S",
    "COLUMNS",
    "Connect",
    "Event",
    "Kind",
    "Store",
    "WriterLock",
    "connect_sqlite",
    "is_damage",
    "is_written",
    "iso_utc",
    "open_store",
    "stamp",
    "to_row",
    "write_rows",
]

Kind = Literal["start", "stop", "decision", "alarm", "fault", "model", "learnt", "landed", "hand", "wrong", "asked"]
Connect = Callable[[Path], sqlite3.Connection]

BUSY_TIMEOUT_S: Final = 5.0
JOURNAL_LIMIT_BYTES: Final = 4 * 1024 * 1024
ALWAYS_CHECK_BYTES: Final = 64 * 1024 * 1024  # about a second of reading on a slow card


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: what sort of thing; the fields below `detail` describe decisions and are None for other kinds, but that
            alarms and landings name a `bin` and `asked` gives as `prob` how likely it was to be asked.
        detail: a sentence for people, empty when the other fields say it all; of a rejected decision, the reason.
        label: material with the highest probability, also when it was rejected.
        prob: probability of `label`, 0..1.
        probs: probability per label, 0..1.
        accepted: False when the item went to the residual bin for want of certainty.
        bin: name of the bin that the item was sent to.
        frames: number of frames in the vote.
        decision_ms: from "the item is still" to the decision.
        model_version: the bundle's version.
        mono_s: monotonic seconds; None lets the log stamp it.
        about: number of the decision that it belongs to, for `landed`, `wrong`, `asked` and `hand`.
        id, at, boot_id: given by the log. `at` is wall-clock time, ISO 8601 in UTC, for people only.
    """

    kind: Kind
    detail: str = ""
    label: str | None = None
    prob: float | None = None
    probs: Mapping[str, float] | None = None
    accepted: bool | None = None
    bin: str | None = None
    frames: int | None = None
    decision_ms: float | None = None
    model_version: str | None = None
    mono_s: float | None = None
    about: int | None = None
    id: int | None = None
    at: str | None = None
    boot_id: str | None = None


class _Damaged(sqlite3.DatabaseError):
    """What `quick_check` reports in words, in the shape in which SQLite reports it itself."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An open database.

    Attributes:
        connection: in autocommit mode; transactions are explicit.
        last_id: the highest event number in it, 0 when empty.
        set_aside: where a damaged predecessor went, or None.
    """

    connection: sqlite3.Connection
    last_id: int
    set_aside: Path | None


COLUMNS: Final = (
    *("id", "at", "mono_s", "boot_id", "kind", "label", "prob", "probs", "accepted", "bin", "frames"),
    *("decision_ms", "model_version", "detail", "about"),
)


def connect_sqlite(path: Path) -> sqlite3.Connection:
    """Open for writing, in autocommit mode, for use by one thread at a time (any thread)."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def stamp(event: Event, *, event_id: int, wall_s: float, mono_s: float, boot_id: str) -> Event:
    """The event with number and times, and with every value in a type that SQLite can store.

    numpy's numbers and undecodable bytes in a path would otherwise be refused by the database, again at each try.
    """
    return replace(
        event,
        id=event_id,
        at=iso_utc(wall_s),
        mono_s=float(mono_s if event.mono_s is None else event.mono_s),
        boot_id=boot_id,
        detail=event.detail.encode("utf-8", "backslashreplace").decode("utf-8"),
        prob=None if event.prob is None else float(event.prob),
        probs=None if event.probs is None else {str(label): float(prob) for label, prob in event.probs.items()},
        accepted=None if event.accepted is None else bool(event.accepted),
        frames=None if event.frames is None else int(event.frames),
        decision_ms=None if event.decision_ms is None else float(event.decision_ms),
    )


def is_damage(exc: sqlite3.Error) -> bool:
    """Whether this error says that the file itself is broken (a full disk or a lock is not)."""
    code = getattr(exc, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def iso_utc(wall_s: float) -> str:
    """Wall-clock seconds since 1970 as ISO 8601 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")


class WriterLock:
    """One process at a time numbers and writes events: a lock on a file beside the database."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            EventsBusy: another process holds it.
            OSError: the file cannot be made (read-only, full, no permission).
        """
        self._file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise EventsBusy(
                f"{path}: another wastebin is writing its events here; stop it (systemctl stop wastebin) "
                "or give this one a file of its own: [events] path"
            ) from None

    def release(self) -> None:
        """Let go; the file stays, since removing it would race with the next owner."""
        os.close(self._file)


def is_written(path: Path) -> bool:
    """Whether a process holds the `WriterLock` of this database: a service that runs.

    The lock is asked for as a reader and given back at once; a service that starts at that very moment would be
    refused, and systemd starts it again.
    """
    try:
        number = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # never made: nobody ever wrote
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def open_store(path: Path, *, wall_s: float, connect: Connect = connect_sqlite, is_suspect: bool = False) -> Store:
    """Open the database for writing, made new if there is none; the caller holds the `WriterLock`.

    A damaged file is renamed, with its -wal and -shm, to `NAME.corrupt.TIME` and a new one is made.

    Args:
        path: the database; its folder exists.
        wall_s: time for the name of a file set aside.
        connect: opens SQLite; tests pass one that runs out of space.
        is_suspect: check the whole file, whatever its size: damage was seen in it.

    Raises:
        EventsError: not our file, made by a newer version, or on a file system without WAL.
        sqlite3.Error, OSError: not now (disk full, read-only, busy); worth another try.
    """
    # A clean close removes or empties the -wal file, so one with content tells of a crash or a power cut.
    wal = path.with_name(path.name + "-wal")
    is_unclean = wal.exists() and wal.stat().st_size > 0
    must_check = path.exists() and (is_suspect or is_unclean or path.stat().st_size <= ALWAYS_CHECK_BYTES)
    try:
        return _open_sound(path, connect, must_check=must_check, set_aside=None)
    except sqlite3.DatabaseError as exc:
        if not is_damage(exc):
            raise
    return _open_sound(path, connect, must_check=False, set_aside=_set_aside(path, wall_s))


def _open_sound(path: Path, connect: Connect, *, must_check: bool, set_aside: Path | None) -> Store:
    connection = connect(path)
    try:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise EventsError(
                f"{path}: the file system allows journal mode {mode}, not WAL; put [events] path on a local disk"
            )
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA journal_size_limit={JOURNAL_LIMIT_BYTES}")
        if must_check:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise _Damaged(found)
        make_schema(path, connection)
        last_id = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
    except BaseException:
        connection.close()
        raise
    return Store(connection, last_id, set_aside)


def _set_aside(path: Path, wall_s: float) -> Path:
    """Rename database, -wal and -shm so that SQLite can still open them together under the new name."""
    stamp = datetime.fromtimestamp(wall_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.corrupt.{stamp}")
    number = 1
    while target.exists():  # never over an older one
        number += 1
        target = path.with_name(f"{path.name}.corrupt.{stamp}.{number}")
    for ending in ("", "-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(target.with_name(target.name + ending))
    return target


def write_rows(connection: sqlite3.Connection, events: Iterable[Event], counts: Mapping[str, int]) -> None:
    """Write stamped events and add to counters, all or nothing.

    Raises:
        sqlite3.Error: nothing was written.
    """
    marks = ", ".join("?" * len(COLUMNS))
    connection.execute("BEGIN IMMEDIATE")
    try:
        # A commit that reports an error may still have reached the disk; the second try must not trip over it.
        connection.executemany(
            f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING",  # noqa: S608
            [to_row(event) for event in events],
        )
        connection.executemany(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            list(counts.items()),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def to_row(event: Event) -> tuple[object, ...]:
    """The values of an event in the order of `COLUMNS`; `probs` as JSON text."""
    probs = None if event.probs is None else json.dumps(dict(event.probs))
    return tuple(probs if name == "probs" else getattr(event, name) for name in COLUMNS)
