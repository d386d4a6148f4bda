"""Pack: a measured run -> the bundle that a bin can trust.

    quantize/ + evaluate/ -> golden pictures (our own drawings) with the shipped file's answers -> bundle folder

Golden pictures prove transport: bytes, colours, labels, kernels. They prove nothing about accuracy, and are not
counted in it.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle, Score
from device.classify import Classifier, open_classifier
from device.simulator.drawings import draw_item
from device.simulator.scene import interior, paste
from trainer.errors import StageMissing
from trainer.evaluate import Evaluation, evaluate
from trainer.manifest import Draft, write_draft
from trainer.recipe import Recipe
from trainer.stage import Stage

__all__ = ["golden_pictures", "pack"]

_GOLDEN_PX = 176


def pack(run: Path, recipe: Recipe, out: Path) -> Bundle:
    """Write the bundle of a run and replay its golden pictures.

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
    draft = Draft(
        temperature=evaluation.temperature,
        int8=evaluation.int8,
        float32=evaluation.float32,
        golden_rgb=golden,
        golden_logits=logits,
        card=_card(run, recipe, evaluation),
    )
    bundle = write_draft(out, run, recipe, draft)
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


def _card(run: Path, recipe: Recipe, evaluation: Evaluation) -> str:
    """The text for people: what it names, how well, where it was measured, what it was made from."""
    _, data = Stage.result_of(run, "data")
    _, quantized = Stage.result_of(run, "quantize")
    lines = [
        f"# {recipe.name}",
        "",
        f"Names {', '.join(recipe.data.labels)} in a picture of one item, {recipe.size_px} x {recipe.size_px} pixels.",
        f"INT8 file {quantized['bytes']:,} bytes ({quantized['scheme']}), network `{recipe.net}`.",
        "",
        "## How well",
        "",
        "On pictures that no training step saw (*val*; near-copies of a training picture are kept out of it), the",
        "shipped INT8 file through the device's own code, computed as an Arm CPU does. No promise about your room:",
        "see README.",
        "",
        "| source | pictures | INT8 | float | macro-F1 INT8 | recall by label |",
        "|---|---|---|---|---|---|",
        *(_row(source, int8, evaluation.float32[source]) for source, int8 in evaluation.int8.items()),
        "",
        *(
            f"`{source}`, known only not to be a label: {share:.1%} not named so."
            for source, share in evaluation.not_named.items()
        ),
        f"INT8 and float name the same label in {evaluation.agreement:.1%} of all. Temperature",
        f"{evaluation.temperature}; expected calibration error {evaluation.calibration_error:.3f} on the first source.",
        "",
        "## Made from",
        "",
        *(f"- {source}: {recipe.data.licence.get(source, 'licence not stated')}" for source in _sources(data)),
        "- weights: EfficientNet-Lite0, ImageNet, Apache-2.0",
        f"- drawings of the project itself: {recipe.drawings.per_epoch} an epoch, counted in no figure above",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _row(source: str, int8: Score, float32: Score) -> str:
    recall = ", ".join(f"{label} {value:.2f}" for label, value in int8.recall.items())
    cells = (source, int8.pictures, f"{int8.accuracy:.1%}", f"{float32.accuracy:.1%}", f"{int8.macro_f1:.3f}", recall)
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _sources(data: dict[str, dict[str, int]]) -> list[str]:
    return list(dict.fromkeys(key.split(": ")[0] for key in data["targets"]))
