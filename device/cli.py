"""`wastebin`: the commands of the bin.

    arguments -> one function of the device -> stdout; what went wrong -> one sentence on stderr

Thin: each command reads its arguments, calls what does the work and prints. Heavy parts are imported inside the
commands, so that `--help` is quick. With `--json` stdout carries JSON lines and nothing else. This is the one place
where a `WastebinError` becomes `error: ...` and an exit status: 1, 2 for a wrong command line, 78 for a configuration
that `run` cannot use (EX_CONFIG: systemd must not start it again and again). WASTEBIN_DEBUG=1 shows the traceback.
"""

import faulthandler
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from device import cli_calibrate, cli_dashboard, cli_events, cli_learn, cli_models, cli_service
from device.errors import BundleError, ConfigError, ItemsError, PictureError, UsageError, WastebinError

if TYPE_CHECKING:
    from device.config_types import Config
    from device.run import Plan
    from device.supervise import Watcher

__all__ = ["app", "main"]

EX_CONFIG = 78

app = typer.Typer(
    name="wastebin",
    help="A bin that sorts: a camera names the material, the right flap moves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The bin's TOML file; without it, the built-in bin.", show_default=False)
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of a bundle; without it, the one that came along.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, and nothing else.")]
CameraOption = Annotated[
    str | None,
    typer.Option(
        "--camera",
        help="picamera2, usb:N, dir:PATH, video:PATH, replay:DIR or sim[:seed=N,items=PATH]; "
        "without it, what the configuration says.",
    ),
]
RecordOption = Annotated[Path | None, typer.Option("--record", help="Write every frame into this new folder.")]
ForOption = Annotated[float | None, typer.Option("--for", min=0.0, help="Stop by itself after so many seconds.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say the version and stop.")] = False,
) -> None:
    if version:
        import device

        typer.echo(device.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise UsageError("wastebin: no command; see: wastebin --help")


@app.command()
def run(
    *,
    config: ConfigOption = None,
    camera: CameraOption = None,
    pins: Annotated[Literal["lgpio", "mock"], typer.Option(help="What the outputs are.")] = "lgpio",
    model: ModelOption = None,
    record: RecordOption = None,
    for_s: ForOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sort: watch the tray, name what lies there, move the right flap.

    Example: wastebin run --config bin.toml
    """
    from device.run import Plan

    with _exit_78():
        settings = _config(config, model)
    _run(Plan(settings, camera or settings.camera.source, pins, model, record, for_s), as_json=as_json)


@app.command()
def demo(
    *,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another day.")] = 0,
    items: Annotated[Path | None, typer.Option(help="Class folders or a zip of photographs to throw in.")] = None,
    model: ModelOption = None,
    for_s: ForOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the dashboard; 0 for none.")] = 8080,
    as_json: JsonOption = False,
) -> None:
    """Show a whole bin without hardware: `run` with the simulator and mock pins, and a flap for each bin.

    Example: wastebin demo --for 30
    """
    from dataclasses import replace

    from device.bundle import factory_bundle_path
    from device.config_dashboard import DashboardConfig
    from device.outputs import default_outputs
    from device.run import Plan

    # Named, so that a show on a real bin leaves the bin's own store alone.
    bundle = model or factory_bundle_path()
    settings = _config(None, bundle)
    dashboard = DashboardConfig(port=port) if port else None
    outputs = default_outputs([bin_.name for bin_ in settings.site.bins])
    camera = f"sim:seed={seed}" + (f",items={items}" if items is not None else "")
    _run(
        Plan(replace(settings, outputs=outputs, dashboard=dashboard), camera, "mock", bundle, None, for_s),
        as_json=as_json,
    )


@app.command()
def classify(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, folders of them, or zips.", show_default=False)],
    model: ModelOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name the material on photographs, one frame each.

    Example: wastebin classify photos/ --json
    """
    from device.naming import name_pictures

    bad = 0
    settings = _config(config, model)
    for named in name_pictures(paths, settings, model):
        if isinstance(named, PictureError | ItemsError):
            bad += 1
            typer.echo(f"error: {named}", err=True)
        elif as_json:
            typer.echo(json.dumps(named.fields()))
        else:
            typer.echo(f"{named.label:<10} {named.prob:4.0%}  -> {named.bin:<10} {named.ms:6.1f} ms  {named.path}")
    if bad:
        raise typer.Exit(1)


@app.command()
def simulate(
    *,
    items: Annotated[
        Path | None, typer.Option(help="Class folders or a zip of photographs; without it, drawings.")
    ] = None,
    visits: Annotated[int, typer.Option(min=1, help="How many visits.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same day.")] = 0,
    camera: Annotated[
        str, typer.Option(help="What people do and what is wrong, such as sim:hands=0.3,jams=0.1,blur=2.")
    ] = "sim",
    model: ModelOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a scripted day with known truth as fast as the machine can, and count.

    Example: wastebin simulate --items photos/ --visits 200 --seed 1
    """
    from device.simulate import simulate as run_day
    from device.simulator.spec import read_sim_spec

    if camera.partition(":")[0] != "sim" or re.search(r"[:,](seed|items)=", camera):
        raise UsageError(f"simulate: --camera is {camera!r}, expected sim:...; seed and items are options of their own")
    told = read_sim_spec(camera)
    settings = _config(config, model)

    def say(fields: dict[str, object]) -> None:
        if as_json:
            typer.echo(json.dumps(fields))
        else:
            truth = fields["truth"] or f"({fields['kind']})"
            sign = "     " if fields["truth"] is None else ("right" if fields["label"] == truth else "wrong")
            typer.echo(f"{fields['visit']!s:>5}  {truth:<12} {sign}  {fields['label']:<10} -> {fields['bin']}")

    tally = run_day(
        settings,
        items=items,
        visits=visits,
        seed=seed,
        model_path=model,
        say=say,
        faults=told.faults,
        habits=told.habits,
    )
    if tally.learnt is not None:
        typer.echo(f"note: with what this bin has learnt ({tally.learnt}), as it runs", err=True)
    if as_json:
        typer.echo(json.dumps(tally.fields()))
    else:
        typer.echo(tally.text())


@app.command()
def bench(
    model: ModelOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what each stage costs on this machine.

    Example: wastebin bench --json
    """
    from device.bench import bench as measure
    from device.bench import table

    figures = measure(_config(config, model), model)
    typer.echo(json.dumps(figures) if as_json else table(figures))


app.command()(cli_events.events)
app.command()(cli_events.correct)
app.command()(cli_events.export)
app.command()(cli_learn.teach)
app.command()(cli_calibrate.calibrate)
app.command()(cli_dashboard.dashboard)
app.command()(cli_dashboard.wipe)


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look whether everything is as it must be; each line with its cure.

    Example: wastebin doctor
    """
    from dataclasses import asdict

    from device.doctor import check_all

    checks = check_all(config)
    for check in checks:
        if as_json:
            typer.echo(json.dumps(asdict(check)))
        else:
            sign = {True: "ok  ", False: "BAD ", None: "note"}[check.ok]
            cure = f"; {check.cure}" if check.cure else ""
            typer.echo(f"{sign}  {check.name:<14} {check.found}{cure}")
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


@app.command()
def park(
    config: ConfigOption = None,
    pins: Annotated[Literal["lgpio", "mock"], typer.Option(help="What the outputs are.")] = "lgpio",
) -> None:
    """Bring the outputs to their safe state: flaps closed, lamps dark, servos detached.

    Example: wastebin park --config bin.toml
    """
    from device.config import load_config
    from device.drive import park_pins

    park_pins(load_config(config).outputs, pins)


@app.command()
def verify(
    bundle: Annotated[Path | None, typer.Argument(help="Folder of a bundle.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle: its fields, its bytes, and what it answers to its golden pictures.

    Example: wastebin verify models/nano
    """
    from device.bundle import factory_bundle_path, load_bundle
    from device.classify import open_classifier

    loaded = load_bundle(bundle or factory_bundle_path())
    open_classifier(loaded)
    fields = {"path": str(loaded.path), "name": loaded.name, "version": loaded.version, "labels": list(loaded.labels)}
    typer.echo(json.dumps(fields) if as_json else f"{loaded.path}: {loaded.name} {loaded.version} is sound")


app.command()(cli_service.install)
app.command()(cli_service.support_dump)
app.add_typer(cli_models.app, name="models")


def main() -> None:
    """Run the command line; never returns."""
    faulthandler.enable()
    status = run_app(sys.argv[1:])
    if any(thread.daemon for thread in threading.enumerate()):
        # Python's own way out aborts (134) where such a thread is inside the network or a driver, such as in the middle
        # of a lesson. Outputs are parked and events written by now.
        with suppress(BrokenPipeError):
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def run_app(arguments: list[str]) -> int:
    """Run one command and give its exit status; errors become a sentence on stderr."""
    try:
        app(arguments, prog_name="wastebin")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except WastebinError as error:
        if os.environ.get("WASTEBIN_DEBUG") == "1":
            raise
        for sentence in error.problems if isinstance(error, ConfigError) else [str(error)]:
            sys.stderr.write(f"error: {sentence}\n")
        return error.exit_code
    except BrokenPipeError:
        # Whoever read us has gone (`| head`); Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _config(path: Path | None, model: Path | None) -> "Config":
    """The configuration, checked against the labels of the model that it will run with."""
    from device.bundle import load_bundle
    from device.config import load_config
    from device.model import served_path

    config = load_config(path)
    try:
        bundle = load_bundle(served_path(config, model))
    except BundleError:
        if model is not None or config.model.path is not None:
            raise
        return config  # of a damaged release a bin lets go by itself, and checks what it then opens
    return load_config(path, labels=bundle.labels)


@contextmanager
def _exit_78() -> Iterator[None]:
    """A configuration that a service cannot use does not mend itself by starting again."""
    try:
        yield
    except ConfigError as error:
        error.exit_code = EX_CONFIG
        raise


def _run(plan: "Plan", *, as_json: bool) -> None:
    from device.notify import open_notifier
    from device.run import run_bin

    with _exit_78(), _watcher(plan, as_json) as watcher:
        run_bin(plan, watcher, notifier=open_notifier(os.environ))


@contextmanager
def _watcher(plan: "Plan", as_json: bool) -> "Iterator[Watcher]":
    """The live view on a terminal, lines elsewhere."""
    from device.lines import JsonLines, Lines

    source = "simulator" if plan.camera.partition(":")[0] == "sim" else plan.camera
    served = plan.config.dashboard
    pins = f"{plan.pins} pins" + (f", {served.address}" if served is not None else "")
    if as_json:
        yield JsonLines(sys.stdout)
    elif not sys.stdout.isatty():
        typer.echo(f"wastebin: {source}, {pins}; stop with Ctrl-C")
        yield Lines(sys.stdout)
    else:
        from rich.console import Console
        from rich.live import Live

        from device.view import View

        view = View(source, pins, [bin_.name for bin_ in plan.config.site.bins])
        with Live(view, console=Console(), refresh_per_second=8, screen=True):
            yield view
        typer.echo(view.farewell())
