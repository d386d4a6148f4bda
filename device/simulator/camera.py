"""A camera over a bin that does not exist, and the people who use it.

Visits -> Act -> Scene -> SimulatedCamera.read -> Frame

It plays a script in its own time, as fast as it is read or at the pace of a real camera. The same script and seed give
the same frames to the last bit as long as flaps open at the same frames. It must never stand in for a real camera that
does not open: it is always asked for by name.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import numpy as np

from device.camera.frame import Frame
from device.errors import CameraError
from device.simulator.acting import Act
from device.simulator.drawings import LABELS
from device.simulator.faults import SOUND, Faults
from device.simulator.items import Items, load_items
from device.simulator.scene import Light, Scene
from device.simulator.visits import ORDINARY, Habits, Visit, script

__all__ = ["SimulatedCamera", "open_simulator"]

_FIRST_LOOK_S = 2.5  # an empty tray at the start, which a bin needs to learn what it looks like
_LAMP_S = 0.15
_ADAPT_S = 0.8  # how slowly the camera's exposure follows the lamp
_LOOP_VISITS = 50

_Answer = TypeVar("_Answer", bool, float)


class SimulatedCamera:
    """A camera that plays visits. One thread reads it; another may report flaps.

    Args:
        items: the pack that the visits were written from.
        visits: the script, in order.
        seed: 0 or more; of the bin, its light and the noise.
        size_px: width and height of the frames.
        rate_hz: frames a second of the script's time.
        real_time: keep the pace of a real camera, drop frames that nobody read in time, and never end: a new script
            follows each one. Else frames come as fast as they are read, and `read` gives None at the end.
        clock: monotonic seconds; only asked in real time.
        sleep: waits so many seconds; only used in real time.
        faults: what is wrong with the camera.
        habits: of those who come after the script, in real time.

    Attributes:
        name: `sim`.
        is_live: as `real_time`.
        visits_done: how many visits are over.
    """

    def __init__(
        self,
        items: Items,
        visits: Sequence[Visit],
        *,
        seed: int,
        size_px: tuple[int, int] = (640, 480),
        rate_hz: float = 15.0,
        real_time: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        faults: Faults = SOUND,
        habits: Habits = ORDINARY,
    ) -> None:
        self.name = "sim"
        self.is_live = real_time
        self.visits_done = 0
        self._items = items
        self._script = list(visits)
        self._seed = seed
        self._faults = faults
        self._habits = habits
        self._scene = Scene(seed, size_px)
        self._rate_hz, self._frame_s = rate_hz, 1 / rate_hz
        self._clock, self._sleep = clock, sleep
        self._rng = np.random.default_rng([seed, 0xCA3])
        self._drift = [(float(self._rng.uniform(11, 47)), float(self._rng.uniform(0, 6.3))) for _ in range(4)]
        self._tick = -1
        self._start_s: float | None = None
        self._round = 0
        self._next = 0
        self._lamp, self._lamp_wanted, self._gain = 1.0, 1.0, 1.0
        self._is_switched = False
        # A deque may be filled by one thread and emptied by another.
        self._flaps: deque[str] = deque()
        self._landed: deque[str] = deque()
        self._is_closed = False
        self._act_from_s = _FIRST_LOOK_S
        self._act = self._next_act()

    @property
    def visit(self) -> Visit | None:
        """The visit that the newest frame shows; None after the last."""
        act = self._act
        return None if act is None else act.visit

    @property
    def lies(self) -> bool:
        """Whether the newest frame shows items at rest on the tray with no hand about."""
        return self._ask(Act.lies)

    @property
    def rests_still(self) -> bool:
        """Whether something lies on the tray, hand or no hand."""
        return self._ask(Act.rests_still)

    @property
    def would_fall(self) -> bool:
        """Whether a flap that opens now lets fall what rests there; some things stick."""
        return self._ask(Act.would_fall)

    @property
    def lid_open(self) -> bool:
        """Whether the lid is open in the newest frame."""
        return self._ask(Act.lid_open)

    @property
    def hand_share(self) -> float:
        """How much of the newest frame a hand covers, 0..1."""
        return float(self._ask(Act.hand_share))

    def flap_moved(self, bin_name: str) -> None:
        """Say that the flap of a bin opened: from the next frame on what lies on the tray falls out."""
        if self.would_fall:
            self._landed.append(bin_name)
        self._flaps.append(bin_name)

    def landings(self) -> list[str]:
        """The bins into which something fell since this was asked last."""
        return [self._landed.popleft() for _ in range(len(self._landed))]

    def read(self) -> Frame | None:
        """Take the next frame; None when the script is over.

        Raises:
            CameraError: it was closed.
            PictureError: a photograph of the pack is damaged.
        """
        if self._is_closed:
            raise CameraError(f"{self.name}: read after it was closed; open it again")
        for _ in range(self._frames_due()):
            if not self._advance():
                return None
        now_s = self._tick / self._rate_hz
        layers = self._act.layers(now_s - self._act_from_s) if self._act is not None else ()
        rgb = self._scene.render(layers, self._light(now_s), self._rng, lens=self._faults.through_lens)
        return Frame(self._faults.from_sensor(rgb), (self._start_s or 0.0) + now_s, self._tick)

    def close(self) -> None:
        """Stop; safe to call twice."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _frames_due(self) -> int:
        """How many frames to go on: one, or more in real time when the reader came late."""
        if not self.is_live:
            return 1
        now_s = self._clock()
        if self._start_s is None:
            self._start_s = now_s
        due_s = self._start_s + (self._tick + 1) / self._rate_hz
        if now_s < due_s:
            self._sleep(due_s - now_s)
            return 1
        return 1 + int((now_s - due_s) / self._frame_s)

    def _advance(self) -> bool:
        """Go on by one frame; False when the script is over."""
        self._tick += 1
        if self._act is None:
            return False
        act_s = self._tick / self._rate_hz - self._act_from_s
        while self._flaps:
            self._flaps.popleft()
            self._act.open_flap(act_s)
        if act_s >= self._act.end_s:
            self.visits_done += 1
            self._act_from_s += act_s
            self._act, act_s = self._next_act(), 0.0
        if self._act is None:
            return False
        if not self._is_switched and act_s >= self._act.switched_s:
            self._is_switched = True
            self._lamp_wanted = 1 - self._lamp_wanted
        step = self._frame_s / _LAMP_S
        # Rounded, so that it ends at 0 or 1 exactly, where the scene need not mix.
        self._lamp = round(self._lamp + float(np.clip(self._lamp_wanted - self._lamp, -step, step)), 6)
        # A camera's exposure makes up for most of the light, after a while.
        wanted = 1.0 if self._lamp_wanted == 1 else self._scene.dusk_gain**0.8
        self._gain += (wanted - self._gain) * self._frame_s / _ADAPT_S
        return True

    def _next_act(self) -> Act | None:
        if self._next == len(self._script) and self.is_live and self._script:
            self._round += 1
            self._script = script(self._items, len(self._script), self._seed + self._round, self._habits)
            self._next = 0
        if self._next == len(self._script):
            return None
        self._is_switched = False
        visit = self._script[self._next]
        self._next += 1
        pictures = [self._items.picture(item) for item in visit.items]
        return Act(visit, pictures, self._scene.size_px, self._scene.tray_px, self._frame_s)

    def _ask(self, question: Callable[[Act, float], _Answer]) -> _Answer | Literal[False]:
        """What is so in the newest frame; False after the last visit. Another thread may turn the page meanwhile."""
        act = self._act
        return act is not None and question(act, self._tick / self._rate_hz - self._act_from_s)

    def _light(self, now_s: float) -> Light:
        """This frame's light: exposure and white balance wander slowly by a few per cent."""
        wander = [math.sin(2 * math.pi * now_s / period + phase) for period, phase in self._drift]
        exposure = self._gain * (1 + 0.025 * wander[0])
        red, green, blue = self._faults.cast
        cast = (red * (1 + 0.015 * wander[1]), green * (1 + 0.006 * wander[2]), blue * (1 + 0.015 * wander[3]))
        return Light(self._lamp, exposure, cast)


def open_simulator(
    path: Path | None,
    *,
    seed: int,
    labels: Sequence[str] = LABELS,
    size_px: tuple[int, int] = (640, 480),
    rate_hz: float = 15.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    faults: Faults = SOUND,
    habits: Habits = ORDINARY,
) -> SimulatedCamera:
    """Open a bin whose visitors come for ever, in real time.

    Args:
        path: a folder or zip of class folders; None for our drawings.
        seed: 0 or more; of everything.
        labels: the materials to draw.
        size_px: width and height of the frames.
        rate_hz: frames a second.
        clock: monotonic seconds.
        sleep: waits so many seconds.
        faults: what is wrong with the camera.
        habits: what people do.

    Raises:
        ItemsError: the pack cannot be used.
        PictureError: nothing is at the path, or a photograph is damaged.
    """
    items = load_items(path, labels, seed)
    visits = script(items, _LOOP_VISITS, seed, habits)
    return SimulatedCamera(
        items,
        visits,
        seed=seed,
        size_px=size_px,
        rate_hz=rate_hz,
        real_time=True,
        clock=clock,
        sleep=sleep,
        faults=faults,
        habits=habits,
    )
