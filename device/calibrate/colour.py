"""Are the colours in the right order, and is grey grey?

    the card -> greys, red and blue -> Locks.is_swapped, Locks.balance

Three of three bins that feed a classifier from picamera2 hand it blue for red (picamera2#848). Two patches of the card
prove the order, two greys the balance. Without a card a tray that somebody says is grey may stand in; that is said.
"""

import math
from dataclasses import replace

import numpy as np

from device.calibrate.card import edge_width_px, find_card
from device.calibrate.step import Outcome, Place, Shown, StepResult
from device.calibration import Calibration
from device.camera.frame import Rgb
from device.camera.locks import Gains

__all__ = ["BLURRED_ANY_PX", "check_colour"]

CAST = 0.06
"""So far grey may be off: a room's light wanders by a few per cent."""

DARKEST, BRIGHTEST = 20.0, 205.0
"""Outside, a patch tells nothing about the light: cameras roll their highlights off."""

BLURRED_ANY_PX = 1.75
"""`edge_width_px` of a picture without a sharp edge."""

FRAMES = 6


def check_colour(place: Place) -> Outcome:
    """Prove the colours."""
    calibration = place.calibration
    if not place.show(Shown.CARD):
        return _by_tray(place, calibration)
    rgb = _mean(place)
    found = find_card(rgb)
    if found is None:
        edge_px = edge_width_px(rgb)
        blurred = edge_px is not None and edge_px > BLURRED_ANY_PX
        why = f"the picture is blurred (edges {edge_px:.1f} px wide): clean or focus the lens" if blurred else (
            "lay the printed card flat into the tray, all of it in view, and light it"
        )  # fmt: skip
        sentence = f"the card is not to be seen; {why}, then run this step again"
        return StepResult(
            "colour", False, ("blur",) if blurred else ("card",), (), sentence, {}, place.picture
        ), calibration
    greys = [found.patches[name] for name in ("dark", "light")]
    greys = [grey for grey in greys if min(grey) > DARKEST and max(grey) < BRIGHTEST]
    if not greys:
        sentence = "the card is too bright or too dark to tell its greys; change the light, then run this step again"
        return StepResult("colour", False, ("light",), (), sentence, {}, place.picture), calibration
    gains = _gains(np.array(greys[0]))  # the dark one if it can be used: the light one may have been rolled off
    red, blue = (np.array(found.patches[name]) * gains for name in ("red", "blue"))
    is_swapped = bool((red[0] - red[2]) - (blue[0] - blue[2]) < 0)
    if is_swapped:
        gains = gains[::-1].copy()
    return _outcome(place, gains, is_swapped, "the card's greys")


def _by_tray(place: Place, calibration: Calibration) -> Outcome:
    if not (place.show(Shown.NOTHING) and place.person.tell("is the empty tray grey, white or bare metal?")):
        sentence = "not looked at: nobody shows the card (draw it: wastebin calibrate card --out card.png)"
        return StepResult("colour", True, (), (), sentence), calibration
    mean = _mean(place).astype(np.float32)
    height, width = mean.shape[:2]
    middle = mean[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].reshape(-1, 3)
    return _outcome(place, _gains(np.median(middle, axis=0)), False, "the tray, which you say is grey (no card: the "
                    "order of red and blue is not proven)")  # fmt: skip


def _outcome(place: Place, gains: np.ndarray, is_swapped: bool, by: str) -> Outcome:
    locks = place.calibration.locks
    cast = max(abs(math.log(gain)) for gain in gains)
    found = (["red_blue"] if is_swapped else []) + (["white_balance"] if cast > CAST else [])
    balance: Gains = (float(gains[0]), float(gains[1]), float(gains[2])) if cast > CAST else (1.0, 1.0, 1.0)
    if found:
        locks = locks.then(is_swapped=is_swapped, balance=balance)
    if min(locks.balance) < 0.1 or max(locks.balance) > 10:
        sentence = "the light has almost nothing of one colour; use a white lamp, then run this step again"
        return StepResult("colour", False, tuple(found), (), sentence, {}, place.picture), place.calibration
    words = {"red_blue": "red and blue were exchanged", "white_balance": f"grey was off by {math.expm1(cast):.0%}"}
    told = " and ".join(words[each] for each in found)
    sentence = f"{told}; both are put right in each frame" if len(found) > 1 else f"{told}; put right in each frame"
    if not found:
        sentence = f"right: grey is off by {math.expm1(cast):.0%}"
    figures = {"cast": round(math.expm1(cast), 4), **{
        f"gain_{name}": round(gain, 4) for name, gain in zip(("red", "green", "blue"), locks.balance, strict=True)
    }}  # fmt: skip
    result = StepResult("colour", True, tuple(found), tuple(found), f"{sentence}, by {by}", figures, place.picture)
    return result, replace(place.calibration, locks=locks)


def _mean(place: Place) -> Rgb:
    """A picture with less noise than one frame."""
    total = place.see().astype(np.float32)
    for frame in place.look(FRAMES - 1):
        total += frame.rgb
    return np.asarray((total / FRAMES).round(), np.uint8)


def _gains(grey: np.ndarray) -> np.ndarray:
    """Factors that make a colour grey and keep how bright it is."""
    grey = np.maximum(grey.astype(np.float64), 1.0)
    gains = grey.mean() / grey
    return np.asarray(gains / gains[1])
