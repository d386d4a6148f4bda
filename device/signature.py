"""Who vouches for a bundle: an SSH signature over its manifest, checked by OpenSSH itself.

    manifest.json, manifest.json.sig, allowed_signers -> ssh-keygen -Y find-principals, verify -> the signer's name

The manifest holds the hash of each file, so that one signature covers the bundle and is checked before a single large
file is read (SWUpdate's reasoning). The namespace keeps a signature that was made for something else, such as a git
commit, from counting here. Nothing has to be installed: `ssh-keygen` comes with OpenSSH. It must never fall back to a
weaker check: where the check cannot be made, the bundle is refused.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from device.errors import BundleUntrusted

__all__ = ["NAMESPACE", "SIGNATURE", "SIGNATURE_LIMIT_BYTES", "check_signature"]

NAMESPACE: Final = "wastebin-bundle"
SIGNATURE: Final = "manifest.json.sig"
SIGNATURE_LIMIT_BYTES: Final = 16 * 1024  # an RSA key of 16384 bits makes one of 6 kB
_DEADLINE_S: Final = 30.0


def check_signature(manifest: bytes, signature: bytes, allowed_signers: Path, where: str) -> str:
    """Check that somebody whom this bin trusts has signed a manifest for wastebin.

    Args:
        manifest: the signed bytes.
        signature: content of `manifest.json.sig`.
        allowed_signers: the keys that are trusted, see ALLOWED SIGNERS in `man ssh-keygen`.
        where: what is checked, the beginning of a message.

    Returns:
        The signer, as `allowed_signers` names it.

    Raises:
        BundleUntrusted: nobody has, or it cannot be found out.
    """
    if not allowed_signers.is_file():
        raise BundleUntrusted(
            f"{allowed_signers}: no such file, expected the keys that may sign bundles for this bin; "
            "make a key with `trainer keys init` and put its public half there"
        )
    # In memory, since the signature may come over the network and ssh-keygen reads it from a file only.
    with open(os.memfd_create("signature"), "wb") as stream:
        stream.write(signature)
        stream.flush()
        number = stream.fileno()
        keys = ["-s", f"/proc/self/fd/{number}", "-f", str(allowed_signers)]
        found = _ssh_keygen(["find-principals", *keys], b"", number, where)
        signers = [] if found is None else found.decode("utf-8", "replace").splitlines()
        for signer in signers:
            if _ssh_keygen(["verify", "-n", NAMESPACE, "-I", signer, *keys], manifest, number, where) is not None:
                return signer
    if signers:
        raise BundleUntrusted(
            f"{where}: the signature does not fit, expected one by {signers[0]} over these very bytes in the "
            f"namespace {NAMESPACE}; sign and ship the bundle again"
        )
    raise BundleUntrusted(
        f"{where}: not signed by a key that {allowed_signers} names; sign it with one of those, or add its key there"
    )


def _ssh_keygen(arguments: Sequence[str], data: bytes, number: int, where: str) -> bytes | None:
    """What `ssh-keygen -Y ...` printed; None where it says no."""
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", *arguments],
            input=data,
            capture_output=True,
            pass_fds=[number],
            timeout=_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BundleUntrusted(
            f"{where}: ssh-keygen cannot check the signature ({exc}); install it with: apt install openssh-client"
        ) from exc
    return done.stdout if done.returncode == 0 else None
