"""The live view, rendered to text; colours are looked at by people, words and places by these tests."""

import io
from dataclasses import replace

import numpy as np
import pytest
from bin_fakes import Bench, prediction
from rich.console import Console

from device.camera.frame import Frame
from device.drive import Phase
from device.status import Decided, State, Status
from device.view import Picture, View

BINS = ("Glass", "Paper", "Rest")
RGB = np.full((48, 64, 3), 120, np.uint8)
FRAME = Frame(RGB, 0.0, 0)
DECIDED = Decided(7, "glass", 0.96, {"glass": 0.96, "paper": 0.03, "trash": 0.01}, True, "Glass", 3, 240.4, 1.0)


@pytest.fixture(scope="module")
def voting() -> Status:
    status = Bench(["item"], prediction("glass", logit=1.0)).step()
    assert isinstance(status, Status)
    return replace(status, box=(16, 12, 16, 12), vote={"glass": 0.5, "paper": 0.25, "trash": 0.25})


def drawn(view: View, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text().splitlines()


def test_says_by_name_what_is_simulated():
    lines = drawn(View("simulator", "mock pins", BINS))
    assert "wastebin · simulator, mock pins" in lines[0]
    assert "Waiting for the first frame." in lines[1]


def test_fits_a_terminal_of_80_by_24(voting: Status):
    view = View("simulator", "mock pins", BINS)
    view.frame(voting, FRAME)
    lines = drawn(view)
    assert len(lines) == 24
    assert {len(line) for line in lines} == {80}


def test_uses_a_larger_terminal(voting: Status):
    view = View("usb:0", "lgpio", BINS)
    view.frame(voting, FRAME)
    lines = drawn(view, 120, 40)
    assert len(lines) == 29
    assert {len(line) for line in lines} == {96}


def test_shows_the_vote_as_it_forms(voting: Status):
    view = View("simulator", "mock pins", BINS)
    view.frame(voting, FRAME)
    right = [line[36:-1].rstrip() for line in drawn(view)[1:9]]
    assert right == [
        "learn · watch · vote · wait · move · check",
        "",
        "Looking at an item.  one frame so far",
        "Tray: an item lies still.",
        "",
        "glass     ████████████              50%",
        "paper     ██████                    25%",
        "trash     ██████                    25%",
    ]


def test_shows_bins_flaps_counts_and_the_last_decisions(voting: Status):
    view = View("simulator", "mock pins", BINS)
    moving = replace(
        voting,
        state=State.MOVING,
        phase=Phase.OPEN,
        vote={},
        decided=DECIDED,
        last=DECIDED,
        counts={"Glass": 2, "Paper": 0, "Rest": 1},
        outputs={"Glass": 2000.0, "Paper": None, "Rest": None, "alarm": 0.0},
        jams=1,
    )
    view.frame(moving, FRAME)
    strange = replace(DECIDED, event=8, label="paper", prob=0.5, accepted=False, bin="Rest", frames=8, reason="strange")
    view.frame(replace(moving, decided=strange), FRAME)
    lines = [" ".join(line.strip("│╭╮╰╯─ ").split()) for line in drawn(view)]
    assert lines[14:17] == ["Glass Paper Rest", "open · ·", "2 0 1"]
    assert lines[18:21] == [
        "no material sure goes to frames ms",
        "8 paper 50% Rest, strange 8 240",
        "7 glass 96% Glass 3 240",
    ]
    assert lines[22] == "Glass 2000 µs · one jam · contamination: not known, it needs corrections"
    assert any("Moving: Glass (open)" in line for line in lines)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_words(voting: Status, state: State):
    view = View("simulator", "mock pins", BINS)
    view.frame(replace(voting, state=state), FRAME)
    assert len(drawn(view)) == 24


def test_shows_a_fault_until_it_is_over(voting: Status):
    view = View("usb:0", "lgpio", BINS)
    view.frame(voting, FRAME)
    view.fault("usb:0: no new frame for 2 s")
    assert "usb:0: no new frame for 2 s" in drawn(view)[22]
    view.fault(None)
    assert "no new frame" not in "".join(drawn(view))


def test_says_goodbye_with_the_counts(voting: Status):
    view = View("simulator", "mock pins", BINS)
    assert view.farewell() == "Nothing was seen."
    view.frame(replace(voting, counts={"Glass": 2, "Paper": 0, "Rest": 1}), FRAME)
    assert view.farewell() == "3 sorted: Glass 2, Paper 0, Rest 1"


def test_draws_two_pixels_a_character_with_red_first():
    rgb = np.zeros((4, 2, 3), np.uint8)
    rgb[0::2] = (248, 0, 0)
    rgb[1::2] = (0, 0, 248)
    console = Console(width=10, force_terminal=True, color_system="truecolor")
    cells = [
        (segment.text, tuple(segment.style.color.triplet), tuple(segment.style.bgcolor.triplet))
        for segment in console.render(Picture(rgb, None, columns=2, lines=2))
        if segment.style
    ]
    assert cells == [("▀", (248, 0, 0), (0, 0, 248))] * 4


def test_marks_the_item_in_the_picture_and_leaves_the_frame_alone():
    rgb = np.full((40, 40, 3), 8, np.uint8)
    rgb.setflags(write=False)
    console = Console(width=20, force_terminal=True, color_system="truecolor")
    marked = [
        segment.style.color.triplet.green > 100
        for segment in console.render(Picture(rgb, (10, 10, 20, 20), columns=8, lines=4))
        if segment.style
    ]
    assert np.array(marked).reshape(4, 8).astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0],
        [0, 0, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
