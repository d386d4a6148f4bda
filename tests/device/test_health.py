"""When the watchdog is fed and when it is not, on a clock that only the test moves."""

from dataclasses import dataclass, field

from bin_fakes import RGB, Bench, prediction

from device.camera.frame import Frame
from device.health import FRAMES_S, Health, Heartbeat
from device.notify import Notifier


@dataclass(frozen=True, slots=True)
class Heard(Notifier):
    """Keeps what it is told."""

    messages: list[str] = field(default_factory=list)

    def send(self, message: str) -> None:
        self.messages.append(message)


class Day:
    """A bin that acts on frames when it is told to."""

    def __init__(self, watchdog_s: float | None = 10.0) -> None:
        self.now_s = 100.0
        self.writing_s = 0.0
        self.heard = Heard("@systemd", watchdog_s)
        writer = Heartbeat("an event was not written", lambda: self.writing_s, 60.0)
        self.health = Health(self.heard, lambda: self.now_s, (writer,))
        self.status = Bench(["empty"], prediction("glass")).step()

    def passes(self, seconds: float, *, frames: bool = True) -> list[str]:
        """What systemd hears within so many seconds."""
        self.heard.messages.clear()
        for _ in range(round(seconds * 4)):
            self.now_s += 0.25
            if frames:
                self.health.frame(self.status, Frame(RGB, self.now_s, 1))
            self.health.look()
        return list(self.heard.messages)


SORTING = "STATUS=sorting with 1-abc"


def test_the_third_frame_makes_a_bin_ready() -> None:
    day = Day()
    assert day.passes(0.5) == []
    assert not day.health.is_ready
    assert day.passes(0.25) == ["READY=1", SORTING, "WATCHDOG=1"]
    assert day.health.is_ready


def test_the_watchdog_is_fed_four_times_in_its_period() -> None:
    day = Day()
    day.passes(1.0)
    assert day.passes(10.0) == ["WATCHDOG=1"] * 4


def test_a_short_loss_of_the_camera_is_cured_inside_and_feeds_on() -> None:
    day = Day()
    day.passes(1.0)
    assert day.passes(FRAMES_S, frames=False) == ["WATCHDOG=1"] * 12
    assert day.passes(2.5) == ["WATCHDOG=1"]


def test_a_frozen_camera_starves_the_watchdog_and_says_so_once() -> None:
    day = Day()
    day.passes(1.0)
    day.passes(FRAMES_S, frames=False)
    assert day.passes(20.0, frames=False) == ["STATUS=no frame was acted on for 30 s: the watchdog is not fed any more"]


def test_a_writer_that_hangs_starves_the_watchdog_though_frames_come() -> None:
    day = Day()
    day.passes(1.0)
    day.writing_s = 60.5
    heard = day.passes(1.0)
    assert "WATCHDOG=1" not in heard
    assert "STATUS=an event was not written for 60 s: the watchdog is not fed any more" in heard
    day.writing_s = 0.0
    assert day.passes(2.5) == [SORTING, "WATCHDOG=1"]


def test_before_it_is_ready_nothing_is_fed() -> None:
    assert Day().passes(60.0, frames=False) == []


def test_without_a_watchdog_only_readiness_and_status_are_told() -> None:
    assert Day(watchdog_s=None).passes(60.0) == ["READY=1", SORTING]


def test_a_fault_is_the_status_until_it_is_over() -> None:
    day = Day(watchdog_s=None)
    day.passes(1.0)
    day.health.fault("camera: gone")
    assert day.passes(1.0) == []
    day.health.fault(None)
    assert day.passes(1.0) == [SORTING]
    day.heard.messages.clear()
    day.health.fault("camera: gone")
    day.health.stopping()
    assert day.heard.messages == ["STATUS=camera: gone", "STOPPING=1"]
