"""What people have left at a bin can be forgotten, and only that."""

from pathlib import Path

import numpy as np
import pytest

from device.cli import run_app
from device.errors import EventsError
from device.event_reader import add_correction, read_corrections, read_events
from device.events import Event, EventLog
from device.looks import keep_look, looks_folder
from device.unsure import keep_unsure, unsure_folder
from device.wipe import Traces, find_traces, wipe_traces

GREY = np.full((8, 8, 3), 90, np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A bin that has sorted one item, which somebody corrected and which was learnt from."""
    path = tmp_path / "state" / "events.db"
    with EventLog(path) as log:
        event = log.add(Event("decision", label="glass", prob=0.9, probs={"glass": 0.9}, accepted=True, bin="Glass"))
    add_correction(path, event, "metal", ("glass", "metal"), wall_s=1.8e9)
    keep_look(looks_folder(path), "metal", f"event-{event}", GREY)
    (path.parent / "learnt").mkdir()
    (path.parent / "learnt" / "1-0123456789ab.npz").touch()
    (path.parent / "unsure").mkdir()
    (path.parent / "unsure" / "event-9.png").touch()
    (path.parent / "dashboard.json").write_text("{}")
    (path.parent / "calibration.json").write_text("{}")
    return path


def test_counts_what_is_there(path: Path):
    assert find_traces(path) == Traces(2, 1, 1)
    keep_unsure(unsure_folder(path), 9, GREY, 3)
    assert find_traces(path) == Traces(2, 1, 1)
    assert find_traces(path.with_name("other") / "events.db") == Traces(0, 0, 0)


def test_removes_pictures_corrections_and_what_was_learnt_and_nothing_else(path: Path):
    keep_unsure(unsure_folder(path), 9, GREY, 3)
    wipe_traces(path, find_traces(path))
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        *("calibration.json", "dashboard.json", "events.db", "events.db.lock")
    ]
    assert read_corrections(path) == []
    assert len(read_events(path)) == 1
    assert not find_traces(path).is_anything


def test_removes_the_record_on_request_but_never_under_a_running_bin(path: Path):
    with EventLog(path), pytest.raises(EventsError, match="stop it first"):
        find_traces(path, with_events=True)
    wipe_traces(path, find_traces(path, with_events=True))
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["calibration.json", "dashboard.json"]


def test_the_command_asks_and_does_nothing_where_nobody_can_answer(path: Path, tmp_path: Path, capsys):
    config = tmp_path / "bin.toml"
    config.write_text(f'[events]\npath = "{path}"\n')
    assert run_app(["wipe", "--config", str(config)]) == 2
    assert find_traces(path).is_anything
    assert run_app(["wipe", "--yes", "--config", str(config)]) == 0
    assert not find_traces(path).is_anything
    assert capsys.readouterr().out == "removed 2 pictures, 1 corrections, 1 versions learnt\n"


def test_the_token_is_printed_once_and_another_only_on_request(path: Path, tmp_path: Path, capsys):
    config = tmp_path / "bin.toml"
    config.write_text(f'[events]\npath = "{path}"\n[dashboard]\nhost = "0.0.0.0"\nport = 8099\n')
    (path.parent / "dashboard.json").unlink()
    assert run_app(["dashboard", "token", "--config", str(config)]) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[1] == "dashboard: http://127.0.0.1:8099/"
    assert run_app(["dashboard", "token", "--config", str(config)]) == 2
    assert "wastebin dashboard reset" in capsys.readouterr().err
    assert run_app(["dashboard", "reset", "--config", str(config)]) == 0
    assert capsys.readouterr().out.splitlines()[0] != first[0]
