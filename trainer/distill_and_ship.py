"""Distill and ship: the whole way, from photographs to a bin that has proved the new model.

    data -> views -> teach -> distill -> quantize -> evaluate -> pack -> gate -> ship (signed) -> sentences

Each step is kept, so that whatever stops it, the same command goes on. Between the measured model and the bins stands
the gate: against what each bin runs now and against the best that was ever shipped from this run, on pictures that were
kept out of training. It must never ship what the gate refuses unless it was told to, and then says what it overrides.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.bundle import Bundle, load_bundle
from device.errors import BundleError
from trainer.build import measured_steps, walk
from trainer.data import open_dataset
from trainer.dataset import Source
from trainer.errors import GateError, StageMissing
from trainer.fetch import fetch_serving
from trainer.fleet import Fleet, View, is_begun, ship_bundle
from trainer.gate import Verdict, judge, name_all, withheld
from trainer.keys import Keys
from trainer.link import Access
from trainer.pack import pack
from trainer.progress import console
from trainer.recipe import Recipe
from trainer.ship import Outcome
from trainer.stage import Stage

__all__ = ["PULLED", "Delivery", "Journey", "distill_and_ship"]

PULLED = "pulled"
"""Name of the source, and of the folder of a run, that holds what people corrected at their bins."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where it goes, and with what right."""

    fleet: Fleet
    keys: Keys
    access: Access
    view: View


@dataclass(frozen=True, slots=True)
class Journey:
    """How it went.

    Attributes:
        verdict: the gate's.
        outcomes: one for each bin.
    """

    verdict: Verdict
    outcomes: list[Outcome]

    def sentences(self) -> list[str]:
        """What a person is told of the model; how it ended at the bins has a table of its own."""
        return [sentence for one in self.verdict.compared for sentence in one.sentences()]


def distill_and_ship(
    run: Path,
    sources: Sequence[Source],
    recipe: Recipe,
    delivery: Delivery,
    *,
    split: Path | None = None,
    is_forced: bool = False,
) -> Journey:
    """Make a model of photographs and bring it to bins.

    Args:
        sources: photographs; none for those that the run has read before.
        split: a split to keep to.
        is_forced: ship what the gate refuses.

    Raises:
        GateError: the gate refuses it.
        TrainerError: whatever a step raises; what came before it is kept.
    """
    steps = measured_steps(run, sources, recipe, split)
    if not sources:
        steps["data"] = lambda: open_dataset(run)
    packed: list[Bundle] = []
    verdicts: list[Verdict] = []

    def make() -> None:
        packed.append(_packed(run, recipe))

    def decide() -> None:
        verdicts.append(_gate(run, recipe, packed[0], delivery))
        for reason in verdicts[0].reasons:
            console.print(f"gate: {reason}{' - overridden by --force' if is_forced else ''}", soft_wrap=True)
        if verdicts[0].reasons and not is_forced:
            raise GateError(
                f"{packed[0].name} {packed[0].version}: not shipped, {len(verdicts[0].reasons)} reasons above; "
                "more and other pictures are the cure, --force ships it all the same"
            )

    def ship() -> list[Outcome]:
        return _ship(run, packed[0], delivery)

    before: dict[str, Callable[[], object]] = {**steps, "pack": make, "gate": decide}
    outcomes = walk(before, {"ship": ship})[0]
    return Journey(verdicts[0], outcomes)


def _packed(run: Path, recipe: Recipe) -> Bundle:
    """The run's bundle; the same one until something before it changes, so that shipping it can be gone on with."""
    measured, _ = Stage.result_of(run, "evaluate")
    stage = Stage(run, "packed", {"evaluate": measured})
    folder = stage.path / "bundle"
    if stage.is_done:
        console.print("pack: unchanged")
        return load_bundle(folder)
    stage.begin()
    shutil.rmtree(folder, ignore_errors=True)
    bundle = pack(run, recipe, folder)
    stage.finish({"version": bundle.version})
    return bundle


def _gate(run: Path, recipe: Recipe, bundle: Bundle, delivery: Delivery) -> Verdict:
    dataset = open_dataset(run)
    records = withheld(dataset, recipe.data.labels)
    if not records:
        raise StageMissing(f"{run}: no labelled picture was kept out of training; add pictures with: trainer data")
    serving = fetch_serving(delivery.fleet.hosts, delivery.access, run / "fetched")
    before = {
        f"the {one.name} {version} that runs now": name_all(one, dataset, records)
        for version, one in serving.items()
        if version != bundle.version
    }
    truth = [record.target for record in records]

    def right(named: Sequence[str]) -> int:
        return sum(said == target for said, target in zip(named, truth, strict=True))

    once = {
        f"the {one.name} {one.version} that was shipped before": name_all(one, dataset, records)
        for one in _shipped(run)
        if one.version not in serving and one.version != bundle.version
    }
    if once:
        best = max(once, key=lambda words: right(once[words]))
        before[best] = once[best]
    corrected = frozenset(record.source for record in records if record.source.partition("/")[0] == PULLED)
    return judge(records, name_all(bundle, dataset, records), before, corrected)


def _shipped(run: Path) -> list[Bundle]:
    """What was shipped from this run, and is still whole."""
    found = []
    for folder in sorted((run / "shipped").glob("*-*")):
        try:
            found.append(load_bundle(folder))
        except BundleError as error:
            console.print(f"gate: {error}; not compared with", soft_wrap=True)
    return found


def _ship(run: Path, bundle: Bundle, delivery: Delivery) -> list[Outcome]:
    folder = bundle.path
    outcomes = ship_bundle(
        folder, delivery.keys, delivery.fleet, delivery.access, delivery.view, resume=is_begun(bundle)
    )
    kept = run / "shipped" / bundle.version
    if any(outcome.is_live for outcome in outcomes) and not kept.exists():
        shutil.copytree(folder, kept)
    return outcomes
