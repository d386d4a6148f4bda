"""The state machines that move servos and light lamps.

begin(bin) -> MOVING -> OPEN -> CLOSING -> PARKED, one step at a time -> Board

Non-blocking: no sleep, time comes in, so the engine keeps looking while a flap moves. Must never start a move while
something moves in view (only `park` may, because a bin that is blind or stops has to close), never leave a servo
pulsing at rest, never move two servos at once, which drags the supply down (pi-blaster#42). A servo tells nobody where
it is: a new drive first brings every one to rest, one after another, and leaves alone those it knows to be there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Self

from device.errors import OutputError
from device.outputs import ALARM
from device.pins import Board

__all__ = ["Alarm", "LedDrive", "Phase", "ServoDrive", "Signal", "Stroke"]


class Signal(StrEnum):
    """What the alarm lamp says, each in its own rhythm: see `RHYTHMS_S`."""

    JAM = "jam"
    FULL = "full"


RHYTHMS_S = {Signal.JAM: (0.5, 1.0), Signal.FULL: (0.25, 3.0)}
"""Seconds lit, of how many: something is stuck blinks, a full bin only flashes now and then."""


class Phase(StrEnum):
    """What a drive is doing.

    PARKED is at rest with nothing pulsing: the only phase in which `begin` is allowed. MOVING, OPEN and CLOSING are a
    servo's way there, its pause and its way back; SHOWING is a lit lamp. FAILED: a pin refused, everything is released
    and nobody knows where the servos are; `park` or a new drive mends it.
    """

    PARKED = "parked"
    MOVING = "moving"
    OPEN = "open"
    CLOSING = "closing"
    SHOWING = "showing"
    FAILED = "failed"


class Stroke(NamedTuple):
    """One servo's way to one place.

    Attributes:
        servo: its name on the board.
        pulse_us: where to.
    """

    servo: str
    pulse_us: int


class Alarm:
    """The blinking lamp; stepped, so that it needs no thread."""

    def __init__(self, board: Board, *, has_lamp: bool, clock: Callable[[], float]) -> None:
        self._board = board
        self._has_lamp = has_lamp
        self._clock = clock
        self._since_s: float | None = None
        self._signal = Signal.JAM

    def set(self, on: bool, signal: Signal = Signal.JAM) -> None:
        """Start or stop, or say something else; nothing without a lamp.

        Raises:
            OutputError: the pin refused; everything is released.
        """
        if not self._has_lamp or (on == (self._since_s is not None) and (not on or signal is self._signal)):
            return
        self._signal = signal
        now_s = self._clock()
        self._since_s = now_s if on else None
        self._board.light(ALARM, on, now_s)

    def step(self, now_s: float) -> None:
        """Blink.

        Raises:
            OutputError: the pin refused; everything is released.
        """
        if self._since_s is not None:
            lit_s, of_s = RHYTHMS_S[self._signal]
            self._board.light(ALARM, (now_s - self._since_s) % of_s < lit_s, now_s)


class ServoDrive:
    """Flaps, and the diverter: servos that go one way, pause and come back; see Drive.

    Args:
        ways: bin -> the strokes that open it, in order.
        rests_us: servo -> its safe place, in the order in which they return.
    """

    def __init__(
        self,
        ways: Mapping[str, tuple[Stroke, ...]],
        rests_us: Mapping[str, int],
        *,
        board: Board,
        alarm: Alarm,
        move_s: float,
        hold_s: float,
        clock: Callable[[], float],
        on_open: Callable[[str], None] | None,
    ) -> None:
        self.bins = tuple(ways)
        self._ways = ways
        self._rests_us = rests_us
        self._board = board
        self._alarm = alarm
        self._move_s = move_s
        self._hold_s = hold_s
        self._clock = clock
        self._on_open = on_open
        self._places_us: dict[str, int | None] = dict.fromkeys(rests_us)  # None: nobody knows
        self._stroke: Stroke | None = None
        self._due_s = 0.0  # end of the stroke, or of the pause
        self._bin = ""
        self._is_urgent = False
        self._waiting_since_s: float | None = None
        self._waited_s = 0.0
        self._phase = Phase.CLOSING
        self._queue = self._way_home()

    @property
    def phase(self) -> Phase:
        """As Drive."""
        return self._phase

    @property
    def waited_s(self) -> float:
        """As Drive."""
        return self._waited_s

    def begin(self, bin_name: str, now_s: float) -> None:
        """As Drive; the first servo starts in the next step."""
        _check_begin(bin_name, self.bins, self._phase)
        self._bin = bin_name
        self._queue = list(self._ways[bin_name])
        self._phase = Phase.MOVING
        self._waiting_since_s = now_s

    def step(self, now_s: float, *, is_clear: bool, may_move: bool = True) -> Phase:
        """As Drive."""
        if self._phase is Phase.FAILED:
            return self._phase
        with self._failing():
            self._alarm.step(now_s)
            self._end_stroke(now_s)
            if not may_move:
                self._freeze(now_s)
            elif self._stroke is None and not (self._phase is Phase.OPEN and now_s < self._due_s):
                self._go_on(now_s, is_clear)
        return self._phase

    def park(self, now_s: float, *, is_urgent: bool = True) -> None:
        """As Drive."""
        if self._phase is Phase.PARKED:
            return
        if self._stroke is not None and self._phase is not Phase.CLOSING:
            with self._failing():
                self._board.detach(self._stroke.servo, now_s)
            self._stroke = None
        self._waiting_since_s, self._waited_s = None, 0.0
        self._is_urgent = is_urgent
        self._phase = Phase.CLOSING
        self._queue = self._way_home()

    def alarm(self, on: bool, signal: Signal = Signal.JAM) -> None:
        """As Drive."""
        with self._failing():
            self._alarm.set(on, signal)

    def outputs(self) -> dict[str, float | None]:
        """As Drive."""
        return self._board.values()

    def close(self) -> None:
        """As Drive."""
        self._board.close(self._clock())
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end_stroke(self, now_s: float) -> None:
        if self._stroke is not None and now_s >= self._due_s:
            self._board.detach(self._stroke.servo, now_s)
            self._places_us[self._stroke.servo] = self._stroke.pulse_us
            self._stroke = None

    def _freeze(self, now_s: float) -> None:
        """Stop where it is: without pulses a servo holds by its gears; the stroke is made again later."""
        if self._stroke is not None:
            self._board.detach(self._stroke.servo, now_s)
            self._queue.insert(0, self._stroke)
            self._stroke = None
        if self._queue or (self._phase is Phase.OPEN and now_s >= self._due_s):
            if self._waiting_since_s is None:
                self._waiting_since_s = now_s
            self._waited_s = now_s - self._waiting_since_s

    def _go_on(self, now_s: float, is_clear: bool) -> None:
        if self._phase is Phase.OPEN:
            self._queue = self._way_home()
        while self._queue and self._places_us[self._queue[0].servo] == self._queue[0].pulse_us:
            self._queue.pop(0)  # A servo that is there already is left alone.
        if self._queue:
            self._start_when_clear(now_s, is_clear)
        elif self._phase is Phase.MOVING:
            self._phase = Phase.OPEN
            self._due_s = now_s + self._hold_s
            if self._on_open is not None:
                self._on_open(self._bin)
        else:
            self._phase = Phase.PARKED
            self._is_urgent = False

    def _start_when_clear(self, now_s: float, is_clear: bool) -> None:
        if not is_clear and not self._is_urgent:
            if self._waiting_since_s is None:
                self._waiting_since_s = now_s
            self._waited_s = now_s - self._waiting_since_s
            return
        self._waiting_since_s, self._waited_s = None, 0.0
        if self._phase is Phase.OPEN:
            self._phase = Phase.CLOSING
        self._stroke = self._queue.pop(0)
        self._places_us[self._stroke.servo] = None
        self._due_s = now_s + self._move_s
        self._board.pulse(self._stroke.servo, self._stroke.pulse_us, now_s)

    def _way_home(self) -> list[Stroke]:
        return [
            Stroke(servo, rest_us)
            for servo, rest_us in self._rests_us.items()
            if self._places_us[servo] != rest_us and (self._stroke is None or self._stroke.servo != servo)
        ]

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            self._forget()
            raise

    def _forget(self) -> None:
        self._stroke = None
        self._queue = []
        self._waiting_since_s, self._waited_s = None, 0.0
        self._phase = Phase.FAILED


class LedDrive:
    """One lamp per bin; nothing moves, so nothing waits for a clear view; see Drive."""

    waited_s = 0.0

    def __init__(
        self,
        bins: tuple[str, ...],
        *,
        board: Board,
        alarm: Alarm,
        show_s: float,
        clock: Callable[[], float],
        on_open: Callable[[str], None] | None,
    ) -> None:
        self.bins = bins
        self._board = board
        self._alarm = alarm
        self._show_s = show_s
        self._clock = clock
        self._on_open = on_open
        self._dark_at_s = 0.0
        self._phase = Phase.PARKED

    @property
    def phase(self) -> Phase:
        """As Drive."""
        return self._phase

    def begin(self, bin_name: str, now_s: float) -> None:
        """As Drive; the lamp is lit at once."""
        _check_begin(bin_name, self.bins, self._phase)
        self._dark_at_s = now_s + self._show_s
        self._phase = Phase.SHOWING
        self._light(bin_name, True, now_s)
        if self._on_open is not None:
            self._on_open(bin_name)

    def step(self, now_s: float, *, is_clear: bool, may_move: bool = True) -> Phase:  # noqa: ARG002 - lamps hurt nobody
        """As Drive."""
        if self._phase is Phase.FAILED:
            return self._phase
        try:
            self._alarm.step(now_s)
        except OutputError:
            self._phase = Phase.FAILED
            raise
        if self._phase is Phase.SHOWING and now_s >= self._dark_at_s:
            self.park(now_s)
        return self._phase

    def park(self, now_s: float, *, is_urgent: bool = True) -> None:  # noqa: ARG002
        """As Drive; the lamp is dark at once."""
        lit = self._board.values()
        for name in self.bins:
            if lit[name]:
                self._light(name, False, now_s)
        self._phase = Phase.PARKED

    def alarm(self, on: bool, signal: Signal = Signal.JAM) -> None:
        """As Drive."""
        try:
            self._alarm.set(on, signal)
        except OutputError:
            self._phase = Phase.FAILED
            raise

    def outputs(self) -> dict[str, float | None]:
        """As Drive."""
        return self._board.values()

    def close(self) -> None:
        """As Drive."""
        self._board.close(self._clock())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _light(self, name: str, is_on: bool, now_s: float) -> None:
        try:
            self._board.light(name, is_on, now_s)
        except OutputError:
            self._phase = Phase.FAILED
            raise


def _check_begin(bin_name: str, bins: tuple[str, ...], phase: Phase) -> None:
    if bin_name not in bins:
        raise OutputError(f"drive: no output for bin {bin_name!r}; there is one for {', '.join(map(repr, bins))}")
    if phase is not Phase.PARKED:
        raise OutputError(f"drive: asked for bin {bin_name!r} while {phase}, expected parked; step on until it is")
