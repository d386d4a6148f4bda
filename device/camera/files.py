"""Cameras that play what lies on disk: a folder or zip of pictures, or a video.

folder, zip -> device.pictures -> fitted to size_px -> PicturesSource -> Frame
video file  -> OpenCV (BGR)    -> fitted to size_px -> VideoSource    -> Frame

Every picture becomes one frame, in the order of its name. Frames have one size whatever the files have: each is scaled
to fit into it, centred, and its edge pixels are drawn out to the border, so that nothing is cut off or distorted.

Their time is the film's own, from 0 s: picture n is taken at n / rate_hz, frame n of a video at n / its own rate.
Nothing waits for a clock; whoever reads sets the pace. A picture that cannot be read stops the camera with its name,
since a film with silent holes proves nothing.
"""

import math
import os
from pathlib import Path

import cv2
import numpy as np

from device.camera.frame import Frame, Rgb
from device.errors import CameraError, CameraNotFound
from device.pictures import decode_picture, find_pictures

__all__ = ["PicturesSource", "VideoSource", "fit"]

# FFmpeg writes lines of its own to stderr about files that we report in one sentence; read when OpenCV first uses it.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def fit(rgb: Rgb, size_px: tuple[int, int]) -> Rgb:
    """Scale a picture into a frame of another size, centred, its edges drawn out to the border.

    Args:
        rgb: uint8 [H, W, 3]; not kept, unless it has the size already, then it is given back.
        size_px: width and height of the frame.

    Returns:
        uint8 [size_px[1], size_px[0], 3], contiguous.
    """
    height_px, width_px = rgb.shape[:2]
    frame_width_px, frame_height_px = size_px
    if (width_px, height_px) == size_px:
        return rgb
    scale = min(frame_width_px / width_px, frame_height_px / height_px)
    new_width_px = max(1, round(width_px * scale))
    new_height_px = max(1, round(height_px * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(rgb, (new_width_px, new_height_px), interpolation=how)
    left = (frame_width_px - new_width_px) // 2
    top = (frame_height_px - new_height_px) // 2
    right = frame_width_px - new_width_px - left
    bottom = frame_height_px - new_height_px - top
    return np.asarray(cv2.copyMakeBorder(scaled, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)


class PicturesSource:
    """The pictures of a folder, all below it, or of a zip archive, each one frame.

    Args:
        path: what `find_pictures` takes.
        size_px: width and height of the frames.
        rate_hz: frames a second of the film's own time.

    Raises:
        PictureError: nothing is at the path.
        ItemsError: no pictures there, or the archive is no use.
    """

    def __init__(self, path: Path, *, size_px: tuple[int, int], rate_hz: float) -> None:
        self._refs = list(find_pictures(path))
        self._size_px = size_px
        self._rate_hz = rate_hz
        self._number = 0

    def grab(self) -> Frame | None:
        """Read the next picture; PictureError names the one that cannot be read."""
        if self._number == len(self._refs):
            return None
        ref = self._refs[self._number]
        rgb = fit(decode_picture(ref.read(), ref.name), self._size_px)
        frame = Frame(rgb, self._number / self._rate_hz, self._number)
        self._number += 1
        return frame

    def release(self) -> None:
        """Let go of the archive."""
        self._refs.clear()


class VideoSource:
    """The frames of a video file.

    Args:
        path: any file that OpenCV's FFmpeg reads.
        size_px: width and height of the frames.
        rate_hz: used where the file does not say its own rate.

    Raises:
        CameraNotFound: no such file, or no video that can be read.
    """

    def __init__(self, path: Path, *, size_px: tuple[int, int], rate_hz: float) -> None:
        self._name = f"video:{path}"
        self._size_px = size_px
        self._number = 0
        if not path.is_file():
            raise CameraNotFound(f"{self._name}: no such file; check the path")
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise CameraNotFound(f"{self._name}: no video that OpenCV reads; convert it: ffmpeg -i IN out.mp4")
        said_hz = self._capture.get(cv2.CAP_PROP_FPS)
        self._rate_hz = said_hz if math.isfinite(said_hz) and 0 < said_hz <= 1000 else rate_hz

    def grab(self) -> Frame | None:
        """Decode the next frame; None at the end of the file."""
        is_read, bgr = self._capture.read()
        if not is_read:
            if self._number == 0:
                raise CameraError(f"{self._name}: not one frame of it can be decoded; convert it: ffmpeg -i IN out.mp4")
            return None
        rgb = fit(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), self._size_px)
        frame = Frame(rgb, self._number / self._rate_hz, self._number)
        self._number += 1
        return frame

    def release(self) -> None:
        """Close the file."""
        self._capture.release()
