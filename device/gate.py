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
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np

from device.background import LIT_SHARE, Background, Change, Floats, Mask
from device.camera.frame import Frame, Rgb
from device.errors import ConfigError
from device.region import LEAST_REGION_PX, Region, cut_square
from device.things import TRACE, find_things, has_new_edges, is_ghost

__all__ = ["LEAST_REGION_PX", "Gate", "GateRule", "Item", "TrayState", "View"]

MOVES = 4.5
"""Deviations between two pictures at which a place has moved."""

STEADY_FRAMES = 3
"""Frames in a row that must show the same before it is said to be an item."""

FOLLOW = 0.03
"""How far the picture that nothing must have moved from follows each frame."""

LEAST_FRAMES = 4
"""Pictures of the empty tray below which it is not known at all."""

NOISY = 0.02
"""Share of the region that noise may move while the tray's own noise is being learnt, as long as it brings no edges."""

LIGHT_JUMP = 0.1
"""Gain change from one frame to the next that is a lamp, not the camera's exposure."""

LIGHT_TAIL = 0.007
"""The same while a lamp still warms up or the camera's exposure follows it."""

COVERED_S = 2.0
"""A picture that differs all over and not by light is learnt as a new tray after lying still for so long: a bag held
over the tray should be gone by then."""

ABSORB_S = 10.0
"""In an empty tray, the background follows what it sees with this time constant."""

EXPOSURE_STEP = 0.03
"""Exposure may be off by this share before the background catches up; a camera's curve is no straight line."""

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
        reached: something reaches in from outside, still or not, or covers it all: count it as a hand.
    """

    state: TrayState
    item: Item | None
    motion: float
    foreground: float
    reached: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One frame as the gate sees it.

    Attributes:
        small: float32 [h, w, 3], 0-255.
        motion: share of the region that moved, 0..1.
        has_new_edges: that movement is a thing's, not light's.
    """

    small: Floats
    change: Change
    motion: float
    has_new_edges: bool
    now_s: float


@dataclass(slots=True, eq=False)
class _Tray:
    """What is known of the tray between two frames.

    Attributes:
        anchor: float32 [h, w, 3], levelled: the picture that later ones must equal for nothing to have moved.
        still_since_s: when the anchor was set.
        is_lit: the light has changed, and the background still follows it.
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
    is_lit: bool = False
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
        self._rule = rule
        self._region = Region(region)
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
        small = self._region.shrink(frame.rgb)
        tray = self._tray
        if tray is None or tray.size_px != size_px:
            self._tray = _Tray(size_px, Background(small), small, now_s, now_s)
            return View(TrayState.LEARNING, None, 0.0, 0.0)
        change = tray.background.compare(small)
        seen = _Seen(small, change, *_measure_motion(tray, change, now_s), now_s)
        if tray.is_learning and self._learn(tray, seen):
            return View(TrayState.LEARNING, None, seen.motion, 0.0)
        jump = _light_jump(tray, change)
        if change.rim_share > LIT_SHARE or jump > LIGHT_JUMP:
            state = self._relight(tray, seen, jump)
            return View(state, None, seen.motion, 1.0, reached=state is TrayState.MOVING)
        if tray.is_lit:
            if self._follow_light(tray, seen, jump):
                return View(TrayState.LEARNING, None, seen.motion, 0.0)
            seen = replace(seen, change=tray.background.compare(small))
        return self._judge(tray, frame, seen)

    def _learn(self, tray: _Tray, seen: _Seen) -> bool:
        """True while the empty tray is not known well enough."""
        is_noise = seen.motion < NOISY and not seen.has_new_edges
        if is_noise:
            # A camera whose colours are put right far is noisier than a tray is taken to be before it is learnt.
            tray.background.learn(seen.small)
            tray.is_learning = seen.now_s - tray.still_since_s < self._rule.warm_s
        elif tray.background.frames < LEAST_FRAMES:
            tray.background = Background(seen.small)
            tray.set_anchor(seen.small, seen.now_s)
        else:
            # Something arrives: what was seen until now is the empty tray.
            tray.is_learning = False
        return tray.is_learning

    def _relight(self, tray: _Tray, seen: _Seen, jump: float) -> TrayState:
        """The whole picture differs: follow the light, or start anew where light does not explain it."""
        was_empty = tray.held is not None and not tray.held.any()
        is_light = (seen.motion >= TRACE or jump > LIGHT_JUMP) and not seen.has_new_edges
        # In an empty tray the new light is simply taken over. A thing in it needs to know what lay under it.
        is_explained = (is_light and was_empty) or tray.background.relight(seen.small) or is_light
        if is_explained:
            tray.is_lit = True
            _take_over_light(tray, seen.small)
            tray.still_since_s = seen.now_s
            return TrayState.LEARNING
        if seen.now_s - tray.still_since_s < COVERED_S:
            return TrayState.MOVING
        self._tray = _Tray(tray.size_px, Background(seen.small), seen.small, seen.now_s, seen.now_s)
        return TrayState.LEARNING

    def _follow_light(self, tray: _Tray, seen: _Seen, jump: float) -> bool:
        """Take over what a new light still changes; False once it is steady, or something arrives."""
        # A hand that comes in with the light may be too blurred for edges, and would stay in the background.
        held = None if tray.held is None else _grown(tray.held)
        is_light = held is None or tray.background.is_lit_only(seen.small, held)
        tray.is_lit = is_light and not seen.has_new_edges
        if not tray.is_lit:
            return False
        _take_over_light(tray, seen.small)
        if seen.motion >= TRACE or jump > LIGHT_TAIL:
            tray.still_since_s = seen.now_s
        tray.is_lit = seen.now_s - tray.still_since_s < self._rule.settle_s
        return tray.is_lit

    def _judge(self, tray: _Tray, frame: Frame, seen: _Seen) -> View:
        change, motion, now_s = seen.change, seen.motion, seen.now_s
        things = find_things(tray.background, change)
        foreground = sum(thing.area for thing in things)
        tray.held = np.zeros(change.deviations.shape, np.uint8)
        if not things:
            tray.steady_frames = 0
            self._absorb(tray, seen)
            return View(TrayState.EMPTY, None, motion, foreground)
        items = [thing for thing in things if thing.is_sharp and thing.area >= self._rule.min_area]
        is_reached = any(thing.reaches_in for thing in things)
        tray.steady_frames = tray.steady_frames + 1 if items and motion < TRACE and not is_reached else 0
        if now_s - tray.still_since_s < self._rule.settle_s:
            tray.held = None
            # What moves may have no outline, and a flap that waits for a shadow to pass costs nothing.
            is_crossed = any(thing.crosses for thing in things)
            return View(TrayState.MOVING, None, motion, foreground, reached=is_crossed)
        for thing in things:
            if is_ghost(tray.background, change, thing):
                place = cv2.dilate(thing.mask, np.ones((5, 5), np.uint8)).astype(np.uint8)
                tray.background.absorb(change.levelled, 1.0, place)
                return View(TrayState.MOVING, None, motion, foreground, reached=is_reached)
            tray.held |= thing.mask
        if is_reached:
            return View(TrayState.BLOCKED, None, motion, foreground, reached=True)
        if not items:
            self._absorb(tray, seen)
            return View(TrayState.EMPTY, None, motion, foreground)
        if tray.steady_frames < STEADY_FRAMES:
            return View(TrayState.MOVING, None, motion, foreground)
        box = self._region.to_picture(max(items, key=lambda thing: thing.area).box, seen.small, tray.size_px)
        item = Item(cut_square(frame.rgb, box, self._rule.margin), box, now_s, frame.number)
        return View(TrayState.ITEM, item, motion, foreground)

    def _absorb(self, tray: _Tray, seen: _Seen) -> None:
        """Let the background of an empty tray follow what is seen: slowly, but at once where the exposure is off."""
        elapsed_s = seen.now_s - tray.absorbed_s
        is_off = abs(math.log(tray.light)) > EXPOSURE_STEP
        if 0.0 <= elapsed_s < ABSORB_EVERY_S and not is_off:
            return
        tray.absorbed_s = seen.now_s
        tray.background.absorb(seen.small, 1.0 if is_off else 1.0 - math.exp(-max(elapsed_s, 0.0) / ABSORB_S))
        gain = tray.background.gain(seen.small)
        tray.light = float(gain.mean())
        tray.anchor *= seen.change.gain / gain


def _brightness(change: Change) -> float:
    return float(change.gain.mean())


def _light_jump(tray: _Tray, change: Change) -> float:
    """How far the light changed since the last frame, 0.1 being about a tenth."""
    light, before = _brightness(change), tray.light
    tray.light = light
    return abs(math.log(light / before))


def _take_over_light(tray: _Tray, small: Floats) -> None:
    """Put what is seen into the background, except where something lay before the light changed."""
    change = tray.background.compare(small)
    place = np.ones(change.deviations.shape, np.uint8)
    if tray.held is not None:
        place[_grown(tray.held) > 0] = 0
    else:
        for thing in find_things(tray.background, change):
            if thing.is_sharp:
                place[cv2.dilate(thing.mask, np.ones((5, 5), np.uint8)) > 0] = 0
    tray.background.rebase(change.gain)
    tray.background.absorb(small, 1.0, place)
    tray.anchor = small.copy()
    tray.light = 1.0


def _grown(held: Mask) -> Mask:
    """With the shadow and the blur around it."""
    return np.asarray(cv2.dilate(held, np.ones((9, 9), np.uint8)), np.uint8)


def _measure_motion(tray: _Tray, change: Change, now_s: float) -> tuple[float, bool]:
    """Share of the region that moved since the anchor, 0..1, and whether that brought new edges; then a new anchor."""
    moved = tray.background.moved(tray.anchor, change.levelled) > MOVES
    motion = float(np.mean(moved))
    if motion < TRACE and now_s >= tray.still_since_s:
        # Drifting light must not look like movement, however long an item lies there.
        tray.anchor += np.float32(FOLLOW) * (change.levelled - tray.anchor)
        return motion, False
    # A camera that was opened again may count from 0.
    is_new = has_new_edges(tray.anchor, change.levelled, moved)
    tray.set_anchor(change.levelled, now_s)
    return motion, is_new
