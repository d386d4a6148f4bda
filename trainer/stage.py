"""Stage: one step's folder, which knows whether its inputs have changed.

A run folder holds one folder a step (`data`, `distill`, `quantize`, `evaluate`). A step is skipped when the
fingerprint of what it depends on is the one it was finished with; its `stage.json` is written last, so a step that
was cut off is not done.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from trainer.errors import StageMissing, TrainerError

__all__ = ["Stage", "write_atomic"]


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: another name, flushed to the disk, then renamed.

    Raises:
        TrainerError: the disk is full, or the folder cannot be written to; what was there before is still whole.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TrainerError(
            f"{path}: cannot be written ({error.strerror}), expected room for {len(data):,} bytes; "
            "what was there before is kept: make room and run the same command again"
        ) from error


class Stage:
    """A step's folder inside a run.

    Attributes:
        path: the folder; made when the stage is.
        fingerprint: hash of the inputs it is asked for now.
    """

    def __init__(self, run: Path, name: str, inputs: Mapping[str, Any]) -> None:
        self.name = name
        self.path = run / name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainerError(
                f"{self.path}: no folder can be made there ({error.strerror}); give another with --run"
            ) from error
        text = json.dumps(inputs, sort_keys=True, default=_plain)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_done(self) -> bool:
        """True when this very stage was finished before."""
        return _read(self.path).get("fingerprint") == self.fingerprint

    @property
    def is_begun(self) -> bool:
        """True when this very stage was begun before, so that what it left can be gone on with."""
        marker = self.path / "begun"
        return marker.is_file() and marker.read_text(encoding="utf-8") == self.fingerprint

    def begin(self) -> None:
        """Say that the folder's content now belongs to this fingerprint."""
        (self.path / "stage.json").unlink(missing_ok=True)
        write_atomic(self.path / "begun", self.fingerprint.encode())

    def finish(self, result: Mapping[str, Any]) -> None:
        """Keep the step's figures and mark it done."""
        body = {"stage": self.name, "fingerprint": self.fingerprint, "result": dict(result)}
        write_atomic(self.path / "stage.json", json.dumps(body, indent=1, default=_plain).encode())

    @property
    def result(self) -> dict[str, Any]:
        """The figures that `finish` kept."""
        return dict(_read(self.path)["result"])

    @staticmethod
    def result_of(run: Path, name: str) -> tuple[str, dict[str, Any]]:
        """Fingerprint and figures of a finished step of this run.

        Raises:
            StageMissing: it was not run, or not to its end.
        """
        body = _read(run / name)
        if not body:
            raise StageMissing(f"{run / name}: this step has not been finished; run: trainer {name} --run {run}")
        return str(body["fingerprint"]), dict(body["result"])


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((path / "stage.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
