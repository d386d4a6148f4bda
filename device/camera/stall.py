"""Trust no camera: the one place that decides whether a frame is new, whole and as large as the last one.

Source.grab() -> WatchedCamera.read() -> Frame

A camera that hangs looks healthy: it answers, with the same picture for hours (picamera2#1392) or with an old one. So
not the answer counts but the sensor's time and the pixels. A source only knows how to get the next picture out of its
library; all rules are here, with the clock passed in, so their tests never sleep.

It never repairs: after an error the camera is to be closed and opened again by whoever owns it.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from device.camera.frame import Frame, Rgb
from device.camera.locks import Locks, settled_locks
from device.errors import CameraError, CameraStalled

__all__ = ["STALL_S", "Source", "WatchedCamera"]

STALL_S = 2.0
"""How long a live camera may give no new picture, in seconds."""


class Source(Protocol):
    """Where pictures come from: one library, no rules."""

    def grab(self) -> Frame | None:
        """Wait for the next picture; None when a finite source has ended.

        A source that may wait for ever must give up by itself after its camera's `stall_s`.

        Raises:
            CameraStalled: nothing came in time.
            CameraError: the device went away.
        """
        ...

    def release(self) -> None:
        """Give the device back; called once."""
        ...


class WatchedCamera:
    """A `Camera` over a source, with the rules that hold for every camera.

    Of a live source, pictures that are not newer than the last one, or older than `stall_s`, are dropped and waited
    past; after `stall_s` without a new one, or of pictures that are equal to the last bit, it has stalled. (A real
    sensor always has some noise; one in a closed, fully dark box may have none.) Of a finite source nothing is dropped.

    Frames are handed out write-protected.

    Args:
        source: owned from now on, and released by `close`.
        name: how the user asked for it; used in messages.
        is_live: see `Camera`.
        size_px: width and height that every frame must have; None takes those of the first.
        stall_s: see above, seconds.
        clock: monotonic seconds, the clock of the source's `captured_s`; only asked for a live source.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        is_live: bool,
        size_px: tuple[int, int] | None = None,
        stall_s: float = STALL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.is_live = is_live
        self._source = source
        self._size_px = size_px
        self._stall_s = stall_s
        self._clock = clock
        self._last: Frame | None = None
        self._same_since_s = 0.0
        self._is_open = True

    def read(self) -> Frame | None:
        """Wait for a frame newer than the last one; see `Camera.read`."""
        if not self._is_open:
            raise CameraError(f"{self.name}: read after it was closed; open it again")
        frame = self._next_live() if self.is_live else self._source.grab()
        if frame is None:
            return None
        self._check_shape(frame.rgb)
        if self._last is not None and frame.captured_s <= self._last.captured_s:
            raise CameraError(
                f"{self.name}: frame {frame.number} was taken at {frame.captured_s:.3f} s, not after the one before it "
                f"({self._last.captured_s:.3f} s); the recording is damaged, record it again"
            )
        if self.is_live:
            self._check_repeat(frame)
        frame.rgb.flags.writeable = False
        self._last = frame
        return frame

    def settled(self) -> Locks:
        """What the camera has settled on by itself, for calibration; nothing where it does not tell."""
        return settled_locks(self._source)

    def close(self) -> None:
        """Give the device back; safe to call twice."""
        if self._is_open:
            self._is_open = False
            self._last = None
            self._source.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_live(self) -> Frame:
        """Wait for a frame that is newer than the last one and young."""
        asked_s = self._clock()
        while True:
            frame = self._source.grab()
            now_s = self._clock()
            if frame is None:
                raise CameraError(f"{self.name}: it ended, which a live camera must not; check its cable and power")
            is_newer = self._last is None or frame.captured_s > self._last.captured_s
            age_s = now_s - frame.captured_s
            if is_newer and age_s < self._stall_s:
                return frame
            # Drivers keep a picture or two: after a pause the first are old, and fresh ones follow.
            if now_s - asked_s >= self._stall_s:
                raise CameraStalled(
                    f"{self.name}: no new frame for {self._stall_s:g} s (the newest was taken {age_s:.1f} s ago); "
                    "opening it again may help, else check its cable and power"
                )

    def _check_shape(self, rgb: Rgb) -> None:
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise CameraError(
                f"{self.name}: a frame of {rgb.dtype} {list(rgb.shape)}; expected uint8 [H, W, 3], check its format"
            )
        size_px = (rgb.shape[1], rgb.shape[0])
        if self._size_px is None:
            self._size_px = size_px
        if size_px != self._size_px:
            found = f"{size_px[0]}x{size_px[1]}"
            expected = f"{self._size_px[0]}x{self._size_px[1]}"
            if self._last is None:
                raise CameraError(
                    f"{self.name}: gives {found} pixels; asked for {expected}, set camera.size_px to a size that it has"
                )
            raise CameraError(f"{self.name}: the picture changed its size from {expected} to {found}; open it again")

    def _check_repeat(self, frame: Frame) -> None:
        # Comparing is cheaper than any hash (0.1 ms at 640x480), and exact; the last frame is held anyway.
        if self._last is None or not np.array_equal(frame.rgb, self._last.rgb):
            self._same_since_s = frame.captured_s
        elif frame.captured_s - self._same_since_s >= self._stall_s:
            raise CameraStalled(
                f"{self.name}: the same picture to the last bit for {self._stall_s:g} s; the camera hangs and is to be "
                "opened again, or it looks into full darkness"
            )
