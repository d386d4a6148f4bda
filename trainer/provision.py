"""Provision: a bare Raspberry Pi OS Lite, or a Debian, becomes a bin; an older bin gets a newer program.

    Link -> look -> Facts -> judge -> steps over ssh: packages, program, link to it, `wastebin install` -> told

Each step looks first: a second run changes nothing, and one that was cut off is gone on with. A release of the program
is a folder of its own under /opt/wastebin.releases; what runs is a link, turned in one step. When the new one does not
get ready and stay so, the link is turned back, the old one runs again, and the reason is told; until then a second link
names the old one, so that this holds for a run that was cut off, too. It must never touch a
machine that `judge` has not let pass.
"""

import json
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from trainer.errors import ProvisionError
from trainer.link import Answer
from trainer.wheels import Target, Wheels

__all__ = ["Facts", "Plan", "Report", "Runs", "Tell", "judge", "look", "plan_for", "provision"]

LINK: Final = "/opt/wastebin"
WAY_BACK: Final = "/opt/wastebin.before"
RELEASES: Final = "/opt/wastebin.releases"
LEAST_FREE_MB: Final = 1500
PYTHONS: Final = ("3.11", "3.12", "3.13")
ARCHES: Final = ("aarch64", "x86_64")

LOOK_S: Final = 60.0
APT_S: Final = 1800.0
SEND_S: Final = 1800.0
STEP_S: Final = 900.0

SETTLE_S: Final = 15.0
"""A new program has to stay ready for so long before the old one is no longer the way back."""

# One script and one answer. Nothing in it changes anything.
_LOOK: Final = r"""
echo "user=$(id -un)"
[ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null && echo "root=yes"
echo "arch=$(uname -m)"
echo "bits=$(getconf LONG_BIT)"
echo "glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)"
. /etc/os-release
echo "system=$PRETTY_NAME"
echo "version=$VERSION_ID"
echo "python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
echo "free_mb=$(df -Pm /opt | awk 'NR==2 {print $4}')"
echo "model=$(tr -d '\0' < /proc/device-tree/model 2>/dev/null)"
for path in /dev/video*; do [ -e "$path" ] && echo "camera=$path"; done
for path in /dev/gpiochip*; do [ -e "$path" ] && echo "pins=$path"; done
[ -d /opt/wastebin ] && [ ! -L /opt/wastebin ] && echo "in_the_way=/opt/wastebin"
echo "current=$(basename "$(readlink /opt/wastebin)")"
echo "before=$(basename "$(readlink /opt/wastebin.before)")"
for path in /opt/wastebin.releases/*/complete; do
    [ -e "$path" ] && echo "release=$(basename "$(dirname "$path")")"
done
for name in openssh-client python3-venv python3-lgpio python3-picamera2; do
    dpkg-query -W -f='${Status}' $name 2>/dev/null | grep -q 'ok installed' && echo "package=$name"
    apt-cache policy $name 2>/dev/null | grep -q 'Candidate: [0-9]' && echo "offered=$name"
done
true
"""


class Runs(Protocol):
    """What is needed of `link.Link`."""

    async def run(self, words: list[str], *, deadline_s: float, data: bytes = b"") -> Answer:
        """Run a program on the machine and wait for its end."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a machine before anything is changed.

    Attributes:
        user: who we are there.
        is_root: whether we may become root without a password.
        current: the release of the program that its link names; empty when there is none.
        before: the one that ran before, while `current` has not proved itself yet; else empty.
        releases: those that are installed whole.
        packages, offered: of those that we may want, the installed ones and the ones that its archives offer.
        in_the_way: what stands where our link has to be; empty when nothing does.
        The rest is as the machine itself says it.
    """

    user: str
    is_root: bool
    arch: str
    bits: str
    glibc: str
    system: str
    version: str
    python: str
    free_mb: int
    model: str
    cameras: tuple[str, ...]
    pins: tuple[str, ...]
    in_the_way: str
    current: str
    before: str
    releases: frozenset[str]
    packages: frozenset[str]
    offered: frozenset[str]

    @property
    def is_pi(self) -> bool:
        """Whether its firmware says so."""
        return "Raspberry Pi" in self.model


@dataclass(frozen=True, slots=True)
class Plan:
    """What a machine shall get.

    Attributes:
        packages: from apt.
        camera: what its configuration shall name when it has none yet.
        pins: what it is told the outputs are; None leaves it as it is.
        target: for which wheels are fetched.
        notes: sentences for the person who asked.
    """

    packages: tuple[str, ...]
    camera: str
    pins: Literal["lgpio", "mock"] | None
    target: Target
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """How a step went; the words are those of `wastebin install`."""

    what: str
    state: str


Tell = Callable[[Report], None]


async def look(link: Runs) -> Facts:
    """Ask a machine what it is; changes nothing.

    Raises:
        LinkError: it cannot be talked to.
        ProvisionError: it answers what nobody understands.
    """
    answer = await link.run(["sh", "-c", _LOOK], deadline_s=LOOK_S)
    found: dict[str, list[str]] = {}
    for line in answer.out.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value.strip())

    def one(key: str) -> str:
        return found.get(key, [""])[0]

    if answer.status != 0 or "python" not in found:
        raise ProvisionError(f"it does not look like a Linux with a shell: {answer.complaint or 'it said nothing'}")
    return Facts(
        user=one("user"),
        is_root=one("root") == "yes",
        arch=one("arch"),
        bits=one("bits"),
        glibc=one("glibc"),
        system=one("system"),
        version=one("version"),
        python=one("python"),
        free_mb=int(one("free_mb") or 0),
        model=one("model"),
        cameras=tuple(found.get("camera", ())),
        pins=tuple(found.get("pins", ())),
        in_the_way=one("in_the_way"),
        current=one("current"),
        before=one("before"),
        releases=frozenset(found.get("release", ())),
        packages=frozenset(found.get("package", ())),
        offered=frozenset(found.get("offered", ())),
    )


def judge(facts: Facts) -> None:
    """Refuse a machine that cannot become a bin.

    Raises:
        ProvisionError: with everything that has to be mended first.
    """
    problems = []
    if facts.bits != "64" or facts.arch not in ARCHES:
        problems.append(
            f"a {facts.bits}-bit system ({facts.arch}), expected 64-bit Arm or x86; "
            "write the 64-bit Raspberry Pi OS Lite to the card"
        )
    if facts.python not in PYTHONS:
        problems.append(
            f"Python {facts.python or 'is not installed'} ({facts.system}), expected {PYTHONS[0]} to {PYTHONS[-1]}; "
            "take Raspberry Pi OS Bookworm or Trixie"
        )
    if not facts.is_root:
        problems.append(f"{facts.user} may not use sudo without a password; let it, or provision as root")
    if facts.free_mb < LEAST_FREE_MB:
        problems.append(f"{facts.free_mb} MB free in /opt, expected {LEAST_FREE_MB}; free some: sudo apt clean")
    if facts.in_the_way:
        problems.append(
            f"{facts.in_the_way} is a folder, expected our link; move it away: sudo mv /opt/wastebin{{,.old}}"
        )
    if problems:
        raise ProvisionError("; ".join(problems))


def plan_for(facts: Facts, *, camera: str | None, pins: Literal["lgpio", "mock"] | None) -> Plan:
    """What a machine gets, from what it is and what was asked for by name.

    Raises:
        ProvisionError: there are no pins, and nobody asked for mock ones.
    """
    if pins is None and not facts.pins and not facts.current:
        raise ProvisionError(
            "there is no /dev/gpiochip*, expected a Raspberry Pi's pins; for a bin without any: --pins mock"
        )
    wanted = ["openssh-client", "python3-venv"]
    notes = []
    has_picamera2 = "python3-picamera2" in facts.offered | facts.packages
    if facts.is_pi:
        wanted += [name for name in ("python3-lgpio", "python3-picamera2") if name in facts.offered | facts.packages]
    if camera is None:
        if facts.is_pi and has_picamera2:
            camera = "picamera2"
        elif facts.cameras:
            camera = f"usb:{min(facts.cameras).removeprefix('/dev/video')}"
            notes.append(f"no picamera2 in this archive: the camera is read by V4L2, as {camera}")
        else:
            camera = "usb:0"
            notes.append("no camera is there; plug one in, the service waits for it as usb:0")
    old_numpy = facts.is_pi and has_picamera2 and facts.version == "12"
    return Plan(tuple(wanted), camera, pins, Target(facts.arch, facts.python, facts.glibc, old_numpy), tuple(notes))


async def provision(
    link: Runs,
    facts: Facts,
    plan: Plan,
    wheels: Wheels,
    tell: Tell,
    *,
    pack: Callable[[Wheels], bytes],
    signers: Path | None = None,
    authorized_keys: Path | None = None,
    dry_run: bool = False,
) -> None:
    """Bring a machine to where the plan wants it.

    Args:
        link: the way to it.
        facts: what `look` saw and `judge` let pass.
        wheels: the program, made for `plan.target`.
        tell: told of each step when it is done.
        pack: the wheels as a tar, asked for only when they have to be sent.
        signers, authorized_keys: files whose lines the bin shall trust.

    Raises:
        LinkError: the link broke; run it again.
        ProvisionError: a step did not work; the program that ran before runs again.
    """
    trusted = _lines(signers), _lines(authorized_keys)
    machine = _Machine(link, facts.user)
    program = f"{RELEASES}/{wheels.name}"
    before = facts.before if facts.current == wheels.name else facts.current
    way_back = before if before in facts.releases else ""

    async def step(what: str, is_there: bool, make: Callable[[], Awaitable[object]]) -> None:
        if not is_there and not dry_run:
            await make()
        tell(Report(what, "there" if is_there else "would be made" if dry_run else "made"))

    missing = [name for name in plan.packages if name not in facts.packages]
    await step(f"packages {', '.join(plan.packages)}", not missing, lambda: machine.install_packages(missing))
    is_sent = wheels.name in facts.releases
    await step(f"program {wheels.name}", is_sent, lambda: machine.unpack(program, pack(wheels)))
    is_linked = facts.current == wheels.name
    await step(f"link {LINK} to it", is_linked, lambda: machine.turn_link(wheels.name, way_back))
    if dry_run and facts.current != wheels.name:
        tell(Report("then: wastebin install, with its own steps", "would be made"))
        return
    try:
        reports = await machine.install(plan, *trusted, dry_run=dry_run)
        for report in reports:
            tell(report)
        if not dry_run and (way_back or any(report.state == "made" for report in reports)):
            await machine.settle()
    except ProvisionError as error:
        if dry_run or not way_back:
            raise
        await machine.turn_link(way_back)
        await machine.install(plan, "", "", dry_run=False)
        raise ProvisionError(f"{error}; {way_back} runs again") from error
    if not dry_run and (way_back or not is_linked):
        await machine.forget_all_but(wheels.name, way_back)


class _Machine:
    """Root on a machine, one verb a method."""

    def __init__(self, link: Runs, user: str) -> None:
        self._link = link
        self._sudo = [] if user == "root" else ["sudo", "-n"]

    async def install_packages(self, names: list[str]) -> None:
        apt = "DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
        await self._must(
            f"{apt} update && {apt} install -y --no-install-recommends {shlex.join(names)}", APT_S, "apt-get install"
        )

    async def unpack(self, program: str, packed: bytes) -> None:
        sent = shlex.quote(f"{program}.wheels")
        await self._must(f"rm -rf {sent} && mkdir -p {sent} && tar -x -C {sent}", SEND_S, "sending the program", packed)
        program = shlex.quote(program)
        # `complete` comes last and is on the disk before anything leads here.
        await self._must(
            f"rm -rf {program} && python3 -m venv --system-site-packages {program}"
            f" && {program}/bin/pip install --quiet --disable-pip-version-check --no-index --find-links {sent}"
            f" --constraint {sent}/constraints.txt wastebin"
            f" && {program}/bin/wastebin verify >/dev/null"
            f" && rm -rf {sent} && sync && touch {program}/complete && sync",
            STEP_S,
            "installing the program",
        )

    async def turn_link(self, name: str, way_back: str = "") -> None:
        before = f"ln -sfn {shlex.quote(f'wastebin.releases/{way_back}')} {WAY_BACK}" if way_back else "true"
        target, after = shlex.quote(f"wastebin.releases/{name}"), "true" if way_back else f"rm -f {WAY_BACK}"
        await self._must(
            f"{before} && ln -sfn {target} {LINK}.new && mv -T {LINK}.new {LINK} && {after} && sync",
            STEP_S,
            f"linking {LINK}",
        )

    async def install(self, plan: Plan, signers: str, keys: str, *, dry_run: bool) -> list[Report]:
        words = [f"{LINK}/bin/wastebin", "install", "--json", "--camera", plan.camera]
        words += [] if plan.pins is None else ["--pins", plan.pins]
        words += ["--dry-run"] if dry_run else []
        script = 'set -e; folder=$(mktemp -d); trap "rm -rf $folder" EXIT; '
        for option, lines in (("--signers", signers), ("--authorized-keys", keys)):
            if lines:
                file = f'"$folder"/{option[2:]}'
                script += f"printf %s {shlex.quote(lines)} > {file}; "
                words += [option, file]
        command = " ".join(word if word.startswith('"$folder"') else shlex.quote(word) for word in words)
        out = await self._must(script + command, STEP_S, "wastebin install")
        return [Report(**json.loads(line)) for line in out.splitlines()]

    async def settle(self) -> None:
        """Wait whether a service that got ready stays so: the same process all the time."""
        pid = "systemctl show --property MainPID --value wastebin.service"
        await self._must(
            f"before=$({pid}); sleep {SETTLE_S:g}; systemctl is-active --quiet wastebin.service && "
            f'[ "$before" = "$({pid})" ] || {{ echo "error: the service got ready and ended again, see: '
            f'journalctl -u wastebin" >&2; exit 1; }}',
            STEP_S,
            f"watching the service for {SETTLE_S:g} s",
        )

    async def forget_all_but(self, *names: str) -> None:
        """The newest has proved itself."""
        kept = " ".join(f"! -name {shlex.quote(name)}" for name in names if name)
        await self._must(
            f"rm -f {WAY_BACK} && find {RELEASES} -mindepth 1 -maxdepth 1 {kept} -exec rm -rf {{}} +",
            STEP_S,
            "removing older programs",
        )

    async def _must(self, script: str, deadline_s: float, what: str, data: bytes = b"") -> str:
        answer = await self._link.run([*self._sudo, "sh", "-c", script], deadline_s=deadline_s, data=data)
        if answer.status != 0:
            raise ProvisionError(f"{what}: {answer.complaint or f'ended with {answer.status} and said nothing'}")
        return answer.out.decode("utf-8", "replace")


def _lines(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProvisionError(f"{path}: cannot be read: {error}; make keys with: trainer keys init") from error
