"""A release is asked for in one place and tried in another; the state on disk is all that lies between them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from signed import Unsynced, make_key, members_of, signed_bundle, signer_line, tar_of, tree

from device.activate import activate, follow
from device.config import load_config
from device.config_types import Config, ModelConfig
from device.errors import BundleMismatch, BundleRefused, ReleaseError
from device.release_state import State
from device.releases import ReleaseStore

NAME, OTHER = "1790000000-0123456789ab", "1790000001-0123456789ab"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(None, environ={"HOME": str(tmp_path)})


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "models", tmp_path / "allowed_signers", files=Unsynced())


@pytest.fixture
def release(tmp_path: Path, store: ReleaseStore) -> str:
    key = make_key(tmp_path / "key")
    store.allowed_signers.write_text(signer_line(key))
    return store.install(members_of(tar_of(signed_bundle(tmp_path / "b", key, 1_790_000_000).path))).release


class Probe:
    """Says yes, or no with this sentence; keeps what it was asked."""

    def __init__(self, no: str = "") -> None:
        self.no = no
        self.asked: list[str] = []

    def __call__(self, store: ReleaseStore, release: str, config: Config) -> None:
        self.asked.append(release)
        if self.no:
            raise BundleRefused(self.no)


def test_a_release_that_the_probe_finds_good_goes_on_trial(store: ReleaseStore, release: str, config: Config) -> None:
    probe = Probe()
    state = activate(store, release, config, probe)
    assert (state.phase, state.serving, state.tries_left, probe.asked) == ("trial", release, 3, [release])
    assert store.read_state() == state


def test_a_release_that_the_probe_refuses_changes_nothing_but_the_record(
    store: ReleaseStore, release: str, config: Config
) -> None:
    before = tree(store.root)
    with pytest.raises(BundleRefused, match="ten times slower"):
        activate(store, release, config, Probe("ten times slower"))
    after = tree(store.root)
    after.pop(f"refused/{release}.json")
    assert (after, store.refusal(release)) == (before, "ten times slower")


def test_what_serves_already_is_not_probed_again(store: ReleaseStore, release: str, config: Config) -> None:
    activate(store, release, config, Probe())
    store.note_try()
    probe = Probe("never asked")
    assert activate(store, release, config, probe).tries_left == 2
    store.commit(release)
    assert activate(store, release, config, probe).phase == "committed"
    assert probe.asked == []


def test_what_cannot_go_on_trial_is_not_probed(store: ReleaseStore, release: str, config: Config) -> None:
    probe = Probe()
    with pytest.raises(ReleaseError, match="no such release"):
        activate(store, OTHER, config, probe)
    (store.path_of(release) / "card.md").write_text("a card may change")
    (store.path_of(release) / "model.onnx").write_bytes(b"torn")
    with pytest.raises(BundleMismatch):
        activate(store, release, config, probe)
    assert (probe.asked, store.read_state()) == ([], State())


def test_a_bin_whose_model_a_person_has_named_takes_no_other(store: ReleaseStore, release: str, config: Config) -> None:
    probe = Probe()
    named = replace(config, file=Path("bin.toml"), model=ModelConfig(Path("mine")))
    with pytest.raises(ReleaseError, match=r"bin.toml: \[model\].path names mine, expected nothing there"):
        activate(store, release, named, probe)
    assert (probe.asked, store.read_state()) == ([], State())


TRIAL = State(phase="trial", release=NAME, tries_left=3)
TRIED = replace(TRIAL, tries_left=2)
COMMITTED = State(phase="committed", release=NAME, current=NAME)
BACK = State(phase="rolled_back", release=NAME, reason="it answers NaN")
OTHER_ONE = State(phase="trial", release=OTHER, tries_left=3)


class Clock:
    """Time passes only when somebody pauses."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += seconds


def followed(states: Iterable[State], wait_s: float = 60.0) -> tuple[list[State], str, float]:
    """What was told, how it ended, and how long that took."""
    script, clock, told = iter(states), Clock(), []
    try:
        for state in follow(lambda: next(script), NAME, wait_s=wait_s, clock=clock, pause=clock.pause):
            told.append(state)  # noqa: PERF402
    except ReleaseError as error:
        return told, str(error), clock.now_s - 100.0
    return told, "", clock.now_s - 100.0


def test_each_change_is_told_once_and_a_commit_is_the_end() -> None:
    assert followed([TRIAL, TRIAL, TRIED, TRIED, TRIED, COMMITTED]) == ([TRIAL, TRIED, COMMITTED], "", 2.5)


def test_what_is_committed_already_ends_at_once() -> None:
    assert followed([COMMITTED]) == ([COMMITTED], "", 0.0)


def test_what_runs_although_a_later_one_failed_ends_well() -> None:
    state = State(phase="rolled_back", release=OTHER, current=NAME, reason="slow")
    assert followed([state]) == ([state], "", 0.0)


def test_a_roll_back_ends_with_its_reason() -> None:
    assert followed([TRIAL, BACK])[:2] == (
        [TRIAL, BACK],
        f"{NAME}: not in use, since {NAME} was rolled back: it answers NaN",
    )


def test_another_trial_in_its_place_ends_it() -> None:
    assert followed([TRIAL, OTHER_ONE])[1] == f"{NAME}: not in use, since {OTHER} is on trial, 3 tries left"


def test_a_trial_without_end_is_left_to_the_bin() -> None:
    told, error, took_s = followed([TRIAL] * 1000, wait_s=10.0)
    assert (told, took_s) == ([TRIAL], 10.0)
    assert error == (
        f"{NAME}: still on trial after 10 s, 3 tries left; it goes on without you, see `wastebin models status`"
    )
