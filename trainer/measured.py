"""Measured: one run's answers -> what its models make of each source. Pure.

Figures are kept apart by source: TrashNet's six labels, organic, and other people's pictures are different questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.findings import FILES, Findings, confusion_of
from trainer.score import ClassScore, class_scores, score
from trainer.stats import Share, share

__all__ = ["Confused", "SourceRow", "confusions", "kept_share", "not_named", "probed_share", "source_rows"]


@dataclass(frozen=True, slots=True)
class Confused:
    """What one model makes of one source.

    Attributes:
        kind: "teacher", "float" or "int8".
        table: pictures, rows are the truth, columns what was named.
    """

    source: str
    kind: str
    table: list[list[int]]
    classes: list[ClassScore]
    overall: Share
    macro_f1: float


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source of pictures, from the lab to the field.

    Attributes:
        is_field: never trained or tuned on.
        shares: kind -> share.
        macro_f1: of the INT8 file, where it was measured.
    """

    source: str
    is_field: bool
    shares: dict[str, Share]
    macro_f1: float | None


def kept_share(row: Mapping[str, Any]) -> Share:
    """From a score, which keeps a rounded share."""
    return share(round(row["accuracy"] * row["pictures"]), row["pictures"])


def probed_share(row: Mapping[str, Any]) -> Share:
    """From a row of `trainer probe`."""
    return Share(row["pictures"], row["accuracy"], row["low"], row["high"])


def confusions(run: Findings) -> list[Confused]:
    """Every table of a run: its teacher's, its two files' on *val*, its INT8 file's in the field."""
    labels = run.recipe.data.labels
    tables: list[tuple[str, str, Any]] = []
    if run.teach:
        tables += [("teacher", source, table) for source, table in run.teach["confusion"].items()]
    sources = list((run.evaluate or {}).get("int8", {}))
    if run.answers is not None:
        tables += [(kind, source, confusion_of(run.answers, kind, source)) for kind in FILES for source in sources]
    for row in (run.probes or {}).get("field", []):
        tables.append(("int8", row["source"], row["confusion"]))
    made = []
    for kind, source, table in tables:
        counts = np.asarray(table, dtype=np.int64)
        if counts.sum():
            summary = score(counts, labels)
            overall = share(int(np.trace(counts)), int(counts.sum()))
            made.append(
                Confused(source, kind, counts.tolist(), class_scores(counts, labels), overall, summary.macro_f1)
            )
    return made


def source_rows(run: Findings, confused: Sequence[Confused]) -> list[SourceRow]:
    """From the lab to the field; without answers, from the scores that the evaluation kept."""
    field = {row["source"] for row in (run.probes or {}).get("field", [])}
    shares: dict[str, dict[str, Share]] = {}
    if run.answers is None and run.evaluate:
        for kind, key in zip(FILES, ("int8", "float32"), strict=True):
            for source, row in run.evaluate[key].items():
                shares.setdefault(source, {})[kind] = kept_share(row)
    macro = {source: row["macro_f1"] for source, row in (run.evaluate or {}).get("int8", {}).items()}
    for table in confused:
        shares.setdefault(table.source, {})[table.kind] = table.overall
        if table.kind == "int8":
            macro[table.source] = table.macro_f1
    rows = [SourceRow(source, source in field, kinds, macro.get(source)) for source, kinds in shares.items()]
    return sorted(rows, key=lambda row: row.is_field)  # stable: the sources' own order otherwise


def not_named(run: Findings) -> dict[str, Share]:
    """By source of pictures known only *not* to be a label: the share of *val* that was not named so."""
    found: dict[str, Share] = {}
    for source, part in (run.evaluate or {}).get("not_named", {}).items():
        if run.answers is not None:
            known = {*run.answers.rows("val", source=source, labelled=True).tolist()}
            count = len(run.answers.rows("val", source=source)) - len(known)
            found[source] = share(round(part * count), count)
    return found
