"""`wastebin calibrate`: what goes to stdout, what is written, and with which exit status."""

import json
from pathlib import Path

import cv2
import pytest

from device.calibrate.card import find_card
from device.cli import run_app
from device.events import EventLog

BIN = """
camera.source = "sim:seed=4{faults}"
camera.rate_hz = 8.0
events.path = "events.db"
"""


@pytest.fixture
def bin_file(tmp_path: Path) -> Path:
    return write(tmp_path, ",white_balance=0.4,swapped=1")


def write(folder: Path, faults: str) -> Path:
    path = folder / "bin.toml"
    path.write_text(BIN.format(faults=faults))
    return path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


def test_one_step_again_and_undone(bin_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["calibrate", "colour", "--yes", "--json", "--config", str(bin_file)]
    assert run_app(call) == 0
    (first,) = lines(capsys)
    assert (first["step"], first["cured"]) == ("colour", ["red_blue", "white_balance"])
    assert run_app(call) == 0
    assert lines(capsys)[0]["found"] == []
    assert run_app([*call, "--undo"]) == 0
    assert lines(capsys)[0]["sentence"] == "undone; the bin goes by its configuration again"
    assert run_app(call) == 0
    assert lines(capsys)[0]["cured"] == ["red_blue", "white_balance"]


def test_what_only_a_person_can_mend_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["calibrate", "camera", "--yes", "--config", str(write(tmp_path, ",blur=3"))]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("LOOK  camera  the picture is blurred")
    assert out.endswith("calibration.json; the bin goes by it when it runs\n")
    assert err == ""


def test_the_card_is_drawn_so_that_it_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "card.png"
    assert run_app(["calibrate", "card", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: print it 8 cm wide or wider, on plain white paper\n"
    assert find_card(cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2RGB)) is not None


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["card"], 2, "error: calibrate: say where the card goes: wastebin calibrate card --out card.png\n"),
        (["colors"], 2, "error: calibrate: no step 'colors'; there is colour, camera, region, empty, flaps, lights, "),
        (["colour", "--out", "x.png"], 2, "error: calibrate: --out is for the card"),
        (["card", "--out", "no/such/folder/x.png"], 1, "error: no/such/folder/x.png: cannot be written"),
        (["--camera", "usb:0"], 2, "error: calibrate: nobody is at this terminal to ask; write: wastebin calibrate "),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str], status: int, said: str, bin_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["calibrate", *arguments, "--config", str(bin_file)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_what_was_found_before_a_step_that_fails_is_kept(bin_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["calibrate", "--yes", "--items", str(bin_file.parent / "nowhere"), "--config", str(bin_file)]
    assert run_app(call) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert "gain" in (bin_file.parent / "calibration.json").read_text()
    assert run_app(["calibrate", "colour", "--yes", "--json", "--config", str(bin_file)]) == 0
    assert lines(capsys)[0]["found"] == []


def test_while_a_bin_runs_its_dashboard_is_named(bin_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventLog(bin_file.parent / "events.db"):
        assert run_app(["calibrate", "--yes", "--config", str(bin_file)]) == 1
    assert capsys.readouterr().err == (
        f"error: {bin_file.parent}: a bin runs here and holds its camera; calibrate it in its dashboard, or stop it "
        "first: sudo systemctl stop wastebin\n"
    )


def test_a_damaged_file_is_noted_and_written_anew(bin_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bin_file.parent / "calibration.json").write_text("x")
    assert run_app(["calibrate", "lights", "--yes", "--config", str(bin_file)]) == 0
    assert capsys.readouterr().err.startswith(f"note: {bin_file.parent / 'calibration.json'}: cannot be read")
    assert run_app(["calibrate", "lights", "--yes", "--config", str(bin_file)]) == 0
    assert capsys.readouterr().err == ""
