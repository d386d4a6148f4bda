"""`wastebin models`: the models that were shipped to this bin.

    arguments, stdin -> ReleaseStore, activate, follow -> stdout

Thin, as `device.cli` is, which carries these commands and turns errors into sentences and an exit status. What a key
for shipping may ask for over ssh is `remote`'s.
"""

import json
import os
import pwd
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from device.bundle import MANIFEST
from device.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device.config_types import Config
    from device.intake import Member
    from device.release_state import State
    from device.releases import ReleaseStore

__all__ = ["SYSTEM_CONFIG", "app", "refuse_root"]

SYSTEM_CONFIG: Final = Path("/etc/wastebin/config.toml")
QUIET_S: Final = 60.0
"""So long an upload may pause."""

app = typer.Typer(
    help="""The models that were shipped to this bin: take one in, try it, go back.

    Example: wastebin models list""",
    no_args_is_help=True,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help=f"The bin's TOML file; without it {SYSTEM_CONFIG}, or the built-in bin.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, and nothing else.")]
ReleaseArgument = Annotated[str, typer.Argument(help="A name that `wastebin models list` shows.", show_default=False)]


@app.command()
def receive(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take a signed bundle in, as a tar on stdin, manifest.json and manifest.json.sig first; it is not used yet.

    Example: tar -C bundle -c manifest.json manifest.json.sig model.onnx golden.npz | wastebin models receive
    """
    from device.intake import patient_reader, read_tar

    _install(config, read_tar(patient_reader(sys.stdin.fileno(), QUIET_S)), as_json=as_json)


@app.command()
def install(
    folder: Annotated[Path, typer.Argument(help="A bundle with its signature.", show_default=False)],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a signed bundle in from a folder; it is not used yet.

    Example: wastebin models install /media/stick/nano
    """
    from device.intake import read_folder

    _install(config, read_folder(folder), as_json=as_json)


@app.command(name="list")
def list_all(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List what was shipped to this bin, the newest first.

    Example: wastebin models list
    """
    from device.release_list import list_releases

    for release in list_releases(_store(_config(config))):
        if as_json:
            typer.echo(json.dumps(asdict(release)))
        else:
            problem = f"  {release.problem}" if release.problem else ""
            typer.echo(f"{release.release}  {release.role:<8}  {release.name:<12}  {release.created_at}{problem}")


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say which model runs, which ran before, and how the last change went.

    Example: wastebin models status
    """
    from device.event_store import is_written
    from device.release_state import told

    settings = _config(config)
    state = _store(settings).read_state()
    is_running = is_written(settings.events_path)
    if as_json:
        extra = {"serving": state.serving, "way_back": state.way_back, "service": is_running}
        typer.echo(json.dumps({**asdict(state), **extra}))
        return
    typer.echo(f"in use:   {_shown(state.serving)}, {'the bin runs' if is_running else 'no bin is running'}")
    typer.echo(f"way back: {_shown(state.way_back)}")
    typer.echo(f"last:     {told(state)}{f', {state.changed_at}' if state.changed_at else ''}")


@app.command()
def verify(release: ReleaseArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check a release once more: its signature, its fields and its bytes.

    Example: wastebin models verify 1795401807-0123456789ab
    """
    bundle = _store(_config(config)).verify(release)
    typer.echo(json.dumps({"release": release, "name": bundle.name}) if as_json else f"{release}: signed and whole")


@app.command()
def activate(
    release: ReleaseArgument,
    wait_s: Annotated[
        float | None, typer.Option("--wait", min=0.0, help="Follow the trial, so many seconds at most.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try a release beside the running model, then in its place; it is kept after 30 good seconds, or rolled back.

    With --wait the exit status is 0 only when it was kept.

    Example: wastebin models activate 1795401807-0123456789ab --wait 120
    """
    from device.activate import activate as put_on_trial
    from device.activate import follow
    from device.event_store import is_written
    from device.probation import probe_offline

    settings = _config(config)
    store = _store(settings, is_writing=True)
    state = put_on_trial(store, release, settings, probe_offline)
    if state.phase == "trial" and not is_written(settings.events_path):
        _say(state, as_json=as_json)
        sentence = f"{release}: no wastebin is running; it is tried when one starts"
        if wait_s is not None:
            raise ReleaseError(sentence)
        typer.echo(sentence, err=True)
    elif wait_s is None:
        _say(state, as_json=as_json)
    else:
        for state in follow(store.read_state, release, wait_s=wait_s, clock=time.monotonic, pause=time.sleep):
            _say(state, as_json=as_json)


@app.command()
def send(config: ConfigOption = None) -> None:
    """Write the bundle that this bin uses to stdout, as a tar.

    Example: wastebin models send > current.tar
    """
    import tarfile

    from device.bundle import load_bundle
    from device.intake import CARD
    from device.model import served_path
    from device.signature import SIGNATURE

    bundle = load_bundle(served_path(_config(config), None))
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name in (MANIFEST, *sorted(bundle.manifest.files), SIGNATURE, CARD):
            if (bundle.path / name).is_file():
                tar.add(bundle.path / name, arcname=name)


@app.command()
def rollback(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Go back to the model that ran before; a bin that runs changes over within a second.

    Example: wastebin models rollback
    """
    _say(_store(_config(config), is_writing=True).roll_back("a person asked for it"), as_json=as_json)


@app.command()
def remote(context: typer.Context, config: ConfigOption = None) -> None:
    """Run the command that came over ssh, if a key for shipping may; for authorized_keys.

    Example: wastebin models remote --config /etc/wastebin/config.toml
    """
    from device.remote import allowed_words

    words = allowed_words(os.environ.get("SSH_ORIGINAL_COMMAND", ""), config)
    wastebin = context.find_root().command
    raise typer.Exit(wastebin.main(words, prog_name="wastebin", standalone_mode=False) or 0)


def _install(config: Path | None, members: "Iterator[Member]", *, as_json: bool) -> None:
    installed = _store(_config(config), is_writing=True).install(members)
    if as_json:
        typer.echo(json.dumps(asdict(installed)))
    else:
        typer.echo(f"{installed.release}: {'already here' if installed.already else 'taken in'}")


def _config(path: Path | None) -> "Config":
    from device.config import load_config

    return load_config(SYSTEM_CONFIG if path is None and SYSTEM_CONFIG.is_file() else path)


def _store(config: "Config", *, is_writing: bool = False) -> "ReleaseStore":
    from device.releases import ReleaseStore

    if is_writing and os.geteuid() == 0:
        refuse_root(config.models.store)
    return ReleaseStore(config.models.store, config.models.signers)


def refuse_root(root: Path) -> None:
    """Keep root from leaving files in a store that the bin, which is another user, could not replace or remove.

    Raises:
        ReleaseError: the store, or the nearest folder above that is there, belongs to another user.
    """
    there = next(path for path in (root, *root.parents) if path.exists())
    uid = there.stat().st_uid
    if uid != 0:
        try:
            owner = pwd.getpwuid(uid).pw_name
        except KeyError:
            owner = f"#{uid}"
        raise ReleaseError(f"{there}: belongs to {owner}, not to root; use: sudo -u {owner} wastebin ...")


def _say(state: "State", *, as_json: bool) -> None:
    from device.release_state import told

    typer.echo(json.dumps(asdict(state)) if as_json else f"{_shown(state.serving)} is in use; {told(state)}")


def _shown(release: str | None) -> str:
    return "the factory model" if release is None else release
