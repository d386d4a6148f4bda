"""Keep the bin sorting while cameras and outputs fail and come back.

    Capture.slot -> supervise -> Engine.step -> Watcher (live view, lines)

Camera lost, silent or late: a `fault` event, the outputs go to their safe state, the capture thread opens the camera
again, sorting resumes. An output that refuses: a `fault` event, everything is released, the outputs are opened again
with the same growing pauses. A camera that is silent for good, or a model that fails again and again, ends the process
and systemd starts it afresh (a driver stuck in the kernel cannot be cured from inside: picamera2#1275). It must never
decide on an old frame, and never leave a flap half open on any way out.
"""

from collections.abc import Callable
from typing import Protocol

from device.camera.frame import Frame
from device.capture import BACK_OFF_S, MAX_BACK_OFF_S, Ended, Lost, Taken
from device.drive import Drive, Phase
from device.engine import Engine, Records
from device.errors import CameraStalled, OutputError
from device.events import Event
from device.lend import Lends, Unlent
from device.status import Status

__all__ = ["MAX_AGE_S", "Keeps", "Supervisor", "Tends", "Watcher"]

MAX_AGE_S = 1.0
"""An older frame shows what was, not what is: nothing is decided on it."""

BLIND_S = 2.0
"""Without a frame for so long a live camera counts as lost."""

OPENING_S = 3.0
"""A camera that is opened anew for a calibration, or after it, is silent for so long on purpose."""

GIVE_UP_S = 10.0
"""A live camera that neither delivers nor fails for so long hangs in its driver."""

LOOK_S = 0.2
"""How long one look into the slot may take; bounds how late a stop or a silence is noticed."""

PARK_S = 6.0
"""How long the outputs may take to reach their safe state, flap after flap, before they are simply released."""


class Keeps(Records, Protocol):
    """What the supervisor needs of `events.EventLog`."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with recording now, such as a full disk; sorting goes on."""
        ...


class Tends(Protocol):
    """What the supervisor needs of `switch.Switch`."""

    def saw(self, frame: Frame) -> None:
        """A frame was acted on without a fault."""
        ...

    def step(self) -> None:
        """Do what is due; never wait."""
        ...


class Watcher(Protocol):
    """Whoever shows what happens."""

    def frame(self, status: Status, frame: Frame) -> None:
        """A frame was acted on."""
        ...

    def fault(self, sentence: str | None) -> None:
        """Something is wrong now; None when all is well again."""
        ...


class Supervisor:
    """Runs one engine until it is told to stop or its source ends.

    Args:
        take: waits at most that many seconds for the newest thing, such as `Capture.slot.take`.
        is_live: whether frames come in real time; a recording is never late or silent.
        open_drive: opens the outputs again after they refused.
        clock: monotonic seconds, the same clock that live frames are stamped with.
        must_stop: asked before each look.
        models: keeps the engine at the right model.
        on_look: called after each look, however that went, and never when one does not end; feeds the watchdog.
        lender: may want camera and outputs for a calibration.
    """

    def __init__(
        self,
        engine: Engine,
        take: Callable[[float], Taken | None],
        *,
        is_live: Callable[[], bool],
        open_drive: Callable[[], Drive],
        log: Keeps,
        clock: Callable[[], float],
        must_stop: Callable[[], bool],
        watcher: Watcher,
        models: Tends,
        on_look: Callable[[], None] = lambda: None,
        lender: Lends = Unlent(),
    ) -> None:
        self._engine = engine
        self._take = take
        self._is_live = is_live
        self._open_drive = open_drive
        self._log = log
        self._clock = clock
        self._must_stop = must_stop
        self._watcher = watcher
        self._models = models
        self._on_look = on_look
        self._lender = lender
        self._is_parking = False
        self._is_away = False
        self._seen_s: float | None = None
        self._heard_s = clock()
        self._lead_s = 0.0
        self._blind_since_s: float | None = None
        self._drive_due_s: float | None = None
        self._drive_pause_s = BACK_OFF_S
        self._faults: dict[str, str] = {}
        self._told: str | None = None

    def run(self) -> None:
        """Work until stopped or until a finite source has ended.

        Raises:
            CameraError: the camera failed before its first frame, or hangs for good.
            BundleError: the model fails on frame after frame.
            WastebinError: the source is no use.
        """
        while not self._must_stop():
            taken = self._take(LOOK_S)
            match taken:
                case Ended(error):
                    if error is not None:
                        raise error
                    return
                case Lost():
                    self._lose(taken)
                case Frame():
                    self._see(taken)
                case None:
                    self._see_nothing()
            self._models.step()
            self._mend_drive()
            self._tell_faults()
            self._on_look()

    def park(self, pause: Callable[[float], None]) -> None:
        """Bring the outputs to their safe state and wait until they are there, `PARK_S` at most; then release them.

        Before the first frame nothing was moved, so that a bin that cannot start, again and again, moves no flap.

        Args:
            pause: sleeps that many seconds.
        """
        deadline_s = self._clock() + PARK_S
        try:
            if self._drive_due_s is None and self._seen_s is not None and not self._is_away:
                self._engine.hold(self._engine_now())
                while self._engine.drive.phase is not Phase.PARKED and self._clock() < deadline_s:
                    pause(0.02)
                    self._engine.rest(self._engine_now())
        except OutputError as error:
            self._log.add(Event("fault", str(error)))
        finally:
            self._engine.drive.close()

    def _see(self, frame: Frame) -> None:
        now_s = self._clock()
        self._heard_s = now_s
        if self._is_live() and now_s - frame.captured_s > MAX_AGE_S:
            self._log.count("late_frame")
            self._see_nothing()
            return
        if self._blind_since_s is not None:
            self._log.add(Event("fault", f"over: frames again after {now_s - self._blind_since_s:.1f} s"))
            self._blind_since_s = None
            del self._faults["camera"]
        self._seen_s = now_s
        self._lead_s = frame.captured_s - now_s
        if self._lender.is_wanted:
            self._lend(frame)
            return
        if self._is_parking or self._is_away:
            self._take_back()
        if self._drive_due_s is not None:
            return
        try:
            status = self._engine.step(frame)
        except OutputError as error:
            self._lose_drive(error)
            return
        self._models.saw(frame)
        self._watcher.frame(status, frame)

    def _lend(self, frame: Frame) -> None:
        """Bring the outputs to rest, close them, then hand over frame after frame."""
        if not self._is_away and self._drive_due_s is None:
            try:
                if not self._is_parking:
                    self._engine.hold(self._engine_now())
                    self._is_parking = True
                self._engine.rest(self._engine_now(), frame)
            except OutputError as error:
                self._lose_drive(error)
                return
            if self._engine.drive.phase is not Phase.PARKED:
                return
            self._engine.drive.close()
        if not self._is_away:
            self._is_away = True
            self._lender.lent()
            self._seen_s = self._clock() + OPENING_S
        self._lender.give(frame)

    def _take_back(self) -> None:
        """Go on sorting by what was found, with newly opened outputs."""
        was_away, self._is_parking, self._is_away = self._is_away, False, False
        if not was_away:
            return
        self._lender.returned()
        self._seen_s = self._clock() + OPENING_S
        if self._drive_due_s is not None:
            return
        try:
            self._engine.replace_drive(self._open_drive())
        except OutputError as error:
            self._lose_drive(error)

    def _see_nothing(self) -> None:
        if not self._is_live() or self._seen_s is None:
            return
        now_s = self._clock()
        if self._blind_since_s is None and now_s - self._seen_s > BLIND_S:
            self._go_blind(f"camera: no new frame for {BLIND_S:g} s; the outputs are parked until one comes")
        if now_s - self._heard_s > GIVE_UP_S:
            raise CameraStalled(
                f"camera: silent for {GIVE_UP_S:g} s without an error, expected a frame or a failure; "
                "it hangs in its driver: check the cable, reboot if a restart is no cure"
            )
        if self._blind_since_s is not None:
            self._rest()

    def _lose(self, lost: Lost) -> None:
        if self._seen_s is None:
            raise lost.error
        # The thread now pauses on purpose; only silence beyond that is a hang.
        self._heard_s = self._clock() + lost.again_s
        if self._blind_since_s is None:
            self._go_blind(f"{lost.error} (opening it again)")

    def _go_blind(self, sentence: str) -> None:
        self._blind_since_s = self._clock()
        self._log.add(Event("fault", sentence))
        self._faults["camera"] = sentence
        if self._drive_due_s is None and not self._is_away:
            try:
                self._engine.hold(self._engine_now())
            except OutputError as error:
                self._lose_drive(error)

    def _rest(self) -> None:
        if self._drive_due_s is not None or self._is_away:
            return
        try:
            self._engine.rest(self._engine_now())
        except OutputError as error:
            self._lose_drive(error)

    def _lose_drive(self, error: OutputError) -> None:
        self._log.add(Event("fault", f"{error} (outputs released, opening them again)"))
        self._faults["outputs"] = str(error)
        self._engine.drive.close()
        self._drive_pause_s = BACK_OFF_S
        self._drive_due_s = self._clock() + BACK_OFF_S

    def _mend_drive(self) -> None:
        if self._drive_due_s is None or self._clock() < self._drive_due_s or self._is_away:
            return
        try:
            drive = self._open_drive()
        except OutputError as error:
            self._faults["outputs"] = str(error)
            self._drive_pause_s = min(2 * self._drive_pause_s, MAX_BACK_OFF_S)
            self._drive_due_s = self._clock() + self._drive_pause_s
            return
        self._drive_due_s = None
        self._engine.replace_drive(drive)
        self._log.add(Event("fault", "over: the outputs are open again"))
        del self._faults["outputs"]

    def _tell_faults(self) -> None:
        told = "; ".join((*self._faults.values(), *self._log.faults)) or None
        if told != self._told:
            self._told = told
            self._watcher.fault(told)

    def _engine_now(self) -> float:
        """Now on the clock of the frames."""
        return self._clock() + self._lead_s
