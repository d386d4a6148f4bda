"""Have the camera settle, hold it there, and say how sharp it sees.

    frames -> is the brightness steady? -> settled() -> Locks; the card's edges -> sharpness

Exposure that follows the items instead of the light makes the same bottle look different each time (picamera2#977), so
what the camera settled on over the tray is held from then on. Sharpness is measured on the card's black edges, in px,
since no number of a scene's own detail says whether the lens or the scene is soft.
"""

from dataclasses import replace

from device.calibrate.card import edge_width_px, find_card
from device.calibrate.colour import BLURRED_ANY_PX
from device.calibrate.step import Outcome, Place, Shown, StepResult
from device.camera.locks import AUTOMATIC

__all__ = ["check_camera"]

BLURRED_PX = 1.5
"""`Card.edge_px` from which fine print and texture are gone; a good lens draws 0.7 to 1.1."""

SETTLED_SHARE = 0.02
FLICKER_SHARE = 4 * SETTLED_SHARE
"""Between the two the light wanders, as daylight does."""

SETTLE_S = 1.0
MOST_SETTLE_S = 8.0
DARK, BRIGHT = 25.0, 235.0


def check_camera(place: Place) -> Outcome:
    """Settle, hold, and measure the sharpness."""
    calibration = place.calibration
    has_card = place.show(Shown.CARD)
    levels = [float(frame.rgb.mean()) for frame in place.look_s(SETTLE_S)]
    waited_s = SETTLE_S
    while _spread(levels) > SETTLED_SHARE and waited_s < MOST_SETTLE_S:
        levels = [float(frame.rgb.mean()) for frame in place.look_s(SETTLE_S)]
        waited_s += SETTLE_S
    settled = place.bench.settled()
    locks = replace(
        calibration.locks,
        exposure_us=settled.exposure_us or calibration.locks.exposure_us,
        gain=settled.gain or calibration.locks.gain,
        colour_gains=settled.colour_gains or calibration.locks.colour_gains,
        lens=calibration.locks.lens if settled.lens is None else settled.lens,
    )
    picture = place.see(2)
    card = find_card(picture)
    card_px = None if card is None else card.edge_px
    any_px = edge_width_px(picture)
    is_blurred = card_px > BLURRED_PX if card_px is not None else any_px is not None and any_px > BLURRED_ANY_PX
    edge_px = card_px if card_px is not None else any_px
    found = []
    told = []
    if _spread(levels) > FLICKER_SHARE:
        found.append("flicker")
        told.append(f"the brightness does not settle ({_spread(levels):.0%} in a second): give the tray a steady lamp")
    if not DARK < levels[-1] < BRIGHT:
        found.append("light")
        told.append(f"the picture is too {'dark' if levels[-1] <= DARK else 'bright'} ({levels[-1]:.0f} of 255)")
    if is_blurred:
        found.append("blur")
        told.append(f"the picture is blurred (edges {edge_px:.1f} px wide, at most {BLURRED_PX:g}): clean the lens, or "
                    "turn it until this step is content")  # fmt: skip
    held = [
        word
        for word, value in (
            ("exposure", settled.exposure_us),
            ("white balance", settled.colour_gains),
            ("lens", settled.lens),
        )
        if value is not None
    ]
    told.append(f"held: {', '.join(held)}" if settled != AUTOMATIC else
                "this camera has no controls to hold")  # fmt: skip
    if edge_px is None:
        told.append("sharpness not measured: nothing in view has an edge, show the card")
    elif not is_blurred:
        told.append(f"sharp (edges {edge_px:.1f} px wide{'' if has_card and card else ', without the card'})")
    figures: dict[str, float | str] = {"brightness": round(levels[-1], 1), "flicker": round(_spread(levels), 4)}
    if edge_px is not None:
        figures["edge_px"] = round(edge_px, 2)
    result = StepResult("camera", not found, tuple(found), (), "; ".join(told), figures, picture)
    return result, replace(calibration, locks=locks)


def _spread(levels: list[float]) -> float:
    return (max(levels) - min(levels)) / max(1.0, sum(levels) / len(levels))
