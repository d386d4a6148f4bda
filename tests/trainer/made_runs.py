"""Runs that are written rather than trained: every figure is known beforehand."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from bundles import network
from conftest import save
from numpy.typing import NDArray

from trainer.answers import Answers, save_answers
from trainer.dataset import Record, write_records
from trainer.findings import confusion_of
from trainer.recipe import Data, Recipe, Train
from trainer.score import score
from trainer.stage import Stage

LABELS = ("glass", "metal", "paper")
SOURCES = ("lab", "organic", "hands")

RECIPE = Recipe(
    name="tiny",
    net="nano",
    size_px=32,
    data=Data(labels=LABELS, licence={"lab": "MIT, drawn <b>here</b>"}),
    train=Train(epochs=2, pictures_per_epoch=12),
)


def seeded(seed: int, recipe: Recipe = RECIPE) -> Recipe:
    return replace(recipe, train=replace(recipe.train, seed=seed))


def finish(run: Path, step: str, result: dict[str, Any]) -> None:
    stage = Stage(run, step, {"made": "up"})
    stage.finish(result)


def pictures(folder: Path, count: int) -> list[Path]:
    paths = [folder / LABELS[number % 3] / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.is_file():
            save(path, np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8))
    return paths


def logits_for(truth: Sequence[int], wrong: Sequence[int]) -> NDArray[np.float32]:
    """The right label 4 above the others; for `wrong` positions the next label instead."""
    rows = np.zeros((len(truth), 3), np.float32)
    for at, label in enumerate(truth):
        rows[at, (label + (at in wrong)) % 3] = 4
    return rows


def write_run(
    run: Path, folder: Path, *, int8_wrong: Sequence[int] = (), float_wrong: Sequence[int] = (), net: str = "nano",
    teacher: str | None = None, first: int = 0, loss: float = 1.0,
) -> Path:  # fmt: skip
    """12 pictures of `lab` (4 a label), 3 of `organic` (all glass) and 2 of `hands` (!metal) in val, 2 in tune.

    Args:
        int8_wrong, float_wrong: positions that are named wrongly; 0-11 are of lab, 12-14 of organic.
        first: number of the first picture: another split has others.
    """
    paths = pictures(folder, 19 + first)[first:]
    records = []
    for at, path in enumerate(paths):
        source = "lab" if at < 12 or at > 16 else "organic" if at < 15 else "hands"
        target = LABELS[at % 3] if source == "lab" else "glass" if source == "organic" else "!metal"
        digest = sha256(path.read_bytes()).hexdigest()
        records.append(Record(digest, str(path), source, target, at, "val" if at < 17 else "tune"))
    (run / "data").mkdir(parents=True)
    write_records(records, run / "data" / "records.tsv")
    targets = {f"{source}: {target}": 1 for source, target in dict.fromkeys((r.source, r.target) for r in records)}
    finish(run, "data", {
        "pictures": 19, "sources": [str(folder)], "left_out": ["x"], "near_copy_groups": 3,
        "splits": {"val": 17, "tune": 2}, "targets": targets,
    })  # fmt: skip
    history = [
        {"loss": loss, "tune_right": 0.5, "seconds": 60.0},
        {"loss": loss / 2, "tune_right": 0.75, "seconds": 90.0},
    ]
    finish(run, "distill", {"net": net, "labels": LABELS, "history": history, "teacher": str(teacher)})
    (run / "quantize").mkdir()
    for name in ("model.onnx", "float.onnx"):
        (run / "quantize" / name).write_bytes(network(size_px=32))
    finish(run, "quantize", {"scheme": "S8S8", "bytes": 1, "features": 3, "report": {"params": 123456}})
    truth = [LABELS.index(record.target) if record.target in LABELS else 0 for record in records]
    answers = Answers(
        sha256=np.array([record.sha256 for record in records]),
        split=np.array([record.split for record in records]),
        source=np.array([record.source for record in records]),
        target=np.array([record.target for record in records]),
        labels=np.array(LABELS),
        int8_logits=logits_for(truth, int8_wrong),
        float_logits=logits_for(truth, float_wrong),
        features=np.zeros((len(records), 3), np.float32),
    )
    (run / "evaluate").mkdir()
    save_answers(run / "evaluate", answers)
    scores = {
        key: {source: asdict(score(confusion_of(answers, kind, source), LABELS)) for source in ("lab", "organic")}
        for key, kind in (("int8", "int8"), ("float32", "float"))
    }
    finish(run, "evaluate", {
        "temperature": 0.9, **scores, "not_named": {"hands": 0.5}, "agreement": 0.94, "calibration_error": 0.05,
    })  # fmt: skip
    return run


def counted(right: int, count: int) -> dict[str, float]:
    return {"pictures": count, "accuracy": right / count, "low": right / count / 2, "high": (1 + right / count) / 2}


def probes(mistakes: Sequence[str] = ()) -> dict[str, Any]:
    """What `trainer probe` writes, with one point of everything or two."""
    point = {"accept_prob": 0.8, "contamination": 0.06, "contamination_high": 0.09, "diversion": 0.72}
    return {
        "labels": list(LABELS),
        "shortcuts": [
            {"name": name, "source": "lab", **counted(right, 12), "commonest": 0.34}
            for name, right in (("as it is", 11), ("background alone", 4))
        ],
        "robustness": [
            {"change": "rotation", "unit": "degrees", "none_at": 0.0, "points": [
                {"at": 0.0, **counted(11, 12)}, {"at": 90.0, **counted(7, 12)},
            ]},
        ],
        "field": [
            {"source": "phone", **counted(13, 20), "macro_f1": 0.61, "at_half_coverage": 0.8, "at_90_coverage": 0.7,
             "confusion": [[5, 1, 1], [2, 4, 1], [1, 1, 4]]},
        ],
        "coverage": {"source": "lab", "area": 0.0125, "points": [
            {"coverage": 0.5, "accuracy": 1.0}, {"coverage": 0.9, "accuracy": 0.955},
            {"coverage": 1.0, "accuracy": 0.917},
        ]},
        "calibration": {"source": "lab", "ece": 0.0432, "bins": [
            {"confidence": 0.6, "accuracy": 0.5, "share": 0.25}, {"confidence": 0.95, "accuracy": 1.0, "share": 0.75},
        ]},
        "diversion": {
            "stream": "lab", "residual_share": 0.4, "residual": 2, "recyclable": 15, "at_default": point,
            "at_strict": {**point, "accept_prob": 0.95, "contamination": 0.01, "contamination_high": 0.07},
            "points": [{**point, "contamination": None, "diversion": 0.0}, point, {**point, "diversion": 0.9}],
        },
        "diversion_all": None,
        "mistakes": [
            {"sha256": digest, "source": "lab", "target": "!metal", "named": "metal", "prob": 0.97}
            for digest in mistakes
        ],
    }  # fmt: skip


def write_probes(run: Path, found: dict[str, Any]) -> None:
    (run / "evaluate" / "probes.json").write_text(json.dumps(found))


def write_teacher(run: Path) -> Path:
    """A teacher of two networks that errs once on lab."""
    table = [[4, 0, 0], [0, 3, 1], [0, 0, 4]]
    whole = asdict(score(np.array(table), LABELS))
    finish(run, "teach", {
        "nets": ["lite0", "lite1"], "bytes": 34_000_000, "params": 8_500_000, "val": {"lab": whole},
        "history": {
            "lite0": [{"loss": 1.5, "seconds": 600.0}, {"loss": 0.7, "seconds": 660.0}],
            "lite1": [{"loss": 1.4, "seconds": 900.0}, {"loss": 0.625, "seconds": 960.0}],
        },
        "confusion": {"lab": table}, "each": {"lite0": {"lab": whole}, "lite1": {"lab": whole}},
    })  # fmt: skip
    return run
