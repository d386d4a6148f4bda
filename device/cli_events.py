"""What was decided, what a person says about it, and what leaves the bin of both: events, correct, export.

    arguments -> event_reader, export -> stdout

Thin, like `cli`, which puts these commands among its own.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from device.cli_models import SYSTEM_CONFIG
from device.errors import UsageError

__all__ = ["correct", "events", "export"]

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The bin's TOML file; without it, the built-in bin.", show_default=False)
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of a bundle; without it, the one that came along.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, and nothing else.")]


def events(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="All events as CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what was decided, and what went wrong.

    Example: wastebin events --csv > events.csv
    """
    from dataclasses import asdict

    from device.config import load_config
    from device.event_reader import read_events, write_csv

    if as_csv and as_json:
        raise UsageError("events: use just one of --csv and --json")
    path = load_config(config).events_path
    if as_csv:
        write_csv(read_events(path), sys.stdout)
        return
    for event in read_events(path, limit):
        if as_json:
            typer.echo(json.dumps(asdict(event)))
        elif event.kind == "decision":
            sure = "" if event.accepted else f", {event.detail}"
            typer.echo(f"{event.id:>6}  {event.at}  {event.label:<10} {event.prob:4.0%}  -> {event.bin}{sure}")
        else:
            typer.echo(f"{event.id:>6}  {event.at}  {event.kind:<10} {event.detail}")


def correct(
    event: Annotated[int, typer.Argument(help="Number of a decision, see `wastebin events`.", show_default=False)],
    label: Annotated[str, typer.Argument(help="What it really was.", show_default=False)],
    config: ConfigOption = None,
    model: ModelOption = None,
) -> None:
    """Say what an item really was.

    Example: wastebin correct 17 glass
    """
    import time

    from device.bundle import load_bundle
    from device.config import load_config
    from device.event_reader import add_correction
    from device.model import served_path

    settings = load_config(config)
    labels = load_bundle(served_path(settings, model)).labels
    # A material that the model does not know may be taught, where the site has a bin for it.
    new = sorted({each for bin_ in settings.site.bins for each in bin_.takes}.difference(labels))
    add_correction(settings.events_path, event, label, (*labels, *new), wall_s=time.time())
    typer.echo(f"event {event} was {label}")


def export(
    config: Annotated[
        Path | None,
        typer.Option(help=f"The bin's TOML file; without it {SYSTEM_CONFIG}, or the built-in bin.", show_default=False),
    ] = None,
) -> None:
    """Write what people have taught this bin to stdout: a tar of labelled pictures and corrections.

    Example: wastebin export > taught.tar
    """
    from device.config import load_config
    from device.export import write_export

    if sys.stdout.isatty():
        raise UsageError("export: a tar is nothing for a terminal; write it into a file: wastebin export > taught.tar")
    path = SYSTEM_CONFIG if config is None and SYSTEM_CONFIG.is_file() else config
    write_export(load_config(path).events_path, sys.stdout.buffer)
