"""A computer like a Pi, without the Pi: Debian with its own systemd and sshd, booted in a container, reached over ssh.

    mmdebstrap -> root folder (cached) -> a copy -> systemd-nspawn --boot -> Debian.ssh, .reboot, .hard_reset

A container and not an emulated machine: it boots in a second, everywhere where there is root. The kernel is the
host's, so that it has no camera, no pins and no watchdog of its own, and a hard reset ends every process at once but
cannot lose what the kernel was told to write: power cuts are replayed in tests/device/test_crash_states.py. Its sshd
listens on a free port of 127.0.0.1, its files are a copy, so that whatever is done to it is gone afterwards.
"""

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loopback import free_port

__all__ = ["Debian", "booted", "built_root"]

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates", "dbus", "openssh-server", "procps", "python3-venv", "sudo", "systemd", "systemd-sysv", "udev",
)  # fmt: skip
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
"""What nobody reads in a guest: half of the files."""

NEEDED = ("mmdebstrap", "systemd-nspawn", "ssh", "ssh-keygen")
CURE = "apt-get install mmdebstrap systemd-container openssh-client, and run it as root"

BOOT_DEADLINE_S = 120.0
COMMAND_DEADLINE_S = 600.0
REBOOT = 133
"""With this status nspawn tells whoever started it that the guest wants to be started again."""

# Two users, as on a Raspberry Pi: root, and pi with sudo. Timers of apt and e2scrub have nothing to do here.
AFTER = r"""
set -eu
root="$1"
useradd --root "$root" --create-home --shell /bin/bash pi
echo 'pi ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/pi"
for home in root home/pi; do
    install -d -m 700 "$root/$home/.ssh"
done
echo bin > "$root/etc/hostname"
echo '127.0.0.1 localhost bin' > "$root/etc/hosts"
chroot "$root" systemctl --quiet enable ssh
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
"""


def built_root() -> Path:
    """Build the root file system, or find the one that was built before; nobody may write there.

    It is kept in the user's cache by the hash of what it is made from; without it, minutes and 100 MB of network.
    """
    missing = [name for name in NEEDED if shutil.which(name) is None]
    assert not missing, f"the booted Debian needs {', '.join(missing)}: {CURE}"
    assert os.geteuid() == 0, f"the booted Debian needs root: {CURE}"
    kind = hashlib.sha256(repr((SUITE, PACKAGES, LEFT_OUT, AFTER)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wastebin-tests"
    folder = cache / f"debian-{kind}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as beside:
            root, after = Path(beside) / "root", Path(beside) / "after"
            after.write_text(AFTER)
            # fmt: off
            _run(
                "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}",
                "--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
                f'--customize-hook=sh {shlex.quote(str(after))} "$1"', SUITE, root,
            )
            # fmt: on
            root.rename(folder)
    return folder


@dataclass(slots=True)
class Debian:
    """A guest that runs.

    Attributes:
        root: its files.
        port: of its sshd on this machine's 127.0.0.1.
        key: private key for `root` and for `pi`, who is in no group but may use sudo.
        known_hosts: a file that knows the guest.
        boots: how often it was started.
    """

    root: Path
    port: int
    key: Path
    known_hosts: Path
    boots: int = 0
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self) -> None:
        """Switch it on and wait until sshd answers."""
        # fmt: off
        command = [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine=wastebin-{self.port}",
            "--register=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe",
        ]
        # fmt: on
        # Without a systemd on the host there is nobody to ask for a scope of its own.
        if not Path("/run/systemd/system").is_dir():
            command.append("--keep-unit")
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.boots += 1
        deadline_s = time.monotonic() + BOOT_DEADLINE_S
        while self.ssh("true", check=False).returncode != 0:
            assert self._process.poll() is None, f"nspawn ended with {self._process.returncode}: {self.console()}"
            assert time.monotonic() < deadline_s, f"no boot in {BOOT_DEADLINE_S:g} s: {self.console()}"
            time.sleep(0.1)

    def reboot(self) -> None:
        """Shut it down in order and boot it again."""
        assert self._process is not None
        self.ssh("systemctl reboot", check=False)
        assert self._process.wait(BOOT_DEADLINE_S) == REBOOT, self.console()
        self.start()

    def hard_reset(self) -> None:
        """End every process in it at once, and boot it again."""
        self.kill()
        self.start()

    def kill(self) -> None:
        """End every process in it at once: the kernel ends all of a container with its first process."""
        if self._process is not None and self._process.poll() is None:
            # By hand, since a SIGKILL to nspawn alone would leave the end of the guest to chance.
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def ssh(
        self, command: str, *, user: str = "root", key: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command in the guest."""
        options = ("-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "ConnectTimeout=5")
        # fmt: off
        done = subprocess.run(
            ["ssh", "-q", "-F", "none", "-o", "IdentitiesOnly=yes", "-i", str(key or self.key), "-p", str(self.port),
             *options, f"{user}@127.0.0.1", command],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_DEADLINE_S, check=False,
        )
        # fmt: on
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}"
        return done

    def says(self, command: str) -> str:
        """What a shell command prints, without the line end."""
        return self.ssh(command).stdout.decode().rstrip("\n")

    def console(self) -> str:
        """The last of what its systemd said."""
        return self._console.read_text(encoding="utf-8", errors="replace")[-2000:]

    @property
    def _console(self) -> Path:
        return self.known_hosts.with_name("console")


@contextmanager
def booted(folder: Path) -> Iterator[Debian]:
    """A guest of its own, in a folder of its own, that is gone afterwards."""
    cached = built_root()
    root, key = folder / "root", folder / "id"
    _run("cp", "--archive", "--reflink=auto", cached, root)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "wastebin tests", "-f", key)
    for home, owner in ((root / "root", 0), (root / "home" / "pi", (root / "home" / "pi").stat().st_uid)):
        shutil.copy(key.with_suffix(".pub"), home / ".ssh" / "authorized_keys")
        for path in (home / ".ssh", home / ".ssh" / "authorized_keys"):
            os.chown(path, owner, owner)
    port = free_port()
    (root / "etc/ssh/sshd_config.d/tests.conf").write_text(f"Port {port}\nListenAddress 127.0.0.1\n")
    host_key = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="ascii").split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    debian = Debian(root, port, key, folder / "known_hosts")
    try:
        debian.start()
        yield debian
    finally:
        debian.kill()
        shutil.rmtree(root, ignore_errors=True)


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
