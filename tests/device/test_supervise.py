"""Cameras and outputs that fail and come back, on a clock that only the script moves."""

from collections.abc import Callable, Iterable

import pytest
from bin_fakes import RGB, Bench, prediction

from device.camera.frame import Frame
from device.capture import Ended, Lost, Taken
from device.errors import CameraNotFound, CameraStalled, ItemsError, OutputError
from device.lend import Lends, Unlent
from device.status import Status
from device.supervise import Supervisor

GLASS = prediction("glass")
GONE = CameraStalled("usb:0: no new frame for 2 s")
UNLENT = Unlent()


class Tended:
    """Counts how often models are looked after."""

    def __init__(self) -> None:
        self.saw_numbers: list[int] = []
        self.steps = 0

    def saw(self, frame: Frame) -> None:
        self.saw_numbers.append(frame.number)

    def step(self) -> None:
        self.steps += 1


class Day:
    """A supervisor around a bench. The script is a list of (seconds that pass, what is taken then)."""

    def __init__(
        self,
        views: list[str],
        script: Iterable[tuple[float, Taken | str | None]],
        *,
        is_live: bool = True,
        lender: Lends = UNLENT,
    ):
        self.bench = Bench(views, GLASS)
        self.script = list(script)
        self.now_s = self.bench.now_s
        self.number = 0
        self.seen: list[Status] = []
        self.faults: list[str | None] = []
        self.looks = 0
        self.on_open: Callable[[], None] = lambda: None
        self.models = Tended()
        self.supervisor = Supervisor(
            self.bench.engine,
            self.take,
            is_live=lambda: is_live,
            open_drive=self.open_drive,
            log=self.bench.log,
            clock=lambda: self.now_s,
            must_stop=lambda: not self.script,
            watcher=self,
            on_look=self.look,
            models=self.models,
            lender=lender,
        )

    def take(self, timeout_s: float) -> Taken | None:
        after_s, thing = self.script.pop(0)
        self.now_s += after_s
        if thing == "frame":
            self.number += 1
            return Frame(RGB, self.now_s, self.number)
        return thing  # type: ignore[return-value]

    def open_drive(self) -> object:
        self.on_open()
        return self.bench.open_drive()

    def look(self) -> None:
        self.looks += 1

    def frame(self, status: Status, frame: Frame) -> None:
        self.seen.append(status)

    def fault(self, sentence: str | None) -> None:
        self.faults.append(sentence)

    def run(self) -> None:
        self.supervisor.run()

    def details(self) -> list[str]:
        return [event.detail for event in self.bench.log.events if event.kind == "fault"]


def steady(count: int) -> list[tuple[float, Taken | str | None]]:
    return [(0.125, "frame")] * count


def test_feeds_frames_to_the_engine_and_shows_every_status():
    day = Day(["empty", "item", "item", "empty"], steady(8))
    day.run()
    assert [str(s.state) for s in day.seen] == ["watching", "voting", *["moving"] * 3, "checking", *["watching"] * 2]
    assert day.faults == []


def test_models_are_tended_at_each_look_and_told_of_frames_that_were_acted_on():
    day = Day(["empty"], [(0.125, "frame"), (0.1, None), (0.125, Frame(RGB, -9.0, 7)), (0.125, "frame")])
    day.run()
    assert (day.models.saw_numbers, day.models.steps) == ([1, 2], 4)


def test_a_finite_source_that_ends_ends_the_run():
    day = Day(["empty"], [(0.1, "frame"), (0.1, Ended()), (0.1, "frame")], is_live=False)
    day.run()
    assert len(day.seen) == 1
    assert day.script == [(0.1, "frame")]


def test_a_source_that_is_no_use_raises_its_own_error():
    with pytest.raises(ItemsError, match="no picture"):
        Day(["empty"], [(0.1, Ended(ItemsError("dir:x: no picture")))]).run()


def test_a_camera_that_cannot_be_opened_at_the_start_is_an_error():
    with pytest.raises(CameraNotFound, match="usb:7"):
        Day(["empty"], [(0.1, Lost(CameraNotFound("usb:7: not there"), 1, 0.5))]).run()


def test_a_lost_camera_parks_an_open_flap_and_sorting_resumes_when_it_is_back():
    lost = [(0.1, Lost(GONE, 1, 0.5)), *[(0.2, None)] * 3, (0.1, Lost(GONE, 2, 1.0)), *[(0.2, None)] * 3]
    day = Day(["item", "item", "moving", "moving", "empty"], [*steady(4), *lost, *steady(3)])
    day.run()
    assert day.bench.moved() == [("Glass", 2000.0), ("Glass", None), ("Glass", 1000.0), ("Glass", None)]
    assert day.details() == [f"{GONE} (opening it again)", "over: frames again after 1.4 s"]
    assert day.faults == [f"{GONE} (opening it again)", None]
    assert [str(s.state) for s in day.seen[-3:]] == ["watching"] * 3


def test_an_open_flap_closes_while_no_frame_comes_at_all():
    day = Day(["item", "item", "moving"], [*steady(4), (0.1, Lost(GONE, 1, 0.5)), *[(0.2, None)] * 4])
    day.run()
    assert day.bench.moved() == [("Glass", 2000.0), ("Glass", None), ("Glass", 1000.0), ("Glass", None)]


def test_silence_is_a_fault_after_two_seconds_and_the_end_after_ten():
    day = Day(["empty"], [*steady(2), *[(0.5, None)] * 30])
    with pytest.raises(CameraStalled, match="silent for 10 s"):
        day.run()
    assert day.details() == ["camera: no new frame for 2 s; the outputs are parked until one comes"]
    assert day.now_s - day.bench.now_s == pytest.approx(0.25 + 10.5)


def test_every_look_is_told_whatever_it_finds():
    day = Day(["empty"], [*steady(2), (0.1, Lost(GONE, 1, 0.5)), (0.2, None), (0.1, "frame"), (0.1, Ended())])
    day.run()
    assert (day.looks, len(day.seen)) == (5, 3)


def test_a_pause_before_reopening_is_no_silence():
    day = Day(["empty"], [*steady(1), (0.1, Lost(GONE, 9, 10.0)), *[(0.5, None)] * 30, *steady(1)])
    day.run()
    assert len(day.seen) == 2


def test_a_recording_is_never_late_and_never_silent():
    old = Frame(RGB, -100.0, 1)
    day = Day(["empty"], [(0.1, old), *[(5.0, None)] * 5], is_live=False)
    day.run()
    assert len(day.seen) == 1
    assert day.details() == []


def test_decides_nothing_on_a_frame_older_than_a_second():
    day = Day(["item"], [])
    late = [(0.125, Frame(RGB, day.now_s + 0.125 * n - 1.2, n)) for n in range(1, 40)]
    day.script = [*steady(1), *late]
    day.run()
    assert len(day.seen) == 1
    assert day.bench.log.kinds() == ["fault"]
    assert day.bench.log.counts["late_frame"] == 39


def test_an_output_that_refuses_is_released_and_opened_again_with_growing_pauses():
    day = Day(["item", "item", "empty"], [*steady(1), *[(0.125, "frame")] * 40])
    refusals = 2

    def open_drive() -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OutputError("pins: 'Glass' on BCM 5: refused")

    day.on_open = open_drive
    old = day.bench.engine.drive
    old.close()  # from now on every order is refused
    day.run()
    assert day.bench.engine.drive is not old
    assert [detail.partition(" (")[2] for detail in day.details()] == ["outputs released, opening them again)", ""]
    assert day.details()[-1] == "over: the outputs are open again"
    assert day.faults[1:] == ["pins: 'Glass' on BCM 5: refused", None]
    gap_s = max(b.at_s - a.at_s for a, b in zip(day.seen, day.seen[1:], strict=False))
    assert 0.5 + 1.0 + 2.0 <= gap_s <= 0.5 + 1.0 + 2.0 + 4 * 0.125


def test_parks_before_it_releases_the_outputs():
    day = Day(["item", "item", "moving"], steady(5))
    day.run()

    def pause(seconds: float) -> None:
        day.now_s += seconds

    day.supervisor.park(pause)
    assert day.bench.moved() == [("Glass", 2000.0), ("Glass", None), ("Glass", 1000.0), ("Glass", None)]
    with pytest.raises(OutputError, match="pins were closed"):
        day.bench.engine.drive.alarm(True)


def test_parking_outputs_that_refuse_still_releases_them():
    day = Day(["item", "item", "moving"], steady(5))
    day.run()
    day.bench.engine.drive.close()
    day.supervisor.park(lambda seconds: setattr(day, "now_s", day.now_s + seconds))
    assert day.details() == ["pins: 'Glass' was told to move after the pins were closed; open the drive again"]


def test_a_bin_that_never_saw_a_frame_moves_nothing_on_its_way_out():
    day = Day(["empty"], [])
    day.bench.engine.replace_drive(day.bench.open_drive())
    day.supervisor.park(lambda seconds: pytest.fail("waited"))
    assert day.bench.moved() == []


def test_tells_a_full_disk_beside_a_lost_camera_and_goes_on_sorting():
    day = Day(["empty"], [*steady(1), (0.1, Lost(GONE, 1, 0.5)), *steady(2)])
    day.bench.log.faults = ("events.db: events wait in memory",)
    day.run()
    lost = f"{GONE} (opening it again); events.db: events wait in memory"
    assert day.faults == ["events.db: events wait in memory", lost, "events.db: events wait in memory"]
    assert len(day.seen) == 3


class Borrower:
    """Wants the bin from one frame on, until another."""

    def __init__(self, day: list[Day], first: int, last: int) -> None:
        self.day = day
        self.first = first
        self.last = last
        self.given: list[tuple[int, str, bool]] = []
        self.told: list[tuple[str, int]] = []

    def lent(self) -> None:
        self.told.append(("lent", self.day[0].number))

    def returned(self) -> None:
        self.told.append(("returned", self.day[0].number))

    @property
    def is_wanted(self) -> bool:
        return self.first <= self.day[0].number <= self.last

    def give(self, frame: Frame) -> None:
        bench = self.day[0].bench
        told = bench.engine.drive.outputs()
        is_quiet = all(value in (None, 0.0) for value in told.values())
        self.given.append((frame.number, str(bench.engine.drive.phase), is_quiet))


def test_a_bin_that_is_lent_parks_first_decides_nothing_and_goes_on_with_new_outputs():
    days: list[Day] = []
    borrower = Borrower(days, first=5, last=12)
    day = Day(["empty", "item"], steady(24), lender=borrower)
    days.append(day)
    day.on_open = lambda: borrower.told.append(("opened", day.number))
    day.run()
    # It was on its way to open a flap: a stroke of an eighth of a second home, then the frames are the borrower's.
    assert [number for number, *_ in borrower.given] == list(range(borrower.given[0][0], 13))
    assert 5 < borrower.given[0][0] < 9
    assert all(is_quiet for _, _, is_quiet in borrower.given)
    # What was found is gone by before the outputs are opened again.
    assert borrower.told == [("lent", borrower.given[0][0]), ("returned", 13), ("opened", 13)]
    assert [status.frame_number for status in day.seen] == [1, 2, 3, 4, *range(13, 25)]
    assert day.seen[-1].counts != {}
    assert day.details() == []


def test_a_bin_that_is_lent_while_a_hand_is_in_view_waits_for_it_and_no_longer():
    days: list[Day] = []
    borrower = Borrower(days, first=6, last=20)
    day = Day(["empty", *["item"] * 3, *["blocked"] * 5, "empty"], steady(24), lender=borrower)
    days.append(day)
    day.run()
    # The hand is there up to the ninth frame; then a stroke home.
    assert 9 < borrower.given[0][0] < 13
    assert all(is_quiet for _, _, is_quiet in borrower.given)


@pytest.mark.parametrize(("silent_s", "faults"), [(4.5, 0), (5.5, 2)])
def test_a_camera_that_is_opened_anew_after_lending_may_be_silent_for_a_while(silent_s: float, faults: int):
    days: list[Day] = []
    script = [*steady(13), *[(0.5, None)] * int(2 * silent_s), *steady(3)]
    day = Day(["empty"], script, lender=Borrower(days, first=2, last=12))
    days.append(day)
    day.run()
    assert len(day.details()) == faults


def test_outputs_that_cannot_be_opened_after_lending_are_a_fault_that_mends():
    days: list[Day] = []
    day = Day(["empty"], steady(40), lender=Borrower(days, first=2, last=8))
    days.append(day)
    refusals = [OutputError("pins: busy")]

    def refuse_once() -> None:
        if refusals:
            raise refusals.pop()

    day.on_open = refuse_once
    day.run()
    assert day.details() == ["pins: busy (outputs released, opening them again)", "over: the outputs are open again"]
    assert day.seen[-1].frame_number == 40
