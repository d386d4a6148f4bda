"""What the dashboard's pages may ask of the bin, in one place.

    wire -> Desk -> items, figures, model, health, photo

Each part is asked for what is needed and no more, so that a page can be tried without a bin. Everything here may be
called from any thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device.camera.frame import Rgb
from device.config_types import Config
from device.events import Event
from device.learner import LearntView
from device.model import Model
from device.releases import ReleaseStore
from device.route import Site, home_bin
from device.web.calibrating import Borrowable
from device.web.scene import Scene

__all__ = ["Desk", "HasModel", "Learns", "Logs", "Remembers"]


class HasModel(Protocol):
    """What is needed of `engine.Engine`."""

    @property
    def model(self) -> Model:
        """The model that names the next item."""
        ...


class Remembers(Protocol):
    """What is needed of `keep.Keeper`."""

    def crop(self, event: int) -> Rgb | None:
        """The picture of a decision, if it is still in memory."""
        ...


class Logs(Protocol):
    """What is needed of `events.EventLog`."""

    def add(self, event: Event) -> int:
        """Take an event."""
        ...

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Write what waits."""
        ...


class Learns(Protocol):
    """What is needed of `learner.Learner`."""

    def view(self) -> LearntView:
        """What is in use now."""
        ...

    def learn(self) -> LearntView:
        """Learn from the looks now."""
        ...

    def revoke(self) -> LearntView:
        """Let the bundle answer alone again."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """The bin as its dashboard sees it.

    Attributes:
        store: of shipped models; None where a person has named one model.
        model_path: folder of the bundle that runs now.
        camera, pins: as they were asked for.
        wall: wall-clock seconds.
        restart: ends the bin, and whoever watches over it starts it again; None where nobody would.
    """

    config: Config
    site: Site
    scene: Scene
    engine: HasModel
    keeper: Remembers
    log: Logs
    learner: Learns
    lender: Borrowable
    store: ReleaseStore | None
    model_path: Callable[[], Path]
    camera: str
    pins: str
    wall: Callable[[], float]
    restart: Callable[[], None] | None = None

    @property
    def labels(self) -> Sequence[str]:
        """What an item may be called: the model's materials, and those that only this site knows."""
        known = self.engine.model.labels
        return (*known, *sorted({each for bin_ in self.site.bins for each in bin_.takes}.difference(known)))

    def bin_of(self, label: str) -> str:
        """Where a material belongs here."""
        return home_bin(label, self.site).name
