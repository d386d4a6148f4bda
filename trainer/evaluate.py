"""Evaluate: the INT8 file, through the device's own preprocess and classify -> figures to believe.

    quantize/ + the sources' own files -> draft bundle -> Classifier (Arm-exact) -> answers.npz
    answers of tune -> temperature; answers of val -> scores

Every choice is made on *tune*; *val* is only read. Figures are kept apart by source: a sum over TrashNet and other
people's pictures says nothing about either. A sample of *train* is answered too, for what needs features of pictures
that the model knows; no figure counts it.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import Score
from device.classify import Classifier, Prediction, softmax
from device.pictures import decode_picture, find_pictures
from trainer.answers import Answers, save_answers
from trainer.crew import in_order
from trainer.data import Dataset, open_dataset
from trainer.dataset import Record
from trainer.errors import DatasetError
from trainer.manifest import Draft, write_draft
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.score import class_scores, confusion, expected_calibration_error, fit_temperature, score
from trainer.stage import Stage, write_atomic

__all__ = ["PROBES", "Evaluation", "evaluate", "leading_source", "originals"]

F32 = NDArray[np.float32]

PROBES = "probes.json"
"""What `trainer probe` adds to this step's folder; void once the model is measured again."""

_TRAIN_SAMPLE = 150
"""Pictures of *train* that are answered, for each target."""


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


def evaluate(run: Path, recipe: Recipe) -> Evaluation:
    """Measure the quantised student and its float original.

    Raises:
        StageMissing: `trainer quantize` has not been run.
        DatasetError: the pictures are not what `trainer data` read, or none of *tune* or *val* has a label.
    """
    dataset = open_dataset(run)
    quantized, _ = Stage.result_of(run, "quantize")
    inputs = {"quantize": quantized, "data": dataset.fingerprint, "train_sample": _TRAIN_SAMPLE}
    stage = Stage(run, "evaluate", inputs)
    if stage.is_done:
        console.print("evaluate: unchanged")
        return _restore(stage.result)
    labels = recipe.data.labels
    known = Counter(record.split for record in dataset.records if record.target in labels)
    if not known["tune"] or not known["val"]:
        raise DatasetError(
            f"{run}: {known['tune']} pictures of tune and {known['val']} of val have a label, expected some of each; "
            "add pictures, or leave --split out of: trainer data"
        )
    stage.begin()
    (stage.path / PROBES).unlink(missing_ok=True)
    answers = _ask(run, recipe, dataset)
    save_answers(stage.path, answers)
    tune = answers.rows("tune", labelled=True)
    temperature = fit_temperature(answers.int8_logits[tune], answers.truth(tune))
    val, leading = answers.rows("val"), leading_source(dataset, labels)
    first = answers.rows("val", source=leading, labelled=True)
    tables = {
        kind: {
            source: table
            for source in _sources(dataset)
            if (table := _table(answers, logits, source)).sum() > 0
        }
        for kind, logits in (("int8", answers.int8_logits), ("float32", answers.float_logits))
    }  # fmt: skip
    evaluation = Evaluation(
        temperature=temperature,
        int8={source: score(table, labels) for source, table in tables["int8"].items()},
        float32={source: score(table, labels) for source, table in tables["float32"].items()},
        not_named=_not_named(answers),
        agreement=float(np.mean(answers.int8_logits[val].argmax(1) == answers.float_logits[val].argmax(1))),
        calibration_error=expected_calibration_error(
            softmax(answers.int8_logits[first], temperature), answers.truth(first)
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


def leading_source(dataset: Dataset, labels: Sequence[str]) -> str:
    """The first source with labelled pictures in *val*: the one whose figures stand first.

    Raises:
        DatasetError: no picture of *val* has a label.
    """
    measured = {record.source for record in dataset.records if record.split == "val" and record.target in labels}
    if not measured:
        raise DatasetError("val: no picture of it has a label; add pictures and read them with: trainer data")
    return min(measured, key=_sources(dataset).index)


def originals(
    sources: Iterable[Path], wanted: Iterable[Record]
) -> Iterator[tuple[Record, Callable[[], NDArray[np.uint8]]]]:
    """The files behind records, in the sources' order, each once, and what decodes each: uint8 RGB [H, W, 3].

    Raises:
        DatasetError: a picture is not, or no longer, what `trainer data` read.
    """
    left = {record.sha256: record for record in wanted}
    count = len(left)
    for source in sources:
        for ref in find_pictures(source):
            if not left:
                return
            data = ref.read()
            record = left.pop(hashlib.sha256(data).hexdigest(), None)
            if record is not None:
                yield record, partial(decode_picture, data, record.name)
    if left:
        raise DatasetError(
            f"{next(iter(left.values())).name}: {len(left)} of {count} pictures are not what trainer data read; "
            "put them back, or read again with: trainer data"
        )


def _ask(run: Path, recipe: Recipe, dataset: Dataset) -> Answers:
    """Every answer that is kept; the float file answers no picture of *train*."""
    wanted = [record for record in dataset.records if record.split in ("tune", "val")]
    wanted += _train_sample(dataset.records, _TRAIN_SAMPLE)
    asked: list[Record] = []

    def tasks() -> Iterator[Callable[[tuple[Classifier, Classifier]], tuple[Prediction, F32]]]:
        for record, decode in originals(dataset.sources, wanted):
            asked.append(record)
            yield partial(_answer, decode, record.split != "train")

    with tempfile.TemporaryDirectory() as folder:
        draft = write_draft(Path(folder) / "draft", run, recipe, Draft())
        found = in_order(tasks(), lambda: (Classifier(draft), Classifier(draft, use_float=True)))
        pairs = list(track(found, "classifying tune, val and some of train", len(wanted)))
    return Answers(
        sha256=np.array([record.sha256 for record in asked]),
        split=np.array([record.split for record in asked]),
        source=np.array([record.source for record in asked]),
        target=np.array([record.target for record in asked]),
        labels=np.array(recipe.data.labels),
        int8_logits=np.stack([int8.logits for int8, _ in pairs]),
        float_logits=np.stack([float32 for _, float32 in pairs]),
        features=np.stack([int8.features for int8, _ in pairs]),
    )


def _answer(
    decode: Callable[[], NDArray[np.uint8]], also_float: bool, tools: tuple[Classifier, Classifier]
) -> tuple[Prediction, F32]:
    int8, float32 = tools
    rgb = decode()
    prediction = int8.classify(rgb)
    return prediction, float32.classify(rgb).logits if also_float else np.full_like(prediction.logits, np.nan)


def _train_sample(records: Sequence[Record], most: int) -> list[Record]:
    """At most so many of *train* for each target, as evenly over the sources as they allow.

    The order of the hashes is as good as a draw, and the same everywhere.
    """
    queues: dict[str, dict[str, list[Record]]] = {}
    for record in sorted(records, key=lambda record: record.sha256, reverse=True):
        if record.split == "train":
            queues.setdefault(record.target, {}).setdefault(record.source, []).append(record)
    sample = []
    for by_source in queues.values():
        turns = [queue.pop() for _ in range(most) for queue in by_source.values() if queue]
        sample += turns[:most]
    return sample


def _sources(dataset: Dataset) -> list[str]:
    return list(dict.fromkeys(record.source for record in dataset.records))


def _table(answers: Answers, logits: F32, source: str) -> NDArray[np.int64]:
    rows = answers.rows("val", source=source, labelled=True)
    return confusion(answers.truth(rows), logits[rows].argmax(1).tolist(), len(answers.labels))


def _not_named(answers: Answers) -> dict[str, float]:
    val = answers.rows("val")
    named = answers.labels[answers.int8_logits[val].argmax(1)]
    hits: dict[str, list[bool]] = {}
    for source, target, name in zip(answers.source[val], answers.target[val], named, strict=True):
        if target.startswith("!"):
            hits.setdefault(str(source), []).append(target != f"!{name}")
    return {source: float(np.mean(rows)) for source, rows in hits.items()}


def _restore(result: dict[str, object]) -> Evaluation:
    """An Evaluation from what `Stage.finish` kept of it."""
    groups = {
        kind: {source: Score(**row) for source, row in result[kind].items()}  # type: ignore[attr-defined]
        for kind in ("int8", "float32")
    }
    return Evaluation(**{**result, **groups})  # type: ignore[arg-type]
