"""`wastebin install` on a made-up machine: a folder for its files, and programs that change what they would change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import device
from device.cli import run_app
from device.config import REFERENCE_BUILDS, load_config
from device.errors import InstallError
from device.install import PROGRAM, Hands, Report, Wishes, carry_out, steps
from device.machine import Ran

ROOT = Path(__file__).resolve().parents[2]
PREFIX = Path("/opt/wastebin.releases/1")
EVENTS = '\n[events]\npath = "/var/lib/wastebin/events.db"\n'
SERVICE = f"wastebin.service, enabled and running wastebin {device.__version__}"
BARE = [
    "groups gpio and video",
    "user wastebin",
    "folder /var/lib/wastebin",
    "configuration /etc/wastebin/config.toml",
    "file /etc/udev/rules.d/60-wastebin-gpio.rules",
    "file /etc/systemd/system/wastebin.service",
    "file /etc/systemd/system.conf.d/wastebin-watchdog.conf",
    SERVICE,
]


@dataclass
class Computer:
    """A machine as far as these steps see it.

    Attributes:
        root: its files.
        starts: what the service does when it is started: `ready`, `fails` for ever, or `refuses` with exit status 78.
        run_by: the installation that the running service is of.
        refused: a command that fails.
    """

    root: Path
    starts: str = "ready"
    run_by: Path = PREFIX
    groups: set[str] = field(default_factory=lambda: {"video"})
    user_groups: set[str] | None = None
    enabled: bool = False
    active: bool = False
    commands: list[str] = field(default_factory=list)
    refused: str = ""
    slept_s: float = 0.0

    def hands(self) -> Hands:
        return Hands(self.root, self.run, self.sleep, PREFIX)

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds

    def run(self, command: Sequence[str]) -> Ran:
        is_so = True
        output = ""
        match list(command):
            case ["getent", "group", *names]:
                is_so = set(names) <= self.groups
            case ["id", "-nG", _]:
                is_so = self.user_groups is not None
                output = " ".join(sorted(self.user_groups or ()))
            case ["systemctl", "is-enabled", *_]:
                is_so = self.enabled
            case ["systemctl", "is-active", *_]:
                is_so = self.active
            case ["systemctl", "is-failed", *_]:
                is_so = self.starts == "refuses"
            case ["systemctl", "show", *_]:
                output = "17\n"
            case ["journalctl", *_]:
                output = "Started wastebin.\nerror: camera usb:0: not there; plug it in\nFailed.\n"
            case words if " ".join(words) == self.refused:
                is_so = False
            case words:
                self.commands.append(" ".join(words))
                self.change(words)
        return Ran(0 if is_so else 1, output)

    def change(self, words: list[str]) -> None:
        match words:
            case ["groupadd", *_, name]:
                self.groups.add(name)
            case ["useradd", *_]:
                self.user_groups = {"wastebin"}
            case ["usermod", "--append", "--groups", names, _]:
                assert self.user_groups is not None
                self.user_groups |= set(names.split(","))
            case ["install", *_, path]:
                Path(path).mkdir(parents=True)
            case ["systemctl", "enable", *_]:
                self.enabled = True
            case ["systemctl", "restart", *_]:
                self.active = self.starts == "ready"
                cmdline = self.root / "proc" / "17" / "cmdline"
                cmdline.parent.mkdir(parents=True, exist_ok=True)
                self.run_by = PREFIX
                cmdline.write_bytes(b"\0".join([f"{self.run_by}/bin/python".encode(), str(PROGRAM).encode(), b"run"]))


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    root = tmp_path / "root"
    (root / "run/udev").mkdir(parents=True)
    (root / "run/udev/control").touch()
    return Computer(root)


def install(computer: Computer, wishes: Wishes | None = None, *, dry_run: bool = False) -> list[tuple[str, str]]:
    reports = carry_out(steps(wishes or Wishes(), computer.hands()), dry_run=dry_run)
    return [(report.what, report.state) for report in reports]


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_bare_machine_becomes_a_bin(computer: Computer) -> None:
    assert install(computer) == [(what, "made") for what in BARE]
    root = computer.root
    assert (root / "etc/systemd/system/wastebin.service").read_text() == (ROOT / "systemd/wastebin.service").read_text()
    assert (root / "etc/wastebin/config.toml").read_text() == REFERENCE_BUILDS[0].read_text() + EVENTS
    assert (computer.groups, computer.user_groups) == ({"gpio", "video"}, {"gpio", "video", "wastebin"})
    assert computer.active
    assert computer.enabled
    assert computer.commands == [
        "groupadd --system --force gpio",
        "groupadd --system --force video",
        "useradd --system --user-group --home-dir /var/lib/wastebin --shell /bin/sh wastebin",
        "usermod --append --groups gpio,video wastebin",
        f"install -d -o wastebin -g wastebin -m 0755 {root}/var/lib/wastebin",
        "udevadm control --reload",
        "udevadm trigger --subsystem-match=gpio",
        "systemctl daemon-reexec",
        "systemctl daemon-reload",
        "systemctl enable --quiet wastebin.service",
        "systemctl restart --no-block wastebin.service",
    ]


def test_a_second_run_changes_nothing(computer: Computer) -> None:
    wishes = Wishes(pins="mock", signers="anna ssh-ed25519 A\n", authorized_keys="ssh-ed25519 B\n")
    install(computer, wishes)
    before = files(computer.root)
    computer.commands.clear()
    assert {state for _, state in install(computer, wishes)} == {"there"}
    assert files(computer.root) == before
    assert computer.commands == []


def test_a_dry_run_says_what_it_would_do_and_does_nothing(computer: Computer) -> None:
    assert install(computer, dry_run=True) == [(what, "would be made") for what in BARE]
    assert computer.commands == []
    assert list(files(computer.root)) == ["run/udev/control"]


def test_a_run_that_was_cut_off_is_gone_on_with(computer: Computer) -> None:
    todo = carry_out(steps(Wishes(), computer.hands()), dry_run=False)
    for _ in range(6):
        next(todo)
    assert install(computer) == [(what, "there") for what in BARE[:6]] + [(what, "made") for what in BARE[6:]]


def test_a_run_that_was_cut_off_before_the_service_knew_of_its_new_unit_is_gone_on_with(computer: Computer) -> None:
    install(computer)
    for wishes in (Wishes(pins="mock"), Wishes(pins="lgpio")):
        todo = carry_out(steps(wishes, computer.hands()), dry_run=False)
        while "pins.conf" not in next(todo).what:
            pass
        assert install(computer, wishes)[-1] == (SERVICE, "made")
        assert install(computer, wishes)[-1] == (SERVICE, "there")


def test_a_file_that_nobody_could_be_told_of_is_made_again(computer: Computer) -> None:
    computer.refused = "sshd -t"
    wishes = Wishes(authorized_keys="ssh-ed25519 A\n")
    for _ in range(2):
        with pytest.raises(InstallError, match="sshd -t: ended with 1 and said: nothing"):
            install(computer, wishes)
        assert not (computer.root / "etc/ssh/sshd_config.d/wastebin.conf").exists()
    computer.refused = ""
    assert ("file /etc/ssh/sshd_config.d/wastebin.conf", "made") in install(computer, wishes)


def test_a_configuration_that_is_there_is_never_touched(computer: Computer) -> None:
    path = computer.root / "etc/wastebin/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("# mine\n")
    install(computer, Wishes(config=REFERENCE_BUILDS[1], camera="usb:0"))
    assert path.read_text() == "# mine\n"


@pytest.mark.parametrize("build", REFERENCE_BUILDS, ids=lambda path: path.stem)
def test_a_new_configuration_names_the_camera_that_is_there(computer: Computer, build: Path) -> None:
    install(computer, Wishes(config=build, camera="usb:3"))
    path = computer.root / "etc/wastebin/config.toml"
    environ = {"HOME": "/home/x"}
    assert load_config(path, environ=environ).camera.source == "usb:3"
    before, events, after = path.read_text().partition(EVENTS)
    assert (events, after) == (EVENTS, "")
    assert set(before.splitlines()) ^ set(build.read_text().splitlines()) == {
        'source = "usb:3"',
        'source = "picamera2"',
    }


def test_the_events_are_where_the_service_keeps_them_for_everybody_on_this_machine(
    computer: Computer, tmp_path: Path
) -> None:
    install(computer)
    path = computer.root / "etc/wastebin/config.toml"
    assert load_config(path, environ={"HOME": "/home/pi"}).events_path == Path("/var/lib/wastebin/events.db")
    (tmp_path / "own.toml").write_text('events.path = "/mnt/events.db"\n')
    path.unlink()
    install(computer, Wishes(config=tmp_path / "own.toml"))
    assert path.read_text() == 'events.path = "/mnt/events.db"\n'
    (tmp_path / "own.toml").write_text("no = = toml\n")
    path.unlink()
    install(computer, Wishes(config=tmp_path / "own.toml"))
    assert path.read_text() == "no = = toml\n" + EVENTS


def test_where_no_udev_runs_nothing_is_told_to_it(computer: Computer) -> None:
    (computer.root / "run/udev/control").unlink()
    install(computer)
    assert [command for command in computer.commands if "udevadm" in command] == []


@pytest.mark.parametrize("text", ["", '[camera]\nrate_hz = 5.0\n[events]\nsource = "x"\n'])
def test_a_camera_is_added_where_the_file_names_none(computer: Computer, tmp_path: Path, text: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    install(computer, Wishes(config=tmp_path / "own.toml", camera="usb:3"))
    lines = (computer.root / "etc/wastebin/config.toml").read_text().splitlines()
    assert lines[lines.index("[camera]") + 1] == 'source = "usb:3"'


def test_keys_are_added_to_those_that_are_trusted_already(computer: Computer) -> None:
    install(computer, Wishes(signers="anna A\n", authorized_keys="ssh-ed25519 A\n"))
    install(computer, Wishes(signers="\nbert B\nanna A\n"))
    assert (computer.root / "etc/wastebin/allowed_signers").read_text() == "anna A\nbert B\n"
    assert (computer.root / "etc/wastebin/authorized_keys").read_text() == "ssh-ed25519 A\n"
    door = (computer.root / "etc/ssh/sshd_config.d/wastebin.conf").read_text()
    assert f"ForceCommand {PROGRAM} models remote" in door
    assert [command for command in computer.commands if "ssh" in command] == [
        "sshd -t",
        "systemctl try-reload-or-restart ssh.service",
    ]


def test_mock_pins_stay_until_real_ones_are_asked_for(computer: Computer) -> None:
    path = computer.root / "etc/systemd/system/wastebin.service.d/pins.conf"
    install(computer, Wishes(pins="mock"))
    assert "--pins mock" in path.read_text()
    assert {state for _, state in install(computer)} == {"there"}
    assert install(computer, Wishes(pins="lgpio"))[-3:] == [
        ("no file /etc/systemd/system/wastebin.service.d/pins.conf", "made"),
        ("file /etc/systemd/system.conf.d/wastebin-watchdog.conf", "there"),
        (SERVICE, "made"),
    ]
    assert not path.exists()


def test_a_unit_that_has_changed_starts_the_service_again(computer: Computer) -> None:
    install(computer)
    (computer.root / "etc/systemd/system/wastebin.service").write_text("[Unit]\n")
    computer.commands.clear()
    assert [what for what, state in install(computer) if state == "made"] == [BARE[5], SERVICE]
    assert "systemctl restart --no-block wastebin.service" in computer.commands


def test_a_service_of_another_release_of_the_program_is_started_again(computer: Computer) -> None:
    install(computer)
    (computer.root / "proc/17/cmdline").write_bytes(b"/opt/wastebin.releases/0/bin/python\0run")
    assert [what for what, state in install(computer) if state == "made"] == [SERVICE]


def test_a_service_that_does_not_get_ready_is_told_with_its_last_error(computer: Computer) -> None:
    computer.starts = "fails"
    with pytest.raises(InstallError, match=r"did not get ready in 90 s: camera usb:0: not there; plug it in; see: jou"):
        install(computer)
    assert computer.slept_s == 90.0


def test_a_service_that_has_given_up_is_not_waited_for(computer: Computer) -> None:
    computer.starts = "refuses"
    with pytest.raises(InstallError, match="did not get ready"):
        install(computer)
    assert computer.slept_s == 0.5


def test_a_program_that_fails_is_named_with_what_it_said(computer: Computer) -> None:
    hands = Hands(computer.root, lambda command: Ran(3, "a\nb\nuseradd: no\n"), computer.sleep, PREFIX)
    with pytest.raises(
        InstallError, match="groupadd --system --force gpio: ended with 3 and said: a / b / useradd: no;"
    ):
        list(carry_out(steps(Wishes(), hands), dry_run=False))


def test_a_step_that_makes_nothing_is_an_error(computer: Computer) -> None:
    hands = Hands(computer.root, lambda command: Ran(int(command[0] == "getent"), ""), computer.sleep, PREFIX)
    with pytest.raises(InstallError, match="groups gpio and video: was made and is not there"):
        list(carry_out(steps(Wishes(), hands), dry_run=False))


def test_the_command_prints_a_line_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["install", "--dry-run", "--json"]) == 0
    reports = [Report(**json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert [report.what for report in reports] == BARE
    assert run_app(["install", "--dry-run", "--signers", "/nowhere/x"]) == 2
    assert "error: /nowhere/x: cannot be read" in capsys.readouterr().err
