"""Export: what people have taught this bin, as one tar for the workstation that trains.

    <state>/looks/<label>/*.png, corrections -> write_export -> looks/<label>/<name>.png ..., provenance.jsonl
    <state>/unsure/*.png (where the bin is told to keep them) -> unsure/<name>.png ...

The last file says of each picture where it comes from, and holds the corrections whose picture was not kept: they count
how often the model was wrong. Pictures without a label are there only where the bin's own configuration has it keep
them (`unsure`). Nothing else leaves the bin: no path and no address. Files are read one at a time.
"""

import hashlib
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from device.errors import ItemsError
from device.event_reader import read_corrections, read_events
from device.looks import find_looks, looks_folder
from device.unsure import find_unsure, unsure_folder

__all__ = ["PROVENANCE", "write_export"]

PROVENANCE: Final = "provenance.jsonl"
_OF_EVENT: Final = re.compile(r"event-([1-9][0-9]*)\.png")
_TOLD: Final = ("at", "label", "prob", "probs", "accepted", "bin", "frames", "model_version")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the provenance.

    Attributes:
        name: of the picture in the tar; None for a correction without a picture.
        sha256: of its bytes, in hexadecimal.
        label: what a person says it shows; None where nobody has said.
        event: number of the decision that it belongs to.
        decision: what the bin said then.
    """

    name: str | None
    sha256: str | None
    label: str | None
    event: int | None
    decision: dict[str, Any] | None


def write_export(events_path: Path, stream: BinaryIO) -> None:
    """Write the tar, piece by piece.

    Args:
        events_path: the database; the pictures lie beside it. Neither has to be there.
        stream: need not be seekable.

    Raises:
        EventsError: the database cannot be read.
        ItemsError: a picture cannot be read.
    """
    corrections = (
        {entry.event_id: entry.label for entry in read_corrections(events_path)} if events_path.is_file() else {}
    )
    decisions = dict(_decisions(events_path)) if events_path.is_file() else {}
    lines = []
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for look in find_looks(looks_folder(events_path), sys.maxsize):
            data = _read(look.path)
            name = f"looks/{look.name}"
            _add(tar, name, data)
            found = _OF_EVENT.fullmatch(look.path.name)
            event = int(found[1]) if found else None
            lines.append(_Line(name, hashlib.sha256(data).hexdigest(), look.label, event, decisions.get(event)))
        with_picture = {line.event for line in lines}
        for event, label in corrections.items():
            if event not in with_picture:
                lines.append(_Line(None, None, label, event, decisions.get(event)))
        for event, path in find_unsure(unsure_folder(events_path)).items():
            data = _read(path)
            _add(tar, f"unsure/{path.name}", data)
            digest = hashlib.sha256(data).hexdigest()
            lines.append(_Line(f"unsure/{path.name}", digest, None, event, decisions.get(event)))
        _add(tar, PROVENANCE, "".join(f"{json.dumps(asdict(line))}\n" for line in lines).encode())


def _decisions(events_path: Path) -> Iterator[tuple[int | None, dict[str, Any]]]:
    for event in read_events(events_path, kind="decision"):
        yield event.id, {name: getattr(event, name) for name in _TOLD}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ItemsError(f"{path}: cannot be read ({exc.strerror}); check its permissions") from exc


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A plain file with nothing but name and size in its header."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))
