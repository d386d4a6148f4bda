"""Pack: a measured run -> the bundle that a bin can trust.

    quantize/ + evaluate/ -> golden pictures (our own drawings) with the shipped file's answers -> bundle folder

Golden pictures prove transport: bytes, colours, labels, kernels. They prove nothing about accuracy, and are not
counted in it.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.classify import Classifier, open_classifier
from device.simulator.drawings import draw_item
from device.simulator.scene import interior, paste
from trainer.answers import open_answers
from trainer.data import open_dataset
from trainer.errors import StageMissing
from trainer.evaluate import evaluate, leading_source
from trainer.familiar import familiar_of
from trainer.home import home_of
from trainer.manifest import Draft, write_draft
from trainer.recipe import Recipe
from trainer.report import run_card
from trainer.stage import Stage

__all__ = ["golden_pictures", "pack"]

_GOLDEN_PX = 176


def pack(run: Path, recipe: Recipe, out: Path, *, has_float: bool = True) -> Bundle:
    """Write the bundle of a run and replay its golden pictures.

    Args:
        has_float: the float file comes along; a bin needs it only to be measured beside it (`wastebin bench`).

    Raises:
        StageMissing: a step before has not been finished.
        BundleMismatch: `out` is not empty, or the bundle does not answer as promised.
    """
    Stage.result_of(run, "evaluate")
    evaluation = evaluate(run, recipe)  # unchanged inputs give its figures back; changed ones are measured again
    golden = golden_pictures(recipe.data.labels)
    with tempfile.TemporaryDirectory() as folder:
        classifier = Classifier(write_draft(Path(folder) / "draft", run, recipe, Draft()))
        logits = np.stack([classifier.classify(picture).logits for picture in golden])
    leading = leading_source(open_dataset(run), recipe.data.labels)
    draft = Draft(
        temperature=evaluation.temperature,
        int8=evaluation.int8,
        float32=evaluation.float32,
        out_of_distribution=familiar_of(run),
        golden_rgb=golden,
        golden_logits=logits,
        home=home_of(open_answers(run), leading),
        card=run_card(run, recipe),
    )
    bundle = write_draft(out, run, recipe, draft, has_float=has_float)
    open_classifier(bundle)
    return bundle


def golden_pictures(labels: tuple[str, ...]) -> NDArray[np.uint8]:
    """One drawing of each label in a bin, uint8 RGB [K, 176, 176, 3]; always the same.

    Raises:
        StageMissing: a label that the project cannot draw.
    """
    pictures = []
    for number, label in enumerate(labels):
        rng = np.random.default_rng([number, 0x601D])
        background = interior(rng, (_GOLDEN_PX, _GOLDEN_PX))
        middle = (_GOLDEN_PX / 2, _GOLDEN_PX / 2)
        try:
            item = draw_item(label, 7000 + number)
        except ValueError as error:
            raise StageMissing(f"label {label!r}: no drawing to make a golden picture of; {error}") from error
        pictures.append(paste(background, item, middle, _GOLDEN_PX * 0.8, 20.0 * number, rng=rng))
    return np.stack(pictures)
