"""What lies in the tray: the connected differences from the empty one.

    background.Change -> find_things -> Thing, Thing, ... -> gate

It must never take light for a thing: a shadow has no sharp outline, and a place where something lay while the tray was
learnt has its outline in the background instead of the picture. No clock, no memory.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.background import Background, Change, Floats, Mask, edge_strength, grey

__all__ = ["TRACE", "Thing", "find_things", "has_new_edges", "is_ghost"]

TRACE = 0.002
"""Share of the region below which a difference or a movement is noise."""

DIFFERS = 3.5
"""Deviations at which a place differs from the empty tray."""

JOIN_PX = 7
"""Parts closer than this in the small picture are one thing: a bottle shows as its rims and highlights."""

REACH_PX = 6
"""A thing that lies on the region's edge over more small pixels than this reaches in from outside."""

SHARP = 0.17
"""Change per pixel at an outline over the height of the step; a smoothed step gives 0.33, a soft shadow 0.1."""

SHARP_SHARE = 0.3
"""Share of the outline that must be sharp: an item lies in a soft shadow of its own."""

SHARP_LEVELS = 0.8
"""Least change per pixel of a sharp outline, 0-255: noise has outlines too."""

NEW_EDGE_FACTOR = 1.5
NEW_EDGE_LEVELS = 1.0
NEW_EDGE_PX = 10
"""A place has a new edge where it is so many times and levels per pixel steeper than its surroundings were; so many
places are no accident."""

HIDDEN_EDGE_FACTOR = 3.0
"""An edge of the empty tray is hidden where the picture is so many times less steep; a deep shadow halves it."""

OVEREXPOSED = 235.0
EXPOSURE_OFF = 0.1
"""What is brighter than this has lost its texture: once the exposure has changed by this share, it says nothing."""

GHOST_LEVELS = 1.0
GHOST_TEXTURE = 0.5
GHOST_FACTOR = 2.0
"""A ghost's outline stands out from the background by more than these levels per pixel, plus this share of the texture
beside it, plus so many times what it stands out from the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """One connected difference from the empty tray.

    Attributes:
        mask: its places in the small picture, gaps closed.
        edges: those where the difference begins at once.
        box: x, y, width, height in small pixels.
        area: share of the region, 0..1.
        is_sharp: it has an outline that the empty tray has not, so it is not only light or shadow.
        reaches_in: it comes over the edge of the region, with an outline there.
        crosses: it comes over the edge of the region, be it only a shadow, or a hand too fast to have an outline.
    """

    mask: Mask
    edges: Mask
    box: tuple[int, int, int, int]
    area: float
    is_sharp: bool
    reaches_in: bool
    crosses: bool


def find_things(background: Background, change: Change) -> list[Thing]:
    """The connected differences that are more than noise."""
    differs = (change.deviations > DIFFERS).astype(np.uint8)
    least = TRACE * differs.size
    if np.count_nonzero(differs) < least:
        return []
    joined = cv2.dilate(differs, np.ones((JOIN_PX, JOIN_PX), np.uint8))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    areas = np.bincount(labels[differs > 0], minlength=count)
    relief = background.relief(change)
    steepness = edge_strength(relief)
    height = cv2.dilate(relief, np.ones((13, 13), np.uint8))
    sharp: Mask = (steepness > np.maximum(SHARP * height, SHARP_LEVELS)).astype(np.uint8)
    changed = _changed_edges(background, change)
    things = []
    for label in np.flatnonzero(areas >= least):
        seen: Mask = ((labels == label) & (differs > 0)).astype(np.uint8)
        mask = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, np.ones((JOIN_PX, JOIN_PX), np.uint8)).astype(np.uint8)
        outline = mask > cv2.erode(mask, np.ones((3, 3), np.uint8))
        edges: Mask = mask & sharp
        x, y, w, h = cv2.boundingRect(seen)
        things.append(
            Thing(
                mask=mask,
                edges=edges,
                box=(x, y, w, h),
                area=float(np.count_nonzero(mask)) / mask.size,
                is_sharp=bool(
                    np.count_nonzero(edges) >= SHARP_SHARE * np.count_nonzero(outline)
                    and np.count_nonzero(edges & changed) >= NEW_EDGE_PX
                ),
                reaches_in=_crosses(mask) and _has_outline_at_rim(edges & changed),
                crosses=_crosses(mask),
            )
        )
    return things


def _rim(mask: Mask) -> Mask:
    rim = np.zeros_like(mask)
    cv2.rectangle(rim, (0, 0), (mask.shape[1] - 1, mask.shape[0] - 1), 1, thickness=1)
    return rim


def _crosses(mask: Mask) -> bool:
    """True where a thing comes over the edge of the region."""
    return int(np.count_nonzero(mask & _rim(mask))) > REACH_PX


def _has_outline_at_rim(edges: Mask) -> bool:
    """True where a thing has an outline at the edge of the region; a soft shadow has none."""
    near = cv2.dilate(_rim(edges), np.ones((5, 5), np.uint8)).astype(np.uint8)
    return bool(np.count_nonzero(near & edges) >= 3)


def has_new_edges(before: Floats, now: Floats, moved: NDArray[np.bool_]) -> bool:
    """True where a thing moved, False where only light did: it makes edges stronger or weaker, or clips them.

    Args:
        before: float32 [h, w, 3], levelled.
        now: the same a moment later.
        moved: [h, w], where the two differ.
    """
    return int(np.count_nonzero(_new_edges(before, now)[moved])) >= NEW_EDGE_PX


def _changed_edges(background: Background, change: Change) -> Mask:
    """Where a thing made an edge, or hid one of the empty tray; light does neither, unless it dazzles the camera."""
    made = _new_edges(background.mean, change.levelled)
    if float(np.abs(change.gain - 1.0).max()) > EXPOSURE_OFF:
        made[_brightest(background.mean) > OVEREXPOSED] = 0
        return made
    steep_now = cv2.dilate(edge_strength(grey(change.levelled)), np.ones((3, 3), np.uint8))
    is_hidden = edge_strength(grey(background.mean)) > HIDDEN_EDGE_FACTOR * steep_now + NEW_EDGE_LEVELS
    is_dazzled = _brightest(change.levelled * change.gain) > OVEREXPOSED
    return np.asarray(made | (is_hidden & ~is_dazzled), dtype=np.uint8)


def _brightest(rgb: Floats) -> Floats:
    red, green, blue = cv2.split(rgb)
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.float32)


def _new_edges(before: Floats, now: Floats) -> Mask:
    """Where there is an edge now and was none before."""
    steep_before = cv2.dilate(edge_strength(grey(before)), np.ones((3, 3), np.uint8))
    is_new = edge_strength(grey(now)) > NEW_EDGE_FACTOR * steep_before + NEW_EDGE_LEVELS
    return np.asarray(is_new, dtype=np.uint8)


def is_ghost(background: Background, change: Change, thing: Thing) -> bool:
    """True where the thing's outline is in the background only: it lay there while that was learnt."""
    # A thing that covers a pattern takes the pattern's edges away inside; only what runs around it tells.
    around_edges, _ = cv2.findContours(
        cv2.dilate(thing.edges, np.ones((3, 3), np.uint8)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    drawn = cv2.drawContours(np.zeros_like(thing.mask), around_edges, -1, 1, thickness=3)
    outline = (drawn > 0) & (thing.edges > 0)
    if not outline.any():
        return False
    grown = cv2.dilate(thing.mask, np.ones((5, 5), np.uint8))
    beside = cv2.dilate(grown, np.ones((7, 7), np.uint8)) > grown
    before = edge_strength(grey(background.mean))
    now = edge_strength(grey(change.levelled))
    (before_there, before_beside), (now_there, now_beside) = (
        (float(edges[outline].mean()), float(edges[beside].mean()) if beside.any() else 0.0) for edges in (before, now)
    )
    least = GHOST_LEVELS + GHOST_TEXTURE * before_beside + GHOST_FACTOR * max(now_there - now_beside, 0.0)
    return before_there - before_beside > least
