"""Put a bin together from its configuration, run it, and take it apart again.

    Config, camera, pins, model -> run_bin: EventLog, Drive, Engine, Capture, Supervisor, Switch -> until told to stop

Wiring only: every rule stands in the parts. It must never choose a camera or pins that nobody named, and every way out
(SIGTERM, Ctrl-C, an error, a source that ends) goes through the same door: outputs parked and released, camera closed
with a deadline, events written. SIGHUP opens the model again and changes over between two items; a release that is put
on trial in the store is followed without a signal. Who names a model, by option or in the configuration, gets that one.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

import device
from device.bundle import Bundle
from device.calibrated import Calibrated
from device.camera import open_camera
from device.camera.frame import Camera
from device.camera.locks import settled_locks
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
from device.pins import PinsName, Trace
from device.releases import ReleaseStore
from device.route import Site, homeless
from device.run_parts import Watchers, open_recorder, open_sensors, take_signals, tell_simulator
from device.settings import apply_settings, load_settings
from device.spot_check import SpotChecks
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
    # On pictures this small a second thread waits more than it works: with it frames are later, for more CPU.
    cv2.setNumThreads(1)
    plain, spoilt = _with_settings(plan)
    bin_ = Calibrated(plain)
    plan, config = replace(plan, config=bin_.config), bin_.config
    store, open_release = _models(plan, lambda: bin_.config)
    stop = threading.Event()
    wishes: list[str] = []
    end_s = None if plan.for_s is None else clock() + plan.for_s
    cameras: list[Camera] = []

    def is_over() -> bool:
        return end_s is not None and clock() >= end_s

    def restart() -> None:
        wishes.append("asked to start again, in the dashboard")
        stop.set()

    def open_this_camera() -> Camera:
        seen = bin_.camera
        camera = open_camera(plan.camera, size_px=seen.size_px, rate_hz=seen.rate_hz, clock=clock, locks=seen.locks)
        cameras[:] = [camera]
        return camera

    def open_serving() -> Model:
        return open_release(store.read_state().serving)

    def open_this_drive() -> Drive:
        return open_drive(
            bin_.config.outputs,
            pins=plan.pins,
            clock=lambda: engine.now_s,
            trace=trace,
            on_open=tell_simulator(cameras),
        )

    # The log first: it tells a second bin to go away before that one counts as a try of a model.
    with (
        open_recorder(plan.record) as recorder,
        EventLog(config.events_path, mono=clock) as log,
        open_sensors(config.sensors, plan.pins, cameras) as sensors,
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

        def lent() -> None:
            if bin_.lend():
                capture.reopen()

        def take_back() -> None:
            changes = bin_.take_back()
            if changes.camera:
                capture.reopen()
            if changes.view:
                engine.replace_gate(Gate(bin_.config.gate, bin_.config.camera.region))
                if dashboard is not None:
                    dashboard.scene.region = bin_.config.camera.region
            if changes.model:
                engine.swap(open_serving)
            if changes.note is not None:
                log.add(Event("fault", changes.note))

        lender = Lender(
            plain,
            pins=plan.pins,
            camera=lambda: bin_.camera,
            settled=lambda: settled_locks(cameras[0] if cameras else None),
            lent=lent,
            returned=take_back,
        )
        dashboard = _dashboard(
            plan,
            store,
            engine=engine,
            site=site,
            keeper=keeper,
            log=log,
            learner=learner,
            lender=lender,
            restart=restart if notifier.is_heard else None,
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
            watcher=Watchers((watcher, health, keeper, SpotChecks(log, rate=config.spot_check_rate), *onlookers)),
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
        for damaged in filter(None, (spoilt, bin_.note)):
            log.add(Event("fault", damaged))
        reason = "the source has ended"
        try:
            with take_signals(stop, lambda: engine.swap(open_serving)):
                capture.start()
                keeper.start()
                learner.start()
                if dashboard is not None:
                    dashboard.start()
                supervisor.run()
                if stop.is_set():
                    reason = wishes[0] if wishes else "asked to stop"
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
            # Before the keeper, which keeps what was corrected until then.
            if dashboard is not None:
                dashboard.close(DASHBOARD_CLOSE_S)
            keeper.close(KEEPER_CLOSE_S)
            learner.close(LEARNER_CLOSE_S)
            log.add(Event("stop", reason, model_version=engine.model.version))
            log.close(EVENTS_CLOSE_S)


def _with_settings(plan: Plan) -> tuple[Config, str | None]:
    """The configuration with this camera and what was set in the dashboard; a sentence if that is damaged."""
    config = replace(plan.config, camera=replace(plan.config.camera, source=plan.camera))
    settings, spoilt = load_settings(config)
    return apply_settings(config, settings), spoilt


def _site_with(config: Config, model: Model) -> Site:
    """The site with the costs that this model proposes, where the configuration names none."""
    return config.site_for(contamination=model.costs.contamination, missed=model.costs.missed)


def _models(plan: Plan, config_now: Callable[[], Config]) -> tuple[Store, Opens]:
    """Who says which model runs, and how it is opened: the person who named one, else the store of releases."""
    named = plan.model_path or plan.config.model.path
    if named is not None:
        return FixedStore(), lambda _: load_model(config_now(), named)[0]
    store = ReleaseStore(plan.config.models.store, plan.config.models.signers)
    return store, lambda release: load_model(config_now(), store.path_of(release))[0]


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
    restart: Callable[[], None] | None,
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
        restart=restart,
    )
    return Dashboard(desk, plan.config.dashboard)
