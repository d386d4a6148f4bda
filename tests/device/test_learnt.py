"""What was learnt, on the disk: whole or refused, one version a bundle, taken back and made again."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from power_cut import Disk, Recorder, write_tree

from device.durable import Files
from device.errors import LearntError
from device.learn import Learnt
from device.learnt import KEPT, Active, LearntStore, Version, learnt_folder

VERSION = Version("1-abc", "2026-11-23T12:00:00Z", {"glass": 2}, "f00d", 2, 1, 2, ("glass/a.png",))
OTHER = replace(VERSION, bundle="2-def", made_of="beef")


def learnt(number: float = 1.0) -> Learnt:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2) * np.float32(number)
    looked = np.array([True, False])
    return Learnt(("glass", "metal"), 1, 1.2, 0.7, rows[0], rows, rows[:, 0], rows[:1], rows[:2], looked)


@pytest.fixture
def store(tmp_path: Path) -> LearntStore:
    return LearntStore(tmp_path / "learnt")


def same(one: Learnt, other: Learnt) -> bool:
    arrays = ("middle", "rows", "here", "pulls", "memory", "looked")
    plain = ("labels", "known", "temperature")
    return all((getattr(one, each) == getattr(other, each)).all() for each in arrays) and all(
        getattr(one, each) == getattr(other, each) for each in plain
    )


def test_it_lies_beside_the_events(tmp_path: Path):
    assert learnt_folder(tmp_path / "events.db") == tmp_path / "learnt"


def test_what_is_kept_comes_back_to_the_last_bit(store: LearntStore):
    name = store.put(VERSION, learnt())
    assert name.startswith("1-")
    assert store.read_active() == Active(versions={"1-abc": name}, settled={"1-abc": "f00d"})
    version, found = store.read(name)
    assert version == VERSION
    assert same(found, learnt())


def test_a_bin_that_never_learnt_has_nothing(store: LearntStore):
    assert (store.read_active(), store.names(), store.stamp()) == (Active(), [], None)
    assert not store.folder.exists()


def test_each_bundle_has_its_own(store: LearntStore):
    first, second = store.put(VERSION, learnt()), store.put(OTHER, learnt(2))
    assert store.read_active().versions == {"1-abc": first, "2-def": second}
    third = store.put(VERSION, learnt(3))
    assert store.read_active().versions == {"1-abc": third, "2-def": second}
    assert store.names() == [first, second, third]


def test_a_refusal_leaves_in_use_what_was(store: LearntStore):
    name = store.put(VERSION, learnt())
    store.refuse("1-abc", "cafe", "worse", ("glass/b.png",))
    assert store.read_active() == Active(
        versions={"1-abc": name}, settled={"1-abc": "cafe"}, refusal="worse", suspicious=("glass/b.png",)
    )
    again = store.put(VERSION, learnt(2))
    assert store.read_active() == Active(versions={"1-abc": again}, settled={"1-abc": "f00d"})


def test_revoking_takes_back_every_bundles_and_keeps_the_files(store: LearntStore):
    names = [store.put(VERSION, learnt()), store.put(OTHER, learnt())]
    store.revoke("f00d")
    assert store.read_active() == Active(revoked="f00d")
    assert store.names() == names


def test_old_versions_go_and_one_in_use_never(store: LearntStore):
    first = store.put(OTHER, learnt())
    names = [store.put(VERSION, learnt(number)) for number in range(2, KEPT + 4)]
    assert store.names() == [first, *names[-KEPT:]]


def test_every_change_is_seen_by_another_process(store: LearntStore):
    stamps = [store.stamp()]
    for change in (
        lambda: store.put(VERSION, learnt()),
        lambda: store.refuse("1-abc", "x", "y"),
        lambda: store.revoke("z"),
    ):
        change()
        stamps.append(store.stamp())
    assert len(set(stamps)) == 4


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:99] + b"\0" + data[100:], lambda _: b""])
def test_damaged_bytes_are_refused(store: LearntStore, change):
    name = store.put(VERSION, learnt())
    path = store.folder / f"{name}.npz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(LearntError, match=rf"its bytes hash to \w+, expected {name[2:]}; learn again"):
        store.read(name)


def test_a_version_that_is_gone_is_told(store: LearntStore):
    with pytest.raises(LearntError, match=r"7-0123456789ab.npz: cannot be read \(No such file"):
        store.read("7-0123456789ab")


def test_whole_bytes_of_something_else_are_refused(store: LearntStore):
    store.folder.mkdir()
    digest = hashlib.sha256(b"no zip").hexdigest()[:12]
    (store.folder / f"1-{digest}.npz").write_bytes(b"no zip")
    with pytest.raises(LearntError, match="no version that this wastebin knows"):
        store.read(f"1-{digest}")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2}', '{"versions": {"1-abc": "../../etc/passwd"}}', '{"wersions": {}}']
)
def test_a_damaged_pointer_is_refused_and_learning_again_mends_it(store: LearntStore, text: str):
    store.folder.mkdir()
    (store.folder / "active.json").write_text(text)
    with pytest.raises(LearntError, match="learn again from the pictures: wastebin teach"):
        store.read_active()
    name = store.put(VERSION, learnt())
    assert store.read_active().versions == {"1-abc": name}


def test_a_disk_that_refuses_is_told_and_the_version_before_stays(store: LearntStore):
    class Full(Files):
        def write(self, path, chunks):
            raise OSError(28, "No space left on device")

    name = store.put(VERSION, learnt())
    with pytest.raises(LearntError, match=r"was not kept \(No space left on device\)"):
        LearntStore(store.folder, Full()).put(VERSION, learnt(2))
    assert store.read_active().versions == {"1-abc": name}
    assert sorted(path.name for path in store.folder.iterdir()) == [f"{name}.npz", "active.json"]


def test_a_power_cut_leaves_the_version_before_or_the_new_one(tmp_path: Path):
    folder = tmp_path / "learnt"
    recorder = Recorder(folder)
    before = LearntStore(folder, recorder).put(VERSION, learnt())
    disk, found, seen = Disk(), set(), []
    for change in recorder.log:
        disk.apply(change)
    recorder.log.clear()
    after = LearntStore(folder, recorder).put(VERSION, learnt(2))
    for change in recorder.log:
        disk.apply(change)
        seen += [tree for tree in disk.crash_trees() if tree not in seen]
    for number, tree in enumerate(seen):
        survivor = LearntStore(tmp_path / f"crash-{number}")
        write_tree(tree, survivor.folder)
        name = survivor.read_active().versions["1-abc"]
        survivor.read(name)
        found.add(name)
    assert found == {before, after}
    assert survivor.read_active().versions == {"1-abc": after}
