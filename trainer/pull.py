"""Pull: what people have taught their bins -> a folder that `trainer data` reads.

    wastebin export (a tar over ssh) -> OUT/<host>/<label>/<sha256>.png, OUT/<host>/provenance.jsonl
    pictures that nobody has labelled -> OUT-unsure/<host>/<sha256>.png, for a person to sort

A picture is named by its bytes, so that it is there once however often it is pulled; one that a person has labelled
anew moves. What a bin has lost since is kept here: a card wears out sooner than a workstation. It must never write a
name that it did not make itself, nor believe a tar before the bin has said that it is whole.
"""

import asyncio
import hashlib
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from trainer.errors import DatasetError, ShipError, TrainerError
from trainer.link import Access, Answer, Host, open_link
from trainer.stage import write_atomic

__all__ = ["Pulled", "pull_bins", "unpack"]

LIMIT_BYTES: Final = 4 * 2**30
"""Of one bin's tar; many thousand pictures."""

_PICTURE: Final = re.compile(r"looks/([\w-]+)/[\w.-]+\.png")
_UNSURE: Final = re.compile(r"unsure/[\w.-]+\.png")
_PROVENANCE: Final = "provenance.jsonl"
_DEADLINE_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came from one bin.

    Attributes:
        host: its name.
        folder: where its pictures lie.
        pictures: that it has sent.
        new: of these, how many were not here before.
        moved: how many were here under another label.
        corrections: that a person made there and that have no picture.
        unsure: pictures of items that the bin could not name and nobody has labelled, in a folder beside OUT.
    """

    host: str
    folder: Path
    pictures: int
    new: int
    moved: int
    corrections: int
    unsure: int = 0

    @property
    def sentence(self) -> str:
        """For people."""
        unsure = f"; {self.unsure} of items it was unsure of, in {_unsure_folder(self.folder)}" if self.unsure else ""
        return (
            f"{self.host}: {self.pictures} labelled pictures, {self.new} of them new, {self.moved} under another label "
            f"than before; {self.corrections} corrections without a picture; in {self.folder}{unsure}"
        )


def pull_bins(hosts: Sequence[Host], access: Access, out: Path) -> Iterator[Pulled]:
    """Fetch from one bin after the other.

    Args:
        out: made if missing; holds a folder for each bin.

    Raises:
        TrainerError: after the last bin, if one of them could not be pulled from; all of them, in one sentence each.
    """
    problems = []
    for host in hosts:
        try:
            yield _pull(host, access, out)
        except TrainerError as error:
            problems.append(str(error))
    if problems:
        raise ShipError("; ".join(problems))


def _pull(host: Host, access: Access, out: Path) -> Pulled:
    with tempfile.TemporaryFile() as tar:
        answer = asyncio.run(_fetch(host, access, tar))
        if answer.status != 0:
            raise ShipError(
                f"{host}: {host.wastebin} export ended with status {answer.status} "
                f"({answer.complaint or 'without a word'}); update it with: trainer upgrade --host {host}"
            )
        tar.seek(0)
        return unpack(tar, out / re.sub(r"[^\w.-]", "-", host.name), host.name)


async def _fetch(host: Host, access: Access, tar: IO[bytes]) -> Answer:
    def on_out(piece: bytes) -> None:
        if tar.tell() + len(piece) > LIMIT_BYTES:
            raise DatasetError(f"{host}: sends more than {LIMIT_BYTES >> 30} GiB; expected some thousand pictures")
        tar.write(piece)

    async with open_link(host, access) as link:
        return await link.run([host.wastebin, "export"], on_out=on_out, deadline_s=_DEADLINE_S)


def unpack(tar: IO[bytes], folder: Path, host: str) -> Pulled:
    """Put the pictures of one bin where they belong.

    Args:
        tar: what `wastebin export` writes.
        folder: of this bin.

    Raises:
        DatasetError: it is no such tar; nothing was changed then.
        TrainerError: the disk does not take it.
    """
    try:
        with tarfile.open(fileobj=tar, mode="r:") as archive:
            pictures, unsure, lines = _look_through(archive, host)
            here = {path.stem: path for path in folder.glob("*/*.png")}
            moved = 0
            for digest, (label, member) in pictures.items():
                target = folder / label / f"{digest}.png"
                if here.get(digest) == target:
                    continue
                _make_folder(target.parent)
                write_atomic(target, _content(archive, member, host))
                if digest in here:
                    here[digest].unlink()
                    moved += 1
            aside = _unsure_folder(folder)
            for digest, member in unsure.items():
                target = aside / f"{digest}.png"
                if digest not in here and not target.exists():
                    _make_folder(aside)
                    write_atomic(target, _content(archive, member, host))
            for digest in pictures:  # somebody has said meanwhile what it is
                (aside / f"{digest}.png").unlink(missing_ok=True)
    except (tarfile.TarError, EOFError) as error:
        raise DatasetError(f"{host}: what it sent is no tar ({error}); is it the wastebin of this project?") from error
    _make_folder(folder)
    _keep_lines(folder / _PROVENANCE, lines)
    without = sum(line.get("sha256") is None for line in lines)
    return Pulled(host, folder, len(pictures), len(pictures.keys() - here.keys()), moved, without, len(unsure))


def _unsure_folder(folder: Path) -> Path:
    """Not below OUT, where every folder is a label."""
    return folder.parent.with_name(f"{folder.parent.name}-unsure") / folder.name


def _look_through(
    archive: tarfile.TarFile, host: str
) -> tuple[dict[str, tuple[str, tarfile.TarInfo]], dict[str, tarfile.TarInfo], list[dict[str, Any]]]:
    """The whole tar, once, before anything is written.

    Returns:
        SHA-256 -> label and member; SHA-256 -> member of the pictures without a label; the provenance.
    """
    pictures: dict[str, tuple[str, tarfile.TarInfo]] = {}
    unsure: dict[str, tarfile.TarInfo] = {}
    lines = None
    for member in archive:
        data = _content(archive, member, host)
        picture = _PICTURE.fullmatch(member.name)
        if picture is not None:
            pictures[hashlib.sha256(data).hexdigest()] = (picture[1], member)
        elif _UNSURE.fullmatch(member.name):
            unsure[hashlib.sha256(data).hexdigest()] = member
        elif member.name == _PROVENANCE:
            lines = _lines(data, host)
        else:
            raise DatasetError(
                f"{host}: sent {member.name!r}, expected looks/<label>/<picture>.png, unsure/<picture>.png and "
                f"{_PROVENANCE} only"
            )
    if lines is None:
        raise DatasetError(f"{host}: sent no {_PROVENANCE}, which comes last; pull again")
    return pictures, {digest: unsure[digest] for digest in unsure.keys() - pictures.keys()}, lines


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, host: str) -> bytes:
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        raise DatasetError(f"{host}: sent {member.name!r}, which is no plain file")
    return stream.read()


def _lines(data: bytes, host: str) -> list[dict[str, Any]]:
    try:
        return [dict(json.loads(line)) for line in data.splitlines()]
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{host}: its {_PROVENANCE} cannot be read ({error}); update wastebin there") from error


def _keep_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Add to what is known of this bin's pictures; what it says now goes before what it said."""
    before = _lines(path.read_bytes(), str(path)) if path.exists() else []
    known = {_key(line): line for line in [*before, *lines]}
    write_atomic(path, "".join(f"{json.dumps(line)}\n" for line in known.values()).encode())


def _key(line: dict[str, Any]) -> str:
    """The picture; without one, the decision and its time: numbers begin anew with a new card."""
    decision = line.get("decision") or {}
    return str(line.get("sha256") or f"{line.get('event')} {decision.get('at')}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{path}: no folder can be made there ({error.strerror}); give another") from error
