"""Stand-ins for the parts of a bin, driven by scripts; shared by the tests of engine, supervise, view and lines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from device.camera.frame import Frame, Rgb
from device.classify import Prediction
from device.decide import Rule
from device.drive import Driven, ServoDrive, build_drive
from device.engine import Engine
from device.events import Event
from device.gate import Item, TrayState, View
from device.model import Model
from device.outputs import FlapOutputs, PinnedServo
from device.pins import open_pins
from device.route import Bin, Costs, Site
from device.sensors import NO_SENSORS, Readings, Reads

LABELS = ("glass", "paper", "trash")
SITE = Site(
    (Bin("Glass", frozenset({"glass"})), Bin("Paper", frozenset({"paper"})), Bin("Rest", frozenset(), True)),
    Costs(4.0, 1.0),
)
RULE = Rule(accept_prob=0.8, frame_correlation=0.5, min_frames=2, max_frames=3, temperature=1.0, lowest_familiarity=0.2)
OUTPUTS = FlapOutputs(
    flaps=tuple(PinnedServo(bin_.name, pin, rest_us=1000) for bin_, pin in zip(SITE.bins, (5, 6, 13), strict=True)),
    open_us={"Glass": 2000, "Paper": 1900, "Rest": 1800},
    move_s=0.125,  # eighths: exact in binary, so that "due" is not a matter of rounding
    hold_s=0.125,
    alarm_pin_bcm=21,
)
BOX = (100, 100, 80, 60)
RGB: Rgb = np.full((48, 64, 3), 120, np.uint8)


def view(word: str, box: tuple[int, int, int, int] = BOX) -> View:
    """A view by its state; `hand` is one that still moves."""
    state = TrayState("moving" if word == "hand" else word)
    item = Item(RGB[:8, :8], box, 0.0, 0) if state is TrayState.ITEM else None
    return View(state, item, 0.0, 0.0, reached=word in ("hand", "blocked"))


class ScriptedGate:
    """Shows one view a frame; the last one for ever."""

    def __init__(self, *views: str | View) -> None:
        self.views = [view(each) if isinstance(each, str) else each for each in views]
        self.relearnt = 0

    def relearn(self) -> None:
        self.relearnt += 1

    def update(self, frame: Frame) -> View:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]


def prediction(label: str, logit: float = 6.0, ms: float = 5.0, familiarity: float | None = None) -> Prediction:
    logits = np.array([logit if each == label else 0.0 for each in LABELS], np.float32)
    probs = np.exp(logits) / np.exp(logits).sum()
    return Prediction(logits, probs.astype(np.float32), np.zeros(4, np.float32), LABELS, ms, familiarity)


class ScriptedClassifier:
    """Names one thing after another; the last one for ever. An exception in the script is raised."""

    def __init__(self, *script: Prediction | Exception) -> None:
        self.script = list(script)
        self.asked = 0

    def classify(self, rgb: Rgb) -> Prediction:
        self.asked += 1
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def model(*script: Prediction | Exception, version: str = "1-abc") -> Model:
    return Model(ScriptedClassifier(*script), RULE, "nano", version, LABELS)


class MemoryLog:
    """Keeps events and counters in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.counts: dict[str, int] = {}
        self.faults: tuple[str, ...] = ()

    def add(self, event: Event) -> int:
        self.events.append(event)
        return len(self.events)

    def count(self, name: str, n: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


class ScriptedSensors:
    """Feels what it is told to; what has fallen and what was pressed is felt once."""

    def __init__(self) -> None:
        self.next = Readings()

    def read(self, now_s: float) -> Readings:
        felt, self.next = self.next, replace(self.next, fell=(), wrong=False)
        return felt


class Bench:
    """An engine with real mock pins around scripted eyes."""

    def __init__(
        self,
        views: Sequence[str | View],
        *script: Prediction | Exception,
        site: Site = SITE,
        sensors: Reads = NO_SENSORS,
    ) -> None:
        self.log = MemoryLog()
        self.trace: list[Driven] = []
        self.gate = ScriptedGate("empty")
        self.engine = Engine(self.gate, model(*script), site, self.open_drive(), self.log, sensors=sensors)
        # The drive first brings its three servos to rest, in an empty tray.
        self.now_s = 0.0
        while self.engine.drive.phase != "parked":
            self.step()
        self.trace.clear()
        self.gate.views = [view(each) if isinstance(each, str) else each for each in views]

    def open_drive(self) -> Any:
        drive = build_drive(OUTPUTS, open_pins("mock"), clock=lambda: self.engine.now_s, trace=self.trace.append)
        assert isinstance(drive, ServoDrive)
        return drive

    def step(self) -> Any:
        self.now_s += 0.125
        return self.engine.step(Frame(RGB, self.now_s, round(self.now_s * 8)))

    def steps(self, count: int) -> list[str]:
        return [str(self.step().state) for _ in range(count)]

    def moved(self) -> list[tuple[str, float | None]]:
        return [(driven.output, driven.value) for driven in self.trace]
