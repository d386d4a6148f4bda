"""Put a bin together from its configuration, run it, and take it apart again.

    Config, camera, pins, model -> run_bin: EventLog, Drive, Engine, Capture, Supervisor, Switch -> until told to stop

Wiring only: every rule stands in the parts. It must never choose a camera or pins that nobody named, and every way out
(SIGTERM, Ctrl-C, an error, a source that ends) goes through the same door: outputs parked and released, camera closed
with a deadline, events written. SIGHUP opens the model again and changes over between two items; a release that is put
on trial in the store is followed without a signal. Who names a model, by option or in the configuration, gets that one.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import device
from device.bundle import Bundle
from device.calibration import apply, load_calibration
from device.camera import open_camera
from device.camera.frame import Camera, Frame
from device.camera.locks import AUTOMATIC, Locks
from device.camera.replay import Recorder
from device.capture import Capture
from device.config_types import Config
from device.decide import Rule
from device.drive import Drive, open_drive
from device.engine import Engine
from device.errors import BundleRefused, WastebinError
from device.events import Event, EventLog
from device.gate import Gate
from device.health import WRITING_S, Health, Heartbeat
from device.keep import Keeper
from device.learner import Learner
from device.lend import Lender
from device.model import Model, bundle_rule, open_model, served_path
from device.notify import Notifier
from device.pins import PinsName, Trace, open_pins
from device.releases import ReleaseStore
from device.route import Site, homeless
from device.sensors import NO_SENSORS, Reads, Sensors
from device.settings import apply_settings, load_settings
from device.spot_check import SpotChecks
from device.status import Status
from device.supervise import Supervisor, Watcher
from device.switch import FixedStore, Opens, Store, Switch, start_model

if TYPE_CHECKING:  # loaded only where it is served
    from device.web.wire import Dashboard

__all__ = ["Plan", "load_model", "run_bin"]

NOBODY = Notifier()

CAMERA_CLOSE_S = 1.0
KEEPER_CLOSE_S = 0.5
LEARNER_CLOSE_S = 0.5
DASHBOARD_CLOSE_S = 1.0
EVENTS_CLOSE_S = 2.5
"""Together with the time to park these stay below the ten seconds that systemd waits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run.

    Attributes:
        config: of this bin.
        camera: a spec, see `device.camera`.
        pins: `lgpio` or `mock`.
        model_path: folder of a bundle; None is the one that the configuration names, else what the store of releases
            names, else the one that came along.
        record: folder for a recording of every frame; None for none.
        for_s: seconds after which it stops by itself; None runs on.
    """

    config: Config
    camera: str
    pins: PinsName
    model_path: Path | None = None
    record: Path | None = None
    for_s: float | None = None


def load_model(config: Config, model_path: Path | None) -> tuple[Model, Bundle]:
    """Open the model that a bin shall use.

    Raises:
        BundleError: it cannot be loaded, does not compute what its trainer saw, or names what has no bin here.
        ConfigError: the bin's `[decide]` contradicts what the bundle proposes.
    """
    bundles: list[Bundle] = []

    def rule_for(bundle: Bundle) -> Rule:
        bundles.append(bundle)
        return config.decide.over(bundle_rule(bundle))

    path = served_path(config, model_path)
    model = open_model(path, rule_for, threads=config.model.threads)
    lost = homeless(model.labels, config.site)
    if lost:
        raise BundleRefused(
            f"{path}: no bin for {', '.join(lost)}, expected one for each material; add it to the takes of a [[bin]]"
        )
    return model, bundles[0]


def run_bin(
    plan: Plan,
    watcher: Watcher,
    *,
    notifier: Notifier = NOBODY,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    trace: Trace | None = None,
) -> None:
    """Run until a signal comes, the time is over, or a finite source has ended.

    Call it from the main thread: it takes SIGTERM, SIGINT and SIGHUP, and gives them back.

    Args:
        plan: what is to run.
        watcher: is shown what happens.
        notifier: the service manager that is told how it goes, if there is one.
        clock: monotonic seconds.
        pause: sleeps that many seconds.
        trace: called with everything that a pin is told.

    Raises:
        WastebinError: something that cannot be mended from inside; the outputs are safe by then.
    """
    plain, (plan, damaged) = plan, _calibrated(plan)
    config = plan.config
    store, open_release = _models(plan)
    stop = threading.Event()
    end_s = None if plan.for_s is None else clock() + plan.for_s
    cameras: list[Camera] = []

    def is_over() -> bool:
        return end_s is not None and clock() >= end_s

    def open_this_camera() -> Camera:
        seen = config.camera
        camera = open_camera(plan.camera, size_px=seen.size_px, rate_hz=seen.rate_hz, clock=clock, locks=seen.locks)
        cameras[:] = [camera]
        return camera

    def open_this_drive() -> Drive:
        return open_drive(
            config.outputs,
            pins=plan.pins,
            clock=lambda: engine.now_s,
            trace=trace,
            on_open=_tell_simulator(cameras),
        )

    # The log first: it tells a second bin to go away before that one counts as a try of a model.
    with (
        _recorder(plan.record) as recorder,
        EventLog(config.events_path, mono=clock) as log,
        _sensors(config, plan.pins) as sensors,
    ):
        started = start_model(store, open_release)
        site = _site_with(config, started.model)
        engine = Engine(
            Gate(config.gate, config.camera.region),
            started.model,
            site,
            open_this_drive(),
            log,
            costs_with=lambda model: _site_with(config, model).costs,
            sensors=sensors,
        )
        capture = Capture(open_this_camera, record=None if recorder is None else recorder.write)
        health = Health(notifier, clock, (Heartbeat("an event was not written", lambda: log.writing_s, WRITING_S),))
        keeper = Keeper(config.events_path, config.gate.margin, log, keep_unsure=config.keep_unsure)
        learner = Learner(config.events_path, engine, site, log, clock=clock)
        lender = Lender(
            plain.config,
            camera=plan.camera,
            pins=plan.pins,
            base=config.camera.locks,
            settled=lambda: _settled(cameras),
        )
        dashboard = _dashboard(
            plan, store, engine=engine, site=site, keeper=keeper, log=log, learner=learner, lender=lender
        )
        onlookers = () if dashboard is None else (dashboard.scene,)
        switch = Switch(store, engine, open_release, log, clock=clock, started=started)
        supervisor = Supervisor(
            engine,
            capture.slot.take,
            is_live=lambda: capture.is_live,
            open_drive=open_this_drive,
            log=log,
            clock=clock,
            must_stop=lambda: stop.is_set() or is_over(),
            watcher=_Watchers((watcher, health, keeper, SpotChecks(log), *onlookers)),
            on_look=health.look,
            models=switch,
            lender=lender,
        )
        log.add(
            Event(
                "start",
                f"wastebin {device.__version__}, camera {plan.camera}, pins {plan.pins}",
                model_version=started.model.version,
            )
        )
        for note in started.notes:
            log.add(note)
        if damaged is not None:
            log.add(Event("fault", damaged))
        reason = "the source has ended"
        try:
            with _signals(stop, lambda: engine.swap(lambda: open_release(store.read_state().serving))):
                capture.start()
                keeper.start()
                learner.start()
                if dashboard is not None:
                    dashboard.start()
                supervisor.run()
                if stop.is_set():
                    reason = "asked to stop"
                    switch.stopped()
                elif is_over():
                    reason = "the time is over"
        except WastebinError as error:
            reason = str(error)
            raise
        finally:
            health.stopping()
            capture.stop()
            supervisor.park(pause)
            if not capture.close(CAMERA_CLOSE_S):
                log.add(Event("fault", f"camera {plan.camera}: did not close in {CAMERA_CLOSE_S:g} s; left behind"))
            keeper.close(KEEPER_CLOSE_S)
            learner.close(LEARNER_CLOSE_S)
            if dashboard is not None:
                dashboard.close(DASHBOARD_CLOSE_S)
            log.add(Event("stop", reason, model_version=engine.model.version))
            log.close(EVENTS_CLOSE_S)


def _calibrated(plan: Plan) -> tuple[Plan, str | None]:
    """The plan with what was set in the dashboard and what calibration found; a sentence if a file is damaged."""
    config = replace(plan.config, camera=replace(plan.config.camera, source=plan.camera))
    settings, spoilt = load_settings(config)
    calibration, damaged = load_calibration(config.events_path.parent)
    notes = "; ".join(note for note in (spoilt, damaged) if note is not None)
    return replace(plan, config=apply(apply_settings(config, settings), calibration)), notes or None


@runtime_checkable
class _Settles(Protocol):
    """A camera that can tell what it has settled on."""

    def settled(self) -> Locks: ...


def _settled(cameras: list[Camera]) -> Locks:
    """What the camera that runs has settled on."""
    camera = cameras[0] if cameras else None
    return camera.settled() if isinstance(camera, _Settles) else AUTOMATIC


def _site_with(config: Config, model: Model) -> Site:
    """The site with the costs that this model proposes, where the configuration names none."""
    return config.site_for(contamination=model.costs.contamination, missed=model.costs.missed)


def _models(plan: Plan) -> tuple[Store, Opens]:
    """Who says which model runs, and how it is opened: the person who named one, else the store of releases."""
    config = plan.config
    named = plan.model_path or config.model.path
    if named is not None:
        return FixedStore(), lambda _: load_model(config, named)[0]
    store = ReleaseStore(config.models.store, config.models.signers)
    return store, lambda release: load_model(config, store.path_of(release))[0]


def _dashboard(
    plan: Plan,
    store: Store,
    *,
    engine: Engine,
    site: Site,
    keeper: Keeper,
    log: EventLog,
    learner: Learner,
    lender: Lender,
) -> "Dashboard | None":
    """The dashboard, where the configuration has a section for it; else nothing of it is loaded."""
    if plan.config.dashboard is None:
        return None
    from device.web.desk import Desk
    from device.web.scene import Scene
    from device.web.wire import Dashboard

    desk = Desk(
        config=plan.config,
        site=site,
        scene=Scene(plan.config.camera.region),
        engine=engine,
        keeper=keeper,
        log=log,
        learner=learner,
        lender=lender,
        store=store if isinstance(store, ReleaseStore) else None,
        model_path=lambda: served_path(plan.config, plan.model_path),
        camera=plan.camera,
        pins=plan.pins,
        wall=time.time,
    )
    return Dashboard(desk, plan.config.dashboard)


@dataclass(frozen=True, slots=True)
class _Watchers:
    """Several who are shown the same: a person, the service manager, and who keeps pictures."""

    all: tuple[Watcher, ...]

    def frame(self, status: Status, frame: Frame) -> None:
        for watcher in self.all:
            watcher.frame(status, frame)

    def fault(self, sentence: str | None) -> None:
        for watcher in self.all:
            watcher.fault(sentence)


@runtime_checkable
class _Empties(Protocol):
    """A camera over a tray that empties when it is told that a flap is open."""

    def flap_moved(self, bin_name: str) -> None: ...


def _tell_simulator(cameras: list[Camera]) -> Callable[[str], None]:
    """What to do when a flap is open: gravity does the rest in a real bin, the simulator has to be told."""

    def on_open(bin_name: str) -> None:
        for camera in cameras:
            if isinstance(camera, _Empties):
                camera.flap_moved(bin_name)

    return on_open


@contextmanager
def _sensors(config: Config, pins: PinsName) -> Iterator[Reads]:
    if config.sensors is None:
        yield NO_SENSORS
        return
    with Sensors(config.sensors, open_pins(pins)) as sensors:
        yield sensors


@contextmanager
def _recorder(folder: Path | None) -> Iterator[Recorder | None]:
    if folder is None:
        yield None
        return
    recorder = Recorder(folder)
    try:
        yield recorder
    finally:
        recorder.close()


@contextmanager
def _signals(stop: threading.Event, reload: Callable[[], object]) -> Iterator[None]:
    """SIGTERM and SIGINT ask to stop, SIGHUP opens the model again; the old handlers come back afterwards."""

    def on_signal(number: int, at: FrameType | None) -> None:  # noqa: ARG001
        if number == signal.SIGHUP:
            reload()
        else:
            stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
