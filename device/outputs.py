"""What is wired to the pins of one bin, as data.

the `[outputs]` table of a configuration -> parse_outputs -> OutputsConfig -> drive

Must never touch a pin, so that a configuration is checked on any machine. Three builds are known: LEDs only, one servo
flap per bin, and a diverter of two servos (pan and tilt) that carries the item to its bin. Servo limits are narrow
until somebody widens them for one servo: a horn driven against its stop burns the servo (gpiozero#248, #1184).
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from device.errors import ConfigError

__all__ = [
    "ALARM",
    "HARD_LIMITS_US",
    "NARROW_LIMITS_US",
    "PAN",
    "TILT",
    "DiverterOutputs",
    "FlapOutputs",
    "LedOutputs",
    "OutputsConfig",
    "PinnedLed",
    "PinnedServo",
    "default_outputs",
    "parse_outputs",
]

HARD_LIMITS_US = (500, 2500)
"""No servo of the trade takes a pulse outside; lgpio refuses one too."""
NARROW_LIMITS_US = (1000, 2000)
"""What every servo takes; the limits of a servo that names none."""

ALARM = "alarm"
PAN = "pan"
TILT = "tilt"

_FLAP_PINS_BCM = (5, 6, 13, 19, 26, 16, 20, 12)
_ALARM_PIN_BCM = 21


@dataclass(frozen=True, slots=True)
class PinnedLed:
    """One LED on one pin.

    Attributes:
        name: the bin that it stands for.
        pin_bcm: 0-27.
    """

    name: str
    pin_bcm: int


@dataclass(frozen=True, slots=True)
class PinnedServo:
    """One servo on one pin.

    Attributes:
        name: the bin whose flap it moves, or `pan` or `tilt`.
        pin_bcm: 0-27.
        rest_us: pulse of the safe place: flap closed, diverter level.
        min_us: shortest pulse this servo is ever given.
        max_us: longest pulse this servo is ever given.
    """

    name: str
    pin_bcm: int
    rest_us: int
    min_us: int = NARROW_LIMITS_US[0]
    max_us: int = NARROW_LIMITS_US[1]


@dataclass(frozen=True, slots=True)
class LedOutputs:
    """The build without moving parts: the lamp of the chosen bin is lit and a person throws the item in.

    Attributes:
        leds: one per bin, in the order of the file.
        show_s: how long a lamp is lit.
        alarm_pin_bcm: lamp that blinks while something needs a person; None where there is none.
    """

    leds: tuple[PinnedLed, ...]
    show_s: float = 3.0
    alarm_pin_bcm: int | None = None


@dataclass(frozen=True, slots=True)
class FlapOutputs:
    """The build with one servo flap per bin.

    Attributes:
        flaps: one per bin, in the order of the file; `rest_us` is the closed flap.
        open_us: bin -> pulse of its open flap.
        move_s: time a servo is given for one way; its pulses end afterwards.
        hold_s: how long a flap stays open.
        alarm_pin_bcm: as in LedOutputs.
    """

    flaps: tuple[PinnedServo, ...]
    open_us: Mapping[str, int]
    move_s: float = 0.6
    hold_s: float = 1.0
    alarm_pin_bcm: int | None = None


@dataclass(frozen=True, slots=True)
class DiverterOutputs:
    """The build with a tray that turns (pan), tips (tilt), and comes back.

    Attributes:
        pan: `rest_us` is where an item is dropped in.
        tilt: `rest_us` is the level tray.
        positions_us: bin -> (pan, tilt) pulses.
        move_s: as in FlapOutputs, for each of the two.
        hold_s: how long the tray stays tipped.
        alarm_pin_bcm: as in LedOutputs.
    """

    pan: PinnedServo
    tilt: PinnedServo
    positions_us: Mapping[str, tuple[int, int]]
    move_s: float = 0.6
    hold_s: float = 1.0
    alarm_pin_bcm: int | None = None


OutputsConfig: TypeAlias = LedOutputs | FlapOutputs | DiverterOutputs


def default_outputs(bins: Sequence[str]) -> OutputsConfig:
    """Give the flap build on the pins of `builds/flaps.toml`, for a bin that has no configuration.

    Raises:
        ConfigError: more bins than the reference build has pins for.
    """
    if len(bins) > len(_FLAP_PINS_BCM):
        raise ConfigError(
            f"{len(bins)} bins, but the reference build has pins for {len(_FLAP_PINS_BCM)} flaps; "
            f"write an [outputs] section that names a pin for each bin"
        )
    return FlapOutputs(
        flaps=tuple(PinnedServo(name, pin, rest_us=1000) for name, pin in zip(bins, _FLAP_PINS_BCM, strict=False)),
        open_us=dict.fromkeys(bins, 2000),
        alarm_pin_bcm=_ALARM_PIN_BCM,
    )


def parse_outputs(table: Mapping[str, object], where: str, bins: Sequence[str]) -> OutputsConfig:
    """Turn the `[outputs]` table of a configuration into one of the three builds.

    Args:
        table: as tomllib gives it.
        where: the file, for messages.
        bins: names of the site's bins; each needs an output, and no other may have one.

    Raises:
        ConfigError: with every problem found, each a sentence that starts with `where`.
    """
    check = _Check(where, bins)
    readers = {"leds": _read_leds, "flaps": _read_flaps, "diverter": _read_diverter}
    build = table.get("build")
    if not isinstance(build, str) or build not in readers:
        found = "is missing" if build is None else f"is {build!r}"
        check.say("[outputs]", f"build {found}; expected one of {', '.join(map(repr, readers))}{_near(build, readers)}")
        raise ConfigError(check.problems)
    outputs = readers[build](check, table)
    if outputs is None or check.problems:
        raise ConfigError(check.problems)
    return outputs


def _read_leds(check: "_Check", table: Mapping[str, object]) -> LedOutputs | None:
    check.keys("[outputs]", table, ("build", "led", "show_s", "alarm_pin_bcm"))
    leds = []
    for place, row in check.rows(table, "led"):
        check.keys(place, row, ("bin", "pin_bcm"))
        name, pin = check.bin(place, row), check.pin(place, row, "pin_bcm")
        if name is not None and pin is not None:
            leds.append(PinnedLed(name, pin))
    check.every_bin_has("led")
    show_s = check.seconds(table, "show_s", 3.0)
    return LedOutputs(tuple(leds), show_s, check.alarm(table))


def _read_flaps(check: "_Check", table: Mapping[str, object]) -> FlapOutputs | None:
    check.keys("[outputs]", table, ("build", "flap", "move_s", "hold_s", "alarm_pin_bcm"))
    flaps, open_us = [], {}
    for place, row in check.rows(table, "flap"):
        check.keys(place, row, ("bin", "pin_bcm", "closed_us", "open_us", "min_us", "max_us"))
        name, pin = check.bin(place, row), check.pin(place, row, "pin_bcm")
        limits_us = check.limits(place, row)
        closed = check.pulse(place, row, "closed_us", limits_us)
        opened = check.pulse(place, row, "open_us", limits_us)
        if closed is not None and closed == opened:
            check.say(place, f"closed_us and open_us are both {closed}; the flap would not move: give two pulses")
        if name is not None and pin is not None and closed is not None and opened is not None:
            flaps.append(PinnedServo(name, pin, closed, *limits_us))
            open_us[name] = opened
    check.every_bin_has("flap")
    move_s, hold_s = check.seconds(table, "move_s", 0.6), check.seconds(table, "hold_s", 1.0)
    return FlapOutputs(tuple(flaps), open_us, move_s, hold_s, check.alarm(table))


def _read_diverter(check: "_Check", table: Mapping[str, object]) -> DiverterOutputs | None:
    check.keys("[outputs]", table, ("build", PAN, TILT, "position", "move_s", "hold_s", "alarm_pin_bcm"))
    pan, tilt = check.axis(table, PAN), check.axis(table, TILT)
    pan_us, tilt_us = ((axis.min_us, axis.max_us) if axis else HARD_LIMITS_US for axis in (pan, tilt))
    positions: dict[str, tuple[int, int]] = {}
    for place, row in check.rows(table, "position"):
        check.keys(place, row, ("bin", "pan_us", "tilt_us"))
        name = check.bin(place, row)
        pair = check.pulse(place, row, "pan_us", pan_us), check.pulse(place, row, "tilt_us", tilt_us)
        if name is None or pair[0] is None or pair[1] is None:
            continue
        twin = next((other for other, taken in positions.items() if taken == pair), None)
        if twin is not None:
            check.say(place, f"bin {name!r} has the place of bin {twin!r}; give each bin its own pan_us and tilt_us")
        if tilt is not None and pair[1] == tilt.rest_us:
            check.say(place, f"tilt_us is {pair[1]}, the level tray; the item would stay on it: give another pulse")
        positions[name] = pair[0], pair[1]
    check.every_bin_has("position")
    move_s, hold_s = check.seconds(table, "move_s", 0.6), check.seconds(table, "hold_s", 1.0)
    alarm = check.alarm(table)
    return DiverterOutputs(pan, tilt, positions, move_s, hold_s, alarm) if pan and tilt else None


def _near(word: object, known: Sequence[str] | Mapping[str, object]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class _Check:
    """Reads values and collects what is wrong with them, so that a person mends a file in one go."""

    def __init__(self, where: str, bins: Sequence[str]) -> None:
        self.problems: list[str] = []
        self._where = where
        self._bins = tuple(bins)
        self._bin_places: dict[str, str] = {}
        self._pin_places: dict[int, str] = {}

    def say(self, place: str, problem: str) -> None:
        self.problems.append(f"{self._where}: {place}: {problem}")

    def keys(self, place: str, table: Mapping[str, object], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                self.say(place, f"unknown key {key!r}; known here: {', '.join(known)}{_near(key, known)}")

    def rows(self, table: Mapping[str, object], key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        rows = table.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            self.say("[outputs]", f"{key} is no list of tables; write one [[outputs.{key}]] per bin")
            return
        for number, row in enumerate(rows, start=1):
            yield f"[[outputs.{key}]] {number}", row

    def bin(self, place: str, row: Mapping[str, object]) -> str | None:
        name = row.get("bin")
        if name is None:
            self.say(place, f"bin is missing; name one of {', '.join(map(repr, self._bins))}")
        elif not isinstance(name, str) or name not in self._bins:
            known = ", ".join(map(repr, self._bins))
            self.say(place, f"bin {name!r} is no bin of this site; it has {known}{_near(name, self._bins)}")
        elif name in self._bin_places:
            self.say(place, f"bin {name!r} already has an output in {self._bin_places[name]}; remove one of the two")
        else:
            self._bin_places[name] = place
            return name
        return None

    def every_bin_has(self, key: str) -> None:
        for name in self._bins:
            if name not in self._bin_places:
                self.say("[outputs]", f'bin {name!r} has no output; add an [[outputs.{key}]] with bin = "{name}"')

    def pin(self, place: str, table: Mapping[str, object], key: str) -> int | None:
        pin = self._whole(place, table, key, "a BCM pin number from 0 to 27")
        if pin is None:
            return None
        if not 0 <= pin <= 27:
            self.say(place, f"{key} is {pin}; expected a BCM pin number from 0 to 27 (not the number on the header)")
        elif pin in self._pin_places:
            self.say(place, f"{key} {pin} is already used by {self._pin_places[pin]}; give each output its own pin")
        else:
            self._pin_places[pin] = place
            return pin
        return None

    def alarm(self, table: Mapping[str, object]) -> int | None:
        if "alarm_pin_bcm" not in table:
            return None
        if ALARM in self._bins:
            self.say("[outputs]", f"a bin is called {ALARM!r}, like the alarm lamp; give that bin another name")
        return self.pin("[outputs]", table, "alarm_pin_bcm")

    def limits(self, place: str, table: Mapping[str, object]) -> tuple[int, int]:
        low, high = (
            NARROW_LIMITS_US[side] if key not in table else self.pulse(place, table, key, HARD_LIMITS_US)
            for side, key in enumerate(("min_us", "max_us"))
        )
        if low is None or high is None:
            return HARD_LIMITS_US  # already a problem; do not report each pulse as well
        if low >= high:
            self.say(place, f"min_us {low} is not below max_us {high}; a servo needs room to move")
            return HARD_LIMITS_US
        return low, high

    def pulse(self, place: str, table: Mapping[str, object], key: str, limits_us: tuple[int, int]) -> int | None:
        pulse = self._whole(place, table, key, "a pulse in whole microseconds")
        if pulse is None or limits_us[0] <= pulse <= limits_us[1]:
            return pulse
        low, high = HARD_LIMITS_US
        cure = (
            f"set {'min_us' if pulse < limits_us[0] else 'max_us'} of this servo if its horn has room"
            if low <= pulse <= high
            else f"no servo takes a pulse outside {low} to {high}"
        )
        self.say(place, f"{key} is {pulse}; expected {limits_us[0]} to {limits_us[1]} microseconds; {cure}")
        return None

    def axis(self, table: Mapping[str, object], key: str) -> PinnedServo | None:
        place, axis = f"[outputs.{key}]", table.get(key)
        if not isinstance(axis, Mapping):
            self.say("[outputs]", f"{key} is missing; add {place} with pin_bcm and home_us")
            return None
        self.keys(place, axis, ("pin_bcm", "home_us", "min_us", "max_us"))
        pin, limits_us = self.pin(place, axis, "pin_bcm"), self.limits(place, axis)
        home = self.pulse(place, axis, "home_us", limits_us)
        return None if pin is None or home is None else PinnedServo(key, pin, home, *limits_us)

    def seconds(self, table: Mapping[str, object], key: str, default: float) -> float:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 10:
            self.say("[outputs]", f"{key} is {value!r}; expected seconds from 0.1 to 10")
            return default
        return float(value)

    def _whole(self, place: str, table: Mapping[str, object], key: str, expected: str) -> int | None:
        value = table.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.say(place, f"{key} {'is missing' if value is None else f'is {value!r}'}; expected {expected}")
        return None
