"""Make a machine a bin: user, groups, folders, configuration, trusted keys, units, and the service that runs.

    Wishes, Hands -> steps -> [Step] -> carry_out -> Report per step: there, made, would be made

Each step looks first and changes only what is not as it must be, so that a second run changes nothing and one that was
cut off is gone on with: nothing that a later step has to know is kept in memory alone. `trainer provision` runs this
very code on the device. It must never overwrite a configuration that somebody may have edited, and never take a trusted
key away: it adds lines.
"""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Literal

import device
from device.config import REFERENCE_BUILDS
from device.errors import InstallError
from device.machine import Ran

__all__ = ["PROGRAM", "USER", "Hands", "Report", "Step", "Wishes", "carry_out", "steps"]

USER: Final = "wastebin"
PROGRAM: Final = Path("/opt/wastebin/bin/wastebin")
"""As the unit calls it; a link leads from there to the release of the program that counts."""

UNIT: Final = "wastebin.service"
START_S: Final = 90.0
"""How long a service may take until it is ready: a Pi that reads everything from a slow card for the first time."""
LOOK_S: Final = 0.5

_ETC: Final = Path("etc/wastebin")
_STATE: Final = Path("var/lib/wastebin")
_UNITS: Final = Path("etc/systemd/system")
_WATCHDOG: Final = Path("etc/systemd/system.conf.d/wastebin-watchdog.conf")
_UDEV: Final = Path("etc/udev/rules.d/60-wastebin-gpio.rules")
_SSHD: Final = Path("etc/ssh/sshd_config.d/wastebin.conf")
_RESTART_DUE: Final = Path("run/wastebin-restart-due")
"""There from before a unit changes until the service has started with it; a boot forgets it, and starts it too."""

_UDEV_RULE: Final = (
    '# As Raspberry Pi OS has it: the pins are for a group.\nSUBSYSTEM=="gpio", GROUP="gpio", MODE="0660"\n'
)
# In /etc, where the service's own user cannot write: who takes over the bin must not let himself in again.
_SSHD_DOOR: Final = f"""# How trainers reach this bin: with a key of that file, for models and pictures only.
Match User {USER}
    AuthorizedKeysFile /etc/wastebin/authorized_keys
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    SetEnv STATE_DIRECTORY=/{_STATE}
    ForceCommand {PROGRAM} models remote --config /etc/wastebin/config.toml
    DisableForwarding yes
    PermitTTY no
"""
_MOCK_PINS: Final = f"""# Made by: wastebin install --pins mock. Nothing is moved; remove this file when there are pins.
[Service]
ExecStart=
ExecStart={PROGRAM} run --config /etc/wastebin/config.toml --pins mock
ExecStopPost=
ExecStopPost=-{PROGRAM.parent}/python -P -m device.park /etc/wastebin/config.toml --pins mock
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may differ from bin to bin.

    Attributes:
        config: a configuration for a bin that has none; None takes the LED build.
        camera: what that configuration's camera shall be instead, such as `usb:0`; None leaves it.
        pins: `mock` for a machine that has none, `lgpio` to go back from that; None leaves it as it is.
        signers: lines for allowed_signers: who may sign models.
        authorized_keys: lines for authorized_keys: who may deliver them.
    """

    config: Path | None = None
    camera: str | None = None
    pins: Literal["lgpio", "mock"] | None = None
    signers: str = ""
    authorized_keys: str = ""


@dataclass(frozen=True, slots=True)
class Hands:
    """How a machine is looked at and changed; tests have a folder for it.

    Attributes:
        root: where `etc` and `proc` are.
        run: starts a program and waits for it.
        sleep: lets seconds pass.
        prefix: the installation that runs this, as `sys.prefix` names it.
    """

    root: Path
    run: Callable[[Sequence[str]], Ran]
    sleep: Callable[[float], None]
    prefix: Path

    def must(self, *command: str) -> str:
        """Run a program that has to succeed, and give what it printed.

        Raises:
            InstallError: it did not.
        """
        ran = self.run(command)
        if ran.returncode != 0:
            said = " / ".join(ran.output.split("\n")[-4:]).strip(" /") or "nothing"
            raise InstallError(
                f"{' '.join(command)}: ended with {ran.returncode} and said: {said}; mend that, then run this again"
            )
        return ran.output


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that has to be so.

    Attributes:
        what: the thing, for people.
        is_there: looks, and changes nothing.
        make: makes it so.
    """

    what: str
    is_there: Callable[[], bool]
    make: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Report:
    """How a step went."""

    what: str
    state: Literal["there", "made", "would be made"]


def carry_out(wanted: Sequence[Step], *, dry_run: bool) -> Iterator[Report]:
    """Do what is not done yet, one step after another; or only say it.

    Raises:
        InstallError: a step did not work, or made nothing of what it was to make.
    """
    for step in wanted:
        if step.is_there():
            yield Report(step.what, "there")
        elif dry_run:
            yield Report(step.what, "would be made")
        else:
            try:
                step.make()
            except OSError as exc:
                raise InstallError(f"{step.what}: {exc}; run this as root: sudo wastebin install") from exc
            if not step.is_there():
                raise InstallError(f"{step.what}: was made and is not there; run it again, then: wastebin doctor")
            yield Report(step.what, "made")


def steps(wishes: Wishes, hands: Hands) -> list[Step]:
    """Everything that a bin needs, in order; what comes later relies on what came before."""
    lines = [
        _lines(hands, _ETC / "allowed_signers", wishes.signers, "who may sign models"),
        _lines(hands, _ETC / "authorized_keys", wishes.authorized_keys, "who may deliver models"),
    ]
    return [
        _groups(hands),
        _user(hands),
        _state_folder(hands),
        _config(hands, wishes),
        *(step for step in lines if step is not None),
        *([_ssh_door(hands)] if wishes.authorized_keys else []),
        _file(hands, _UDEV, _UDEV_RULE, _reload_udev),
        _unit(hands, _UNITS / UNIT, _our_unit(UNIT)),
        *_pins(hands, wishes),
        _file(hands, _WATCHDOG, _our_unit("wastebin-watchdog.conf"), lambda h: h.must("systemctl", "daemon-reexec")),
        _service(hands),
    ]


def _groups(hands: Hands) -> Step:
    def make() -> None:
        for name in ("gpio", "video"):
            hands.must("groupadd", "--system", "--force", name)

    return Step("groups gpio and video", lambda: hands.run(["getent", "group", "gpio", "video"]).returncode == 0, make)


def _user(hands: Hands) -> Step:
    def is_there() -> bool:
        ran = hands.run(["id", "-nG", USER])
        return ran.returncode == 0 and {"gpio", "video"} <= set(ran.output.split())

    def make() -> None:
        if hands.run(["id", "-nG", USER]).returncode != 0:
            # A shell, since sshd starts the forced command with it; without a password nobody logs in by one.
            hands.must("useradd", "--system", "--user-group", "--home-dir", f"/{_STATE}", "--shell", "/bin/sh", USER)
        hands.must("usermod", "--append", "--groups", "gpio,video", USER)

    return Step(f"user {USER}", is_there, make)


def _state_folder(hands: Hands) -> Step:
    def make() -> None:
        hands.must("install", "-d", "-o", USER, "-g", USER, "-m", "0755", str(hands.root / _STATE))

    return Step(f"folder /{_STATE}", (hands.root / _STATE).is_dir, make)


def _config(hands: Hands, wishes: Wishes) -> Step:
    path = hands.root / _ETC / "config.toml"

    def make() -> None:
        text = (wishes.config or REFERENCE_BUILDS[0]).read_text(encoding="utf-8")
        if wishes.camera is not None:
            text = _with(text, "camera", "source", wishes.camera)
        if "events" not in _read_toml(text):
            # Named, so that everybody on this machine reads and writes the service's events, whoever he is.
            text = _with(text, "events", "path", f"/{_STATE}/events.db")
        _write(path, text)

    return Step(f"configuration /{_ETC}/config.toml", path.is_file, make)


def _read_toml(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}  # the service will say what is wrong with it


def _with(text: str, section: str, key: str, value: str) -> str:
    """A configuration whose section has this value, with every other line as it was."""
    lines, line = text.split("\n"), f'{key} = "{value}"'
    begins = lines.index(f"[{section}]") if f"[{section}]" in lines else None
    if begins is None:
        return f"{text.rstrip()}\n\n[{section}]\n{line}\n".lstrip()
    for number in range(begins + 1, len(lines)):
        if lines[number].startswith("["):
            break
        if lines[number].split("=")[0].strip() == key:
            lines[number] = line
            return "\n".join(lines)
    lines.insert(begins + 1, line)
    return "\n".join(lines)


def _lines(hands: Hands, path: Path, wanted: str, what: str) -> Step | None:
    new = [line for line in wanted.splitlines() if line.strip()]
    full = hands.root / path

    def there() -> list[str]:
        return full.read_text(encoding="utf-8").splitlines() if full.is_file() else []

    def make() -> None:
        before = there()
        _write(full, "\n".join([*before, *(line for line in new if line not in before), ""]))

    return Step(f"{what}: /{path}", lambda: set(new) <= set(there()), make) if new else None


def _file(hands: Hands, path: Path, text: str, then: Callable[[Hands], object]) -> Step:
    full = hands.root / path

    def make() -> None:
        _write(full, text)
        try:
            then(hands)
        except InstallError:
            full.unlink()  # or the next run would take it for done
            raise

    return Step(f"file /{path}", lambda: _holds(full, text), make)


def _unit(hands: Hands, path: Path, text: str) -> Step:
    full = hands.root / path

    def make() -> None:
        (hands.root / _RESTART_DUE).touch()
        _write(full, text)

    return Step(f"file /{path}", lambda: _holds(full, text), make)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _ssh_door(hands: Hands) -> Step:
    def reload(hands: Hands) -> None:
        hands.must("sshd", "-t")
        hands.must("systemctl", "try-reload-or-restart", "ssh.service")

    return _file(hands, _SSHD, _SSHD_DOOR, reload)


def _reload_udev(hands: Hands) -> None:
    if not (hands.root / "run/udev/control").exists():
        return  # no udev runs, as in a container: it reads its rules when it starts
    hands.must("udevadm", "control", "--reload")
    hands.must("udevadm", "trigger", "--subsystem-match=gpio")


def _pins(hands: Hands, wishes: Wishes) -> Iterator[Step]:
    path = _UNITS / f"{UNIT}.d" / "pins.conf"
    full = hands.root / path

    def remove() -> None:
        (hands.root / _RESTART_DUE).touch()
        full.unlink()

    if wishes.pins == "mock":
        yield _unit(hands, path, _MOCK_PINS)
    elif wishes.pins == "lgpio":
        yield Step(f"no file /{path}", lambda: not full.exists(), remove)


def _service(hands: Hands) -> Step:
    restart_due = hands.root / _RESTART_DUE

    def is_there() -> bool:
        is_enabled = hands.run(["systemctl", "is-enabled", "--quiet", UNIT]).returncode == 0
        return is_enabled and not restart_due.exists() and _is_active(hands) and _runs_this(hands)

    def make() -> None:
        hands.must("systemctl", "daemon-reload")
        hands.must("systemctl", "enable", "--quiet", UNIT)
        # Not waited for: a start that fails is tried for ever, and systemctl would wait as long.
        hands.must("systemctl", "restart", "--no-block", UNIT)
        for _ in range(round(START_S / LOOK_S)):
            hands.sleep(LOOK_S)
            if _is_active(hands):
                restart_due.unlink(missing_ok=True)
                return
            if hands.run(["systemctl", "is-failed", "--quiet", UNIT]).returncode == 0:
                break
        said = hands.run(["journalctl", "--unit", UNIT, "--lines", "5", "--output", "cat", "--no-pager"]).output
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        raise InstallError(
            f"{UNIT} did not get ready in {START_S:g} s: {errors[-1][7:] if errors else 'it said no reason'}; "
            f"see: journalctl -u wastebin, and: sudo {PROGRAM} doctor --config /{_ETC}/config.toml"
        )

    return Step(f"{UNIT}, enabled and running wastebin {device.__version__}", is_there, make)


def _is_active(hands: Hands) -> bool:
    return hands.run(["systemctl", "is-active", "--quiet", UNIT]).returncode == 0


def _runs_this(hands: Hands) -> bool:
    """Whether the process that runs is of this installation: another release of the program has another prefix."""
    pid = hands.must("systemctl", "show", "--property", "MainPID", "--value", UNIT).strip()
    try:
        words = (hands.root / "proc" / pid / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].decode(errors="replace").startswith(f"{hands.prefix}/")


def _our_unit(name: str) -> str:
    """A file of `systemd/`: a wheel carries a copy in `device/units`, in a checkout it is read where it lies."""
    packed = Path(str(resources.files("device"))) / "units" / name
    checkout = Path(device.__file__).resolve().parent.parent / "systemd" / name
    return (packed if packed.is_file() else checkout).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    """Put a file in its place whole, readable for all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(0o644)
    beside.replace(path)
