"""Changes of the file system that a power cut can undo, and the orders in which they cannot.

    device.releases -> replace_file, replace_link, move, remove_tree -> Files -> the disk

Only what was fsynced is certain: of a file its content, of a folder its entries, and the two apart. A new file is
written beside the old one, synced, renamed over it, and then the folder is synced; readers see the old one or the new
one, never a mix. Everything goes through `Files`, one call for each change, so that a test can record the calls and
enumerate what a power cut may leave (ALICE, OSDI'14). It must never sync for luck: each sync here is one whose absence
that test notices.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Files", "hold", "move", "remove_tree", "replace_file", "replace_link"]


class Files:
    """The changes of the file system that the store makes. Each raises OSError when it cannot be made."""

    def make_folder(self, path: Path) -> None:
        """Make a folder; its parent exists, itself does not."""
        path.mkdir(mode=0o755)

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write a file that does not exist yet."""
        with path.open("xb") as stream:
            for chunk in chunks:
                stream.write(chunk)

    def sync(self, path: Path) -> None:
        """Make the content of a file certain, or the entries of a folder."""
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def rename(self, old: Path, new: Path) -> None:
        """Rename within the file system; a file or symlink at `new` is replaced."""
        old.rename(new)

    def link(self, target: str, path: Path) -> None:
        """Make a symlink that does not exist yet."""
        path.symlink_to(target)

    def remove(self, path: Path) -> None:
        """Remove a file, a symlink or an empty folder."""
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def replace_file(files: Files, path: Path, data: bytes) -> None:
    """Give a file new content; it holds the old or the new one whenever it is read.

    It is the new one for certain when the caller has synced the folder, once for all that he changes there.
    """
    beside = _beside(files, path)
    try:
        files.write(beside, [data])
        files.sync(beside)
        files.rename(beside, path)
    except OSError:
        with suppress(OSError):
            files.remove(beside)
        raise


def replace_link(files: Files, path: Path, target: str | None) -> None:
    """Let a symlink point elsewhere, or remove it (None); certain as with `replace_file`. It may be so already."""
    if target == (os.readlink(path) if path.is_symlink() else None):
        return
    if target is None:
        files.remove(path)
    else:
        beside = _beside(files, path)
        files.link(target, beside)
        files.rename(beside, path)


def move(files: Files, old: Path, new: Path) -> None:
    """Move a folder whose content is certain into another folder; for certain at return."""
    files.rename(old, new)
    files.sync(new.parent)
    files.sync(old.parent)


def remove_tree(files: Files, path: Path) -> None:
    """Remove a folder with all that is in it, or nothing where there is none. A power cut may leave any part of it."""
    if path.is_dir() and not path.is_symlink():
        for entry in sorted(path.iterdir()):
            remove_tree(files, entry)
    if path.is_symlink() or path.exists():
        files.remove(path)


@contextmanager
def hold(folder: Path, *, wait: bool) -> Iterator[None]:
    """Be the only process that changes a folder, until the end of the block or of the process.

    The lock is on the folder itself: no file has to be made for it, and none is left behind.

    Args:
        wait: until another one lets go, else not at all.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(number)


def _beside(files: Files, path: Path) -> Path:
    """The place of a successor, cleared of what a power cut may have left there."""
    beside = path.with_name(f".{path.name}.new")
    if beside.is_symlink() or beside.exists():
        files.remove(beside)
    return beside
