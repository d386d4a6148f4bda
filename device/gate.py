"""Tell when one thing lies still in the tray, and nothing else moves.

    camera.Frame -> Gate.update -> View(state, item) -> engine

    LEARNING -> EMPTY -> MOVING -> ITEM -> (gone) -> EMPTY
       ^          |         +----> BLOCKED: something lies still but reaches in from outside, such as an arm
       +-- light -+

It knows nothing of what the item is: a picture in which nothing changed against *this bin's* own background never
reaches the classifier. It must never call something an item that moves, that reaches over the edge of the region, or
that is only light or shadow; and it never takes an item over into the background, however long it lies. Time is
`frame.captured_s`; it has no clock. Ideas: `background`, and picamera2#977, Frigate#13260 (light is not an item).

What it does where several answers are possible:
- Two things apart: the item is the larger one. Parts closer than a thumb's width are one thing.
- A lamp is switched while an item lies there: the background is relit by a smooth surface of light and the item stays
  an item. Where light does not explain the picture, the whole tray is learnt anew once nothing moves, as at the start.
- Something lay in the tray while it was learnt and is taken out: its outline is in the background, not in the picture,
  so the place is taken over at once and no item is seen.
"""

import math
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

import cv2
import numpy as np

from device.background import LIT_SHARE, Background, Change, Floats, Mask
from device.camera.frame import Frame, Rgb
from device.errors import ConfigError
from device.things import TRACE, find_things, is_ghost

__all__ = ["LEAST_REGION_PX", "Gate", "GateRule", "Item", "TrayState", "View"]

GRID_PX = 160
"""Length of the small picture that everything but the crop works on."""

MOVES = 4.5
"""Deviations between two pictures at which a place has moved."""

LIGHT_TAIL = 0.007
"""The same while a lamp still warms up or the camera's exposure follows it."""

STEADY_FRAMES = 3
"""Frames in a row that must show the same before it is said to be an item."""

FOLLOW = 0.03
"""How far the picture that nothing must have moved from follows each frame."""

LEAST_FRAMES = 4
"""Pictures of the empty tray below which it is not known at all."""

LEAST_REGION_PX = 32
"""Shortest side of a region."""

LIGHT_JUMP = 0.1
"""Gain change from one frame to the next that is a lamp, not the camera's exposure."""

ABSORB_S = 10.0
"""In an empty tray, the background follows what it sees with this time constant."""

CATCH_UP = 3.0
"""How much faster it follows for each part that the exposure is off."""

ABSORB_EVERY_S = 0.5
"""How often it does."""


class TrayState(StrEnum):
    """What the tray holds, in one word."""

    LEARNING = "learning"
    EMPTY = "empty"
    MOVING = "moving"
    ITEM = "item"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class GateRule:
    """When something counts as an item.

    Attributes:
        settle_s: seconds without movement before an item counts as settled.
        warm_s: seconds without movement in which the empty tray is learnt.
        min_area: least share of the region that an item covers, 0..1.
        margin: added to each side of the item's box in the crop, as a share of the box's longer side.

    Raises:
        ConfigError: a value is outside its range; all of them at once.
    """

    settle_s: float = 0.3
    warm_s: float = 1.0
    min_area: float = 0.01
    margin: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"gate: {name} is {value}, expected a number above 0 and at most {most}; correct it"
            for name, value, most in (
                ("settle_s", self.settle_s, 10.0),
                ("warm_s", self.warm_s, 60.0),
                ("min_area", self.min_area, 1.0),
            )
            if not 0.0 < value <= most
        ]
        if not 0.0 <= self.margin <= 1.0:
            problems.append(f"gate: margin is {self.margin}, expected a number from 0 to 1; correct it")
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A thing that lies still in the tray.

    Attributes:
        crop_rgb: uint8 [S, S, 3], RGB, its own memory: the box with its margin made square, the picture's edge repeated
            where the square reaches beyond it.
        box: x, y, width, height in px of the camera's picture, without the margin.
        captured_s: of the frame it was cut from.
        number: of that frame.
    """

    crop_rgb: Rgb
    box: tuple[int, int, int, int]
    captured_s: float
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one frame shows.

    Attributes:
        item: only when `state` is ITEM.
        motion: share of the region that moved, 0..1.
        foreground: share of the region that differs from the empty tray, 0..1.
    """

    state: TrayState
    item: Item | None
    motion: float
    foreground: float


class _LightPhase(Enum):
    """How far a change of light is dealt with."""

    STEADY = auto()
    SWITCHING = auto()
    FOLLOWED = auto()


@dataclass(slots=True, eq=False)
class _Tray:
    """What is known of the tray between two frames.

    Attributes:
        anchor: float32 [h, w, 3], levelled: the picture that later ones must equal for nothing to have moved.
        still_since_s: when the anchor was set.
        light: the newest gain, mean over the colours.
        held: where something lay when the tray was last judged, uint8 [h, w]; None while nobody can tell.
        steady_frames: frames in a row in which nothing moved and an item was there.
    """

    size_px: tuple[int, int]
    background: Background
    anchor: Floats
    still_since_s: float
    absorbed_s: float
    is_learning: bool = True
    light_phase: _LightPhase = _LightPhase.STEADY
    light: float = 1.0
    held: Mask | None = None
    steady_frames: int = 0

    def set_anchor(self, levelled: Floats, now_s: float) -> None:
        self.anchor = levelled.copy()
        self.still_since_s = now_s


class Gate:
    """Watches the tray of one camera.

    Args:
        rule: when something counts as an item.
        region: x, y, width, height in px of the camera's picture, the part that shows the tray; None is all of it.

    Raises:
        ConfigError: the region is too small or begins outside the picture.
    """

    def __init__(self, rule: GateRule, region: tuple[int, int, int, int] | None = None) -> None:
        if region is not None and (min(region[:2]) < 0 or min(region[2:]) < LEAST_REGION_PX):
            raise ConfigError(
                f"region: {list(region)}, expected x and y of 0 or more, width and height of {LEAST_REGION_PX} px or "
                "more; correct it"
            )
        self._rule = rule
        self._region = region
        self._tray: _Tray | None = None

    def relearn(self) -> None:
        """Forget the empty tray; the next frames teach it anew."""
        self._tray = None

    def update(self, frame: Frame) -> View:
        """Judge one frame.

        Args:
            frame: newer than the last one; only looked at, and not kept. A picture of another size starts anew.

        Raises:
            ConfigError: the region reaches beyond the picture.
        """
        size_px = frame.rgb.shape[1], frame.rgb.shape[0]
        now_s = frame.captured_s
        small = self._shrink(frame.rgb)
        tray = self._tray
        if tray is None or tray.size_px != size_px:
            self._tray = _Tray(size_px, Background(small), small, now_s, now_s)
            return View(TrayState.LEARNING, None, 0.0, 0.0)
        change = tray.background.compare(small)
        motion = _measure_motion(tray, change, now_s)
        if tray.is_learning and self._learn(tray, small, motion, now_s):
            return View(TrayState.LEARNING, None, motion, 0.0)
        jump = _light_jump(tray, change)
        if change.rim_share > LIT_SHARE or jump > LIGHT_JUMP:
            return self._relight(tray, small, change, motion, now_s)
        if tray.light_phase is not _LightPhase.STEADY:
            if self._follow_light(tray, change, motion, jump, now_s):
                return View(TrayState.LEARNING, None, motion, 0.0)
            change = tray.background.compare(small)
        return self._judge(tray, frame, small, change, motion)

    def _learn(self, tray: _Tray, small: Floats, motion: float, now_s: float) -> bool:
        """True while the empty tray is not known well enough."""
        if motion >= TRACE and tray.background.frames < LEAST_FRAMES:
            tray.background = Background(small)
            tray.set_anchor(small, now_s)
        elif motion >= TRACE:
            # Something arrives: what was seen until now is the empty tray.
            tray.is_learning = False
        else:
            tray.background.learn(small)
            tray.is_learning = now_s - tray.still_since_s < self._rule.warm_s
        return tray.is_learning

    def _relight(self, tray: _Tray, small: Floats, change: Change, motion: float, now_s: float) -> View:
        """The whole picture differs: follow the light, or start anew where light does not explain it."""
        is_explained = tray.background.relight(small)
        if is_explained or change.rim_share <= LIT_SHARE:
            change = tray.background.compare(small)
            tray.light_phase = _LightPhase.SWITCHING
            tray.light = _brightness(change)
            tray.set_anchor(change.levelled, now_s)
        elif now_s - tray.still_since_s >= self._rule.settle_s:
            self._tray = _Tray(tray.size_px, Background(small), small, now_s, now_s)
        return View(TrayState.LEARNING, None, motion, 1.0)

    def _follow_light(self, tray: _Tray, change: Change, motion: float, jump: float, now_s: float) -> bool:
        """Take over what a new light left; False once it is steady, or something arrives."""
        if motion >= TRACE:
            # While the lamp is switched, or the exposure follows it, everything moves; then only what arrives does.
            if tray.light_phase is _LightPhase.FOLLOWED and jump <= LIGHT_TAIL:
                tray.light_phase = _LightPhase.STEADY
            return tray.light_phase is not _LightPhase.STEADY
        tray.light_phase = _LightPhase.FOLLOWED
        _take_over_light(tray, change)
        if jump > LIGHT_TAIL:
            tray.still_since_s = now_s
        if now_s - tray.still_since_s < self._rule.settle_s:
            return True
        tray.light_phase = _LightPhase.STEADY
        return False

    def _judge(self, tray: _Tray, frame: Frame, small: Floats, change: Change, motion: float) -> View:
        now_s = frame.captured_s
        things = find_things(tray.background, change)
        foreground = sum(thing.area for thing in things)
        tray.held = np.zeros(change.deviations.shape, np.uint8)
        if not things:
            tray.steady_frames = 0
            self._absorb(tray, small, change, now_s)
            return View(TrayState.EMPTY, None, motion, foreground)
        items = [thing for thing in things if thing.is_sharp and thing.area >= self._rule.min_area]
        is_reached = any(thing.reaches_in for thing in things)
        tray.steady_frames = tray.steady_frames + 1 if items and motion < TRACE and not is_reached else 0
        if now_s - tray.still_since_s < self._rule.settle_s:
            tray.held = None
            return View(TrayState.MOVING, None, motion, foreground)
        for thing in things:
            if is_ghost(tray.background, change, thing):
                place = cv2.dilate(thing.mask, np.ones((5, 5), np.uint8)).astype(np.uint8)
                tray.background.absorb(change.levelled, 1.0, place)
                return View(TrayState.MOVING, None, motion, foreground)
            tray.held |= thing.mask
        if is_reached:
            return View(TrayState.BLOCKED, None, motion, foreground)
        if not items:
            self._absorb(tray, small, change, now_s)
            return View(TrayState.EMPTY, None, motion, foreground)
        if tray.steady_frames < STEADY_FRAMES:
            return View(TrayState.MOVING, None, motion, foreground)
        box = self._to_picture(max(items, key=lambda thing: thing.area).box, small)
        item = Item(_cut(frame.rgb, box, self._rule.margin), box, now_s, frame.number)
        return View(TrayState.ITEM, item, motion, foreground)

    def _absorb(self, tray: _Tray, small: Floats, change: Change, now_s: float) -> None:
        """Let the background of an empty tray follow what is seen, twice a second."""
        elapsed_s = now_s - tray.absorbed_s
        if 0.0 <= elapsed_s < ABSORB_EVERY_S:
            return
        tray.absorbed_s = now_s
        if elapsed_s < 0.0:
            return
        # Far from the exposure it was learnt at, the background is compared badly: catch up.
        off = CATCH_UP * abs(math.log(tray.light))
        tray.background.absorb(small, min(max(1.0 - math.exp(-elapsed_s / ABSORB_S), off), 1.0))
        gain = tray.background.gain(small)
        tray.light = float(gain.mean())
        tray.anchor *= change.gain / gain

    def _shrink(self, rgb: Rgb) -> Floats:
        """The region at `GRID_PX` length, slightly smoothed; float32 [h, w, 3], 0-255."""
        height, width = rgb.shape[:2]
        x, y, w, h = self._region or (0, 0, width, height)
        if x + w > width or y + h > height:
            raise ConfigError(
                f"region: {[x, y, w, h]} reaches beyond the camera's picture of {width} x {height} px; "
                "make it fit, or remove it to watch all of the picture"
            )
        scale = GRID_PX / max(w, h)
        size = max(8, round(w * scale)), max(8, round(h * scale))
        small = cv2.resize(rgb[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.blur(small.astype(np.float32), (3, 3)), dtype=np.float32)

    def _to_picture(self, box: tuple[int, int, int, int], small: Floats) -> tuple[int, int, int, int]:
        """A box of the small picture in px of the camera's picture."""
        width, height = self._tray.size_px if self._tray else (0, 0)
        x, y, w, h = self._region or (0, 0, width, height)
        across, down = w / small.shape[1], h / small.shape[0]
        left, top = round(box[0] * across), round(box[1] * down)
        right, bottom = round((box[0] + box[2]) * across), round((box[1] + box[3]) * down)
        return x + left, y + top, right - left, bottom - top


def _brightness(change: Change) -> float:
    return float(change.gain.mean())


def _light_jump(tray: _Tray, change: Change) -> float:
    """How far the light changed since the last frame, 0.1 being about a tenth."""
    light, before = _brightness(change), tray.light
    tray.light = light
    return abs(math.log(light / before))


def _take_over_light(tray: _Tray, change: Change) -> None:
    """Put what the smooth light left over into the background, except where something lay before the light changed."""
    place = np.ones(change.deviations.shape, np.uint8)
    if tray.held is None:
        for thing in find_things(tray.background, change):
            if thing.is_sharp:
                place[cv2.dilate(thing.mask, np.ones((5, 5), np.uint8)) > 0] = 0
    else:
        place[cv2.dilate(tray.held, np.ones((9, 9), np.uint8)) > 0] = 0
    tray.background.absorb(change.levelled, 1.0, place)
    tray.anchor = change.levelled.copy()


def _measure_motion(tray: _Tray, change: Change, now_s: float) -> float:
    """Share of the region that moved since the anchor, 0..1; a movement sets the anchor anew."""
    moved = tray.background.moved(tray.anchor, change.levelled) > MOVES
    motion = float(np.mean(moved))
    if motion >= TRACE or now_s < tray.still_since_s:  # a camera that was opened again may count from 0
        tray.set_anchor(change.levelled, now_s)
    else:
        # Drifting light must not look like movement, however long an item lies there.
        tray.anchor += np.float32(FOLLOW) * (change.levelled - tray.anchor)
    return motion


def _cut(rgb: Rgb, box: tuple[int, int, int, int], margin: float) -> Rgb:
    """The box with its margin as a square of its own memory; the picture's edge is repeated beyond it."""
    x, y, w, h = box
    side = max(1, round(max(w, h) * (1.0 + 2.0 * margin)))
    left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    height, width = rgb.shape[:2]
    right, bottom = left + side, top + side
    inside = rgb[max(top, 0) : bottom, max(left, 0) : right]
    over = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    return np.asarray(cv2.copyMakeBorder(inside, *over, cv2.BORDER_REPLICATE), dtype=np.uint8)
