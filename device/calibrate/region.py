"""Where in the picture the tray is: drawn, or found by laying the card into two of its corners.

    card in the upper left corner, card in the lower right one -> box of the tray -> Calibration.region

A region that cuts the tray off loses what lies there, one that shows the room takes passers-by for items. It must never
guess: without the card in both corners the region stays what it was.
"""

from dataclasses import replace

from device.calibrate.card import find_card
from device.calibrate.step import Outcome, Place, Shown, StepResult
from device.region import LEAST_REGION_PX, Box

__all__ = ["check_region"]

GROWN = 0.06
"""Added to each side of the tray, as a share of it: what lies at its rim must not touch the region's edge."""

LEAST_ROOM = 0.01
MOST_TIMES = 2.0
"""A region of more than so many times the tray's area watches the room."""


def check_region(place: Place, *, region: Box | None = None) -> Outcome:
    """Find where the tray is.

    Args:
        region: x, y, width, height in px, as somebody drew it; None finds it.
    """
    calibration = place.calibration
    frame = place.see()
    size_px = frame.shape[1], frame.shape[0]
    if region is not None:
        x, y, w, h = region
        if min(x, y) < 0 or min(w, h) < LEAST_REGION_PX or x + w > size_px[0] or y + h > size_px[1]:
            sentence = f"{list(region)} is not inside the picture of {size_px[0]} x {size_px[1]} px; draw it again"
            return StepResult("region", False, ("region",), (), sentence, {}, frame), calibration
        result = StepResult("region", True, (), (), f"as drawn: {list(region)}", _figures(region), frame)
        return result, replace(calibration, region=region, size_px=size_px)
    corners = []
    for where in (Shown.CARD_FAR, Shown.CARD_NEAR):
        if not place.show(where):
            sentence = "not looked at: nobody lays the card into the corners; the region stays as it is"
            return StepResult("region", True, (), (), sentence), calibration
        card = find_card(place.see(3))
        if card is None:
            sentence = f"the picture does not show {where}: the camera sees only a part of the tray, or not sharply; " \
                       "move the camera, or draw the region"  # fmt: skip
            return StepResult("region", False, ("view",), (), sentence, {}, place.picture), calibration
        corners.append(card.corners_px)
    x0, y0 = (float(corners[0][:, axis].min()) for axis in (0, 1))
    x1, y1 = (float(corners[1][:, axis].max()) for axis in (0, 1))
    if x1 - x0 < LEAST_REGION_PX or y1 - y0 < LEAST_REGION_PX:
        sentence = "the card lay in the wrong corners: first upper left in the picture, then lower right; again"
        return StepResult("region", False, ("corners",), (), sentence, {}, place.picture), calibration
    tray = (x0, y0, x1 - x0, y1 - y0)
    now = (calibration.region if calibration.size_px == size_px else None) or place.config.camera.region
    now = now or (0, 0, *size_px)
    trouble = _trouble(now, tray)
    if trouble is None:
        sentence = f"right: {list(now)} holds the tray"
        return StepResult("region", True, (), (), sentence, _figures(now), place.picture), calibration
    grown = _grow(tray, size_px)
    result = StepResult(
        "region", True, ("region",), ("region",), f"{trouble}; now {list(grown)}", _figures(grown), place.picture
    )
    return result, replace(calibration, region=grown, size_px=size_px)


def _trouble(now: Box, tray: tuple[float, float, float, float]) -> str | None:
    room_x, room_y = LEAST_ROOM * tray[2], LEAST_ROOM * tray[3]
    is_cut = (
        tray[0] - now[0] < room_x
        or tray[1] - now[1] < room_y
        or now[0] + now[2] - tray[0] - tray[2] < room_x
        or now[1] + now[3] - tray[1] - tray[3] < room_y
    )
    if is_cut:
        return f"{list(now)} cut off a part of the tray"
    if now[2] * now[3] > MOST_TIMES * tray[2] * tray[3]:
        return f"{list(now)} showed the room around the tray"
    return None


def _grow(tray: tuple[float, float, float, float], size_px: tuple[int, int]) -> Box:
    x, y, w, h = tray
    x0, y0 = max(0, round(x - GROWN * w)), max(0, round(y - GROWN * h))
    x1, y1 = min(size_px[0], round(x + w + GROWN * w)), min(size_px[1], round(y + h + GROWN * h))
    return x0, y0, x1 - x0, y1 - y0


def _figures(box: Box) -> dict[str, float | str]:
    return dict(zip(("x", "y", "width", "height"), map(float, box), strict=True))
