"""The pins of a bin for somebody who tries them out, and a camera of its own for a bin that does not run.

    OutputsConfig -> open_board -> Board;  Config -> OpenBench (a Bench)

Servos may be jogged over the whole range that any servo takes: finding their ends is what a calibration is for.
"""

from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from device.camera import Camera, open_camera
from device.camera.frame import Frame
from device.camera.locks import AUTOMATIC, Locks
from device.config_types import Config
from device.errors import CameraError
from device.lend import PinBench
from device.outputs import HARD_LIMITS_US, FlapOutputs, LedOutputs, OutputsConfig, PinnedLed, PinnedServo
from device.pins import Board, PinsName, open_pins

__all__ = ["OpenBench", "open_board"]

WARM_UP_FRAMES = 10
"""A camera's first pictures are dark or green."""


@runtime_checkable
class _Settles(Protocol):
    def settled(self) -> Locks: ...


class OpenBench(PinBench):
    """A bin that does not run: its camera, opened for this, and its pins.

    Args:
        config: of the bin, with its calibration applied.
        pins: `lgpio` or `mock`.
    """

    def __init__(self, config: Config, pins: PinsName) -> None:
        super().__init__(config, pins)
        camera = config.camera
        # Colours stay as they were found; what the camera holds is let go, so that it can settle anew.
        self.base = Locks(is_swapped=camera.locks.is_swapped, balance=camera.locks.balance)
        self.camera = camera.source
        self.rate_hz = camera.rate_hz
        self._opened_camera: Camera = open_camera(
            camera.source, size_px=camera.size_px, rate_hz=camera.rate_hz, locks=self.base
        )
        self.look(WARM_UP_FRAMES)

    def look(self, frames: int) -> list[Frame]:
        """As `Bench`."""
        seen = []
        for _ in range(frames):
            frame = self._opened_camera.read()
            if frame is None:
                raise CameraError(f"{self.camera}: it has ended, expected a camera that goes on; name a live one")
            seen.append(frame)
        return seen

    def settled(self) -> Locks:
        """As `Bench`."""
        return self._opened_camera.settled() if isinstance(self._opened_camera, _Settles) else AUTOMATIC

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
