"""Run a scripted day with known truth and count what became of each thing.

    Items, script -> SimulatedCamera -> Engine (all of the bin, mock pins) -> Decided, pin trace -> Tally

The whole bin runs, in the script's own time and as fast as the machine can; only the camera and the pins are made up.
It must never judge by what the bin believes: truth is the visit's, what moved is the pins'. A pin that moves without a
decision, a decision whose output does not move, or a decision that is not exactly one event, is an error, no figure.

How it counts. A decision is the item's when it falls while a single item lies on the tray; its first one counts. Any
other decision is a false trigger, but for two items at once: there one may be right, and neither figure counts it. A
thing is in the bin whose flap was open when it fell; contamination counts every thing that fell, those of a pair too.
What this site has taught is worn, as the bin that runs does.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from device.camera.corrected import correct
from device.config_types import Config
from device.drive import Driven, open_drive
from device.engine import Engine
from device.errors import WastebinError
from device.event_reader import read_events
from device.events import EventLog
from device.gate import Gate
from device.learnt import LearntStore, learnt_folder
from device.lines import decision_fields
from device.model import Model
from device.outputs import ALARM, FlapOutputs, LedOutputs, OutputsConfig, default_outputs
from device.route import Site, home_bin
from device.run import load_model
from device.run_parts import open_sensors
from device.simulator.camera import SimulatedCamera
from device.simulator.faults import SOUND, Faults
from device.simulator.items import load_items
from device.simulator.visits import ORDINARY, Habits, Visit, VisitKind, script
from device.site_model import dress
from device.status import Decided

__all__ = ["Ledger", "Tally", "check_moves", "opened_bins", "simulate"]

UNKNOWN_IS = "trash"
"""What a folder outside the model's labels counts as."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a day came to.

    Attributes:
        visits: all of them.
        items: visits that hold exactly one item.
        decided: of those, how many got a decision.
        right: share of `items` whose decided label is the true material, 0..1; None without items.
        contamination: of what went into any bin but the residual one, the share that does not belong; None when
            nothing did.
        diversion: of the single items that have a bin of their own, the share that landed there; None without such.
        missed: items without a decision.
        false_triggers: decisions without an item.
        decision_ms: p50 and p95 over the items' decisions; None without any.
        learnt: name of what this site had taught; None when the bundle answered alone.
    """

    visits: int
    items: int
    decided: int
    right: float | None
    contamination: float | None
    diversion: float | None
    missed: int
    false_triggers: int
    decision_ms: dict[str, float | None]
    learnt: str | None = None

    def fields(self) -> dict[str, object]:
        """The last JSON line."""
        return {
            "visits": self.visits,
            "items": self.items,
            "decided": self.decided,
            "right": self.right,
            "contamination": self.contamination,
            "diversion": self.diversion,
            "missed": self.missed,
            "false_triggers": self.false_triggers,
            "decision_ms": self.decision_ms,
        }

    def text(self) -> str:
        """The same for people."""
        ms = "-" if self.decision_ms["p50"] is None else f"{self.decision_ms['p50']:.0f} ms"
        return (
            f"{self.visits} visits, {self.items} of one item: {self.decided} decided, {self.missed} missed, "
            f"{self.false_triggers} false triggers\n"
            f"right {_percent(self.right)}, contamination {_percent(self.contamination)}, "
            f"diversion {_percent(self.diversion)}, decided after {ms} (half of them)"
        )


@dataclass(slots=True)
class Ledger:
    """Books decisions and falls against the truth; pure, so that a test can keep it by hand.

    Attributes:
        site: whose bins are meant.
        labels: the model's; another folder's name counts as `UNKNOWN_IS`.
    """

    site: Site
    labels: Sequence[str]
    decisions: dict[int, Decided] = field(default_factory=dict)
    falls: dict[int, str] = field(default_factory=dict)
    false_triggers: int = 0

    def truth(self, label: str) -> str:
        """The material of a thing."""
        return label if label in self.labels else UNKNOWN_IS

    def decided(self, visit: Visit | None, decided: Decided, *, lies: bool) -> bool:
        """Book a decision.

        Args:
            visit: what is going on; None after the last.
            lies: something lies on the tray.

        Returns:
            Whether it is a single item's.
        """
        if visit is not None and lies and visit.kind is VisitKind.TWO:
            return False
        if visit is None or not lies or visit.kind is not VisitKind.ITEM or visit.number in self.decisions:
            self.false_triggers += 1
            return False
        self.decisions[visit.number] = decided
        return True

    def opened(self, visit: Visit | None, bin_name: str, *, falls: bool) -> None:
        """Book that a flap opened, and whether what lay there fell."""
        if visit is not None and falls:
            self.falls[visit.number] = bin_name

    def tally(self, visits: Iterable[Visit]) -> Tally:
        """Close the books."""
        visits = list(visits)
        singles = {visit.number: self.truth(visit.labels[0]) for visit in visits if visit.kind is VisitKind.ITEM}
        right = sum(decided.label == singles[number] for number, decided in self.decisions.items())
        residual = self.site.residual.name
        sorted_out = [
            home_bin(self.truth(label), self.site).name == self.falls[visit.number]
            for visit in visits
            for label in visit.labels
            if self.falls.get(visit.number, residual) != residual
        ]
        homes = {number: home_bin(label, self.site) for number, label in singles.items()}
        recyclable = [number for number, home in homes.items() if not home.is_residual]
        diverted = sum(self.falls.get(number) == homes[number].name for number in recyclable)
        times_ms = [decided.decision_ms for decided in self.decisions.values()]
        p50, p95 = np.percentile(times_ms, (50, 95)).tolist() if times_ms else (None, None)
        return Tally(
            visits=len(visits),
            items=len(singles),
            decided=len(self.decisions),
            right=_share(right, len(singles)),
            contamination=_share(sum(not belongs for belongs in sorted_out), len(sorted_out)),
            diversion=_share(diverted, len(recyclable)),
            missed=len(singles) - len(self.decisions),
            false_triggers=self.false_triggers,
            decision_ms={
                "p50": None if p50 is None else round(p50, 1),
                "p95": None if p95 is None else round(p95, 1),
            },
        )


def simulate(
    config: Config,
    *,
    items: Path | None,
    visits: int,
    seed: int,
    model_path: Path | None = None,
    say: Callable[[dict[str, object]], None] | None = None,
    model: Model | None = None,
    faults: Faults = SOUND,
    habits: Habits = ORDINARY,
) -> Tally:
    """Play a day; the same seed gives the same everything except `decision_ms`.

    Args:
        config: of the bin; one without a file has a flap for each bin instead of its lamps. What was learnt lies beside
            its events.
        items: class folders or a zip of photographs; None for drawings in shapes that no model was trained on.
        visits: how many, from 1.
        seed: 0 or more; of the day, the bin and the noise.
        model_path: as `Plan`.
        say: told each decision as the fields of a JSON line: visit, truth, what was decided.
        model: in place of the one at `model_path`, as it is.
        faults: what is wrong with the camera; the configuration's locks put its colours right.
        habits: what people do; the bin feels its lid and its beams where it has sensors.

    Raises:
        ItemsError, PictureError: the items cannot be used.
        LearntError: what was learnt cannot be read.
        WastebinError: the model cannot be used, or the pins did something else than was decided.
    """
    site, learnt = config.site, None
    if model is None:
        bare, bundle = load_model(config, model_path)
        model, learnt = _as_learnt(bare, config)
        site = config.site_for(contamination=bundle.costs.contamination, missed=bundle.costs.missed)
    outputs = config.outputs if config.file is not None else default_outputs([bin_.name for bin_ in site.bins])
    pack = load_items(items, model.labels, seed)
    day = script(pack, visits, seed, habits)
    seen = config.camera
    camera = SimulatedCamera(pack, day, seed=seed, size_px=seen.size_px, rate_hz=seen.rate_hz, faults=faults)
    ledger = Ledger(site, model.labels)
    made: list[Decided] = []
    trace: list[Driven] = []

    def on_open(bin_name: str) -> None:
        ledger.opened(camera.visit, bin_name, falls=camera.would_fall)
        camera.flap_moved(bin_name)

    with (
        tempfile.TemporaryDirectory(prefix="wastebin-") as folder,
        camera,
        EventLog(Path(folder) / "events.db") as log,
        open_sensors(config.sensors, "mock", [camera]) as sensors,
        open_drive(outputs, pins="mock", clock=lambda: engine.now_s, trace=trace.append, on_open=on_open) as drive,
    ):
        counted = _Counted(log)
        engine = Engine(Gate(config.gate, config.camera.region), model, site, drive, counted, sensors=sensors)
        while (frame := camera.read()) is not None:
            decided = engine.step(replace(frame, rgb=correct(frame.rgb, seen.locks))).decided
            if decided is None:
                continue
            made.append(decided)
            visit = camera.visit
            is_items = ledger.decided(visit, decided, lies=camera.rests_still)
            if say is not None:
                say(_line(ledger, visit, decided, is_items))
        log.flush()
        recorded = read_events(Path(folder) / "events.db", kind="decision")
    if [event.id for event in recorded] != [decided.event for decided in made]:
        raise WastebinError(
            f"simulate: {len(made)} decisions, but events {[event.id for event in recorded]} are recorded, "
            f"expected {[decided.event for decided in made]}; this is a bug in device/engine.py"
        )
    gone = sum(counted.counts[name] for name in ("taken_out", "replaced"))
    check_moves(made, opened_bins(trace, outputs), unmoved=gone, interrupted=counted.counts["interrupted"])
    return replace(ledger.tally(day), learnt=learnt)


def _as_learnt(bare: Model, config: Config) -> tuple[Model, str | None]:
    """The model with what this site has taught, and the name of that."""
    store = LearntStore(learnt_folder(config.events_path))
    name = store.read_active().versions.get(bare.version)
    return (bare, None) if name is None else (dress(bare, store.read(name)[1]), name)


def opened_bins(trace: Iterable[Driven], outputs: OutputsConfig) -> list[tuple[float, str]]:
    """When the pins opened which bin, read from what they were told and nothing else.

    Raises:
        WastebinError: a pulse that belongs to no bin.
    """
    opened = []
    pan_us: float | None = None
    for driven in trace:
        if driven.value is None or driven.value == 0 or driven.output == ALARM:
            continue
        if isinstance(outputs, LedOutputs):
            opened.append((driven.at_s, driven.output))
        elif isinstance(outputs, FlapOutputs):
            rests_us = {flap.name: flap.rest_us for flap in outputs.flaps}
            if driven.value != rests_us[driven.output]:
                opened.append((driven.at_s, driven.output))
        elif driven.output == outputs.pan.name:
            pan_us = driven.value
        elif driven.value != outputs.tilt.rest_us:
            # The tray empties where it tilts: the pair of the two names the bin.
            bins = [name for name, way_us in outputs.positions_us.items() if way_us == (pan_us, driven.value)]
            if not bins:
                raise WastebinError(
                    f"pin trace: tilted at pan {pan_us} µs, which is no bin's; a bug in device/moves.py"
                )
            opened.append((driven.at_s, bins[0]))
    return opened


def check_moves(
    made: Sequence[Decided], opened: Sequence[tuple[float, str]], *, unmoved: int, interrupted: int = 0
) -> None:
    """See that each decision moved its own output, once or (a retry) twice, and that nothing else moved.

    Args:
        made: in order.
        opened: from `opened_bins`.
        unmoved: how many decisions ended with the item gone before its flap had moved; where a hand came in, it may
            have begun to.
        interrupted: how many movements were stopped by a hand or the lid, to begin anew.

    Raises:
        WastebinError: something else moved, or too few decisions moved anything.
    """
    starts_s = [decided.at_s for decided in made]
    idle = 0
    before = [bin_name for at_s, bin_name in opened if not starts_s or at_s < starts_s[0]]
    if before:
        raise WastebinError(f"pin trace: {before} moved before any decision; a bug in device/engine.py")
    for index, decided in enumerate(made):
        until_s = starts_s[index + 1] if index + 1 < len(made) else float("inf")
        moved = [bin_name for at_s, bin_name in opened if decided.at_s <= at_s < until_s]
        idle += not moved
        if len(moved) > 2 + interrupted or any(bin_name != decided.bin for bin_name in moved):
            raise WastebinError(
                f"pin trace: decision {decided.event} was for {decided.bin!r}, but {moved} moved, "
                f"expected {decided.bin!r} once or twice; a bug in device/engine.py"
            )
    if not unmoved - interrupted <= idle <= unmoved:
        raise WastebinError(
            f"pin trace: {idle} decisions moved nothing, expected {unmoved} (items gone before their flap moved); "
            "a bug in device/engine.py"
        )


class _Counted:
    """The event log, with the counters kept at hand."""

    def __init__(self, log: EventLog) -> None:
        self.add = log.add
        self.counts: Counter[str] = Counter()

    def count(self, name: str, n: int = 1) -> None:
        self.counts[name] += n


def _line(ledger: Ledger, visit: Visit | None, decided: Decided, is_items: bool) -> dict[str, object]:
    truth = [ledger.truth(label) for label in visit.labels] if visit is not None else []
    return {
        "visit": visit.number if visit is not None else None,
        "kind": visit.kind if visit is not None else None,
        "truth": truth[0] if is_items else None,
        "item": visit.items[0].name if visit is not None and is_items else None,
        **decision_fields(decided),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
