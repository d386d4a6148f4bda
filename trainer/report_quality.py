"""Report, the chapters about answers: where it is right, how sure it is, what throws it off. Pure.

Figures -> sections of the page
"""

import base64
from collections.abc import Mapping
from typing import Any

from trainer.charts import (
    SlopeRow,
    contamination_chart,
    coverage_chart,
    heatmap,
    interval_chart,
    reliability_chart,
    robustness_chart,
)
from trainer.figures import Figures
from trainer.measured import Confused, probed_share
from trainer.page import Html, Section, columns, details, figure, html, note, paragraph, table
from trainer.wording import percent_text, share_text

__all__ = ["MOST_MISTAKES", "quality_chapters"]

MOST_MISTAKES = 24

_NAMES = {"teacher": "teacher", "float": "student, float", "int8": "student, INT8"}


def quality_chapters(figures: Figures, pictures: Mapping[str, bytes], pictures_note: str) -> list[Section]:
    """All of them.

    Args:
        pictures: SHA-256 -> JPEG of a mistake.
        pictures_note: why some have none; empty where all are there.
    """
    return [
        Section("field", "From the lab to the field", _field(figures)),
        Section("labels", "Label by label", _labels(figures)),
        Section("calibration", "Does it know how sure it is?", _sureness(figures)),
        Section("sorting", "Contamination against diversion", _sorting(figures)),
        Section("robustness", "Pictures that are not perfect", _robustness(figures)),
        Section("shortcuts", "Does it look at the item?", _shortcuts(figures)),
        Section("mistakes", "Worst mistakes", _mistakes(figures, pictures, pictures_note)),
    ]


def _without(figures: Figures, key: str, more: str = "") -> Html | None:
    """What to say where `trainer probe` has not been run, or had nothing to measure this on."""
    if figures.probes is None:
        return note(
            "Not measured yet. It comes with: ",
            Html(f"<code>trainer probe --run {html(figures.run)}{html(more)}</code>"),
        )
    return (
        None
        if figures.probes.get(key)
        else note("Not measured: the run has no pictures that this could be measured on.")
    )


def _field(figures: Figures) -> Html:
    if not figures.sources:
        return note("Not measured yet: the run has no evaluation.")
    lab = [row for row in figures.sources if not row.is_field]
    away = [row for row in figures.sources if row.is_field]
    rows = [SlopeRow("pictures of these sources were trained on", {}), *(SlopeRow(r.source, r.shares) for r in lab)]
    if away:
        rows += [SlopeRow("never trained or tuned on", {}), *(SlopeRow(r.source, r.shares) for r in away)]
    drawn = interval_chart("Accuracy by source, from the lab to the field", rows)
    caption = (
        "Share named rightly, by who took the pictures; bars are 95 % intervals, the figure at the right is INT8's. "
        "Above, other pictures of sources that were trained on; below, sources that it never saw."
    )
    parts = figure(drawn, caption)
    listed = [
        [row.source, *(share_text(row.shares.get(kind)) for kind in _NAMES),
         "" if row.macro_f1 is None else f"{row.macro_f1:.3f}"]
        for row in figures.sources
    ]  # fmt: skip
    head = ["source", *_NAMES.values(), "macro-F1, INT8"]
    parts = Html(parts + details("The same as numbers", table(head, listed)))
    for source, part in figures.not_named.items():
        parts = Html(parts + paragraph(
            f"{source}: pictures known only not to be one label; {share_text(part)} not named so."
        ))  # fmt: skip
    if not away:
        parts = Html(parts + (_without(figures, "field", " --field ZIP") or note(
            "No source that was never trained on was given to trainer probe with --field; how far the model carries "
            "was not measured."
        )))  # fmt: skip
    else:
        parts = Html(parts + _field_rejected(figures))
    return parts


def _field_rejected(figures: Figures) -> Html:
    rows = [
        [row["source"], share_text(probed_share(row)), f"{row['macro_f1']:.3f}",
         percent_text(row.get("at_90_coverage")), percent_text(row.get("at_half_coverage"))]
        for row in (figures.probes or {}).get("field", [])
    ]  # fmt: skip
    head = ["field source, INT8", "all answered", "macro-F1", "surest 90 %", "surest half"]
    return Html("<h3>The same, when it may say “I do not know”</h3>" + table(head, rows))


def _labels(figures: Figures) -> Html:
    by_source: dict[str, list[Confused]] = {}
    for row in figures.confused:
        by_source.setdefault(row.source, []).append(row)
    if not by_source:
        return note("Not measured yet: no answers were kept. They come with: trainer evaluate")
    field = {row.source for row in figures.sources if row.is_field}
    parts = [paragraph(
        "Rows are what it was, columns what it was named; darker is a larger share of the row. Blue is right, orange "
        "is wrong. Sources are kept apart, since a sum over them says nothing about any."
    )]  # fmt: skip
    ordered = sorted(by_source.items(), key=lambda entry: (entry[0] != figures.leading, entry[0] not in field))
    for source, tables in ordered:
        body = _confused(figures, tables)
        title = f"{source}{' (field: never trained or tuned on)' if source in field else ''}"
        first = source == figures.leading
        parts.append(Html(f"<h3>{html(title)}</h3>{body}") if first else details(title, body))
    return Html("".join(parts))


def _confused(figures: Figures, tables: list[Confused]) -> Html:
    tables = sorted(tables, key=lambda row: list(_NAMES).index(row.kind))
    drawn = columns(*(
        figure(
            heatmap(f"What {_NAMES[row.kind]} names on {row.source}", row.table, figures.labels),
            f"{_NAMES[row.kind]}: {share_text(row.overall)}, macro-F1 {row.macro_f1:.3f}",
        )
        for row in tables
    ))  # fmt: skip
    labels = [label for label in figures.labels if any(c.label == label for row in tables for c in row.classes)]
    head: list[object] = ["label", "support"]
    head += [f"{figure} {row.kind if row.kind != 'int8' else 'INT8'}" for row in tables for figure in ("P", "R", "F1")]
    rows: list[list[object]] = []
    for label in labels:
        found = [next((c for c in row.classes if c.label == label), None) for row in tables]
        support = next((c.support for c in found if c is not None), 0)
        cells = [f"{value:.2f}" if c else "" for c in found
                 for value in ((c.precision, c.recall, c.f1) if c else (0, 0, 0))]  # fmt: skip
        rows.append([label, support, *cells])
    missing = [name for kind, name in _NAMES.items() if kind not in {row.kind for row in tables}]
    said = paragraph(f"Not measured on this source: {', '.join(missing)}.") if missing else Html("")
    caption = paragraph("P precision, R recall, F1 their harmonic mean; support is the number of pictures.")
    return Html(drawn + table(head, rows) + caption + said)


def _sureness(figures: Figures) -> Html:
    """Calibration and risk-coverage, side by side."""
    if (nothing := _without(figures, "calibration")) is not None:
        return nothing
    probes = figures.probes or {}
    sure, covered = probes["calibration"], probes["coverage"]
    temperature = "" if figures.temperature is None else f" Temperature {figures.temperature:g}, fitted on tune."
    points = sorted((point["coverage"], point["accuracy"]) for point in covered["points"])
    return Html(
        paragraph(
            f"Left: what it claims against how often it is right. On average they are {percent_text(sure['ece'])} "
            f"apart (expected calibration error {sure['ece']:.3f}).{temperature} Right: what it gets right if it may "
            f"leave what it is least sure of to Trash; mean risk over all coverages {covered['area']:.4f}. "
            f"Both: INT8, val of {figures.leading}."
        )
        + columns(
            figure(
                reliability_chart("Confidence against accuracy", sure["bins"]),
                "On the dashed line, 80 % sure means right 8 times in 10. Larger discs and grey bars: more pictures.",
            ),
            figure(
                coverage_chart("Accuracy of the surest pictures", points),
                "Marked: the surer half, the surest 90 %, and all pictures.",
            ),
        )
    )


def _sorting(figures: Figures) -> Html:
    if (nothing := _without(figures, "diversion")) is not None:
        return nothing
    probes = figures.probes or {}
    parts = paragraph(
        "Contamination: of what went into any bin but Trash, the share that does not belong there. Diversion: of what "
        "could be recycled, the share that was. The stream is made of val so that "
        f"{percent_text(probes['diversion']['residual_share'], 0)} of the visits are residual or unknown "
        "things; one look each, thresholds chosen before."
    )
    for key, what in (("diversion", figures.leading), ("diversion_all", "all sources of val")):
        row = probes.get(key)
        if row:
            counts = f" {row['residual']} residual and {row['recyclable']} recyclable pictures."
            for whose, at in (
                ("the bundle's own threshold", start := row["at_default"]),
                ("the strictest that still diverts 70 % on tune", row["at_strict"]),
            ):
                if at["contamination"] is not None:
                    counts += (
                        f" At {whose}, {at['accept_prob']:g}: contamination {percent_text(at['contamination'])}, "
                        f"95 % bound {percent_text(at['contamination_high'])}, at a diversion of "
                        f"{percent_text(at['diversion'])}."
                    )
            drawn = contamination_chart(f"Contamination against diversion, {what}", row["points"], start)
            parts = Html(parts + figure(
                drawn, f"{what}: from the strictest threshold (left) to naming everything (right); the shaded band "
                f"reaches up to the 95 % bound. Green: at most 10 % at a diversion of 70 % or more.{counts}"
            ))  # fmt: skip
    return parts


def _robustness(figures: Figures) -> Html:
    if (nothing := _without(figures, "robustness")) is not None:
        return nothing
    changes = (figures.probes or {})["robustness"]
    least = min(point["low"] for change in changes for point in change["points"])
    low = max(0.0, int((least - 0.06) * 10) / 10)
    drawn = columns(*(Html(f'<div class="plot">{robustness_chart(change, low)}</div>') for change in changes))
    return Html(
        paragraph(
            f"The INT8 file on {changes[0]['points'][0]['pictures']} pictures of val of {figures.leading}, each "
            "changed in one way before the device's own code sees it; the band is the 95 % interval. Marked: the "
            "unchanged picture and the worst."
        )
        + drawn
    )


def _shortcuts(figures: Figures) -> Html:
    if (nothing := _without(figures, "shortcuts")) is not None:
        return nothing
    tests = (figures.probes or {})["shortcuts"]
    rows: list[SlopeRow] = []
    for source in dict.fromkeys(row["source"] for row in tests):
        rows.append(SlopeRow(source, {}))
        rows += [
            SlopeRow(row["name"], {"int8": probed_share(row)}, row.get("commonest")) for row in tests
            if row["source"] == source
        ]  # fmt: skip
    commonest = [
        [row["name"], row["source"], share_text(probed_share(row)), percent_text(row.get("commonest"))] for row in tests
    ]
    return Html(
        paragraph(
            "A model that has learnt the board, the lamp or the hand names things that are not there. “Background "
            "alone” has the item painted over: it should be no better than always naming the commonest label (dashed). "
            "“Item alone”, grey and a colour cast should cost little."
        )
        + figure(
            interval_chart("Shortcut tests", rows, "commonest label"), "INT8, share named as the item, 95 % interval."
        )
        + details(
            "The same as numbers",
            table(
                ["test", "source", "named as the item", "the commonest label would reach"], commonest, text_columns=2
            ),
        )
    )


def _mistakes(figures: Figures, pictures: Mapping[str, bytes], pictures_note: str) -> Html:
    if (nothing := _without(figures, "mistakes")) is not None:
        return nothing
    rows: list[dict[str, Any]] = (figures.probes or {})["mistakes"][:MOST_MISTAKES]
    cards = "".join(_mistake(row, pictures.get(row["sha256"])) for row in rows)
    said = note(pictures_note) if pictures_note else Html("")
    return Html(
        paragraph("Wrong, and most sure of it: the INT8 file on val.") + said + f'<div class="mistakes">{cards}</div>'
    )


def _mistake(row: Mapping[str, Any], jpeg: bytes | None) -> str:
    target = row["target"].replace("!", "not ", 1)
    text = f"{target} named {row['named']}"
    image = f'<img alt="{html(text)}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">' if jpeg else ""
    return (
        f"<figure>{image}<figcaption><b>{html(target)}</b> named <b>{html(row['named'])}</b><br>"
        f"{percent_text(row['prob'], 0)} sure, {html(row['source'])}</figcaption></figure>"
    )
