"""Lines for journals and machines."""

import io
import json

import pytest
from bin_fakes import RGB, Bench, prediction

from device.camera.frame import Frame
from device.classify import Prediction
from device.lines import JsonLines, Lines

FRAME = Frame(RGB, 0.0, 0)


def run(watcher: Lines | JsonLines, views: list[str], steps: int, *script: object) -> None:
    bench = Bench(views, *(script or (prediction("glass"),)))  # type: ignore[arg-type]
    for _ in range(steps):
        watcher.frame(bench.step(), FRAME)


def test_says_one_line_for_each_decision():
    out = io.StringIO()
    run(Lines(out), ["item", "item", "empty"], 8)
    assert out.getvalue() == "    1  glass      100%  -> Glass  (2 frames, 130 ms)\n"


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (prediction("glass", logit=0.3), "    1  glass       44%  -> Rest, unsure  (3 frames, 255 ms)\n"),
        (prediction("glass", familiarity=0.1), "    1  glass      100%  -> Rest, strange  (3 frames, 255 ms)\n"),
    ],
)
def test_says_in_a_word_why_it_was_not_accepted(seen: Prediction, said: str):
    out = io.StringIO()
    run(Lines(out), ["item", "item", "item", "empty"], 8, seen)
    assert out.getvalue() == said


def test_says_an_alarm_once_and_faults_as_they_come_and_go():
    out = io.StringIO()
    lines = Lines(out)
    run(lines, ["item"], 20)
    lines.fault("usb:0: gone")
    lines.fault(None)
    assert out.getvalue().splitlines()[1:] == [
        "alarm  the item is stuck; take it out by hand",
        "fault  usb:0: gone",
        "fault  over",
    ]


def test_json_lines_hold_every_change_of_state_and_the_decision():
    out = io.StringIO()
    lines = JsonLines(out)
    run(lines, ["empty", "item", "item", "empty"], 8)
    lines.fault("usb:0: gone")
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["kind"], line.get("state")) for line in said] == [
        ("status", "watching"),
        ("status", "voting"),
        ("decision", None),
        ("status", "moving"),
        ("status", "checking"),
        ("status", "watching"),
        ("fault", None),
    ]
    assert said[2] == {
        "kind": "decision",
        "event": 1,
        "label": "glass",
        "prob": 0.9993,
        "probs": {"glass": 0.9993, "paper": 0.0003, "trash": 0.0003},
        "accepted": True,
        "reason": None,
        "familiarity": None,
        "bin": "Glass",
        "frames": 2,
        "decision_ms": 130.0,
        "model": "1-abc",
    }
    assert said[-2]["counts"] == {"Glass": 1, "Paper": 0, "Rest": 0}
    assert said[-1] == {"kind": "fault", "detail": "usb:0: gone"}
