"""Report, the chapters about models: the brief's table with ours, cost, what each ingredient brought, training. Pure.

Figures -> sections of the page
"""

import statistics
from collections.abc import Sequence

from trainer.charts import FrontPoint, curve_chart, front_chart
from trainer.compare import Ingredient
from trainer.figures import Figures
from trainer.lineup import ModelRow
from trainer.page import Html, Section, columns, details, figure, html, note, paragraph, table
from trainer.stats import Paired, Share, Spread
from trainer.wording import (
    NOT_MEASURED,
    bytes_text,
    count_text,
    interval_text,
    ms_text,
    p_text,
    percent_text,
)

__all__ = ["made_from", "model_chapters", "training_chapters"]

_CURVE_KINDS = ("int8", "float", "teacher", "other", "quiet")
_MOST_LISTED = 6
"""Differences of two recipes that are read at a glance; more are folded away."""


def model_chapters(figures: Figures) -> list[Section]:
    """The table, and accuracy against cost."""
    return [
        Section("models", "The brief's table, and ours", _lineup(figures)),
        Section("front", "Accuracy against cost", _front(figures)),
    ]


def training_chapters(figures: Figures) -> list[Section]:
    """What made the difference, and how training went."""
    return [
        Section("ingredients", "What each ingredient brought", Html(_ingredients(figures) + _again(figures))),
        Section("training", "Training", _training(figures)),
    ]


def _lineup(figures: Figures) -> Html:
    away = [row.source for row in figures.sources if row.is_field]
    head = [
        "model", "file", f"{figures.leading}, accuracy (95 %)", "macro-F1", "organic",
        *(f"{source}, never trained on" for source in away), "ms, plain", "ms, Arm-exact",
    ]  # fmt: skip
    quoted: list[list[object]] = [
        [f"The brief says: {row.name}", row.size, row.accuracy, "", "", *[""] * len(away), row.ms, ""]
        for row in figures.brief
    ]
    rows = [*quoted, *(_row(row, away) for row in figures.models)]
    kinds = ["quoted"] * len(quoted) + ["absent" if row.kind == "none" else "ours" for row in figures.models]
    computer = figures.computer
    where = (
        "Milliseconds: median processor time of one inference on this machine "
        f"({computer.cpu}, {computer.arch}, one thread of {computer.cores} cores, onnxruntime {computer.onnxruntime}, "
        f"load {computer.load} while measuring), without reading and scaling the "
        "picture. “Arm-exact” computes INT8 as an Arm CPU does, which is how every accuracy "
        "here was measured; on x86 that is slow, so neither column tells which is faster on a Raspberry Pi."
        if computer
        else "Nothing was timed."
    )
    return Html(
        paragraph(
            f"Accuracy is on pictures of {figures.leading} that no training step and no choice saw, with its 95 % "
            "interval. “Organic” and pictures of people whose pictures were never trained or tuned on are other "
            "questions, so they have columns of their own. Grey rows are quoted from the brief, which says "
            "nothing of its split; they are nobody's measurement here."
        )
        + table(head, rows, kinds=kinds)
        + paragraph(where)
    )


def _row(row: ModelRow, away: Sequence[str]) -> list[object]:
    if row.kind == "none":
        return [row.name, "not run", *[""] * (5 + len(away))]
    small = f"<br><small>{html(row.split)}</small>" if row.split else ""
    small += (
        f"<br><small>{row.params:,} parameters, {html(row.run)}</small>" if row.params and row.kind != "int8" else ""
    )
    return [
        Html(f"{html(row.name)}{small}"),
        bytes_text(row.bytes) if row.bytes else "",
        _apart(row.leading) or NOT_MEASURED,
        "" if row.macro_f1 is None else f"{row.macro_f1:.3f}",
        _apart(row.organic),
        *(_apart(row.field.get(source)) for source in away),
        ms_text(row.plain_ms),
        ms_text(row.arm_ms),
    ]


def _apart(share: Share | None) -> Html:
    if share is None:
        return Html("")
    return Html(f"{percent_text(share.accuracy)}<br><small>({interval_text(share)}), n = {share.pictures}</small>")


def _front(figures: Figures) -> Html:
    counted = [row for row in figures.models if row.leading and row.instructions]
    core = next(iter(counted[0].instructions or {}), "") if counted else ""
    points: list[FrontPoint] = []
    for row in figures.models:
        cost = (row.instructions or {}).get(core) if core else row.bytes
        if row.leading and cost:
            points.append(FrontPoint(_short(row), row.kind, float(cost), row.leading))
    if not points:
        return note("No model has both an accuracy and a cost yet.")
    label = f"million instructions of one inference, emulated {core}" if core else "size of the file, MB"
    drawn = front_chart(f"Accuracy on {figures.leading} against {label}", label, points, 1e6)
    caption = (
        f"Accuracy on {figures.leading}, with its 95 % interval, against {label}. The grey line joins the models that "
        "no other beats in both."
    )
    parts = figure(drawn, caption)
    if not core:
        parts = Html(
            parts + note("Instructions on Arm cores were not counted; the size of the file stands in for cost.")
        )
    elif counted:
        cores = list(dict.fromkeys(name for row in counted for name in row.instructions or {}))
        where = {True: "this file", False: "another file of that name"}
        rows = [[row.name, where[row.counted_same], *(_instructions(row, core) for core in cores)] for row in counted]
        parts = Html(parts + table(["model", "counted on", *cores], rows, text_columns=2))
    if figures.ratios:
        ratios = [[name, f"{value:.2f}"] for name, value in figures.ratios.items()]
        parts = Html(parts + table([f"instructions of {figures.name}, relative", ""], ratios))
    for core, row in ((figures.same or {}).get("processors") or {}).items():
        pictures = (figures.same or {})["pictures"]
        said = f"Emulated {core} and this machine's Arm-exact session name the same label on {row['same_label']} of "
        parts = Html(parts + paragraph(said, f"{pictures} pictures."))
    return parts


def _short(row: ModelRow) -> str:
    """A name that fits beside a point."""
    return row.name.replace(", the brief's student", "")


def _instructions(row: ModelRow, core: str) -> str:
    value = (row.instructions or {}).get(core)
    return NOT_MEASURED if value is None else count_text(value)


def _ingredients(figures: Figures) -> Html:
    if not figures.ingredients:
        return note(
            "No run of the same network by another recipe was given, so nothing can be said of what an ingredient "
            "brings. Give each with --also RUN:RECIPE, first of all the same recipe without its teacher."
        )
    head = [
        "the same, but", "pictures of", "n", "errors there", "errors here", "change", "right only there",
        "right only here", "McNemar p",
    ]  # fmt: skip
    rows = [row for ingredient in figures.ingredients for row in _ingredient(ingredient, figures.leading)]
    return Html(
        paragraph(
            "Each row is a run that differs from this one (“here”) as it says; both answered the same pictures with "
            "their INT8 files. McNemar's exact test looks at the pictures that only one of the two names rightly; p is "
            "the chance of such a difference if both were equally good. Runs with the same seed are compared pairwise "
            "and their pictures counted together, so with several pairs p is somewhat too small."
        )
        + table(head, rows, text_columns=2)
    )


def _ingredient(row: Ingredient, leading: str) -> list[list[object]]:
    phrases = Html("<br>".join(html(phrase) for phrase in row.differs))
    count = len(row.differs)
    listed = Html(f"<br>{phrases}<br>") if count <= _MOST_LISTED else details(f"{count} differences", phrases)
    pairs = f", {row.seeds} pairs of runs" if row.seeds > 1 else ""
    name = Html(f"<strong>{html(row.name)}</strong>{listed}<small>{html(row.run)}{pairs}</small>")
    return [[name, leading, *_errors(row.leading)], ["", "all with a label", *_errors(row.labelled)]]


def _errors(pair: Paired) -> list[object]:
    change = (
        percent_text(pair.wrong / pair.other_wrong - 1, 0).replace("-", "\N{MINUS SIGN}") if pair.other_wrong else ""
    )
    return [
        pair.pictures, pair.other_wrong, pair.wrong, change, pair.only_other_right, pair.only_right, p_text(pair.p),
    ]  # fmt: skip


def _again(figures: Figures) -> Html:
    parts = []
    for again in figures.again:
        what = "other seeds, the same split" if again.what == "seeds" else "other splits"
        runs = ", ".join(f"{run} (seed {seed})" for run, seed in again.runs.items())
        rows = [[name, _spread(row), row.runs] for name, row in again.figures.items()]
        parts.append(
            f"<h3>The same recipe again: {what}</h3>"
            + paragraph(f"INT8 files of {runs}. Mean and sample standard deviation over runs.")
            + table(["figure", "mean ± sd", "runs"], rows)
        )
    return Html("".join(parts)) if parts else note("One run only: how much chance is in its figures was not measured.")


def _spread(row: Spread) -> str:
    if row.sd is None:
        return f"{row.mean:.3f}"
    return f"{row.mean:.3f} ± {row.sd:.3f}"


def _training(figures: Figures) -> Html:
    own = _curves(figures) if figures.curves else note("No training history was kept.")
    return Html(own + _teacher_curves(figures)) if figures.teacher_curves else own


def _teacher_curves(figures: Figures) -> Html:
    lines = [
        (net, [(float(at), row["loss"]) for at, row in enumerate(history, 1)], kind)
        for (net, history), kind in zip(figures.teacher_curves.items(), _CURVE_KINDS, strict=False)
    ]
    chart = curve_chart("The teacher's loss per pass", "loss", lines, is_share=False)
    rows = [
        [net, len(history), f"{sum(row['seconds'] for row in history) / 60:.0f}", f"{history[-1]['loss']:.3f}"]
        for net, history in figures.teacher_curves.items()
    ]
    return Html(
        figure(chart, "Mean loss of each pass of tuning, one line for each network of the teacher.")
        + table(["network of the teacher", "passes", "minutes in all", "last loss"], rows)
    )


def _curves(figures: Figures) -> Html:
    by_recipe = {curve.differs: curve for curve in reversed(figures.curves)}
    shown = [curve for curve in figures.curves if curve in by_recipe.values()][: len(_CURVE_KINDS)]
    names = ["this run" if curve.run == figures.run else curve.run.rsplit("/", maxsplit=1)[-1] for curve in shown]

    def lines(key: str) -> list[tuple[str, list[tuple[float, float]], str]]:
        return [
            (name, [(float(at), row[key]) for at, row in enumerate(curve.history, 1)], kind)
            for name, curve, kind in zip(names, shown, _CURVE_KINDS, strict=False)
        ]

    rows = []
    for name, curve in zip(names, shown, strict=True):
        seconds = [row["seconds"] for row in curve.history]
        last = curve.history[-1]
        rows.append([
            name, len(seconds), f"{statistics.median(seconds):.0f}", f"{sum(seconds) / 60:.0f}", f"{last['loss']:.3f}",
            percent_text(last["tune_right"]),
        ])  # fmt: skip
    parts = columns(
        figure(curve_chart("Loss per epoch", "loss", lines("loss"), is_share=False), "Mean loss of each epoch."),
        figure(
            curve_chart("Right on tune per epoch", "right on tune", lines("tune_right"), is_share=True),
            "Share of tune named rightly, by the running average of weights; tune is every source together.",
        ),
    )
    head = ["training", "epochs", "seconds an epoch, median", "minutes in all", "last loss", "last right on tune"]
    left = len(figures.curves) - len(shown)
    more = paragraph(f"Of each recipe the first seed; {left} more trainings are in the JSON.") if left else Html("")
    return Html(parts + table(head, rows) + more)


def made_from(figures: Figures) -> Html:
    """Recipe, data and licences."""
    rows = [[source, licence] for source, licence in figures.licences.items()]
    counts = ", ".join(f"{count} {name}" for name, count in figures.splits.items()) or "not kept"
    copies = (
        "" if figures.near_copies is None
        else f" {figures.near_copies} groups of near-copies were each kept on one side of the split."
    )  # fmt: skip
    recipe = [[key, value] for key, value in _flat(figures.recipe)]
    return Html(
        paragraph(
            f"Pictures: {counts}; {figures.left_out} left out as copies, damaged or claimed by two labels.{copies} "
            f"Teacher: {figures.teacher or 'none, trained on labels alone'}. "
            f"INT8: {figures.scheme or NOT_MEASURED}."
        )
        + table(["source", "licence"], rows, text_columns=2)
        + details(f"The recipe {figures.name}, every value", table(["key", "value"], recipe, text_columns=2))
    )


def _flat(values: dict[str, object], before: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{before}{key}.")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            rows.append((f"{before}{key}", shown))
    return rows
