"""Provisioning a made-up machine: what is asked of it, in which order, and what happens when it says no."""

import asyncio
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from trainer.errors import ProvisionError
from trainer.link import Answer
from trainer.provision import Facts, Plan, judge, look, plan_for, provision
from trainer.wheels import Target, Wheels

PI = """user=pi
root=yes
arch=aarch64
bits=64
glibc=2.36
system=Debian GNU/Linux 12 (bookworm)
version=12
python=3.11
free_mb=9000
model=Raspberry Pi 4 Model B Rev 1.4
camera=/dev/video0
camera=/dev/video10
pins=/dev/gpiochip0
current=
before=
package=openssh-client
offered=openssh-client
offered=python3-venv
offered=python3-lgpio
offered=python3-picamera2
"""
WHEELS = Wheels("0.2.0-new", Path("/nowhere"))
INSTALLED = "service"


@dataclass
class Machine:
    """Understands the scripts by what stands in them, and remembers what was done.

    Attributes:
        facts: what it says of itself.
        fails: words in a script that make it fail, such as `apt-get install`.
        installs: how the bin's own steps go.
    """

    facts: str = PI
    fails: tuple[str, ...] = ()
    installs: str = "made"
    did: list[str] = field(default_factory=list)
    sent: bytes = b""
    words: list[str] = field(default_factory=list)

    async def run(self, words: Sequence[str], *, deadline_s: float, data: bytes = b"") -> Answer:
        script = words[-1]
        if "VERSION_ID" in script:
            return Answer(0, self.facts.encode(), "")
        assert list(words[:-1]) == ["sudo", "-n", "sh", "-c"]
        self.sent += data
        out = ""
        if "apt-get" in script:
            self.did.append("packages " + script.partition("--no-install-recommends ")[2])
        elif "tar -x" in script:
            self.did.append("unpack")
        elif "venv" in script:
            self.did.append("venv")
        elif "ln -sfn" in script:
            said = shlex.split(script)
            for at in (at for at, word in enumerate(said) if word == "-sfn"):
                kind = "way back " if said[at + 2] == "/opt/wastebin.before" else "link "
                self.did.append(kind + said[at + 1].removeprefix("wastebin.releases/"))
        elif "wastebin install" in script:
            self.did.append("install")
            self.words = shlex.split(script.split("; ")[-1])
            out = json.dumps({"what": INSTALLED, "state": self.installs}) + "\n"
        elif "is-active" in script:
            self.did.append("settle")
        elif "find" in script:
            self.did.append("forget " + " ".join(script.split("! -name ")[1:]).partition(" -exec")[0])
        for reason in self.fails:
            if reason in script and self.did.count(self.did[-1]) == 1:
                return Answer(1, b"", f"{reason} does not work")
        return Answer(0, out.encode(), "")


def facts_of(text: str) -> Facts:
    return asyncio.run(look(Machine(text)))


def carry_out(machine: Machine, *, dry_run: bool = False, signers: Path | None = None) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []

    async def run() -> None:
        facts = await look(machine)
        judge(facts)
        plan = plan_for(facts, camera=None, pins=None)
        await provision(
            machine,
            facts,
            plan,
            WHEELS,
            lambda report: told.append((report.what, report.state)),
            pack=lambda wheels: wheels.name.encode(),
            signers=signers,
            authorized_keys=None,
            dry_run=dry_run,
        )

    asyncio.run(run())
    return told


def test_what_a_machine_says_of_itself_is_understood() -> None:
    facts = facts_of(PI)
    assert (facts.user, facts.is_root, facts.arch, facts.python, facts.free_mb) == ("pi", True, "aarch64", "3.11", 9000)
    assert (facts.is_pi, facts.cameras, facts.current) == (True, ("/dev/video0", "/dev/video10"), "")
    assert facts.packages == {"openssh-client"}


def test_a_machine_that_answers_nothing_is_refused() -> None:
    with pytest.raises(ProvisionError, match="does not look like a Linux"):
        facts_of("")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("bits=32", r"a 32-bit system \(aarch64\), expected 64-bit"),
        ("arch=riscv64", r"a 64-bit system \(riscv64\), expected 64-bit Arm or x86"),
        ("python=3.9", r"Python 3.9 \(Debian"),
        ("python=", "Python is not installed"),
        ("root=", "pi may not use sudo without a password"),
        ("free_mb=300", "300 MB free in /opt, expected 1500"),
    ],
)
def test_a_machine_that_cannot_become_a_bin_is_refused(line: str, problem: str) -> None:
    key = line.partition("=")[0]
    text = "\n".join(line if each.startswith(f"{key}=") else each for each in PI.splitlines())
    machine = Machine(text)
    with pytest.raises(ProvisionError, match=problem):
        carry_out(machine)
    assert machine.did == []


def test_what_stands_where_our_link_has_to_be_is_not_removed() -> None:
    with pytest.raises(ProvisionError, match="is a folder, expected our link; move it away"):
        judge(facts_of(PI + "in_the_way=/opt/wastebin\n"))


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ProvisionError, match=r"32-bit.*; Python 3.9.*; 10 MB free"):
        judge(replace(facts_of(PI), bits="32", python="3.9", free_mb=10))


def test_a_pi_gets_its_camera_and_pins_from_apt() -> None:
    assert plan_for(facts_of(PI), camera=None, pins=None) == Plan(
        ("openssh-client", "python3-venv", "python3-lgpio", "python3-picamera2"),
        "picamera2",
        None,
        Target("aarch64", "3.11", "2.36", has_old_numpy=True),
    )


def test_without_picamera2_in_the_archive_the_camera_is_read_by_v4l2_and_that_is_said() -> None:
    plan = plan_for(facts_of(PI.replace("offered=python3-picamera2\n", "")), camera=None, pins=None)
    assert (plan.camera, plan.packages) == ("usb:0", ("openssh-client", "python3-venv", "python3-lgpio"))
    assert plan.notes == ("no picamera2 in this archive: the camera is read by V4L2, as usb:0",)
    assert not plan.target.has_old_numpy


def test_a_machine_without_pins_is_a_bin_only_when_that_is_asked_for() -> None:
    facts = replace(facts_of(PI), pins=(), model="", cameras=())
    with pytest.raises(ProvisionError, match="for a bin without any: --pins mock"):
        plan_for(facts, camera=None, pins=None)
    plan = plan_for(facts, camera=None, pins="mock")
    assert (plan.packages, plan.pins) == (("openssh-client", "python3-venv"), "mock")
    assert plan.notes == ("no camera is there; plug one in, the service waits for it as usb:0",)
    # One that is a bin already keeps what it has.
    assert plan_for(replace(facts, current="old"), camera="usb:2", pins=None).pins is None


def test_a_bare_machine_gets_everything_in_order(tmp_path: Path) -> None:
    (tmp_path / "signers").write_text("anna ssh-ed25519 A\n")
    machine = Machine()
    assert carry_out(machine, signers=tmp_path / "signers") == [
        ("packages openssh-client, python3-venv, python3-lgpio, python3-picamera2", "made"),
        ("program 0.2.0-new", "made"),
        ("link /opt/wastebin to it", "made"),
        (INSTALLED, "made"),
    ]
    assert machine.did == [
        "packages python3-venv python3-lgpio python3-picamera2", "unpack", "venv", "link 0.2.0-new", "install",
        "settle", "forget 0.2.0-new",
    ]  # fmt: skip
    assert machine.sent == b"0.2.0-new"
    assert machine.words == [
        "/opt/wastebin/bin/wastebin", "install", "--json", "--camera", "picamera2", "--signers", "$folder/signers"
    ]  # fmt: skip


COMPLETE = PI.replace("current=", "current=0.2.0-new") + "".join(
    f"{line}\n"
    for line in (
        "release=0.2.0-new",
        "package=python3-venv",
        "package=python3-lgpio",
        "package=python3-picamera2",
    )
)


def test_a_second_run_only_looks_and_asks_the_bin_itself() -> None:
    machine = Machine(COMPLETE)
    assert [state for _, state in carry_out(machine)] == ["there", "there", "there", "made"]
    assert machine.did == ["install", "settle"]
    assert machine.sent == b""


def test_a_dry_run_changes_nothing() -> None:
    bare, complete = Machine(), Machine(COMPLETE)
    assert {state for _, state in carry_out(bare, dry_run=True)} == {"would be made"}
    assert bare.did == []
    carry_out(complete, dry_run=True)
    assert complete.did == ["install"]
    assert "--dry-run" in complete.words


OLD = PI.replace("current=", "current=0.1.0-old") + "release=0.1.0-old\n"


@pytest.mark.parametrize("reason", ["wastebin install", "is-active"])
def test_a_new_program_that_does_not_run_makes_room_for_the_old_one(reason: str) -> None:
    machine = Machine(OLD, fails=(reason,))
    with pytest.raises(ProvisionError, match=f"{reason} does not work; 0.1.0-old runs again"):
        carry_out(machine)
    assert machine.did[-2:] == ["link 0.1.0-old", "install"]
    assert machine.did.index("way back 0.1.0-old") < machine.did.index("link 0.2.0-new")


CUT_OFF = COMPLETE.replace("before=", "before=0.1.0-old") + "release=0.1.0-old\n"


@pytest.mark.parametrize("reason", ["wastebin install", "is-active"])
def test_the_old_program_is_the_way_back_also_for_a_run_that_was_cut_off_after_the_link(reason: str) -> None:
    machine = Machine(CUT_OFF, fails=(reason,))
    with pytest.raises(ProvisionError, match=f"{reason} does not work; 0.1.0-old runs again"):
        carry_out(machine)
    assert machine.did[-2:] == ["link 0.1.0-old", "install"]


def test_a_run_that_was_cut_off_watches_the_new_program_before_it_forgets_the_way_back() -> None:
    machine = Machine(CUT_OFF, installs="there")
    carry_out(machine)
    assert machine.did == ["install", "settle", "forget 0.2.0-new  0.1.0-old"]


def test_a_program_that_has_proved_itself_has_no_way_back() -> None:
    machine = Machine(COMPLETE + "release=0.1.0-old\n", fails=("is-active",))
    with pytest.raises(ProvisionError, match=r"is-active does not work$"):
        carry_out(machine)
    assert machine.did == ["install", "settle"]


def test_an_upgrade_keeps_the_program_before_it() -> None:
    machine = Machine(OLD)
    carry_out(machine)
    assert machine.did[-1] == "forget 0.2.0-new  0.1.0-old"


def test_a_step_that_fails_ends_it_before_anything_leads_to_the_new_program() -> None:
    machine = Machine(OLD, fails=("-m venv",))
    with pytest.raises(ProvisionError, match="installing the program: -m venv does not work"):
        carry_out(machine)
    assert machine.did[-1] == "venv"


def test_a_file_of_keys_that_is_missing_is_named(tmp_path: Path) -> None:
    machine = Machine()
    with pytest.raises(ProvisionError, match="make keys with: trainer keys init"):
        carry_out(machine, signers=tmp_path / "none")
    assert machine.did == []
