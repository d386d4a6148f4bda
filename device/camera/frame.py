"""Frame: what every camera hands out.

This file knows no camera, so that the rest of the device can name a frame without importing one.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Camera", "Frame", "Rgb"]

Rgb = NDArray[np.uint8]
"""uint8 [H, W, 3], 0-255, red first."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the tray.

    Attributes:
        rgb: uint8 [H, W, 3], 0-255, RGB; never written to after it was handed out.
        captured_s: when the sensor took it, seconds on the camera's own monotonic clock
            (`time.monotonic()` for hardware, the script's time for the simulator).
        number: counts up by one or more; the same number is the same frame.
    """

    rgb: Rgb
    captured_s: float
    number: int


class Camera(Protocol):
    """A source of frames; one thread reads it, and closes it.

    Attributes:
        name: how the user asked for it, such as `usb:0`; used in messages.
        is_live: True where frames keep coming in real time and late ones are dropped.
    """

    name: str
    is_live: bool

    def read(self) -> Frame | None:
        """Wait for a frame newer than the last one; None when a finite source has ended.

        Raises:
            CameraStalled: no new frame within the camera's time limit, or one repeated.
            CameraError: the device went away, or the picture changed its size.
        """
        ...

    def close(self) -> None:
        """Give the device back; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
