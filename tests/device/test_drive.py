import time
from collections.abc import Callable

import pytest

from device.drive import Drive, Driven, Phase, build_drive, open_drive, park_pins
from device.errors import OutputError
from device.outputs import DiverterOutputs, FlapOutputs, LedOutputs, OutputsConfig, PinnedLed, PinnedServo
from device.pins import Pins, open_pins

FLAPS = FlapOutputs(
    flaps=(PinnedServo("Glass", 5, 1000), PinnedServo("Trash", 6, 1100)),
    open_us={"Glass": 1900, "Trash": 2000},
    move_s=0.5,
    hold_s=1.0,
    alarm_pin_bcm=21,
)
DIVERTER = DiverterOutputs(
    pan=PinnedServo("pan", 12, 1500),
    tilt=PinnedServo("tilt", 13, 1450),
    positions_us={"Glass": (1000, 2000), "Trash": (1500, 1000)},
    move_s=0.5,
    hold_s=1.0,
)
LEDS = LedOutputs(leds=(PinnedLed("Glass", 5), PinnedLed("Trash", 6)), show_s=2.0, alarm_pin_bcm=21)
BUILDS = pytest.mark.parametrize("outputs", [LEDS, FLAPS, DIVERTER], ids=["leds", "flaps", "diverter"])


class Bench:
    """A drive on mock pins with its own time; looks every 0.1 s like a camera of 10 Hz."""

    def __init__(self, outputs: OutputsConfig, pins: Pins | None = None) -> None:
        self.ticks = 0
        self.trace: list[Driven] = []
        self.opened: list[tuple[float, str]] = []
        self.pins = pins or open_pins("mock")
        self.drive: Drive = build_drive(
            outputs,
            self.pins,
            clock=lambda: self.now_s,
            trace=self.trace.append,
            on_open=lambda name: self.opened.append((self.now_s, name)),
        )

    @property
    def now_s(self) -> float:
        return self.ticks / 10

    def look(self, seconds: float, is_clear: bool = True) -> Phase:
        for _ in range(round(seconds * 10)):
            self.ticks += 1
            self.drive.step(self.now_s, is_clear=is_clear)
        return self.drive.phase

    def homed(self) -> "Bench":
        while self.look(0.1) is not Phase.PARKED:
            assert self.now_s < 10
        self.ticks = 0
        self.trace.clear()
        return self

    def begin(self, name: str) -> None:
        self.drive.begin(name, self.now_s)
        self.drive.step(self.now_s, is_clear=True)


def test_a_new_drive_closes_one_flap_after_the_other_before_it_takes_an_item() -> None:
    bench = Bench(FLAPS)
    assert bench.drive.phase is Phase.CLOSING
    bench.drive.step(0.0, is_clear=True)
    with pytest.raises(OutputError, match="asked for bin 'Glass' while closing, expected parked; step"):
        bench.drive.begin("Glass", 0.0)
    assert bench.look(1.0) is Phase.PARKED
    assert bench.trace == [
        Driven(0.0, "Glass", 1000.0),
        Driven(0.5, "Glass", None),
        Driven(0.5, "Trash", 1100.0),
        Driven(1.0, "Trash", None),
    ]
    assert bench.opened == []
    bench.drive.close()


def test_a_new_drive_waits_for_a_clear_view_before_it_closes_its_flaps() -> None:
    bench = Bench(FLAPS)
    assert bench.look(3.0, is_clear=False) is Phase.CLOSING
    assert bench.trace == []
    assert bench.look(1.2) is Phase.PARKED
    bench.drive.close()


def test_a_flap_opens_holds_and_closes_and_is_detached_after_each_move() -> None:
    bench = Bench(FLAPS).homed()
    bench.begin("Trash")
    phases = [(bench.now_s, bench.drive.phase)]
    for _ in range(25):
        phase = bench.look(0.1)
        if phase is not phases[-1][1]:
            phases.append((bench.now_s, phase))
    assert phases == [(0.0, Phase.MOVING), (0.5, Phase.OPEN), (1.5, Phase.CLOSING), (2.0, Phase.PARKED)]
    assert bench.trace == [
        Driven(0.0, "Trash", 2000.0),
        Driven(0.5, "Trash", None),
        Driven(1.5, "Trash", 1100.0),
        Driven(2.0, "Trash", None),
    ]
    assert bench.opened == [(0.5, "Trash")]
    bench.drive.close()


def test_the_diverter_turns_then_tips_and_levels_before_it_turns_back() -> None:
    bench = Bench(DIVERTER).homed()
    bench.begin("Glass")
    assert bench.look(3.0) is Phase.PARKED
    assert bench.trace == [
        Driven(0.0, "pan", 1000.0),
        Driven(0.5, "pan", None),
        Driven(0.5, "tilt", 2000.0),
        Driven(1.0, "tilt", None),
        Driven(2.0, "tilt", 1450.0),
        Driven(2.5, "tilt", None),
        Driven(2.5, "pan", 1500.0),
        Driven(3.0, "pan", None),
    ]
    assert bench.opened == [(1.0, "Glass")]
    bench.drive.close()


def test_the_diverter_leaves_a_servo_alone_that_is_where_it_should_be() -> None:
    bench = Bench(DIVERTER).homed()
    bench.begin("Trash")  # straight ahead: only the tilt has to move
    assert bench.look(2.0) is Phase.PARKED
    assert bench.trace == [
        Driven(0.0, "tilt", 1000.0),
        Driven(0.5, "tilt", None),
        Driven(1.5, "tilt", 1450.0),
        Driven(2.0, "tilt", None),
    ]
    bench.drive.close()


def test_a_lamp_is_lit_for_its_time_whatever_moves_in_view() -> None:
    bench = Bench(LEDS)
    assert bench.drive.phase is Phase.PARKED
    bench.drive.begin("Glass", 0.0)
    assert bench.drive.phase is Phase.SHOWING
    assert bench.drive.outputs() == {"Glass": 1.0, "Trash": 0.0, "alarm": 0.0}
    assert bench.look(1.9, is_clear=False) is Phase.SHOWING
    assert bench.look(0.1, is_clear=False) is Phase.PARKED
    assert bench.trace == [Driven(0.0, "Glass", 1.0), Driven(2.0, "Glass", 0.0)]
    assert bench.opened == [(0.0, "Glass")]
    assert bench.drive.waited_s == 0.0
    bench.drive.close()


def test_no_servo_starts_while_something_moves_in_view_and_the_wait_is_told() -> None:
    bench = Bench(DIVERTER).homed()
    bench.drive.begin("Glass", 0.0)
    bench.drive.step(0.0, is_clear=False)
    waits = []
    for name in ("pan out", "tilt out", "tilt back", "pan back"):
        bench.look(4.0, is_clear=False)
        waits.append((name, bench.drive.phase, round(bench.drive.waited_s, 9)))
        bench.look(0.1)
        assert bench.drive.waited_s == 0.0
    # The stroke takes 0.5 s and the pause 1.0 s of each 4 s; the rest is waiting.
    assert waits == [
        ("pan out", Phase.MOVING, 4.0),
        ("tilt out", Phase.MOVING, 3.5),
        ("tilt back", Phase.OPEN, 2.5),
        ("pan back", Phase.CLOSING, 3.5),
    ]
    assert [(driven.at_s, driven.output) for driven in bench.trace if driven.value is not None] == [
        (4.1, "pan"),
        (8.2, "tilt"),
        (12.3, "tilt"),
        (16.4, "pan"),
    ]
    assert bench.look(0.5, is_clear=False) is Phase.PARKED
    bench.drive.close()


def test_a_running_move_is_not_stopped_by_movement() -> None:
    bench = Bench(FLAPS).homed()
    bench.begin("Glass")
    assert bench.look(0.5, is_clear=False) is Phase.OPEN
    assert bench.trace == [Driven(0.0, "Glass", 1900.0), Driven(0.5, "Glass", None)]
    bench.drive.close()


@pytest.mark.parametrize("begun_s", [0.0, 0.3, 0.5, 1.2, 1.7])
def test_parking_closes_what_is_open_without_waiting_for_a_clear_view(begun_s: float) -> None:
    bench = Bench(FLAPS).homed()
    bench.begin("Glass")
    bench.look(begun_s)
    bench.drive.park(bench.now_s)
    assert bench.drive.phase is Phase.CLOSING
    bench.look(1.1, is_clear=False)
    assert bench.drive.phase is Phase.PARKED
    assert [driven.value for driven in bench.trace] == [1900.0, None, 1000.0, None]
    assert {driven.output for driven in bench.trace} == {"Glass"}
    bench.drive.park(bench.now_s)  # at rest: nothing to do
    assert bench.look(1.0) is Phase.PARKED
    assert len(bench.trace) == 4
    # The hurry is over with it.
    bench.drive.begin("Trash", bench.now_s)
    bench.look(1.0, is_clear=False)
    assert len(bench.trace) == 4
    bench.drive.close()


def test_parking_before_the_first_move_starts_moves_nothing() -> None:
    bench = Bench(FLAPS).homed()
    bench.drive.begin("Glass", 0.0)
    bench.look(1.0, is_clear=False)
    bench.drive.park(bench.now_s)
    assert bench.look(0.1, is_clear=False) is Phase.PARKED
    assert bench.drive.waited_s == 0.0
    assert bench.trace == []
    bench.drive.close()


def test_parking_levels_the_diverter_before_it_turns_back() -> None:
    bench = Bench(DIVERTER).homed()
    bench.begin("Glass")
    bench.look(0.7)  # turned, and tipping
    bench.drive.park(bench.now_s)
    assert bench.look(1.2, is_clear=False) is Phase.PARKED
    assert bench.trace[3:] == [
        Driven(0.7, "tilt", None),
        Driven(0.8, "tilt", 1450.0),
        Driven(1.3, "tilt", None),
        Driven(1.3, "pan", 1500.0),
        Driven(1.8, "pan", None),
    ]
    bench.drive.close()


def test_parking_makes_lamps_dark_at_once() -> None:
    bench = Bench(LEDS)
    bench.drive.begin("Trash", 0.0)
    bench.drive.park(0.5)
    assert bench.drive.phase is Phase.PARKED
    assert bench.trace == [Driven(0.0, "Trash", 1.0), Driven(0.5, "Trash", 0.0)]
    bench.drive.close()


@BUILDS
def test_closing_releases_everything_at_once_and_once_only(outputs: OutputsConfig) -> None:
    bench = Bench(outputs)
    if outputs is not LEDS:
        bench.homed()
    bench.begin("Glass")
    bench.drive.alarm(True)
    bench.look(0.2)
    devices = list(bench.pins.factory.pins.values())
    bench.drive.close()
    released = [driven for driven in bench.trace if driven.at_s == bench.now_s]
    assert {driven.value for driven in released} <= {None, 0.0}
    assert set(bench.drive.outputs().values()) <= {None, 0.0}
    assert {(pin.function, pin.frequency) for pin in devices} == {("input", None)}
    assert bench.pins.factory.pins == {}
    before = list(bench.trace)
    bench.drive.close()
    assert bench.trace == before


def work_until_interrupted(drive: Drive) -> None:
    with drive:
        if drive.step(0.0, is_clear=True) is Phase.PARKED:
            drive.begin("Glass", 0.0)
        assert any(drive.outputs().values())
        raise KeyboardInterrupt


@BUILDS
def test_leaving_the_context_by_an_exception_releases_everything(outputs: OutputsConfig) -> None:
    pins = open_pins("mock")
    drive = build_drive(outputs, pins, clock=lambda: 0.0)
    with pytest.raises(KeyboardInterrupt):
        work_until_interrupted(drive)
    assert not any(drive.outputs().values())
    assert pins.factory.pins == {}


@BUILDS
def test_a_bin_without_an_output_is_refused(outputs: OutputsConfig) -> None:
    bench = Bench(outputs)
    with pytest.raises(OutputError) as caught:
        bench.drive.begin("Paper", 0.0)
    assert str(caught.value) == "drive: no output for bin 'Paper'; there is one for 'Glass', 'Trash'"
    assert bench.drive.bins == ("Glass", "Trash")
    bench.drive.close()


@BUILDS
def test_a_second_item_is_refused_until_the_first_is_done(outputs: OutputsConfig) -> None:
    bench = Bench(outputs)
    bench.look(1.5)
    bench.drive.begin("Glass", bench.now_s)
    with pytest.raises(OutputError, match=r"drive: asked for bin 'Trash' while (moving|showing), expected parked"):
        bench.drive.begin("Trash", bench.now_s)
    bench.look(9.0)
    bench.drive.begin("Trash", bench.now_s)
    bench.drive.close()


@BUILDS
def test_a_drive_that_was_closed_moves_nothing_more(outputs: OutputsConfig) -> None:
    bench = Bench(outputs)
    bench.look(1.5)
    bench.drive.close()
    with pytest.raises(OutputError):
        bench.begin("Glass")
    assert not any(bench.drive.outputs().values())


@pytest.mark.parametrize("outputs", [LEDS, FLAPS], ids=["leds", "flaps"])
def test_the_alarm_blinks_until_it_is_over_while_the_bin_goes_on(outputs: OutputsConfig) -> None:
    bench = Bench(outputs)
    bench.look(1.5)
    bench.ticks = 0
    bench.trace.clear()
    bench.drive.alarm(True)
    bench.drive.alarm(True)
    bench.look(1.2)
    bench.drive.alarm(False)
    bench.drive.alarm(False)
    bench.look(1.0)
    assert bench.trace == [
        Driven(0.0, "alarm", 1.0),
        Driven(0.5, "alarm", 0.0),
        Driven(1.0, "alarm", 1.0),
        Driven(1.2, "alarm", 0.0),
    ]
    bench.drive.close()


def test_an_alarm_without_a_lamp_is_quiet() -> None:
    bench = Bench(DIVERTER).homed()
    bench.drive.alarm(True)
    bench.look(1.0)
    assert bench.trace == []
    bench.drive.close()


def breaking(pins: Pins, name: str) -> Callable[[bool], None]:
    """Make one mock pin refuse from now on, as a pulled wire or a lost driver would."""
    pin = pins.factory.pin(name)
    works = type(pin)

    class Broken(works):  # type: ignore[misc,valid-type]
        def _set_state(self, _value: float) -> None:
            raise OSError("input/output error")

    def switch(is_broken: bool) -> None:
        pin.__class__ = Broken if is_broken else works

    return switch


@pytest.mark.parametrize(("name", "outputs"), [("GPIO5", FLAPS), ("GPIO5", LEDS), ("GPIO21", FLAPS), ("GPIO21", LEDS)])
def test_a_pin_that_refuses_leaves_everything_released_until_parked(name: str, outputs: OutputsConfig) -> None:
    bench = Bench(outputs)
    bench.look(1.5)
    bench.begin("Trash")
    bench.look(0.2)
    switch = breaking(bench.pins, name)
    switch(True)
    if name == "GPIO5":
        bench.look(4.0)
    act = (lambda: bench.drive.alarm(True)) if name == "GPIO21" else (lambda: bench.begin("Glass"))
    with pytest.raises(OutputError, match=r"pins: '(Glass|alarm)': refused \(input/output error\), expected a free"):
        act()
    assert bench.drive.phase is Phase.FAILED
    assert not any(value for output, value in bench.drive.outputs().items() if output not in ("Glass", "alarm"))
    with pytest.raises(OutputError, match="while failed, expected parked"):
        bench.drive.begin("Trash", bench.now_s)
    assert bench.look(1.0) is Phase.FAILED
    switch(False)
    bench.drive.alarm(False)
    bench.drive.park(bench.now_s)
    assert bench.look(1.0) is Phase.PARKED
    assert not any(bench.drive.outputs().values())
    bench.drive.close()


def test_closing_goes_on_past_a_pin_that_refuses_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(LEDS)
    bench.begin("Glass")
    bench.drive.alarm(True)
    breaking(bench.pins, "GPIO5")(True)
    bench.drive.close()
    assert bench.drive.outputs() == {"Glass": 1.0, "Trash": 0.0, "alarm": 0.0}
    assert [record.getMessage() for record in caplog.records] == [
        "pins: 'Glass': refused (input/output error), expected a free and working pin; check the wiring and what else "
        "uses the pins (gpioinfo), then start again; it could not be released: switch off the servos' supply"
    ]


@BUILDS
def test_park_pins_brings_the_outputs_of_a_dead_program_to_rest(outputs: OutputsConfig) -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    park_pins(outputs, "mock", clock=lambda: now_s, sleep=sleep)
    assert now_s == pytest.approx({"leds": 0.0, "flaps": 1.0, "diverter": 1.0}[
        {LedOutputs: "leds", FlapOutputs: "flaps", DiverterOutputs: "diverter"}[type(outputs)]
    ], abs=0.1)  # fmt: skip


def test_open_drive_opens_the_pins_by_name() -> None:
    with open_drive(FLAPS, pins="mock") as drive:
        assert drive.step(time.monotonic(), is_clear=True) is Phase.CLOSING
        assert drive.outputs() == {"Glass": 1000.0, "Trash": None, "alarm": 0.0}
