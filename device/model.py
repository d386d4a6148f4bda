"""The model that names items, and its successor that is opened beside it.

    bundle folder -> open_model -> Model -> Models.swap -> (between two items) Models.take_over

Sorting never waits for a model: it is loaded, and answers its golden pictures, in a thread of its own. One that fails
is a recorded fault and the present one goes on. It must never be changed in the middle of a vote: logits of two models
do not add.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from device.camera.frame import Rgb
from device.decide import Rule
from device.errors import WastebinError
from device.events import Event
from device.route import Costs

if TYPE_CHECKING:  # only the names are needed, and classify loads onnxruntime
    from device.bundle import Bundle
    from device.classify import Prediction
    from device.config_types import Config

__all__ = ["Classifies", "Model", "Models", "bundle_rule", "open_model", "served_path"]


class Classifies(Protocol):
    """What the engine needs of `classify.Classifier`."""

    def classify(self, rgb: Rgb) -> Prediction:
        """Name what a uint8 RGB picture [H, W, 3] shows."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier that passed its golden pictures, and what its bundle says about deciding.

    Attributes:
        version: `<seq>-<sha12>` of the bundle, written into each event.
        labels: materials, in the order of the model's outputs.
        costs: what its bundle proposes for a site that names none.
        golden: file of its golden pictures; None where there are none.
    """

    classifier: Classifies
    rule: Rule
    name: str
    version: str
    labels: tuple[str, ...]
    costs: Costs = field(default_factory=Costs)
    golden: Path | None = None


def served_path(config: Config, named: Path | None) -> Path:
    """The folder of the model that a bin uses: the one that is named, by option or in its configuration, else what the
    store of releases says, else the one that came along.
    """
    from device.releases import ReleaseStore

    store = ReleaseStore(config.models.store, config.models.signers)
    return named or config.model.path or store.path_of(store.read_state().serving)


def open_model(path: Path, rule_for: Callable[[Bundle], Rule], *, threads: int = 1) -> Model:
    """Load a bundle and have it answer its golden pictures.

    Args:
        path: the bundle's folder.
        rule_for: the rule of this bin, from what the bundle proposes.
        threads: of one inference.

    Raises:
        BundleError: it cannot be loaded, or computes something else than the trainer did.
        ConfigError: the rule contradicts itself.
    """
    from device.bundle import load_bundle
    from device.classify import open_classifier

    bundle = load_bundle(path)
    classifier = open_classifier(bundle, threads=threads)
    costs = Costs(bundle.costs.contamination, bundle.costs.missed)
    return Model(classifier, rule_for(bundle), bundle.name, bundle.version, bundle.labels, costs, bundle.golden)


def bundle_rule(bundle: Bundle) -> Rule:
    """The rule that a bundle proposes."""
    proposed, known = bundle.decision, bundle.manifest.out_of_distribution
    return Rule(
        accept_prob=proposed.accept_prob,
        frame_correlation=proposed.frame_correlation,
        min_frames=proposed.min_frames,
        max_frames=proposed.max_frames,
        temperature=bundle.temperature,
        lowest_familiarity=None if known is None else known.lowest,
    )


@dataclass(slots=True)
class _Opening:
    """A model that is being opened; read only after `is_done`."""

    model: Model | None = None
    error: WastebinError | None = None
    is_done: threading.Event = field(default_factory=threading.Event)


class Models:
    """The model in use, and perhaps its successor.

    Attributes:
        current: names the next item.
    """

    def __init__(self, first: Model) -> None:
        self.current = first
        self._opening: _Opening | None = None
        self._layer: Callable[[Model], Model] = _as_it_is
        self._next_layer: Callable[[Model], Model] | None = None

    def wear(self, layer: Callable[[Model], Model]) -> None:
        """Dress this model and every later one with a layer, from the next item on.

        Args:
            layer: gives the model to use for a model, at once; takes off what that one wore before.
        """
        self._next_layer = layer

    def swap(self, open_next: Callable[[], Model]) -> threading.Thread:
        """Open another model beside the current one; a second call replaces one that waits for its turn.

        Args:
            open_next: loads and checks it; runs in a thread of its own.

        Returns:
            The thread, already started, for callers that want to wait.
        """
        opening = _Opening()

        def open_beside() -> None:
            try:
                opening.model = open_next()
            except WastebinError as error:
                opening.error = error
            finally:
                opening.is_done.set()

        self._opening = opening
        thread = threading.Thread(target=open_beside, name="open-model", daemon=True)
        thread.start()
        return thread

    def put_back(self, model: Model) -> None:
        """Use a model that is open already, now; one that waits for its turn is forgotten."""
        self.current = self._layer(model)
        self._opening = None

    def take_over(self, now_s: float) -> Event | None:
        """Change over to a model that is ready; call between two items only.

        Returns:
            What to record: the change, or why it failed; None while nothing is ready.
        """
        if self._next_layer is not None:
            self._layer, self._next_layer = self._next_layer, None
            self.current = self._layer(self.current)
        opening = self._opening
        if opening is None or not opening.is_done.is_set():
            return None
        self._opening = None
        if opening.model is not None:
            self.current = self._layer(opening.model)
            return Event("model", f"now {opening.model.name}", model_version=opening.model.version, mono_s=now_s)
        detail = f"{opening.error or 'the model could not be opened'}; {self.current.version} goes on"
        return Event("fault", detail, model_version=self.current.version, mono_s=now_s)


def _as_it_is(model: Model) -> Model:
    return model
