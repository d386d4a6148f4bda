"""Pulse widths as they reach the driver: the real LGPIOFactory of gpiozero over a stand-in for the module `lgpio`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_lgpio import FakeLgpio, Tx
from gpiozero import Servo
from gpiozero.pins.local import LocalPiFactory

from device.drive import Phase, build_drive
from device.errors import OutputError
from device.outputs import DiverterOutputs, FlapOutputs, PinnedLed, PinnedServo
from device.pins import Board, Pins, open_pins

PI_4 = 0xC03111
MODULES = ("gpiozero.pins.lgpio", "device.pins_lgpio")


@pytest.fixture
def lgpio(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLgpio]:
    fake = FakeLgpio()
    monkeypatch.setitem(sys.modules, "lgpio", fake)
    yield fake
    for name in MODULES:
        sys.modules.pop(name, None)


def on_a_pi(factory_class: Any) -> Any:
    """The factory with the one thing replaced that only a Pi has: its revision."""
    return type("OnAPi", (factory_class,), {"_get_revision": lambda _self: PI_4})


def exact_pins(lgpio: FakeLgpio, **arguments: Any) -> Pins:
    from device.pins_lgpio import ExactFactory

    return Pins("lgpio", on_a_pi(ExactFactory)(**arguments), (lgpio.error,))


def degrees_us(low_us: int, high_us: int) -> list[int]:
    return [round(low_us + (high_us - low_us) * degree / 180) for degree in range(181)]


def worst_us(told_us: list[int], lgpio: FakeLgpio) -> int:
    """Largest error between what was asked for and the last pulse that the driver got for it."""
    pulses_us = [tx.micros_on for tx in lgpio.tx if tx.micros_on]
    assert len(pulses_us) == len(told_us)
    assert {tx.micros_on + tx.micros_off for tx in lgpio.tx} == {20_000}
    return max(abs(pulse - told) for pulse, told in zip(pulses_us, told_us, strict=True))


@pytest.mark.parametrize("limits_us", [(1000, 2000), (500, 2500), (600, 2400), (1100, 1900)])
def test_a_servo_gets_the_pulse_it_was_told_at_every_degree(lgpio: FakeLgpio, limits_us: tuple[int, int]) -> None:
    board = Board(exact_pins(lgpio), (), [PinnedServo("pan", 12, 1500, *limits_us)])
    told_us = degrees_us(*limits_us)
    for pulse_us in told_us:
        board.pulse("pan", pulse_us, 0.0)
        board.detach("pan", 0.0)
    assert worst_us(told_us, lgpio) <= 1
    board.close(0.0)


@pytest.mark.parametrize("degree", range(0, 181, 20))
def test_a_flap_and_both_servos_of_a_diverter_get_their_pulses_through_a_whole_move(
    lgpio: FakeLgpio, degree: int
) -> None:
    target_us = degrees_us(1000, 2000)[degree]
    flaps = FlapOutputs((PinnedServo("Glass", 19, 1007),), {"Glass": target_us})
    diverter = DiverterOutputs(
        PinnedServo("pan", 12, 1493), PinnedServo("tilt", 13, 1511), {"Glass": (target_us, 3000 - target_us)}
    )
    found = []
    for outputs in (flaps, diverter):
        lgpio.tx.clear()
        with build_drive(outputs, exact_pins(lgpio), clock=lambda: 0.0) as drive:
            now_s = run_to_parked(drive, 0.0)
            drive.begin("Glass", now_s)
            run_to_parked(drive, now_s)
        found.append([(tx.gpio, tx.micros_on) for tx in lgpio.tx if tx.micros_on])
    assert found == [
        [(19, 1007), (19, target_us), (19, 1007)],
        [(13, 1511), (12, 1493), (12, target_us), (13, 3000 - target_us), (13, 1511), (12, 1493)],
    ]


def test_gpiozeros_own_pin_sends_1400_for_1500_which_is_why_ours_exists(lgpio: FakeLgpio) -> None:
    from gpiozero.pins.lgpio import LGPIOFactory

    factory = on_a_pi(LGPIOFactory)()
    servo = Servo(12, initial_value=None, pin_factory=factory)
    told_us = degrees_us(1000, 2000)
    for pulse_us in told_us:
        servo.value = (pulse_us - 1500) / 500
    sent_us = [tx.micros_on for tx in lgpio.tx if tx.micros_on]
    servo.value = 0
    assert lgpio.tx[-1].micros_on == 1400
    assert len(set(sent_us)) <= 7  # 5 % to 10 % of 20 ms, in whole per cent
    servo.close()
    factory.close()


def test_the_last_pulse_is_whole_and_leaves_the_line_low(lgpio: FakeLgpio) -> None:
    board = Board(exact_pins(lgpio), (), [PinnedServo("pan", 12, 1500)])
    lgpio.tx.clear()
    board.pulse("pan", 1500, 0.0)
    board.detach("pan", 0.0)
    # One cycle without a pulse, after the running one: never the stop that cuts a pulse short.
    assert lgpio.tx == [Tx(12, 0, 20_000, 0), Tx(12, 1500, 18_500, 0), Tx(12, 0, 20_000, 1)]
    assert lgpio.pulsing == {}
    assert board.values() == {"pan": None}
    board.close(0.0)


def test_closing_lets_the_last_pulse_end_before_the_pin_becomes_an_input(lgpio: FakeLgpio) -> None:
    naps: list[float] = []
    board = Board(exact_pins(lgpio, sleep=naps.append), (), [PinnedServo("pan", 12, 1500)])
    board.pulse("pan", 1500, 0.0)
    lgpio.busy_polls = 4
    board.close(0.0)
    assert naps == [0.005] * 3
    assert lgpio.pulsing == {}
    assert lgpio.outputs == set()
    assert lgpio.open_handles == set()


def test_a_driver_that_stays_busy_delays_closing_by_a_tenth_of_a_second_only(lgpio: FakeLgpio) -> None:
    naps: list[float] = []
    board = Board(exact_pins(lgpio, sleep=naps.append), (), [PinnedServo("pan", 12, 1500)])
    lgpio.busy_polls = 10_000
    board.close(0.0)
    assert sum(naps) < 0.25
    assert lgpio.open_handles == set()


def test_lamps_are_plain_levels(lgpio: FakeLgpio) -> None:
    board = Board(exact_pins(lgpio), [PinnedLed("Glass", 19)], ())
    board.light("Glass", True, 0.0)
    lit = dict(lgpio.levels)
    board.close(1.0)
    assert (lit, lgpio.levels, lgpio.outputs) == ({19: 1}, {19: 0}, set())


def test_the_chip_is_found_by_its_label(lgpio: FakeLgpio) -> None:
    lgpio.chip_labels = ("gpio-brcmstb@107d508500", "raspberrypi-exp-gpio", "pinctrl-rp1")
    pins = exact_pins(lgpio)
    assert lgpio.open_handles == {2 << 16}
    pins.factory.close()
    assert lgpio.open_handles == set()


@pytest.mark.parametrize(
    ("chip_labels", "sentence"),
    [
        (
            (),
            "pins: found no GPIO chip that opens (can not open gpiochip), expected a Raspberry Pi's header; on a Pi "
            "let this user in (sudo usermod -aG gpio USER, then log in again), elsewhere ask for --pins mock",
        ),
        (
            ("acpi-gpio", "gpio-mockup"),
            "pins: found the GPIO chips acpi-gpio, gpio-mockup, expected a Raspberry Pi's header; on a Pi "
            "let this user in (sudo usermod -aG gpio USER, then log in again), elsewhere ask for --pins mock",
        ),
    ],
)
def test_a_machine_without_a_header_is_told_so(lgpio: FakeLgpio, chip_labels: tuple[str, ...], sentence: str) -> None:
    lgpio.chip_labels = chip_labels
    with pytest.raises(OutputError) as caught:
        open_pins("lgpio")
    assert str(caught.value) == sentence
    assert lgpio.open_handles == set()


def test_a_header_on_a_board_that_is_no_pi_is_told_so_and_nothing_stays_open(lgpio: FakeLgpio) -> None:
    pins = open_pins("lgpio")  # the look-up of the revision comes with the first pin
    with pytest.raises(OutputError, match=r"pins: 'pan' on BCM 12: this machine is no Raspberry Pi .*--pins mock"):
        Board(pins, (), [PinnedServo("pan", 12, 1500)])
    assert lgpio.open_handles == set()


@pytest.mark.parametrize(("holder", "shown"), [("lg", "'lg'"), ("", "'the kernel'")])
def test_a_pin_that_is_held_names_its_holder_and_everything_is_given_back(
    lgpio: FakeLgpio, holder: str, shown: str
) -> None:
    lgpio.holders[13] = holder
    with pytest.raises(OutputError) as caught:
        Board(
            exact_pins(lgpio), [PinnedLed("alarm", 21)], [PinnedServo("pan", 12, 1500), PinnedServo("tilt", 13, 1500)]
        )
    assert str(caught.value) == (
        f"pins: BCM 13 is held by {shown}, expected a free pin; stop the other program (is the service running? "
        "sudo systemctl stop wastebin) or give this output another pin"
    )
    assert (lgpio.outputs, lgpio.pulsing, lgpio.open_handles) == (set(), {}, set())


def test_a_pin_that_breaks_in_the_middle_of_a_move_leaves_every_other_detached(lgpio: FakeLgpio) -> None:
    outputs = DiverterOutputs(PinnedServo("pan", 12, 1500), PinnedServo("tilt", 13, 1500), {"Glass": (1000, 2000)})
    with build_drive(outputs, exact_pins(lgpio), clock=lambda: 0.0) as drive:
        now_s = run_to_parked(drive, 0.0)
        drive.begin("Glass", now_s)
        drive.step(now_s, is_clear=True)
        assert drive.outputs() == {"pan": 1000.0, "tilt": None}
        lgpio.broken.add(13)
        with pytest.raises(OutputError) as caught:
            drive.step(now_s + 1.0, is_clear=True)
        assert drive.phase is Phase.FAILED
        assert lgpio.pulsing == {}
        assert str(caught.value) == (
            "pins: 'tilt': refused ('bad GPIO write'), expected a free and working pin; check the wiring and what else "
            "uses the pins (gpioinfo), then start again"
        )
        lgpio.broken.clear()
        lgpio.tx.clear()
        drive.park(now_s)
        run_to_parked(drive, now_s)
        assert [(tx.gpio, tx.micros_on) for tx in lgpio.tx if tx.micros_on] == [(13, 1500), (12, 1500)]


def test_a_pulse_that_got_through_although_it_was_refused_is_taken_back(lgpio: FakeLgpio) -> None:
    board = Board(exact_pins(lgpio), (), [PinnedServo("pan", 12, 1500)])
    send = lgpio.tx_pwm

    def send_and_refuse(handle: int, gpio: int, frequency: float, duty: float, *rest: int) -> int:
        send(handle, gpio, frequency, duty, *rest)
        if duty:
            raise lgpio.error("bad PWM micros")
        return 0

    lgpio.tx_pwm = send_and_refuse  # type: ignore[method-assign]
    with pytest.raises(OutputError):
        board.pulse("pan", 1700, 0.0)
    assert lgpio.tx[-2:] == [Tx(12, 1700, 18_300, 0), Tx(12, 0, 20_000, 1)]
    assert (lgpio.pulsing, board.values()) == ({}, {"pan": None})
    board.close(1.0)


def test_pins_that_cannot_be_given_back_do_not_bar_the_next_drive(
    lgpio: FakeLgpio, caplog: pytest.LogCaptureFixture
) -> None:
    lamps, servos = [PinnedLed("alarm", 21)], [PinnedServo("pan", 12, 1500), PinnedServo("tilt", 13, 1500)]
    board = Board(exact_pins(lgpio), lamps, servos)
    board.pulse("pan", 1500, 0.0)
    lgpio.broken.update((12, 21))
    board.close(1.0)
    assert lgpio.open_handles == set()
    assert {record.getMessage().split(":")[1] for record in caplog.records} == {" 'pan'", " 'alarm'", " lgpio"}
    lgpio.broken.clear()
    lgpio.outputs.clear()  # the kernel's part: closing the chip frees its lines
    pins = exact_pins(lgpio)
    # A lock of its own: the broken devices above may be collected while this one opens, and close themselves then.
    assert pins.factory._res_lock is not LocalPiFactory._res_lock
    again = Board(pins, lamps, servos)
    again.pulse("pan", 1500, 2.0)
    assert lgpio.pulsing[12].micros_on == 1500
    again.close(3.0)


def test_an_lgpio_that_is_empty_or_has_no_place_for_its_pipe_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("lgpio", *MODULES):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = tmp_path / "lgpio.py"
    module.write_text("")
    with pytest.raises(OutputError, match=r"the lgpio that is installed is empty .*--force-reinstall 'lgpio>=0\.2\.2'"):
        open_pins("lgpio")
    for name in ("lgpio", *MODULES):
        sys.modules.pop(name, None)
    module.write_text("open('/nowhere/.lgd-nfy-3', 'rb')  # what lgpio does when its working directory is read-only\n")
    with pytest.raises(OutputError, match=r"cannot make its pipe in the working directory .*; set LG_WD to a folder"):
        open_pins("lgpio")


def run_to_parked(drive: Any, now_s: float) -> float:
    for _ in range(200):
        if drive.step(now_s, is_clear=True) is Phase.PARKED:
            return now_s
        now_s += 0.1
    raise AssertionError("never parked")
