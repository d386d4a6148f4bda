"""kill -9 at random moments of taking in, trying, keeping and going back: the old model or the new, never a third.

As ostree's tests interrupt it (tests/inst/src/destructive.rs): at moments drawn uniformly over a measured time, and
after each the next start must find everything whole. Real files, real locks, real ssh-keygen, one process a kill.
"""

import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest
from signed import make_key, members_of, signed_bundle, signer_line, tar_of

from device.bundle import load_bundle
from device.durable import Files
from device.release_state import State
from device.releases import ReleaseStore

T0 = 1_790_000_000
KILLS = 220
SEED = 4
ENDED = "it was only a test"
USED_UP = "it was started 3 times and did not prove itself in any"


class Slow(Files):
    """Writes in small pieces, so that a process is killed within a file as well."""

    def write(self, path: Path, chunks: object) -> None:
        data = b"".join(chunks)  # type: ignore[arg-type]
        super().write(path, (data[at : at + 64] for at in range(0, len(data), 64)))


def one_life(root: Path, tar: bytes, release: str, must_keep: bool) -> None:
    """Take a release in, try it, keep it or go back; whatever an earlier life has done already is no error."""
    store = ReleaseStore(root / "models", root / "allowed_signers", files=Slow())
    store.note_try()
    store.install(members_of(tar))
    store.begin_trial(release)
    if store.note_try().serving != release:  # the lives before have used its tries up
        store.begin_trial(release)
    if must_keep:
        store.commit(release)
    else:
        store.roll_back(ENDED, release)


def live(kill_after_s: float | None, *arguments: object) -> tuple[bool, float]:
    """Run a life, perhaps kill it; whether it came to its end, and how long it took."""
    # A server that has everything imported already forks each life in milliseconds.
    process = multiprocessing.get_context("forkserver").Process(target=one_life, args=arguments)
    began_s = time.monotonic()
    process.start()
    process.join(kill_after_s)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"a life ended by itself with {process.exitcode}"
    return process.exitcode == 0, time.monotonic() - began_s


def whole_names(store: ReleaseStore) -> list[str]:
    return [release for release in store.releases() if load_bundle(store.path_of(release)).version == release]


def check(store: ReleaseStore, before: State, release: str) -> State:
    """What must hold after each kill, and what the next start makes of it."""
    state = store.read_state()
    assert whole_names(store) == store.releases()
    assert {state.serving, state.way_back} <= {*store.releases(), None}
    assert state.current in (before.current, release)
    assert state.highest_seq in (before.highest_seq, int(release.partition("-")[0]))
    assert state.reason in ("", before.reason, ENDED, USED_UP)
    started = store.note_try()
    current = store.root / "current"
    assert (current.readlink().name if current.is_symlink() else None) == started.serving
    return started


@pytest.mark.slow
def test_two_hundred_kills_leave_the_old_model_or_the_new(tmp_path: Path) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["device.releases", "signed"])
    rng = random.Random(SEED)
    key = make_key(tmp_path / "key")
    (tmp_path / "allowed_signers").write_text(signer_line(key))
    store = ReleaseStore(tmp_path / "models", tmp_path / "allowed_signers")
    kills = releases = 0
    life_s: float | None = None  # the first one is measured
    while kills < KILLS:
        bundle = signed_bundle(tmp_path / str(releases), key, T0 + releases)
        releases += 1
        before, must_keep = store.read_state(), rng.random() < 0.6
        arguments = (tmp_path, tar_of(bundle.path), bundle.version, must_keep)
        is_over = False
        while not is_over:
            kill_after_s = None if life_s is None else rng.uniform(0, 1.1 * life_s)
            is_over, took_s = live(kill_after_s, *arguments)
            if is_over:
                life_s = took_s if life_s is None else min(life_s, took_s)
            else:
                kills += 1
                # On a machine that became slower meanwhile, no life would ever come to its end.
                life_s = None if kills % 40 == 0 else life_s
                check(store, before, bundle.version)
        state = store.read_state()
        kept = ("committed", bundle.version)
        assert (state.phase, state.serving) == (kept if must_keep else ("rolled_back", before.current))
        assert must_keep or state.reason == ENDED
    print(f"{kills} kills, {releases} releases")
