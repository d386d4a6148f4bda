"""Photographs that are only measured on."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import save

from trainer.errors import DatasetError
from trainer.field import read_field
from trainer.recipe import Data

DATA = Data(labels=("glass", "metal"), label_map={"hand": "!glass", "notes": "-"})


def put(path: Path, shade: int) -> str:
    save(path, np.full((8, 8, 3), shade, np.uint8))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_source_is_the_folder_above_the_label(tmp_path: Path) -> None:
    digests = {
        name: put(tmp_path / "field" / name, shade)
        for shade, name in enumerate(["phone/glass/a.png", "phone/hand/b.png", "shop/metal/c.png", "metal/d.png"])
    }
    put(tmp_path / "field" / "phone" / "notes" / "left-out.png", 77)
    put(tmp_path / "field" / "phone" / "metal" / "again.png", 0)  # the same file as the first
    found = list(read_field([tmp_path / "field"], DATA, {}))
    assert {(one.sha256, one.source, one.target) for one in found} == {
        (digests["phone/glass/a.png"], "phone", "glass"),
        (digests["phone/hand/b.png"], "phone", "!glass"),
        (digests["shop/metal/c.png"], "shop", "metal"),
        (digests["metal/d.png"], "field", "metal"),
    }
    assert sorted(int(one.decode()[0, 0, 0]) for one in found) == [0, 1, 2, 3]


def test_an_archive_is_read_like_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 9)
    with zipfile.ZipFile(tmp_path / "others.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "phone/glass/a.png")
        archive.writestr("metal/b.png", (tmp_path / "a.png").read_bytes() + b"another")
    found = [(one.source, one.target) for one in read_field([tmp_path / "others.zip"], DATA, {})]
    assert sorted(found) == [("others", "metal"), ("phone", "glass")]


@pytest.mark.parametrize("split", ["train", "tune"])
def test_a_picture_that_was_learnt_from_is_refused(tmp_path: Path, split: str) -> None:
    path = tmp_path / "field" / "phone" / "glass" / "a.png"
    digest = put(path, 3)
    with pytest.raises(DatasetError) as caught:
        list(read_field([tmp_path / "field"], DATA, {digest: split}))
    assert str(caught.value) == (
        f"{path}: is a picture of {split}, expected pictures that this run has not learnt from; take it out, or give "
        "other pictures with --field"
    )


def test_a_picture_of_val_may_be_measured_again(tmp_path: Path) -> None:
    digest = put(tmp_path / "field" / "phone" / "glass" / "a.png", 3)
    assert len(list(read_field([tmp_path / "field"], DATA, {digest: "val"}))) == 1


def test_what_cannot_be_read_as_labels_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file or folder"):
        list(read_field([tmp_path / "nothing"], DATA, {}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no pictures in it"):
        list(read_field([tmp_path / "empty"], DATA, {}))
    put(tmp_path / "loose" / "a.png", 1)
    with pytest.raises(DatasetError, match="not inside a class folder"):
        list(read_field([tmp_path / "loose"], DATA, {}))
    put(tmp_path / "other" / "phone" / "wood" / "a.png", 1)
    with pytest.raises(DatasetError, match="folder 'wood' is none of the labels glass, metal"):
        list(read_field([tmp_path / "other"], DATA, {}))
