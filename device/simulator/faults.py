"""What may be wrong with a simulated bin, asked for by name and severity.

    sim:white_balance=0.4,swapped=1,shift=0.1,blur=3,reversed=Glass+Metal -> Faults -> SimulatedCamera

What `wastebin calibrate` has to find is wrong here on purpose. It must never be wrong by itself: every fault is asked
for, and none hides another.

    white_balance=S   -0.7 to 0.7: the picture is too red (above 0) or too blue
    swapped=1         the camera hands out blue, green, red
    far=F             0.5 to 1: the camera hangs higher, the bin fills this share of the picture; no fault by itself
    shift=S           -0.2 to 0.2: somebody knocked the camera; the bin is off by this share of the picture
    blur=S            0 to 8: the lens is smeared or out of focus, px
    reversed=A+B      the servos of these flaps stand the wrong way round: their ends are exchanged (on the bench of a
                      calibration, `device.calibrate.simulated`; the bin of `run` has no servos)
"""

import re
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from device.camera.frame import Rgb
from device.errors import UsageError

__all__ = ["FAULTS", "SOUND", "Faults", "read_faults"]

FAULTS = ("white_balance", "swapped", "far", "shift", "blur", "reversed")

_RANGES = {"white_balance": (-0.7, 0.7), "far": (0.5, 1.0), "shift": (-0.2, 0.2), "blur": (0.0, 8.0)}


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong; see the top of this file."""

    white_balance: float = 0.0
    swapped: bool = False
    far: float = 1.0
    shift: float = 0.0
    blur: float = 0.0
    reversed: frozenset[str] = frozenset()

    @property
    def cast(self) -> tuple[float, float, float]:
        """Gains of red, green and blue."""
        return 1 + self.white_balance, 1.0, 1 - self.white_balance

    def through_lens(self, rgb: Rgb) -> Rgb:
        """What the lens makes of the scene: where it looks, and how sharply; uint8 [H, W, 3]."""
        if self.far != 1.0 or self.shift:
            height, width = rgb.shape[:2]
            turn = np.array(self.to_picture(width, height), np.float32)
            room = _room(width, height).copy()
            rgb = np.asarray(
                cv2.warpAffine(rgb, turn, (width, height), room, cv2.INTER_AREA, cv2.BORDER_TRANSPARENT), np.uint8
            )
        if self.blur:
            rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), self.blur), np.uint8)
        return rgb

    def to_picture(self, width: int, height: int) -> list[list[float]]:
        """From the scene's px to the picture's, two rows of an affine map."""
        room = (1 - self.far) / 2
        return [
            [self.far, 0.0, (room + self.shift) * width],
            [0.0, self.far, (room + self.shift / 2) * height],
        ]

    def box_px(self, box: tuple[int, int, int, int], size_px: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where a box of the scene stands in the picture, cut off at its edges."""
        (scale, _, left), (_, _, top) = self.to_picture(*size_px)
        x0, y0 = max(0, round(box[0] * scale + left)), max(0, round(box[1] * scale + top))
        x1 = min(size_px[0], round((box[0] + box[2]) * scale + left))
        y1 = min(size_px[1], round((box[1] + box[3]) * scale + top))
        return x0, y0, x1 - x0, y1 - y0

    def from_sensor(self, rgb: Rgb) -> Rgb:
        """What the driver hands out."""
        return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8) if self.swapped else rgb


SOUND = Faults()


def read_faults(spec: str, options: dict[str, str]) -> Faults:
    """Read the options of a spec that name faults.

    Args:
        spec: all of it, for the message.
        options: name -> text; names that are none of `FAULTS` are left alone.

    Raises:
        UsageError: a value is none.
    """
    numbers: dict[str, float] = {}
    for name, (low, high) in _RANGES.items():
        if name in options:
            text = options[name]
            if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII) or not low <= float(text) <= high:
                raise UsageError(f"camera {spec!r}: {name} is {text!r}, expected a number from {low:g} to {high:g}")
            numbers[name] = float(text)
    swapped = options.get("swapped", "0")
    if swapped not in ("0", "1"):
        raise UsageError(f"camera {spec!r}: swapped is {swapped!r}, expected 0 or 1")
    names = frozenset(filter(None, options.get("reversed", "").split("+")))
    return Faults(swapped=swapped == "1", reversed=names, **numbers)


@cache
def _room(width: int, height: int) -> Rgb:
    """What stands around the bin: a floor without anything on it."""
    rng = np.random.default_rng(0xF100)
    coarse = rng.uniform(0.85, 1.15, (6, 8)).astype(np.float32)
    light = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.asarray(np.clip(light * np.array((92, 88, 82), np.float32), 0, 255), np.uint8)
