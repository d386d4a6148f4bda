"""Labelled pictures of one bin, as files."""

from pathlib import Path

import numpy as np
import pytest

from device.errors import ItemsError, UsageError
from device.looks import find_looks, keep_look, looks_folder
from device.pictures import read_picture

RGB = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)


def test_a_picture_is_kept_to_the_last_bit_below_its_label(tmp_path: Path):
    folder = looks_folder(tmp_path / "events.db")
    path = keep_look(folder, "glass", "event-17", RGB)
    assert path == tmp_path / "looks" / "glass" / "event-17.png"
    assert (read_picture(path) == RGB).all()
    assert [entry.name for entry in path.parent.iterdir()] == ["event-17.png"]


def test_a_second_picture_of_that_name_replaces_the_first(tmp_path: Path):
    keep_look(tmp_path, "glass", "a", RGB)
    keep_look(tmp_path, "glass", "a", RGB[::-1].copy())
    assert (read_picture(tmp_path / "glass" / "a.png") == RGB[::-1]).all()


def test_of_too_many_corrections_the_newest_are_looked_at(tmp_path: Path):
    for number in (99, 100, 9):
        keep_look(tmp_path, "glass", f"event-{number}", RGB)
    assert [look.name for look in find_looks(tmp_path, 2)] == ["glass/event-99.png", "glass/event-100.png"]


def test_pictures_are_found_by_label_and_name_and_nothing_else_is(tmp_path: Path):
    for label, name in (("metal", "b"), ("glass", "b"), ("glass", "a")):
        keep_look(tmp_path, label, name, RGB)
    (tmp_path / "glass" / ".half.png").write_bytes(b"")
    (tmp_path / "glass" / "note.txt").write_text("x")
    (tmp_path / "loose.png").write_bytes(b"")
    found = [(look.name, look.label, look.path) for look in find_looks(tmp_path)]
    assert found == [
        ("glass/a.png", "glass", tmp_path / "glass" / "a.png"),
        ("glass/b.png", "glass", tmp_path / "glass" / "b.png"),
        ("metal/b.png", "metal", tmp_path / "metal" / "b.png"),
    ]


def test_of_many_the_last_are_looked_at(tmp_path: Path):
    for label in ("glass", "metal"):
        for name in ("1", "2", "3"):
            keep_look(tmp_path, label, name, RGB)
    assert [look.name for look in find_looks(tmp_path, 2)] == [
        "glass/2.png",
        "glass/3.png",
        "metal/2.png",
        "metal/3.png",
    ]


def test_a_bin_without_pictures_has_none(tmp_path: Path):
    assert find_looks(tmp_path / "looks") == []


@pytest.mark.parametrize(("label", "name"), [("../up", "a"), ("glass", "a/b"), ("", "a"), ("glass", ".a")])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, label: str, name: str):
    with pytest.raises(UsageError, match="is no name for a picture"):
        keep_look(tmp_path / "looks", label, name, RGB)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_told(tmp_path: Path):
    (tmp_path / "glass").write_text("a file where a folder must be")
    with pytest.raises(ItemsError, match="was not kept"):
        keep_look(tmp_path, "glass", "a", RGB)
