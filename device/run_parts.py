"""What stands around a bin while it runs: who looks on, what it feels, what is recorded, signals.

    Plan -> run.run_bin -> opened here, closed again on every way out

Each part is plain and knows no other. A simulated bin's tray, lid and beams are told here what happens to them, since
in a real one gravity and people do that.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from device.camera.corrected import CorrectedCamera, Empties
from device.camera.frame import Camera, Frame
from device.camera.replay import Recorder
from device.config_sensors import SensorsConfig
from device.pins import PinsName, open_pins
from device.sensors import NO_SENSORS, Reads, Sensors
from device.status import Status
from device.supervise import Watcher

__all__ = ["Watchers", "open_recorder", "open_sensors", "take_signals", "tell_simulator"]


@dataclass(frozen=True, slots=True)
class Watchers:
    """Several who are shown the same: a person, the service manager, and who keeps pictures."""

    all: tuple[Watcher, ...]

    def frame(self, status: Status, frame: Frame) -> None:
        """Show it to each."""
        for watcher in self.all:
            watcher.frame(status, frame)

    def fault(self, sentence: str | None) -> None:
        """Tell each."""
        for watcher in self.all:
            watcher.fault(sentence)


def tell_simulator(cameras: list[Camera]) -> Callable[[str], None]:
    """What to do when a flap is open: nothing, but for the simulator, whose tray empties.

    Args:
        cameras: the one that is open; none before, another after a loss.
    """

    def on_open(bin_name: str) -> None:
        for camera in cameras:
            if isinstance(camera, Empties):
                camera.flap_moved(bin_name)

    return on_open


@contextmanager
def open_sensors(wired: SensorsConfig | None, pins: PinsName, cameras: list[Camera]) -> Iterator[Reads]:
    """The sensors of a bin; on mock pins its lid is shut and its beams are whole, unless the simulator says other.

    Raises:
        OutputError: see `Sensors`.
    """
    if wired is None:
        yield NO_SENSORS
        return
    opened = open_pins(pins)
    with Sensors(wired, opened) as sensors:
        if pins != "mock":
            yield sensors
            return
        from device.simulator.feeling import Felt, SimulatedSensors

        def felt() -> Felt | None:
            camera = cameras[0] if cameras else None
            camera = camera.inner if isinstance(camera, CorrectedCamera) else camera
            return camera if isinstance(camera, Felt) else None

        yield SimulatedSensors(sensors, wired, opened, felt)


@contextmanager
def open_recorder(folder: Path | None) -> Iterator[Recorder | None]:
    """A recording into a new folder; none without one."""
    if folder is None:
        yield None
        return
    recorder = Recorder(folder)
    try:
        yield recorder
    finally:
        recorder.close()


@contextmanager
def take_signals(stop: threading.Event, reload: Callable[[], object]) -> Iterator[None]:
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
