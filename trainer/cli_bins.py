"""The `trainer` commands that talk to bins: keys, ship, pull. `trainer.cli` carries them.

command line -> Fleet, Access, Keys -> ship_bundle, pull_bin -> a table, a sentence, an exit status
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import ShipError
from trainer.progress import console

if TYPE_CHECKING:
    from trainer.fleet import Fleet
    from trainer.keys import Keys
    from trainer.link import Access

__all__ = ["distill_and_ship", "keys", "pull", "ship"]

KeysFolder = Annotated[
    Path | None,
    typer.Option("--keys", help="Folder of the trainer's keys; without it ~/.config/wastebin.", show_default=False),
]
Identity = Annotated[
    Path | None,
    typer.Option(help="Private key that bins let in, alone; without it the agent's, and `deploy` of the keys' folder."),
]
KnownHosts = Annotated[
    Path | None, typer.Option(help="Whose host keys count; without it ~/.ssh/known_hosts.", show_default=False)
]

keys = typer.Typer(
    help="""The keys that bins know: one signs models, one may deliver them.

    Example: trainer keys init""",
    no_args_is_help=True,
)


@keys.command()
def init(
    name: Annotated[str, typer.Option(help="Whom bins shall know the signer as.")] = "trainer",
    folder: KeysFolder = None,
) -> None:
    """Make what is missing of the two keys; what is there is never replaced.

    Example: trainer keys init --name anna@laptop
    """
    from trainer.keys import default_keys_folder, init_keys

    made = init_keys(folder or default_keys_folder(), name)
    for path, what in (
        (made.signing, "signs models; keep a copy in a safe place, and add a passphrase with: ssh-keygen -p -f"),
        (made.deploy, "may deliver models, and nothing else"),
        (made.allowed_signers, "for each bin: /etc/wastebin/allowed_signers"),
        (made.authorized_keys, "for each bin: /etc/wastebin/authorized_keys"),
    ):
        console.print(f"{path}: {what}", soft_wrap=True)


def ship(
    *,
    bundle: Annotated[Path, typer.Argument(help="Folder of a packed bundle.", show_default=False)],
    host: Annotated[
        list[str] | None, typer.Option(metavar="[USER@]HOST[:PORT]", help="A bin; may be given many times.")
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option(metavar="FLEET.toml", help="A file of bins: [[host]] address = ...")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Ask only the bins that do not have it yet.")] = False,
    folder: KeysFolder = None,
    identity: Identity = None,
    known_hosts: KnownHosts = None,
) -> None:
    """Sign a bundle and bring it to one bin or many; each bin tries it, and keeps it or goes back by itself.

    The first host is the canary, or those that the fleet's file names: the others follow when it has the model live.

    Example: trainer ship bundles/nano --host pi.local
    """
    from trainer.fleet import ship_bundle
    from trainer.ship_view import FleetView, outcome_table, reasons, verdict

    those, made = _fleet(host or [], fleet), _keys(folder)
    access = _access(made, identity or those.identity, known_hosts or those.known_hosts)
    outcomes = ship_bundle(bundle, made, those, access, FleetView(console), resume=resume)
    console.print(outcome_table(outcomes))
    for sentence in reasons(outcomes):
        console.print(sentence, soft_wrap=True)
    if not all(outcome.is_live for outcome in outcomes):
        raise ShipError(verdict(outcomes))
    console.print(verdict(outcomes))


def pull(
    *,
    out: Annotated[Path, typer.Argument(help="Folder for the pictures; what is there stays.", show_default=False)],
    host: Annotated[list[str], typer.Option(metavar="[USER@]HOST[:PORT]", help="A bin; may be given many times.")],
    folder: KeysFolder = None,
    identity: Identity = None,
    known_hosts: KnownHosts = None,
) -> None:
    """Fetch what bins have learnt from people: pictures with a label, for `trainer data`.

    Example: trainer pull pulled/ --host pi.local
    """
    from trainer.link import bin_host
    from trainer.pull import pull_bins

    access = _access(_keys(folder), identity, known_hosts)
    for pulled in pull_bins([bin_host(text) for text in host], access, out):
        console.print(pulled.sentence, soft_wrap=True)


def distill_and_ship(
    *,
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=]PATH...", help="Photographs; without any, the run's own.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(metavar="[USER@]HOST[:PORT]", help="A bin; may be given many times.")
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option(metavar="FLEET.toml", help="A file of bins: [[host]] address = ...")
    ] = None,
    run: Annotated[Path, typer.Option(help="Folder of the run; every step is kept there.")] = Path("runs/nano"),
    recipe: Annotated[str, typer.Option(help="A recipe of the project, or the path of a TOML file.")] = "nano",
    split: Annotated[Path | None, typer.Option(help="A split to keep to, as `trainer data` writes it.")] = None,
    is_pulled: Annotated[
        bool, typer.Option("--pull", help="First fetch what people have corrected at these bins, and train on it too.")
    ] = False,
    is_forced: Annotated[
        bool, typer.Option("--force", help="Ship what the gate refuses, and say what it said.")
    ] = False,
    folder: KeysFolder = None,
    identity: Identity = None,
    known_hosts: KnownHosts = None,
) -> None:
    """The whole way: photographs in, a better model live on the bin; goes on where it was cut off.

    Example: trainer distill-and-ship trashnet=dataset-resized.zip --recipe trashnet --host pi.local
    """
    from trainer.dataset import parse_source
    from trainer.distill_and_ship import PULLED, Delivery
    from trainer.distill_and_ship import distill_and_ship as whole_way
    from trainer.pull import pull_bins
    from trainer.recipe import load_recipe
    from trainer.ship_view import FleetView, outcome_table, reasons, verdict

    those, made = _fleet(host or [], fleet), _keys(folder)
    access = _access(made, identity or those.identity, known_hosts or those.known_hosts)
    given = [parse_source(text) for text in sources or []]
    if is_pulled:
        if not given:
            raise ShipError("--pull adds to photographs; name those as well, as for: trainer data")
        found = list(pull_bins(those.hosts, access, run / PULLED))
        for pulled in found:
            console.print(pulled.sentence, soft_wrap=True)
        if any(pulled.pictures for pulled in found):
            given.append(parse_source(f"{PULLED}={run / PULLED}"))
    delivery = Delivery(those, made, access, FleetView(console))
    journey = whole_way(run, given, load_recipe(recipe), delivery, split=split, is_forced=is_forced)
    console.print(outcome_table(journey.outcomes))
    for sentence in [*reasons(journey.outcomes), *journey.sentences()]:
        console.print(sentence, soft_wrap=True)
    if not all(outcome.is_live for outcome in journey.outcomes):
        raise ShipError(verdict(journey.outcomes))
    console.print(verdict(journey.outcomes))


def _fleet(hosts: list[str], file: Path | None) -> "Fleet":
    from trainer.fleet import load_fleet, make_fleet
    from trainer.link import bin_host

    if file is None:
        return make_fleet([bin_host(text) for text in hosts])
    if hosts:
        raise ShipError("use just one of --host and --fleet")
    return load_fleet(file)


def _keys(folder: Path | None) -> "Keys":
    from trainer.keys import Keys, default_keys_folder

    return Keys(folder or default_keys_folder())


def _access(made: "Keys", identity: Path | None, known_hosts: Path | None) -> "Access":
    from trainer.link import Access

    if identity is not None:  # this one and no other: a bin hangs up after a few keys that it does not know
        access = Access((identity,), has_agent=False)
    else:
        access = Access((made.deploy,) if made.deploy.exists() else ())
    return access if known_hosts is None else replace(access, known_hosts=known_hosts)
