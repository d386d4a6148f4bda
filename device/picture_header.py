"""What a picture file says about itself, read without decoding it.

file bytes -> read_header -> Header (kind, size, how the camera was held) -> device.pictures decodes

OpenCV may fill a JPEG that was cut short with grey and say nothing, allocates whatever a header asks for, and ignores
EXIF where it keeps an alpha channel. So the few fields that decide those three matters are read here, from JPEG, PNG,
WebP and BMP, and other formats are refused by name. Nothing here looks at pixels.

Formats: ITU-T T.81 annex B (JPEG), PNG third edition, RFC 9649 (WebP), EXIF 2.32 section 4.6.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from device.errors import PictureError

__all__ = ["Header", "read_header"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# In entropy-coded data FF 00 is a byte FF, and FF D0..D7 are restart marks; any other FF xx starts the next segment.
_JPEG_NEXT_SEGMENT = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF_ORIENTATION = 0x0112
_READABLE = "JPEG, PNG, WebP or BMP"


@dataclass(frozen=True, slots=True)
class Header:
    """The facts that are needed before a picture may be decoded.

    Attributes:
        kind: `JPEG`, `PNG`, `WebP` or `BMP`.
        width_px: as stored, before the orientation is applied; at least 1.
        height_px: as above.
        orientation: EXIF's 1..8; 1 where the file says nothing or nonsense.
    """

    kind: str
    width_px: int
    height_px: int
    orientation: int = 1


def read_header(data: bytes, where: str) -> Header:
    """Read a picture's kind, size and orientation, and check that the file is whole.

    Args:
        data: the whole file.
        where: the file's name, for messages.

    Raises:
        PictureError: zero bytes, no picture, a format that is not read here, cut short or damaged.
    """
    if not data:
        raise PictureError(f"{where}: the file is empty (0 bytes); take or copy the picture again")
    try:
        header = _parse(data, where)
    except (struct.error, IndexError) as exc:  # a field lies behind the end of the data
        raise _cut_short(where, data) from exc
    if header.width_px < 1 or header.height_px < 1:
        size = f"{header.width_px}x{header.height_px}"
        raise PictureError(f"{where}: its {header.kind} header says {size} pixels; the file is damaged, copy it again")
    return header


def _parse(data: bytes, where: str) -> Header:
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data, where)
    if data.startswith(_PNG_SIGNATURE):
        return _png(data, where)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data, where)
    if data.startswith(b"BM"):
        return _bmp(data)
    found = _foreign_kind(data)
    if found is not None:
        raise PictureError(f"{where}: this is a {found} file, and only {_READABLE} are read; export it as JPEG")
    raise PictureError(f"{where}: no picture (it starts with the bytes {data[:4].hex(' ')}); expected {_READABLE}")


def _foreign_kind(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "AVIF" if brand in {b"avif", b"avis"} else "HEIC" if brand[:2] in {b"he", b"mi"} else "video"
    for start, kind in ((b"GIF8", "GIF"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"%PDF", "PDF"), (b"PK", "zip")):
        if data.startswith(start):
            return kind
    return None


def _cut_short(where: str, data: bytes) -> PictureError:
    return PictureError(f"{where}: the picture is cut short after {len(data)} bytes; copy the file again")


def _jpeg(data: bytes, where: str) -> Header:
    """Walk the segments up to the end mark; a file without it was cut short."""
    size_px: tuple[int, int] | None = None
    orientation = 1
    at = 2
    while True:
        if data[at] != 0xFF:
            raise PictureError(f"{where}: damaged JPEG (no marker at byte {at}); copy the file again")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2:
            raise PictureError(
                f"{where}: damaged JPEG (a segment of length {length} at byte {at}); copy the file again"
            )
        body = at + 4
        if marker in _JPEG_FRAMES and size_px is None:
            height_px, width_px = struct.unpack_from(">HH", data, body + 1)
            size_px = (width_px, height_px)
        elif marker == 0xE1 and data[body : body + 6] == b"Exif\0\0":
            orientation = _exif_orientation(data[body + 6 : at + 2 + length])
        at += 2 + length
        if marker == 0xDA:
            found = _JPEG_NEXT_SEGMENT.search(data, at)
            if found is None:
                raise _cut_short(where, data)
            at = found.start()
    if size_px is None:
        raise PictureError(f"{where}: damaged JPEG (it ends before its first row); copy the file again")
    return Header("JPEG", *size_px, orientation)


def _png(data: bytes, where: str) -> Header:
    """Walk the chunks up to IEND, each with its checksum."""
    if data[12:16] != b"IHDR":
        raise PictureError(f"{where}: damaged PNG (its first chunk is not IHDR); copy the file again")
    width_px, height_px = struct.unpack_from(">II", data, 16)
    orientation = 1
    at = len(_PNG_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(body, zlib.crc32(kind)) != checksum:
            raise PictureError(f"{where}: damaged PNG (wrong checksum at byte {at}); copy the file again")
        if kind == b"eXIf":
            orientation = _exif_orientation(body)
        if kind == b"IEND":
            return Header("PNG", width_px, height_px, orientation)
        at += 12 + length


def _webp(data: bytes, where: str) -> Header:
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    end = 8 + riff_bytes
    if end > len(data):
        raise _cut_short(where, data)
    size_px: tuple[int, int] | None = None
    orientation = 1
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if kind == b"EXIF":
            exif = data[body : body + length]
            orientation = _exif_orientation(exif.removeprefix(b"Exif\0\0"))
        elif size_px is None and kind == b"VP8X":
            size_px = (
                1 + int.from_bytes(data[body + 4 : body + 7], "little"),
                1 + int.from_bytes(data[body + 7 : body + 10], "little"),
            )
        elif size_px is None and kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, body + 1)
            size_px = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif size_px is None and kind == b"VP8 ":
            width_px, height_px = struct.unpack_from("<HH", data, body + 6)
            size_px = (width_px & 0x3FFF, height_px & 0x3FFF)
        at = body + length + length % 2
    if size_px is None:
        raise PictureError(f"{where}: damaged WebP (it holds no picture); copy the file again")
    return Header("WebP", *size_px, orientation)


def _bmp(data: bytes) -> Header:
    (info_bytes,) = struct.unpack_from("<I", data, 14)
    # The first BMP header had 16-bit sizes; every later one has two signed 32-bit ones, a negative height for top-down.
    width_px, height_px = struct.unpack_from("<HH" if info_bytes == 12 else "<ii", data, 18)
    return Header("BMP", width_px, abs(height_px))


def _exif_orientation(tiff: bytes) -> int:
    """Give 1..8 from a TIFF block; 1 for a block that makes no sense, since the picture itself is sound."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (ifd,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, ifd)
        for index in range(entries):
            tag, _kind, _count, value = struct.unpack_from(f"{order}HHIH", tiff, ifd + 2 + 12 * index)
            if tag == _EXIF_ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
