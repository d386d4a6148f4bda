"""The configuration of one bin as values that cannot change.

    config.load_config -> Config -> whoever builds the bin

Holds no file, no default path and no check: those are `config`'s.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from device.camera.locks import AUTOMATIC, Locks
from device.config_dashboard import DashboardConfig
from device.config_sensors import SensorsConfig
from device.decide import Rule
from device.gate import GateRule
from device.outputs import OutputsConfig
from device.route import Costs, Site

__all__ = ["SPOT_CHECK_RATE", "CameraConfig", "Config", "DecideConfig", "ModelConfig", "ModelsConfig"]

SPOT_CHECK_RATE: Final = 0.1
"""One decision of ten: at fifty items a day about 150 questions a month, of which people answer a part."""


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """Where pictures come from.

    Attributes:
        source: a spec for `open_camera`; paths in it are absolute.
        size_px: width and height.
        rate_hz: pictures a second.
        region: x, y, width, height in px of the picture, the part that shows the tray; None is all of it.
        locks: what calibration found; no key of the file.
    """

    source: str = "picamera2"
    size_px: tuple[int, int] = (640, 480)
    rate_hz: float = 15.0
    region: tuple[int, int, int, int] | None = None
    locks: Locks = AUTOMATIC


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which model names the items.

    Attributes:
        path: folder of a bundle; None is the one that came with wastebin.
        threads: of one inference.
    """

    path: Path | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """Where models that were shipped to this bin are kept, and whose are taken.

    Attributes:
        store: the folder, see `device.releases`.
        signers: the keys that may sign them, see `device.signature`.
    """

    store: Path = Path("/var/lib/wastebin/models")
    signers: Path = Path("/etc/wastebin/allowed_signers")


@dataclass(frozen=True, slots=True)
class DecideConfig:
    """What this bin decides otherwise than its bundle proposes; None leaves it as proposed.

    Attributes:
        accept_prob: lowest pooled probability of one bin that counts as sure, 0..1; costs may ask for more.
        min_frames, max_frames: frames looked at before a decision, at least and at most.
    """

    accept_prob: float | None = None
    min_frames: int | None = None
    max_frames: int | None = None

    def over(self, proposed: Rule) -> Rule:
        """The proposed rule with what is set here.

        Raises:
            ConfigError: together they contradict each other.
        """
        given = {name: getattr(self, name) for name in ("accept_prob", "min_frames", "max_frames")}
        return replace(proposed, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Config:
    """A whole bin.

    Attributes:
        file: where it was read from; None for the built-in one.
        site: bins, and costs where the file names them, else those of `route.Costs`.
        contamination, missed: the costs that the file names, None where it names none; see `site_for`.
        events_path: the database.
        keep_unsure: how many pictures of items that it could not name the bin keeps; 0 for none.
        dashboard: where it is served; None for nowhere.
        sensors: what it feels with; None without any.
        spot_check_rate: share of all decisions that people are asked about, 0..1.
    """

    file: Path | None
    camera: CameraConfig
    gate: GateRule
    model: ModelConfig
    decide: DecideConfig
    site: Site
    contamination: float | None
    missed: float | None
    outputs: OutputsConfig
    events_path: Path
    models: ModelsConfig
    keep_unsure: int = 0
    dashboard: DashboardConfig | None = None
    sensors: SensorsConfig | None = None
    spot_check_rate: float = SPOT_CHECK_RATE

    def site_for(self, *, contamination: float, missed: float) -> Site:
        """The site with the costs that a bundle proposes, where the file names none."""
        costs = Costs(
            contamination if self.contamination is None else self.contamination,
            missed if self.missed is None else self.missed,
        )
        return replace(self.site, costs=costs)
