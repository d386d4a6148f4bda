"""Keys: the two that a trainer needs, made once.

    trainer keys init -> signing, signing.pub -> allowed_signers -> /etc/wastebin/allowed_signers on each bin
                      -> deploy, deploy.pub   -> authorized_keys -> /etc/wastebin/authorized_keys on each bin

Two, since they guard two things: `deploy` may talk to a bin, `signing` vouches for a model. A stolen `deploy` cannot
open a shell (its line forces one command) and cannot ship a model of its own. It must never replace a key: every bin
would refuse what is shipped from then on.
"""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.signature import NAMESPACE
from trainer.errors import KeysError
from trainer.stage import write_atomic

__all__ = ["AGENT", "Keys", "default_keys_folder", "init_keys"]

AGENT: Final = "/opt/wastebin/bin/wastebin models remote --config /etc/wastebin/config.toml"
"""The one command that the deploy key may run on a bin."""

_DEADLINE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the keys of a trainer lie.

    Attributes:
        folder: holds them all; nobody else may read it.
    """

    folder: Path

    @property
    def signing(self) -> Path:
        """The private key that signs bundles."""
        return self.folder / "signing"

    @property
    def deploy(self) -> Path:
        """The private key that bins let in."""
        return self.folder / "deploy"

    @property
    def allowed_signers(self) -> Path:
        """Whose bundles a bin takes: for `/etc/wastebin/allowed_signers`. More lines, more signers."""
        return self.folder / "allowed_signers"

    @property
    def authorized_keys(self) -> Path:
        """The line that lets `deploy` in, and allows it one command."""
        return self.folder / "authorized_keys"


def default_keys_folder() -> Path:
    """`$XDG_CONFIG_HOME/wastebin`, or `~/.config/wastebin`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "wastebin"


def init_keys(folder: Path, name: str) -> Keys:
    """Make what is missing; what is there stays, also after a start that was cut off.

    Args:
        folder: made if missing.
        name: whom bins shall know the signer as: letters, digits and `@.-_` only.

    Raises:
        KeysError: no such name is possible, the folder cannot be written to, or there is no `ssh-keygen`.
    """
    if not name.isascii() or not name.translate({ord(sign): None for sign in "@.-_"}).isalnum():
        raise KeysError(f"--name {name!r}: expected letters, digits and @.-_ only, such as anna@laptop")
    keys = Keys(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for private in (keys.signing, keys.deploy):
            _make_pair(private, f"wastebin {private.name} {name}")
        if not keys.allowed_signers.exists():
            line = f'{name} namespaces="{NAMESPACE}" {_public(keys.signing)}\n'
            write_atomic(keys.allowed_signers, line.encode())
        if not keys.authorized_keys.exists():
            line = f'restrict,command="{AGENT}" {_public(keys.deploy)}\n'
            write_atomic(keys.authorized_keys, line.encode())
    except OSError as error:
        raise KeysError(
            f"{error.filename or folder}: keys cannot be made there ({error.strerror}); give another with --keys"
        ) from error
    return keys


def _make_pair(private: Path, comment: str) -> None:
    """A new pair of keys, whole or not at all: the private half comes last, and only then the pair counts."""
    if private.exists():
        return
    with tempfile.TemporaryDirectory(dir=private.parent) as folder:
        new = Path(folder) / private.name
        _ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(new))
        _public_half(new).replace(_public_half(private))
        new.replace(private)


def _public_half(private: Path) -> Path:
    """The file of the public key that belongs to a private one."""
    return private.with_name(private.name + ".pub")


def _public(private: Path) -> str:
    """Type, key and comment on one line."""
    return _public_half(private).read_text(encoding="utf-8").strip()


def _ssh_keygen(*arguments: str) -> None:
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise KeysError(f"ssh-keygen: cannot be run ({error}); install it with: apt install openssh-client") from error
    if done.returncode != 0:
        raise KeysError(f"ssh-keygen: {done.stderr.strip() or done.stdout.strip()}; no key was made")
