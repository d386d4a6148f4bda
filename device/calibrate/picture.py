"""Write a picture that somebody prints.

uint8 RGB -> PNG file
"""

from pathlib import Path

import cv2

from device.camera.frame import Rgb
from device.errors import CalibrationError

__all__ = ["write_png"]


def write_png(path: Path, rgb: Rgb) -> None:
    """Write a PNG file; one that exists is replaced.

    Raises:
        CalibrationError: it cannot be written.
    """
    data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error.strerror}); name another place") from error
