"""The capture thread with cameras that obey; nothing here waits longer than a thread needs."""

import threading
import time
from types import TracebackType
from typing import Self

import pytest
from bin_fakes import RGB

from device.camera.frame import Frame
from device.capture import Capture, Ended, Lost, Slot
from device.errors import CameraStalled, ItemsError

DEADLINE_S = 20.0


class ObedientCamera:
    """Gives what its script says: frames, errors, None at the end."""

    name = "obedient"

    def __init__(self, script: list[Frame | Exception | None], *, is_live: bool = False) -> None:
        self.script = script
        self.is_live = is_live
        self.is_closed = False

    def read(self) -> Frame | None:
        thing = self.script.pop(0)
        if isinstance(thing, Exception):
            raise thing
        return thing

    def close(self) -> None:
        self.is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frame(number: int) -> Frame:
    return Frame(RGB, number / 8, number)


def drain(capture: Capture) -> list[object]:
    """What comes out until the source has ended: frame numbers, and other things as they are."""
    things: list[object] = []
    while True:
        thing = capture.slot.take(DEADLINE_S)
        assert thing is not None
        things.append(thing.number if isinstance(thing, Frame) else thing)
        if isinstance(thing, Ended):
            return things


def test_a_finite_source_waits_so_that_no_frame_is_lost():
    capture = Capture(lambda: ObedientCamera([frame(1), frame(2), frame(3), None]))
    capture.start()
    assert drain(capture) == [1, 2, 3, Ended()]
    assert capture.close(DEADLINE_S) is True
    assert capture.is_live is False


def test_the_slot_keeps_only_the_newest():
    slot = Slot()
    for number in (1, 2, 3):
        slot.put(frame(number))
    newest = slot.take(0.0)
    assert isinstance(newest, Frame)
    assert newest.number == 3
    assert slot.take(0.0) is None
    assert slot.wait_taken(0.0) is True


def test_a_lost_camera_is_closed_reported_and_opened_again():
    stalled = CameraStalled("obedient: no new frame")
    cameras = [ObedientCamera([frame(1), stalled]), ObedientCamera([frame(2), None])]
    opened = list(cameras)
    capture = Capture(lambda: opened.pop(0), pause=lambda seconds: capture.slot.wait_taken(DEADLINE_S))
    capture.start()
    assert drain(capture) == [1, Lost(stalled, attempt=1, again_s=0.5), 2, Ended()]
    assert [camera.is_closed for camera in cameras] == [True, True]


def test_a_frame_in_between_makes_the_next_pause_a_short_one_again():
    pauses: list[float] = []
    stalled = CameraStalled("gone")
    scripts = [[stalled], [stalled], [frame(1), stalled], [None]]
    capture = Capture(lambda: ObedientCamera(scripts.pop(0)), pause=pauses.append)
    capture.start()
    assert isinstance(drain(capture)[-1], Ended)
    assert pauses == [0.5, 1.0, 0.5]


def test_opening_again_happens_ever_less_often():
    pauses: list[float] = []
    has_tried_enough = threading.Event()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 7:
            has_tried_enough.set()
            release.wait(DEADLINE_S)

    release = threading.Event()
    capture = Capture(lambda: ObedientCamera([CameraStalled("gone")], is_live=True), pause=pause)
    capture.start()
    assert has_tried_enough.wait(DEADLINE_S)
    capture.close(deadline_s=0.0)
    release.set()
    assert capture.close(DEADLINE_S) is True
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_source_that_is_no_use_ends_with_its_error():
    refused = ItemsError("dir:empty: holds no picture")

    def open_camera() -> ObedientCamera:
        raise refused

    capture = Capture(open_camera)
    capture.start()
    assert drain(capture) == [Ended(refused)]


def test_records_every_frame_before_it_is_handed_on():
    recorded: list[int] = []
    capture = Capture(
        lambda: ObedientCamera([frame(1), frame(2), None]), record=lambda each: recorded.append(each.number)
    )
    capture.start()
    drain(capture)
    assert recorded == [1, 2]


def test_a_camera_that_never_returns_is_left_behind_after_the_deadline():
    release = threading.Event()

    class Hanging(ObedientCamera):
        def read(self) -> Frame | None:
            release.wait(DEADLINE_S)
            return None

    capture = Capture(lambda: Hanging([], is_live=True))
    capture.start()
    assert capture.close(deadline_s=0.05) is False
    release.set()
    assert capture.close(DEADLINE_S) is True


def test_closing_before_starting_is_harmless():
    assert Capture(lambda: pytest.fail("opened")).close() is True


def test_a_live_camera_is_opened_anew_when_asked_and_the_old_one_is_closed_first():
    opened: list[ObedientCamera] = []

    def open_camera() -> ObedientCamera:
        assert all(camera.is_closed for camera in opened)
        opened.append(ObedientCamera([frame(number) for number in range(10_000)], is_live=True))
        return opened[-1]

    capture = Capture(open_camera)
    capture.start()
    assert isinstance(capture.slot.take(DEADLINE_S), Frame)
    capture.reopen()
    end_s = time.monotonic() + DEADLINE_S
    while len(opened) < 2:
        assert isinstance(capture.slot.take(DEADLINE_S), Frame)
        assert time.monotonic() < end_s
    assert capture.close(DEADLINE_S) is True
    assert [camera.is_closed for camera in opened] == [True, True]


def test_a_finite_source_is_never_begun_again():
    opened: list[ObedientCamera] = []

    def open_camera() -> ObedientCamera:
        opened.append(ObedientCamera([frame(1), frame(2), frame(3), None]))
        return opened[-1]

    capture = Capture(open_camera)
    capture.start()
    assert isinstance(capture.slot.take(DEADLINE_S), Frame)
    capture.reopen()
    assert drain(capture) == [2, 3, Ended()]
    assert len(opened) == 1
    assert capture.close(DEADLINE_S) is True
