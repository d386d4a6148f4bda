"""A USB camera, through OpenCV and V4L2.

/dev/videoN -> cv2.VideoCapture (BGR) -> UsbSource -> Frame (RGB)

MJPG, because uncompressed 640x480 fills a USB 2 bus that others share; one buffer, so that a frame is never older than
the last one read. V4L2 through OpenCV gives no sensor time that every driver fills in, so `captured_s` is when the
frame arrived.
"""

import math
import os
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Frame
from device.camera.locks import AUTOMATIC, Locks
from device.camera.stall import STALL_S
from device.errors import CameraError, CameraNotFound, CameraStalled

__all__ = ["UsbSource"]

# A cheap camera sends a torn JPEG now and then, most of all at the start; one that was pulled out fails every time.
_BAD_FRAMES = 5

_EXPOSURE_STEP_US = 100  # V4L2 counts exposure in steps of 0.1 ms
_MANUAL_EXPOSURE = 1  # V4L2_EXPOSURE_MANUAL

# OpenCV writes lines of its own to stderr about devices that we report in one sentence.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class _Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool: ...  # noqa: N802 - OpenCV's name
    def set(self, prop: int, value: float) -> bool: ...
    def get(self, prop: int) -> float: ...
    def read(self) -> tuple[bool, NDArray[Any]]: ...
    def release(self) -> None: ...


class UsbSource:
    """Frames of a V4L2 camera.

    Args:
        device: N of /dev/videoN.
        size_px: width and height to ask for.
        rate_hz: frames a second to ask for; a camera that lacks this rate gives its nearest.
        stall_s: how long to wait for a picture, seconds.
        clock: monotonic seconds.
        open_capture: opens the device; OpenCV's own class unless a test passes a fake.
        locks: what it is held at, as far as its driver lets us.

    Raises:
        CameraNotFound: no such camera, or another program holds it.
    """

    def __init__(
        self,
        device: int,
        *,
        size_px: tuple[int, int],
        rate_hz: float,
        stall_s: float = STALL_S,
        clock: Callable[[], float] = time.monotonic,
        open_capture: Callable[[int], _Capture] | None = None,
        locks: Locks = AUTOMATIC,
    ) -> None:
        self._name = f"usb:{device}"
        self._stall_s = stall_s
        self._clock = clock
        self._number = 0
        if open_capture is None:
            # OpenCV waits ten seconds for a frame unless told otherwise, in whole seconds, before the first device.
            os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(stall_s))
            open_capture = _open_v4l2
        self._capture = open_capture(device)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraNotFound(
                f"{self._name}: /dev/video{device} does not open as a camera; see which there are with: "
                f"v4l2-ctl --list-devices, and who holds it with: sudo fuser -v /dev/video{device}"
            )
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_px[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_px[1])
        self._capture.set(cv2.CAP_PROP_FPS, rate_hz)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._hold(locks)

    def settled(self) -> Locks:
        """What the camera has settled on by itself; a driver that does not tell gives 0."""
        exposure = self._capture.get(cv2.CAP_PROP_EXPOSURE)
        lens = self._capture.get(cv2.CAP_PROP_FOCUS)
        return Locks(
            exposure_us=round(exposure * _EXPOSURE_STEP_US) if exposure > 0 else None,
            lens=lens if lens > 0 else None,
        )

    def _hold(self, locks: Locks) -> None:
        """Hold what is locked; a control that the driver lacks stays as it is."""
        if locks.exposure_us is not None:
            self._capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE)
            self._capture.set(cv2.CAP_PROP_EXPOSURE, locks.exposure_us / _EXPOSURE_STEP_US)
            # V4L2 gives no colour gains: its white balance is stopped where it is, `balance` does the rest.
            self._capture.set(cv2.CAP_PROP_AUTO_WB, 0)
        if locks.lens is not None:
            self._capture.set(cv2.CAP_PROP_AUTOFOCUS, 0)
            self._capture.set(cv2.CAP_PROP_FOCUS, locks.lens)

    def grab(self) -> Frame:
        """Wait for the next picture."""
        asked_s = self._clock()
        for _ in range(_BAD_FRAMES):
            try:
                is_read, bgr = self._capture.read()
            except cv2.error as exc:
                raise CameraError(f"{self._name}: OpenCV failed to read it ({exc.err}); plug it in again") from exc
            captured_s = self._clock()
            if is_read:
                rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
                frame = Frame(rgb, captured_s, self._number)
                self._number += 1
                return frame
            if captured_s - asked_s >= self._stall_s:
                raise CameraStalled(
                    f"{self._name}: no frame within {self._stall_s:g} s; opening it again may help, else unplug it "
                    "and plug it in"
                )
        raise CameraError(f"{self._name}: {_BAD_FRAMES} reads in a row gave no frame; plug the camera in again")

    def release(self) -> None:
        """Close the device."""
        self._capture.release()


def _open_v4l2(device: int) -> _Capture:
    return cast("_Capture", cv2.VideoCapture(device, cv2.CAP_V4L2))
