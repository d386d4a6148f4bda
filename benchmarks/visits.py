"""Thousands of visits at speed, with hands, jams and opened lids: nothing may move while somebody is about.

    script with Habits -> SimulatedCamera, mock pins and sensors -> Engine (all of the bin) -> Outcome

Every frame is checked against the truth of the script, not against what the bin believes: no servo is pulsed while a
hand is in view (a hundredth of the picture: a fingertip) or the lid is open; everything that stuck was tried again or
alarmed about, or somebody took it out; each decision is one event and ends in one counter; landings are those of the
beams; each correction of an item that the bin still remembers is one picture.

By default a stub names the items, right in four of five: the network would take nine tenths of the time and is not what
is tested. `--model` uses the bundle that came along, for fewer visits.

They are played in parts, each in a bin of its own. With `--out` what a part came to is written down when it ends, and
the same command goes on after the last one that did.

Run: python -m benchmarks.visits [VISITS] [--seed N] [--model] [--out benchmarks/visits.json]
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.bundle import factory_bundle_path
from device.camera.frame import Frame, Rgb
from device.classify import Prediction
from device.config import load_config
from device.config_sensors import SensorsConfig
from device.config_types import Config
from device.decide import Rule
from device.drive import Driven, open_drive
from device.engine import Engine
from device.event_reader import add_correction, read_corrections, read_counts, read_events, read_landings
from device.events import EventLog
from device.gate import Gate
from device.keep import Keeper
from device.looks import find_looks, looks_folder
from device.model import Model
from device.outputs import ALARM, default_outputs
from device.pins import open_pins
from device.run import load_model
from device.sensors import Sensors
from device.simulator.camera import SimulatedCamera
from device.simulator.feeling import SimulatedSensors
from device.simulator.items import load_items
from device.simulator.visits import Habits, Visit, script

__all__ = ["IN_VIEW", "Outcome", "play", "play_parts"]

IN_VIEW = 0.01
HABITS = Habits(hands=0.5, jams=0.1, lids=0.1)
BEAM_PINS = (2, 3, 4, 14, 15, 18)
LID_PIN = 27
REPORTED = 0.3
PART = 250


@dataclass(slots=True)
class Outcome:
    """What became of all visits.

    Attributes:
        wrongs: what must never be, a sentence each.
        frames: all of them.
        guarded: frames in which a hand was in view or the lid open.
        stuck: times that a flap opened and the item stayed.
        counts: the bin's own counters.
    """

    visits: int = 0
    frames: int = 0
    guarded: int = 0
    decisions: int = 0
    stuck: int = 0
    landings: int = 0
    pictures: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Take another part in."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"seconds": round(self.seconds, 1)}

    def text(self) -> str:
        """For people."""
        c = self.counts
        by_bin = sum(n for name, n in c.items() if name.startswith("sorted:"))
        return (
            f"{self.visits} visits, {self.frames} frames in {self.seconds:.0f} s, "
            f"{self.guarded} with a hand in view or the lid open\n"
            f"{self.decisions} decisions: {by_bin} sorted, {c['taken_out']} taken out, {c['replaced']} replaced, "
            f"{c['jam']} jams, {c['given_up']} given up\n"
            f"{self.stuck} times stuck, {c['retry']} retries, {c['interrupted']} interrupted, "
            f"{self.landings} landings, {self.pictures} pictures kept\n"
            f"wrong: {len(self.wrongs)}" + "".join(f"\n  {each}" for each in self.wrongs[:20])
        )


class _Stub:
    """Names what lies there from the script, and something else in one of five."""

    def __init__(self, labels: tuple[str, ...], seed: int) -> None:
        self.labels = labels
        self.visit: Visit | None = None
        self._rng = np.random.default_rng([seed, 0x57B])
        self._named: tuple[int, str] = (-1, labels[0])

    def classify(self, rgb: Rgb) -> Prediction:  # noqa: ARG002
        number = -1 if self.visit is None else self.visit.number
        if number != self._named[0]:
            truth = self.visit.labels[0] if self.visit is not None and self.visit.labels else self.labels[0]
            other = self.labels[int(self._rng.integers(len(self.labels)))]
            self._named = number, truth if self._rng.random() < 0.8 else other
        logits = np.array([6.0 if label == self._named[1] else 0.0 for label in self.labels], np.float32)
        probs = (np.exp(logits) / np.exp(logits).sum()).astype(np.float32)
        return Prediction(logits, probs, np.zeros(4, np.float32), self.labels, 1.0, None)


def _stub_model(seed: int, labels: tuple[str, ...]) -> tuple[Model, _Stub]:
    stub = _Stub(labels, seed)
    rule = Rule(accept_prob=0.8, frame_correlation=0.5, min_frames=2, max_frames=3, temperature=1.0)
    return Model(stub, rule, "stub", "1-stub", labels), stub


class _Day:
    """One part of the visits, in a bin of its own."""

    def __init__(self, config: Config, visits: int, seed: int, folder: Path, *, real_model: bool) -> None:
        self.config = config
        self.path = folder / "events.db"
        self.out = Outcome(visits=visits)
        site = config.site
        model, stub = _stub_model(seed, tuple(sorted({each for bin_ in site.bins for each in bin_.takes})))
        self.stub: _Stub | None = stub
        if real_model:
            model, self.stub = load_model(config, factory_bundle_path())[0], None
        self.labels = model.labels
        self.bins = [bin_.name for bin_ in site.bins]
        items = load_items(None, model.labels, seed)
        size_px, rate_hz = config.camera.size_px, config.camera.rate_hz
        self.camera = SimulatedCamera(
            items, script(items, visits, seed, HABITS), seed=seed, size_px=size_px, rate_hz=rate_hz
        )
        self.trace: list[Driven] = []
        self.rng = np.random.default_rng([seed, 0xDA7])
        self.log = EventLog(self.path, mono=lambda: self.engine.now_s)
        self.pins = open_pins("mock")
        wired = SensorsConfig(None, LID_PIN, dict(zip(self.bins, BEAM_PINS, strict=True)))
        self.sensors = Sensors(wired, self.pins)
        felt = SimulatedSensors(self.sensors, wired, self.pins, lambda: self.camera)
        self.keeper = Keeper(self.path, config.gate.margin, self.log)
        drive = open_drive(
            default_outputs(self.bins), pins="mock", clock=lambda: self.engine.now_s, trace=self.trace.append,
            on_open=self._opened,
        )  # fmt: skip
        self.engine = Engine(Gate(config.gate), model, site, drive, self.log, sensors=felt)
        self.made: list[int] = []
        self.errors: list[tuple[int, str]] = []
        self.tries: Counter[int] = Counter()
        # What stuck waits for a retry, an alarm, or a hand.
        self.unsolved: dict[int, float] = {}

    def _opened(self, bin_name: str) -> None:
        visit, camera = self.camera.visit, self.camera
        if visit is not None and camera.rests_still:
            self.tries[visit.number] += 1
            if camera.would_fall:
                self.out.landings += 1
            else:
                self.out.stuck += 1
                self.unsolved[visit.number] = self.engine.now_s
        camera.flap_moved(bin_name)

    def play(self) -> Outcome:
        start_s = time.perf_counter()
        while (frame := self.camera.read()) is not None:
            self._frame(frame)
        # The last flap closes in an empty tray.
        self.engine.hold(self.engine.now_s)
        self.out.seconds = time.perf_counter() - start_s
        self.log.flush()
        self._add_up()
        self.engine.drive.close()
        self.sensors.close()
        self.log.close()
        return self.out

    def _frame(self, frame: Frame) -> None:
        out, camera = self.out, self.camera
        out.frames += 1
        if self.stub is not None:
            self.stub.visit = camera.visit
        before = len(self.trace)
        status = self.engine.step(frame)
        is_guarded = camera.lid_open or camera.hand_share >= IN_VIEW
        if is_guarded:
            out.guarded += 1
            what = f"lid {camera.lid_open}, hand {camera.hand_share:.3f}, tray {status.tray}, {status.phase}"
            started = [each for each in self.trace[before:] if each.value is not None and each.output != ALARM]
            if started:
                out.wrongs.append(f"{frame.captured_s:.2f} s: {started} commanded ({what})")
            moving = [name for name, value in status.outputs.items() if value is not None and name != ALARM]
            if moving:
                out.wrongs.append(f"{frame.captured_s:.2f} s: {moving} moves ({what})")
        if status.decided is not None:
            self._decided(status.decided.event, status.decided.label, camera.visit)
            self.keeper.frame(status, frame)
        self._solve(status.state)

    def _decided(self, event: int, label: str, visit: Visit | None) -> None:
        self.made.append(event)
        if visit is not None and visit.labels and label != visit.labels[0] and self.rng.random() < REPORTED:
            self.errors.append((event, visit.labels[0]))
        if len(self.made) % 20 == 0:
            self._report()

    def _report(self) -> None:
        """People correct what they report; the pictures are kept while the bin still remembers them."""
        self.log.flush()
        for number, truth in self.errors:
            add_correction(self.path, number, truth, self.labels, wall_s=0.0)
        self.out.pictures += len(self.errors)
        self.errors.clear()
        self.keeper.look()

    def _solve(self, state: str) -> None:
        """What stuck is solved by a retry (its next opening), an alarm, or whoever takes it out."""
        visit = self.camera.visit
        for number, since_s in list(self.unsolved.items()):
            is_over = visit is None or visit.number != number
            if state == "alarm" or is_over or self.tries[number] > 1:
                del self.unsolved[number]
            elif self.engine.now_s - since_s > 30.0:
                self.out.wrongs.append(f"visit {number}: stuck, and neither tried again nor alarmed about")
                del self.unsolved[number]

    def _add_up(self) -> None:
        out = self.out
        self._report()
        events = read_events(self.path)
        counts = Counter(read_counts(self.path))
        out.counts = counts
        decisions = [event.id for event in events if event.kind == "decision"]
        out.decisions = len(decisions)
        ends = sum(n for name, n in counts.items() if name.startswith("sorted:"))
        ends += sum(counts[name] for name in ("taken_out", "replaced", "jam", "given_up"))
        for sentence, is_so in (
            # A bin that sees nothing does nothing wrong.
            (f"{len(decisions)} decisions in {out.visits} visits", len(decisions) >= out.visits // 2),
            (f"{len(decisions)} decisions recorded, {len(self.made)} made", decisions == self.made),
            (f"{ends} outcomes of {len(decisions)} decisions", ends == len(decisions)),
            (
                f"{counts['jam']} jams, alarms {sum(e.kind == 'alarm' and e.bin is not None for e in events)}",
                counts["jam"] == sum(e.kind == "alarm" and e.bin is not None for e in events),
            ),
            (
                f"{counts['interrupted']} interruptions, hand events about a decision "
                f"{sum(e.kind == 'hand' and e.about is not None for e in events)}",
                counts["interrupted"] == sum(e.kind == "hand" and e.about is not None for e in events),
            ),
            (
                f"{out.landings} items broke a beam, {counts['landed']} landings, {counts['fell_unasked']} unasked",
                out.landings == counts["landed"] + counts["fell_unasked"] == len(read_landings(self.path)),
            ),
            (
                f"{out.pictures} corrections, {len(find_looks(looks_folder(self.path), sys.maxsize))} pictures",
                out.pictures
                == len(find_looks(looks_folder(self.path), sys.maxsize))
                == len(read_corrections(self.path)),
            ),
        ):
            if not is_so:
                out.wrongs.append(f"does not add up: {sentence}")


def play(visits: int, *, seed: int = 0, real_model: bool = False) -> Outcome:
    """Play one part in a bin of its own."""
    with tempfile.TemporaryDirectory(prefix="wastebin-") as name:
        config = load_config(None, environ={"HOME": name})
        config = replace(config, camera=replace(config.camera, size_px=(320, 240), rate_hz=10.0))
        return _Day(config, visits, seed, Path(name), real_model=real_model).play()


def play_parts(
    visits: int, *, seed: int, real_model: bool = False, out: Path | None = None, part: int = PART
) -> Outcome:
    """Play all, each part in a bin of its own.

    Args:
        out: what is done is written here after each part, and gone on from.
        part: visits of a part.
    """
    asked = {"visits": visits, "seed": seed, "model": real_model}
    whole = _played(out, asked)
    while whole.visits < visits:
        more = min(part, visits - whole.visits)
        whole.add(play(more, seed=seed + whole.visits // part, real_model=real_model))
        print(f"{whole.visits} visits, {len(whole.wrongs)} wrong, {whole.seconds:.0f} s", file=sys.stderr, flush=True)
        if out is not None:
            _write(out, {"asked": asked, "played": whole.fields()})
    return whole


def _played(out: Path | None, asked: dict[str, Any]) -> Outcome:
    """What earlier runs of the same command came to."""
    if out is None or not out.exists():
        return Outcome()
    body = json.loads(out.read_text(encoding="utf-8"))
    if body["asked"] != asked:
        sys.exit(f"{out}: holds the figures of {body['asked']}, not of {asked}; name another file, or remove it")
    return Outcome(**{**body["played"], "counts": Counter(body["played"]["counts"])})


def _write(out: Path, body: dict[str, Any]) -> None:
    """Whole or not at all: whoever is cut off goes on from here."""
    beside = out.with_suffix(".new")
    beside.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    beside.replace(out)


def main() -> None:
    """Play, print, and fail when something is wrong."""
    parser = argparse.ArgumentParser(description="Thousands of visits, with hands, jams and lids.")
    parser.add_argument("visits", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", action="store_true", help="the bundle that came along names the items")
    parser.add_argument("--out", type=Path, help="write the figures here after each part, and go on from there")
    given = parser.parse_args()
    # Pictures this small are not worth a second thread, which waits more than it works.
    cv2.setNumThreads(1)
    whole = play_parts(given.visits, seed=given.seed, real_model=given.model, out=given.out)
    print(whole.text())
    if whole.wrongs:
        sys.exit(f"{len(whole.wrongs)} things are wrong")


if __name__ == "__main__":
    main()
