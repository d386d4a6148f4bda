"""Probe: one measured run, asked harder questions than how often it is right.

    val, again and changed; other people's photographs -> draft bundle, Arm-exact -> evaluate/probes.json

Shortcuts, robustness, how far it carries, how sure it is when it is right, and what a bin would do with it. Nothing is
chosen here, and nothing here may be used to choose.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.classify import Classifier, Prediction, softmax
from device.decide import Rule
from device.model import bundle_rule
from device.route import DEFAULT_SITE, Costs, Site, rule_at
from trainer.answers import Answers, open_answers
from trainer.crew import in_order
from trainer.data import Dataset, open_dataset
from trainer.dataset import Record
from trainer.diversion import diversion, outcome
from trainer.evaluate import PROBES, evaluate, leading_source, originals
from trainer.familiar import familiar_of
from trainer.field import FieldPicture, read_field
from trainer.manifest import Draft, write_draft
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.robustness import CHANGES, changed
from trainer.score import class_scores, confusion, score
from trainer.selective import accuracy_at, calibration, coverage
from trainer.shortcuts import shortcuts
from trainer.stage import Stage, write_atomic
from trainer.stats import share
from trainer.stream import Stream, make_stream, near_rows, stream_of
from trainer.student import load_student
from trainer.threshold import strictest

__all__ = ["probe"]

U8 = NDArray[np.uint8]
Key = tuple[str, str | float]
"""What was done to a picture: ("shortcut", its name), or a change's name and its strength."""

_SHORTCUT_PICTURES = 400
_ROBUSTNESS_PICTURES = 200
"""Of a source, at most; each of the latter is classified in nearly thirty forms."""
_MOST_MISTAKES = 12
_FEWEST = 20
"""Pictures that another source needs for a row of its own: of fewer, a share says nothing."""
_SEED = 0x5EED


@dataclass(frozen=True, slots=True, eq=False)
class _Probed:
    """What every changed form of one picture of *val* was named; the forms of `robustness` only if `is_worsened`."""

    record: Record
    named: dict[Key, str]
    is_worsened: bool


def probe(run: Path, recipe: Recipe, field: Sequence[Path] = ()) -> dict[str, Any]:
    """Measure, keep it as evaluate/probes.json, and give it back.

    Args:
        field: folders or archives of photographs that are only measured on.

    Raises:
        StageMissing: `trainer evaluate` has not been run.
        DatasetError: the pictures are not what `trainer data` read, or `field` holds some that were trained on.
    """
    Stage.result_of(run, "evaluate")
    evaluation = evaluate(run, recipe)  # unchanged inputs give its figures back; changed ones are measured again
    answers, dataset = open_answers(run), open_dataset(run)
    leading = leading_source(dataset, recipe.data.labels)
    splits = {record.sha256: record.split for record in dataset.records}
    photographs = list(read_field(field, recipe.data, splits))
    params = sum(weights.numel() for weights in load_student(run, recipe).parameters())
    # What decides in the bin is in the draft, as `pack` would put it there.
    decides = Draft(temperature=evaluation.temperature, out_of_distribution=familiar_of(run))
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_draft(Path(folder) / "draft", run, recipe, decides)
        size = bundle.model.stat().st_size
        probed = _probe_val(bundle, dataset, _sample(dataset, recipe, leading), leading)
        seen = _classify_field(bundle, photographs)
    first = answers.rows("val", source=leading, labelled=True)
    probs = softmax(answers.int8_logits[first], evaluation.temperature)
    truth = answers.truth(first)
    found = {
        "labels": list(recipe.data.labels),
        "model": {
            "name": recipe.name,
            "bytes": size,
            "params": params,
            "size_px": recipe.size_px,
        },
        "temperature": evaluation.temperature,
        "shortcuts": _shortcut_rows(probed, leading),
        "robustness": _robustness_rows([one for one in probed if one.is_worsened]),
        "field": _field_rows(bundle, photographs, seen),
        "coverage": {
            "source": leading,
            **asdict(coverage(probs.max(axis=1), (probs.argmax(axis=1) == truth).tolist())),
        },
        "calibration": {"source": leading, **asdict(calibration(probs, truth))},
        **_diversions(bundle, answers, leading),
        "mistakes": _mistakes(answers, evaluation.temperature),
    }
    write_atomic(run / "evaluate" / PROBES, json.dumps(found, indent=1).encode())
    return found


def _sample(dataset: Dataset, recipe: Recipe, leading: str) -> list[Record]:
    """The leading source's pictures of *val*, and those of labels that it does not have; always the same.

    The order of the hashes is as good as a draw.
    """
    labelled = [record for record in dataset.records if record.split == "val" and record.target in recipe.data.labels]
    has = {record.target for record in labelled if record.source == leading}
    by_source: dict[str, list[Record]] = {}
    for record in sorted(labelled, key=lambda record: record.sha256):
        if record.source == leading or record.target not in has:
            by_source.setdefault(record.source, []).append(record)
    return [record for records in by_source.values() for record in records[:_SHORTCUT_PICTURES]]


def _probe_val(bundle: Bundle, dataset: Dataset, sample: list[Record], leading: str) -> list[_Probed]:
    asked: list[Record] = []
    first = [record for record in sample if record.source == leading]
    worsened = {record.sha256 for record in first[:_ROBUSTNESS_PICTURES]}

    def tasks() -> Iterator[Callable[[Classifier], dict[Key, str]]]:
        for record, decode in originals(dataset.sources, sample):
            asked.append(record)
            yield partial(_name_forms, decode, record, bundle.size_px, record.sha256 in worsened)

    named = list(track(in_order(tasks(), lambda: Classifier(bundle)), "classifying changed pictures", len(sample)))
    return [_Probed(record, names, record.sha256 in worsened) for record, names in zip(asked, named, strict=True)]


def _name_forms(
    decode: Callable[[], U8], record: Record, size_px: int, also_worsened: bool, classifier: Classifier
) -> dict[Key, str]:
    rgb = decode()
    rng = np.random.default_rng([int(record.sha256[:8], 16), _SEED])
    forms: dict[Key, U8] = {("shortcut", name): picture for name, picture in shortcuts(rgb, rng).items()}
    named = {key: classifier.classify(picture).label for key, picture in forms.items()}
    if also_worsened:
        for change, strength, picture in changed(rgb, size_px, rng):
            named[change, strength] = classifier.classify(picture).label
    return named


def _classify_field(bundle: Bundle, photographs: Sequence[FieldPicture]) -> list[Prediction]:
    def tasks() -> Iterator[Callable[[Classifier], Prediction]]:
        for photograph in photographs:
            yield partial(_classify, photograph.decode)

    found = in_order(tasks(), lambda: Classifier(bundle))
    return list(track(found, "classifying other people's photographs", len(photographs)))


def _classify(decode: Callable[[], U8], classifier: Classifier) -> Prediction:
    return classifier.classify(decode())


def _hits(probed: Sequence[_Probed], key: Key) -> list[bool]:
    return [one.named[key] == one.record.target for one in probed if key in one.named]


def _counted(hits: Sequence[bool]) -> dict[str, Any]:
    return asdict(share(sum(hits), len(hits)))


def _shortcut_rows(probed: Sequence[_Probed], leading: str) -> list[dict[str, Any]]:
    rows = []
    for source in dict.fromkeys(one.record.source for one in probed):
        ours = [one for one in probed if one.record.source == source]
        for name in ("as it is", "background alone", "middle covered", "item alone", "grey", "colour cast"):
            key: Key = ("shortcut", name)
            targets = Counter(one.record.target for one in ours if key in one.named)
            if targets.total() >= (1 if source == leading else _FEWEST):
                commonest = max(targets.values()) / targets.total()
                rows.append({"name": name, "source": source, **_counted(_hits(ours, key)), "commonest": commonest})
    return rows


def _robustness_rows(probed: Sequence[_Probed]) -> list[dict[str, Any]]:
    rows = []
    for change in CHANGES:
        by_strength = {strength: _hits(probed, (change.name, strength)) for strength in change.strengths}
        by_strength[change.none_at] = _hits(probed, ("shortcut", "as it is"))
        points = [{"at": strength, **_counted(hits)} for strength, hits in sorted(by_strength.items())]
        rows.append({"change": change.name, "unit": change.unit, "none_at": change.none_at, "points": points})
    return rows


def _site(bundle: Bundle) -> Site:
    """A new bin's containers under the bundle's costs."""
    costs = bundle.manifest.costs
    return Site(DEFAULT_SITE.bins, Costs(costs.contamination, costs.missed))


def _field_rows(
    bundle: Bundle, photographs: Sequence[FieldPicture], seen: Sequence[Prediction]
) -> list[dict[str, Any]]:
    labels, rule, site = bundle.labels, bundle_rule(bundle), _site(bundle)
    known = bundle.manifest.out_of_distribution
    rows = []
    for source in dict.fromkeys(photograph.source for photograph in photographs):
        pairs = [pair for pair in zip(photographs, seen, strict=True) if pair[0].source == source]
        labelled = [(photograph, one) for photograph, one in pairs if photograph.target in labels]
        if not labelled:
            console.print(f"{source}: {len(pairs)} pictures and no label among them, expected some; nothing to score")
            continue
        truth = [labels.index(photograph.target) for photograph, _ in labelled]
        probs = np.stack([one.probs for _, one in labelled])
        right = (probs.argmax(axis=1) == truth).tolist()
        own = [_own_score(one, rule, site) for _, one in labelled]
        table = confusion(truth, probs.argmax(axis=1).tolist(), len(labels))
        stream = make_stream(source, [one for _, one in pairs], [photograph.target for photograph, _ in pairs], site)
        rows.append(
            {
                "source": source,
                **_counted(right),
                "macro_f1": score(table, labels).macro_f1,
                "confusion": table.tolist(),
                "by_label": [asdict(row) for row in class_scores(table, labels)],
                "at_half_coverage": accuracy_at(0.5, probs.max(axis=1), right),
                "at_90_coverage": accuracy_at(0.9, probs.max(axis=1), right),
                "at_half_coverage_device": None if known is None else accuracy_at(0.5, own, right),
                "ece": calibration(probs, truth).ece,
                "diversion_at_default": asdict(outcome(stream, rule, site)) if all(stream.counts(site)) else None,
            }
        )
    return rows


def _own_score(prediction: Prediction, rule: Rule, site: Site) -> float:
    """In which order the bin gives things up: the strange ones first, then by how sure it is of one container."""
    shared = rule_at(rule, site, prediction.labels).together
    probs = dict(zip(prediction.labels, prediction.probs.tolist(), strict=True))
    sure: float = max(sum(probs[label] for label in labels) for labels in shared)
    strange = (
        rule.lowest_familiarity is not None
        and prediction.familiarity is not None
        and prediction.familiarity < rule.lowest_familiarity
    )
    return sure - 1 if strange else sure


def _diversions(bundle: Bundle, answers: Answers, leading: str) -> Mapping[str, Any]:
    """On *val*: the leading source with the labels it lacks and all unknown things; and every source together."""
    rule, site = bundle_rule(bundle), _site(bundle)

    def stream(name: str, rows: NDArray[np.intp]) -> Stream:
        known = bundle.manifest.out_of_distribution
        return stream_of(name, answers, rows, site, temperature=bundle.temperature, known=known)

    strict = strictest(stream("tune", near_rows(answers, "tune", leading)), rule, site)
    streams = {
        "diversion": stream(leading, near_rows(answers, "val", leading)),
        "diversion_all": stream("all of val", answers.rows("val")),
    }
    curves = {key: diversion(made, rule, site, strict) for key, made in streams.items()}
    return {key: asdict(curve) if curve else None for key, curve in curves.items()}


def _mistakes(answers: Answers, temperature: float) -> list[dict[str, Any]]:
    """What was named wrongly on *val*, the surest first, some of every source."""
    probs = softmax(answers.int8_logits, temperature)
    named = answers.labels[probs.argmax(axis=1)]
    left: Counter[str] = Counter()
    rows = []
    for row in sorted(answers.rows("val"), key=lambda row: -float(probs[row].max())):
        source, target, label = str(answers.source[row]), str(answers.target[row]), str(named[row])
        wrong = target == f"!{label}" if target.startswith("!") else target != label
        if wrong and left[source] < _MOST_MISTAKES:
            left[source] += 1
            digest = str(answers.sha256[row])
            found = {"sha256": digest, "source": source, "target": target, "named": label}
            rows.append({**found, "prob": float(probs[row].max())})
    return rows
