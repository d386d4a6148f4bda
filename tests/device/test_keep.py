"""A correction keeps the picture of its item, and nothing else does."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from bin_fakes import BOX, Bench, MemoryLog, prediction

from device.camera.frame import Frame
from device.errors import ItemsError
from device.event_reader import add_correction
from device.event_store import connect_sqlite
from device.events import Event, EventLog
from device.keep import Keeper
from device.looks import find_looks
from device.pictures import read_picture
from device.region import cut_square
from device.status import Status
from device.unsure import find_unsure, forget_unsure, keep_unsure, unsure_folder

LABELS = ("glass", "metal")
PICTURE = np.random.default_rng(2).integers(0, 256, (480, 640, 3), np.uint8)
MARGIN = 0.1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with decisions 1 to 50."""
    with EventLog(tmp_path / "events.db") as log:
        for _ in range(50):
            log.add(Event("decision", label="glass"))
    return tmp_path / "events.db"


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def keeper(path: Path, log: MemoryLog) -> Keeper:
    return Keeper(path, MARGIN, log)


def decided(events: range) -> Iterator[Status]:
    """The status of the frame on which each of these events was decided."""
    for number in events:
        bench = Bench(["item"], prediction("glass"))
        bench.log.events += [Event("start")] * (number - 1)
        bench.step()
        status = bench.step()
        assert status.decided.event == number
        yield status


def show(keeper: Keeper, events: range) -> None:
    for status in decided(events):
        keeper.frame(status, Frame(PICTURE, status.at_s, status.frame_number))


def correct(path: Path, event: int, label: str) -> None:
    add_correction(path, event, label, LABELS, wall_s=0.0)


def kept(path: Path) -> list[str]:
    return [look.name for look in find_looks(path.parent / "looks")]


def test_a_corrected_item_is_kept_as_the_model_saw_it(path: Path, keeper: Keeper):
    show(keeper, range(3, 5))
    correct(path, 4, "metal")
    keeper.look()
    assert kept(path) == ["metal/event-4.png"]
    picture = read_picture(path.parent / "looks" / "metal" / "event-4.png")
    assert (picture == cut_square(PICTURE, BOX, MARGIN)).all()


def test_nothing_is_kept_of_what_nobody_corrected(path: Path, keeper: Keeper):
    show(keeper, range(3, 5))
    keeper.look()
    assert not (path.parent / "looks").exists()


def test_the_last_word_counts(path: Path, keeper: Keeper):
    show(keeper, range(3, 4))
    for label in ("metal", "glass"):
        correct(path, 3, label)
        keeper.look()
    assert kept(path) == ["glass/event-3.png"]


def test_a_correction_that_was_taken_back_leaves_no_picture_and_may_be_made_again(path: Path, keeper: Keeper):
    show(keeper, range(3, 5))
    correct(path, 3, "metal")
    correct(path, 4, "metal")
    keeper.look()
    with closing(connect_sqlite(path)) as connection:  # as `wipe`, or a spot check's answer that it was right
        connection.execute("DELETE FROM corrections WHERE event_id = 3")
    keeper.look()
    assert kept(path) == ["metal/event-4.png"]
    correct(path, 3, "metal")
    keeper.look()
    assert kept(path) == ["metal/event-3.png", "metal/event-4.png"]


def test_what_lies_too_far_back_has_no_picture_any_more(path: Path, log: MemoryLog):
    room_for_two = 2 * cut_square(PICTURE, BOX, MARGIN).nbytes
    keeper = Keeper(path, MARGIN, log, room_for_two)
    show(keeper, range(1, 4))
    for event in (1, 2, 3):
        correct(path, event, "metal")
    keeper.look()
    assert kept(path) == ["metal/event-2.png", "metal/event-3.png"]


def test_a_frame_without_a_decision_is_not_remembered(path: Path, keeper: Keeper):
    bench = Bench(["item"], prediction("glass"))
    keeper.frame(bench.step(), Frame(PICTURE, 0.0, 0))
    correct(path, 1, "metal")
    keeper.look()
    assert kept(path) == []


def test_trouble_is_told_once_and_the_picture_kept_when_it_is_over(path: Path, keeper: Keeper, log: MemoryLog):
    show(keeper, range(3, 4))
    correct(path, 3, "metal")
    (path.parent / "looks").write_text("a file where a folder must be")
    keeper.look()
    keeper.look()
    assert [event.kind for event in log.events] == ["fault"]
    assert "was not kept" in log.events[0].detail
    (path.parent / "looks").unlink()
    keeper.look()
    assert (kept(path), len(log.events)) == (["metal/event-3.png"], 1)


def test_the_thread_ends_when_it_is_told_to(keeper: Keeper):
    keeper.start()
    keeper.close()
    keeper.close()
    assert [thread.name for thread in threading.enumerate() if thread.name == "keep-looks"] == []


def test_what_is_corrected_just_before_the_end_is_kept_too(path: Path, log: MemoryLog):
    keeper = Keeper(path, MARGIN, log, keep_unsure=1)
    keeper.start()
    show(keeper, range(3, 4))
    keeper.frame(*unsure(5))
    correct(path, 3, "metal")
    keeper.close()
    assert (kept(path), list(find_unsure(unsure_folder(path)))) == (["metal/event-3.png"], [5])


def unsure(number: int) -> tuple[Status, Frame]:
    """The frame on which decision `number` was that nobody can tell."""
    bench = Bench(["item"] * 4, prediction("glass", logit=0.3))
    bench.log.events += [Event("start")] * (number - 1)
    status = next(status for status in (bench.step() for _ in range(6)) if status.decided is not None)
    assert not status.decided.accepted
    return status, Frame(PICTURE, 0.0, 0)


def test_pictures_of_what_it_could_not_name_are_kept_only_where_that_is_asked_for(path: Path, log: MemoryLog) -> None:
    for number, kept in ((0, []), (2, [5, 7])):
        keeper = Keeper(path, MARGIN, log, keep_unsure=number)
        for event in (3, 5, 7):
            keeper.frame(*unsure(event))
        for status in decided(range(1, 2)):
            keeper.frame(status, Frame(PICTURE, 0.0, 0))
        keeper.look()
        assert list(find_unsure(unsure_folder(path))) == kept
    assert np.array_equal(read_picture(find_unsure(unsure_folder(path))[5]), cut_square(PICTURE, BOX, MARGIN))


def test_what_was_unsure_and_is_corrected_is_a_look_from_then_on(path: Path, log: MemoryLog) -> None:
    keeper = Keeper(path, MARGIN, log, keep_unsure=5)
    keeper.frame(*unsure(3))
    keeper.look()
    add_correction(path, 3, "metal", LABELS, wall_s=0.0)
    keeper.look()
    assert find_unsure(unsure_folder(path)) == {}
    assert [look.name for look in find_looks(path.with_name("looks"))] == ["metal/event-3.png"]


def test_a_folder_of_unsure_pictures_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    assert find_unsure(tmp_path / "nowhere") == {}
    (tmp_path / "unsure" / "event-1.png").mkdir(parents=True)
    with pytest.raises(ItemsError, match=r"event-1\.png: cannot be removed \("):
        forget_unsure(tmp_path / "unsure", 1)
    with pytest.raises(ItemsError, match=r"event-1\.png: the picture was not kept \("):
        keep_unsure(tmp_path / "unsure", 1, PICTURE, 3)
