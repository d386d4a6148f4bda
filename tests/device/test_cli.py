"""The commands: what goes to stdout, what to stderr, and with which exit status."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import LABELS, make_bundle, rewrite

from device.cli import run_app
from device.config import REFERENCE_BUILDS
from device.errors import BundleNotFound
from device.events import Event, EventLog

COMMANDS = [
    "run", "demo", "classify", "simulate", "bench", "events", "correct", "export", "teach", "calibrate",
    "dashboard", "wipe", "doctor", "park", "verify", "install", "support-dump", "models",
]  # fmt: skip


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("WASTEBIN_DEBUG", raising=False)
    return tmp_path / "state" / "wastebin"


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    make_bundle(tmp_path / "bundle")
    return str(tmp_path / "bundle")


def picture(path: Path, rgb: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 40, 3), rgb[::-1], np.uint8))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]):
    assert run_app([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert re.search(rf"Example: (sudo )?wastebin {command}", " ".join(out.split()))
    assert err == ""


def test_help_lists_exactly_these_commands(capsys: pytest.CaptureFixture[str]):
    assert run_app(["--help"]) == 0
    lines = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "] == COMMANDS


def test_says_its_version(capsys: pytest.CaptureFixture[str]):
    assert run_app(["--version"]) == 0
    assert capsys.readouterr() == ("0.1.0\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--bogus"],
        ["fly"],
        ["simulate", "--visits", "0"],
        ["run", "--pins", "rpigpio"],
        ["correct", "x", "glass"],
        ["events", "--csv", "--json"],
    ],
)
def test_a_wrong_command_line_is_exit_2_with_nothing_on_stdout(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    assert run_app(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "rror: " in err


def test_an_error_is_one_sentence_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run_app(["verify", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {tmp_path}: no manifest.json")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WASTEBIN_DEBUG", "1")
    with pytest.raises(BundleNotFound):
        run_app(["verify", str(tmp_path)])


def test_starting_up_loads_nothing_heavy():
    code = (
        "import sys, device.cli; "
        "print([name for name in ('numpy', 'cv2', 'onnxruntime', 'gpiozero', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(("command", "status"), [("run", 78), ("classify", 1)])
def test_a_wrong_configuration_is_78_in_run_alone(
    command: str, status: int, tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "bin.toml"
    file.write_text('[camera]\nsorce = "usb:0"\n[modle]\n', encoding="utf-8")
    assert run_app([command, "--config", str(file), "--model", bundle, *(["x.jpg"] * (command != "run"))]) == status
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"error: {file}: ") for line in lines] == [True, True]
    assert "did you mean 'source'?" in lines[0]
    assert "did you mean [model]?" in lines[1]


def test_a_material_without_a_bin_is_refused(tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]):
    text = REFERENCE_BUILDS[1].read_text(encoding="utf-8").replace('takes = ["glass"]', 'takes = ["galss"]')
    file = tmp_path / "bin.toml"
    file.write_text(text, encoding="utf-8")
    assert run_app(["run", "--config", str(file), "--model", bundle, "--camera", "sim", "--pins", "mock"]) == 78
    assert "'glass' of the model has no bin; is 'galss' a typing error?" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- classify


def test_classify_names_pictures_as_json_lines(tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]):
    picture(tmp_path / "p" / "glass" / "a.png", (0, 200, 0))
    picture(tmp_path / "p" / "metal" / "b.png", (200, 0, 0))
    assert run_app(["classify", str(tmp_path / "p"), "--model", bundle, "--json"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    names = ["path", "label", "prob", "probs", "bin", "accepted", "reason", "familiarity", "ms"]
    assert [list(line) for line in lines] == [names] * 2
    assert [(Path(line["path"]).name, line["label"], line["bin"], line["accepted"]) for line in lines] == [
        ("a.png", "glass", "Glass", True),
        ("b.png", "metal", "Metal", True),
    ]
    assert list(lines[0]["probs"]) == list(LABELS)
    assert sum(lines[0]["probs"].values()) == pytest.approx(1.0, abs=1e-5)


def test_classify_says_the_likeliest_label_also_when_it_is_rejected(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
):
    path = picture(tmp_path / "grey.png", (120, 131, 120))
    assert run_app(["classify", str(path), "--model", bundle, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["label"], line["accepted"], line["reason"], line["bin"]) == ("glass", False, "unsure", "Trash")


def test_classify_says_what_is_strange_however_sure_the_softmax_sounds(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
):
    rewrite(Path(bundle), lambda table: table["out_of_distribution"].update(lowest=0.5))
    path = picture(tmp_path / "pink.png", (250, 130, 150))
    assert run_app(["classify", str(path), "--model", bundle, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["label"], line["accepted"], line["reason"], line["bin"]) == ("metal", False, "strange", "Trash")
    assert line["prob"] > 0.99
    assert line["familiarity"] < 0.5


def test_classify_goes_on_after_a_bad_file(tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]):
    good = picture(tmp_path / "good.png", (0, 0, 220))
    empty = tmp_path / "empty.jpg"
    empty.touch()
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    gone = tmp_path / "gone.jpg"
    arguments = ["classify", str(empty), str(nothing), str(gone), str(good), "--model", bundle]
    assert run_app(arguments) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert out.startswith("paper")
    assert [line.partition(": ")[2].partition(":")[0] for line in err.splitlines()] == [
        *map(str, (empty, nothing, gone))
    ]


# --------------------------------------------------------------------------------------- bundles, outputs, doctor


def test_verify_says_that_a_bundle_is_sound_and_finds_a_damaged_byte(bundle: str, capsys: pytest.CaptureFixture[str]):
    assert run_app(["verify", bundle, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["name"], line["labels"]) == ("mean-colour", list(LABELS))
    file = Path(bundle) / "model.onnx"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    assert run_app(["verify", bundle]) == 1
    assert "SHA-256" in capsys.readouterr().err


def test_park_brings_mock_outputs_to_rest(capsys: pytest.CaptureFixture[str]):
    assert run_app(["park", "--pins", "mock"]) == 0
    assert capsys.readouterr() == ("", "")


def test_doctor_prints_a_check_a_line(capsys: pytest.CaptureFixture[str]):
    status = run_app(["doctor", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(line) for line in lines] == [["name", "ok", "found", "cure"]] * len(lines)
    assert lines[0]["name"] == "system"
    assert status == int(any(line["ok"] is False for line in lines))


# --------------------------------------------------------------------------------------------------- events


@pytest.fixture
def recorded(state: Path) -> Path:
    probs = dict.fromkeys(LABELS, 0.0)
    with EventLog(state / "events.db", wall=lambda: 1_790_000_000.0) as log:
        log.add(Event("start", "wastebin 0.1.0", mono_s=1.0))
        for label, reason, to_bin in (("glass", "", "Glass"), ("paper", "strange", "Trash")):
            log.add(Event("decision", reason, label, 0.9, probs, not reason, to_bin, 3, 120.0, "1-a", 2.0))
    return state / "events.db"


def test_events_lists_what_happened(recorded: Path, capsys: pytest.CaptureFixture[str]):
    assert run_app(["events"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "     1  2026-09-21T14:13:20.000+00:00  start      wastebin 0.1.0",
        "     2  2026-09-21T14:13:20.000+00:00  glass       90%  -> Glass",
        "     3  2026-09-21T14:13:20.000+00:00  paper       90%  -> Trash, strange",
    ]


def test_events_as_json_lines_and_csv(recorded: Path, capsys: pytest.CaptureFixture[str]):
    assert run_app(["events", "--json", "--limit", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["id"], line["kind"], line["accepted"]) for line in lines] == [(3, "decision", False)]
    assert run_app(["events", "--csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(",")[0] for row in rows] == ["id", "1", "2", "3"]


def test_events_without_a_database_is_an_error(capsys: pytest.CaptureFixture[str]):
    assert run_app(["events"]) == 1
    assert "no events are recorded here" in capsys.readouterr().err


def test_correct_records_what_an_item_was(recorded: Path, bundle: str, capsys: pytest.CaptureFixture[str]):
    assert run_app(["correct", "2", "metal", "--model", bundle]) == 0
    assert capsys.readouterr().out == "event 2 was metal\n"
    assert run_app(["correct", "2", "metall", "--model", bundle]) == 2
    assert "did you mean metal?" in capsys.readouterr().err
    assert run_app(["correct", "1", "metal", "--model", bundle]) == 2
    assert "only a decision can be corrected" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------- run, demo, simulate


def test_demo_says_by_name_what_it_is(bundle: str, capsys: pytest.CaptureFixture[str]):
    assert run_app(["demo", "--model", bundle, "--for", "0"]) == 0
    assert capsys.readouterr() == ("wastebin: simulator, mock pins, http://127.0.0.1:8080/; stop with Ctrl-C\n", "")


def test_run_with_json_prints_json_lines_and_nothing_else(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
):
    picture(tmp_path / "pictures" / "a.png", (100, 100, 100))
    arguments = ["run", "--camera", f"dir:{tmp_path / 'pictures'}", "--pins", "mock", "--model", bundle, "--json"]
    assert run_app(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["status"]


def test_a_camera_that_no_spec_names_is_a_wrong_command_line(bundle: str, capsys: pytest.CaptureFixture[str]):
    assert run_app(["run", "--camera", "webcam", "--pins", "mock", "--model", bundle, "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: camera 'webcam': no such camera; expected one of picamera2, usb:N, ")


def test_simulate_ends_with_exactly_the_settled_line(bundle: str, capsys: pytest.CaptureFixture[str]):
    assert run_app(["simulate", "--visits", "1", "--seed", "2", "--model", bundle, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(lines[-1]) == [
        *("visits", "items", "decided", "right", "contamination", "diversion", "missed", "false_triggers"),
        "decision_ms",
    ]
    assert list(lines[-1]["decision_ms"]) == ["p50", "p95"]
    assert (lines[-1]["visits"], lines[-1]["items"], lines[-1]["decided"]) == (1, 1, 1)
    assert [line["visit"] for line in lines[:-1]] == [0]


def test_simulate_takes_habits_and_faults_but_no_second_seed(bundle: str, capsys: pytest.CaptureFixture[str]):
    assert run_app(["simulate", "--camera", "sim:seed=3", "--model", bundle]) == 2
    assert "seed and items are options of their own" in capsys.readouterr().err
    assert run_app(["simulate", "--camera", "sim:jam=1", "--model", bundle]) == 2
    assert "'jam=1' is no option of it; expected seed=, items=, hands=, jams=" in capsys.readouterr().err


def test_bad_items_are_one_sentence(tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "items" / "glass").mkdir(parents=True)
    assert run_app(["simulate", "--items", str(tmp_path / "items"), "--model", bundle]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'items' / 'glass'}: an empty class folder")


def test_a_thread_in_the_middle_of_the_network_does_not_abort_the_way_out():
    code = """
import sys, threading
import numpy as np
from device.bundle import factory_bundle_path, load_bundle
from device.classify import Classifier
from device.cli import main

classifier = Classifier(load_bundle(factory_bundle_path()))
looked = threading.Event()

def look():
    while True:
        classifier.classify(np.zeros((64, 64, 3), np.uint8))
        looked.set()

threading.Thread(target=look, daemon=True).start()
looked.wait()
sys.argv = ["wastebin", "calibrate", "nothing"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("error: calibrate: no step 'nothing'")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
