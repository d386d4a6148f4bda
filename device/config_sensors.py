"""What is wired to the pins of one bin to feel with, as data.

    the `[sensors]` table of a configuration -> parse_sensors -> SensorsConfig -> sensors

Must never touch a pin, so that a configuration is checked on any machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from device.errors import ConfigError
from device.fields import build
from device.outputs import DiverterOutputs, FlapOutputs, OutputsConfig

__all__ = ["SensorsConfig", "parse_sensors"]


@dataclass(frozen=True, slots=True)
class SensorsConfig:
    """What is wired; pins are BCM numbers, None where there is none. All close to ground (active low, pulled up).

    Attributes:
        wrong_pin_bcm: the button that says "that was wrong".
        lid_pin_bcm: a switch that is closed while the lid is shut, so that a broken wire counts as open.
        beam_pins_bcm: bin -> a break beam below its flap; low while the beam is broken.
        full_pins_bcm: bin -> a fill sensor at its rim; low while it sees something.
    """

    wrong_pin_bcm: int | None = None
    lid_pin_bcm: int | None = None
    beam_pins_bcm: Mapping[str, int] = field(default_factory=dict)
    full_pins_bcm: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _BinTable:
    bin: str
    beam_pin_bcm: int | None = None
    full_pin_bcm: int | None = None


@dataclass(frozen=True, slots=True)
class _Table:
    wrong_pin_bcm: int | None = None
    lid_pin_bcm: int | None = None


def parse_sensors(table: object, where: str, bins: Sequence[str], outputs: OutputsConfig) -> SensorsConfig:
    """Turn the `[sensors]` table of a configuration into what is wired.

    Args:
        table: as tomllib gives it.
        where: the file, for messages.
        bins: names of the site's bins.
        outputs: whose pins are taken.

    Raises:
        ConfigError: with every problem found.
    """
    problems: list[str] = []
    rows: object = table.get("bin", []) if isinstance(table, Mapping) else []
    flat = {key: value for key, value in table.items() if key != "bin"} if isinstance(table, Mapping) else table
    plain = build(_Table, flat, f"{where}: [sensors]", problems) or _Table()
    taken = _taken(outputs)

    def pin(place: str, number: int | None) -> int | None:
        if number is None:
            return None
        if not 0 <= number <= 27:
            problems.append(f"{where}: {place} is {number}; expected a BCM pin number from 0 to 27")
        elif number in taken:
            problems.append(f"{where}: {place} {number} is already used by {taken[number]}; give each its own pin")
        else:
            taken[number] = place
        return number

    wrong = pin("[sensors].wrong_pin_bcm", plain.wrong_pin_bcm)
    lid = pin("[sensors].lid_pin_bcm", plain.lid_pin_bcm)
    beams: dict[str, int] = {}
    fulls: dict[str, int] = {}
    if not isinstance(rows, list):
        problems.append(f"{where}: [sensors].bin is no list of tables; write [[sensors.bin]] before each")
        rows = []
    for number, row in enumerate(rows, start=1):
        place = f"[[sensors.bin]] {number}"
        read = build(_BinTable, row, f"{where}: {place}", problems)
        if read is None:
            continue
        if read.bin not in bins:
            problems.append(f"{where}: {place}: bin {read.bin!r} is no bin of this site; it has {', '.join(bins)}")
        beam, full = pin(f"{place} beam_pin_bcm", read.beam_pin_bcm), pin(f"{place} full_pin_bcm", read.full_pin_bcm)
        beams |= {} if beam is None else {read.bin: beam}
        fulls |= {} if full is None else {read.bin: full}
    if problems:
        raise ConfigError(problems)
    return SensorsConfig(wrong, lid, beams, fulls)


def _taken(outputs: OutputsConfig) -> dict[int, str]:
    """Pins that the outputs use."""
    if isinstance(outputs, FlapOutputs):
        taken = {flap.pin_bcm: f"the flap of {flap.name}" for flap in outputs.flaps}
    elif isinstance(outputs, DiverterOutputs):
        taken = {servo.pin_bcm: servo.name for servo in (outputs.pan, outputs.tilt)}
    else:
        taken = {led.pin_bcm: f"the lamp of {led.name}" for led in outputs.leds}
    return taken if outputs.alarm_pin_bcm is None else taken | {outputs.alarm_pin_bcm: "the alarm lamp"}
