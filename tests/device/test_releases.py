"""A release is tried, kept or given up; nothing that works is given up before something better has proved itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from signed import FIRST, make_key, members_of, signed_bundle, tar_of, tree
from stores import T0, flip, install, new_store, open_store, prove, ten_bundles

from device.bundle import Bundle, factory_bundle_path
from device.errors import BundleMismatch, BundleUntrusted, ReleaseError
from device.release_list import Release, list_releases
from device.release_state import State
from device.releases import ReleaseStore


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "trainer")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, key: Path) -> list[Bundle]:
    """Not to be changed by a test."""
    return ten_bundles(tmp_path_factory.mktemp("shipped"), key)


@pytest.fixture
def store(tmp_path: Path, key: Path) -> ReleaseStore:
    return new_store(tmp_path, key)


def known(state: State) -> State:
    """The state without what changes from run to run."""
    return replace(state, boot_id="")


def links(store: ReleaseStore) -> dict[str, str | None]:
    return {
        name: str((store.root / name).readlink()) if (store.root / name).is_symlink() else None
        for name in ("current", "previous")
    }


# Replay


def test_what_is_older_than_what_ran_here_is_refused_at_the_door(store: ReleaseStore, shipped: list[Bundle]) -> None:
    prove(store, shipped[5])
    before = tree(store.root)
    with pytest.raises(ReleaseError, match=f"sequence {T0 + 4} is older than {T0 + 5}, which ran here"):
        store.install(members_of(tar_of(shipped[4].path, FIRST)))  # told before the rest has to come
    assert tree(store.root) == before


def test_what_was_installed_in_time_cannot_be_tried_too_late(store: ReleaseStore, shipped: list[Bundle]) -> None:
    older = install(store, shipped[4])
    prove(store, shipped[5])
    with pytest.raises(ReleaseError, match="is older than"):
        store.begin_trial(older)


def test_a_roll_back_does_not_open_the_door_for_a_replay(store: ReleaseStore, shipped: list[Bundle]) -> None:
    prove(store, shipped[3])
    prove(store, shipped[5])
    store.roll_back("asked for")
    with pytest.raises(ReleaseError, match="is older than"):
        install(store, shipped[4])
    store.begin_trial(shipped[5].version)


def test_a_trial_that_failed_does_not_count_as_run(store: ReleaseStore, shipped: list[Bundle]) -> None:
    newer = install(store, shipped[5])
    store.begin_trial(newer)
    store.roll_back("slow")
    prove(store, shipped[4])


def test_a_downgrade_that_was_signed_is_taken(
    tmp_path: Path, store: ReleaseStore, shipped: list[Bundle], key: Path
) -> None:
    prove(store, shipped[5])
    older = signed_bundle(tmp_path / "older", key, T0 + 1, allow_downgrade=True)
    prove(store, older)
    assert (store.read_state().serving, store.read_state().highest_seq) == (older.version, T0 + 5)


# Trial, commit, roll-back


def test_a_release_on_trial_serves_and_what_ran_before_is_the_way_back(
    store: ReleaseStore, shipped: list[Bundle]
) -> None:
    first, second = prove(store, shipped[0]), install(store, shipped[1])
    state = store.begin_trial(second)
    assert known(state) == State(
        phase="trial", release=second, current=first, previous=None, tries_left=3, highest_seq=T0,
        changed_at="1970-01-01T00:00:00.000+00:00",
    )  # fmt: skip
    assert (state.serving, state.way_back, store.choices(state)) == (second, first, [second, first, None])
    assert links(store) == {"current": f"releases/{second}", "previous": f"releases/{first}"}
    assert store.read_state() == open_store(store.root.parent).read_state() == state
    assert len(state.boot_id) == 36


def test_a_release_that_proved_itself_is_committed(store: ReleaseStore, shipped: list[Bundle]) -> None:
    first, second = prove(store, shipped[0]), prove(store, shipped[1])
    state = store.read_state()
    assert known(state) == State(
        phase="committed", release=second, current=second, previous=first, highest_seq=T0 + 1,
        changed_at="1970-01-01T00:00:00.000+00:00",
    )  # fmt: skip
    assert links(store) == {"current": f"releases/{second}", "previous": f"releases/{first}"}


def test_a_release_that_fails_is_rolled_back_and_the_reason_kept(store: ReleaseStore, shipped: list[Bundle]) -> None:
    first, second = prove(store, shipped[0]), install(store, shipped[1])
    store.begin_trial(second)
    state = store.roll_back("10 times slower", second)
    assert known(state) == State(
        phase="rolled_back", release=second, current=first, previous=None, reason="10 times slower", highest_seq=T0,
        changed_at="1970-01-01T00:00:00.000+00:00",
    )  # fmt: skip
    assert links(store) == {"current": f"releases/{first}", "previous": None}
    assert (store.refusal(second), store.refusal(first)) == ("10 times slower", None)
    assert json.loads((store.root / "refused" / f"{second}.json").read_text()) == {
        "release": second, "reason": "10 times slower", "at": "1970-01-01T00:00:00.000+00:00",
    }  # fmt: skip


def test_a_first_release_that_fails_leaves_the_factory_model(store: ReleaseStore, shipped: list[Bundle]) -> None:
    store.begin_trial(install(store, shipped[0]))
    state = store.roll_back("slow")
    assert (state.serving, state.way_back, store.choices(state)) == (None, None, [None])
    assert (links(store), store.path_of(state.serving)) == ({"current": None, "previous": None}, factory_bundle_path())


def test_a_release_that_failed_may_be_tried_again_and_then_counts_as_good(
    store: ReleaseStore, shipped: list[Bundle]
) -> None:
    release = install(store, shipped[0])
    store.begin_trial(release)
    store.roll_back("the camera was unplugged")
    assert store.begin_trial(release).tries_left == 3
    store.commit(release)
    assert (store.refusal(release), store.read_state().serving) == (None, release)


def test_a_person_may_go_back_twice(store: ReleaseStore, shipped: list[Bundle]) -> None:
    first, second = prove(store, shipped[0]), prove(store, shipped[1])
    assert known(store.roll_back("asked for")).serving == first
    assert links(store) == {"current": f"releases/{first}", "previous": None}
    assert store.refusal(second) == "asked for"
    assert store.roll_back("asked for").serving is None
    with pytest.raises(ReleaseError, match="the factory model runs, and nothing is behind it"):
        store.roll_back("asked for")


def test_a_roll_back_of_another_release_than_the_one_that_runs_is_refused(
    store: ReleaseStore, shipped: list[Bundle]
) -> None:
    first, second = prove(store, shipped[0]), prove(store, shipped[1])
    with pytest.raises(ReleaseError, match=f"{first}: cannot be rolled back, since {second} runs"):
        store.roll_back("slow", first)


def test_each_start_of_a_trial_is_counted_and_the_fourth_rolls_back(store: ReleaseStore, shipped: list[Bundle]) -> None:
    first, second = prove(store, shipped[0]), install(store, shipped[1])
    store.begin_trial(second)
    assert [store.note_try().tries_left for _ in range(3)] == [2, 1, 0]
    state = store.note_try()
    assert (state.phase, state.serving) == ("rolled_back", first)
    assert store.refusal(second) == state.reason == "it was started 3 times and did not prove itself in any"


def test_starts_outside_of_a_trial_change_nothing(store: ReleaseStore, shipped: list[Bundle]) -> None:
    assert store.note_try() == State()
    assert not store.root.exists()
    prove(store, shipped[0])
    before = tree(store.root)
    assert store.note_try() == store.read_state()
    assert tree(store.root) == before


def test_steps_that_were_done_already_change_nothing(store: ReleaseStore, shipped: list[Bundle]) -> None:
    release = install(store, shipped[0])
    store.begin_trial(release)
    store.note_try()
    before = tree(store.root)
    assert store.begin_trial(release).tries_left == 2
    assert tree(store.root) == before
    store.commit(release)
    before = tree(store.root)
    store.commit(release)
    assert store.begin_trial(release).phase == "committed"
    assert tree(store.root) == before


def test_one_trial_at_a_time(store: ReleaseStore, shipped: list[Bundle]) -> None:
    first, second = install(store, shipped[0]), install(store, shipped[1])
    store.begin_trial(first)
    with pytest.raises(ReleaseError, match=f"{second}: cannot be tried while {first} is on trial; wait for its end"):
        store.begin_trial(second)


def test_only_what_is_on_trial_is_committed(store: ReleaseStore, shipped: list[Bundle]) -> None:
    first, second = prove(store, shipped[0]), install(store, shipped[1])
    with pytest.raises(ReleaseError, match=f"{second}: cannot be committed, since {first} is committed"):
        store.commit(second)
    store.begin_trial(second)
    store.roll_back("slow")
    with pytest.raises(ReleaseError, match=f"{second}: cannot be committed, since {second} was rolled back: slow"):
        store.commit(second)


def test_a_release_that_is_no_longer_what_was_signed_is_not_tried(store: ReleaseStore, shipped: list[Bundle]) -> None:
    release = install(store, shipped[0])
    flip(store.path_of(release) / "model.onnx", 100)
    before = tree(store.root)
    with pytest.raises(BundleMismatch, match=r"model\.onnx: SHA-256"):
        store.begin_trial(release)
    assert tree(store.root) == before


def test_a_release_whose_signer_is_no_longer_trusted_is_not_tried(store: ReleaseStore, shipped: list[Bundle]) -> None:
    release = install(store, shipped[0])
    store.allowed_signers.write_text("")
    with pytest.raises(BundleUntrusted):
        store.begin_trial(release)


@pytest.mark.parametrize("name", ["", "..", "nano", "../../etc", "1-0123456789ab/", "1-0123456789AB"])
def test_what_cannot_be_a_release_is_no_path(store: ReleaseStore, name: str) -> None:
    for ask in (store.path_of, store.verify, store.begin_trial, store.refusal, lambda n: store.refuse(n, "why")):
        with pytest.raises(ReleaseError, match="no name of a release, expected one that"):
            ask(name)
    assert not store.root.parent.joinpath("models", "refused", ".json").exists()


def test_a_release_that_is_not_there_is_told(store: ReleaseStore) -> None:
    with pytest.raises(ReleaseError, match="no such release; ship it again"):
        store.begin_trial("1790000000-0123456789ab")


def test_a_release_under_another_ones_name_is_refused(store: ReleaseStore, shipped: list[Bundle]) -> None:
    release = install(store, shipped[0])
    wrong = release[:-1] + ("0" if release[-1] != "0" else "1")
    store.path_of(release).rename(store.path_of(wrong))
    with pytest.raises(BundleMismatch, match=f"{wrong}: holds {release}"):
        store.verify(wrong)


# What is kept


def test_current_previous_and_the_newest_that_wait_are_kept(store: ReleaseStore, shipped: list[Bundle]) -> None:
    names = [prove(store, bundle) for bundle in shipped[:3]]
    names += [install(store, bundle) for bundle in shipped[3:9]]
    assert sorted(path.name for path in (store.root / "releases").iterdir()) == [*names[1:3], *names[5:]]


def test_a_release_that_was_refused_makes_room(store: ReleaseStore, shipped: list[Bundle]) -> None:
    first, second = install(store, shipped[0]), install(store, shipped[1])
    store.refuse(first, "it answers NaN")
    assert store.read_state() == State()
    install(store, shipped[2])
    assert sorted(path.name for path in (store.root / "releases").iterdir()) == [second, shipped[2].version]
    assert store.refusal(first) == "it answers NaN"


def test_of_many_refusals_the_newest_are_kept(store: ReleaseStore, shipped: list[Bundle]) -> None:
    names = [f"{number}-0123456789ab" for number in range(90, 112)]
    for name in names:
        store.refuse(name, "slow")
    install(store, shipped[0])
    assert [name for name in names if store.refusal(name)] == names[2:]


def test_the_list_says_what_each_release_is(store: ReleaseStore, shipped: list[Bundle]) -> None:
    names = [prove(store, shipped[0]), prove(store, shipped[1]), install(store, shipped[2]), install(store, shipped[3])]
    store.refuse(names[2], "slow")
    assert list_releases(store) == [
        Release(names[3], "mean-colour", "2026-09-21T14:13:23Z", "", ""),
        Release(names[2], "mean-colour", "2026-09-21T14:13:22Z", "", "slow"),
        Release(names[1], "mean-colour", "2026-09-21T14:13:21Z", "current", ""),
        Release(names[0], "mean-colour", "2026-09-21T14:13:20Z", "previous", ""),
    ]
    store.begin_trial(names[3])
    (store.path_of(names[2]) / "manifest.json").unlink()
    assert [(release.role, release.problem[-40:]) for release in list_releases(store)] == [
        ("trial", ""),
        ("", "; name the folder of a bundle, such as models/nano"[-40:]),
        ("previous", ""),
        ("", ""),
    ]


def test_nothing_shipped_is_the_factory_model(store: ReleaseStore) -> None:
    assert (store.read_state(), list_releases(store)) == (State(), [])
    assert not store.root.exists()
    with pytest.raises(ReleaseError, match="the factory model runs"):
        store.roll_back("asked for")
    assert not store.root.exists()


# A state that cannot be read


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 bytes that are not JSON"),
        (b"\xff{", "2 bytes that are not JSON"),
        (b"[" * 100_000, "100000 bytes that are not JSON"),
        (b"[]", "its content is [], expected a table"),
        (b'{"phase": "trail", "release": "1-0123456789ab"}', "its values cannot be"),
        (b'{"schema": 2}', "its values cannot be"),
        (b'{"phase": "trial"}', "its values cannot be"),
        (b'{"phase": "committed", "release": "1-0123456789ab"}', "its values cannot be"),
        (b'{"phase": "trial", "release": "../../home"}', "its values cannot be"),
        (b'{"phase": "trial", "release": "1-0123456789ab", "tries_left": 99}', "its values cannot be"),
        (b'{"tries": 1}', "unknown key"),
    ],
)
def test_a_damaged_state_leaves_what_the_links_say(
    store: ReleaseStore, shipped: list[Bundle], content: bytes, problem: str
) -> None:
    first, second = prove(store, shipped[0]), prove(store, shipped[1])
    (store.root / "state.json").write_bytes(content)
    state = store.read_state()
    assert replace(state, reason="") == State(current=second, previous=first, highest_seq=T0 + 1)
    assert state.reason.startswith(f"{store.root / 'state.json'}: ")
    assert problem in state.reason
    prove(store, shipped[2])
    assert store.read_state().previous == second


def test_links_to_elsewhere_count_as_none(store: ReleaseStore) -> None:
    store.root.mkdir()
    (store.root / "state.json").touch()
    (store.root / "current").symlink_to("/etc/passwd")
    assert replace(store.read_state(), reason="") == State()


def test_a_start_finishes_links_and_refusals_that_a_power_cut_left_behind(
    store: ReleaseStore, shipped: list[Bundle]
) -> None:
    first, second = prove(store, shipped[0]), install(store, shipped[1])
    store.begin_trial(second)
    store.roll_back("slow")
    whole = tree(store.root)
    (store.root / "current").unlink()
    (store.root / ".current.new").symlink_to("debris")
    (store.root / "previous").symlink_to(f"releases/{second}")
    (store.root / "refused" / f"{second}.json").unlink()
    (store.root / ".state.json.new").write_bytes(b"torn")
    store.note_try()
    left = tree(store.root)
    left.pop(".state.json.new")
    assert left == whole
    assert (store.read_state().serving, store.refusal(second)) == (first, "slow")
