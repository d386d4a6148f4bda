"""The pack of things that visitors bring: somebody's photographs in class folders, or our drawings.

folder, zip or drawings -> load_items -> Items -> picture -> uint8 RGBA without its background

Photographs stay where they are and are read when they are needed. It must never guess a label: it is the name of the
folder, whether the model knows it or not.
"""

import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Rgb
from device.errors import ItemsError
from device.pictures import decode_picture, find_pictures
from device.simulator.brush import Rgba
from device.simulator.drawings import HELD_OUT_SHAPES, draw_item

__all__ = ["Items", "PackedItem", "cut_out", "load_items", "outline"]

_DRAWN_PER_LABEL = 40
_KEPT_PICTURES = 6
_LONGEST_PX = 384  # no item is shown larger than this

# Cutting out, tuned on photographs of single things on a white board.
_WORK_PX = 200
_BORDER_SHARE = 0.05
_UNIFORM_STEPS = 9.0
_UNIFORM_SHARE = 0.6
_SHADOW_STEPS = 32.0
_SOLID_SHARE = 0.8
_LEAST_SHARE = 0.03
_MOST_SHARE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class PackedItem:
    """One thing of the pack, not yet read.

    Attributes:
        name: file or drawing, for messages and records.
        label: its true material, the name of its folder; a model need not know it.
        load: reads it, uint8 [H, W, 4]; PictureError when the file is damaged.
    """

    name: str
    label: str
    load: Callable[[], Rgba]


class Items:
    """A pack of things, sorted by label and name.

    Attributes:
        source: what it was loaded from, for messages.
        packed: all of them.
        labels: the true labels that occur, sorted.
    """

    def __init__(self, source: str, packed: Sequence[PackedItem]) -> None:
        self.source = source
        self.packed = tuple(sorted(packed, key=lambda item: (item.label, item.name)))
        self.labels = tuple(sorted({item.label for item in self.packed}))
        self._kept: OrderedDict[str, Rgba] = OrderedDict()

    def __len__(self) -> int:
        return len(self.packed)

    def picture(self, item: PackedItem) -> Rgba:
        """The thing without its background; a few are kept.

        Returns:
            uint8 [H, W, 4], RGB and straight alpha, not to be written to.

        Raises:
            PictureError: its file is missing or damaged.
        """
        if item.name not in self._kept:
            picture = item.load()
            picture.setflags(write=False)
            self._kept[item.name] = picture
            if len(self._kept) > _KEPT_PICTURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(item.name)
        return self._kept[item.name]


def load_items(path: Path | None, labels: Sequence[str], seed: int) -> Items:
    """Find the things that visitors will bring.

    Args:
        path: a folder or zip of class folders; None draws things in shapes that no model was trained on.
        labels: the materials the model knows; drawn things are limited to them. A photograph's folder counts
            whatever its name, because visitors do bring what no model knows.
        seed: 0 or more; chooses the drawings.

    Raises:
        ItemsError: a class folder is empty, a picture lies in no class folder, or nothing can be drawn.
    """
    if path is None:
        return _draw_items(labels, seed)
    _refuse_empty_folders(path)
    packed = []
    for ref in find_pictures(path):
        if ref.label is None:
            raise ItemsError(f"{ref.name}: in no class folder; expected folders named by material, such as glass/")
        packed.append(PackedItem(ref.name, ref.label, partial(_load_photograph, ref.read, ref.name)))
    return Items(str(path), packed)


def _draw_items(labels: Sequence[str], seed: int) -> Items:
    packed = []
    for label in labels:
        for number in range(_DRAWN_PER_LABEL if label in HELD_OUT_SHAPES else 0):
            shapes = HELD_OUT_SHAPES[label]
            shape, drawn = shapes[number % len(shapes)], seed * _DRAWN_PER_LABEL + number
            packed.append(PackedItem(f"{label}/{shape}-{drawn:04d}", label, partial(draw_item, label, drawn, shape)))
    if not packed:
        raise ItemsError(
            f"drawings: the model's labels are {', '.join(labels)}; can draw {', '.join(HELD_OUT_SHAPES)}. "
            "Name photographs with --items DIR"
        )
    return Items("drawings", packed)


def _load_photograph(read: Callable[[], bytes], name: str) -> Rgba:
    rgb = decode_picture(read(), name)
    longest = max(rgb.shape[:2])
    if longest > 2 * _LONGEST_PX:
        shrink = 2 * _LONGEST_PX / longest
        rgb = np.asarray(cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    return cut_out(rgb)


def _refuse_empty_folders(path: Path) -> None:
    """A class without pictures is a mistake of whoever made the pack; it must not pass unseen."""
    if path.is_dir():
        folders = [path, *(folder for folder in sorted(path.rglob("*")) if folder.is_dir())]
        empty = [str(folder) for folder in folders if not any(folder.iterdir())]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        inside = [name for name in names if name.endswith("/")]
        empty = [f"{path}!/{folder}" for folder in inside if sum(name.startswith(folder) for name in names) < 2]
    else:
        empty = []
    if empty:
        raise ItemsError(f"{empty[0]}: an empty class folder; expected pictures in it. Add some or remove the folder")


# Cutting a thing out of its photograph


def outline(rgb: Rgb) -> NDArray[np.uint8]:
    """Find a thing on a plain background; where there is none, take the whole picture with a soft edge.

    The background is what the picture's border shows, followed smoothly across the picture; a shadow on it still
    belongs to it. When the result is implausible (a sheet of board that fills the picture) the whole is taken too.

    Args:
        rgb: uint8 [H, W, 3], RGB; not kept.

    Returns:
        uint8 [H, W], 0 is background, 255 the thing, with a soft edge.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, _WORK_PX / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    found = _thing(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8))
    if found is None:
        return _soft_frame(height, width)
    wide = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
    # A blurred outline has its middle on the edge: start inside, or the board shines through all around.
    soft = (cv2.GaussianBlur(wide, (0, 0), max(1.0, 0.6 / scale)) - 0.5) * 2.6
    return np.asarray(np.round(np.clip(soft, 0, 1) * 255), np.uint8)


def cut_out(rgb: Rgb) -> Rgba:
    """Free a thing from its background as far as `outline` finds it.

    Args:
        rgb: uint8 [H, W, 3], RGB; not kept.

    Returns:
        uint8 [h, w, 4], RGB and straight alpha, cropped to what is left.
    """
    alpha = outline(rgb)
    rows, cols = np.nonzero(alpha.max(1))[0], np.nonzero(alpha.max(0))[0]
    part = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    return np.dstack([rgb[part], alpha[part]])


def _soft_frame(height: int, width: int) -> NDArray[np.uint8]:
    """Opaque but for a margin that fades out, uint8 [H, W]."""
    fade = max(1, round(min(height, width) * 0.04))
    if min(height, width) < 8:
        return np.full((height, width), 255, np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    alpha[fade:-fade, fade:-fade] = 255
    return np.asarray(cv2.blur(alpha, (fade, fade)), np.uint8)


def _thing(rgb: Rgb) -> NDArray[np.float32] | None:
    """Where the thing is, float32 [h, w] of 0 and 1; None when the picture does not tell."""
    lab = np.asarray(cv2.cvtColor(rgb.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)
    fitted = _fit_background(lab)
    if fitted is None:
        return None
    board, spread = fitted
    # A shadow takes light and keeps the hue, and it is smooth: dark alone counts only when it is very dark.
    dimmed = np.clip(lab[..., :1] / np.maximum(board[..., :1], 1), 0, 1)
    hue_off = np.linalg.norm(lab[..., 1:] - board[..., 1:] * dimmed, axis=2)
    light_off = lab[..., 0] - board[..., 0]
    dark = np.maximum(-light_off - _SHADOW_STEPS, 0)
    grey = np.ascontiguousarray(lab[..., 0])
    detail = cv2.GaussianBlur(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 2.0)), (0, 0), 1.5)
    far = cv2.GaussianBlur(1.5 * hue_off + dark + 0.9 * np.maximum(light_off, 0), (0, 0), 0.8)
    far = far + 4.0 * np.maximum(detail - 0.4 - 0.3 * spread, 0)
    level = max(8.0, 2.2 * spread)
    mask = _whole_pieces((far > level).astype(np.uint8), (far > 1.8 * level).astype(np.uint8))
    if mask is None or not _LEAST_SHARE <= float(mask.mean()) <= _MOST_SHARE:
        return None
    return mask.astype(np.float32)


def _fit_background(lab: NDArray[np.float32]) -> tuple[NDArray[np.float32], float] | None:
    """A smooth surface through the border's colours, [h, w, 3], and its spread; None when the border is not plain."""
    height, width = lab.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], 2).reshape(-1, 6)
    rim = max(2, round(min(height, width) * _BORDER_SHARE))
    at_border = np.ones((height, width), bool)
    at_border[rim:-rim, rim:-rim] = False
    chosen = at_border.reshape(-1)
    colours = lab.reshape(-1, 3)
    spots, seen = terms[chosen], colours[chosen]
    keep = np.linalg.norm(seen - np.median(seen, axis=0), axis=1) < 3 * _UNIFORM_STEPS
    for _ in range(4):
        if keep.mean() < _UNIFORM_SHARE:
            return None
        weights, *_ = np.linalg.lstsq(spots[keep], seen[keep], rcond=None)
        error = np.linalg.norm(seen - spots @ weights, axis=1)
        keep = error < _UNIFORM_STEPS
    if keep.mean() < _UNIFORM_SHARE:
        return None
    board = (terms @ weights).reshape(lab.shape)
    return np.asarray(board, np.float32), float(np.sqrt((error[keep] ** 2).mean()))


def _whole_pieces(maybe: NDArray[np.uint8], sure: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The thing made whole from what stood out of it, uint8 of 0 and 1; None when that is a scatter of marks.

    Clear plastic and white paper stand out by their edges and print only: holes are filled, and where much is missing
    the pieces are spanned by their hull.
    """
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    closed = cv2.morphologyEx(maybe, cv2.MORPH_CLOSE, brush)
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    solid = cv2.drawContours(np.zeros_like(maybe), outlines, -1, 1, cv2.FILLED)
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    areas = [int(stats[i, cv2.CC_STAT_AREA]) if i and np.any(sure[pieces == i]) else 0 for i in range(count)]
    kept = [i for i in range(count) if areas[i] and areas[i] >= 0.15 * max(areas)]
    if not kept:
        return None
    mask = np.isin(pieces, kept).astype(np.uint8)
    hull = cv2.fillConvexPoly(np.zeros_like(mask), cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    filled = float(mask.sum()) / float(hull.sum())
    if filled < _SOLID_SHARE:
        if sum(edge.mean() > 0.3 for edge in (hull[0], hull[-1], hull[:, 0], hull[:, -1])) > 1:
            return None
        mask = np.asarray(hull, np.uint8)
    return np.asarray(cv2.erode(mask, np.ones((5, 5), np.uint8), borderValue=1), np.uint8)
