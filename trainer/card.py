"""Card: figures -> the text for people that lies in the bundle, in Markdown. Pure.

What it names, how well, where that was measured and where not, what it was made from. The same figures as the report.
"""

from typing import Any

from trainer.figures import Figures
from trainer.measured import Confused
from trainer.nets import weights_licence
from trainer.recipe import Recipe
from trainer.wording import percent_text, share_text

__all__ = ["write_card"]


def write_card(figures: Figures, recipe: Recipe) -> str:
    """The whole card."""
    int8 = [row for row in figures.models if row.run == figures.run and row.kind == "int8"]
    size = f"INT8 file {int8[0].bytes:,} bytes" if int8 and int8[0].bytes else "INT8 file not made"
    lines = [
        f"# {figures.name}",
        "",
        f"Names {', '.join(figures.labels)} in a picture of one item, {figures.size_px} x {figures.size_px} pixels.",
        f"{size} ({figures.scheme}), network `{figures.net}`.",
        "",
        "## How well",
        "",
        "On pictures that no training step saw (*val*; near-copies of a training picture are kept out of it), the",
        "shipped INT8 file through the device's own code, computed as an Arm CPU does; 95 % intervals in brackets.",
        "",
        "| source | INT8 | float | macro-F1 INT8 | recall by label |",
        "|---|---|---|---|---|",
        *(_row(figures, row.source) for row in figures.sources if not row.is_field),
        "",
        *(
            f"`{source}`, known only not to be a label: {share_text(part)} not named so."
            for source, part in figures.not_named.items()
        ),
        *_agreement(figures),
        *_on_arm(figures),
        "",
        *_field(figures),
        *_probes(figures.probes or {}),
        "## What was not measured",
        "",
        *(f"- {gap.what}." for gap in figures.missing),
        "",
        "## Made from",
        "",
        *(f"- {source}: {licence}" for source, licence in figures.licences.items()),
        f"- weights: {weights_licence(recipe.net, recipe.weights)}",
        f"- drawings of the project itself: {_drawings(recipe)}, counted in no figure above",
        f"- teacher: {figures.teacher or 'none, trained on labels alone'}",
        *_training(figures),
        "",
    ]
    return "\n".join(lines)


def _training(figures: Figures) -> list[str]:
    curve = next((curve for curve in figures.curves if curve.run == figures.run), None)
    if curve is None:
        return []
    minutes = sum(row["seconds"] for row in curve.history) / 60
    return [f"- recipe `{figures.name}`: {len(curve.history)} epochs, {minutes:.0f} minutes of training"]


def _row(figures: Figures, source: str) -> str:
    row = next(row for row in figures.sources if row.source == source)
    table = _table(figures, source)
    recall = ", ".join(f"{c.label} {c.recall:.2f}" for c in table.classes) if table else ""
    macro = "" if row.macro_f1 is None else f"{row.macro_f1:.3f}"
    cells = (source, share_text(row.shares.get("int8")), share_text(row.shares.get("float")), macro, recall)
    return f"| {' | '.join(cells)} |"


def _table(figures: Figures, source: str) -> Confused | None:
    return next((row for row in figures.confused if (row.source, row.kind) == (source, "int8")), None)


def _agreement(figures: Figures) -> list[str]:
    if figures.agreement is None:
        return []
    return [
        f"INT8 and float name the same label in {percent_text(figures.agreement)} of all.",
        f"Temperature {figures.temperature:g}, fitted on *tune*.",
    ]


def _on_arm(figures: Figures) -> list[str]:
    same = figures.same or {}
    return [
        f"Emulated {core} names the same label as here on {row['same_label']} of {same['pictures']} pictures of *val*."
        for core, row in same.get("processors", {}).items()
    ]


def _field(figures: Figures) -> list[str]:
    away = [row for row in figures.sources if row.is_field]
    if not away:
        return []
    return [
        "## Other people's pictures",
        "",
        "Sources that were never trained or tuned on: the nearest thing to your room that was measured.",
        "",
        "| source | INT8 | macro-F1 | recall by label |",
        "|---|---|---|---|",
        *(
            f"| {row.source} | {share_text(row.shares.get('int8'))} | {row.macro_f1:.3f} | "
            f"{', '.join(f'{c.label} {c.recall:.2f}' for c in table.classes)} |"
            for row in away
            if (table := _table(figures, row.source)) is not None
        ),
        "",
    ]


def _probes(probes: dict[str, Any]) -> list[str]:
    lines = []
    if probes.get("calibration"):
        lines.append(f"- expected calibration error {probes['calibration']['ece']:.3f}")
    if probes.get("coverage"):
        points = probes["coverage"]["points"]
        near = min(points, key=lambda point: abs(point["coverage"] - 0.9))
        lines.append(
            f"- answering the surest {percent_text(near['coverage'], 0)} only: {percent_text(near['accuracy'])} right"
        )
    curve = probes.get("diversion") or {}
    for key, whose in (("at_default", "by default"), ("at_strict", "as strict as diverts 70 % on *tune*")):
        at = curve.get(key)
        if at and at["contamination"] is not None:
            lines.append(
                f"- with {percent_text(curve['residual_share'], 0)} residual and unknown things, {whose} "
                f"(`accept_prob` {at['accept_prob']:g}): contamination {percent_text(at['contamination'])} "
                f"(95 % bound {percent_text(at['contamination_high'])}) at diversion {percent_text(at['diversion'])}"
            )
    lines += [
        f"- background alone, {row['source']}: {percent_text(row['accuracy'])} named as the item that is gone"
        for row in probes.get("shortcuts") or []
        if row["name"] == "background alone"
    ]
    return ["## How sure, and what throws it off", "", *lines, ""] if lines else []


def _drawings(recipe: Recipe) -> str:
    if recipe.views.photographs:
        return f"{recipe.views.drawings} of {recipe.views.photographs + recipe.views.drawings} views"
    return f"{recipe.drawings.per_epoch} an epoch"
