"""Show the bin a few things of its place, and keep what it saw as labelled pictures.

    a thing in the tray -> Gate -> its crop -> keep_look(label)
    a folder of pictures -> keep_items

What a person shows and names is consent to keep that picture (`looks`). It must never keep one without a name.
"""

import hashlib
from pathlib import Path

from device.calibrate.step import Outcome, Place, Shown, StepResult
from device.calibration import apply
from device.gate import Gate, Item
from device.looks import find_looks, keep_items, keep_look, looks_folder

__all__ = ["FEWEST", "MOST", "check_looks"]

FEWEST, MOST = 3, 10
"""Looks per material: from three on the site is learnt, more than ten at a time bring little."""

SETTLE_S = 2.5


def check_looks(place: Place, *, label: str | None = None, items: Path | None = None) -> Outcome:
    """Keep looks, or say how many there are.

    Args:
        label: what lies in the tray now, or is about to be laid there; one look is kept.
        items: a folder or zip of class folders, kept as looks instead.
    """
    folder = looks_folder(place.config.events_path)
    told = []
    found: tuple[str, ...] = ()
    if items is not None:
        told.append(f"{keep_items(folder, items)} pictures kept")
    wanted = sorted({each for bin_ in place.config.site.bins for each in bin_.takes})
    if label is not None and not _keep(place, label, folder):
        told.append(f"nothing new lies still in the tray; lay the {label} into it once the tray was seen empty")
        found = ("item",)
    elif label is not None:
        told.append(f"one look at {label} kept")
    elif items is None:
        for each in wanted:
            _guide(place, each, folder)
    kept = _count(folder)
    few = [f"{each} {kept.get(each, 0)}" for each in wanted if kept.get(each, 0) < FEWEST]
    told.append(f"fewer than {FEWEST} looks of: {', '.join(few)}" if few else f"{FEWEST} looks or more of each")
    figures = {each: float(count) for each, count in sorted(kept.items())}
    return StepResult("looks", not found, found, (), "; ".join(told), figures, place.picture), place.calibration


def _guide(place: Place, label: str, folder: Path) -> None:
    """Ask for looks at one material until there are enough, or the person has no more."""
    while (count := _count(folder).get(label, 0)) < MOST:
        if not place.person.tell(f"{label}: {count} of {FEWEST} to {MOST} looks; have you one more to show?"):
            return
        _keep(place, label, folder)


def _count(folder: Path) -> dict[str, int]:
    """Looks that are kept, per material."""
    kept: dict[str, int] = {}
    for look in find_looks(folder):
        kept[look.label] = kept.get(look.label, 0) + 1
    return kept


def _keep(place: Place, label: str, folder: Path) -> bool:
    """Look at what is laid into the tray and keep it; False where nothing new lies there."""
    item = _look(place)
    if item is None:
        return False
    name = f"look-{hashlib.sha256(item.crop_rgb.tobytes()).hexdigest()[:12]}"
    keep_look(folder, label, name, item.crop_rgb)
    place.picture = item.crop_rgb
    return True


def _look(place: Place) -> Item | None:
    """See the empty tray, then what is laid into it."""
    rule = place.config.gate
    gate = Gate(rule, apply(place.config, place.calibration).camera.region)
    place.show(Shown.NOTHING)
    for frame in place.look_s(rule.warm_s + 0.5):
        gate.update(frame)
    place.show(Shown.ITEM)
    item = None
    for frame in place.look_s(SETTLE_S):
        item = gate.update(frame).item or item
    return item
