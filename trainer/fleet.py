"""Fleet: one bundle to many bins; a few first, then the rest, and no further once a bin speaks against it.

    fleet.toml or --host -> Fleet -> roll_out: canaries -> the rest, some at once -> Outcome ... -> BUNDLE.ship.json

A model is given to the rest only when every canary has committed it. Among the rest, a bin that refuses it or goes back
from it keeps those that were not asked yet from being asked; a bin that is only off does not. How it ended for each is
written down as it ends, so that `--resume` asks only those that are left. It must never ask a bin after that.
"""

import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from device.bundle import Bundle
from device.fields import build
from trainer.errors import ShipError
from trainer.keys import Keys
from trainer.link import WASTEBIN, Access, Host, bin_host
from trainer.ship import Outcome, Tell, open_parcel, ship_to
from trainer.sign import sign_bundle
from trainer.stage import write_atomic

__all__ = ["AT_ONCE", "Fleet", "Report", "View", "is_begun", "load_fleet", "make_fleet", "roll_out", "ship_bundle"]

AT_ONCE: Final = 8
"""So many bins are asked at the same time, and as many may have been asked when one speaks against a model."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Bins that belong together.

    Attributes:
        hosts: the canaries, then the rest; each name once.
        canaries: how many of them come first and must have the model before the rest is asked.
        at_once: how many are asked at the same time.
        identity, known_hosts: what the fleet's file says; None leaves them to the command line.
    """

    hosts: tuple[Host, ...]
    canaries: int = 1
    at_once: int = AT_ONCE
    identity: Path | None = None
    known_hosts: Path | None = None


# The file as it stands; `fields.build` checks names and types.


@dataclass(frozen=True, slots=True)
class _HostTable:
    address: str
    canary: bool = False
    wastebin: str = WASTEBIN


@dataclass(frozen=True, slots=True)
class _FleetTable:
    host: tuple[_HostTable, ...]
    at_once: int = AT_ONCE
    identity: str | None = None
    known_hosts: str | None = None


def make_fleet(hosts: Sequence[Host], canaries: Sequence[Host] = (), at_once: int = AT_ONCE) -> Fleet:
    """Put bins in order; without a named canary the first is it.

    Raises:
        ShipError: none are given, or one of them twice.
    """
    if not hosts:
        raise ShipError("no host is given; name one with --host, or a file of them with --fleet")
    names = [host.name for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise ShipError(f"host {name!r} is given twice; name each once")
    first = list(canaries) or [hosts[0]]
    return Fleet((*first, *(host for host in hosts if host not in first)), len(first), at_once)


def load_fleet(path: Path) -> Fleet:
    """Read a fleet's file; paths in it are relative to its folder.

    Tables [[host]] with `address` (`[user@]address[:port]`), and where it differs `canary = true` and the path of
    `wastebin` there; above them `at_once`, `identity` and `known_hosts`.

    Raises:
        ShipError: it cannot be read, or something in it is wrong; all that was found.
        LinkError: an address is none.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ShipError(
            f"{path}: cannot be read as TOML ({error}); expected [[host]] tables with an address"
        ) from error
    problems: list[str] = []
    fleet = build(_FleetTable, table, str(path), problems)
    if fleet is not None and fleet.at_once < 1:
        problems.append(f"{path}.at_once is {fleet.at_once}, expected 1 or more")
    if fleet is None or problems:
        raise ShipError("; ".join(problems))
    hosts = [bin_host(entry.address, entry.wastebin) for entry in fleet.host]
    canaries = [host for host, entry in zip(hosts, fleet.host, strict=True) if entry.canary]
    made = make_fleet(hosts, canaries, fleet.at_once)
    identity, known_hosts = (
        None if text is None else path.parent / Path(text).expanduser() for text in (fleet.identity, fleet.known_hosts)
    )
    return Fleet(made.hosts, made.canaries, made.at_once, identity, known_hosts)


async def roll_out(
    fleet: Fleet,
    ship_one: Callable[[Host], Awaitable[Outcome]],
    note: Callable[[Outcome], None],
) -> list[Outcome]:
    """Ship to the canaries, then to the rest.

    Args:
        ship_one: brings it to one bin; never raises for that bin's trouble.
        note: is told how each ended, as it ends.

    Returns:
        One for each host, in the fleet's order; `untouched` for those that were not asked.
    """
    ended: dict[Host, Outcome] = {}
    free = asyncio.Semaphore(fleet.at_once)

    async def one(host: Host) -> None:
        async with free:
            if not any(outcome.is_against for outcome in ended.values()):
                ended[host] = await ship_one(host)
                note(ended[host])

    canaries, rest = fleet.hosts[: fleet.canaries], fleet.hosts[fleet.canaries :]
    await asyncio.gather(*map(one, canaries))
    if all(host in ended and ended[host].is_live for host in canaries):
        await asyncio.gather(*map(one, rest))
    return [ended.get(host, Outcome(host.name, "untouched")) for host in fleet.hosts]


class Report:
    """How shipping one release ended, bin by bin, in a file beside the bundle.

    Attributes:
        path: that file, `<folder of the bundle>.ship.json`.
        outcomes: by name of the host.
    """

    def __init__(self, bundle: Path, release: str) -> None:
        folder = bundle.resolve()
        self.path = folder.with_name(f"{folder.name}.ship.json")
        self.outcomes: dict[str, Outcome] = {}
        self._release = release

    def load(self) -> None:
        """Take over what an earlier run has written.

        Raises:
            ShipError: there is nothing of this release.
        """
        try:
            table = json.loads(self.path.read_text(encoding="utf-8"))
            if table["release"] != self._release:
                raise ValueError(table["release"])
            self.outcomes = {entry["host"]: Outcome(**entry) for entry in table["hosts"]}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ShipError(
                f"{self.path}: nothing of {self._release} to go on with ({error}); ship it without --resume first"
            ) from error

    def save(self) -> None:
        """Write it down, whole or not at all.

        Raises:
            TrainerError: the file cannot be written.
        """
        table = {"release": self._release, "hosts": [asdict(entry) for entry in self.outcomes.values()]}
        write_atomic(self.path, (json.dumps(table, indent=1) + "\n").encode())

    def note(self, outcome: Outcome) -> None:
        """Write down how it ended for one bin; see `save`."""
        self.outcomes[outcome.host] = outcome
        self.save()


def is_begun(bundle: Bundle) -> bool:
    """Whether this very bundle has been shipped from its folder before, so that it can be gone on with."""
    try:
        Report(bundle.path, bundle.version).load()
    except ShipError:
        return False
    return True


class View(Protocol):
    """Shows a rollout while it runs."""

    def watch(self, hosts: Sequence[Host]) -> AbstractContextManager[Mapping[str, Tell]]:
        """What each host's progress is told to, by its name."""


def ship_bundle(
    bundle: Path, keys: Keys, fleet: Fleet, access: Access, view: View, *, resume: bool = False
) -> list[Outcome]:
    """Sign a bundle where it is not, and bring it to every bin of a fleet.

    Args:
        bundle: its folder; the report is written beside it, see `Report`.
        keys: sign it.
        resume: go on with a rollout of this very bundle: bins that have it are not asked again.

    Returns:
        One outcome for each host, in the fleet's order.

    Raises:
        BundleError: it is not sound.
        KeysError: it cannot be signed.
        ShipError: there is nothing to resume.
        TrainerError: the report cannot be written.
    """
    sign_bundle(bundle, keys)
    parcel = open_parcel(bundle)
    report = Report(bundle, parcel.release)
    if resume:
        report.load()
    before = dict(report.outcomes)
    report.save()

    with view.watch(fleet.hosts) as tell:

        async def ship_one(host: Host) -> Outcome:
            known = before.get(host.name)
            if known is not None and known.is_live:
                tell[host.name](known.result)
                return known
            return await ship_to(host, access, parcel, tell[host.name])

        return asyncio.run(roll_out(fleet, ship_one, report.note))
