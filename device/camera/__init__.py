"""Open a camera by the words of the command line or the configuration.

spec -> open_camera -> Camera -> read() -> Frame

    picamera2                the Raspberry Pi's own camera                        live
    usb:N                    /dev/videoN                                          live
    sim[:seed=N,items=PATH]  a drawn bin into which things fall; no hardware      live; see `device.simulator.spec`
    dir:PATH                 a folder or zip of pictures, one frame each
    video:PATH               a video file
    replay:DIR               what `run --record DIR` recorded, to the last bit

One word names one camera. None is ever chosen silently, and none stands in for another that does not open.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

from device.camera.frame import Camera, Frame, Rgb
from device.camera.locks import AUTOMATIC, Locks
from device.camera.stall import STALL_S, Source, WatchedCamera
from device.errors import UsageError

__all__ = ["CAMERAS", "STALL_S", "Camera", "Frame", "Locks", "Rgb", "open_camera"]

CAMERAS = ("picamera2", "usb:N", "dir:PATH", "video:PATH", "replay:DIR", "sim[:seed=N,items=PATH]")
"""The forms of a spec, for help and messages."""


def open_camera(
    spec: str,
    *,
    size_px: tuple[int, int] = (640, 480),
    rate_hz: float = 15.0,
    stall_s: float = STALL_S,
    clock: Callable[[], float] = time.monotonic,
    locks: Locks = AUTOMATIC,
) -> Camera:
    """Open the camera that a spec names.

    Args:
        spec: one of `CAMERAS`; in a path, `~` is the home folder.
        size_px: width and height of the frames. A recording keeps its own.
        rate_hz: frames a second; a video keeps its own.
        stall_s: how long a live camera may give no new picture before `read` raises `CameraStalled`.
        clock: monotonic seconds.
        locks: what the camera is held at, as far as it can, and how its colours are put right.

    Raises:
        UsageError: the spec names no camera.
        CameraNotFound: no such camera or file, or another program holds it.
        CameraError: it cannot give such frames.
        PictureError, ItemsError: a folder or archive holds no pictures.
    """
    camera = _open(spec, size_px, rate_hz, stall_s=stall_s, clock=clock, locks=locks)
    if not locks.corrects:
        return camera
    from device.camera.corrected import CorrectedCamera

    return CorrectedCamera(camera, locks)


def _open(
    spec: str,
    size_px: tuple[int, int],
    rate_hz: float,
    *,
    stall_s: float,
    clock: Callable[[], float],
    locks: Locks,
) -> Camera:
    kind, colon, rest = spec.partition(":")

    def watched(source: Source, *, is_live: bool, keeps_size: bool = False) -> Camera:
        size = None if keeps_size else size_px
        return WatchedCamera(source, name=spec, is_live=is_live, size_px=size, stall_s=stall_s, clock=clock)

    # Each backend is imported when it is asked for: whoever only needs a `Frame` loads no OpenCV, and no import runs in
    # a circle (device.pictures, which some of them use, names frames too).
    match kind:
        case "picamera2" if not colon:
            from device.camera.pi import PiSource

            return watched(PiSource(size_px=size_px, rate_hz=rate_hz, stall_s=stall_s, locks=locks), is_live=True)
        case "usb" if re.fullmatch(r"[0-9]{1,3}", rest, re.ASCII):
            from device.camera.usb import UsbSource

            usb = UsbSource(int(rest), size_px=size_px, rate_hz=rate_hz, stall_s=stall_s, clock=clock, locks=locks)
            return watched(usb, is_live=True)
        case "dir" if rest:
            from device.camera.files import PicturesSource

            return watched(PicturesSource(_path(rest), size_px=size_px, rate_hz=rate_hz), is_live=False)
        case "video" if rest:
            from device.camera.files import VideoSource

            return watched(VideoSource(_path(rest), size_px=size_px, rate_hz=rate_hz), is_live=False)
        case "replay" if rest:
            from device.camera.replay import ReplaySource

            return watched(ReplaySource(_path(rest)), is_live=False, keeps_size=True)
        case "sim" if rest or not colon:
            from device.simulator.camera import open_simulator
            from device.simulator.spec import read_sim_spec

            told = read_sim_spec(spec)
            return open_simulator(
                told.items,
                seed=told.seed,
                size_px=size_px,
                rate_hz=rate_hz,
                clock=clock,
                faults=told.faults,
                habits=told.habits,
            )
    raise UsageError(f"camera {spec!r}: no such camera; expected one of {', '.join(CAMERAS)}")


def _path(text: str) -> Path:
    return Path(text).expanduser()  # a shell expands `~` only at the start of a word, not after `dir:`
