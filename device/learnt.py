"""What this bin has learnt, on the disk: versions that are never changed, and which of them is in use.

    teach -> LearntStore.put -> learnt/<number>-<sha12>.npz, active.json -> LearntStore.read -> learner -> engine

A version names its own bytes (the first 12 hexadecimal digits of their SHA-256), the bundle that it belongs to and the
looks that it was made of. Pictures are the truth and a version can be made of them again, so that a damaged one is
refused and never mended. What is written is durable before it is told; a power cut leaves the version before or the new
one. It must never hand out weights for another bundle than the one that they were made with.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from device.durable import Files, hold, replace_file
from device.errors import LearntError
from device.fields import build
from device.learn import Learnt

__all__ = ["ACTIVE", "Active", "LearntStore", "Version", "learnt_folder"]

ACTIVE: Final = "active.json"
SCHEMA: Final = 1
KEPT: Final = 8
"""So many versions stay on the disk; one that is in use is never removed."""

_NAME: Final = re.compile(r"([1-9][0-9]{0,8})-([0-9a-f]{12})")
_ARRAYS: Final = ("middle", "rows", "here", "pulls", "memory", "looked")


@dataclass(frozen=True, slots=True)
class Version:
    """What a version says of itself.

    Attributes:
        bundle: version of the bundle that it was made with.
        at: wall-clock time, ISO 8601 in UTC, for people only.
        looks: label -> how many looks, near-duplicates counted once.
        made_of: tells one set of looks from another.
        judged: looks that the two figures were counted on, each left out once.
        right_before, right_after: of those, how many the bundle alone named right, and how many with this version.
        suspicious: looks whose label all the others contradict.
    """

    bundle: str
    at: str
    looks: dict[str, int]
    made_of: str
    judged: int
    right_before: int
    right_after: int
    suspicious: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Active:
    """Which versions are in use, and which looks need not be learnt from again.

    Attributes:
        schema: of the file.
        versions: version of a bundle -> name of what was learnt for it.
        settled: version of a bundle -> the looks, see `Version.made_of`, that were learnt from or refused last.
        revoked: the looks that a person took back, for every bundle; empty for none.
        refusal: why the newest looks were refused; empty when they were not.
        suspicious: of the refused looks, those whose label the others contradict.
    """

    schema: int = SCHEMA
    versions: dict[str, str] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    revoked: str = ""
    refusal: str = ""
    suspicious: tuple[str, ...] = ()


def learnt_folder(events_path: Path) -> Path:
    """Where a bin keeps what it has learnt: beside its events."""
    return events_path.with_name("learnt")


class LearntStore:
    """The versions of one bin. Several processes may use it; who changes it holds its folder meanwhile.

    Args:
        folder: made when something is kept in it for the first time.
    """

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder = folder
        self._files = files or Files()

    def read_active(self) -> Active:
        """What is in use; nothing where nothing was ever learnt.

        Raises:
            LearntError: the file cannot be read or is damaged.
        """
        path = self.folder / ACTIVE
        try:
            table = json.loads(path.read_bytes())
        except FileNotFoundError:
            return Active()
        except OSError as error:
            raise LearntError(f"{path}: cannot be read ({error.strerror}); see: wastebin doctor") from error
        except (ValueError, RecursionError):
            raise LearntError(f"{path}: no JSON; learn again from the pictures: wastebin teach") from None
        problems: list[str] = []
        active = build(Active, table, str(path), problems)
        if active is None or active.schema != SCHEMA or not all(map(_NAME.fullmatch, active.versions.values())):
            what = "; ".join(problems) or "is of another schema, or names what is no version"
            raise LearntError(f"{what}; learn again from the pictures: wastebin teach")
        return active

    def read(self, name: str) -> tuple[Version, Learnt]:
        """One version.

        Raises:
            LearntError: it is not there, or not what its name promises.
        """
        path = self.folder / f"{name}.npz"
        cure = "learn again from the pictures: wastebin teach"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LearntError(f"{path}: cannot be read ({error.strerror}); {cure}") from error
        digest, found = name.partition("-")[2], hashlib.sha256(data).hexdigest()[:12]
        if digest != found:
            raise LearntError(f"{path}: its bytes hash to {found}, expected {digest}; {cure}")
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                table = json.loads(arrays["meta"].tobytes())
                learnt = Learnt(
                    labels=tuple(table["labels"]),
                    known=int(table["known"]),
                    temperature=float(table["temperature"]),
                    own=float(table["own"]),
                    **{each: arrays[each] for each in _ARRAYS},
                )
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise LearntError(f"{path}: no version that this wastebin knows ({error}); {cure}") from error
        problems: list[str] = []
        version = build(Version, table["version"], str(path), problems)
        if version is None:
            raise LearntError(f"{'; '.join(problems)}; {cure}")
        return version, learnt

    def put(self, version: Version, learnt: Learnt) -> str:
        """Keep a version and use it from now on; gives its name.

        Raises:
            LearntError: the disk refused; the version before stays in use.
        """
        meta = {
            "version": asdict(version),
            "labels": list(learnt.labels),
            "known": learnt.known,
            "temperature": learnt.temperature,
            "own": learnt.own,
        }
        stream = io.BytesIO()
        arrays = {each: getattr(learnt, each) for each in _ARRAYS}
        np.savez(stream, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
        data = stream.getvalue()
        with self._changing():
            number = max((int(each.partition("-")[0]) for each in self.names()), default=0) + 1
            name = f"{number}-{hashlib.sha256(data).hexdigest()[:12]}"
            replace_file(self._files, self.folder / f"{name}.npz", data)
            self._files.sync(self.folder)
            before = self._active_or_new()
            active = Active(
                versions={**before.versions, version.bundle: name},
                settled={**before.settled, version.bundle: version.made_of},
            )
            self._write(active)
            self._remove_old(active)
        return name

    def refuse(self, bundle: str, made_of: str, why: str, suspicious: tuple[str, ...] = ()) -> None:
        """Note that these looks were no good with this bundle; what was learnt before stays in use.

        Raises:
            LearntError: the disk refused.
        """
        with self._changing():
            before = self._active_or_new()
            settled = {**before.settled, bundle: made_of}
            self._write(replace(before, settled=settled, refusal=why, suspicious=suspicious))

    def revoke(self, made_of: str) -> None:
        """Use nothing that was learnt, with any bundle, until the looks are others than these.

        Raises:
            LearntError: the disk refused.
        """
        with self._changing():
            self._write(Active(revoked=made_of))

    def names(self) -> list[str]:
        """The versions on the disk, oldest first."""
        found = [path.stem for path in self.folder.glob("*.npz") if _NAME.fullmatch(path.stem)]
        return sorted(found, key=lambda name: int(name.partition("-")[0]))

    def stamp(self) -> tuple[int, int] | None:
        """Changes whenever what is in use does; None where nothing was ever learnt."""
        try:
            found = (self.folder / ACTIVE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _active_or_new(self) -> Active:
        try:
            return self.read_active()
        except LearntError:  # what it said is lost, and learning again is all that can be done about it
            return Active()

    def _write(self, active: Active) -> None:
        data = json.dumps(asdict(active), indent=1).encode()
        replace_file(self._files, self.folder / ACTIVE, data)
        self._files.sync(self.folder)

    def _remove_old(self, active: Active) -> None:
        in_use = set(active.versions.values())
        for name in self.names()[:-KEPT]:
            if name not in in_use:
                self._files.remove(self.folder / f"{name}.npz")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with hold(self.folder, wait=True):
                yield
        except OSError as error:
            raise LearntError(
                f"{self.folder}: what was learnt was not kept ({error.strerror}); see: wastebin doctor"
            ) from error
