"""`wastebin teach`: what it prints, keeps and returns."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import golden, make_bundle
from test_teach_site import COLOURS, HOME, picture

from device.cli import run_app
from device.learnt import LearntStore
from device.looks import find_looks


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("WASTEBIN_DEBUG", raising=False)
    return tmp_path / "state" / "wastebin"


@pytest.fixture
def items(tmp_path: Path) -> Path:
    for label, colour in COLOURS.items():
        (tmp_path / "items" / label).mkdir(parents=True)
        for number in range(4):
            bgr = np.ascontiguousarray(picture(colour, number)[..., ::-1])
            cv2.imwrite(str(tmp_path / "items" / label / f"{number}.png"), bgr)
    return tmp_path / "items"


@pytest.fixture
def teach(tmp_path: Path, state: Path):
    make_bundle(tmp_path / "bundle", golden_npz=golden(home=HOME))
    return lambda *words: run_app(["teach", "--model", str(tmp_path / "bundle"), *words])


def test_pictures_become_looks_and_looks_are_learnt(teach, items: Path, state: Path, capsys):
    assert teach("--items", str(items)) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("learnt from 12 looks (glass 4, metal 4, paper 4): of 12 left out in turn 12 are named")
    (name,) = LearntStore(state / "learnt").names()
    assert lines[1].startswith(f"in use: {name} of 20")
    assert lines[1].endswith(", looks: glass 4, metal 4, paper 4")
    assert err == ""
    found = [look.name for look in find_looks(state / "looks")]
    assert teach("--items", str(items)) == 0
    assert [look.name for look in find_looks(state / "looks")] == found
    assert not any(look.is_correction for look in find_looks(state / "looks"))


def test_taking_back(teach, items: Path, state: Path, capsys):
    teach("--items", str(items))
    capsys.readouterr()
    assert teach("--revoke", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sentence"] == "taken back: the bundle answers alone until the pictures change"
    assert told["active"] is None
    assert len(told["versions"]) == 1
    assert len(find_looks(state / "looks")) == 12


def test_labels_by_chance_are_exit_1_with_the_looks_to_look_at(teach, items: Path, state: Path, capsys):
    for at, label in enumerate(COLOURS):
        for number in range(4):
            wrong = picture([*COLOURS.values()][number % 3], 10 * at + number)
            cv2.imwrite(str(items / label / f"{number}.png"), np.ascontiguousarray(wrong[..., ::-1]))
    assert teach("--items", str(items)) == 1
    out, _ = capsys.readouterr()
    assert out.startswith("nothing learnt: the labels fit the 12 pictures no better than shuffled ones")
    assert "\nlook at this one again: " in out
    assert LearntStore(state / "learnt").names() == []


def test_a_picture_that_cannot_be_read_is_an_error_line(teach, items: Path, state: Path, capsys):
    teach("--items", str(items))
    find_looks(state / "looks")[0].path.write_bytes(b"")
    capsys.readouterr()
    assert teach() == 0
    assert capsys.readouterr().err.startswith(f"error: {state / 'looks' / 'glass'}")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 1, "no labelled pictures to learn from, expected a few; correct some items"),
        (["--items", "x", "--revoke"], 2, "use just one of --items and --revoke"),
    ],
)
def test_wrong_use_is_one_sentence(teach, words: list[str], status: int, said: str, capsys):
    assert teach(*words) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_a_picture_outside_a_class_folder_is_refused(teach, items: Path, state: Path, capsys):
    (items / "loose.png").write_bytes((items / "glass" / "0.png").read_bytes())
    assert teach("--items", str(items)) == 2
    assert "not inside a class folder; expected <label>/<picture>" in capsys.readouterr().err
