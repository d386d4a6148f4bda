"""Folders and archives of photographs become checked records; whatever is wrong with one is said."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.preprocess import fit
from trainer.dataset import (
    CACHE_PX,
    Record,
    Source,
    cache_pixels,
    map_label,
    parse_source,
    read_records,
    read_sources,
    read_split,
    with_split,
    without_leaks,
    write_records,
    write_split,
)
from trainer.errors import DatasetError
from trainer.recipe import Data

DATA = Data(("glass", "metal"))


def png(seed: int) -> bytes:
    rgb = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.imencode(".png", rgb)[1].tobytes()


def fill(folder: Path, count: int = 10, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:03d}.png").write_bytes(png(number))
    return folder


@pytest.fixture
def top(tmp_path: Path) -> Path:
    fill(tmp_path / "waste" / "glass")
    fill(tmp_path / "waste" / "metal", first=100)
    return tmp_path / "waste"


def read(*sources: Source, data: Data = DATA) -> tuple[list[Record], list[str], list[NDArray[np.uint8]]]:
    kept: list[NDArray[np.uint8]] = []
    records, complaints = read_sources(sources, data, lambda _record, rgb: kept.append(rgb))
    return records, complaints, kept


def refusal(*sources: Source, data: Data = DATA) -> str:
    with pytest.raises(DatasetError) as caught:
        read(*sources, data=data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(folder)))
    return path


# Layouts


def test_class_folders_become_records_in_order(top: Path) -> None:
    records, complaints, kept = read(Source("waste", top))
    assert complaints == []
    assert records == [
        Record(hashlib.sha256(png(number)).hexdigest(), str(top / label / f"{number:03d}.png"), "waste", label)
        for label, first in (("glass", 0), ("metal", 100))
        for number in range(first, first + 10)
    ]
    assert (len(kept), kept[0].shape) == (20, (9, 12, 3))


def test_pictures_are_handed_on_in_rgb(top: Path) -> None:
    bgr = cv2.imdecode(np.frombuffer(png(0), np.uint8), cv2.IMREAD_COLOR)
    assert read(Source("waste", top))[2][0].tolist() == bgr[..., ::-1].tolist()


@pytest.mark.parametrize("prefix", ["", "dataset-resized/"], ids=["bare", "as people download TrashNet"])
def test_a_zip_of_class_folders_is_the_same(top: Path, prefix: str) -> None:
    path = zipped(top, top.parent / "waste.zip", prefix)
    with zipfile.ZipFile(path, "a") as archive:  # what a Mac adds
        archive.writestr(f"__MACOSX/{prefix}glass/._000.png", b"\x00\x05\x16\x07")
        archive.writestr(f"{prefix}.DS_Store", b"\x00")
    from_zip, complaints, _ = read(Source("waste", path))
    from_folder, _, _ = read(Source("waste", top))
    assert complaints == []
    assert [(record.sha256, record.source, record.target) for record in from_zip] == [
        (record.sha256, record.source, record.target) for record in from_folder
    ]
    assert from_zip[0].name == f"{path}!/{prefix}glass/000.png"


def test_upper_folders_are_sources_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path / "wild" / "taco" / "glass")
    fill(tmp_path / "wild" / "taco" / "metal", first=100)
    fill(tmp_path / "wild" / "web" / "metal", first=200)
    for path in (tmp_path / "wild", zipped(tmp_path / "wild", tmp_path / "wild.zip")):
        records, _, _ = read(Source("wild", path))
        assert sorted({(record.source, record.target) for record in records}) == [
            ("wild/taco", "glass"),
            ("wild/taco", "metal"),
            ("wild/web", "metal"),
        ]


def test_several_sources_keep_their_names(top: Path) -> None:
    more = fill(top.parent / "more" / "glass", first=500).parent
    records, _, _ = read(Source("waste", top), Source("more", more))
    assert [record.source for record in records] == ["waste"] * 20 + ["more"] * 10


# What is wrong with a picture


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (png(7)[:60], ""),
        (b"<html>no picture</html>", ""),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, ""),
    ],
    ids=["zero bytes", "cut off", "a web page", "only a header"],
)
def test_a_picture_that_cannot_be_read_is_left_out_and_said(top: Path, data: bytes, says: str) -> None:
    (top / "glass" / "bad.jpg").write_bytes(data)
    records, complaints, kept = read(Source("waste", top))
    assert (len(records), len(kept), len(complaints)) == (20, 20, 1)
    assert complaints[0].startswith(f"{top / 'glass' / 'bad.jpg'}: ")
    assert says in complaints[0]


def test_files_that_are_no_pictures_by_name_are_passed_over(top: Path) -> None:
    (top / "glass" / "notes.txt").write_text("remember the milk")
    assert read(Source("waste", top))[1] == []


def test_the_same_file_twice_is_kept_once(top: Path) -> None:
    (top / "glass" / "copy.png").write_bytes(png(3))
    records, complaints, _ = read(Source("waste", top))
    assert len(records) == 20
    assert complaints == [f"{top / 'glass' / 'copy.png'}: the same file as {top / 'glass' / '003.png'}; kept once"]


def test_the_same_file_in_two_sources_belongs_to_the_first(top: Path) -> None:
    again = fill(top.parent / "again" / "glass").parent
    records, complaints, _ = read(Source("waste", top), Source("again", again))
    assert ([record.source for record in records], len(complaints)) == (["waste"] * 20, 10)


def test_a_picture_with_two_labels_has_none(top: Path) -> None:
    fill(top / "glass", 11)
    (top / "metal" / "also.png").write_bytes(png(3))
    records, complaints, kept = read(Source("waste", top))
    disputed = hashlib.sha256(png(3)).hexdigest()
    assert disputed not in {record.sha256 for record in records}
    assert (len(records), len(kept)) == (20, 20)
    here, there = top / "metal" / "also.png", top / "glass" / "003.png"
    assert complaints == [f"{here}: the same file as {there}, but 'metal' here and 'glass' there; both left out"]


# Labels


MAPPED = Data(
    ("glass", "metal"),
    label_map={"bottle": "glass", "hand": "!glass", "notes": "-", "waste/tin": "metal", "tin": "-"},
    leave_out=("web",),
)


@pytest.mark.parametrize(
    ("source", "folder", "target"),
    [
        ("waste", "glass", "glass"),
        ("waste", "bottle", "glass"),
        ("waste", "hand", "!glass"),
        ("waste", "notes", None),
        ("waste", "tin", "metal"),
        ("other", "tin", None),
        ("web", "glass", None),
        ("wild/web", "glass", None),
        ("web", "never heard of", None),
    ],
)
def test_folders_are_mapped(source: str, folder: str, target: str | None) -> None:
    assert map_label(source, folder, MAPPED) == target


@pytest.mark.parametrize("folder", ["Glass", "plastic", ""])
def test_a_folder_that_is_no_label_needs_a_decision(folder: str) -> None:
    with pytest.raises(DatasetError) as caught:
        map_label("waste", folder, MAPPED)
    assert str(caught.value) == (
        f"waste: folder {folder!r} is none of the labels glass, metal; "
        f"map it in the recipe: [data.label_map] {folder} = a label, !label or -"
    )


def test_mapped_folders_arrive_as_targets(top: Path) -> None:
    fill(top / "hand", 2, first=300)
    fill(top / "notes", 2, first=400)
    records, _, _ = read(Source("waste", top), data=MAPPED)
    assert {(record.name.split("/")[-2], record.target) for record in records} == {
        ("glass", "glass"),
        ("metal", "metal"),
        ("hand", "!glass"),
    }


def test_a_target_allows_its_label_or_all_but_it() -> None:
    labels = ("glass", "metal", "paper")
    assert Record("", "", "", "metal").allowed(labels).tolist() == [0.0, 1.0, 0.0]
    assert Record("", "", "", "!metal").allowed(labels).tolist() == [1.0, 0.0, 1.0]


# What is wrong with a source


@pytest.mark.parametrize("count", [0, 2, 9])
def test_a_label_with_too_few_pictures_is_one_sentence(top: Path, count: int) -> None:
    for file in sorted((top / "metal").iterdir())[count:]:
        file.unlink()
    assert refusal(Source("waste", top)) == (
        f"label 'metal' has {count} pictures, expected at least 10; "
        "add a source that has it, or take it out of the recipe's data.labels"
    )


def test_pictures_that_are_only_not_a_label_do_not_count_for_it(top: Path) -> None:
    fill(top / "hand", 20, first=300)
    data = Data(("glass", "metal", "paper"), label_map={"hand": "!paper"})
    assert refusal(Source("waste", top), data=data).startswith("label 'paper' has 0 pictures")


def test_an_unknown_folder_is_one_sentence(top: Path) -> None:
    fill(top / "plastc", 1, first=900)
    assert refusal(Source("waste", top)).startswith("waste: folder 'plastc' is none of the labels glass, metal; map it")


def test_a_picture_outside_class_folders_is_one_sentence(top: Path) -> None:
    (top / "stray.png").write_bytes(png(900))
    assert refusal(Source("waste", top)) == (
        f"{top / 'stray.png'}: not inside a class folder; expected SOURCE/<label>/<picture>"
    )


@pytest.mark.parametrize("name", ["../evil.png", "glass/../../evil.png", "/glass/evil.png", "..\\evil.png"])
def test_a_zip_whose_names_lead_out_of_it_is_refused(top: Path, name: str) -> None:
    path = zipped(top, top.parent / "waste.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, png(900))
    text = refusal(Source("waste", path))
    assert text.startswith(f"{path}: the name ")
    assert "leads out of the archive" in text


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"no zip"), "no zip archive, or a damaged one"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "no pictures in it"),
    ],
    ids=["no zip", "empty"],
)
def test_an_archive_that_is_no_use_is_one_sentence(tmp_path: Path, make: Callable[[Path], Any], says: str) -> None:
    path = tmp_path / "waste.zip"
    make(path)
    text = refusal(Source("waste", path))
    assert text.startswith(f"{path}: ")
    assert says in text


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "glass").mkdir()
    assert refusal(Source("waste", tmp_path)).startswith(f"{tmp_path}: no pictures in it; ")


# Names of sources


def test_a_source_is_a_name_and_a_path_or_a_path(top: Path) -> None:
    assert parse_source(f"trashnet={top}") == Source("trashnet", top)
    assert parse_source(str(top)) == Source("waste", top)
    assert parse_source(str(zipped(top, top.parent / "a.b.zip"))) == Source("a.b", top.parent / "a.b.zip")


def test_a_path_may_hold_an_equals_sign(tmp_path: Path) -> None:
    path = tmp_path / "a=b" / "waste"
    path.mkdir(parents=True)
    assert parse_source(str(path)) == Source("waste", path)
    assert parse_source(f"mine={path}") == Source("mine", path)


def test_a_source_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for text in (str(tmp_path / "no"), f"mine={tmp_path / 'no'}"):
        with pytest.raises(DatasetError) as caught:
            parse_source(text)
        assert str(caught.value) == (
            f"{tmp_path / 'no'}: no such folder or archive; give a folder of class folders or a zip of them"
        )


# What is written down


RECORDS = [
    Record("a" * 64, 'odd "name"\twith, signs.png', "waste", "glass", 4, "train"),
    Record("c" * 64, "x.zip!/glass/ü.png", "wild/taco", "!metal", 0, "val"),
    Record("b" * 64, "b.png", "waste", "metal", 2, "tune"),
]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    write_records(RECORDS, tmp_path / "records.tsv")
    assert read_records(tmp_path / "records.tsv") == RECORDS


def test_a_split_names_no_file_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    write_split(RECORDS, path)
    assert path.read_text() == f"train {'a' * 64}\ntune {'b' * 64}\nval {'c' * 64}\n"
    assert read_split(path) == {"a" * 64: "train", "b" * 64: "tune", "c" * 64: "val"}


@pytest.mark.parametrize(
    ("line", "shown"),
    [("test " + "a" * 64, "test " + "a" * 35), ("train abc", "train abc"), ("train", "train"), ("", "")],
)
def test_a_line_that_is_no_split_is_one_sentence(tmp_path: Path, line: str, shown: str) -> None:
    path = tmp_path / "split.txt"
    path.write_text(f"val {'c' * 64}\n{line}\n")
    with pytest.raises(DatasetError) as caught:
        read_split(path)
    assert str(caught.value) == f"{path}:2: {shown!r}, expected one of train, tune, val and a SHA-256"


def test_a_missing_split_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such split file; leave --split out to make a new split"):
        read_split(tmp_path / "no.txt")


def test_a_given_split_is_kept_and_new_near_copies_go_with_it() -> None:
    records = [
        Record("a", "a", "s", "glass", 1, "train"),
        Record("b", "b", "s", "glass", 1, "train"),  # new, a near-copy of a
        Record("c", "c", "s", "glass", 2, "tune"),  # new, alone
        Record("d", "d", "s", "glass", 3, "train"),
        Record("e", "e", "s", "glass", 3, "train"),  # both given, on two sides
    ]
    made = with_split(records, {"a": "val", "d": "tune", "e": "val", "gone": "train"})
    assert [record.split for record in made] == ["val", "val", "tune", "tune", "val"]
    assert [record.group for record in made] == [1, 1, 2, 3, 3]


@pytest.mark.parametrize("size", [(300, 400), (100, 400), (30, 20)])
def test_cached_pixels_are_fitted_as_the_device_fits(size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    made = cache_pixels(rgb)
    assert made.shape == (CACHE_PX, CACHE_PX, 3)
    assert np.array_equal(made, fit(rgb, CACHE_PX))


def test_near_copies_of_training_pictures_count_in_no_figure() -> None:
    records = [
        Record(str(number), f"{number}.jpg", "drawn", "glass", group, split)
        for number, (group, split) in enumerate(
            [(0, "train"), (0, "val"), (0, "tune"), (3, "val"), (3, "tune"), (5, "val")]
        )
    ]
    assert [record.split for record in without_leaks(records)] == ["train", "", "", "val", "tune", "val"]
