"""The pages themselves: a few files that came with the program, read once.

    package data -> read_static -> path -> StaticFile

Nothing of a request ever becomes a path on the disk.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

__all__ = ["StaticFile", "read_static"]

_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, its media type and a tag that changes with it."""

    data: bytes
    kind: str
    tag: str


def read_static() -> dict[str, StaticFile]:
    """All of them by path; `/` is the page."""
    files = {}
    for entry in resources.files("device.web").joinpath("static").iterdir():
        kind = _KINDS.get(entry.name.rpartition(".")[2])
        if kind is not None:
            data = entry.read_bytes()
            files[f"/static/{entry.name}"] = StaticFile(data, kind, f'"{hashlib.sha256(data).hexdigest()[:16]}"')
    files["/"] = files.pop("/static/index.html")
    return files
