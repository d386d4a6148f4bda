"""The pins of a bin for somebody who tries them out, and a camera of its own for a bin that does not run.

    OutputsConfig -> open_board -> Board;  Config -> OpenBench (a Bench)

Servos may be jogged over the whole range that any servo takes: finding their ends is what a calibration is for.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from device.camera import Camera, open_camera
from device.camera.frame import Frame
from device.camera.locks import Locks, settled_locks
from device.config_types import CameraConfig, Config
from device.errors import CameraError
from device.lend import PinBench
from device.outputs import HARD_LIMITS_US, FlapOutputs, LedOutputs, OutputsConfig, PinnedLed, PinnedServo
from device.pins import Board, PinsName, open_pins

__all__ = ["OpenBench", "open_board"]

WARM_UP_FRAMES = 10
"""A camera's first pictures are dark or green."""


class OpenBench(PinBench):
    """A bin that does not run: its camera, opened for this, and its pins.

    Args:
        config: of the bin, without its calibration.
        camera: with it.
        pins: `lgpio` or `mock`.
    """

    def __init__(self, config: Config, camera: CameraConfig, pins: PinsName) -> None:
        super().__init__(config, pins)
        # Colours stay as they were found; what the camera holds is let go, so that it can settle anew.
        self.base = camera.locks.colours
        self.camera = camera.source
        self.rate_hz = camera.rate_hz
        self._opened_camera: Camera = open_camera(
            camera.source, size_px=camera.size_px, rate_hz=camera.rate_hz, locks=self.base
        )
        for _ in self.look(WARM_UP_FRAMES):
            pass

    def look(self, frames: int) -> Iterator[Frame]:
        """As `Bench`."""
        for _ in range(frames):
            frame = self._opened_camera.read()
            if frame is None:
                raise CameraError(f"{self.camera}: it has ended, expected a camera that goes on; name a live one")
            yield frame

    def settled(self) -> Locks:
        """As `Bench`."""
        return settled_locks(self._opened_camera)

    def close(self) -> None:
        """Give camera and pins back."""
        super().close()
        self._opened_camera.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_board(outputs: OutputsConfig, pins: PinsName) -> Board:
    """Open every lamp and servo of a bin, dark and detached.

    Raises:
        OutputError: the pins cannot be had.
    """
    leds: tuple[PinnedLed, ...] = ()
    servos: tuple[PinnedServo, ...] = ()
    if isinstance(outputs, LedOutputs):
        leds = outputs.leds
    elif isinstance(outputs, FlapOutputs):
        servos = outputs.flaps
    else:
        servos = (outputs.tilt, outputs.pan)
    low, high = HARD_LIMITS_US
    return Board(open_pins(pins), leds, tuple(replace(servo, min_us=low, max_us=high) for servo in servos))
