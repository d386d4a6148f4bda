"""Read one picture, or walk the pictures of a folder or an archive.

path -> find_pictures -> PictureRef -> read() bytes -> decode_picture -> uint8 RGB

The one place where picture files become pixels, for the device and the trainer alike, so that both see the same. It
never hands out a picture that it could not read whole, never decodes one whose header asks for more than `MAX_PIXELS`,
and never follows a name out of an archive.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Rgb
from device.errors import ItemsError, PictureError
from device.picture_header import read_header

__all__ = ["MAX_BYTES", "MAX_PIXELS", "PictureRef", "decode_picture", "find_pictures", "read_picture"]

MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 2**20

# Kinds that we refuse are listed too: a folder of HEIC photographs must give a sentence, not look empty.
_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

# OpenCV writes lines of its own to stderr about files that we report in one sentence.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, slots=True)
class PictureRef:
    """A picture that was found and not yet read.

    Attributes:
        name: the path as given, or `x.zip!/class/f.jpg` inside an archive.
        label: name of the folder directly above it, below the path that was searched; None for a picture at its top.
        read: gives the file's bytes; PictureError if it is gone, unreadable, damaged or larger than `MAX_BYTES`.
    """

    name: str
    label: str | None
    read: Callable[[], bytes]


def decode_picture(data: bytes, where: str) -> Rgb:
    """Turn the bytes of a JPEG, PNG, WebP or BMP file into RGB, the way a person would see it.

    EXIF orientation is applied; grey and CMYK become RGB; transparency is laid on white; 16 bits become 8.

    Args:
        data: the whole file; not kept.
        where: the file's name, for messages.

    Returns:
        uint8 [H, W, 3], 0-255, RGB, contiguous, the caller's own.

    Raises:
        PictureError: zero bytes, no picture, cut short, damaged, or more than `MAX_PIXELS` (seen before decoding).
    """
    header = read_header(data, where)
    if header.width_px * header.height_px > MAX_PIXELS:
        megapixels = header.width_px * header.height_px / 1e6
        raise PictureError(
            f"{where}: {header.width_px}x{header.height_px} is {megapixels:.0f} megapixels, more than the limit of "
            f"{MAX_PIXELS // 1_000_000}; scale it down"
        )
    try:
        # UNCHANGED keeps alpha and 16 bits, and leaves the orientation to us: OpenCV cannot do both.
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as exc:
        raise _undecodable(where, header.kind) from exc
    if decoded is None:
        raise _undecodable(where, header.kind)
    return np.ascontiguousarray(_upright(_to_rgb(np.asarray(decoded), where), header.orientation))


def read_picture(path: Path) -> Rgb:
    """Read one picture file; see `decode_picture`.

    Raises:
        PictureError: as `decode_picture`, and for a file that is missing, unreadable or larger than `MAX_BYTES`.
    """
    return decode_picture(_read_file(path), str(path))


def find_pictures(path: Path) -> Iterator[PictureRef]:
    """Find the pictures of a folder and all below it, of a zip archive, or the one file that is named.

    Sorted by name, so the order is the same on every machine. Dot files, `__MACOSX` and files that are no pictures by
    their name are passed over; a picture is only opened when its `read` is called.

    Raises:
        PictureError: nothing is at this path.
        ItemsError: no pictures there, a folder that may not be listed, or an archive that is damaged, encrypted, or
            holds names that lead out of it. Raised when the first picture is asked for.
    """
    if not path.exists():
        raise PictureError(f"{path}: no such file or folder; check the path")
    if path.is_dir():
        found = _in_folder(path)
    elif path.suffix.lower() == ".zip":
        found = _in_archive(path)
    else:
        found = [PictureRef(str(path), None, partial(_read_file, path))]
    if not found:
        raise ItemsError(
            f"{path}: no pictures in it; expected .jpg, .png, .webp or .bmp files, in folders named by material"
        )
    yield from found


def _undecodable(where: str, kind: str) -> PictureError:
    return PictureError(
        f"{where}: damaged {kind}, or a variant of it that OpenCV does not read; export it again as plain JPEG"
    )


def _to_rgb(decoded: NDArray[np.integer[Any] | np.floating[Any]], where: str) -> Rgb:
    """Turn what OpenCV decoded (grey, BGR or BGRA; 8 or 16 bits) into uint8 RGB."""
    if decoded.dtype == np.uint16:
        decoded = np.asarray(cv2.convertScaleAbs(decoded, alpha=255 / 65535))
    if decoded.dtype != np.uint8:
        raise PictureError(
            f"{where}: pixels of type {decoded.dtype}; expected 8 or 16 bits a channel, export it as JPEG"
        )
    if decoded.ndim == 2:
        rgb = cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB)
    elif decoded.shape[2] == 4:
        rgb = _on_white(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA))
    else:
        rgb = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return np.asarray(rgb, np.uint8)


def _on_white(rgba: NDArray[np.integer[Any] | np.floating[Any]]) -> Rgb:
    colour = rgba[..., :3].astype(np.uint16)
    alpha = rgba[..., 3:].astype(np.uint16)
    # 255 * 255 and the rounding half fit into 16 bits.
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upright(rgb: Rgb, orientation: int) -> Rgb:
    """Apply EXIF's orientation: 2-4 mirror or turn about, 5-8 also swap the sides."""
    if orientation >= 5:
        rgb = rgb.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        rgb = rgb[::-1]
    if orientation in {2, 3, 6, 7}:
        rgb = rgb[:, ::-1]
    return rgb


def _read_file(path: Path) -> bytes:
    try:
        size_bytes = path.stat().st_size
        _check_bytes(size_bytes, str(path))
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise PictureError(f"{path}: no such file; check the path") from exc
    except OSError as exc:
        raise PictureError(f"{path}: cannot be read ({exc.strerror}); check the path and its permissions") from exc


def _check_bytes(size_bytes: int, where: str) -> None:
    if size_bytes > MAX_BYTES:
        raise PictureError(
            f"{where}: {size_bytes / 2**20:.0f} MiB, more than the limit of {MAX_BYTES // 2**20}; scale it down"
        )


def _is_picture(parts: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and Path(parts[-1]).suffix.lower() in _SUFFIXES


def _in_folder(top: Path) -> list[PictureRef]:
    def refuse(exc: OSError) -> None:
        raise ItemsError(f"{exc.filename}: cannot be listed ({exc.strerror}); check its permissions") from exc

    found: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(top, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()  # so that of two links to one folder it is always the same that counts
        parts = Path(folder).relative_to(top).parts
        found += [(*parts, file) for file in files if _is_picture((*parts, file))]
    return [_ref_of_file(top.joinpath(*parts), parts) for parts in sorted(found)]


def _ref_of_file(path: Path, parts: tuple[str, ...]) -> PictureRef:
    return PictureRef(str(path), parts[-2] if len(parts) > 1 else None, partial(_read_file, path))


def _in_archive(path: Path) -> list[PictureRef]:
    archive = _Archive(path)
    found: list[PictureRef] = []
    for member in sorted(archive.members(), key=lambda member: tuple(member.filename.split("/"))):
        parts = tuple(member.filename.split("/"))
        if member.is_dir() or not _is_picture(parts):
            continue
        if member.flag_bits & 1:
            raise ItemsError(f"{path}: {member.filename} is encrypted; unpack the archive and give the folder")
        label = parts[-2] if len(parts) > 1 else None
        found.append(PictureRef(f"{path}!/{member.filename}", label, partial(archive.read, member)))
    return found


class _Archive:
    """A zip file that stays open while its pictures are wanted: opening it reads the whole index, too slow for each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip = self._open()
        self._process = os.getpid()

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except zipfile.BadZipFile as exc:
            raise ItemsError(f"{self._path}: no zip archive, or a damaged one ({exc}); copy it again") from exc
        except OSError as exc:
            raise ItemsError(f"{self._path}: cannot be read ({exc.strerror}); check its permissions") from exc

    def members(self) -> list[zipfile.ZipInfo]:
        """List all entries, having checked every name, also of those that nobody will read."""
        for member in self._zip.infolist():
            name = member.orig_filename.replace("\\", "/")
            if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
                raise ItemsError(
                    f"{self._path}: the name {member.orig_filename!r} leads out of the archive; it is refused whole, "
                    "pack it again"
                )
        return self._zip.infolist()

    def read(self, member: zipfile.ZipInfo) -> bytes:
        where = f"{self._path}!/{member.filename}"
        _check_bytes(member.file_size, where)
        if self._process != os.getpid():  # a forked reader must not share the file's position with its parent
            self._zip = self._open()
            self._process = os.getpid()
        try:
            return self._zip.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
            raise PictureError(f"{where}: damaged inside the archive ({exc}); copy the archive again") from exc
        except NotImplementedError as exc:
            raise PictureError(f"{where}: {exc}; pack the archive again with deflate") from exc
        except OSError as exc:
            raise PictureError(f"{where}: cannot be read ({exc.strerror}); copy the archive again") from exc
