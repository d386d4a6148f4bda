"""Learn while the bin sorts: pictures that people labelled become a better model, between two items.

    looks changed, another bundle -> Learner (a thread) -> Teacher -> LearntStore -> Engine.wear -> the next item
    `wastebin teach`, another process -> LearntStore ----------------------------^

Everything slow happens in a thread of low priority that lets the bin sort between two pictures. What is learnt belongs
to one bundle: when the bin changes to another, by shipping or by rolling back, it wears what was learnt with that one,
or nothing until it has learnt again. It must never touch the model in the middle of a vote (`Models` sees to that), and
never learn again what was refused or taken back before the looks have changed.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from device.engine import Records
from device.errors import LearntError, WastebinError
from device.events import Event
from device.learn import Learnt
from device.learnt import Active, LearntStore, Version, learnt_folder
from device.looks import looks_folder
from device.model import Model
from device.route import Site
from device.site_model import bare_model, dress
from device.teach import Teacher, looks_here, made_of

__all__ = ["Learner", "LearntView", "Wears", "view_of"]

POLL_S: Final = 2.0
SETTLE_S: Final = 5.0
"""So long the looks must have stayed as they are: five corrections in a row are one lesson."""

REST_S: Final = 0.05
"""After each picture, so that a lesson of a hundred looks never takes the CPU from a vote for long."""

NICE: Final = 10


class Wears(Protocol):
    """What is needed of `engine.Engine`."""

    @property
    def model(self) -> Model:
        """The model that names the next item."""
        ...

    def wear(self, layer: Callable[[Model], Model]) -> None:
        """Dress every model with this from the next item on."""
        ...


@dataclass(frozen=True, slots=True)
class LearntView:
    """What a person wants to know of the site's learning.

    Attributes:
        active: name of the version in use; None while the bundle answers alone.
        looks: label -> how many looks it was made of, near-duplicates counted once.
        judged: looks that the two figures were counted on, each left out once.
        right_before, right_after: share of those that the bundle alone and this version name right, 0..1; None where
            all looks are corrections, which are not judged.
        suspicious: looks whose label all the others contradict, as `<label>/<file>`.
        refused: why the newest looks were not learnt from; None when they were.
        at: when the version was made, ISO 8601 in UTC.
        versions: on the disk, oldest first.
    """

    active: str | None = None
    looks: dict[str, int] | None = None
    judged: int = 0
    right_before: float | None = None
    right_after: float | None = None
    suspicious: tuple[str, ...] = ()
    refused: str | None = None
    at: str | None = None
    versions: tuple[str, ...] = ()


def view_of(store: LearntStore, bundle: str) -> LearntView:
    """What is in use with a bundle.

    Raises:
        LearntError: what was learnt cannot be read.
    """
    active = store.read_active()
    name = active.versions.get(bundle)
    return _view(store, active, name, None if name is None else store.read(name)[0])


def _view(store: LearntStore, active: Active, name: str | None, version: Version | None) -> LearntView:
    refused, names = active.refusal or None, tuple(store.names())
    if version is None:
        return LearntView(suspicious=active.suspicious, refused=refused, versions=names)
    return LearntView(
        active=name,
        looks=version.looks,
        judged=version.judged,
        right_before=version.right_before / version.judged if version.judged else None,
        right_after=version.right_after / version.judged if version.judged else None,
        suspicious=active.suspicious if refused else version.suspicious,
        refused=refused,
        at=version.at,
        versions=names,
    )


class Learner:
    """Keeps what the bin wears at what its looks teach.

    Args:
        events_path: the database; looks and what is learnt lie beside it.
        engine: names the items.
        site: its bins.
        log: is told how a lesson went.
        clock: monotonic seconds.
        pause: sleeps that many seconds.
    """

    def __init__(
        self,
        events_path: Path,
        engine: Wears,
        site: Site,
        log: Records,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._site = site
        self._log = log
        self._clock = clock
        self._looks = looks_folder(events_path)
        self._store = LearntStore(learnt_folder(events_path))
        self._teacher = Teacher(self._looks, self._store, site, wall=time.time, rest=lambda: pause(REST_S))
        self._worn: dict[str, Learnt] = {}
        self._is_damaged = False
        self._stamp: tuple[int, int] | None = None
        self._seen: tuple[str, float] = ("", clock())
        self._told: str | None = None
        self._learning = threading.Lock()
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="learn-site", daemon=True)

    def start(self) -> None:
        """Wear what was learnt before, and look for new pictures from now on."""
        self._refresh()
        self._engine.wear(self._layer)
        self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop looking; a lesson that is under way is dropped with the process."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def view(self) -> LearntView:
        """What is in use now.

        Raises:
            LearntError: what was learnt cannot be read.
        """
        return view_of(self._store, self._engine.model.version)

    def learn(self) -> LearntView:
        """Learn from the looks now; waits for it, some seconds.

        Raises:
            WastebinError: see `Teacher.teach`.
        """
        with self._learning:
            self._teach()
        return self.view()

    def revoke(self) -> LearntView:
        """Let the bundle answer alone again, until the looks change.

        Raises:
            WastebinError: the disk refused.
        """
        with self._learning:
            self._store.revoke(made_of(looks_here(self._looks, self._site)[0]))
            self._log.add(Event("learnt", "taken back: the bundle answers alone", model_version=self._bundle))
            self._refresh()
            self._engine.wear(self._layer)
        return self.view()

    def look(self) -> None:
        """Do what is due: wear what another process has learnt, or learn from looks that have changed."""
        try:
            with self._learning:
                if self._store.stamp() != self._stamp:
                    self._refresh()
                    self._engine.wear(self._layer)
                if self._is_due():
                    self._teach()
        except WastebinError as error:
            if str(error) != self._told:  # the same trouble every two seconds is one event
                self._log.add(Event("fault", str(error), model_version=self._bundle))
            self._told = str(error)
        else:
            self._told = None

    @property
    def _bundle(self) -> str:
        return self._engine.model.version

    def _is_due(self) -> bool:
        looks, _ = looks_here(self._looks, self._site)
        stamp = made_of(looks)
        if stamp != self._seen[0]:
            self._seen = (stamp, self._clock())
        if not looks or self._clock() - self._seen[1] < SETTLE_S:
            return False
        active = self._active()
        return stamp != active.revoked and (self._is_damaged or stamp != active.settled.get(self._bundle))

    def _active(self) -> Active:
        try:
            return self._store.read_active()
        except LearntError:  # told by `_refresh`; the pictures are learnt from again
            return Active()

    def _teach(self) -> None:
        model = bare_model(self._engine.model)
        taught = self._teacher.teach(model)
        self._log.add(Event("learnt", taught.sentence, model_version=model.version))
        self._refresh()
        self._engine.wear(self._layer)

    def _refresh(self) -> None:
        """Read what is in use; what cannot be read is told, not worn, and learnt again."""
        self._stamp = self._store.stamp()
        self._is_damaged = False
        worn: dict[str, Learnt] = {}
        try:
            for bundle, name in self._store.read_active().versions.items():
                version, learnt = self._store.read(name)
                if version.bundle == bundle:
                    worn[bundle] = learnt
        except LearntError as error:
            self._is_damaged = True
            self._log.add(Event("fault", str(error), model_version=self._bundle))
        self._worn = worn

    def _layer(self, model: Model) -> Model:
        return dress(model, self._worn.get(model.version))

    def _run(self) -> None:
        # Linux knows priorities of threads: this one steps back behind camera and engine.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closing, POLL_S):
                    return
            self.look()
