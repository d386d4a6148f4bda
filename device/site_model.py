"""A model with what this site has taught: the bundle's network, and a layer of the bin's own on its features.

    Rgb -> the bundle's classifier -> features, log-odds -> Learnt.answer -> Prediction of the site's labels

Nothing else of the bin knows that there is a layer: it sees a classifier, and a model with perhaps more labels than the
bundle has. What is like a look of this site is no stranger here, whatever the bundle was trained on.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from device.classify import Prediction, softmax
from device.learn import Learnt

if TYPE_CHECKING:
    from device.camera.frame import Rgb
    from device.model import Model

__all__ = ["SiteClassifier", "bare_model", "dress"]

KNOWN_FROM: Final = 0.5
"""How far an answer must come from the looks for its picture to be no stranger."""


class SiteClassifier:
    """Answers like the bundle's classifier, moved by what this site's looks have taught.

    Args:
        bare: the bundle's model.
        learnt: made with that bundle.
    """

    def __init__(self, bare: Model, learnt: Learnt) -> None:
        self.bare = bare
        self.learnt = learnt

    def classify(self, rgb: Rgb) -> Prediction:
        """Name what a uint8 RGB picture [H, W, 3] shows; logits are scaled so that the bundle's temperature fits."""
        own = self.bare.classifier.classify(rgb)
        start_s = time.perf_counter()
        temperature = self.bare.rule.temperature
        log_odds, weight = self.learnt.answer(own.features, own.logits / np.float32(temperature))
        logits = np.asarray(log_odds * np.float32(temperature), np.float32)
        familiarity, lowest = own.familiarity, self.bare.rule.lowest_familiarity
        if familiarity is not None and lowest is not None and weight >= KNOWN_FROM:
            familiarity = max(familiarity, lowest)
        ms = own.ms + (time.perf_counter() - start_s) * 1e3
        return Prediction(logits, softmax(log_odds), own.features, self.learnt.labels, ms, familiarity)


def bare_model(model: Model) -> Model:
    """The bundle's own model, without a site's layer."""
    return model.classifier.bare if isinstance(model.classifier, SiteClassifier) else model


def dress(model: Model, learnt: Learnt | None) -> Model:
    """A model with what was learnt, in place of what it wore before; None takes that off."""
    bare = bare_model(model)
    if learnt is None:
        return bare
    return replace(bare, classifier=SiteClassifier(bare, learnt), labels=learnt.labels)
