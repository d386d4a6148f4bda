"""Put a bin together from its configuration, run it, and take it apart again.

    Config, camera, pins, model -> run_bin: EventLog, Drive, Engine, Capture, Supervisor -> until told to stop

Wiring only: every rule stands in the parts. It must never choose a camera or pins that nobody named, and every way out
(SIGTERM, Ctrl-C, an error, a source that ends) goes through the same door: outputs parked and released, camera closed
with a deadline, events written. SIGHUP opens the model again and changes over between two items.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol, runtime_checkable

import device
from device.bundle import Bundle, factory_bundle_path
from device.camera import open_camera
from device.camera.frame import Camera
from device.camera.replay import Recorder
from device.capture import Capture
from device.config_types import Config
from device.decide import Rule
from device.drive import Drive, open_drive
from device.engine import Engine
from device.errors import WastebinError
from device.events import Event, EventLog
from device.gate import Gate
from device.model import Model, bundle_rule, open_model
from device.pins import PinsName, Trace
from device.supervise import Supervisor, Watcher

__all__ = ["Plan", "load_model", "run_bin"]

CAMERA_CLOSE_S = 1.5
EVENTS_CLOSE_S = 2.5
"""Together with the time to park these stay below the ten seconds that systemd waits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run.

    Attributes:
        config: of this bin.
        camera: a spec, see `device.camera`.
        pins: `lgpio` or `mock`.
        model_path: folder of a bundle; None is the one that the configuration names, or the one that came along.
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
        BundleError: it cannot be loaded, or does not compute what its trainer saw.
        ConfigError: the bin's `[decide]` contradicts what the bundle proposes.
    """
    bundles: list[Bundle] = []

    def rule_for(bundle: Bundle) -> Rule:
        bundles.append(bundle)
        return config.decide.over(bundle_rule(bundle))

    path = model_path or config.model.path or factory_bundle_path()
    model = open_model(path, rule_for, threads=config.model.threads)
    return model, bundles[0]


def run_bin(
    plan: Plan,
    watcher: Watcher,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    trace: Trace | None = None,
) -> None:
    """Run until a signal comes, the time is over, or a finite source has ended.

    Call it from the main thread: it takes SIGTERM, SIGINT and SIGHUP, and gives them back.

    Args:
        plan: what is to run.
        watcher: is shown what happens.
        clock: monotonic seconds.
        pause: sleeps that many seconds.
        trace: called with everything that a pin is told.

    Raises:
        WastebinError: something that cannot be mended from inside; the outputs are safe by then.
    """
    config = plan.config
    model, bundle = load_model(config, plan.model_path)
    site = config.site_for(contamination=bundle.costs.contamination, missed=bundle.costs.missed)
    stop = threading.Event()
    end_s = None if plan.for_s is None else clock() + plan.for_s
    cameras: list[Camera] = []

    def is_over() -> bool:
        return end_s is not None and clock() >= end_s

    def open_this_camera() -> Camera:
        camera = open_camera(plan.camera, size_px=config.camera.size_px, rate_hz=config.camera.rate_hz, clock=clock)
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

    with _recorder(plan.record) as recorder, EventLog(config.events_path, mono=clock) as log:
        engine = Engine(Gate(config.gate, config.camera.region), model, site, open_this_drive(), log)
        capture = Capture(open_this_camera, record=None if recorder is None else recorder.write)
        supervisor = Supervisor(
            engine,
            capture.slot.take,
            is_live=lambda: capture.is_live,
            open_drive=open_this_drive,
            log=log,
            clock=clock,
            must_stop=lambda: stop.is_set() or is_over(),
            watcher=watcher,
        )
        log.add(
            Event(
                "start",
                f"wastebin {device.__version__}, camera {plan.camera}, pins {plan.pins}",
                model_version=model.version,
            )
        )
        reason = "the source has ended"
        try:
            with _signals(stop, lambda: engine.swap(lambda: load_model(config, plan.model_path)[0])):
                capture.start()
                supervisor.run()
                if stop.is_set():
                    reason = "asked to stop"
                elif is_over():
                    reason = "the time is over"
        except WastebinError as error:
            reason = str(error)
            raise
        finally:
            capture.stop()
            supervisor.park(pause)
            if not capture.close(CAMERA_CLOSE_S):
                log.add(Event("fault", f"camera {plan.camera}: did not close in {CAMERA_CLOSE_S:g} s; left behind"))
            log.add(Event("stop", reason, model_version=engine.model.version))
            log.close(EVENTS_CLOSE_S)


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
