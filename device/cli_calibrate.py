"""Find out what this very bin has for a camera, a light and servos: calibrate.

    arguments -> a bench (the bin's own camera and pins) -> calibrate.session -> stdout, calibration.json

Thin, like `cli`, which puts this command among its own.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from device.cli_models import SYSTEM_CONFIG
from device.errors import EventsBusy, LendError, UsageError

if TYPE_CHECKING:
    from device.calibrate.session import Session
    from device.calibrate.step import Shown, StepResult
    from device.config_types import Config
    from device.pins import PinsName

__all__ = ["calibrate"]

CARD = "card"


def calibrate(
    step: Annotated[
        str | None,
        typer.Argument(
            help="One step: colour, camera, region, empty, flaps, lights, speed or looks; card draws the card to "
            "print; without it, all steps.",
            show_default=False,
        ),
    ] = None,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Forget what the step, or every step, has found.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nobody: do what needs no person.")] = False,
    items: Annotated[
        Path | None, typer.Option(help="Class folders or a zip of pictures to keep as looks.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the card is drawn: a .png file.", show_default=False)] = None,
    config: Annotated[
        Path | None,
        typer.Option(help=f"The bin's TOML file; without it {SYSTEM_CONFIG}, or the built-in bin.", show_default=False),
    ] = None,
    camera: Annotated[
        str | None, typer.Option("--camera", help="As in `wastebin run`; without it, the configuration's.")
    ] = None,
    pins: Annotated[Literal["lgpio", "mock"], typer.Option(help="What the outputs are.")] = "lgpio",
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout, and nothing else.")] = False,
) -> None:
    """Make this camera, this lamp and these servos work, step by step; each may be run alone, again, and undone.

    Example: wastebin calibrate colour
    """
    if step == CARD:
        _draw(out)
        return
    if out is not None:
        raise UsageError("calibrate: --out is for the card; write: wastebin calibrate card --out card.png")
    from device.calibrate.session import STEPS
    from device.config import load_config

    names = [each.name for each in STEPS]
    if step is not None and step not in names:
        raise UsageError(f"calibrate: no step {step!r}; there is {', '.join((*names, CARD))}")
    path = SYSTEM_CONFIG if config is None and SYSTEM_CONFIG.is_file() else config
    settings = load_config(path)
    if camera is not None:
        settings = replace(settings, camera=replace(settings.camera, source=camera))
    if not yes and settings.camera.source.partition(":")[0] != "sim" and not sys.stdin.isatty():
        raise UsageError("calibrate: nobody is at this terminal to ask; write: wastebin calibrate --yes")
    all_ok = True
    with _borrowed(settings, pins, asks=not yes) as session:
        if session.note is not None:
            typer.echo(f"note: {session.note}", err=True)
        try:
            for name in names if step is None else [step]:
                if undo:
                    result = session.undo(name)
                else:
                    result = session.run(name, **({"items": items} if name == "looks" and items is not None else {}))
                all_ok = all_ok and result.ok
                _say(result, as_json)
        finally:
            # What the steps before have found is not lost with the one that could not be done.
            saved = session.save()
    if not as_json:
        typer.echo(f"kept in {saved}; the bin goes by it when it runs")
    if not all_ok:
        raise typer.Exit(1)


def _draw(out: Path | None) -> None:
    from device.calibrate.card import draw_card
    from device.calibrate.picture import write_png

    if out is None or out.suffix != ".png":
        raise UsageError("calibrate: say where the card goes: wastebin calibrate card --out card.png")
    write_png(out, draw_card())
    typer.echo(f"{out}: print it 8 cm wide or wider, on plain white paper")


def _say(result: "StepResult", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result.fields()))
    else:
        typer.echo(f"{'ok  ' if result.ok else 'LOOK'}  {result.name:<7} {result.sentence}")


@contextmanager
def _borrowed(config: "Config", pins: "PinsName", *, asks: bool) -> "Iterator[Session]":
    """A session on the bin's own camera and pins; no bin may run meanwhile."""
    from device.calibrate.session import Nobody, Session
    from device.calibration import apply, load_calibration
    from device.events import EventLog
    from device.lend import simulated_bench

    folder = config.events_path.parent
    calibrated = apply(config, load_calibration(folder)[0])
    try:
        # Whoever writes the events is the bin that runs.
        log = EventLog(config.events_path)
    except EventsBusy as error:
        raise LendError(
            f"{folder}: a bin runs here and holds its camera; calibrate it in its dashboard, or stop it first: "
            "sudo systemctl stop wastebin"
        ) from error
    with log:
        if config.camera.source.partition(":")[0] == "sim":
            yield Session(simulated_bench(config, calibrated.camera.locks), config)
            return
        from device.calibrate.board import OpenBench

        with OpenBench(config, calibrated.camera, pins) as bench:
            yield Session(bench, config, _Terminal() if asks else Nobody())


class _Terminal:
    """Somebody at this terminal, with the bin in reach."""

    def show(self, what: "Shown") -> bool:
        """Ask for it, and wait."""
        asked = f"show the bin {what}, then press Enter (n: leave it out)"
        return str(typer.prompt(asked, default="", show_default=False)) != "n"

    def tell(self, question: str) -> bool | None:
        """Yes or no."""
        return typer.confirm(question)

    def number(self, question: str, default: int) -> int:
        """A number; Enter keeps it."""
        return int(typer.prompt(question, default=default, type=int))
