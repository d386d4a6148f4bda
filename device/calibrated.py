"""What a running bin goes by: its configuration with the calibration over it, taken over anew without a restart.

    configuration, calibration.json -> Calibrated -> whoever opens camera, outputs, gate and model
    lent to a calibration -> lend; given back -> take_back -> Changes

It says what has changed; carrying that out is `run`'s, in the loop's own thread, while the outputs are closed and
nothing is looked at. It must never change anything between those two.
"""

from dataclasses import dataclass, replace

from device.calibration import apply, load_calibration
from device.config_types import CameraConfig, Config

__all__ = ["Calibrated", "Changes"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to follow a new calibration; the outputs are opened anew anyway.

    Attributes:
        camera: it must be opened anew.
        view: the pictures are others than before, or another part of them shows the tray.
        model: it must be opened anew.
        note: why the newest file is not used, if so.
    """

    camera: bool
    view: bool
    model: bool
    note: str | None


class Calibrated:
    """The configuration of one bin as its calibration stands.

    Args:
        plain: without any calibration.

    Attributes:
        plain: see above.
        config: with it.
        note: why the newest file is not used, if so.
    """

    def __init__(self, plain: Config) -> None:
        self.plain = plain
        self._is_lent = False
        self._read()

    @property
    def camera(self) -> CameraConfig:
        """How the camera is to be opened now: one that is lent holds nothing, since it could not settle anew."""
        camera = self.config.camera
        return replace(camera, locks=camera.locks.colours) if self._is_lent else camera

    def lend(self) -> bool:
        """The camera goes to a calibration; whether it must be opened anew for that."""
        before = self.camera
        self._is_lent = True
        return self.camera != before

    def take_back(self) -> Changes:
        """The camera comes back; go by what is in the file now."""
        before, opened = self.config, self.camera
        self._is_lent = False
        self._read()
        return Changes(
            camera=self.camera != opened,
            view=self.config.camera != before.camera,
            model=self.config.model != before.model,
            note=self.note,
        )

    def _read(self) -> None:
        calibration, self.note = load_calibration(self.plain.events_path.parent)
        self.config = apply(self.plain, calibration)
