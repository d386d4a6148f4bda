"""A bundle on its way in: from a tar on stdin, or a folder, into a new folder whose content is certain.

    stdin -> read_tar ----.
    folder -> read_folder -+-> Member ... -> read_head (signature, manifest) -> write_members -> folder, synced

The signed manifest comes first and names every file with its size, so that nothing is written for a sender whom nobody
trusts, and not one byte more than was signed. A tar of plain files is a header of 512 bytes for each: all other kinds
(links, folders, devices, sparse files, extensions) are refused by name, which is why tarfile is not used here. It must
never write a name that the manifest does not list.
"""

import hashlib
import os
import re
import select
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.bundle import MANIFEST, Manifest
from device.durable import Files
from device.errors import BundleMismatch, BundleNotFound, BundleUntrusted
from device.manifest_check import parse_manifest
from device.signature import SIGNATURE, SIGNATURE_LIMIT_BYTES, check_signature

__all__ = ["CARD", "Head", "Member", "patient_reader", "read_folder", "read_head", "read_tar", "write_members"]

CARD: Final = "card.md"
CARD_LIMIT_BYTES: Final = 1024 * 1024
MANIFEST_LIMIT_BYTES: Final = 4 * 1024 * 1024  # seven labels with 1280 features each take 200 kB
_BLOCK_BYTES: Final = 512
_CHUNK_BYTES: Final = 64 * 1024
_OCTAL: Final = re.compile(rb" *([0-7]{1,11})[ \0]*")

Read = Callable[[int], bytes]
"""Gives that many bytes or fewer, none at the end."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file on its way in.

    Attributes:
        name: as the sender wrote it.
        size: in bytes.
        chunks: its content; to be taken before the next member.
    """

    name: str
    size: int
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """What was signed, and by whom.

    Attributes:
        manifest: its fields, checked.
        raw: the manifest's bytes.
        signature: content of the signature file.
        signer: as the allowed signers name it.
    """

    manifest: Manifest
    raw: bytes
    signature: bytes
    signer: str

    @property
    def release(self) -> str:
        """The name that the bundle has on a device."""
        return f"{self.manifest.sequence}-{hashlib.sha256(self.raw).hexdigest()[:12]}"

    @property
    def size(self) -> int:
        """Bytes of all files that the manifest lists."""
        return sum(entry.size for entry in self.manifest.files.values())


def patient_reader(number: int, quiet_s: float) -> Read:
    """Read what a file descriptor delivers, as long as it delivers anything.

    A link that is dead without saying so must not keep others from uploading.

    Args:
        number: the file descriptor.
        quiet_s: seconds of silence after which the sender has gone.
    """

    def read(size: int) -> bytes:
        if not select.select([number], [], [], quiet_s)[0]:
            raise BundleMismatch(f"upload: nothing came for {quiet_s:g} s; the link is dead, ship the bundle again")
        return os.read(number, size)

    return read


def read_tar(read: Read) -> Iterator[Member]:
    """The members of an uncompressed tar.

    Args:
        read: where it comes from.

    Raises:
        BundleMismatch: it ends early, or holds something that is no plain file.
    """
    while (header := _exactly(read, _BLOCK_BYTES, "a header")) != bytes(_BLOCK_BYTES):
        name = header[:100].rstrip(b"\0").decode("utf-8", "backslashreplace")
        size, checksum = (_OCTAL.fullmatch(header[field]) for field in (slice(124, 136), slice(148, 156)))
        is_sound = checksum is not None and int(checksum[1], 8) == sum(header[:148]) + 8 * 0x20 + sum(header[156:])
        if size is None or not is_sound:
            raise BundleMismatch("upload: a header of the tar is damaged; ship the bundle again")
        if header[156:157] not in (b"0", b"\0") or header[345:500].strip(b"\0"):
            raise BundleMismatch(f"upload: {name!r} is no plain file, expected the files of a bundle and nothing else")
        length = int(size[1], 8)
        yield Member(name, length, _chunks(read, length, name))
        _exactly(read, -length % _BLOCK_BYTES, name)
    _exactly(read, _BLOCK_BYTES, "its last block")


def _chunks(read: Read, size: int, name: str) -> Iterator[bytes]:
    while size:
        chunk = _exactly(read, min(size, _CHUNK_BYTES), name)
        size -= len(chunk)
        yield chunk


def _exactly(read: Read, size: int, name: str) -> bytes:
    data = b""
    while len(data) < size:
        piece = read(size - len(data))
        if not piece:
            raise BundleMismatch(f"upload: the tar ends within {name}; the link was cut, ship the bundle again")
        data += piece
    return data


def read_folder(path: Path) -> Iterator[Member]:
    """The files of a folder, in the order in which a bundle comes in.

    Raises:
        BundleNotFound: the folder, its manifest or its signature is not there or cannot be read.
        BundleMismatch: something in it is no plain file.
    """
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as exc:
        raise BundleNotFound(f"{path}: cannot be read ({exc.strerror}); name the folder of a bundle") from exc
    for name in (MANIFEST, SIGNATURE):
        if name not in names:
            raise BundleNotFound(f"{path / name}: missing, expected a signed bundle; sign it with: trainer ship")
    for name in (MANIFEST, SIGNATURE, *(name for name in names if name not in (MANIFEST, SIGNATURE))):
        try:
            number = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            raise BundleNotFound(f"{path / name}: cannot be read ({exc.strerror}); expected a plain file") from exc
        with open(number, "rb") as stream:
            found = os.fstat(number)
            if not stat.S_ISREG(found.st_mode):
                raise BundleMismatch(f"{path / name}: no plain file, expected the files of a bundle and nothing else")
            yield Member(name, found.st_size, _chunks(stream.read, found.st_size, name))


def read_head(members: Iterator[Member], allowed_signers: Path) -> Head:
    """Take the manifest and its signature, and check them.

    Raises:
        BundleUntrusted: there is no signature, or it is not by somebody whom this bin trusts.
        BundleError: something else is wrong with them.
    """
    raw = _small(members, MANIFEST, MANIFEST_LIMIT_BYTES)
    try:
        signature = _small(members, SIGNATURE, SIGNATURE_LIMIT_BYTES)
    except BundleMismatch as exc:
        raise BundleUntrusted(f"{exc}; sign the bundle before it is shipped") from exc
    signer = check_signature(raw, signature, allowed_signers, MANIFEST)
    return Head(parse_manifest(raw, Path(MANIFEST)), raw, signature, signer)


def _small(members: Iterator[Member], name: str, limit_bytes: int) -> bytes:
    member = next(members, None)
    if member is None or member.name != name:
        found = "the end" if member is None else repr(member.name)
        raise BundleMismatch(f"upload: {found} came, expected {name} at this place")
    if member.size > limit_bytes:
        raise BundleMismatch(f"upload: {name} has {member.size} bytes, expected at most {limit_bytes}")
    return b"".join(member.chunks)


def write_members(files: Files, folder: Path, head: Head, members: Iterable[Member]) -> None:
    """Write a bundle into a new folder; its content is certain at return, its place in the parent is not.

    Raises:
        BundleMismatch: a file is there that the manifest does not list, or twice, or it has another size.
        OSError: the disk does not take it.
    """
    files.make_folder(folder)
    for name, data in ((MANIFEST, head.raw), (SIGNATURE, head.signature)):
        files.write(folder / name, [data])
        files.sync(folder / name)
    for member in members:
        entry = head.manifest.files.get(member.name)
        if entry is None and member.name != CARD:
            raise BundleMismatch(f"upload: {member.name!r} is not listed in {MANIFEST}; remove it, and ship again")
        if entry is not None and member.size != entry.size:
            raise BundleMismatch(
                f"upload: {member.name} has {member.size} bytes, but {MANIFEST} says {entry.size}; ship again"
            )
        if entry is None and member.size > CARD_LIMIT_BYTES:
            raise BundleMismatch(f"upload: {CARD} has {member.size} bytes, expected at most {CARD_LIMIT_BYTES}")
        if (folder / member.name).exists():
            raise BundleMismatch(f"upload: {member.name} came twice; ship the bundle again")
        files.write(folder / member.name, member.chunks)
        files.sync(folder / member.name)
    files.sync(folder)
