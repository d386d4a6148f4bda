"""The store takes a bundle whole or not at all, and gives nothing up before something better has proved itself."""

import errno
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import rewrite
from signed import FIRST, Unsynced, make_key, members_of, sign, signed_bundle, signer_line, tar_of, tree

from device.bundle import Bundle, factory_bundle_path
from device.durable import Files, hold
from device.errors import BundleError, BundleMismatch, BundleNotFound, BundleUntrusted, ReleaseError
from device.intake import read_folder
from device.release_list import Release, list_releases
from device.release_state import State
from device.releases import Installed, ReleaseStore

T0 = 1_790_000_000
ROOMY = 1 << 40


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "trainer")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, key: Path) -> list[Bundle]:
    """Ten signed bundles, each newer than the one before; never changed by a test."""
    folder = tmp_path_factory.mktemp("shipped")
    return [signed_bundle(folder / str(number), key, T0 + number) for number in range(10)]


@pytest.fixture
def store(tmp_path: Path, key: Path) -> ReleaseStore:
    (tmp_path / "allowed_signers").write_text(signer_line(key))
    return open_store(tmp_path)


def open_store(tmp_path: Path, files: Files | None = None, free_bytes: int = ROOMY) -> ReleaseStore:
    return ReleaseStore(
        tmp_path / "models",
        tmp_path / "allowed_signers",
        files=files or Unsynced(),
        wall=lambda: 0.0,
        free_bytes=lambda path: free_bytes,
    )


@pytest.fixture
def copy(tmp_path: Path, shipped: list[Bundle], key: Path) -> Path:
    """A signed bundle that a test may damage."""
    return signed_bundle(tmp_path / "copy", key, T0 + 50).path


def install(store: ReleaseStore, bundle: Bundle) -> str:
    return store.install(members_of(tar_of(bundle.path))).release


def prove(store: ReleaseStore, bundle: Bundle) -> str:
    """Install, try and commit."""
    release = install(store, bundle)
    store.begin_trial(release)
    store.note_try()
    store.commit(release)
    return release


def known(state: State) -> State:
    """The state without what changes from run to run."""
    return replace(state, boot_id="")


def links(store: ReleaseStore) -> dict[str, str | None]:
    return {
        name: str((store.root / name).readlink()) if (store.root / name).is_symlink() else None
        for name in ("current", "previous")
    }


# Taking a bundle in


def test_an_upload_becomes_a_release_that_is_the_same_bytes(store: ReleaseStore, shipped: list[Bundle]) -> None:
    bundle = shipped[0]
    assert store.install(members_of(tar_of(bundle.path))) == Installed(bundle.version, already=False)
    assert tree(store.root / "releases" / bundle.version) == tree(bundle.path)
    assert sorted(tree(store.root)) == sorted(
        ["incoming", "refused", "releases", f"releases/{bundle.version}"]
        + [f"releases/{bundle.version}/{name}" for name in tree(bundle.path)]
    )
    assert store.read_state() == State()


def test_a_folder_is_taken_as_well(store: ReleaseStore, shipped: list[Bundle]) -> None:
    assert store.install(read_folder(shipped[0].path)) == Installed(shipped[0].version, already=False)
    assert tree(store.root / "releases" / shipped[0].version) == tree(shipped[0].path)


def test_what_is_there_is_not_taken_again(store: ReleaseStore, shipped: list[Bundle]) -> None:
    install(store, shipped[0])
    before = tree(store.root)
    head_only = members_of(tar_of(shipped[0].path, FIRST))
    assert store.install(head_only) == Installed(shipped[0].version, already=True)
    assert tree(store.root) == before


def test_a_release_that_is_damaged_is_taken_again(store: ReleaseStore, shipped: list[Bundle]) -> None:
    release = install(store, shipped[0])
    (store.path_of(release) / "model.onnx").write_bytes(b"torn")
    assert store.install(members_of(tar_of(shipped[0].path))) == Installed(release, already=False)
    assert tree(store.path_of(release)) == tree(shipped[0].path)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        (lambda p: flip(p / "model.onnx", 100), (BundleMismatch, "model.onnx: SHA-256")),
        (lambda p: flip(p / "golden.npz", -1), (BundleMismatch, "golden.npz: SHA-256")),
        (lambda p: flip(p / "manifest.json", 20), (BundleUntrusted, "the signature does not fit")),
        (lambda p: flip(p / "manifest.json.sig", 60), (BundleUntrusted, "manifest.json: ")),
        (lambda p: (p / "model.onnx").write_bytes(b"short"), (BundleMismatch, "model.onnx has 5 bytes, but manifest")),
        (lambda p: (p / "evil.py").touch(), (BundleMismatch, "upload: 'evil.py' is not listed in manifest.json")),
        (lambda p: (p / "card.md").write_bytes(bytes(2 << 20)), (BundleMismatch, "card.md has 2097152 bytes")),
        (lambda p: (p / "model.onnx").unlink(), (BundleNotFound, "model.onnx: missing, but manifest.json lists it")),
        (lambda p: rewrite(p, lambda table: table.update(sequence=1)), (BundleUntrusted, "the signature does not fit")),
        (lambda p: (p / "manifest.json").write_bytes(bytes(5 << 20)), (BundleMismatch, "manifest.json has 5242880 b")),
        (lambda p: (p / "manifest.json.sig").write_bytes(bytes(1 << 20)), (BundleUntrusted, "sig has 1048576 bytes")),
    ],
)  # fmt: skip
def test_a_damaged_bundle_is_refused_and_the_store_stays_byte_for_byte(
    store: ReleaseStore,
    shipped: list[Bundle],
    copy: Path,
    damage: Callable[[Path], object],
    refusal: tuple[type[BundleError], str],
) -> None:
    prove(store, shipped[0])
    before = tree(store.root)
    damage(copy)
    error, sentence = refusal
    with pytest.raises(error, match=sentence):
        store.install(members_of(tar_of(copy)))
    assert tree(store.root) == before
    with pytest.raises(error):
        store.install(read_folder(copy))
    assert tree(store.root) == before


@pytest.mark.parametrize("namespace", ["git", "file"])
def test_a_signature_for_something_else_is_refused(store: ReleaseStore, copy: Path, key: Path, namespace: str) -> None:
    sign(copy / "manifest.json", key, namespace)
    with pytest.raises(BundleUntrusted):
        store.install(members_of(tar_of(copy)))


def test_a_strangers_bundle_is_refused_before_anything_is_written(store: ReleaseStore, copy: Path) -> None:
    sign(copy / "manifest.json", make_key(copy.parent / "stranger"))
    with pytest.raises(BundleUntrusted, match="not signed by a key that"):
        store.install(members_of(tar_of(copy, FIRST)))


@pytest.mark.parametrize("names", [["model.onnx"], ["manifest.json", "model.onnx"], ["manifest.json"], []])
def test_an_unsigned_upload_is_refused(store: ReleaseStore, shipped: list[Bundle], names: list[str]) -> None:
    expected = "expected manifest.json.sig" if names[:1] == ["manifest.json"] else "expected manifest.json at"
    with pytest.raises(BundleError, match=expected):
        store.install(members_of(tar_of(shipped[0].path, names)))


def test_an_unsigned_folder_is_refused(store: ReleaseStore, copy: Path) -> None:
    (copy / "manifest.json.sig").unlink()
    with pytest.raises(BundleNotFound, match=r"manifest.json.sig: missing, expected a signed bundle"):
        store.install(read_folder(copy))


def test_an_upload_that_ends_early_is_refused_at_every_length(store: ReleaseStore, shipped: list[Bundle]) -> None:
    prove(store, shipped[0])
    before = tree(store.root)
    data = tar_of(shipped[1].path).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    for size in (*range(0, len(data), 509), len(data) - 1, len(data), len(data) + 512, len(data) + 1023):
        with pytest.raises(BundleError, match="the link was cut"):
            store.install(members_of((data + bytes(1024))[:size]))
        assert tree(store.root) == before
    assert store.install(members_of(data + bytes(1024))) == Installed(shipped[1].version, already=False)


def test_a_file_that_comes_twice_is_refused(store: ReleaseStore, shipped: list[Bundle]) -> None:
    for name in ("model.onnx", "card.md"):
        with pytest.raises(BundleMismatch, match=f"{name} came twice"):
            store.install(members_of(tar_of(shipped[0].path, [*FIRST, name, name])))


@pytest.mark.parametrize("name", FIRST)
def test_a_second_manifest_or_signature_is_refused(store: ReleaseStore, shipped: list[Bundle], name: str) -> None:
    with pytest.raises(BundleMismatch, match=f"'{name}' is not listed"):
        store.install(members_of(tar_of(shipped[0].path, [*FIRST, name])))


def hostile(kind: bytes, name: str, *, size: int = 0, target: str = "") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, target
    return entry.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (hostile(tarfile.SYMTYPE, "model.onnx", target="/etc/passwd"), "'model.onnx' is no plain file"),
        (hostile(tarfile.LNKTYPE, "model.onnx", target="card.md"), "'model.onnx' is no plain file"),
        (hostile(tarfile.DIRTYPE, "model.onnx"), "is no plain file"),
        (hostile(tarfile.FIFOTYPE, "model.onnx"), "'model.onnx' is no plain file"),
        (hostile(tarfile.CHRTYPE, "model.onnx"), "'model.onnx' is no plain file"),
        (hostile(tarfile.GNUTYPE_SPARSE, "model.onnx"), "'model.onnx' is no plain file"),
        (hostile(tarfile.XHDTYPE, "model.onnx", size=1 << 32), "'model.onnx' is no plain file"),
        (hostile(tarfile.GNUTYPE_LONGNAME, "././@LongLink", size=1 << 32), "is no plain file"),
        (hostile(tarfile.REGTYPE, "../../evil"), "'../../evil' is not listed"),
        (hostile(tarfile.REGTYPE, "/etc/evil"), "'/etc/evil' is not listed"),
        (hostile(tarfile.REGTYPE, "./model.onnx"), "'./model.onnx' is not listed"),
        (hostile(tarfile.REGTYPE, "a" * 90 + "/" + "b" * 90), "is no plain file"),
        (hostile(tarfile.REGTYPE, "model.onnx", size=(1 << 33) - 1), "model.onnx has 8589934591 bytes, but"),
        (hostile(tarfile.REGTYPE, "model.onnx")[:148] + b"00000000" + bytes(356), "a header of the tar is damaged"),
        (b"\xff" * 512, "a header of the tar is damaged"),
    ],
)  # fmt: skip
def test_anything_but_plain_files_of_the_bundle_is_refused(
    store: ReleaseStore, shipped: list[Bundle], block: bytes, sentence: str
) -> None:
    install(store, shipped[0])
    before = tree(store.root.parent)
    head = tar_of(shipped[1].path, FIRST).rstrip(b"\0")
    data = head + bytes(-len(head) % 512) + block + bytes(4096)
    with pytest.raises(BundleMismatch, match=sentence):
        store.install(members_of(data))
    assert tree(store.root.parent) == before


def test_a_folder_with_a_link_in_it_is_refused(store: ReleaseStore, copy: Path) -> None:
    (copy / "model.onnx").rename(copy.parent / "elsewhere")
    (copy / "model.onnx").symlink_to(copy.parent / "elsewhere")
    with pytest.raises(BundleNotFound, match=r"model.onnx: cannot be read"):
        store.install(read_folder(copy))


def test_a_second_upload_is_told_that_one_is_running(store: ReleaseStore, shipped: list[Bundle]) -> None:
    install(store, shipped[0])
    before = tree(store.root)
    with hold(store.root / "incoming", wait=False), pytest.raises(ReleaseError, match="another upload is running"):
        install(store, shipped[1])
    assert tree(store.root) == before
    install(store, shipped[1])


def test_an_upload_needs_room_for_three_of_it_and_50_mib(
    tmp_path: Path, store: ReleaseStore, shipped: list[Bundle]
) -> None:
    needed = 3 * sum(entry.size for entry in shipped[0].manifest.files.values()) + (50 << 20)
    with pytest.raises(ReleaseError, match="49 MiB free, expected 50"):
        install(open_store(tmp_path, free_bytes=needed - 1 - (1 << 20)), shipped[0])
    with pytest.raises(ReleaseError, match="MiB free, expected"):
        install(open_store(tmp_path, free_bytes=needed - 1), shipped[0])
    install(open_store(tmp_path, free_bytes=needed), shipped[0])


class FullDisk(Unsynced):
    """Takes so many more bytes, and then none."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        data = b"".join(chunks)
        super().write(path, [data[: self.room_bytes]])
        self.room_bytes -= len(data)
        if self.room_bytes < 0:
            self.room_bytes = 0
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_disk_that_gets_full_leaves_the_store_as_it_was(
    tmp_path: Path, store: ReleaseStore, shipped: list[Bundle]
) -> None:
    prove(store, shipped[0])
    before = tree(store.root)
    size = sum(path.stat().st_size for path in shipped[1].path.iterdir())
    for room_bytes in (0, 100, size // 2, size - 1):
        with pytest.raises(ReleaseError, match="No space left on device; expected a disk with room"):
            install(open_store(tmp_path, FullDisk(room_bytes)), shipped[1])
        assert tree(store.root) == before
    release = install(open_store(tmp_path, FullDisk(size)), shipped[1])
    before = tree(store.root)
    for step in (lambda s: s.begin_trial(release), lambda s: s.roll_back("asked"), lambda s: s.refuse(release, "slow")):
        with pytest.raises(ReleaseError, match="No space left on device"):
            step(open_store(tmp_path, FullDisk(10)))
        assert tree(store.root) == before


def test_a_folder_that_may_not_be_made_is_told(tmp_path: Path, store: ReleaseStore, shipped: list[Bundle]) -> None:
    store.root.touch()
    with pytest.raises(ReleaseError, match=r"models: .*expected a disk with room, and a folder that this user may"):
        install(store, shipped[0])


def test_debris_of_a_power_cut_is_cleared_by_the_next_upload(store: ReleaseStore, shipped: list[Bundle]) -> None:
    install(store, shipped[0])
    (store.root / "incoming" / "half").mkdir()
    (store.root / "incoming" / "half" / "model.onnx").touch()
    install(store, shipped[1])
    assert list((store.root / "incoming").iterdir()) == []


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


def test_a_tar_by_gnu_tar_is_read(store: ReleaseStore, shipped: list[Bundle]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in tree(shipped[0].path):
            tar.add(shipped[0].path / name, name) if name in FIRST else None
        for name in tree(shipped[0].path):
            tar.add(shipped[0].path / name, name) if name not in FIRST else None
    assert store.install(members_of(stream.getvalue())).release == shipped[0].version
