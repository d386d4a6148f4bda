"""Bring one item to its bin: open, hold, close, detach.

OutputsConfig -> open_drive -> begin(bin), step(now_s, is_clear) ... -> PARKED -> engine: is the tray empty?

This file names what every drive does and builds the one that a bin's wiring asks for; `moves` has the state machines.
It must never choose the pins by itself: `mock` is asked for by name.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from device.moves import Alarm, LedDrive, Phase, ServoDrive, Signal, Stroke
from device.outputs import ALARM, FlapOutputs, LedOutputs, OutputsConfig, PinnedLed, PinnedServo
from device.pins import Board, Driven, Pins, PinsName, Trace, open_pins

__all__ = ["Drive", "Driven", "Phase", "Signal", "build_drive", "open_drive", "park_pins"]


class Drive(Protocol):
    """The outputs of one bin; used from one thread, and a context manager that closes itself.

    Attributes:
        bins: names that `begin` takes.
    """

    bins: tuple[str, ...]

    @property
    def phase(self) -> Phase:
        """What is going on, as of the last call."""
        ...

    @property
    def waited_s(self) -> float:
        """How long a move has been waiting for a clear view, as of the last step; 0.0 when none is waiting."""
        ...

    def begin(self, bin_name: str, now_s: float) -> None:
        """Start to bring an item to a bin.

        Raises:
            OutputError: no such bin, not PARKED, or a pin refused.
        """
        ...

    def step(self, now_s: float, *, is_clear: bool, may_move: bool = True) -> Phase:
        """Do what is due.

        Args:
            now_s: seconds; never runs backwards.
            is_clear: nothing moves in view. While it is False no servo starts, unless it is parked urgently.
            may_move: False while a hand is in view or the lid is open: no servo starts, whatever for, and one that is
                on its way is stopped where it is.

        Raises:
            OutputError: a pin refused; everything is released.
        """
        ...

    def park(self, now_s: float, *, is_urgent: bool = True) -> None:
        """Give up what is under way and go to the safe state: flaps closed, lamps dark, in the next steps.

        Args:
            is_urgent: close also while something moves in view, as a bin must that is blind or stops.

        Raises:
            OutputError: a pin refused; everything is released.
        """
        ...

    def alarm(self, on: bool, signal: Signal = Signal.JAM) -> None:
        """Say something with the alarm lamp, where there is one; keep calling `step`.

        Raises:
            OutputError: the pin refused; everything is released.
        """
        ...

    def outputs(self) -> dict[str, float | None]:
        """Give what every output is told now: pulse in µs, lamp 0 or 1, None for a detached servo."""
        ...

    def close(self) -> None:
        """Detach, darken and give the pins back, now; safe to call twice, never raises an OutputError.

        A servo that is on its way stays where it is: park first where there is time.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_drive(
    outputs: OutputsConfig,
    *,
    pins: PinsName,
    clock: Callable[[], float] = time.monotonic,
    trace: Trace | None = None,
    on_open: Callable[[str], None] | None = None,
) -> Drive:
    """Open the outputs of a bin; servos are brought to rest in the first steps, and until then it is not PARKED.

    Args:
        pins: `lgpio` on a Raspberry Pi, `mock` anywhere; never chosen for you.
        clock: seconds, the same that `step` is given; stamps what happens between steps.
        trace: called with everything that a pin is told.
        on_open: called with the bin's name when its flap is open, its position is reached or its lamp is lit.

    Raises:
        OutputError: the pins cannot be had.
    """
    return build_drive(outputs, open_pins(pins), clock=clock, trace=trace, on_open=on_open)


def build_drive(
    outputs: OutputsConfig,
    pins: Pins,
    *,
    clock: Callable[[], float] = time.monotonic,
    trace: Trace | None = None,
    on_open: Callable[[str], None] | None = None,
) -> Drive:
    """Do what `open_drive` does, on pins that are open already; they are closed with the drive.

    Raises:
        OutputError: an output's pin cannot be had.
    """
    lamps = () if outputs.alarm_pin_bcm is None else (PinnedLed(ALARM, outputs.alarm_pin_bcm),)
    if isinstance(outputs, LedOutputs):
        board = Board(pins, (*outputs.leds, *lamps), (), trace)
        return LedDrive(
            tuple(led.name for led in outputs.leds),
            board=board,
            alarm=Alarm(board, has_lamp=bool(lamps), clock=clock),
            show_s=outputs.show_s,
            clock=clock,
            on_open=on_open,
        )
    if isinstance(outputs, FlapOutputs):
        servos: tuple[PinnedServo, ...] = outputs.flaps
        ways: dict[str, tuple[Stroke, ...]] = {
            name: (Stroke(name, pulse_us),) for name, pulse_us in outputs.open_us.items()
        }
    else:
        # The tilt returns first, so that the tray is level before it turns.
        servos = (outputs.tilt, outputs.pan)
        ways = {
            name: (Stroke(outputs.pan.name, pan_us), Stroke(outputs.tilt.name, tilt_us))
            for name, (pan_us, tilt_us) in outputs.positions_us.items()
        }
    board = Board(pins, lamps, servos, trace)
    return ServoDrive(
        ways,
        {servo.name: servo.rest_us for servo in servos},
        board=board,
        alarm=Alarm(board, has_lamp=bool(lamps), clock=clock),
        move_s=outputs.move_s,
        hold_s=outputs.hold_s,
        clock=clock,
        on_open=on_open,
    )


def park_pins(
    outputs: OutputsConfig,
    pins: PinsName,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring the outputs of a bin whose program has died to the safe state, and wait until they are there.

    Raises:
        OutputError: the pins cannot be had, or one refused.
    """
    with open_drive(outputs, pins=pins, clock=clock) as drive:
        while drive.step(clock(), is_clear=True) is not Phase.PARKED:
            sleep(0.02)
