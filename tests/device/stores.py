"""Stores of models, and signed bundles to fill them with."""

from pathlib import Path

from signed import Unsynced, members_of, signed_bundle, signer_line, tar_of

from device.bundle import Bundle
from device.durable import Files
from device.releases import ReleaseStore

T0 = 1_790_000_000
ROOMY = 1 << 40


def ten_bundles(folder: Path, key: Path) -> list[Bundle]:
    """Signed bundles, each newer than the one before."""
    return [signed_bundle(folder / str(number), key, T0 + number) for number in range(10)]


def new_store(tmp_path: Path, key: Path) -> ReleaseStore:
    """A store that trusts this key."""
    (tmp_path / "allowed_signers").write_text(signer_line(key))
    return open_store(tmp_path)


def open_store(tmp_path: Path, files: Files | None = None, free_bytes: int = ROOMY) -> ReleaseStore:
    """The same store again."""
    return ReleaseStore(
        tmp_path / "models",
        tmp_path / "allowed_signers",
        files=files or Unsynced(),
        wall=lambda: 0.0,
        free_bytes=lambda path: free_bytes,
    )


def install(store: ReleaseStore, bundle: Bundle) -> str:
    """Take it in."""
    return store.install(members_of(tar_of(bundle.path))).release


def prove(store: ReleaseStore, bundle: Bundle) -> str:
    """Install, try and commit."""
    release = install(store, bundle)
    store.begin_trial(release)
    store.note_try()
    store.commit(release)
    return release


def flip(path: Path, at: int) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
