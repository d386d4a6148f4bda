"""Record what a camera saw, and play it again to the last bit.

Frame -> Recorder.write -> DIR/index.jsonl + DIR/000000.png ... -> ReplaySource -> the same Frame

The index's first line names the format; each further one names a frame's file, its time and its number. A picture is
written before its line, and lines are only ever added, so a power cut costs the last frames and nothing else: a torn
last line, and last pictures that never reached the card, are left out.

A recording never grows past its limit, and never stops a bin: where it cannot go on it says why and takes no more.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

import cv2

from device.camera.frame import Frame
from device.errors import CameraError, CameraNotFound, PictureError, UsageError
from device.picture_header import read_header
from device.pictures import read_picture

__all__ = ["MAX_RECORDING_BYTES", "Recorder", "ReplaySource"]

MAX_RECORDING_BYTES = 2**30
_INDEX: Final = "index.jsonl"
_FORMAT: Final = {"wastebin_recording": 1}


class Recorder:
    """Writes a recording into a folder of its own.

    Args:
        folder: made if missing; must hold no recording yet.
        max_bytes: how large the pictures may become together.

    Attributes:
        problem: None while it records; else one sentence, why it stopped.

    Raises:
        UsageError: the folder cannot be made or written, or holds a recording already.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_RECORDING_BYTES) -> None:
        self.problem: str | None = None
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0
        self._last: tuple[float, int] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._index = (folder / _INDEX).open("x", encoding="utf-8")
            self._add(_FORMAT)
        except FileExistsError as exc:
            raise UsageError(
                f"{folder}: holds a recording or a file of that name already; name another folder"
            ) from exc
        except OSError as exc:
            raise UsageError(f"{folder}: cannot be written ({exc.strerror}); name another folder") from exc

    def write(self, frame: Frame) -> bool:
        """Add a frame.

        A camera that was opened again counts from the start; its frames are then numbered on, one after another.

        Returns:
            Whether it was recorded; if not, `problem` says why, and nothing more will be.
        """
        if self.problem is not None:
            return False
        number = frame.number
        if self._last is not None:
            last_s, last_number = self._last
            number = max(number, last_number + 1)
            if frame.captured_s <= last_s:
                return self._stop(f"the camera's time went back from {last_s:.3f} s to {frame.captured_s:.3f} s")
        bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
        _, png = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if self._bytes + png.nbytes > self._max_bytes:
            return self._stop(f"it has reached its limit of {self._max_bytes // 2**20} MiB")
        file = f"{self._count:06d}.png"
        try:
            (self._folder / file).write_bytes(png.tobytes())
            self._add({"file": file, "captured_s": float(frame.captured_s), "number": int(number)})
        except OSError as exc:
            return self._stop(f"it cannot be written ({exc.strerror})")
        self._bytes += png.nbytes
        self._count += 1
        self._last = (frame.captured_s, number)
        return True

    def close(self) -> None:
        """Finish the recording; safe to call twice."""
        self._index.close()

    def _add(self, line: dict[str, Any]) -> None:
        self._index.write(json.dumps(line) + "\n")
        self._index.flush()

    def _stop(self, why: str) -> bool:
        self.problem = f"{self._folder}: the recording ends after {self._count} frames: {why}; the bin goes on"
        return False


class ReplaySource:
    """The frames of a recording, with the times and numbers that they had.

    Raises:
        CameraNotFound: no recording there.
        CameraError: the index is damaged, and not only at its end, or there is no frame.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = _read_index(folder)
        self._next = 0

    def grab(self) -> Frame | None:
        """Read the next frame."""
        if self._next == len(self._lines):
            return None
        file, captured_s, number = self._lines[self._next]
        try:
            rgb = read_picture(self._folder / file)
        except PictureError as exc:
            raise CameraError(f"replay:{self._folder}: {exc}") from exc
        self._next += 1
        return Frame(rgb, captured_s, number)

    def release(self) -> None:
        """Nothing is held open between frames."""


def _read_index(folder: Path) -> list[tuple[str, float, int]]:
    where = f"replay:{folder}"
    try:
        text = (folder / _INDEX).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as exc:
        raise CameraNotFound(
            f"{where}: no recording there ({_INDEX} is missing); record one: run --record DIR"
        ) from exc
    except OSError as exc:
        raise CameraNotFound(f"{where}: cannot be read ({exc.strerror}); check the path") from exc
    # The last piece is empty, or a line that a power cut tore.
    head, *lines = text.split("\n")[:-1] or [""]
    if head != json.dumps(_FORMAT):
        raise CameraError(
            f"{where}: {_INDEX} starts with {head[:40]!r}; expected {json.dumps(_FORMAT)}, record it again"
        )
    entries = [_read_line(line, f"{where}: line {index} of {_INDEX}") for index, line in enumerate(lines, start=2)]
    while entries and not _is_whole(folder / entries[-1][0]):
        entries.pop()
    if not entries:
        raise CameraError(f"{where}: not one whole frame in it; record it again")
    return entries


def _read_line(line: str, where: str) -> tuple[str, float, int]:
    try:
        match json.loads(line):
            case {"file": str(file), "captured_s": float(captured_s), "number": int(number), **more} if not more:
                if Path(file).name == file and math.isfinite(captured_s):
                    return file, captured_s, number
    except json.JSONDecodeError as exc:
        raise CameraError(f"{where} is damaged ({exc}); record it again") from exc
    raise CameraError(f"{where} is {line[:80]!r}; expected file, captured_s and number, record it again")


def _is_whole(path: Path) -> bool:
    try:
        read_header(path.read_bytes(), str(path))
    except (OSError, PictureError):
        return False
    return True
