"""device.pictures and device.picture_header; Pillow makes the files, and never reads them for the code under test."""

import io
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from device.errors import ItemsError, PictureError
from device.picture_header import read_header
from device.pictures import MAX_BYTES, decode_picture, find_pictures, read_picture

RED, GREEN, BLUE, WHITE, YELLOW = (200, 30, 20), (20, 170, 40), (20, 60, 210), (255, 255, 255), (220, 200, 10)


def card() -> np.ndarray:
    """Four quarters that no turn or mirror maps onto themselves: red, green / blue, yellow; 60 wide, 40 high."""
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:20, :30], rgb[:20, 30:], rgb[20:, :30], rgb[20:, 30:] = RED, GREEN, BLUE, YELLOW
    return rgb


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def image() -> Image.Image:
    return Image.fromarray(card())


def quarters(rgb: np.ndarray) -> list[tuple[int, ...]]:
    """Mean colour of each quarter's middle, row by row."""
    height, width = rgb.shape[:2]
    spots = [(height // 4, width // 4), (height // 4, 3 * width // 4)]
    spots += [(3 * height // 4, width // 4), (3 * height // 4, 3 * width // 4)]
    return [tuple(int(c) for c in np.median(rgb[y - 3 : y + 3, x - 3 : x + 3], axis=(0, 1))) for y, x in spots]


def is_near(found: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]], tolerance: int) -> bool:
    return bool(np.abs(np.array(found) - np.array(expected)).max() <= tolerance)


def sentence(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        decode_picture(data, "a.jpg")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8))


LOSSLESS = {
    "png": encode(image(), "PNG"),
    "palette png": encode(image().quantize(8), "PNG"),
    "16-bit png": b"",  # made below: Pillow writes 16 bits for grey only
    "webp": encode(image(), "WEBP", lossless=True),
    "bmp": encode(image(), "BMP"),
    "opaque rgba": encode(image().convert("RGBA"), "PNG"),
}


def png_16_bit_rgb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))

    rows = (card().astype(">u2") * 257).reshape(40, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 60, 40, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


LOSSLESS["16-bit png"] = png_16_bit_rgb()


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_picture_comes_out_as_the_rgb_that_went_in(kind: str) -> None:
    rgb = decode_picture(LOSSLESS[kind], kind)

    assert (rgb.dtype.name, rgb.shape, rgb.flags.c_contiguous, rgb.flags.writeable) == (
        "uint8",
        (40, 60, 3),
        True,
        True,
    )
    assert np.array_equal(rgb, card())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_a_jpeg_comes_out_in_its_own_colours(options: dict[str, object]) -> None:
    rgb = decode_picture(encode(image(), "JPEG", quality=95, **options), "a.jpg")

    assert is_near(quarters(rgb), [RED, GREEN, BLUE, YELLOW], 3)


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_a_cmyk_jpeg_is_not_shown_as_its_negative(transform: int) -> None:
    data = bytearray(encode(image().convert("CMYK"), "JPEG", quality=95, subsampling=0))
    data[data.index(b"Adobe") + 11] = transform
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    rgb = decode_picture(bytes(data), "a.jpg")

    assert int(np.abs(rgb.astype(int) - expected).max()) <= 2
    if transform == 0:
        assert is_near(quarters(rgb), [RED, GREEN, BLUE, YELLOW], 4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    rgb = decode_picture(encode(Image.new("L", (60, 40), 77), kind), "a")

    assert np.array_equal(rgb, np.full((40, 60, 3), 77, np.uint8))


def test_black_and_white_png_is_read() -> None:
    rgb = decode_picture(encode(Image.new("1", (60, 40), 1), "PNG"), "a.png")

    assert np.array_equal(rgb, np.full((40, 60, 3), 255, np.uint8))


def test_sixteen_bit_grey_is_scaled_not_cut() -> None:
    wide = np.array([[0, 128, 257 * 100, 65535]], np.uint16).repeat(2, axis=0)

    rgb = decode_picture(encode(Image.fromarray(wide), "PNG"), "a.png")

    assert rgb[0, :, 0].tolist() == [0, 0, 100, 255]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_becomes_white(kind: str) -> None:
    rgba = np.dstack([card(), np.full((40, 60), 255, np.uint8)])
    rgba[:20, :30, 3] = 0
    rgba[:20, 30:, 3] = 100
    part = tuple(round((100 * c + 155 * 255) / 255) for c in GREEN)

    rgb = decode_picture(encode(Image.fromarray(rgba), kind, **({"lossless": True} if kind == "WEBP" else {})), "a")

    assert quarters(rgb) == [WHITE, part, BLUE, YELLOW]


def test_grey_with_alpha_is_laid_on_white() -> None:
    picture = Image.merge("LA", [Image.new("L", (60, 40), 40), Image.new("L", (60, 40), 0)])

    assert np.array_equal(decode_picture(encode(picture, "PNG"), "a.png"), np.full((40, 60, 3), 255, np.uint8))


def test_the_transparent_entry_of_a_palette_is_laid_on_white() -> None:
    palette = image().quantize(8)
    red_index = palette.getpixel((5, 5))

    rgb = decode_picture(encode(palette, "PNG", transparency=red_index), "a.png")

    assert quarters(rgb) == [WHITE, GREEN, BLUE, YELLOW]


R, G, B, Y = RED, GREEN, BLUE, YELLOW
UPRIGHT = {
    1: [R, G, B, Y],
    2: [G, R, Y, B],
    3: [Y, B, G, R],
    4: [B, Y, R, G],
    5: [R, B, G, Y],
    6: [B, R, Y, G],
    7: [Y, G, B, R],
    8: [G, Y, R, B],
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_held_sideways_is_put_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a maker, so that orientation is not the first entry"
    exif[0x0112] = orientation

    rgb = decode_picture(encode(image(), kind, exif=exif, quality=95), "a")

    assert rgb.shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))
    assert is_near(quarters(rgb), UPRIGHT[orientation], 12)
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders_and_nonsense_is_passed_over(order: str) -> None:
    def tiff(orientation: int) -> bytes:
        mark = b"II*\0" if order == "<" else b"MM\0*"
        return mark + struct.pack(f"{order}IHHHIH", 8, 1, 0x0112, 3, 1, orientation) + b"\0\0"

    def read(exif: bytes) -> int:
        return read_header(encode(image(), "JPEG", exif=b"Exif\0\0" + exif), "a.jpg").orientation

    assert [read(tiff(6)), read(tiff(0)), read(tiff(9)), read(tiff(6)[:12]), read(b"nonsense")] == [6, 1, 1, 1, 1]


def test_zero_bytes_are_named() -> None:
    assert sentence(b"") == "a.jpg: the file is empty (0 bytes); take or copy the picture again"


@pytest.mark.parametrize(
    "data",
    [encode(noise(), "JPEG", quality=95), encode(noise(), "JPEG", progressive=True)],
    ids=["jpeg", "progressive"],
)
def test_a_jpeg_cut_anywhere_is_refused(data: bytes) -> None:
    for length in range(2, len(data)):
        assert "a.jpg: " in sentence(data[:length])
    assert "cut short" in sentence(data[: len(data) // 2])
    assert "cut short" in sentence(data[:-1])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_a_picture_cut_short_is_refused(kind: str) -> None:
    data = encode(noise(), kind, **({"lossless": True} if kind == "WEBP" else {}))

    for length in [*range(2, 60), len(data) // 2, len(data) - 5, len(data) - 1]:
        sentence(data[:length])
    if kind != "BMP":  # its header does not say how long it should be; OpenCV finds out
        assert (
            sentence(data[:-1]) == f"a.jpg: the picture is cut short after {len(data) - 1} bytes; copy the file again"
        )


def test_a_png_with_one_wrong_byte_is_refused() -> None:
    data = bytearray(encode(noise(), "PNG"))
    data[len(data) // 2] ^= 1

    assert "wrong checksum" in sentence(bytes(data))


def test_what_comes_after_the_end_mark_of_a_jpeg_is_no_harm() -> None:
    data = encode(image(), "JPEG", quality=95)

    assert np.array_equal(decode_picture(data + b"\xff\xd8 trailer \xff", "a"), decode_picture(data, "a"))


def test_an_end_mark_inside_a_thumbnail_is_not_the_pictures_own() -> None:
    thumbnail = encode(image(), "JPEG")
    whole = encode(noise(), "JPEG", exif=b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0" + thumbnail, quality=95)

    assert decode_picture(whole, "a").shape == (40, 60, 3)
    assert "cut short" in sentence(whole[: len(thumbnail) + (len(whole) - len(thumbnail)) // 2])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"hello, I am a text", "no picture (it starts with the bytes 68 65 6c 6c); expected JPEG, PNG, WebP or BMP"),
        (b"\x00", "no picture (it starts with the bytes 00)"),
        (b"\x00" * 5000, "no picture"),
        (encode(image(), "GIF"), "this is a GIF file, and only JPEG, PNG, WebP or BMP are read; export it as JPEG"),
        (encode(image(), "TIFF"), "this is a TIFF file"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 50, "this is a HEIC file"),
        (b"%PDF-1.7", "this is a PDF file"),
        (b"PK\3\4", "this is a zip file"),
        (b"\xff\xd8\xff\xd9", "ends before its first row"),
        (b"\xff\xd8\xff\xe0\x00\x01", "a segment of length 1"),
        (b"\xff\xd8hello", "no marker at byte 2"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "its first chunk is not IHDR"),
        (b"RIFF\x04\0\0\0WEBP", "it holds no picture"),
        (b"BM" + b"\0" * 40, "its BMP header says 0x0 pixels"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, expected: str) -> None:
    assert sentence(data).startswith("a.jpg: ")
    assert expected in sentence(data)


def _bomb(kind: str) -> bytes:
    """A small file whose header says 10000 x 10000 pixels."""
    data = bytearray(encode(image(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 10000, 10000)
    elif kind == "PNG":
        data[16:24] = struct.pack(">II", 10000, 10000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "WEBP":
        (bits,) = struct.unpack_from("<I", data, 21)
        data[21:25] = struct.pack("<I", bits & ~0xFFFFFFF | 9999 | 9999 << 14)
    else:
        data[18:26] = struct.pack("<ii", 10000, -10000)
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_hundred_megapixels_are_refused_before_decoding(kind: str) -> None:
    # The files hold 2400 pixels only, so the sentence can have come from nowhere but the header.
    expected = "a.jpg: 10000x10000 is 100 megapixels, more than the limit of 50; scale it down"
    assert sentence(_bomb(kind)) == expected


def test_the_size_of_a_lossy_and_of_an_extended_webp_is_read() -> None:
    lossy = encode(image(), "WEBP", quality=80)
    extended = encode(image(), "WEBP", quality=80, exif=Image.Exif().tobytes() + b"\0" * 7)

    assert [lossy[12:16], extended[12:16]] == [b"VP8 ", b"VP8X"]
    for data in (lossy, extended):
        header = read_header(data, "a.webp")
        assert (header.kind, header.width_px, header.height_px) == ("WebP", 60, 40)


def test_a_sound_header_over_damaged_pixels_is_refused() -> None:
    data = encode(noise(), "WEBP", lossless=True)
    at = len(data) // 2

    assert "damaged WebP, or a variant of it" in sentence(data[:25] + b"\xff" * (at - 25) + data[at:])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"none\.jpg: no such file; check the path$"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(LOSSLESS["png"])

    assert np.array_equal(read_picture(tmp_path / "a.png"), card())


def test_a_file_of_many_gigabytes_is_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)

    with pytest.raises(PictureError, match="256 MiB, more than the limit of 256"):
        read_picture(path)


def test_a_bad_picture_writes_nothing_to_stderr_but_our_own_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    webp = encode(noise(), "WEBP", lossless=True)
    bmp = encode(noise(), "BMP")
    for data in (webp[:25] + b"\xff" * (len(webp) - 25), bmp[: len(bmp) // 2]):
        sentence(data)

    assert capfd.readouterr() == ("", "")


def touch(top: Path, *names: str) -> None:
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_a_folder_is_walked_in_the_order_of_names_with_labels(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/10.PNG", "a/deep/1.webp", "top.jpeg", "a/notes.txt", ".git/x.jpg", "a/._1.jpg")
    touch(tmp_path, "__MACOSX/b/2.jpg", "a/phone.HEIC")

    found = list(find_pictures(tmp_path))

    assert [(ref.name, ref.label, ref.read()) for ref in found] == [
        (f"{tmp_path}/a/deep/1.webp", "deep", b"a/deep/1.webp"),
        (f"{tmp_path}/a/phone.HEIC", "a", b"a/phone.HEIC"),
        (f"{tmp_path}/b/10.PNG", "b", b"b/10.PNG"),
        (f"{tmp_path}/b/2.jpg", "b", b"b/2.jpg"),
        (f"{tmp_path}/top.jpeg", None, b"top.jpeg"),
    ]


def test_a_linked_class_folder_counts_and_a_link_back_up_does_not_loop(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.jpg", "items/glass/2.jpg")
    (tmp_path / "items/metal").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "items/glass/up").symlink_to(tmp_path / "items")

    found = [(ref.name, ref.label) for ref in find_pictures(tmp_path / "items")]

    items = tmp_path / "items"
    assert found == [(f"{items}/glass/2.jpg", "glass"), (f"{items}/metal/1.jpg", "metal")]


def test_one_file_is_itself_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "glass/photo")

    found = [(ref.name, ref.label, ref.read()) for ref in find_pictures(tmp_path / "glass/photo")]

    assert found == [(f"{tmp_path}/glass/photo", None, b"glass/photo")]


def pack(path: Path, *names: str, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else name.encode() * 20)
    return path


def test_a_zip_is_walked_like_a_folder(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "x.ZIP",
        "d/",
        "d/b/2.jpg",
        "d/b/",
        "d/a/1.png",
        "top.jpg",
        "d/a/README",
        "__MACOSX/d/._2.jpg",
        ".h.jpg",
    )

    found = [(ref.name, ref.label, ref.read()) for ref in find_pictures(path)]

    assert found == [
        (f"{path}!/d/a/1.png", "a", b"d/a/1.png" * 20),
        (f"{path}!/d/b/2.jpg", "b", b"d/b/2.jpg" * 20),
        (f"{path}!/top.jpg", None, b"top.jpg" * 20),
    ]


@pytest.mark.parametrize(
    "name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "..\\x.jpg", "C:/x.jpg", "a/../readme.txt"]
)
def test_a_zip_with_a_name_that_leads_out_is_refused_whole(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "x.zip", "a/1.jpg", name)

    with pytest.raises(ItemsError) as caught:
        next(find_pictures(path))
    assert str(caught.value) == (
        f"{path}: the name {name!r} leads out of the archive; it is refused whole, pack it again"
    )


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\3\4" + b"\0" * 100])
def test_a_damaged_zip_is_refused_in_a_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)

    with pytest.raises(ItemsError, match=r"x\.zip: no zip archive, or a damaged one"):
        next(find_pictures(tmp_path / "x.zip"))


def test_a_zip_cut_short_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", "a/1.jpg", "a/2.jpg")
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(ItemsError, match="damaged"):
        next(find_pictures(path))


def test_one_damaged_member_does_not_spoil_the_others(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", "a/1.jpg", "a/2.jpg", method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"a/1.jpg" * 20)] ^= 1
    path.write_bytes(data)
    first, second = find_pictures(path)

    with pytest.raises(PictureError, match=r"x\.zip!/a/1\.jpg: damaged inside the archive"):
        first.read()
    assert second.read() == b"a/2.jpg" * 20


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", "a/1.jpg")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)

    with pytest.raises(ItemsError, match=r"a/1\.jpg is encrypted; unpack the archive"):
        next(find_pictures(path))


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", "a/1.jpg")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 10] = 99
    path.write_bytes(data)

    with pytest.raises(PictureError, match="pack the archive again with deflate"):
        next(find_pictures(path)).read()


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", "a/1.jpg")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<I", 2_000_000_000)
    path.write_bytes(data)

    with pytest.raises(PictureError, match="1907 MiB, more than the limit of 256"):
        next(find_pictures(path)).read()


def test_a_forked_reader_gets_its_own_hold_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(20):
            archive.writestr(f"a/{index}.jpg", bytes([index]) * 100_000)
    expected = sorted(bytes([index]) * 100_000 for index in range(20))
    refs = list(find_pictures(path))
    read_end, write_end = os.pipe()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forking beside threads, which is just what readers do
        child = os.fork()
    if child == 0:
        try:
            ok = all(sorted(ref.read() for ref in refs) == expected for _ in range(10))
            os.write(write_end, b"y" if ok else b"n")
        finally:
            os._exit(0)
    os.close(write_end)
    try:
        mine = all(sorted(ref.read() for ref in refs) == expected for _ in range(10))
    finally:
        os.waitpid(child, 0)
        theirs = os.read(read_end, 1)
        os.close(read_end)

    assert (mine, theirs) == (True, b"y")


def test_no_pictures_is_an_error_not_an_empty_answer(tmp_path: Path) -> None:
    touch(tmp_path, "a/notes.txt")

    with pytest.raises(ItemsError, match="no pictures in it; expected"):
        next(find_pictures(tmp_path))
    with pytest.raises(ItemsError, match="no pictures in it"):
        next(find_pictures(pack(tmp_path / "x.zip", "a/notes.txt")))
    with pytest.raises(PictureError, match=r"nowhere: no such file or folder; check the path$"):
        next(find_pictures(tmp_path / "nowhere"))
