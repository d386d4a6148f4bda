"""Lineup: several runs -> the rows of the brief's table, with ours beside it. Pure.

A row is a file that was measured, or says that nothing was: a figure of the brief's is never shown as ours.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.findings import FILES, Findings
from trainer.measured import kept_share, probed_share
from trainer.stats import Share
from trainer.timing import Timed

__all__ = ["BRIEF", "ModelRow", "Quoted", "line_up"]


@dataclass(frozen=True, slots=True)
class Quoted:
    """A figure that is quoted, not ours."""

    name: str
    size: str
    accuracy: str
    ms: str


BRIEF = (
    Quoted("teacher, Inception-ResNet-v2", "217 MB", "85 %", ""),
    Quoted("student CNN", "1.5 MB", "63.4 %", "11 ms"),
    Quoted("student CNN, INT8", "0.38 MB", "63.4 %", "23 ms"),
)
"""What the project's brief says of the model that it describes."""

_EXPECTED = {
    "cnn4": "cnn4, the brief's student",
    "nano": "nano",
    "base": "base",
    "mobilenetv2": "MobileNetV2",
    "efficientnetb0": "EfficientNet-B0",
}
"""Networks that the brief wants compared; each has a row, measured or not."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One file of one network.

    Attributes:
        kind: "teacher", "float" or "int8"; "none" where nothing was run.
        run: its folder; empty where nothing was run.
        bytes: of the file.
        leading, organic: shares on the first source and on the source `organic`.
        field: source that was never trained or tuned on -> share.
        macro_f1: on the first source.
        plain_ms, arm_ms: of one inference on this machine, in the plain session and as an Arm CPU computes.
        instructions: emulated core -> instructions of one inference.
        counted_same: whether they were counted on this very file, rather than on another of the same name.
        split: what is special about its split; empty where near-copies are kept on one side.
    """

    name: str
    kind: str
    run: str = ""
    net: str = ""
    bytes: int | None = None
    params: int | None = None
    leading: Share | None = None
    macro_f1: float | None = None
    organic: Share | None = None
    field: dict[str, Share] = dataclasses.field(default_factory=dict)
    plain_ms: float | None = None
    arm_ms: float | None = None
    instructions: Mapping[str, float] | None = None
    counted_same: bool = True
    split: str = ""


def line_up(main: Findings, others: Sequence[Findings], times: Mapping[str, Timed]) -> list[ModelRow]:
    """Teachers, then both files of each network once, the main run's own first among runs of the same network.

    Args:
        times: "<run> int8" or "<run> float" -> milliseconds.
    """
    rows: list[ModelRow] = []
    leading = main.leading or ""
    taught = [run for run in (main, *others) if run.teach]
    for run in _once(taught, lambda run: str(run.teacher_run)):
        rows += _teacher_rows(run, leading)
    if not rows:
        rows.append(ModelRow("our teacher", "none"))
    if not any("inceptionresnetv2" in _plain(row.net) for row in rows):
        rows.append(ModelRow("Inception-ResNet-v2, the brief's teacher", "none"))
    measured = _once([run for run in (main, *others) if run.quantize or run.evaluate], _key)
    seen = set()
    for run in sorted(measured, key=_place):
        seen.add(_key(run))
        rows += [_student_row(run, kind, leading, times.get(f"{run.run} {kind}")) for kind in reversed(FILES)]
    rows += [ModelRow(name, "none") for net, name in _EXPECTED.items() if net not in seen]
    return rows


def _once(runs: Sequence[Findings], key: Callable[[Findings], str]) -> list[Findings]:
    """The first of each; the main run is the first of all."""
    first: dict[object, Findings] = {}
    for run in runs:
        first.setdefault(key(run), run)
    return list(first.values())


def _plain(net: str) -> str:
    return net.lower().replace("_", "").replace("-", "")


def _key(run: Findings) -> str:
    """Which row a run belongs to: one that is expected, by its recipe's name or its network's, or its network's own."""
    return next((key for key in map(_plain, (run.recipe.name, run.recipe.net)) if key in _EXPECTED), run.recipe.net)


def _place(run: Findings) -> int:
    return list(_EXPECTED).index(_key(run)) if _key(run) in _EXPECTED else len(_EXPECTED)


def _teacher_rows(run: Findings, leading: str) -> list[ModelRow]:
    """The teacher, and each of its networks where it averages several."""
    teach = run.teach or {}
    whole = ModelRow(
        name=f"teacher: {' + '.join(teach['nets'])}",
        kind="teacher",
        run=str(run.teacher_run),
        net=" + ".join(teach["nets"]),
        bytes=teach["bytes"],
        params=teach["params"],
        split=_split(run),
        **_of_sources(teach["val"], leading),
    )
    parts = teach.get("each", {}) if len(teach["nets"]) > 1 else {}
    return [whole] + [
        ModelRow(f"{net}, in that teacher", "teacher", str(run.teacher_run), net, **_of_sources(scores, leading))
        for net, scores in parts.items()
    ]


def _of_sources(scores: Mapping[str, Mapping[str, Any]], leading: str) -> dict[str, Any]:
    """What a row says of the source that the table is about, and of organic."""
    first, organic = scores.get(leading), scores.get("organic") if leading != "organic" else None
    return {
        "leading": kept_share(first) if first else None,
        "macro_f1": first["macro_f1"] if first else None,
        "organic": kept_share(organic) if organic else None,
    }


def _student_row(run: Findings, kind: str, leading: str, timed: Timed | None) -> ModelRow:
    name = _EXPECTED.get(_key(run), run.recipe.net)
    scores = (run.evaluate or {}).get("int8" if kind == "int8" else "float32", {})
    away = (run.probes or {}).get("field", []) if kind == "int8" else []
    path = run.run / "quantize" / ("model.onnx" if kind == "int8" else "float.onnx")
    counted = ((run.arm or {}).get("files") or {}).get("int8" if kind == "int8" else "float32") or {}
    return ModelRow(
        name=f"{name}, {'INT8' if kind == 'int8' else 'float'}",
        kind=kind,
        run=str(run.run),
        net=run.recipe.net,
        bytes=path.stat().st_size if path.is_file() else None,
        params=((run.quantize or {}).get("report") or {}).get("params"),
        field={row["source"]: probed_share(row) for row in away},
        plain_ms=timed.plain_ms if timed else None,
        arm_ms=timed.arm_ms if timed else None,
        instructions=counted.get("instructions"),
        counted_same=path.is_file() and counted.get("sha256") == hashlib.sha256(path.read_bytes()).hexdigest(),
        split=_split(run),
        **_of_sources(scores, leading),
    )


def _split(run: Findings) -> str:
    data = run.data or {}
    if data.get("near_copy_groups") == 0 and run.recipe.data.same_object >= 1:
        return "not grouped: near-copies of training pictures are in val"
    return ""
