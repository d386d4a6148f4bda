"""A camera whose frames have their colours put right.

    Camera.read -> correct -> Frame

It only changes colours: times, numbers and errors are the camera's own.
"""

from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import cv2
import numpy as np

from device.camera.frame import Camera, Frame, Rgb
from device.camera.locks import EVEN, Locks, settled_locks

__all__ = ["CorrectedCamera", "Empties", "correct"]


@runtime_checkable
class Empties(Protocol):
    """A camera over a tray that empties when it is told that a flap is open."""

    def flap_moved(self, bin_name: str) -> None:
        """This bin's flap is open."""
        ...


class CorrectedCamera:
    """A `Camera` over another.

    Args:
        camera: owned from now on, and closed with this one.
        locks: what to put right.
    """

    def __init__(self, camera: Camera, locks: Locks) -> None:
        self.name = camera.name
        self.is_live = camera.is_live
        self._camera = camera
        self._locks = locks

    @property
    def inner(self) -> Camera:
        """The camera itself."""
        return self._camera

    def read(self) -> Frame | None:
        """As `Camera.read`."""
        frame = self._camera.read()
        if frame is None:
            return None
        rgb = correct(frame.rgb, self._locks)
        rgb.flags.writeable = False
        return Frame(rgb, frame.captured_s, frame.number)

    def settled(self) -> Locks:
        """As `WatchedCamera.settled`."""
        return settled_locks(self._camera)

    def flap_moved(self, bin_name: str) -> None:
        """As `SimulatedCamera.flap_moved`; nothing to a real camera."""
        if isinstance(self._camera, Empties):
            self._camera.flap_moved(bin_name)

    def close(self) -> None:
        """As `Camera.close`."""
        self._camera.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def correct(rgb: Rgb, locks: Locks) -> Rgb:
    """Put the colours of one frame right.

    Args:
        rgb: uint8 [H, W, 3]; not changed, and given back itself where there is nothing to do.
    """
    if not locks.corrects:
        return rgb
    turned = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_BGR2RGB), np.uint8) if locks.is_swapped else rgb
    if locks.balance == EVEN:
        return turned
    # Camera curves are near a power law: a gain in the light is a gain of the bytes.
    table = np.arange(256, dtype=np.float32)[:, None] * np.asarray(locks.balance, np.float32)
    return np.asarray(cv2.LUT(turned, np.round(table).clip(0, 255).astype(np.uint8)[None]), np.uint8)
