"""Report: one or more runs -> one HTML page, the same as JSON, and the bundle's card.

    read_findings -> (time the files) -> collect -> page, card, JSON

The page opens by itself, for years: no script, no font, no picture from elsewhere. It is generated, never committed.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import ItemsError, PictureError, UsageError
from trainer.card import write_card
from trainer.dataset import read_records
from trainer.errors import DatasetError, StageMissing
from trainer.evaluate import originals
from trainer.figures import Figures, collect
from trainer.findings import FILES, Findings, read_findings
from trainer.page import Html, Section, html, page, paragraph, tiles
from trainer.recipe import Recipe, load_recipe
from trainer.report_models import made_from, model_chapters, training_chapters
from trainer.report_quality import MOST_MISTAKES, quality_chapters
from trainer.stage import write_atomic
from trainer.timing import Computer, Timed, this_computer, time_files
from trainer.wording import NOT_MEASURED, bytes_text, interval_text, percent_text, share_text

__all__ = ["ARM_FOLDER", "Report", "make_report", "parse_also", "run_card", "save_report"]

ARM_FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "arm"
"""Where a checkout keeps what `make arm-count` counted."""

_REPEATS = 40
_PICTURE_PX = 200
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Report:
    """One report in its three forms, as text."""

    page: str
    card: str
    data: str


def make_report(
    run: Path,
    recipe: Recipe,
    also: Sequence[tuple[Path, Recipe]] = (),
    *,
    arm: Path = ARM_FOLDER,
    clock: Callable[[], float] = time.thread_time,
) -> Report:
    """Say everything that was measured of a run, and what was not.

    Args:
        also: runs to compare it with: other networks, controls, other seeds.
        arm: folder of counted instructions.
        clock: seconds of processor time; times the files on this machine.

    Raises:
        StageMissing: no such run, or a file of it is damaged.
    """
    main = read_findings(run, recipe, arm)
    others = [read_findings(path, other, arm) for path, other in also]
    times, computer = _times((main, *others), clock)
    pictures, said = _pictures(main)
    try:
        figures = collect(main, others, times, computer)
        text = _page(figures, pictures, said)
        card = write_card(figures, recipe)
    except KeyError as error:
        raise StageMissing(
            f"{run}: the figures of a step have no {error}, so another version wrote them; "
            f"measure again with: trainer probe --run {run}"
        ) from error
    return Report(text, card, json.dumps(asdict(figures), indent=1, default=str))


def parse_also(text: str) -> tuple[Path, Recipe]:
    """`RUN:RECIPE` -> a run's folder and the recipe it was trained by.

    Raises:
        UsageError: there is no colon in it.
        RecipeError: no such recipe.
    """
    run, colon, recipe = text.rpartition(":")
    if not colon or not run:
        raise UsageError(f"--also {text}: expected RUN:RECIPE, a run's folder and its recipe; e.g. runs/control:nano")
    return Path(run), load_recipe(recipe)


def run_card(run: Path, recipe: Recipe) -> str:
    """The card of a run alone, for its bundle; the same figures as in its report, without this machine's times."""
    return write_card(collect(read_findings(run, recipe, ARM_FOLDER), [], {}, None), recipe)


def save_report(report: Report, out: Path, data: Path | None, card: Path | None) -> None:
    """Write the page, and the other two forms where a path is given."""
    for path, text in ((out, report.page), (data, report.data), (card, report.card)):
        if path is not None:
            write_atomic(path, text.encode())


def _times(runs: Sequence[Findings], clock: Callable[[], float]) -> tuple[dict[str, Timed], Computer | None]:
    names = {"int8": "model.onnx", "float": "float.onnx"}
    files = {
        f"{found.run} {kind}": found.run / "quantize" / names[kind]
        for found in runs
        if found.quantize
        for kind in FILES
        if (found.run / "quantize" / names[kind]).is_file()
    }
    if not files:
        return {}, None
    computer = this_computer()
    return time_files(files, _REPEATS, clock), computer


def _pictures(main: Findings) -> tuple[dict[str, bytes], str]:
    """JPEGs of the worst mistakes by SHA-256, and why there are none, if so."""
    rows = ((main.probes or {}).get("mistakes") or [])[:MOST_MISTAKES]
    if not rows or main.data is None:
        return {}, ""
    wanted = {row["sha256"] for row in rows}
    records = [record for record in read_records(main.run / "data" / "records.tsv") if record.sha256 in wanted]
    try:
        found = originals([Path(text) for text in main.data["sources"]], records)
        return {record.sha256: _jpeg(decode()) for record, decode in found}, ""
    except (DatasetError, ItemsError, PictureError, OSError) as error:
        return {}, f"Without pictures: {error}"


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    shrink = min(1.0, _PICTURE_PX / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * shrink)), max(1, round(rgb.shape[0] * shrink))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(data)


def _page(figures: Figures, pictures: dict[str, bytes], said: str) -> str:
    missing = "".join(
        f"<li>{html(gap.what)}.{f' It comes with: <code>{html(gap.brings)}</code>' if gap.brings else ''}</li>"
        for gap in figures.missing
    )
    sections = [
        *model_chapters(figures),
        *quality_chapters(figures, pictures, said),
        *training_chapters(figures),
        Section("made", "Made from", made_from(figures)),
        Section("missing", "What was not measured", Html(f"<ul>{missing}</ul>")),
    ]
    lead = Html(
        paragraph(
            f"Names {', '.join(figures.labels)} in a picture of one item, {figures.size_px} x {figures.size_px} "
            f"pixels, network {figures.net}. Every accuracy comes from the INT8 file through the device's own code, "
            "computed as an Arm CPU does, unless it says otherwise; its 95 % interval (Wilson) and the number of "
            "pictures stand beside it. "
        )
        + tiles(_tiles(figures))
        + paragraph(Html(f"<small>Run {html(figures.run)}, evaluation {html(figures.stamp or 'none')}.</small>"))
    )
    return page(f"{figures.name}: report", lead, sections)


def _tiles(figures: Figures) -> list[tuple[str, str, str]]:
    int8 = next((row for row in figures.models if row.run == figures.run and row.kind == "int8"), None)
    full = next((row for row in figures.models if row.run == figures.run and row.kind == "float"), None)
    first, probes = int8.leading if int8 else None, figures.probes or {}
    entries = [
        (
            f"{figures.leading}, INT8",
            percent_text(first.accuracy),
            f"95 %: {interval_text(first)}, n = {first.pictures}",
        )
        if first
        else ("accuracy, INT8", "\N{EN DASH}", NOT_MEASURED)
    ]
    away = [row for row in figures.sources if row.is_field]
    if not away:
        entries.append(("pictures of people it never saw", "\N{EN DASH}", NOT_MEASURED))
    for row in away[:2]:
        share = row.shares["int8"]
        entries.append((
            f"{row.source}, never trained on", percent_text(share.accuracy),
            f"95 %: {interval_text(share)}, n = {share.pictures}",
        ))  # fmt: skip
    if int8 and int8.bytes:
        entries.append(("INT8 file", bytes_text(int8.bytes), f"{int8.bytes:,} bytes"))
    if first and full and full.leading:
        loss = full.leading.accuracy - first.accuracy
        entries.append(("what INT8 costs", f"{100 * loss:.1f} points", f"float: {share_text(full.leading)}"))
    if probes.get("calibration"):
        entries.append(("calibration error", f"{probes['calibration']['ece']:.3f}", "expected, 0 is perfect"))
    return entries
