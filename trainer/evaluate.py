"""Evaluate: the INT8 file, through the device's own preprocess and classify -> figures to believe.

    quantize/ + the sources' own files -> draft bundle -> Classifier (Arm-exact) -> tune: temperature -> val: scores

Every choice is made on *tune*; *val* is only read. Figures are kept apart by source: a sum over TrashNet and other
people's pictures says nothing about either.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import Score
from device.classify import Classifier, softmax
from device.pictures import decode_picture, find_pictures
from trainer.data import open_dataset
from trainer.dataset import Record
from trainer.errors import DatasetError
from trainer.manifest import Draft, write_draft
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.score import class_scores, confusion, expected_calibration_error, fit_temperature, score
from trainer.stage import Stage, write_atomic

__all__ = ["Evaluation", "evaluate"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    Attributes:
        temperature: fitted on *tune*, on the INT8 logits.
        int8, float32: figures on *val*, by source.
        not_named: by source of pictures that are only known *not* to be a label: the share that was not named so.
        agreement: share of *val* where INT8 and float name the same label.
        calibration_error: of the INT8 probabilities on *val* of the first source with labels, 0..1.
    """

    temperature: float
    int8: dict[str, Score]
    float32: dict[str, Score]
    not_named: dict[str, float]
    agreement: float
    calibration_error: float


@dataclass(slots=True)
class _Answers:
    """Logits of one file for the pictures of a split, in the records' order."""

    records: list[Record] = field(default_factory=list)
    int8: list[F32] = field(default_factory=list)
    float32: list[F32] = field(default_factory=list)


def evaluate(run: Path, recipe: Recipe) -> Evaluation:
    """Measure the quantised student and its float original.

    Raises:
        StageMissing: `trainer quantize` has not been run.
        DatasetError: the pictures are not what `trainer data` read, or none of *tune* or *val* has a label.
    """
    dataset = open_dataset(run)
    quantized, _ = Stage.result_of(run, "quantize")
    stage = Stage(run, "evaluate", {"quantize": quantized, "data": dataset.fingerprint})
    if stage.is_done:
        console.print("evaluate: unchanged")
        return _restore(stage.result)
    stage.begin()
    labels = recipe.data.labels
    answers = {"tune": _Answers(), "val": _Answers()}
    wanted = {record.sha256: record for record in dataset.records if record.split in answers}
    with tempfile.TemporaryDirectory() as folder:
        draft = write_draft(Path(folder) / "draft", run, recipe, Draft())
        int8, float32 = Classifier(draft), Classifier(draft, use_float=True)
        for record, read in track(_originals(dataset.sources, wanted), "classifying tune and val", len(wanted)):
            rgb = decode_picture(read(), record.name)
            kept = answers[record.split]
            kept.records.append(record)
            kept.int8.append(int8.classify(rgb).logits)
            kept.float32.append(float32.classify(rgb).logits)
    tune, val = answers["tune"], answers["val"]
    known = [index for index, record in enumerate(tune.records) if record.target in labels]
    measured = [record.source for record in val.records if record.target in labels]
    if not known or not measured:
        raise DatasetError(
            f"{run}: {len(known)} pictures of tune and {len(measured)} of val have a label, expected some of each; "
            "add pictures, or leave --split out of: trainer data"
        )
    temperature = fit_temperature(
        np.stack([tune.int8[index] for index in known]), [labels.index(tune.records[index].target) for index in known]
    )
    sources = list(dict.fromkeys(record.source for record in dataset.records))
    tables = {
        kind: {
            source: table
            for source in sources
            if (table := _table(val.records, logits, source, labels)).sum() > 0
        }
        for kind, logits in (("int8", val.int8), ("float32", val.float32))
    }  # fmt: skip
    leading = min(measured, key=sources.index)
    first = [i for i, record in enumerate(val.records) if record.source == leading and record.target in labels]
    evaluation = Evaluation(
        temperature=temperature,
        int8={source: score(table, labels) for source, table in tables["int8"].items()},
        float32={source: score(table, labels) for source, table in tables["float32"].items()},
        not_named=_not_named(val, labels),
        agreement=float(np.mean([a.argmax() == b.argmax() for a, b in zip(val.int8, val.float32, strict=True)])),
        calibration_error=expected_calibration_error(
            softmax(np.stack([val.int8[i] for i in first]), temperature),
            [labels.index(val.records[i].target) for i in first],
        ),
    )
    details = {
        source: {
            "labels": labels,
            "confusion": table.tolist(),
            "classes": [asdict(row) for row in class_scores(table, labels)],
        }
        for source, table in tables["int8"].items()
    }  # fmt: skip
    write_atomic(stage.path / "confusion.json", json.dumps(details, indent=1).encode())
    stage.finish(asdict(evaluation))
    return evaluation


def _originals(sources: list[Path], wanted: dict[str, Record]) -> Iterator[tuple[Record, Callable[[], bytes]]]:
    """The files behind the records, whole, in the sources' order, each once."""
    left = dict(wanted)
    for source in sources:
        for ref in find_pictures(source):
            record = left.pop(hashlib.sha256(ref.read()).hexdigest(), None)
            if record is not None:
                yield record, ref.read
    if left:
        raise DatasetError(
            f"{next(iter(left.values())).name}: {len(left)} of {len(wanted)} pictures are not what trainer data read; "
            "put them back, or read again with: trainer data"
        )


def _table(records: list[Record], logits: list[F32], source: str, labels: tuple[str, ...]) -> NDArray[np.int64]:
    chosen = [i for i, record in enumerate(records) if record.source == source and record.target in labels]
    return confusion(
        [labels.index(records[i].target) for i in chosen], [int(logits[i].argmax()) for i in chosen], len(labels)
    )


def _not_named(val: _Answers, labels: tuple[str, ...]) -> dict[str, float]:
    hits: dict[str, list[bool]] = {}
    for record, logits in zip(val.records, val.int8, strict=True):
        if record.target.startswith("!"):
            hits.setdefault(record.source, []).append(bool(record.allowed(labels)[logits.argmax()]))
    return {source: float(np.mean(rows)) for source, rows in hits.items()}


def _restore(result: dict[str, object]) -> Evaluation:
    """An Evaluation from what `Stage.finish` kept of it."""
    groups = {
        kind: {source: Score(**row) for source, row in result[kind].items()}  # type: ignore[attr-defined]
        for kind in ("int8", "float32")
    }
    return Evaluation(**{**result, **groups})  # type: ignore[arg-type]
