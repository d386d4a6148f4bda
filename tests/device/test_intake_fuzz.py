"""Thousands of damaged and hostile uploads: what comes in is a bundle's files, or is refused in one sentence.

Python's tarfile is the second opinion on every tar that is taken. All mutations come from one seed each.
"""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from bundles import make_bundle
from signed import Unsynced, members_of, tar_of

from device.bundle import Bundle
from device.errors import BundleMismatch
from device.intake import CARD, Head, read_tar, write_members

BLOCK = 512
MUTATIONS = 4000
WRITTEN = 600
NAMES = (b"../x", b"/etc/passwd", b"model.onnx", b"x/../../y", b"card.md", b"a" * 100, b"\xff\xfe", b"", b".", b"n\0x")
SIZES = (
    b"00000000000\0",
    b"77777777777\0",
    b"00000000001\0",
    b"-0000000001\0",
    b"\x80" + bytes(10) + b"\x01",
    b" " * 12,
)
KINDS = b"0\x00123457SLKxgX"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("fuzz") / "bundle")


@pytest.fixture(scope="module")
def tar(bundle: Bundle) -> bytes:
    names = ["manifest.json", *sorted(name for name in bundle.manifest.files), CARD]
    return tar_of(bundle.path, names)


def headers(data: bytes) -> list[int]:
    """Where the headers of the members begin, in a tar that is whole."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [member.offset for member in archive]


def mutated(data: bytes, begins: list[int], draw: np.random.Generator) -> bytes:
    """One to three changes; every second header that was changed gets a sum that fits, as an attacker would."""
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 4))):
        at = int(draw.choice(begins))
        match int(draw.integers(0, 8)):
            case 0:
                changed[int(draw.integers(0, len(changed)))] ^= 1 << int(draw.integers(0, 8))
            case 1:
                name = NAMES[int(draw.integers(0, len(NAMES)))]
                changed[at : at + 100] = name.ljust(100, b"\0")
            case 2:
                changed[at + 124 : at + 136] = SIZES[int(draw.integers(0, len(SIZES)))]
            case 3:
                changed[at + 156] = KINDS[int(draw.integers(0, len(KINDS)))]
            case 4:
                changed[at + int(draw.integers(0, BLOCK))] = int(draw.integers(0, 256))
            case 5:
                del changed[int(draw.integers(BLOCK, len(changed))) :]
            case 6:
                changed[at:at] = changed[at : at + BLOCK]
            case _:
                del changed[at : at + BLOCK * int(draw.integers(1, 3))]
        if len(changed) < max(begins) + BLOCK:
            break
        if draw.random() < 0.5:
            head = changed[at : at + BLOCK]
            total = sum(head[:148]) + 8 * 0x20 + sum(head[156:])
            changed[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(changed)


def taken(data: bytes) -> list[tuple[str, bytes]] | None:
    """The files that are read of a tar; None when it is refused."""
    try:
        return [(member.name, b"".join(member.chunks)) for member in read_tar(io.BytesIO(data).read)]
    except BundleMismatch:
        return None


def second_opinion(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), format=tarfile.USTAR_FORMAT, errors="backslashreplace") as archive:
        return [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]


def test_a_mutated_tar_is_refused_or_read_as_tarfile_reads_it(tar: bytes) -> None:
    begins = headers(tar)
    assert taken(tar) == second_opinion(tar)
    refused = agreed = 0
    for seed in range(MUTATIONS):
        data = mutated(tar, begins, np.random.default_rng(seed))
        found = taken(data)
        if found is None:
            refused += 1
        # tarfile cuts names at the first NUL, and strips a slash at the end.
        elif all(name and "\0" not in name and not name.endswith("/") for name, _ in found):
            # It stops without a word where a field is damaged that is of no use here, such as the owner.
            theirs = second_opinion(data)
            assert found[: len(theirs)] == theirs, seed
            agreed += len(theirs) == len(found)
    assert agreed > 200
    assert MUTATIONS / 2 < refused < MUTATIONS


def test_whatever_comes_in_only_what_was_signed_is_written_and_only_into_its_folder(
    bundle: Bundle, tar: bytes, tmp_path: Path
) -> None:
    raw = (bundle.path / "manifest.json").read_bytes()
    head = Head(bundle.manifest, raw, b"signature", "anna")
    listed = {"manifest.json", "manifest.json.sig", CARD, *bundle.manifest.files}
    # After the head: the names behind it are what an attacker may choose.
    rest = tar[headers(tar)[1] :]
    begins = headers(rest)
    whole = 0
    for seed in range(WRITTEN):
        top = tmp_path / str(seed)
        top.mkdir()
        try:
            write_members(
                Unsynced(), top / "new", head, members_of(mutated(rest, begins, np.random.default_rng(10**6 + seed)))
            )
        except BundleMismatch:
            pass
        else:
            whole += 1
        assert [path.name for path in top.iterdir()] == ["new"]
        assert {path.name for path in (top / "new").iterdir()} <= listed, seed
        for path in (top / "new").iterdir():
            entry = bundle.manifest.files.get(path.name)
            assert entry is None or path.stat().st_size <= entry.size
            path.unlink()
    assert 0 < whole < WRITTEN
