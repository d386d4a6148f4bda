"""A simulated bin on the bench, and the person beside it who does as asked.

    sim spec, Config -> SimulatedBench (a Bench and a Person) -> Session

Its flaps move by what the pins are told: a servo that was mounted the wrong way round opens when it should close. What
lies in the tray falls when a flap opens under it, and nobody tells the steps which flap that was.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from device.calibrate.card import draw_card
from device.calibrate.step import Shown
from device.camera.corrected import correct
from device.camera.frame import Frame
from device.camera.locks import AUTOMATIC, Locks
from device.config_types import Config
from device.outputs import FlapOutputs
from device.simulator.brush import Rgba
from device.simulator.drawings import draw_item
from device.simulator.faults import SOUND, Faults
from device.simulator.scene import HAND_AT, Layer, Light, Scene, draw_hand

__all__ = ["SimulatedBench"]

_CARD_SHARE = 0.62
_CORNER_SHARE = 0.5
_WAVE_HZ = 1.1


class SimulatedBench:
    """A bin without hardware; see `step.Bench` and `step.Person`.

    Args:
        config: of the bin: size, rate and wiring.
        seed: of the bin and the noise.
        faults: what is wrong with it.
        base: what its frames are corrected by.
    """

    def __init__(
        self, config: Config, *, seed: int, faults: Faults = SOUND, base: Locks = AUTOMATIC, camera: str = "sim"
    ) -> None:
        self.camera = camera
        self.rate_hz = config.camera.rate_hz
        self.base = base
        self.lit: dict[str, bool] = {}
        self._faults = faults
        self._scene = Scene(seed, config.camera.size_px)
        self._rng = np.random.default_rng([seed, 0xBE])
        self._tick = 0
        self._layers: Sequence[Layer] = ()
        self._is_waving = False
        self._card = np.dstack([draw_card(), np.full((1000, 1000), 255, np.uint8)])
        self._hand = draw_hand(seed)
        self._item: Rgba = draw_item("metal", seed)
        self._ends_us = _open_ends(config, faults)
        self._is_open: dict[str, bool] = {}
        self._drift = [(float(self._rng.uniform(11, 47)), float(self._rng.uniform(0, 6.3))) for _ in range(4)]

    # As Bench

    def look(self, frames: int) -> Iterator[Frame]:
        """So many frames, in no time."""
        return (self._frame() for _ in range(frames))

    def settled(self) -> Locks:
        """Nothing: this camera has no controls."""
        return AUTOMATIC

    def pulse(self, name: str, pulse_us: int | None) -> None:
        """Move a flap; what lies in the tray falls where one opens."""
        if pulse_us is None or name not in self._ends_us:
            return
        closed_us, open_us = self._ends_us[name]
        is_open = abs(pulse_us - open_us) < abs(pulse_us - closed_us)
        # Where a servo stood before its first pulse nobody knows; it may have opened just then.
        if is_open and not self._is_open.get(name, False):
            self._layers = ()
        self._is_open[name] = is_open

    def light(self, name: str, is_on: bool) -> None:
        """Remember which lamp is lit."""
        self.lit[name] = is_on

    # As Person

    def show(self, what: Shown) -> bool:
        """Do as asked."""
        x, y, w, h = self._scene.tray_px
        short = min(w, h)
        middle = (x + w / 2, y + h / 2)
        self._is_waving = what is Shown.HAND
        half = _CORNER_SHARE * short / 2
        match what:
            case Shown.CARD:
                turn = float(self._rng.uniform(-12, 12))
                self._layers = (Layer(self._card, middle, _CARD_SHARE * short, turn),)
            case Shown.CARD_FAR:
                self._layers = (Layer(self._card, (x + half, y + half), 2 * half),)
            case Shown.CARD_NEAR:
                self._layers = (Layer(self._card, (x + w - half, y + h - half), 2 * half),)
            case Shown.ITEM:
                self._layers = (Layer(self._item, middle, 0.5 * short, float(self._rng.uniform(0, 360))),)
            case _:
                self._layers = ()
        return True

    def tell(self, question: str) -> bool | None:  # noqa: ARG002
        """It only does; it does not talk."""
        return None

    def number(self, question: str, default: int) -> int:  # noqa: ARG002
        """As it stands."""
        return default

    def _frame(self) -> Frame:
        self._tick += 1
        now_s = self._tick / self.rate_hz
        wander = [math.sin(2 * math.pi * now_s / period + phase) for period, phase in self._drift]
        red, green, blue = self._faults.cast
        cast = (red * (1 + 0.015 * wander[1]), green * (1 + 0.006 * wander[2]), blue * (1 + 0.015 * wander[3]))
        layers = [self._waving(now_s)] if self._is_waving else self._layers
        light = Light(1.0, 1 + 0.025 * wander[0], cast)
        rgb = self._scene.render(layers, light, self._rng, lens=self._faults.through_lens)
        return Frame(correct(self._faults.from_sensor(rgb), self.base), now_s, self._tick)

    def _waving(self, now_s: float) -> Layer:
        x, y, w, h = self._scene.tray_px
        size = 0.97 * self._scene.size_px[0]
        turn = 2 * math.pi * _WAVE_HZ * now_s
        palm = (x + w * (0.5 + 0.22 * math.sin(turn)), y + h * (0.55 + 0.12 * math.sin(0.7 * turn)))
        velocity = (0.22 * w * math.cos(turn) * 2 * math.pi * _WAVE_HZ / self.rate_hz, 0.0)
        back = (HAND_AT[1] - 0.5) * size
        return Layer(self._hand, (palm[0], palm[1] - back), size, 0.0, velocity, 0.5)


def _open_ends(config: Config, faults: Faults) -> Mapping[str, tuple[int, int]]:
    """Where each flap is truly closed and open, by the wiring as it was meant."""
    outputs = config.outputs
    if not isinstance(outputs, FlapOutputs):
        return {}
    ends = {flap.name: (flap.rest_us, outputs.open_us[flap.name]) for flap in outputs.flaps}
    return {name: (pair[1], pair[0]) if name in faults.reversed else pair for name, pair in ends.items()}
