"""The bin that a booted Debian becomes, and the trainer's side of it: commands, keys, bundles, figures.

Debian, Keys -> Bin.provision, .deliver (the trainer's commands) -> Bin.shows, .wastebin, .models (what it says)
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from booted_debian import Debian
from sim_bin import wait_for

from device.bundle import load_bundle, write_bundle
from trainer.keys import Keys
from trainer.wheels import PARTS

__all__ = ["CONFIG", "SERVICE", "Bin", "copy_of_checkout", "ran"]

SERVICE = "wastebin.service"
CONFIG = "/etc/wastebin/config.toml"


@dataclass(frozen=True, slots=True)
class Bin:
    """The guest, the trainer's folder, and the figures."""

    debian: Debian
    keys: Keys
    folder: Path
    figures: dict[str, object]

    @property
    def checkout(self) -> Path:
        """The program as it is provisioned; a copy, so that nobody edits it meanwhile."""
        return self.folder / "checkout"

    def command(self, *words: str, user: str, key: Path, checkout: Path | None = None) -> list[str]:
        """A command of the trainer against the guest."""
        # fmt: off
        return [
            sys.executable, "-c",
            f"import sys; sys.path.insert(0, {str(checkout or self.checkout)!r}); from trainer.cli import main; main()",
            *words, "--host", f"{user}@127.0.0.1:{self.debian.port}", "--identity", str(key),
            "--known-hosts", str(self.debian.known_hosts),
        ]
        # fmt: on

    def trainer(self, *words: str, checkout: Path | None = None) -> tuple[int, str]:
        """Run a command as pi; its status, and what it printed."""
        return ran(self.command(*words, user="pi", key=self.debian.key, checkout=checkout))

    def deliver(self, *words: str) -> list[str]:
        """A command with the key that may only deliver models."""
        return self.command(*words, "--keys", str(self.keys.folder), user="wastebin", key=self.keys.deploy)

    def provision(self, *words: str) -> str:
        """Make the guest a simulated bin; what was printed."""
        asked = ("--pins", "mock", "--camera", "sim:seed=1", "--keys", str(self.keys.folder), *words)
        status, said = self.trainer("provision", *asked)
        assert status == 0, said
        return said

    def shows(self, name: str) -> str:
        """A property of the service."""
        return self.debian.says(f"systemctl show --property {name} --value {SERVICE}")

    def is_sorting(self) -> bool:
        """As systemd was told."""
        return self.shows("ActiveState") == "active" and self.shows("StatusText").startswith("sorting with ")

    def wait_until_sorting(self) -> None:
        """As long as that takes."""
        wait_for(self.is_sorting, "sorting")

    def restart_with(self, config: str) -> None:
        """Another configuration, in use."""
        (self.debian.root / CONFIG.lstrip("/")).write_text(config)
        self.debian.ssh(f"systemctl restart {SERVICE}")
        self.wait_until_sorting()

    def wastebin(self, words: str) -> list[dict[str, object]]:
        """What a command of the bin prints as JSON lines."""
        command = f"/opt/wastebin/bin/wastebin {words} --json --config {CONFIG}"
        return [json.loads(line) for line in self.debian.says(command).splitlines()]

    def models(self) -> dict[str, object]:
        """What the bin knows about its models."""
        (state,) = self.wastebin("models status")
        return state

    def is_on_trial(self, sequence: int) -> bool:
        """As its disk says, looked at from outside."""
        path = self.debian.root / "var/lib/wastebin/models/state.json"
        state = json.loads(path.read_bytes()) if path.is_file() else {"phase": "idle"}
        return state["phase"] == "trial" and str(state["release"]).startswith(f"{sequence}-")

    def bundle(self, sequence: int) -> Path:
        """The model that came along, as if made later."""
        factory = load_bundle(self.checkout / "models" / "nano")
        created_at = datetime.fromtimestamp(sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        later = replace(factory.manifest, sequence=sequence, created_at=created_at)
        files = {name: (factory.path / name).read_bytes() for name in later.files}
        return write_bundle(self.folder / f"bundle-{sequence}", later, files, "# nano again\n").path


def ran(command: list[str]) -> tuple[int, str]:
    """Run a program; its status, and what it printed."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    return done.returncode, done.stdout


def copy_of_checkout(source: Path, folder: Path) -> Path:
    """What wheels are made from, in a repository of its own."""
    # fmt: off
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS],
        cwd=source, capture_output=True, text=True, check=True,
    ).stdout
    # fmt: on
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, folder / name)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder
