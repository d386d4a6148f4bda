"""The `trainer` command: one verb a step, each the function of the same name.

    trainer data -> distill -> quantize -> evaluate -> pack -> ship
    trainer pull -> data

It decides nothing: it reads the command line, calls the step, and says what came out.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from device.bundle import Score
from device.errors import UsageError, WastebinError
from trainer.cli_bins import distill_and_ship, keys, pull, ship
from trainer.cli_provision import provision, upgrade
from trainer.errors import RecipeError
from trainer.progress import console

__all__ = ["app", "main", "run_app"]

STOPPED = 130
"""What typer makes of Ctrl-C."""

app = typer.Typer(
    help="Make a model for wastebin: photographs in, a bundle out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[Path, typer.Option("--run", help="Folder of this run; every step keeps its results here.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A recipe of the project, or the path of a TOML file.")]

DEFAULT_RUN = Path("runs/nano")


@app.command()
def build(
    sources: Annotated[list[str], typer.Argument(metavar="[NAME=]PATH...", help="Folders or zips of class folders.")],
    out: Annotated[Path, typer.Option(help="New folder for the bundle.")],
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "nano",
    split: Annotated[Path | None, typer.Option(help="A split to keep to, as `trainer data` writes it.")] = None,
) -> None:
    """Photographs in, a bundle out: every step in its order; goes on where it was cut off.

    Example: trainer build trashnet=dataset-resized.zip --recipe trashnet --run runs/trashnet --out bundles/trashnet
    """
    from trainer.build import build as every_step
    from trainer.dataset import parse_source
    from trainer.recipe import load_recipe

    bundle = every_step(run, [parse_source(text) for text in sources], load_recipe(recipe), out, split)
    console.print(f"{out}: {bundle.name} {bundle.version}, {bundle.model.stat().st_size:,} bytes of INT8")


@app.command()
def data(
    sources: Annotated[list[str], typer.Argument(metavar="[NAME=]PATH...", help="Folders or zips of class folders.")],
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "nano",
    split: Annotated[Path | None, typer.Option(help="A split to keep to, as `trainer data` writes it.")] = None,
    *,
    fold: Annotated[
        str | None, typer.Option(metavar="K/N", help="Keep part K of N for val, as 1/5; not with --split.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(metavar="PAGE.html", help="Write a page to look at, and suspected wrong labels.")
    ] = None,
) -> None:
    """Read, check, group and split photographs.

    Example: trainer data trashnet=dataset-resized.zip organic=organic/ --run runs/nano
    """
    from trainer.audit import audit_run, check_page
    from trainer.data import prepare_data
    from trainer.dataset import parse_source
    from trainer.recipe import load_recipe
    from trainer.split import parse_fold

    if split is not None and fold is not None:
        raise UsageError("data: use just one of --split and --fold")
    if audit is not None:
        check_page(audit)
    made = prepare_data(
        run, [parse_source(text) for text in sources], load_recipe(recipe), split, parse_fold(fold) if fold else None
    )
    table = Table(
        "source", "target", *("train", "tune", "val"), title=f"{len(made.records)} pictures in {run / 'data'}"
    )
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for record in made.records:
        row = rows.setdefault((record.source, record.target), {})
        row[record.split] = row.get(record.split, 0) + 1
    for (source, target), row in rows.items():
        table.add_row(source, target, *(str(row.get(name, 0)) for name in ("train", "tune", "val")))
    console.print(table)
    if audit is not None:
        audit_run(run, load_recipe(recipe), audit)


@app.command()
def views(run: Run = DEFAULT_RUN, recipe: RecipeName = "nano") -> None:
    """Make every training picture many times over, for teacher and students to share.

    Example: trainer views --recipe carry --run runs/carry
    """
    from trainer.recipe import load_recipe
    from trainer.views import make_views

    made = make_views(run, load_recipe(recipe))
    console.print(f"{len(made)} views of {made.pixels.shape[1]} px in {run / 'views'}")


@app.command()
def teach(
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "carry",
    weights: Annotated[Path | None, typer.Option(help="A file in place of the published weights.")] = None,
) -> None:
    """Tune pretrained teachers on the views of a run, and keep their answers; goes on where it was cut off.

    Example: trainer teach --recipe carry --run runs/carry
    """
    from trainer.recipe import load_recipe
    from trainer.teach import teach as step

    step(run, load_recipe(recipe), weights)


@app.command()
def distill(
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "nano",
    teacher: Annotated[
        Path | None, typer.Option(help="Run whose teachers (or student) teach this one; lends its pictures.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Run whose pictures are used, without its teachers.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A file in place of what the recipe starts from.")] = None,
) -> None:
    """Train the student, with or without a teacher; goes on where it was cut off.

    Example: trainer distill --run runs/nano --teacher runs/carry
    """
    from trainer.distill import borrow
    from trainer.distill import distill as step
    from trainer.recipe import load_recipe

    if pictures is not None:
        borrow(run, pictures)
    step(run, load_recipe(recipe), teacher, weights)


@app.command()
def quantize(
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "nano",
    calibrate_with: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A bin's own pictures (folder or zip), to calibrate on as well.")
    ] = None,
) -> None:
    """Turn the student into an INT8 file, and say what it cost.

    Example: trainer quantize --run runs/nano
    """
    from trainer.quantize_student import quantize_student
    from trainer.recipe import load_recipe

    quantize_student(run, load_recipe(recipe), calibrate_with)


@app.command()
def evaluate(run: Run = DEFAULT_RUN, recipe: RecipeName = "nano") -> None:
    """Measure the INT8 file through the device's own code.

    Example: trainer evaluate --run runs/nano
    """
    from trainer.evaluate import evaluate as step
    from trainer.recipe import load_recipe

    result = step(run, load_recipe(recipe))
    table = Table("source", "pictures", "INT8", "float", "macro-F1 INT8", "recall by label", title="val")
    for source, int8 in result.int8.items():
        table.add_row(*_score_row(source, int8, result.float32[source]))
    console.print(table)
    for source, share in result.not_named.items():
        console.print(f"{source}: known only not to be a label; {share:.1%} not named so")
    console.print(
        f"INT8 and float agree on {result.agreement:.1%}; temperature {result.temperature}; "
        f"expected calibration error {result.calibration_error:.3f}"
    )


@app.command()
def probe(
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "nano",
    field: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Photographs of others, SOURCE/<label>/<picture>; only measured on."),
    ] = None,
) -> None:
    """Ask a measured model harder questions: shortcuts, worse pictures, other people's photographs, unknown things.

    Example: trainer probe --run runs/nano --field field.zip
    """
    from trainer.probe import probe as step
    from trainer.probe_tables import probe_tables
    from trainer.recipe import load_recipe

    for part in probe_tables(step(run, load_recipe(recipe), field or [])):
        console.print(part)


@app.command()
def report(
    *,
    out: Annotated[Path, typer.Option("--out", help="The page to write, one HTML file that needs nothing else.")],
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "nano",
    also: Annotated[
        list[str] | None, typer.Option(metavar="RUN:RECIPE", help="A run to compare with; may be given many times.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--json", help="Where to write the same as JSON.")] = None,
    card: Annotated[Path | None, typer.Option(help="Where to write the bundle's card, Markdown.")] = None,
) -> None:
    """Say on one page everything that was measured of a run, and what was not.

    Example: trainer report --run runs/nano --out report.html --also runs/control:nano
    """
    from trainer.recipe import load_recipe
    from trainer.report import make_report, parse_also, save_report

    others = [parse_also(text) for text in also or []]
    save_report(make_report(run, load_recipe(recipe), others), out, data, card)
    console.print(f"{out}: {out.stat().st_size:,} bytes", soft_wrap=True)


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(help="New folder for the bundle.")],
    run: Run = DEFAULT_RUN,
    recipe: RecipeName = "nano",
    has_float: Annotated[
        bool, typer.Option("--float/--no-float", help="Bring the float file along, for wastebin bench.")
    ] = True,
) -> None:
    """Write the bundle that a bin loads.

    Example: trainer pack bundles/nano --run runs/nano
    """
    from trainer.pack import pack as step
    from trainer.recipe import load_recipe

    bundle = step(run, load_recipe(recipe), out, has_float=has_float)
    console.print(
        f"{out}: {bundle.name} {bundle.version}, {bundle.model.stat().st_size:,} bytes of INT8; golden pictures pass"
    )


@app.command()
def bench(
    recipe: RecipeName = "nano",
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each part is measured.")] = 5.0,
) -> None:
    """Measure how many pictures a second this machine augments, trains on and has a teacher answer.

    Example: trainer bench --recipe nano
    """
    from trainer.bench import bench as step
    from trainer.machine import open_machine
    from trainer.recipe import load_recipe

    loaded = load_recipe(recipe)
    with open_machine() as machine:
        table = Table("part", "pictures/s", f"{loaded.train.pictures_per_epoch:,} of them", title=machine.name)
        for speed in step(loaded, machine, seconds):
            minutes = loaded.train.pictures_per_epoch / speed.pictures_per_s / 60
            table.add_row(speed.what, f"{speed.pictures_per_s:.1f}", f"{minutes:.1f} min")
        console.print(table)


app.command()(ship)
app.command()(distill_and_ship)
app.command()(pull)
app.command()(provision)
app.command()(upgrade)
app.add_typer(keys, name="keys")


def _score_row(source: str, int8: Score, float32: Score) -> tuple[str, ...]:
    recall = "  ".join(f"{label} {value:.2f}" for label, value in int8.recall.items())
    return source, str(int8.pictures), f"{int8.accuracy:.1%}", f"{float32.accuracy:.1%}", f"{int8.macro_f1:.3f}", recall


def main() -> None:
    """Run the command line; never returns."""
    sys.exit(run_app(sys.argv[1:]))


def run_app(arguments: list[str]) -> int:
    """Run one command and give its exit status; a known error is one sentence on stderr, Ctrl-C is no error."""
    try:
        app(arguments, prog_name="trainer")
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else int(done.code is not None)
        if status == STOPPED:
            sys.stderr.write("stopped; run the same command again to go on\n")
        return status
    except WastebinError as error:
        if os.environ.get("WASTEBIN_DEBUG") == "1":
            raise
        for sentence in error.problems if isinstance(error, RecipeError) else [str(error)]:
            sys.stderr.write(f"error: {sentence}\n")
        return error.exit_code
    return 0
