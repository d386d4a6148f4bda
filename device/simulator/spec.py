"""What a simulated bin is told in words: which day it is, what its people do, what is wrong with it.

    sim[:OPTION=VALUE,...] -> read_sim_spec -> SimSpec -> open_simulator, simulate

    seed=N      another day and another bin; 0
    items=PATH  class folders or a zip of photographs to throw in; without it, drawings
    hands=S     share of the visits in which a hand reaches in at any moment; 0
    jams=S      share of the items that stick when their flap opens, half of them for good; 0
    lids=S      share of the visits in which somebody opens the lid; the bin feels it where `[sensors]` has a lid; 0
    others=S    share of the visits that are a hand alone, a lamp switched, two items or nothing; 0.2
    by_hand=S   share of the items that a hand lays down instead of throwing them in; 0.5
    pause=T     seconds of empty tray before each visit, a third more or less; 2.4

and the faults of `device.simulator.faults`, all in any order; a path may hold commas. It must never take a word that it
does not know for nothing.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from device.errors import UsageError
from device.simulator.faults import FAULTS, Faults, read_faults
from device.simulator.visits import Habits

__all__ = ["SimSpec", "read_sim_spec"]

_HABITS: Final = {
    "hands": ("hands", 1.0),
    "jams": ("jams", 1.0),
    "lids": ("lids", 1.0),
    "others": ("others", 1.0),
    "by_hand": ("by_hand", 1.0),
    "pause": ("pause_s", 3600.0),
}
"""Word -> field of `Habits`, and the most that it may be; the least is 0."""

_WORDS: Final = ("seed", "items", *_HABITS, *FAULTS)


class SimSpec(NamedTuple):
    """What was asked for."""

    seed: int
    items: Path | None
    faults: Faults
    habits: Habits


def read_sim_spec(spec: str) -> SimSpec:
    """Read the spec of a simulated bin.

    Raises:
        UsageError: a word that is unknown, or a value that is none of its.
    """
    rest = spec.partition(":")[2]
    said: dict[str, str] = {}
    for option in re.split(rf",(?=(?:{'|'.join(_WORDS)})=)", rest) if rest else []:
        word, _, value = option.partition("=")
        unknown = value.partition(",")[2] if word in _WORDS and word != "items" else ""
        if word not in _WORDS or not value or unknown:
            expected = "=, ".join(_WORDS)
            raise UsageError(f"camera {spec!r}: {(unknown or option)!r} is no option of it; expected {expected}=")
        said[word] = value
    if not re.fullmatch(r"[0-9]{1,18}", said.get("seed", "0"), re.ASCII):
        raise UsageError(f"camera {spec!r}: seed is {said['seed']!r}, expected a whole number, 0 or more")
    habits: dict[str, float] = {}
    for word, (name, most) in _HABITS.items():
        if word in said:
            text = said[word]
            if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII) or float(text) > most:
                raise UsageError(f"camera {spec!r}: {word} is {text!r}, expected a number from 0 to {most:g}")
            habits[name] = float(text)
    # A shell expands `~` only at the start of a word, not after `items=`.
    items = Path(said["items"]).expanduser() if "items" in said else None
    return SimSpec(int(said.get("seed", "0")), items, read_faults(spec, said), Habits(**habits))
