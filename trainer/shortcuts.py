"""Shortcuts: the same photograph with something taken away, to see what the model goes by.

    photograph -> outline -> background alone, item alone; middle covered; grey; colour cast

A model that still names the material when only board, floor or hand are left has learnt those (Geirhos et al. 2020;
Xiao et al. 2021 for the background). It should be right about the item alone, and not mind grey or a cast too much.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulator.items import outline

__all__ = ["background_alone", "colour_cast", "found_outline", "grey", "item_alone", "middle", "shortcuts"]

U8 = NDArray[np.uint8]

_BELIEVED = (0.03, 0.7)
"""Share of the picture that an item may cover. `outline` gives 0.85, the frame, when it finds none; and where an item
leaves less than this around it, there is no background to speak of."""
_PLAIN_STEPS = 0.85
"""Fine detail that a board may show, median, in steps of 255. On photographs of single things on a board it is 0.3 to
0.8; where a sheet of cardboard fills the picture and `outline` has found its print, what is left is fibre, at 0.9 to 4,
and such a picture says nothing of backgrounds."""
_DETAIL_PX = 512
_FILL_PX = 96
_MARGIN = 0.04
_MIDDLE = 0.7
_CAST = 0.25
_GREY = 128


def found_outline(rgb: U8) -> U8 | None:
    """Where the item is on a plain background, uint8 [H, W]; None where the picture does not tell well enough.

    Args:
        rgb: uint8 [H, W, 3].
    """
    alpha = outline(rgb)
    least, most = _BELIEVED
    if not least <= float((alpha > 127).mean()) <= most:
        return None
    return alpha if _detail(rgb, alpha) <= _PLAIN_STEPS else None


def _detail(rgb: U8, alpha: U8) -> float:
    """Median fine detail well away from the item, in steps of 255; infinite where nothing is."""
    shrink = min(1.0, _DETAIL_PX / max(rgb.shape[:2]))
    size = (round(rgb.shape[1] * shrink), round(rgb.shape[0] * shrink))
    small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    reach = 2 * round(0.025 * max(size)) + 1
    away = cv2.dilate(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.ones((reach, reach), np.uint8)) == 0
    detail = np.abs(small - cv2.GaussianBlur(small, (0, 0), 2.0))[away]
    return float(np.median(detail)) if detail.size else float("inf")


def background_alone(rgb: U8, alpha: U8) -> U8:
    """Fill the item's place, and a margin with its shadow, from what is around it (Bertalmio, Bertozzi, Sapiro 2001).

    Filled small, blurred and enlarged, so that neither texture nor a sharp outline of the item stays behind.

    Args:
        rgb: uint8 [H, W, 3].
        alpha: uint8 [H, W], see `found_outline`.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = rgb.shape[:2]
    scale = _FILL_PX / max(height, width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    covered = (cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) > 12).astype(np.uint8)
    reach = 2 * round(_MARGIN * _FILL_PX) + 1
    wide = cv2.dilate(covered, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    # Telea's method, the other one there, comes out up to 14 steps brighter than a plain board.
    filled = cv2.inpaint(small, wide, 3, cv2.INPAINT_NS)
    filled = np.where(wide[..., None] > 0, cv2.GaussianBlur(filled, (0, 0), 3.0), filled)
    back = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    share = cv2.resize(wide.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.clip(2 * cv2.GaussianBlur(share, (0, 0), 1.0 / scale), 0, 1)[..., None]  # all of the item is covered
    return np.asarray(np.round(back * share + rgb * (1 - share)), np.uint8)


def middle(rgb: U8) -> U8:
    """An upright ellipse over the middle, as the place of an item that cannot be outlined: uint8 [H, W].

    A thing that is held up or framed lies there; what is left around it is shelf, floor and most of a hand.
    """
    height, width = rgb.shape[:2]
    axes = (round(width * _MIDDLE / 2), round(height * _MIDDLE / 2))
    covered = np.zeros((height, width), np.uint8)
    return np.asarray(cv2.ellipse(covered, (width // 2, height // 2), axes, 0, 0, 360, 255, cv2.FILLED), np.uint8)


def item_alone(rgb: U8, alpha: U8) -> U8:
    """The item on plain grey, uint8 [H, W, 3]."""
    share = alpha.astype(np.float32)[..., None] / 255
    return np.asarray(np.round(rgb * share + _GREY * (1 - share)), np.uint8)


def grey(rgb: U8) -> U8:
    """Without colour, uint8 [H, W, 3]."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def colour_cast(rgb: U8, rng: np.random.Generator) -> U8:
    """Under a strongly coloured lamp, another for every picture; its brightness stays. uint8 [H, W, 3]."""
    gain = np.exp(rng.normal(0, _CAST, 3))
    return np.asarray(np.clip(np.round(rgb * (gain / gain.mean())), 0, 255), np.uint8)


def shortcuts(rgb: U8, rng: np.random.Generator) -> dict[str, U8]:
    """Every one of them by the name that the report prints; those that need an outline only where it is found."""
    changed = {
        "as it is": rgb,
        "middle covered": background_alone(rgb, middle(rgb)),
        "grey": grey(rgb),
        "colour cast": colour_cast(rgb, rng),
    }
    alpha = found_outline(rgb)
    if alpha is not None:
        changed |= {"background alone": background_alone(rgb, alpha), "item alone": item_alone(rgb, alpha)}
    return changed
