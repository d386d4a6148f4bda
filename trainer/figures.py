"""Figures: findings of one or more runs -> everything a report says, as plain data. Pure.

    Findings + times -> collect -> Figures -> page, card, JSON

Page, card and JSON are three views of this one thing, so that they cannot disagree. Every share carries its count and
interval; what was not measured is None, and a sentence in `missing` says so.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.compare import Again, Ingredient, compare_runs, differences, repeat_runs
from trainer.findings import Findings
from trainer.lineup import BRIEF, ModelRow, Quoted, line_up
from trainer.measured import Confused, SourceRow, confusions, not_named, source_rows
from trainer.stats import Share
from trainer.timing import Computer, Timed

__all__ = ["Curve", "Figures", "Missing", "collect"]


@dataclass(frozen=True, slots=True)
class Curve:
    """One training.

    Attributes:
        history: per epoch: `loss`, `tune_right`, `seconds`.
    """

    name: str
    run: str
    differs: tuple[str, ...]
    history: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was not measured, and what brings it; empty where nothing here can."""

    what: str
    brings: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that a report says.

    Attributes:
        stamp: of the evaluation.
        leading: the first source with labels.
        temperature, agreement: of the INT8 file; the share of *val* where it names what the float file names.
        not_named: source of pictures known only not to be a label -> share that was not named so.
        probes: as `trainer probe` wrote them.
        recipe: its values.
        licences: source -> licence.
        teacher_curves: network of the teacher -> per pass: `loss`, `seconds`.
        teacher: whose answers the student learnt from; None for labels alone.
        ratios: of counted instructions, between kinds and networks.
        same: what emulated Arm cores answered.
        missing: what was not measured.
    """

    name: str
    run: str
    stamp: str
    labels: tuple[str, ...]
    net: str
    size_px: int
    leading: str
    brief: tuple[Quoted, ...]
    computer: Computer | None
    models: list[ModelRow]
    confused: list[Confused]
    sources: list[SourceRow]
    temperature: float | None
    agreement: float | None
    not_named: dict[str, Share]
    probes: dict[str, Any] | None
    ingredients: list[Ingredient]
    again: list[Again]
    curves: list[Curve]
    teacher_curves: dict[str, list[dict[str, float]]]
    splits: dict[str, int]
    near_copies: int | None
    left_out: int
    scheme: str
    recipe: dict[str, Any]
    teacher: str | None
    licences: dict[str, str]
    ratios: dict[str, float]
    same: dict[str, Any] | None
    missing: list[Missing]


def collect(
    main: Findings, others: Sequence[Findings], times: Mapping[str, Timed], computer: Computer | None
) -> Figures:
    """Put together what a report says.

    Args:
        main: the run that the report is about.
        others: runs to compare it with.
        times: "<run> int8" or "<run> float" -> milliseconds; empty where nothing was timed.
        computer: where they were taken.
    """
    recipe, data, evaluated = main.recipe, main.data or {}, main.evaluate or {}
    leading = main.leading or ""
    confused = confusions(main)
    origins = dict.fromkeys(key.split(": ")[0] for key in data.get("targets", {}))
    return Figures(
        name=recipe.name,
        run=str(main.run),
        stamp=main.stamp,
        labels=recipe.data.labels,
        net=recipe.net,
        size_px=recipe.size_px,
        leading=leading,
        brief=BRIEF,
        computer=computer,
        models=line_up(main, others, times),
        confused=confused,
        sources=source_rows(main, confused),
        temperature=evaluated.get("temperature"),
        agreement=evaluated.get("agreement"),
        not_named=not_named(main),
        probes=main.probes,
        ingredients=compare_runs(main, others),
        again=repeat_runs(main, others),
        curves=_curves(main, others),
        teacher_curves=(main.teach or {}).get("history", {}),
        splits=dict(data.get("splits", {})),
        near_copies=data.get("near_copy_groups"),
        left_out=len(data.get("left_out", [])),
        scheme=str((main.quantize or {}).get("scheme", "")),
        recipe=asdict(recipe),
        teacher=_teacher(main),
        licences={name: recipe.data.licence.get(name, "licence not stated") for name in origins},
        ratios=dict((main.arm or {}).get("ratios", {})),
        same=_same(main),
        missing=_missing(main, others, computer),
    )


def _curves(main: Findings, others: Sequence[Findings]) -> list[Curve]:
    return [
        Curve(run.recipe.name, str(run.run), differences(main, run), run.distill["history"])
        for run in (main, *others)
        if run.distill and run.distill["history"] and run.recipe.net == main.recipe.net
    ]


def _same(main: Findings) -> dict[str, Any] | None:
    """What emulated cores answered, if it was this very file that they ran."""
    path = main.run / "quantize" / "model.onnx"
    if main.same is None or not path.is_file():
        return None
    return main.same if main.same["model_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() else None


def _teacher(main: Findings) -> str | None:
    if main.taught_by is None:
        return None
    nets = " + ".join(main.teach["nets"]) if main.teach else ""
    # By its name only: a card goes where that folder is not.
    return nets or f"the student of run {Path(main.taught_by).name}"


def _missing(main: Findings, others: Sequence[Findings], computer: Computer | None) -> list[Missing]:
    """What a reader might look for and not find."""
    rest, runs = f"--run {main.run}", (main, *others)
    probe = f"trainer probe {rest}"
    wanted = [
        (main.evaluate, Missing("Accuracy of the student", f"trainer evaluate {rest}")),
        (not main.evaluate or main.answers, Missing("Figures of the float file by label", f"trainer evaluate {rest}")),
        (main.probes, Missing(
            "How sure it is, contamination, changed pictures, shortcuts and the worst mistakes", probe)),
        ((main.probes or {}).get("field"), Missing(
            "Pictures of sources that were never trained or tuned on", f"{probe} --field ZIP")),
        (any(run.teach for run in runs), Missing("A teacher", f"trainer teach {rest}")),
        (any(_is_variant(main, other) for other in others), Missing(
            "What an ingredient brings: a run of the same network by another recipe, or without its teacher",
            "--also RUN:RECIPE")),
        (repeat_runs(main, others), Missing(
            "How much is chance: runs of the same recipe with other seeds", "--also RUN:RECIPE")),
        (computer, Missing("Milliseconds of one inference on a workstation", "trainer report")),
        (main.arm, Missing("Instructions of one inference on Arm cores", "make arm-count")),
        (_same(main), Missing("Whether Arm cores give the same answers")),
    ]  # fmt: skip
    return [gap for found, gap in wanted if not found] + [
        Missing("Milliseconds on a Raspberry Pi: none was at hand"),
        Missing("Your room, your lamp, your waste: sources that were never trained on show how far off that can be"),
    ]


def _is_variant(main: Findings, other: Findings) -> bool:
    """Whether a run can show what an ingredient brings."""
    return other.recipe.net == main.recipe.net and bool(differences(main, other))
