"""Signed bundles as a trainer would ship them: keys made by ssh-keygen, signatures by ssh-keygen, tars by tarfile."""

import io
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bundles import golden, manifest, network

from device.bundle import Bundle, write_bundle
from device.durable import Files
from device.intake import Member, read_tar

FILES = {"model.onnx": network(), "float.onnx": network(), "golden.npz": golden()}
FIRST = ("manifest.json", "manifest.json.sig")


class Unsynced(Files):
    """No power will be cut in this test, so that a sync would only cost time."""

    def sync(self, path: Path) -> None:
        """Nothing but that the path must be there."""
        assert path.exists()


def make_key(path: Path) -> Path:
    """A new private key without a passphrase; its public half lies beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


def signer_line(key: Path, name: str = "trainer@desk", options: str = "") -> str:
    """One line of a file of allowed signers."""
    return f"{name} {options} {key.with_suffix('.pub').read_text()}"


def sign(path: Path, key: Path, namespace: str = "wastebin-bundle") -> bytes:
    """Sign a file; the signature lies beside it, and is returned."""
    signature = path.with_name(path.name + ".sig")
    signature.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key, path], check=True)
    return signature.read_bytes()


def signed_bundle(
    path: Path, key: Path, sequence: int, *, allow_downgrade: bool = False, namespace: str = "wastebin-bundle"
) -> Bundle:
    """Write a bundle with this sequence number, and sign it."""
    created_at = datetime.fromtimestamp(sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = replace(manifest(), sequence=sequence, created_at=created_at, allow_downgrade=allow_downgrade)
    bundle = write_bundle(path, body, FILES, "# mean colour\n")
    sign(path / "manifest.json", key, namespace)
    return bundle


def tar_of(path: Path, names: Sequence[str] | None = None) -> bytes:
    """The folder as an uncompressed tar, the manifest and its signature first."""
    if names is None:
        names = [*FIRST, *sorted(entry.name for entry in path.iterdir() if entry.name not in FIRST)]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            tar.add(path / name, name)
    return stream.getvalue()


def members_of(data: bytes) -> Iterator[Member]:
    """What a store is handed when these bytes come in on stdin."""
    return read_tar(io.BytesIO(data).read)


def tree(path: Path) -> dict[str, bytes | str]:
    """Everything below a folder: content of files, targets of symlinks, `/` for folders."""
    return {str(entry.relative_to(path)): _content(entry) for entry in sorted(path.rglob("*"))}


def _content(entry: Path) -> bytes | str:
    if entry.is_symlink():
        return str(entry.readlink())
    return "/" if entry.is_dir() else entry.read_bytes()
