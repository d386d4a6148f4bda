"""Findings: what the steps of a run left behind, read for a report.

    runs/X/{data,teach,distill,quantize,evaluate}/stage.json  evaluate/{answers.npz,probes.json} -> read_findings

A step that was not run is None here and "not measured" in the report: never a guess, never another run's figure.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.answers import Answers, open_answers
from trainer.errors import StageMissing
from trainer.recipe import Recipe
from trainer.score import confusion
from trainer.stage import Stage
from trainer.taught import has_teachers

__all__ = ["FILES", "Findings", "confusion_of", "read_findings", "right_of"]

FILES = ("int8", "float")
"""The two files of a student, as everything about them is keyed."""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """One run under one recipe; what is None was not run.

    Attributes:
        run: its folder.
        data, distill, quantize, evaluate: the figures of those steps.
        teach: those of its own teacher, or of the one that taught its student.
        teacher_run: the folder of that one.
        answers: what both files said of every picture.
        probes: what `trainer probe` measured.
        arm: instructions of one inference on emulated Arm cores, as `benchmarks/arm` keeps them.
        same: how those cores answered the pictures of *val*, from the same folder.
        stamp: the beginning of the evaluation's fingerprint; empty without one.
    """

    run: Path
    recipe: Recipe
    data: dict[str, Any] | None
    distill: dict[str, Any] | None
    quantize: dict[str, Any] | None
    evaluate: dict[str, Any] | None
    teach: dict[str, Any] | None
    teacher_run: Path | None
    answers: Answers | None
    probes: dict[str, Any] | None
    arm: dict[str, Any] | None
    same: dict[str, Any] | None
    stamp: str

    @property
    def leading(self) -> str | None:
        """The first source with labels: TrashNet, where it is given first."""
        scored = self.evaluate["int8"] if self.evaluate else self.teach["val"] if self.teach else {}
        return next(iter(scored), None)

    @property
    def taught_by(self) -> str | None:
        """What taught the student; None for training on labels alone."""
        return _taught_by(self.distill)


def read_findings(run: Path, recipe: Recipe, arm: Path) -> Findings:
    """Read what is there.

    Args:
        arm: folder of the counted instructions, one JSON file a bundle's name.

    Raises:
        StageMissing: no such run, its student is not the recipe's, or a file of it is damaged.
    """
    if not run.is_dir():
        raise StageMissing(f"{run}: no such run; make one with: trainer data --run {run}")
    steps = {name: _step(run, name) for name in ("data", "distill", "quantize", "evaluate")}
    student = steps["distill"]
    if student and (student["net"], tuple(student["labels"])) != (recipe.net, recipe.data.labels):
        raise StageMissing(
            f"{run}: its student is a {student['net']} of {', '.join(student['labels'])}, but recipe {recipe.name} "
            f"asks for a {recipe.net} of {', '.join(recipe.data.labels)}; give the recipe that it was trained by"
        )
    teacher_run = _teacher_run(run, student)
    is_measured = steps["evaluate"] is not None
    probes = run / "evaluate" / "probes.json"
    counted, same = arm / f"{recipe.name}.json", arm / f"{recipe.name}-same.json"
    has_answers = is_measured and (run / "evaluate" / "answers.npz").is_file()
    return Findings(
        run=run,
        recipe=recipe,
        teacher_run=teacher_run,
        teach=_step(teacher_run, "teach") if teacher_run else None,
        answers=open_answers(run) if has_answers else None,
        probes=_json(probes, f"trainer probe --run {run}") if is_measured and probes.is_file() else None,
        arm=_json(counted, "make arm-count") if counted.is_file() else None,
        same=_json(same, "make arm-same") if same.is_file() else None,
        stamp=Stage.result_of(run, "evaluate")[0][:12] if is_measured else "",
        **steps,
    )


def confusion_of(answers: Answers, kind: str, source: str) -> NDArray[np.int64]:
    """int64 [K, K] of the labelled pictures of a source in *val*: rows are the truth.

    Args:
        kind: one of `FILES`.
    """
    rows = answers.rows("val", source=source, labelled=True)
    return confusion(answers.truth(rows), _logits(answers, kind)[rows].argmax(axis=1).tolist(), len(answers.labels))


def right_of(answers: Answers, kind: str, source: str | None = None) -> dict[str, bool]:
    """SHA-256 of every labelled picture of *val* (of one source) -> whether it was named rightly."""
    rows = answers.rows("val", source=source, labelled=True)
    named = answers.labels[_logits(answers, kind)[rows].argmax(axis=1)]
    return dict(zip(answers.sha256[rows].tolist(), (named == answers.target[rows]).tolist(), strict=True))


def _logits(answers: Answers, kind: str) -> NDArray[np.float32]:
    return answers.int8_logits if kind == "int8" else answers.float_logits


def _taught_by(student: dict[str, Any] | None) -> str | None:
    teacher = student.get("teacher") if student else None
    return None if teacher in (None, "None", "") else str(teacher)


def _teacher_run(run: Path, student: dict[str, Any] | None) -> Path | None:
    teacher = _taught_by(student)
    folders = [run, *([Path(teacher)] if teacher else [])]
    return next((folder for folder in folders if has_teachers(folder)), None)


def _step(run: Path, name: str) -> dict[str, Any] | None:
    return Stage.result_of(run, name)[1] if (run / name / "stage.json").is_file() else None


def _json(path: Path, made_by: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise StageMissing(f"{path}: no JSON that can be read ({error}); make it again with: {made_by}") from error
