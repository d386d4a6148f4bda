"""Lend the camera and the pins of a running bin to a calibration.

    Supervisor: park, close the outputs, hand frames over -> Lender.borrow -> Bench -> calibrate.session
    the borrower has ended -> Supervisor -> Lender.returned: go by what was found -> outputs opened anew

One process owns camera and pins, so a calibration borrows them instead of stopping the service (picamera2#1048). While
they are lent nothing is decided and no flap moves by itself; the outputs are closed before they are lent and opened
anew, at rest, when they come back. It must never lend to two.

A simulated bin lends another one with the same seed and the same faults, on which cards can be laid.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from device.camera.frame import Frame
from device.camera.locks import AUTOMATIC, Locks
from device.config_types import CameraConfig, Config
from device.errors import CameraStalled, LendError
from device.pins import Board, PinsName

if TYPE_CHECKING:  # calibrate knows how, and imports more than a bin that is never calibrated needs
    from device.calibrate.step import Bench

__all__ = ["Lender", "Lends", "PinBench", "Unlent", "simulated_bench"]

FRAME_S = 5.0
"""So long one frame may take to come before the camera counts as lost."""

REST_S = 30.0
"""So long a bin may take to come to rest: a flap that is open closes first, a camera may have to open anew."""

KEPT_FRAMES = 4


class Lends(Protocol):
    """What the supervisor needs of `Lender`."""

    @property
    def is_wanted(self) -> bool:
        """Somebody has borrowed, or waits for, the camera and the outputs."""
        ...

    def lent(self) -> None:
        """The outputs are parked and closed; frames follow."""
        ...

    def give(self, frame: Frame) -> None:
        """A frame, while the outputs are parked and closed."""
        ...

    def returned(self) -> None:
        """Camera and outputs are wanted no more; the outputs are opened after this."""
        ...


class Unlent:
    """Nobody ever borrows."""

    is_wanted = False

    def lent(self) -> None:
        """Never."""

    def give(self, frame: Frame) -> None:
        """Nobody looks."""

    def returned(self) -> None:
        """Never."""


class PinBench:
    """The pins of a bin for a calibration, opened when they are first used; half of a `Bench`.

    Args:
        config: of the bin.
        pins: as the bin's own.
    """

    def __init__(self, config: Config, pins: PinsName) -> None:
        self._config = config
        self._pins: PinsName = pins
        self._board: Board | None = None

    def pulse(self, name: str, pulse_us: int | None) -> None:
        """As `Bench`."""
        board = self._opened()
        if name not in board.values():
            raise LendError(f"calibrate: no servo {name!r}; there is {', '.join(board.values()) or 'none'}")
        if pulse_us is None:
            board.detach(name, 0.0)
        else:
            board.pulse(name, pulse_us, 0.0)

    def light(self, name: str, is_on: bool) -> None:
        """As `Bench`."""
        board = self._opened()
        if name not in board.values():
            raise LendError(f"calibrate: no lamp {name!r}; there is {', '.join(board.values()) or 'none'}")
        board.light(name, is_on, 0.0)

    def close(self) -> None:
        """Detach, darken and give the pins back; safe to call twice."""
        if self._board is not None:
            self._board.close(0.0)
            self._board = None

    def _opened(self) -> Board:
        if self._board is None:
            from device.calibrate.board import open_board

            self._board = open_board(self._config.outputs, self._pins)
        return self._board


class _LentBench(PinBench):
    """Frames of the running bin, and its pins."""

    def __init__(self, lender: "Lender", pins: PinsName, camera: CameraConfig) -> None:
        super().__init__(lender.config, pins)
        self.camera = camera.source
        self.rate_hz = camera.rate_hz
        self.base = camera.locks
        self._lender = lender

    def look(self, frames: int) -> Iterator[Frame]:
        """As `Bench`."""
        self._lender.forget()
        for _ in range(frames):
            yield self._lender.take()

    def settled(self) -> Locks:
        """As `Bench`."""
        return self._lender.settled()


class Lender:
    """Lends what a running bin has to one borrower at a time; safe from any thread.

    Args:
        config: of the bin, without its calibration.
        pins: as the bin's own.
        camera: how the camera is open now.
        settled: asks the camera what it has settled on.
        lent, returned: called in the thread that sorts, see `Lends`.
    """

    def __init__(
        self,
        config: Config,
        *,
        pins: PinsName,
        camera: Callable[[], CameraConfig],
        settled: Callable[[], Locks] = lambda: AUTOMATIC,
        lent: Callable[[], None] = lambda: None,
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.settled = settled
        self.lent = lent
        self.returned = returned
        self._camera = camera
        self._pins: PinsName = pins
        self._lock = threading.Lock()
        self._is_wanted = threading.Event()
        self._is_ready = threading.Event()
        self._frames: queue.Queue[Frame] = queue.Queue(KEPT_FRAMES)

    @property
    def is_wanted(self) -> bool:
        """As `Lends`."""
        return self._is_wanted.is_set()

    @property
    def is_lent(self) -> bool:
        """Whether somebody has it."""
        return self._lock.locked()

    def give(self, frame: Frame) -> None:
        """As `Lends`; the oldest frame goes when nobody takes them."""
        self._is_ready.set()
        while True:
            try:
                self._frames.put_nowait(frame)
            except queue.Full:
                self.forget()
            else:
                return

    def forget(self) -> None:
        """Frames that wait show what was."""
        while not self._frames.empty():
            try:
                self._frames.get_nowait()
            except queue.Empty:
                return

    def take(self) -> Frame:
        """The next frame.

        Raises:
            CameraStalled: none came.
        """
        try:
            return self._frames.get(timeout=FRAME_S)
        except queue.Empty:
            raise CameraStalled(
                f"{self.config.camera.source}: no frame for {FRAME_S:g} s while it was lent; look at its cable, then "
                "try again"
            ) from None

    @contextmanager
    def borrow(self, timeout_s: float = REST_S) -> "Iterator[Bench]":
        """Have the bin's camera and pins; it sorts nothing meanwhile.

        Raises:
            LendError: somebody else has them, or the bin does not come to rest in time.
        """
        if not self._lock.acquire(blocking=False):
            raise LendError("calibrate: another calibration is under way on this bin; finish that one first")
        bench: _LentBench | None = None
        try:
            self._is_ready.clear()
            self._is_wanted.set()
            if not self._is_ready.wait(timeout_s):
                raise LendError(
                    f"calibrate: the bin did not come to rest within {timeout_s:g} s, expected parked outputs and a "
                    "frame; see: wastebin doctor"
                )
            camera = self._camera()
            if camera.source.partition(":")[0] == "sim":
                yield simulated_bench(self.config, camera.locks)
            else:
                bench = _LentBench(self, self._pins, camera)
                yield bench
        finally:
            if bench is not None:
                bench.close()
            self._is_wanted.clear()
            self.forget()
            self._lock.release()


def simulated_bench(config: Config, base: Locks) -> "Bench":
    """The bench of a simulated bin, with the faults that its camera's spec names.

    Args:
        config: without any calibration: it says how the servos were meant.
        base: what its frames are corrected by.
    """
    from device.calibrate.simulated import SimulatedBench
    from device.simulator.spec import read_sim_spec

    told = read_sim_spec(config.camera.source)
    return SimulatedBench(config, seed=told.seed, faults=told.faults, base=base, camera=config.camera.source)
