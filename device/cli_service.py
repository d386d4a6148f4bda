"""`wastebin install` and `wastebin support-dump`: what a person types who sits at the Pi.

    arguments -> install.steps, support_dump.collect -> lines for people, or JSON

Thin, like `cli`, which puts these commands beside its own.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from device.errors import UsageError

__all__ = ["install", "support_dump"]


def install(
    *,
    config: Annotated[
        Path | None, typer.Option(help="For a bin that has no configuration yet; without it, the LED build.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Camera of that configuration, such as usb:0.")] = None,
    pins: Annotated[
        Literal["lgpio", "mock"] | None,
        typer.Option(help="What the outputs are; without it, as it is, at first lgpio."),
    ] = None,
    signers: Annotated[Path | None, typer.Option(help="Lines to add to allowed_signers: who may sign models.")] = None,
    authorized_keys: Annotated[
        Path | None, typer.Option(help="Lines to add to authorized_keys: who may deliver models.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout, and nothing else.")] = False,
) -> None:
    """Make this machine a bin that starts by itself: user, configuration, units; changes only what is not so yet.

    Example: sudo wastebin install --dry-run
    """
    import time
    from dataclasses import asdict

    from device.install import Hands, Wishes, carry_out, steps
    from device.machine import run_child

    if os.geteuid() != 0 and not dry_run:
        raise UsageError("install: needs root, since it makes a user and a service; run: sudo wastebin install")
    wishes = Wishes(config, camera, pins, _text(signers), _text(authorized_keys))
    hands = Hands(Path("/"), run_child, time.sleep, Path(sys.prefix))
    for report in carry_out(steps(wishes, hands), dry_run=dry_run):
        typer.echo(json.dumps(asdict(report)) if as_json else f"{report.state:<13} {report.what}")


def support_dump(
    out: Annotated[Path, typer.Argument(help="New file, .tar.gz.", show_default=False)],
    config: Annotated[Path | None, typer.Option(help="The bin's TOML file; without it, the built-in bin.")] = None,
) -> None:
    """Put everything that helps to find a fault into one file, without secrets and pictures; look before you send it.

    Example: sudo wastebin support-dump support.tar.gz --config /etc/wastebin/config.toml
    """
    from device.machine import this_machine
    from device.support_dump import collect, write_dump

    written = write_dump(out, collect(config, this_machine()))
    typer.echo(f"{out}: {len(written)} files, {out.stat().st_size:,} bytes: {', '.join(written)}")


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: cannot be read: {exc}; expected a text file with a key in each line") from exc
