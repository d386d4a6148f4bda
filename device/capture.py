"""Keep one camera running, and its newest frame at hand.

    Camera -> capture thread -> newest-frame slot -> whoever asks

The thread owns the camera: it opens, reads, closes and reopens it. It must never make the loop wait for a camera, and
the loop never makes a live camera wait: only the newest frame is kept. A finite source (folder, video, recording) is
not live; it waits until its frame was taken, so that none is lost.

After a `CameraError` the camera is closed and opened again, at first after half a second, then ever less often: a
camera that lost its cable must not fill the journal (picamera2#1090, #1392).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from device.camera.frame import Camera, Frame
from device.errors import CameraError, WastebinError

__all__ = ["BACK_OFF_S", "MAX_BACK_OFF_S", "Capture", "Ended", "Lost", "Slot", "Taken"]

BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 10.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The camera failed; the thread is about to open it again.

    Attributes:
        error: what the camera said.
        attempt: how often it has failed since the last frame, from 1.
        again_s: seconds until it is opened again.
    """

    error: CameraError
    attempt: int
    again_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """No more frames will come.

    Attributes:
        error: why, when opening again is no cure (a folder without pictures, a recording that cannot be written);
            None when a finite source came to its end.
    """

    error: WastebinError | None = None


Taken = Frame | Lost | Ended
"""What a look into the slot may give."""


class Slot:
    """One place for the newest thing; a lock guards the place and nothing slow."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: Taken | None = None

    def put(self, newest: Taken) -> None:
        """Put something in; what nobody took is replaced."""
        with self._changed:
            self._newest = newest
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Taken | None:
        """Take the newest thing out; None when nothing came within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None, timeout_s)
            newest, self._newest = self._newest, None
            self._changed.notify_all()
            return newest

    def wait_taken(self, timeout_s: float) -> bool:
        """Wait until the place is empty; False when it is not within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._newest is None, timeout_s)


class Capture:
    """A thread that owns the camera.

    Args:
        open_camera: opens it, and opens it again after a failure; called in the thread.
        record: takes each frame as it comes, such as `Recorder.write`; None records nothing.
        pause: waits that many seconds before opening again; None waits for real, and less when it is closed.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        *,
        record: Callable[[Frame], object] | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.slot = Slot()
        self.is_live = True
        self._open_camera = open_camera
        self._record = record
        self._is_stopping = threading.Event()
        self._must_reopen = threading.Event()
        self._pause = self._is_stopping.wait if pause is None else pause
        self._attempt = 0
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Open the camera in the thread; its first frame or its error arrives in the slot."""
        self._thread.start()

    def reopen(self) -> None:
        """Have a live camera closed and opened anew; a finite source would begin again, so it stays as it is."""
        if self.is_live:
            self._must_reopen.set()

    def stop(self) -> None:
        """Ask the thread to end, without waiting for it."""
        self._is_stopping.set()

    def close(self, deadline_s: float = 3.0) -> bool:
        """Stop the thread and give the camera back.

        A driver may never return from its stop call (picamera2#1264, #1065): the thread is a daemon and is then left
        behind, so that the outputs and the events are still looked after.

        Returns:
            Whether the camera was closed in time.
        """
        self.stop()
        if self._thread.ident is None:
            return True
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                if self._read_until_end():
                    self.slot.put(Ended())
                    return
            except CameraError as error:
                if not self.is_live:
                    self._wait_taken()  # the last good frame first
                self._attempt += 1
                again_s = min(BACK_OFF_S * 2 ** (self._attempt - 1), MAX_BACK_OFF_S)
                self.slot.put(Lost(error, self._attempt, again_s))
                self._pause(again_s)
            except WastebinError as error:
                self.slot.put(Ended(error))
                return

    def _read_until_end(self) -> bool:
        """Read one opened camera; True when a finite source has ended, False when it shall be closed."""
        self._must_reopen.clear()
        with self._open_camera() as camera:
            self.is_live = camera.is_live
            while not self._is_stopping.is_set():
                frame = camera.read()
                if frame is None:
                    return self._wait_taken()
                if self._must_reopen.is_set():
                    break  # it shows what was
                self._attempt = 0
                if self._record is not None:
                    self._record(frame)
                if not camera.is_live and not self._wait_taken():
                    return False
                self.slot.put(frame)
        return False

    def _wait_taken(self) -> bool:
        """Wait until the last frame was taken; False when the thread shall stop first."""
        while not self.slot.wait_taken(0.1):
            if self._is_stopping.is_set():
                return False
        return True
