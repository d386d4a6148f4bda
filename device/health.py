"""Feed systemd's watchdog, but only while everything that makes a bin a bin is alive.

    frames that were acted on, the event writer, the loop itself -> Health.look -> WATCHDOG=1, READY=1, STATUS=

Called from the loop that sorts, never from a thread of its own: a timer that feeds whatever happens is how dead
machines look healthy (systemd#21083), and so does a camera that repeats one picture (picamera2#1392). Each part gets
longer than the cures inside the process need: the supervisor opens a lost camera again and again, and only when that
has not helped for `FRAMES_S` is a fresh process the next rung. It must never feed before the bin is ready.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from device.camera.frame import Frame
from device.notify import Notifier
from device.status import Status

__all__ = ["FRAMES_S", "READY_FRAMES", "WRITING_S", "Health", "Heartbeat"]

READY_FRAMES: Final = 3
"""So many frames have gone through the engine when the bin calls itself ready: camera, model and pins are."""

FRAMES_S: Final = 30.0
"""A bin that has acted on no frame for so long is not sorting, whatever its threads say."""

WRITING_S: Final = 60.0
"""A single write that takes longer hangs; a slow card takes seconds."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A part that is alive while its silence is short.

    Attributes:
        name: half a sentence, such as `no frame was acted on`.
        silent_s: seconds since it was last seen alive.
        limit_s: silence up to which it counts as alive.
    """

    name: str
    silent_s: Callable[[], float]
    limit_s: float

    @property
    def is_fresh(self) -> bool:
        """Whether it is alive."""
        return self.silent_s() <= self.limit_s


class Health:
    """Watches one bin and speaks for it; a `supervise.Watcher` whose `look` is called again and again.

    Args:
        notifier: the way to the service manager.
        clock: monotonic seconds.
        others: heartbeats beside that of the frames.
    """

    def __init__(self, notifier: Notifier, clock: Callable[[], float], others: tuple[Heartbeat, ...] = ()) -> None:
        self._notifier = notifier
        self._clock = clock
        self._frames = 0
        self._seen_s = clock()
        self._fed_s: float | None = None
        self._heartbeats = (Heartbeat("no frame was acted on", lambda: clock() - self._seen_s, FRAMES_S), *others)
        self._fault: str | None = None
        self._told = ""

    @property
    def is_ready(self) -> bool:
        """Whether the bin has begun to sort."""
        return self._frames >= READY_FRAMES

    def frame(self, status: Status, frame: Frame) -> None:  # noqa: ARG002
        """A frame went through camera, model and outputs."""
        self._seen_s = self._clock()
        self._frames += 1
        if self._frames == READY_FRAMES:
            self._notifier.send("READY=1")
        if self.is_ready:
            self._tell(self._fault or f"sorting with {status.model}")

    def fault(self, sentence: str | None) -> None:
        """Something is wrong now; None when all is well again."""
        self._fault = sentence
        if sentence is not None:
            self._tell(sentence)

    def look(self) -> None:
        """Feed the watchdog when it is time and every part is alive."""
        period_s = self._notifier.watchdog_s
        if period_s is None or not self.is_ready:
            return
        silent = [beat for beat in self._heartbeats if not beat.is_fresh]
        if silent:
            self._tell(f"{silent[0].name} for {silent[0].limit_s:g} s: the watchdog is not fed any more")
            return
        now_s = self._clock()
        # Four times as often as needed: one late look in a loaded loop is no reason to die.
        if self._fed_s is None or now_s - self._fed_s >= period_s / 4:
            self._fed_s = now_s
            self._notifier.send("WATCHDOG=1")

    def stopping(self) -> None:
        """The bin stops on purpose: what follows is not watched any more."""
        self._notifier.send("STOPPING=1")

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:
            self._told = sentence
            self._notifier.send(f"STATUS={sentence}")
