"""What a power cut may leave of each way to change the disk, and that the model of a disk knows the wrong ways."""

from collections.abc import Callable
from pathlib import Path

import pytest
from power_cut import Disk, Recorder, Tree, write_tree

from device.durable import Files, hold, move, remove_tree, replace_file, replace_link


def trees_after(root: Path, *steps: Callable[[Files], object]) -> list[list[Tree]]:
    """For each step the trees that a cut within it or right after it may leave; then those right after the last."""
    files, disk = Recorder(root), Disk()
    result: list[list[Tree]] = []
    for step in steps:
        start = len(files.log)
        step(files)
        result.append([])
        for change in files.log[start:]:
            disk.apply(change)
            result[-1] += [tree for tree in disk.crash_trees() if tree not in result[-1]]
    return [*result, [dict(tree) for tree in dict.fromkeys(tuple(tree.items()) for tree in disk.crash_trees())]]


def certain(path: Path, data: bytes) -> Callable[[Files], None]:
    def step(files: Files) -> None:
        files.write(path, [data])
        files.sync(path)
        files.sync(path.parent)

    return step


def two_folders(root: Path) -> Callable[[Files], None]:
    def step(files: Files) -> None:
        for name in "ab":
            files.make_folder(root / name)
        files.link("x", root / "a/c")
        files.sync(root / "a")
        files.sync(root)

    return step


# The model


def test_an_unsynced_file_may_be_absent_empty_torn_or_whole(tmp_path: Path) -> None:
    assert trees_after(tmp_path, lambda f: f.write(tmp_path / "a", [b"12", b"34"]))[-1] == [
        {}, {"a": b""}, {"a": b"12"}, {"a": b"1234"},
    ]  # fmt: skip


def test_a_synced_file_in_an_unsynced_folder_may_be_absent(tmp_path: Path) -> None:
    def step(files: Files) -> None:
        files.write(tmp_path / "a", [b"12"])
        files.sync(tmp_path / "a")

    assert trees_after(tmp_path, step)[-1] == [{}, {"a": b"12"}]


def test_a_synced_folder_with_an_unsynced_file_holds_anything(tmp_path: Path) -> None:
    def step(files: Files) -> None:
        files.write(tmp_path / "a", [b"12"])
        files.sync(tmp_path)

    assert trees_after(tmp_path, step)[-1] == [{"a": b""}, {"a": b"1"}, {"a": b"12"}]


def test_changes_of_a_folder_happen_in_any_subset(tmp_path: Path) -> None:
    def step(files: Files) -> None:
        files.link("x", tmp_path / "a")
        files.rename(tmp_path / "a", tmp_path / "b")

    assert trees_after(tmp_path, step)[-1] == [{}, {"a": "x"}, {"b": "x"}]


def test_a_rename_between_folders_is_certain_when_both_are_synced(tmp_path: Path) -> None:
    before: Tree = {"a": None, "b": None, "a/c": "x"}
    after: Tree = {"a": None, "b": None, "b/c": "x"}

    def rename(files: Files) -> None:
        files.rename(tmp_path / "a/c", tmp_path / "b/c")

    def sync(name: str) -> Callable[[Files], None]:
        return lambda files: files.sync(tmp_path / name)

    _, renamed, half_certain, _, _, certain_at_last = trees_after(
        tmp_path, two_folders(tmp_path), rename, sync("a"), sync("b"), lambda files: None
    )
    assert (renamed, half_certain, certain_at_last) == ([before, after], [before, after], [after])


def test_what_lies_in_a_folder_that_is_gone_for_certain_is_of_no_concern(tmp_path: Path) -> None:
    def step(files: Files) -> None:
        files.make_folder(tmp_path / "a")
        for number in range(40):
            files.write(tmp_path / f"a/{number}", [b"12"])
        remove_tree(files, tmp_path / "a")
        files.sync(tmp_path)

    files, disk = Recorder(tmp_path), Disk()
    step(files)
    for change in files.log:
        disk.apply(change)
    assert list(disk.crash_trees()) == [{}]


def test_a_tree_comes_back_onto_the_disk(tmp_path: Path) -> None:
    write_tree({"a": None, "a/b": b"12", "a/c": "b"}, tmp_path / "root")
    assert (tmp_path / "root/a/c").read_bytes() == b"12"


# The ways


def test_a_file_is_replaced_wholly_or_not_at_all_and_for_certain_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a"
    _, within, synced = trees_after(
        tmp_path, certain(path, b"old!"), lambda f: replace_file(f, path, b"new!"), lambda f: f.sync(tmp_path)
    )[:3]
    assert {tree["a"] for tree in within} == {b"old!", b"new!"}
    assert synced == [{"a": b"new!"}]
    assert path.read_bytes() == b"new!"


def test_replacing_a_file_in_place_would_be_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def careless(files: Files) -> None:
        files.write(path.with_name("new"), [b"new!"])
        files.rename(path.with_name("new"), path)
        files.sync(tmp_path)

    _, within, after = trees_after(tmp_path, certain(path, b"old!"), careless)
    assert {tree["a"] for tree in within} == {b"old!", b"new!", b"", b"ne"}
    assert {tree["a"] for tree in after} == {b"new!", b"", b"ne"}


def test_a_link_points_to_the_old_or_the_new_and_for_certain_with_its_folder(tmp_path: Path) -> None:
    def step(target: str | None) -> Callable[[Files], None]:
        return lambda files: replace_link(files, tmp_path / "a", target)

    def sync(files: Files) -> None:
        files.sync(tmp_path)

    _, _, changed, certainly, removed, gone, _ = trees_after(
        tmp_path, step("old"), sync, step("new"), sync, step(None), sync
    )
    assert {tree["a"] for tree in changed} == {"old", "new"}
    assert certainly == [{"a": "new"}]
    assert {tree.get("a") for tree in removed} == {"new", None}
    assert gone == [{}]


def test_a_link_that_is_right_already_is_not_touched(tmp_path: Path) -> None:
    files = Recorder(tmp_path)
    replace_link(files, tmp_path / "a", None)
    replace_link(files, tmp_path / "a", "x")
    done = list(files.log)
    replace_link(files, tmp_path / "a", "x")
    assert files.log == done


def test_a_folder_is_moved_wholly_or_not_at_all_and_for_certain_at_the_end(tmp_path: Path) -> None:
    step = lambda files: move(files, tmp_path / "a/c", tmp_path / "b/c")  # noqa: E731
    _, within, after = trees_after(tmp_path, two_folders(tmp_path), step)
    assert [sorted(set(tree) - {"a", "b"}) for tree in within] == [["a/c"], ["b/c"]]
    assert after == [{"a": None, "b": None, "b/c": "x"}]


def test_a_tree_is_removed_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/link").symlink_to("../../kept")
    (tmp_path / "a/dangling").symlink_to("nowhere")
    remove_tree(Files(), tmp_path / "a")
    remove_tree(Files(), tmp_path / "a")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept"]


def test_debris_of_an_interrupted_replacement_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"torn")
    (tmp_path / ".b.new").symlink_to("nowhere")
    replace_file(Files(), tmp_path / "a", b"new!")
    replace_link(Files(), tmp_path / "b", "a")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new!", "b": b"new!"}


class NoRename(Files):
    def rename(self, old: Path, new: Path) -> None:
        raise OSError(30, "Read-only file system")


def test_a_replacement_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old!")
    with pytest.raises(OSError, match="Read-only"):
        replace_file(NoRename(), tmp_path / "a", b"new!")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old!"}


def test_a_file_that_exists_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old!")
    with pytest.raises(FileExistsError):
        Files().write(tmp_path / "a", [b"new!"])


def test_only_one_holds_a_folder(tmp_path: Path) -> None:
    with hold(tmp_path, wait=False), pytest.raises(BlockingIOError), hold(tmp_path, wait=False):
        pytest.fail("two at once")
    with hold(tmp_path, wait=True):
        assert list(tmp_path.iterdir()) == []
