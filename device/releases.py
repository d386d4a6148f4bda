"""Releases: the models that this bin was given, which of them runs, and the way back.

    upload -> install -> releases/<seq>-<sha12>/ -> begin_trial -> note_try ... -> commit | roll_back

    models/  releases/<seq>-<sha12>/   whole and signed from the moment it is there, never changed
             incoming/                 what is on its way in or out; of no worth after a power cut
             state.json                THE TRUTH, see `device.release_state`
             current, previous         symlinks for people and scripts; follow state.json, none means the factory model
             refused/<release>.json    why a release was refused or rolled back

The device decides, a trainer only delivers and asks. Each step is durable before the next begins and may be repeated
after a power cut at any instruction; what a cut may leave is enumerated by a test that records every change (`Files`).
It must never leave a release that is not whole, give up a model that works before another has proved itself, or change
anything for an upload that it refuses. The order of write, fsync, rename and symlink is RAUC's, `seq` against replay
and a bounded number of tries are Mender's and ostree's way, see RELIABILITY A.

Several processes work on one store. Uploads hold `incoming/`, and a second one is told so; changes of the state hold
the store's folder for as long as a few fsyncs take, a second on a slow card: not for the thread that sorts. Reading
needs no lock.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from device.bundle import MANIFEST, Bundle, factory_bundle_path, load_bundle
from device.durable import Files, hold, move, remove_tree, replace_file, replace_link
from device.errors import BundleError, BundleMismatch, BundleNotFound, ReleaseError
from device.event_store import iso_utc
from device.events import read_boot_id
from device.intake import Member, read_head, write_members
from device.refusals import Refusals
from device.release_state import (
    RELEASE_NAME,
    State,
    begin_trial,
    commit,
    give_back_try,
    note_try,
    parse_state,
    refuse_replay,
    roll_back,
    sequence_of,
    state_from_links,
)
from device.signature import SIGNATURE, check_signature

__all__ = ["Installed", "ReleaseStore"]

RESERVE_BYTES: Final = 50 * 1024 * 1024
WAITING_KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class Installed:
    """A release that is in the store.

    Attributes:
        release: its name.
        already: it was there, whole, before this upload.
    """

    release: str
    already: bool


class ReleaseStore:
    """The store in one folder.

    Attributes:
        root: that folder; made when it is first written to.
        allowed_signers: whose bundles are taken, see `device.signature`.
    """

    def __init__(
        self,
        root: Path,
        allowed_signers: Path,
        *,
        files: Files | None = None,
        wall: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Open a store; nothing is touched yet.

        Args:
            root, allowed_signers: see the attributes.
            files: what changes the disk; tests record it.
            wall: wall-clock seconds since 1970.
            free_bytes: room on the file system of a path.
        """
        self.root = root
        self.allowed_signers = allowed_signers
        self._files = files or Files()
        self._refusals = Refusals(root / "refused", self._files)
        self._wall = wall
        self._free_bytes = free_bytes

    # --------------------------------------------------------------------------------------------- reading

    def read_state(self) -> State:
        """What the bin knows about its models; quick enough to be asked each second.

        A state that cannot be read never keeps a bin from sorting: what the links name then counts as proved, and
        `reason` says so. No state at all is a bin that was never given a model.
        """
        try:
            raw = (self.root / "state.json").read_bytes()
        except FileNotFoundError:
            return State()
        except OSError as exc:
            problem = f"cannot be read ({exc.strerror})"
        else:
            state = parse_state(raw)
            if isinstance(state, State):
                return state
            problem = state
        reason = f"{self.root / 'state.json'}: {problem}; what the links name goes on"
        return state_from_links(self._link("current"), self._link("previous"), reason)

    def path_of(self, release: str | None) -> Path:
        """The folder of a release; None is the factory model.

        Raises:
            ReleaseError: no such name is possible.
        """
        if release is None:
            return factory_bundle_path()
        if not RELEASE_NAME.fullmatch(release):
            raise ReleaseError(f"{release!r}: no name of a release, expected one that `wastebin models list` shows")
        return self.root / "releases" / release

    def choices(self, state: State) -> list[str | None]:
        """What to run, best first: what serves, what ran before it, the factory model (None)."""
        return list(dict.fromkeys([state.serving, state.way_back, None]))

    def verify(self, release: str) -> Bundle:
        """Check a release once more: its signature, its files, its name.

        Raises:
            ReleaseError: there is no such release.
            BundleError: it is not what was signed.
        """
        path = self.path_of(release)
        if not path.is_dir():
            raise ReleaseError(f"{path}: no such release; ship it again, or see `wastebin models list`")
        try:
            manifest, signature = (path / MANIFEST).read_bytes(), (path / SIGNATURE).read_bytes()
        except OSError as exc:
            raise BundleNotFound(f"{exc.filename}: cannot be read ({exc.strerror}); ship the bundle again") from exc
        check_signature(manifest, signature, self.allowed_signers, str(path / MANIFEST))
        bundle = load_bundle(path)
        if bundle.version != release:
            raise BundleMismatch(f"{path}: holds {bundle.version}, expected what its name says; ship the bundle again")
        return bundle

    def releases(self) -> list[str]:
        """Names of the releases that are there, the oldest first."""
        try:
            names = [path.name for path in (self.root / "releases").iterdir()]
        except FileNotFoundError:
            return []
        return sorted(filter(RELEASE_NAME.fullmatch, names), key=lambda name: (sequence_of(name), name))

    def refusal(self, release: str) -> str | None:
        """Why a release was refused or rolled back; None when it was not."""
        return self._refusals.why(self.path_of(release).name)

    def refusals(self) -> dict[str, str]:
        """The releases that were refused or rolled back of late -> why."""
        return self._refusals.all()

    # -------------------------------------------------------------------------------------------- changing

    def install(self, members: Iterator[Member]) -> Installed:
        """Take a bundle in, whole or not at all; nothing is activated.

        Args:
            members: see `device.intake`.

        Raises:
            BundleError: it is not signed by whom this bin trusts, damaged, or not for this wastebin.
            ReleaseError: another upload is running, the disk is full, or it is older than what ran here.
        """
        with self._writing():
            self._make_folders()
            try:
                with hold(self.root / "incoming", wait=False):
                    return self._install(members)
            except BlockingIOError:
                raise ReleaseError(
                    f"{self.root / 'incoming'}: another upload is running; try again when it has ended"
                ) from None

    def begin_trial(self, release: str) -> State:
        """Let a release serve on trial, from now on and after any power cut; what serves already is no change.

        Raises:
            BundleError: it is not what was signed.
            ReleaseError: no such release, another one is on trial, or it is older than what ran here.
        """

        def step(state: State) -> State:
            # While nobody else may change the store, so that the release is not removed in between.
            return begin_trial(state, release, allow_downgrade=self.verify(release).manifest.allow_downgrade)

        return self._change(step)

    def note_try(self) -> State:
        """Count a start, at each of them and before a model is loaded; finishes what a power cut interrupted.

        Returns:
            The state that holds: with a trial that has one try fewer, or that was rolled back for want of tries.

        Raises:
            ReleaseError: it cannot be written down, so that a release on trial must not be started.
        """
        return self._change(note_try)

    def give_back_try(self, release: str) -> State:
        """Uncount a start that ended on purpose, while the release on trial did well.

        Raises:
            ReleaseError: it cannot be written down; the start stays counted.
        """
        return self._change(lambda state: give_back_try(state, release))

    def check_trial(self, release: str) -> None:
        """Whether `begin_trial` would be refused, as far as can be known before; nothing is changed.

        Raises:
            BundleError, ReleaseError: it would be.
        """
        bundle = self.verify(release)
        begin_trial(self.read_state(), release, allow_downgrade=bundle.manifest.allow_downgrade)

    def commit(self, release: str) -> State:
        """The release on trial has proved itself; certain at return.

        Raises:
            ReleaseError: it is not on trial (any more).
        """
        return self._change(lambda state: commit(state, release))

    def roll_back(self, reason: str, release: str | None = None) -> State:
        """Go back to what ran before; the reason is kept.

        Args:
            reason: one sentence.
            release: go back only if this one serves; None goes back from whatever serves.

        Raises:
            ReleaseError: nothing is behind what serves, or another one serves.
        """

        def step(state: State) -> State:
            if release is not None and release != state.serving:
                raise ReleaseError(
                    f"{release}: cannot be rolled back, since {state.serving or 'the factory model'} runs"
                )
            return roll_back(state, reason)

        return self._change(step)

    def refuse(self, release: str, reason: str) -> None:
        """Write down why a release is not put on trial; the state does not change."""
        with self._writing():
            self._make_folders()
            with hold(self.root, wait=True):
                self._refusals.write(self.path_of(release).name, reason, wall_s=self._wall())

    # --------------------------------------------------------------------------------------------- parts

    def _install(self, members: Iterator[Member]) -> Installed:
        """The part of `install` that holds `incoming/`: what lies there is nobody else's."""
        incoming = self.root / "incoming"
        for debris in sorted(incoming.iterdir()):
            remove_tree(self._files, debris)
        head = read_head(members, self.allowed_signers)
        if self._is_whole(head.release):
            return Installed(head.release, already=True)
        refuse_replay(self.read_state(), head.release, allow_downgrade=head.manifest.allow_downgrade)
        free, needed = self._free_bytes(self.root), 3 * head.size + RESERVE_BYTES
        if free < needed:
            raise ReleaseError(f"{self.root}: {free >> 20} MiB free, expected {needed >> 20}; remove something else")
        staged = incoming / head.release
        try:
            write_members(self._files, staged, head, members)
            load_bundle(staged)
            with hold(self.root, wait=True):
                state = self.read_state()
                refuse_replay(state, head.release, allow_downgrade=head.manifest.allow_downgrade)
                self._collect_garbage(state, head.release)
                move(self._files, staged, self.path_of(head.release))
        except BaseException:
            remove_tree(self._files, staged)
            raise
        return Installed(head.release, already=False)

    def _is_whole(self, release: str) -> bool:
        try:
            self.verify(release)
        except (BundleError, ReleaseError):
            return False
        return True

    def _collect_garbage(self, state: State, arriving: str) -> None:
        """Remove what nothing leads to any more, and a damaged predecessor of the release that arrives."""
        serving = {state.serving, state.way_back, state.current, state.previous}
        waiting = [
            release
            for release in self.releases()
            if sequence_of(release) > state.highest_seq and self._refusals.why(release) is None
        ]
        keep = serving.union(waiting[-WAITING_KEPT:]) - {arriving}
        for release in self.releases():
            if release not in keep:
                # Out of the way first: a release that is half removed must not be taken for one.
                gone = self.root / "incoming" / f"{release}.gone"
                move(self._files, self.path_of(release), gone)
                remove_tree(self._files, gone)
        self._refusals.prune()

    def _change(self, step: Callable[[State], State]) -> State:
        """One step of the state, durable at return, with all that follows from it."""
        if not self.root.is_dir():
            return step(self.read_state())  # the factory model: every step without a release is none, or raises
        with self._writing(), hold(self.root, wait=True):
            old = self.read_state()
            new = step(old)
            if new != old:
                new = replace(new, changed_at=iso_utc(self._wall()), boot_id=read_boot_id())
                replace_file(self._files, self.root / "state.json", (json.dumps(asdict(new), indent=1) + "\n").encode())
            self._follow(new, must_sync=new != old)
            return new

    def _follow(self, state: State, *, must_sync: bool) -> None:
        """Let links and refusals say what the state says; whatever a power cut interrupted is finished here."""
        for name, release in (("previous", state.way_back), ("current", state.serving)):
            replace_link(self._files, self.root / name, None if release is None else f"releases/{release}")
        if must_sync:
            self._files.sync(self.root)
        if state.release is None:
            return
        if state.phase == "rolled_back" and self._refusals.why(state.release) != state.reason:
            self._refusals.write(state.release, state.reason, wall_s=self._wall())
        elif state.phase == "committed":
            self._refusals.forget(state.release)

    def _link(self, name: str) -> str | None:
        """The release that a link names; None where there is no link."""
        try:
            found = Path(os.readlink(self.root / name)).name
        except OSError:
            return None
        return found if RELEASE_NAME.fullmatch(found) else None

    def _make_folders(self) -> None:
        own = (self.root / name for name in ("incoming", "releases", "refused"))
        missing = [folder for folder in (*reversed(self.root.parents), self.root, *own) if not folder.is_dir()]
        for folder in missing:
            self._files.make_folder(folder)
        for parent in dict.fromkeys(folder.parent for folder in missing):
            self._files.sync(parent)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the disk refuses into a sentence."""
        try:
            yield
        except (BundleError, ReleaseError):
            raise  # some of them are an OSError as well
        except OSError as exc:
            raise ReleaseError(
                f"{exc.filename or self.root}: {exc.strerror or exc}; "
                "expected a disk with room, and a folder that this user may write"
            ) from exc
