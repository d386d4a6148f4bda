"""`wastebin dashboard`: the token of the dashboard; `wastebin wipe`: forget what people have left here.

    arguments -> device.web.token, device.wipe -> stdout

Thin, like `cli`, which puts these commands among its own.
"""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from device.cli_models import SYSTEM_CONFIG
from device.errors import UsageError

if TYPE_CHECKING:
    from device.config_types import Config

__all__ = ["dashboard", "wipe"]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help=f"The bin's TOML file; without it {SYSTEM_CONFIG}, or the built-in bin.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, and nothing else.")]


def dashboard(
    what: Annotated[
        Literal["token", "reset"],
        typer.Argument(help="`token` makes the first one; `reset` makes another and ends every session."),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the token that opens the dashboard; it is shown once and kept nowhere.

    Example: wastebin dashboard token
    """
    from device.config_dashboard import DashboardConfig
    from device.web.token import TokenStore, dashboard_path

    settings = _config(config)
    tokens = TokenStore(dashboard_path(settings.events_path))
    if what == "token" and tokens.exists:
        raise UsageError(f"{tokens.path}: there is a token already; if it is lost, see: wastebin dashboard reset")
    token = tokens.make(wall_s=time.time())
    served = settings.dashboard or DashboardConfig()
    if as_json:
        typer.echo(json.dumps({"token": token, "address": served.address}))
        return
    typer.echo(f"token:     {token}")
    typer.echo(f"dashboard: {served.address}")
    if settings.dashboard is None:
        typer.echo("This configuration has no [dashboard] section; `wastebin demo` serves one, `run` needs it.")


def wipe(
    config: ConfigOption = None,
    with_events: Annotated[bool, typer.Option("--events", help="The record of events and counts, too.")] = False,
    is_agreed: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget the pictures that were kept here, what people said of them, and what was learnt from them.

    Example: wastebin wipe --yes
    """
    from device.wipe import find_traces, wipe_traces

    settings = _config(config)
    traces = find_traces(settings.events_path, with_events=with_events)
    if not traces.is_anything:
        typer.echo("nothing is kept here")
        return
    if not is_agreed:
        if not sys.stdin.isatty():
            raise UsageError("wipe: nobody can be asked here; say it with: wastebin wipe --yes")
        typer.confirm(f"{traces.text()}: remove all of it, for good?", abort=True)
    wipe_traces(settings.events_path, traces)
    typer.echo(f"removed {traces.text()}")


def _config(path: Path | None) -> "Config":
    from device.config import load_config

    return load_config(SYSTEM_CONFIG if path is None and SYSTEM_CONFIG.is_file() else path)
