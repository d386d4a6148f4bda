"""Play one visit: where hands and items are at each moment.

Visit -> Act.layers(time) -> what the scene shows

Pure in its time, which starts at 0 with the visit; only `open_flap` changes the course. It must never know what the
bin thinks: items leave when a flap opens, or when their owner loses patience.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from device.simulator.brush import Rgba
from device.simulator.scene import HAND_AT, Layer, draw_hand
from device.simulator.visits import Visit, VisitKind

__all__ = ["Act"]

_FALL_OUT_S = 0.35
_TAKE_S = (0.5, 0.3, 0.5)  # a hand comes for what it left, grips, goes
_HAND_SIZE = 0.97  # of the frame's width
_SMALLEST, _LARGEST = 0.40, 0.75  # of the tray's shorter side
_NEVER = math.inf

Spot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Rest:
    """How an item comes to lie: its middle, size and turn, and from where it falls in."""

    spot: Spot
    size_px: float
    angle_deg: float
    start: Spot
    spin_deg: float
    late_s: float


def _ease(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)


def _between(start: Spot, end: Spot, share: float) -> Spot:
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)


class Act:
    """One visit being played.

    Args:
        visit: what happens.
        pictures: one cut-out per item of the visit.
        size_px: width and height of the frame.
        tray_px: (x, y, w, h) where items come to rest.
        frame_s: seconds between two frames, for the streaks of motion.

    Attributes:
        visit: as given.
    """

    def __init__(
        self,
        visit: Visit,
        pictures: Sequence[Rgba],
        size_px: tuple[int, int],
        tray_px: tuple[int, int, int, int],
        frame_s: float,
    ) -> None:
        self.visit = visit
        self._frame_s = frame_s
        self._pictures = pictures
        rng = np.random.default_rng(visit.seed)
        self._rests = [self._choose_rest(i, size_px, tray_px, rng) for i in range(len(pictures))]
        self._size_px = size_px
        self._hand_size_px = _HAND_SIZE * size_px[0]
        self._target: Spot = (
            self._rests[0].spot
            if len(self._rests) == 1
            else (tray_px[0] + tray_px[2] * rng.uniform(0.3, 0.7), tray_px[1] + tray_px[3] * rng.uniform(0.3, 0.7))
        )
        self._way_deg, self._outside = self._choose_way(size_px, rng)
        self._tremble = [(rng.uniform(1.2, 3.0), rng.uniform(2.5, 8.0), rng.uniform(0, 6.3)) for _ in range(4)]
        self._out_way = (float(rng.uniform(-0.3, 0.3)) * size_px[0], 0.35 * size_px[1])
        start = visit.wait_s
        self._settled_s = start + visit.enter_s + visit.hold_s + (visit.leave_s if visit.by_hand else 0.0)
        self._falls_s = _NEVER
        self._takes_s = self._settled_s + visit.patience_s if visit.items else _NEVER
        self._tries = 0

    @property
    def end_s(self) -> float:
        """When the visit is over, as things stand."""
        if not self.visit.items:
            return self._settled_s
        return min(self._falls_s + _FALL_OUT_S, self._takes_s + sum(_TAKE_S))

    @property
    def switched_s(self) -> float:
        """When the lamp is switched; never in most visits."""
        return self.visit.wait_s if self.visit.kind is VisitKind.LAMP else _NEVER

    def lies(self, now_s: float) -> bool:
        """Whether items lie on the tray, still and with no hand about."""
        return self.rests_still(now_s) and not self._is_reaching(now_s)

    def lid_open(self, now_s: float) -> bool:
        """Whether the lid is open."""
        span_s = self.visit.lid_open_s
        return span_s is not None and span_s[0] <= now_s < min(span_s[1], self.end_s)

    def hand_share(self, now_s: float) -> float:
        """How much of the picture a hand and its arm cover, 0..1; to a thousandth or so."""
        palm = self._palm(now_s)
        if palm is None:
            return 0.0
        turn, size = math.radians(self._way_deg), self._hand_size_px
        rows, columns = np.nonzero(self._hand[::8, ::8, 3] > 127)
        across = (8 * columns / self._hand.shape[1] - HAND_AT[0]) * size
        along = (8 * rows / self._hand.shape[0] - HAND_AT[1]) * size
        x = palm[0] + math.cos(turn) * across + math.sin(turn) * along
        y = palm[1] - math.sin(turn) * across + math.cos(turn) * along
        seen = (x >= 0) & (x < self._size_px[0]) & (y >= 0) & (y < self._size_px[1])
        each = (8 * size) ** 2 / (self._hand.shape[0] * self._hand.shape[1])
        return float(seen.sum() * each / (self._size_px[0] * self._size_px[1]))

    def open_flap(self, now_s: float) -> None:
        """A flap opened: what lies on the tray falls, unless the visit says that it sticks."""
        if not self.rests_still(now_s):
            return
        self._tries += 1
        if self._tries > self.visit.sticks:
            self._falls_s = now_s
        self._takes_s = now_s + self.visit.patience_s

    def layers(self, now_s: float) -> list[Layer]:
        """What is in view, the lowest first.

        Args:
            now_s: seconds since the visit began.
        """
        shown = [layer for i in range(len(self._rests)) if (layer := self._item_layer(i, now_s)) is not None]
        palm, before = self._palm(now_s), self._palm(now_s - self._frame_s)
        if palm is None:
            return shown
        velocity = (palm[0] - before[0], palm[1] - before[1]) if before is not None else (0.0, 0.0)
        turn = math.radians(self._way_deg)
        back = (HAND_AT[1] - 0.5) * self._hand_size_px
        centre = (palm[0] - math.sin(turn) * back, palm[1] - math.cos(turn) * back)
        return [*shown, Layer(self._hand, centre, self._hand_size_px, self._way_deg, velocity, 0.5)]

    def would_fall(self, now_s: float) -> bool:
        """Whether what lies on the tray falls when a flap opens now, hand or no hand."""
        return self.rests_still(now_s) and self._tries >= self.visit.sticks

    def rests_still(self, now_s: float) -> bool:
        """Whether items lie on the tray, hand or no hand."""
        return bool(self.visit.items) and self._settled_s <= now_s < min(self._falls_s, self._takes_s)

    @cached_property
    def _hand(self) -> Rgba:
        """Drawn when it first comes, since in many visits none does."""
        return draw_hand(self.visit.seed)

    def _is_reaching(self, now_s: float) -> bool:
        reach = self.visit.reach
        return reach is not None and 0 <= now_s - reach.start_s < reach.enter_s + reach.hold_s + reach.leave_s

    # Places

    def _choose_rest(
        self, index: int, size_px: tuple[int, int], tray_px: tuple[int, int, int, int], rng: np.random.Generator
    ) -> _Rest:
        """A place inside the tray; two items get a half each."""
        x, y, width, height = (float(v) for v in tray_px)
        alone = len(self._pictures) == 1
        if not alone:
            gap = 0.03 * width
            x, width = x + index * (width / 2 + gap), width / 2 - gap
        size = rng.uniform(_SMALLEST, _LARGEST) * min(width, height) * (1.0 if alone else 0.9)
        angle = rng.uniform(0, 360)
        rows, cols = self._pictures[index].shape[:2]
        c, s = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
        half = np.array([cols * c + rows * s, cols * s + rows * c]) / max(rows, cols) / 2
        # A long thing that lies diagonally must still fit.
        size = min(size, 0.94 * width / (2 * half[0]), 0.94 * height / (2 * half[1]))
        room = np.array([width, height]) / 2 - half * size
        middle = np.array([x + width / 2, y + height / 2]) + rng.uniform(-1, 1, 2) * room
        turn = rng.uniform(0, 2 * math.pi)
        start = middle + np.array([math.cos(turn), math.sin(turn)]) * (0.75 * max(size_px))
        return _Rest(
            (float(middle[0]), float(middle[1])),
            float(size),
            float(angle),
            (float(start[0]), float(start[1])),
            float(rng.uniform(-120, 120)),
            float(rng.uniform(0.0, 0.2)) if index else 0.0,
        )

    def _choose_way(self, size_px: tuple[int, int], rng: np.random.Generator) -> tuple[float, Spot]:
        """The angle of the arm and where its palm is out of view; from a border that the arm is long enough for."""
        width, height = size_px
        x, y = self._target
        far = {0.0: y, 90.0: x, 180.0: height - y, 270.0: width - x}
        near = [side for side, away in far.items() if away < 0.58 * self._hand_size_px] or [
            min(far, key=far.__getitem__)
        ]
        side = near[int(rng.integers(len(near)))]
        way = side + rng.uniform(-12, 12)
        back = far[side] + 0.42 * self._hand_size_px
        turn = math.radians(way)
        return float(way), (x - math.sin(turn) * back, y - math.cos(turn) * back)

    # Motion

    def _hand_comings(self) -> list[tuple[float, float, float, float]]:
        """When hands come: start, and how long they enter, hold and leave."""
        visit = self.visit
        comings = []
        if visit.by_hand and visit.kind in {VisitKind.ITEM, VisitKind.TWO, VisitKind.HAND}:
            comings.append((visit.wait_s, visit.enter_s, visit.hold_s, visit.leave_s))
        if self._takes_s < self._falls_s:
            comings.append((self._takes_s, *_TAKE_S))
        if visit.reach is not None:
            reach = visit.reach
            comings.append((reach.start_s, reach.enter_s, reach.hold_s, reach.leave_s))
        return comings

    def _palm(self, now_s: float) -> Spot | None:
        """Where the palm is; None while no hand is about."""
        for start, enter, hold, leave in self._hand_comings():
            at = now_s - start
            if 0 <= at < enter + hold + leave:
                share = _ease(at / enter) if at < enter + hold else _ease(1 - (at - enter - hold) / leave)
                spot = _between(self._outside, self._target, share)
                shake = [a * math.sin(6.283 * f * now_s + p) for a, f, p in self._tremble]
                return (spot[0] + shake[0] + shake[1], spot[1] + shake[2] + shake[3])
        return None

    def _item_pose(self, index: int, now_s: float) -> tuple[Spot, float, float, float] | None:
        """Middle, size, turn and height of an item; None while it is out of view."""
        rest, visit = self._rests[index], self.visit
        at = now_s - visit.wait_s
        if at < 0 or now_s >= self.end_s:
            return None
        if now_s >= self._falls_s:
            share = (now_s - self._falls_s) / _FALL_OUT_S
            spot = (rest.spot[0] + self._out_way[0] * share**2, rest.spot[1] + self._out_way[1] * share**2)
            return spot, rest.size_px * (1 - 0.55 * share), rest.angle_deg + rest.spin_deg * share, 0.0
        gripped_s = self._takes_s + _TAKE_S[0] + _TAKE_S[1] / 2
        is_carried = (visit.by_hand and at < visit.enter_s) or now_s >= gripped_s
        if is_carried:
            palm = self._palm(now_s)
            if palm is None:
                return None
            spot = (rest.spot[0] + palm[0] - self._target[0], rest.spot[1] + palm[1] - self._target[1])
            return spot, rest.size_px * 1.05, rest.angle_deg, 0.3
        if not visit.by_hand:
            # It falls through the opening, hits the tray and slides on; the slide is the last tenth of its way.
            late = at - rest.late_s
            if late < 0:
                return None
            fallen = min(1.0, late / visit.enter_s)
            slid = _ease((late - visit.enter_s) / max(0.05, visit.hold_s - rest.late_s)) if fallen == 1 else 0.0
            left = 1 - (0.92 * fallen**1.3 + 0.08 * (1 - (1 - slid) ** 2))
            spot = _between(rest.spot, rest.start, left)
            size = rest.size_px * (1 + 0.35 * (1 - fallen))
            return spot, size, rest.angle_deg + rest.spin_deg * left, 1 - fallen
        return rest.spot, rest.size_px, rest.angle_deg, 0.0

    def _item_layer(self, index: int, now_s: float) -> Layer | None:
        pose = self._item_pose(index, now_s)
        if pose is None:
            return None
        spot, size, angle, height = pose
        before = self._item_pose(index, now_s - self._frame_s)
        velocity = (spot[0] - before[0][0], spot[1] - before[0][1]) if before is not None else (0.0, 0.0)
        return Layer(self._pictures[index], spot, size, angle, velocity, height)
