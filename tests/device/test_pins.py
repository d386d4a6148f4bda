import subprocess
import sys
import warnings
from typing import Any

import gpiozero
import pytest

from device.errors import OutputError
from device.outputs import PinnedLed, PinnedServo
from device.pins import Board, Driven, open_pins

PAN = PinnedServo("pan", 12, 1500)


def test_mock_pins_are_opened_by_name_whatever_the_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "native")
    monkeypatch.setenv("GPIOZERO_MOCK_REVISION", "nonsense")
    monkeypatch.setenv("GPIOZERO_MOCK_PIN_CLASS", "mockchargingpin")
    pins = open_pins("mock")
    board = Board(pins, [PinnedLed("Glass", 5)], [PAN])
    assert [type(pin).__name__ for pin in pins.factory.pins.values()] == ["MockPWMPin", "MockPWMPin"]
    assert gpiozero.Device.pin_factory is None
    board.close(0.0)


def test_without_lgpio_real_pins_are_refused_and_nothing_else_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lgpio", None)  # as on a machine without it
    monkeypatch.delitem(sys.modules, "device.pins_lgpio", raising=False)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    with pytest.raises(OutputError) as caught:
        open_pins("lgpio")
    assert str(caught.value) == (
        "pins: lgpio is not installed; on a Raspberry Pi: pip install 'wastebin[pi]'; elsewhere ask for --pins mock"
    )
    assert gpiozero.Device.pin_factory is None


def test_an_unknown_backend_is_refused() -> None:
    name: Any = "rpigpio"
    with pytest.raises(OutputError, match=r"pins: 'rpigpio' is no backend; expected lgpio .* or mock"):
        open_pins(name)


def test_a_fallback_warning_of_gpiozero_is_an_error() -> None:
    pins = open_pins("mock")

    def warn_and_make(*_: object) -> None:
        warnings.warn(gpiozero.PWMSoftwareFallback("software PWM it is"), stacklevel=1)

    pins.factory.reserve_pins = warn_and_make
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OutputError, match=r"'Glass' on BCM 5: refused \(software PWM it is\)"):
            Board(pins, [PinnedLed("Glass", 5)], ())


def test_a_pin_that_is_taken_already_is_refused_and_what_was_opened_is_closed() -> None:
    pins = open_pins("mock")
    with pytest.raises(OutputError, match=r"pins: 'pan' on BCM 12: refused .*GPIO12 is already in use"):
        Board(pins, [PinnedLed("Glass", 12)], [PAN])
    assert pins.factory.pins == {}


def test_a_pulse_outside_the_limits_of_a_servo_never_reaches_the_pin() -> None:
    trace: list[Driven] = []
    pins = open_pins("mock")
    board = Board(pins, (), [PAN], trace.append)
    pin = pins.factory.pin("GPIO12")
    for pulse_us in (999, 2001):
        with pytest.raises(OutputError, match="'pan': refused"):
            board.pulse("pan", pulse_us, 0.0)
    assert [state.state for state in pin.states] == [False]
    assert board.values() == {"pan": None}
    assert {driven.value for driven in trace} <= {None}
    board.close(0.0)


def test_the_mock_pin_is_told_the_pulse_and_detached() -> None:
    trace: list[Driven] = []
    pins = open_pins("mock")
    board = Board(pins, (), [PinnedServo("pan", 12, 1500, 500, 2500)], trace.append)
    pin = pins.factory.pin("GPIO12")
    for at_s, pulse_us in enumerate((500, 1500, 2500)):
        board.pulse("pan", pulse_us, float(at_s))
        assert (pin.frequency, pin.state * 20_000) == (50, pytest.approx(pulse_us))
    board.detach("pan", 3.0)
    assert (pin.frequency, pin.state) == (None, 0.0)
    assert trace == [
        Driven(0.0, "pan", 500.0),
        Driven(1.0, "pan", 1500.0),
        Driven(2.0, "pan", 2500.0),
        Driven(3.0, "pan", None),
    ]
    board.close(4.0)


def test_a_board_that_is_closed_says_so() -> None:
    board = Board(open_pins("mock"), [PinnedLed("Glass", 5)], ())
    board.close(0.0)
    with pytest.raises(OutputError) as caught:
        board.light("Glass", True, 0.0)
    assert str(caught.value) == (
        "pins: 'Glass' was told to move after the pins were closed; open the drive again"
    )  # fmt: skip


def test_importing_the_drive_opens_no_pins_and_needs_no_lgpio() -> None:
    code = (
        "import sys; sys.modules['lgpio'] = None; import device.drive, gpiozero; "
        "assert gpiozero.Device.pin_factory is None; assert 'device.pins_lgpio' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
