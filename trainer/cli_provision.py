"""`trainer provision` and `trainer upgrade`: the program itself, over ssh. `trainer.cli` carries them.

command line -> Host, Access, Keys -> look, judge, plan_for, fetch_wheels, provision -> a line per step
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.errors import ProvisionError
from trainer.progress import console

if TYPE_CHECKING:
    from trainer.keys import Keys
    from trainer.link import Access

__all__ = ["provision", "upgrade"]

HostOption = Annotated[str, typer.Option(metavar="USER@HOST[:PORT]", help="A machine, and who may use sudo there.")]
KeysFolder = Annotated[
    Path | None,
    typer.Option("--keys", help="Folder of the trainer's keys; without it ~/.config/wastebin.", show_default=False),
]
Identity = Annotated[Path | None, typer.Option(help="Private key that it lets in; without it the agent's and ~/.ssh.")]
KnownHosts = Annotated[
    Path | None, typer.Option(help="Whose host keys count; without it ~/.ssh/known_hosts.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def provision(
    *,
    host: HostOption,
    camera: Annotated[str | None, typer.Option(help="picamera2 or usb:N; without it, what is there.")] = None,
    pins: Annotated[
        Literal["lgpio", "mock"] | None, typer.Option(help="What the outputs are; mock for a machine without any.")
    ] = None,
    folder: KeysFolder = None,
    identity: Identity = None,
    known_hosts: KnownHosts = None,
    dry_run: DryRun = False,
) -> None:
    """Make a bin of a bare Raspberry Pi OS Lite or Debian: packages, program, user, keys, service.

    A second run changes nothing.

    Example: trainer provision --host pi@pi.local --dry-run
    """
    from trainer.keys import Keys, default_keys_folder

    keys = Keys(folder or default_keys_folder())
    if not keys.allowed_signers.exists() or not keys.authorized_keys.exists():
        raise ProvisionError(f"{keys.folder}: no keys for the bin to trust; make them with: trainer keys init")
    access = _access(identity, known_hosts)
    asyncio.run(_provision(host, access, keys, camera=camera, pins=pins, is_upgrade=False, dry_run=dry_run))


def upgrade(
    *, host: HostOption, identity: Identity = None, known_hosts: KnownHosts = None, dry_run: DryRun = False
) -> None:
    """Bring the program of a bin to what this checkout is; when that does not get ready, the old one runs again.

    Example: trainer upgrade --host pi@pi.local
    """
    access = _access(identity, known_hosts)
    asyncio.run(_provision(host, access, None, camera=None, pins=None, is_upgrade=True, dry_run=dry_run))


def _access(identity: Path | None, known_hosts: Path | None) -> "Access":
    from trainer.link import Access

    # A machine in its first minutes is busy with itself.
    access = Access(() if identity is None else (identity,), connect_s=120.0)
    return access if known_hosts is None else replace(access, known_hosts=known_hosts)


async def _provision(
    name: str,
    access: "Access",
    keys: "Keys | None",
    *,
    camera: str | None,
    pins: Literal["lgpio", "mock"] | None,
    is_upgrade: bool,
    dry_run: bool,
) -> None:
    from trainer.link import open_link, parse_host
    from trainer.provision import Report, judge, look, plan_for
    from trainer.provision import provision as carry_out
    from trainer.wheels import checkout, default_cache, fetch_wheels, pack_wheels

    def tell(report: Report) -> None:
        console.print(f"{report.state:<13} {report.what}", highlight=False, soft_wrap=True)

    try:
        async with open_link(parse_host(name), access) as link:
            facts = await look(link)
            judge(facts)
            if is_upgrade and not facts.current:
                raise ProvisionError(f"no wastebin is there yet; first: trainer provision --host {name}")
            plan = plan_for(facts, camera=camera, pins=pins)
            for note in plan.notes:
                console.print(f"note          {note}", highlight=False, soft_wrap=True)
            with console.status(f"wheels for {plan.target.arch}, Python {plan.target.python}"):
                wheels = await asyncio.to_thread(fetch_wheels, checkout(), plan.target, default_cache())
            await carry_out(
                link,
                facts,
                plan,
                wheels,
                tell,
                pack=pack_wheels,
                signers=None if keys is None else keys.allowed_signers,
                authorized_keys=None if keys is None else keys.authorized_keys,
                dry_run=dry_run,
            )
    except ProvisionError as error:
        raise ProvisionError(f"{name}: {error}") from error
