"""The Raspberry Pi's own camera, through picamera2.

sensor -> libcamera -> picamera2 request -> PiSource -> Frame

Colour order: picamera2's format `BGR888` is R, G, B in memory, and its `RGB888` is B, G, R (picamera2#191, #848). We
ask for `BGR888` and hand the array on as it is.

Time: `SensorTimestamp` is when the first row was exposed, in nanoseconds since boot. A Pi never suspends, so that clock
and `time.monotonic()` are one; picamera2 itself compares the two (`capture_request(flush=...)`).

Exposure and white balance run by themselves from the start, and the lens of a camera that has one focuses by itself,
which picamera2 leaves off; what calibration has locked is held from the first frame on. picamera2 is imported when a
camera is opened, never before: it exists on a Pi only.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import numpy as np

from device.camera.frame import Frame, Rgb
from device.camera.locks import AUTOMATIC, Locks
from device.camera.stall import STALL_S
from device.errors import CameraError, CameraNotFound, CameraStalled

__all__ = ["NAME", "PiSource"]

NAME = "picamera2"
_FORMAT = "BGR888"  # R, G, B in memory: picamera2#848
# Two to fill in turn and one to read; more run a 512 MB board out of contiguous memory (picamera2#972, #1102).
_BUFFERS = 3
_CONTINUOUS_FOCUS = 2  # libcamera's AfModeContinuous
_MANUAL_FOCUS = 0  # libcamera's AfModeManual
_CLOSE_S = 5.0


class _Request(Protocol):
    """A picture on loan from picamera2."""

    def make_array(self, name: str) -> Rgb: ...
    def get_metadata(self) -> Mapping[str, Any]: ...


class _Picamera2(Protocol):
    """What is used of `picamera2.Picamera2`."""

    @property
    def camera_controls(self) -> Mapping[str, Any]: ...

    def create_video_configuration(
        self, *, main: Mapping[str, Any], buffer_count: int, controls: Mapping[str, Any]
    ) -> Mapping[str, Any]: ...
    def configure(self, configuration: Mapping[str, Any]) -> object: ...
    def camera_configuration(self) -> Mapping[str, Any]: ...
    def start(self) -> None: ...
    def captured_request(self, wait: float) -> AbstractContextManager[_Request]: ...
    def close(self) -> None: ...


class PiSource:
    """Frames of a camera on the ribbon cable.

    Args:
        size_px: width and height to ask for.
        rate_hz: frames a second to ask for.
        stall_s: how long to wait for a picture, seconds.
        open_picamera2: opens the device; picamera2's own class unless a test passes a fake.
        close_s: how long the device may take to close, seconds.
        locks: what it is held at.

    Raises:
        CameraNotFound: picamera2 cannot be imported, there is no camera, or another program holds it.
        CameraError: the camera cannot give this format or size.
    """

    def __init__(
        self,
        *,
        size_px: tuple[int, int],
        rate_hz: float,
        stall_s: float = STALL_S,
        open_picamera2: Callable[[], _Picamera2] | None = None,
        close_s: float = _CLOSE_S,
        locks: Locks = AUTOMATIC,
    ) -> None:
        self._stall_s = stall_s
        self._close_s = close_s
        self._number = 0
        self._said: Mapping[str, Any] = {}
        open_device = open_picamera2 or _import_picamera2()
        try:
            self._device = open_device()
        except (RuntimeError, IndexError, OSError) as exc:  # picamera2 raises IndexError where no camera is found
            raise _not_opened(exc) from exc
        try:
            self._start(size_px, rate_hz, locks)
        except BaseException:
            self.release()
            raise

    def _start(self, size_px: tuple[int, int], rate_hz: float, locks: Locks) -> None:
        frame_us = round(1e6 / rate_hz)
        controls: dict[str, Any] = {"FrameDurationLimits": (frame_us, frame_us)}
        if "AfMode" in self._device.camera_controls:
            controls["AfMode"] = _CONTINUOUS_FOCUS
        controls |= self._held(locks)
        try:
            self._device.configure(
                self._device.create_video_configuration(
                    main={"format": _FORMAT, "size": size_px}, buffer_count=_BUFFERS, controls=controls
                )
            )
            given = self._device.camera_configuration()["main"]
            if given["format"] != _FORMAT or tuple(given["size"]) != size_px:
                # libcamera adjusts what it cannot do, without a word.
                width_px, height_px = given["size"]
                raise CameraError(
                    f"{NAME}: the camera offers {given['format']} at {width_px}x{height_px}; asked for {_FORMAT} at "
                    f"{size_px[0]}x{size_px[1]}, set camera.size_px to a size that it has"
                )
            self._device.start()
        except (RuntimeError, OSError, ValueError) as exc:
            if isinstance(exc, CameraError):
                raise
            raise CameraError(f"{NAME}: the camera does not start ({exc}); restart the service, else the Pi") from exc

    def _held(self, locks: Locks) -> dict[str, Any]:
        """The controls that hold what is locked, of those that this camera has."""
        held: dict[str, Any] = {}
        if locks.exposure_us is not None and locks.gain is not None:
            held |= {"AeEnable": False, "ExposureTime": locks.exposure_us, "AnalogueGain": locks.gain}
        if locks.colour_gains is not None:
            held |= {"AwbEnable": False, "ColourGains": locks.colour_gains}
        if locks.lens is not None:
            held |= {"AfMode": _MANUAL_FOCUS, "LensPosition": locks.lens}
        has = self._device.camera_controls
        return {name: value for name, value in held.items() if name in has}

    def settled(self) -> Locks:
        """What the camera has settled on by itself, as of the newest frame."""
        said = self._said
        gains = said.get("ColourGains")
        return Locks(
            exposure_us=int(said["ExposureTime"]) if "ExposureTime" in said else None,
            gain=float(said["AnalogueGain"]) if "AnalogueGain" in said else None,
            colour_gains=(float(gains[0]), float(gains[1])) if gains else None,
            lens=float(said["LensPosition"]) if "LensPosition" in said else None,
        )

    def grab(self) -> Frame:
        """Wait for the sensor's next picture, at most `stall_s`."""
        try:
            with self._device.captured_request(wait=self._stall_s) as request:
                self._said = request.get_metadata()
                taken_ns = self._said.get("SensorTimestamp")
                rgb = request.make_array("main")  # a copy: the request's own memory goes back to the sensor
        except TimeoutError as exc:
            raise CameraStalled(
                f"{NAME}: no frame within {self._stall_s:g} s; opening it again may help, else check the ribbon cable"
            ) from exc
        except (RuntimeError, OSError) as exc:
            raise CameraError(f"{NAME}: the camera went away ({exc}); check the ribbon cable") from exc
        if taken_ns is None:
            raise CameraError(f"{NAME}: a frame without SensorTimestamp; update libcamera: sudo apt full-upgrade")
        frame = Frame(np.ascontiguousarray(rgb), taken_ns / 1e9, self._number)
        self._number += 1
        return frame

    def release(self) -> None:
        """Close the device.

        Raises:
            CameraError: it did not close in time. picamera2's `close` may never return (picamera2#1264, #1065), so it
                runs in a thread that is then left behind; only ending the process frees the camera.
        """
        failed: list[Exception] = []

        def close() -> None:
            try:
                self._device.close()
            except (RuntimeError, OSError) as exc:
                failed.append(exc)

        closing = threading.Thread(target=close, name="picamera2-close", daemon=True)
        closing.start()
        closing.join(self._close_s)
        if closing.is_alive():
            raise CameraError(f"{NAME}: did not close within {self._close_s:g} s; restart the service")
        if failed:
            raise CameraError(f"{NAME}: did not close ({failed[0]}); restart the service") from failed[0]


def _import_picamera2() -> Callable[[], _Picamera2]:
    try:
        from picamera2 import Picamera2
    except (ImportError, ValueError) as exc:  # ValueError: built against another numpy (picamera2#1211)
        raise CameraNotFound(
            f"{NAME}: cannot be imported ({exc}); run: sudo apt install python3-picamera2, and make the environment "
            "with: python3 -m venv --system-site-packages"
        ) from exc
    return cast("Callable[[], _Picamera2]", Picamera2)


def _not_opened(exc: Exception) -> CameraNotFound:
    """Name the cause, which picamera2 keeps in the context of an error that says only that it failed."""
    root: BaseException = exc
    while root.__context__ is not None:
        root = root.__context__
    said = str(root).strip() or type(root).__name__
    if "busy" in said.lower() or "acquire" in said.lower():
        return CameraNotFound(
            f"{NAME}: another program holds the camera ({said}); find it with: sudo fuser -v /dev/media* /dev/video*"
        )
    return CameraNotFound(f"{NAME}: no camera opens ({said}); check the ribbon cable and: rpicam-hello --list-cameras")
