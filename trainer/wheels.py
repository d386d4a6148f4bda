"""Wheels: the program as it stands in this checkout, with all that it needs, for a machine of another kind.

    checkout, Target -> pip wheel, pip download -> a folder of wheels, named by what it is made from -> provision

The workstation fetches, so that a bin needs no way into the internet for its Python, and every bin of a fleet gets the
same bytes. Only ready wheels: a Pi compiles nothing. It must never take a file that git does not know.
"""

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import device
from trainer.errors import ProvisionError

__all__ = [
    "Target",
    "Wheels",
    "checkout",
    "constraints_for",
    "default_cache",
    "fetch_wheels",
    "pack_wheels",
    "release_name",
]

PARTS: Final = (
    "LICENSE",
    "README.md",
    "constraints.txt",
    "device",
    "models/nano",
    "pyproject.toml",
    "systemd",
    "trainer",
)
"""What a wheel is made from."""

CONSTRAINTS: Final = "constraints.txt"

OLD_NUMPY: Final = ("numpy==1.26.4", "opencv-python-headless==4.11.0.86")
"""In place of newer ones where apt's picamera2 was compiled against numpy 1 (Debian 12)."""


@dataclass(frozen=True, slots=True)
class Target:
    """For which machine.

    Attributes:
        arch: as `uname -m` says, `aarch64` or `x86_64`.
        python: such as `3.11`.
        glibc: such as `2.36`; wheels that need a newer one are no use there.
        has_old_numpy: whether other packages there need numpy 1.
    """

    arch: str
    python: str
    glibc: str
    has_old_numpy: bool = False

    @property
    def platforms(self) -> tuple[str, ...]:
        """Every platform tag that runs there, newest first."""
        minor = int(self.glibc.split(".")[1])
        newer = [f"manylinux_2_{number}_{self.arch}" for number in range(minor, 16, -1)]
        return (*newer, f"manylinux2014_{self.arch}")


@dataclass(frozen=True, slots=True)
class Wheels:
    """A folder of wheels and `constraints.txt`.

    Attributes:
        name: of this very combination of program, machine and versions; the release of the program on a bin.
        folder: where they are.
    """

    name: str
    folder: Path


def checkout() -> Path:
    """The checkout that this runs from.

    Raises:
        ProvisionError: it runs from an installed wheel, which holds no source to build from.
    """
    root = Path(device.__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        raise ProvisionError(
            f"{root}: no checkout, expected pyproject.toml there; run trainer from a clone of wastebin"
        )
    return root


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/wastebin/wheels`, or `~/.cache/wastebin/wheels`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wastebin" / "wheels"


def fetch_wheels(root: Path, target: Target, cache: Path) -> Wheels:
    """Build and download what the target needs, or find it in the cache.

    Raises:
        ProvisionError: a wheel cannot be built, or does not exist for that machine.
    """
    name = release_name(root, target)
    folder = cache / name
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as beside:
            made = Path(beside) / "wheels"
            made.mkdir()
            text = constraints_for((root / CONSTRAINTS).read_text(encoding="utf-8"), target)
            (made / CONSTRAINTS).write_text(text, encoding="utf-8")
            _build(_sources(root), Path(beside) / "source", made)
            _download(made, target)
            made.rename(folder)
    return Wheels(name, folder)


def release_name(root: Path, target: Target) -> str:
    """Name what a checkout is for a target: the version, and a hash of everything that it is made from."""
    digest = hashlib.sha256(repr(target).encode())
    digest.update(constraints_for((root / CONSTRAINTS).read_text(encoding="utf-8"), target).encode())
    for name, data in _sources(root).items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return f"{device.__version__}-{digest.hexdigest()[:12]}"


def constraints_for(text: str, target: Target) -> str:
    """The versions of `constraints.txt`, with older ones in their place where a target needs them."""
    if not target.has_old_numpy:
        return text
    replaced = {line.split("==")[0]: line for line in OLD_NUMPY}
    return "\n".join(replaced.get(line.split("==")[0], line) for line in text.splitlines()) + "\n"


def pack_wheels(wheels: Wheels) -> bytes:
    """All of it as one uncompressed tar; wheels are compressed already."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(wheels.folder.iterdir()):
            archive.add(path, path.name)
    return packed.getvalue()


def _sources(root: Path) -> dict[str, bytes]:
    listed = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS], root)
    names = sorted(set(filter(None, listed.split("\0"))))
    return {name: (root / name).read_bytes() for name in names if (root / name).is_file()}


def _build(sources: dict[str, bytes], folder: Path, out: Path) -> None:
    for name, data in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    _run([*_pip(), "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out.resolve()), "."], folder)


def _download(folder: Path, target: Target) -> None:
    (wheel,) = folder.glob("wastebin-*.whl")
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    # fmt: off
    _run([
        *_pip(), "download", "--quiet", "--only-binary=:all:", "--python-version", target.python,
        "--implementation", "cp", *platforms, "--constraint", CONSTRAINTS, "--dest", ".", wheel.name,
    ], folder)
    # fmt: on


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if re.match(r"(?i)error|fatal", line)]
        words = " ".join(command[:6])
        raise ProvisionError(f"{words} ...: {(lines or [done.stderr.strip() or 'it said nothing'])[0]}")
    return done.stdout
