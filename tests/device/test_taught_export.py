"""What people have taught a bin leaves it as one tar, with where each picture comes from; nothing else does."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.errors import ItemsError
from device.event_reader import add_correction
from device.events import Event, EventLog
from device.export import write_export
from device.looks import keep_look
from device.unsure import keep_unsure, unsure_folder

LABELS = ("glass", "metal")


def decision(label: str, prob: float) -> Event:
    probs = {"glass": 1 - prob, "metal": prob}
    return Event("decision", "secret detail", label, prob, probs, True, "Metal", 3, 12.5, "7-abc", mono_s=1.0)


def exported(events_path: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The pictures and the provenance of a tar."""
    stream = io.BytesIO()
    write_export(events_path, stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    lines = [json.loads(line) for line in content.pop("provenance.jsonl").splitlines()]
    return content, lines


def test_pictures_and_corrections_come_with_where_they_are_from(tmp_path: Path) -> None:
    events = tmp_path / "events.db"
    with EventLog(events, wall=lambda: 1_790_000_000.0, mono=lambda: 0.0, boot_id="b") as log:
        for prob in (0.9, 0.8, 0.7):
            log.add(decision("metal", prob))
    grey, white = np.full((4, 4, 3), 99, np.uint8), np.full((4, 4, 3), 255, np.uint8)
    corrected = keep_look(tmp_path / "looks", "glass", "event-2", grey)
    guided = keep_look(tmp_path / "looks", "metal", "look-1", white)
    add_correction(events, 2, "glass", LABELS, wall_s=0.0)
    add_correction(events, 3, "glass", LABELS, wall_s=0.0)
    content, lines = exported(events)
    assert content == {
        "looks/glass/event-2.png": corrected.read_bytes(),
        "looks/metal/look-1.png": guided.read_bytes(),
    }

    def said(prob: float) -> dict[str, Any]:
        return {
            "at": "2026-09-21T14:13:20.000+00:00", "label": "metal", "prob": prob,
            "probs": {"glass": 1 - prob, "metal": prob}, "accepted": True, "bin": "Metal", "frames": 3,
            "model_version": "7-abc",
        }  # fmt: skip

    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    one, other = "looks/glass/event-2.png", "looks/metal/look-1.png"
    assert lines == [
        {"name": one, "sha256": digest(corrected), "label": "glass", "event": 2, "decision": said(0.8)},
        {"name": other, "sha256": digest(guided), "label": "metal", "event": None, "decision": None},
        {"name": None, "sha256": None, "label": "glass", "event": 3, "decision": said(0.7)},
    ]


def test_what_it_was_unsure_of_comes_without_a_label(tmp_path: Path) -> None:
    events = tmp_path / "events.db"
    with EventLog(events, wall=lambda: 1_790_000_000.0, mono=lambda: 0.0, boot_id="b") as log:
        log.add(decision("metal", 0.4))
    keep_unsure(unsure_folder(events), 1, np.full((4, 4, 3), 99, np.uint8), 10)
    content, (line,) = exported(events)
    data = (tmp_path / "unsure" / "event-1.png").read_bytes()
    assert content == {"unsure/event-1.png": data}
    assert line.pop("decision")["prob"] == 0.4
    sha256 = hashlib.sha256(data).hexdigest()
    assert line == {"name": "unsure/event-1.png", "sha256": sha256, "label": None, "event": 1}


def test_a_bin_that_was_taught_nothing_says_so(tmp_path: Path) -> None:
    assert exported(tmp_path / "events.db") == ({}, [])
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_tar_and_nothing_else(tmp_path: Path) -> None:
    keep_look(tmp_path / "looks", "glass", "look-1", np.zeros((4, 4, 3), np.uint8))
    config = tmp_path / "bin.toml"
    config.write_text('events.path = "events.db"\n')
    code = "from device.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "export", "--config", config], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["looks/glass/look-1.png", "provenance.jsonl"]
    assert done.stderr == b""


def test_a_picture_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "looks" / "glass" / "look-1.png").mkdir(parents=True)
    with pytest.raises(ItemsError, match=r"look-1\.png: cannot be read \(Is a directory\); check its permissions$"):
        write_export(tmp_path / "events.db", io.BytesIO())
