"""Teach a bin from the command line: what it has learnt, learn now, take it back.

    labelled pictures -> looks -> Teacher -> learnt/, which a running bin follows within seconds -> stdout

Thin, like `cli`, which puts this command among its own.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from device.cli_models import SYSTEM_CONFIG, refuse_root
from device.errors import UsageError

if TYPE_CHECKING:
    from device.learner import LearntView

__all__ = ["teach"]


def teach(
    items: Annotated[
        Path | None, typer.Option(help="Class folders or a zip of pictures taken by this bin, to be kept as looks.")
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take back what was learnt; the pictures stay.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help=f"The bin's TOML file; without it {SYSTEM_CONFIG}, or the built-in bin.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Folder of a bundle; without it, the one that the bin uses.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")] = False,
) -> None:
    """Learn this site from the bin's labelled pictures, now.

    Example: wastebin teach --items looks/
    """
    import time

    from device.config import load_config
    from device.learner import view_of
    from device.learnt import LearntStore, learnt_folder
    from device.looks import keep_items, looks_folder
    from device.run import load_model
    from device.teach import Teacher, looks_here, made_of

    if revoke and items is not None:
        raise UsageError("teach: use just one of --items and --revoke")
    path = SYSTEM_CONFIG if config is None and SYSTEM_CONFIG.is_file() else config
    settings = load_config(path)
    if os.getuid() == 0:
        refuse_root(settings.events_path.parent)
    looks = looks_folder(settings.events_path)
    store = LearntStore(learnt_folder(settings.events_path))
    opened, bundle = load_model(settings, model)
    site = settings.site_for(contamination=bundle.costs.contamination, missed=bundle.costs.missed)
    if revoke:
        store.revoke(made_of(looks_here(looks, site)[0]))
        sentence, is_refused = "taken back: the bundle answers alone until the pictures change", False
    else:
        if items is not None:
            keep_items(looks, items)
        taught = Teacher(looks, store, site, wall=time.time).teach(opened)
        for complaint in taught.unreadable:
            typer.echo(f"error: {complaint}", err=True)
        sentence, is_refused = taught.sentence, taught.name is None
    view = view_of(store, opened.version)
    typer.echo(json.dumps(asdict(view) | {"sentence": sentence}) if as_json else _text(sentence, view))
    if is_refused:
        raise typer.Exit(1)


def _text(sentence: str, view: "LearntView") -> str:
    looks = ", ".join(f"{label} {count}" for label, count in (view.looks or {}).items())
    lines = [sentence]
    if view.active is not None:
        lines.append(f"in use: {view.active} of {view.at}, looks: {looks}")
    lines += [f"look at this one again: {name}" for name in view.suspicious]
    return "\n".join(lines)
