"""Sign: a packed bundle -> the same bundle with `manifest.json.sig` beside its manifest.

    manifest.json, signing key -> ssh-keygen -Y sign -> manifest.json.sig -> checked as a bin checks it

The manifest holds the hash of every file, so that its signature vouches for all of them. It must never sign what it has
not verified, and never leave a signature that a bin would refuse.
"""

import subprocess
from pathlib import Path
from typing import Final

from device.bundle import MANIFEST, load_bundle
from device.errors import BundleUntrusted
from device.signature import NAMESPACE, SIGNATURE, check_signature
from trainer.errors import KeysError
from trainer.keys import Keys
from trainer.stage import write_atomic

__all__ = ["sign_bundle"]

_DEADLINE_S: Final = 120.0
"""Long enough to type the passphrase of a key that has one."""


def sign_bundle(bundle: Path, keys: Keys) -> Path:
    """Sign a bundle, unless it is signed already; whether a bin trusts that signature is the bin's to say.

    Args:
        bundle: its folder, verified here.

    Returns:
        The signature's file.

    Raises:
        BundleError: the bundle is not sound.
        KeysError: there is no key, it does not sign, or `allowed_signers` does not name it.
    """
    load_bundle(bundle)
    target = bundle / SIGNATURE
    if target.exists():
        return target
    if not keys.signing.is_file():
        raise KeysError(f"{keys.signing}: no key to sign with; make one with: trainer keys init --keys {keys.folder}")
    manifest = (bundle / MANIFEST).read_bytes()
    signature = _sign(manifest, keys.signing)
    try:
        check_signature(manifest, signature, keys.allowed_signers, str(bundle / MANIFEST))
    except BundleUntrusted as error:
        raise KeysError(f"{error} (signed with {keys.signing})") from error
    write_atomic(target, signature)
    return target


def _sign(data: bytes, key: Path) -> bytes:
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key)],
            input=data,
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeysError(f"{key}: ssh-keygen cannot sign ({error}); install it: apt install openssh-client") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise KeysError(f"{key}: does not sign ({said}); expected a private key of ssh-keygen, for this user only")
    return done.stdout
