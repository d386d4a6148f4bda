"""What a camera is held at, and how its colours are put right: found once by `wastebin calibrate`, used in every start.

    calibration -> Locks -> open_camera: controls to the camera, colours frame by frame

Exposure and white balance that run by themselves follow the items instead of the light (picamera2#977, #1269), and some
cameras hand out blue first (picamera2#848). What the camera can hold, it is told to hold; what it cannot, its colours,
is put right in each frame. Pure; it must never make a colour out of a clipped one.
"""

from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

__all__ = ["AUTOMATIC", "EVEN", "Gains", "Locks", "settled_locks"]

Gains = tuple[float, float, float]
"""Factors of red, green and blue."""

EVEN: Final[Gains] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Locks:
    """How one camera is held; None leaves a control to the camera.

    Attributes:
        exposure_us: exposure time in microseconds.
        gain: the sensor's analogue gain.
        colour_gains: the camera's own gains of red and blue.
        lens: where its lens stands, in the camera's own unit (picamera2: dioptres; V4L2: steps).
        is_swapped: it hands out blue, green, red; turned round in each frame.
        balance: factors of each frame's red, green and blue, after turning round.
    """

    exposure_us: int | None = None
    gain: float | None = None
    colour_gains: tuple[float, float] | None = None
    lens: float | None = None
    is_swapped: bool = False
    balance: Gains = EVEN

    @property
    def corrects(self) -> bool:
        """Whether frames are changed at all."""
        return self.is_swapped or self.balance != EVEN

    @property
    def colours(self) -> "Locks":
        """What is done to frames, and nothing held: the camera settles by itself."""
        return Locks(is_swapped=self.is_swapped, balance=self.balance)

    def then(self, *, is_swapped: bool, balance: Gains) -> "Locks":
        """These, and what was found wrong on frames that they had put right already."""
        before = _turned(self.balance) if is_swapped else self.balance
        both = (balance[0] * before[0], balance[1] * before[1], balance[2] * before[2])
        return replace(self, is_swapped=self.is_swapped != is_swapped, balance=both)

    def beyond(self, applied: "Locks") -> "Locks":
        """What still has to be done to frames that the camera already hands out corrected by `applied`."""
        turns = self.is_swapped != applied.is_swapped
        done = _turned(applied.balance) if turns else applied.balance
        rest = (self.balance[0] / done[0], self.balance[1] / done[1], self.balance[2] / done[2])
        return Locks(is_swapped=turns, balance=rest)


AUTOMATIC: Final = Locks()


@runtime_checkable
class _Settles(Protocol):
    def settled(self) -> Locks: ...


def settled_locks(camera: object) -> Locks:
    """What a camera has settled on by itself; nothing where it does not tell."""
    return camera.settled() if isinstance(camera, _Settles) else AUTOMATIC


def _turned(gains: Gains) -> Gains:
    return gains[2], gains[1], gains[0]
