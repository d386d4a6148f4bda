"""Record what happens without ever making the bin wait for the disk.

    engine -> EventLog.add -> queue -> one writer thread, a commit a second at most -> event_store -> SQLite

`add` and `count` touch memory only. A disk that is full or read-only never stops sorting: events wait in a bounded
queue, the writer tries again with growing pauses, and a `fault` event tells the story once it can. Nothing that was
committed is lost by a crash or a power cut, and of the rest at most the last second. A damaged file is set aside, never
overwritten.
"""

import errno
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from device.errors import EventsError
from device.event_reader import (
    Correction,
    add_correction,
    read_corrections,
    read_counts,
    read_events,
    write_csv,
)
from device.event_store import (
    Connect,
    Event,
    Kind,
    Store,
    WriterLock,
    connect_sqlite,
    is_damage,
    open_store,
    stamp,
    write_rows,
)

__all__ = [
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

BATCH_S: Final = 1.0
BATCH_EVENTS: Final = 64
QUEUE_LIMIT: Final = 10_000
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0

# These pass by themselves or when somebody makes room; anything else at start needs a person and is refused.
_PASSING: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def read_boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """The kernel's name for this boot, which gives `mono_s` its meaning; empty where there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class EventLog:
    """Takes events at once and writes them soon.

    Numbers are given by `add` and continue after a restart. If the database cannot be opened at start (full disk), they
    are provisional: when it opens, the waiting events are moved behind those already in it.

    Args:
        path: the database; its folder is made if missing.
        wall: wall-clock seconds, for people; may jump.
        mono: monotonic seconds, for events that bring no `mono_s`.
        boot_id: see `read_boot_id`.
        connect: opens SQLite; tests pass one that runs out of space.
        batch_s: how long an event waits for company before it is written.
        queue_limit: events that may wait; beyond it the oldest decisions go first. Counters are kept always.

    Raises:
        EventsError: another process writes there, the file is not ours or newer, no permission.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
        boot_id: str | None = None,
        connect: Connect = connect_sqlite,
        batch_s: float = BATCH_S,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._path = path
        self._wall = wall
        self._mono = mono
        self._boot_id = read_boot_id() if boot_id is None else boot_id
        self._connect = connect
        self._batch_s = batch_s
        self._queue_limit = queue_limit
        self._changed = threading.Condition()
        # What follows is shared and only touched while holding `_changed`.
        self._queue: deque[Event] = deque()
        self._counts: Counter[str] = Counter()
        self._last_id = 0
        self._dropped = 0
        self._fault: str | None = None
        self._asked = 0
        self._answered = 0
        self._is_closing = False
        self._writing_since_s: float | None = None
        # Only the writer's, once it runs.
        self._lock: WriterLock | None = None
        self._store: Store | None = None
        self._is_numbered = False
        self._is_suspect = False
        try:
            self._open()
        except EventsError:
            self._shut()
            raise
        except (sqlite3.Error, OSError) as exc:
            self._shut()
            if not _is_passing(exc):
                raise EventsError(
                    f"{path}: cannot be opened for events: {exc}; give this user its folder or set [events] path"
                ) from exc
            self._note_failure(exc)
        self._writer = threading.Thread(target=self._write_until_closed, name="events", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with recording now, a sentence each; empty when all is well."""
        with self._changed:
            return () if self._fault is None else (self._fault,)

    @property
    def writing_s(self) -> float:
        """How long the write under way has lasted, in seconds; 0.0 while there is none. A disk may never answer."""
        with self._changed:
            return 0.0 if self._writing_since_s is None else self._mono() - self._writing_since_s

    def add(self, event: Event) -> int:
        """Take an event and return its number; never waits for the disk.

        `id`, `at` and `boot_id` are stamped here, and `mono_s` unless it was given.

        Raises:
            EventsError: the log is closed.
        """
        with self._changed:
            if self._is_closing:
                raise EventsError(f"{self._path}: the event log is closed; a {event.kind} event came too late")
            return self._take(event)

    def count(self, name: str, n: int = 1) -> None:
        """Raise a counter that survives restarts; never waits for the disk."""
        with self._changed:
            self._counts[name] += n
            self._changed.notify_all()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Have everything written now; True when it is committed, False when it still waits."""
        with self._changed:
            if not self._writer.is_alive():
                return not self._has_work()
            self._asked += 1
            ticket = self._asked
            last_id = self._last_id
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answered >= ticket, timeout=timeout_s)
            waiting = self._queue[0].id if self._queue else None
            return self._answered >= ticket and self._fault is None and (waiting is None or waiting > last_id)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Write what waits, close the database and stop the thread; may be called again.

        Args:
            timeout_s: a disk that hangs is left hanging after this long.

        Returns:
            True when everything is committed; else see `faults`.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._writer.join(timeout_s)
        with self._changed:
            if self._writer.is_alive():
                self._fault = (
                    f"{self._path}: the disk did not answer in {timeout_s:g} s; {len(self._queue)} events may be lost"
                )
            return self._fault is None and not self._has_work()

    # -------------------------------------------------------------------------------------- holding `_changed`

    def _take(self, event: Event) -> int:
        self._queue.append(self._stamped(event))
        self._drop_overflow()
        self._changed.notify_all()
        return self._last_id

    def _stamped(self, event: Event) -> Event:
        self._last_id += 1
        return stamp(event, event_id=self._last_id, wall_s=self._wall(), mono_s=self._mono(), boot_id=self._boot_id)

    def _drop_overflow(self) -> None:
        while len(self._queue) > self._queue_limit:
            # A fault or an alarm tells more than one decision among thousands.
            oldest = next((index for index, event in enumerate(self._queue) if event.kind == "decision"), 0)
            del self._queue[oldest]
            self._dropped += 1

    def _has_work(self) -> bool:
        return bool(self._queue or self._counts)

    def _is_pressed(self) -> bool:
        return self._asked > self._answered or self._is_closing

    # ------------------------------------------------------------------------------------------- the writer

    def _write_until_closed(self) -> None:
        pause_s = FIRST_PAUSE_S
        is_last = False
        while not is_last:
            with self._changed:
                self._changed.wait_for(lambda: self._has_work() or self._is_pressed())
                self._changed.wait_for(
                    lambda: len(self._queue) >= BATCH_EVENTS or self._is_pressed(), timeout=self._batch_s
                )
                ticket = self._asked
                is_last = self._is_closing
                self._writing_since_s = self._mono()
            is_written = self._write_all()
            with self._changed:
                self._writing_since_s = None
                self._answered = ticket
                self._changed.notify_all()
                if is_written:
                    pause_s = FIRST_PAUSE_S
                else:
                    self._changed.wait_for(self._is_pressed, timeout=pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._shut()

    def _write_all(self) -> bool:
        """Try once to write everything that waits."""
        try:
            store = self._open()
            with self._changed:
                events, self._queue = self._queue, deque()
                counts, self._counts = self._counts, Counter()
                dropped = self._dropped
                detail = (
                    f"{self._path}: recording again; {dropped} events did not fit into memory, the counters are whole"
                )
                story = [self._stamped(Event("fault", detail))] if dropped else []
            try:
                write_rows(store.connection, [*events, *story], counts)
            except BaseException:
                with self._changed:
                    events.extend(self._queue)
                    self._queue = events
                    self._counts.update(counts)
                    self._drop_overflow()
                raise
        except (sqlite3.Error, EventsError, OSError) as exc:
            self._is_suspect = self._is_suspect or (isinstance(exc, sqlite3.Error) and is_damage(exc))
            # A fresh connection next time: one that saw an I/O error or damage is not to be trusted.
            self._shut(keep_lock=True)
            self._note_failure(exc)
            return False
        with self._changed:
            self._fault = None
            self._dropped -= dropped
        return True

    def _open(self) -> Store:
        """The open database; opened, or opened anew, as needed."""
        if self._store is not None and not self._path.exists():
            # Somebody deleted it: SQLite would go on writing to a file that nobody can see.
            self._shut(keep_lock=True)
        if self._store is not None:
            return self._store
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = WriterLock(self._path)
        store = open_store(self._path, wall_s=self._wall(), connect=self._connect, is_suspect=self._is_suspect)
        self._store = store
        self._is_suspect = False
        with self._changed:
            if not self._is_numbered:
                self._is_numbered = True
                self._queue = deque(_moved_behind(event, store.last_id) for event in self._queue)
                self._last_id += store.last_id
            if store.set_aside is not None:
                self._take(
                    Event("fault", f"{self._path}: was damaged; set aside as {store.set_aside.name}, a new one begun")
                )
        return store

    def _shut(self, *, keep_lock: bool = False) -> None:
        store, self._store = self._store, None
        if store is not None:
            try:
                store.connection.close()
            except sqlite3.Error as exc:
                self._note_failure(exc)
        if self._lock is not None and not keep_lock:
            self._lock.release()
            self._lock = None

    def _note_failure(self, exc: Exception) -> None:
        detail = f"{self._path}: events wait in memory: {exc}; {_cure(exc)}"
        with self._changed:
            if self._fault is None:
                # It waits in the queue with the time of the failure and is written with the rest.
                self._take(Event("fault", detail))
            self._fault = detail


def _moved_behind(event: Event, last_id: int) -> Event:
    """The event with its provisional number, and that of the decision it belongs to, made final."""
    about = None if event.about is None else event.about + last_id
    return replace(event, id=(event.id or 0) + last_id, about=about)


def _is_passing(exc: Exception) -> bool:
    if isinstance(exc, sqlite3.Error):
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY)
    return isinstance(exc, OSError) and exc.errno in _PASSING


def _cure(exc: Exception) -> str:
    if isinstance(exc, sqlite3.Error):
        if is_damage(exc):
            return "the file is set aside at the next try"
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        is_full, is_read_only = code == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_READONLY
    else:
        number = getattr(exc, "errno", None)
        is_full, is_read_only = number in (errno.ENOSPC, errno.EDQUOT), number == errno.EROFS
    if is_full:
        return "free some space: journalctl --vacuum-size=50M"
    if is_read_only:
        return "make it writable again; a card that turns read-only is dying"
    return "see: wastebin doctor"
