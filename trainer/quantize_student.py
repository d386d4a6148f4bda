"""Quantize, the step: a run's student -> its INT8 file and its float file, both with the bin's int8 input.

distill/student.pt -> float ONNX -> quantize (calibrated on *tune*, tail on *train*) -> quantize/model.onnx  float.onnx
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.preprocess import fit
from trainer.data import Dataset, open_dataset
from trainer.distill import load_student
from trainer.draws import TrainingPictures, draw_epoch, make_batches
from trainer.export import export_float, with_int8_input
from trainer.nets import MEAN, STD
from trainer.progress import console
from trainer.quantize import QatTail, QuantizeReport, quantize
from trainer.recipe import Recipe
from trainer.stage import Stage

__all__ = ["calibration_pictures", "quantize_student"]

SCHEME = "static S8S8 QDQ, weights per channel"
_TAIL_BATCH = 32


def quantize_student(run: Path, recipe: Recipe) -> None:
    """Write the student of a run as INT8 and as float, and say what INT8 costs.

    Raises:
        StageMissing: `trainer distill` has not been run.
        QuantizeError: see `trainer.quantize.quantize`.
    """
    dataset = open_dataset(run)
    student, _ = Stage.result_of(run, "distill")
    inputs = {"distill": student, "quantize": recipe.quantize, "augment": recipe.augment, "finish": recipe.finish}
    stage = Stage(run, "quantize", inputs)
    if stage.is_done:
        console.print("quantize: unchanged")
        return
    checkpoint = stage.path / "tail.pt"
    if not stage.is_begun:
        checkpoint.unlink(missing_ok=True)
        stage.begin()
    traced, zero_point = stage.path / "student.onnx", int(MEAN) - 128
    export_float(load_student(run, recipe), recipe.size_px, traced)
    with_int8_input(traced, stage.path / "float.onnx", input_scale=1 / STD, input_zero_point=zero_point)
    pictures = calibration_pictures(dataset, recipe)
    report = quantize(
        traced,
        stage.path / "model.onnx",
        pictures,
        input_scale=1 / STD,
        input_zero_point=zero_point,
        tail=_tail(dataset, recipe, checkpoint) if recipe.quantize.tail_epochs else None,
        on_step=lambda what: console.print(f"quantize: {what}"),
    )
    _tell(report)
    stage.finish(
        {
            "scheme": SCHEME,
            "bytes": report.file_bytes,
            "features": load_student(run, recipe).head.in_features,
            "calibration_sha256": hashlib.sha256(pictures.tobytes()).hexdigest(),
            "report": asdict(report),
        }
    )


def calibration_pictures(dataset: Dataset, recipe: Recipe) -> NDArray[np.uint8]:
    """Pictures of *tune*, spread evenly over it, as the device fits them: uint8 RGB [N, 3, S, S]."""
    rows = dataset.indices("tune")
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), recipe.quantize.calibration_pictures)).astype(int)
    squares = [fit(dataset.pixels[rows[place]], recipe.size_px) for place in chosen]
    return np.ascontiguousarray(np.stack(squares).transpose(0, 3, 1, 2))


def _tail(dataset: Dataset, recipe: Recipe, checkpoint: Path) -> QatTail:
    rule = recipe.quantize
    pictures = TrainingPictures(dataset, recipe.at_finish())
    return QatTail(
        batches=_epochs(pictures, dataset, recipe),
        steps=-(-rule.tail_pictures // _TAIL_BATCH),
        epochs=rule.tail_epochs,
        learning_rate=rule.tail_lr,
        label_weight=0.3,
        checkpoint=checkpoint,
        on_epoch=lambda epoch, loss, seconds: console.print(f"tail epoch {epoch}  loss {loss:.4f}  {seconds:.0f} s"),
    )


def _epochs(
    pictures: TrainingPictures, dataset: Dataset, recipe: Recipe
) -> Callable[[], Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]]:
    """Fresh draws at each call, after those that training has used."""
    epoch = recipe.train.epochs + recipe.finish.epochs

    def draw() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        nonlocal epoch
        pictures.order = draw_epoch(dataset, recipe, epoch)[: recipe.quantize.tail_pictures]
        epoch += 1
        for pixels, allowed in make_batches(pictures, _TAIL_BATCH):
            yield np.ascontiguousarray(pixels.numpy().transpose(0, 3, 1, 2)), allowed.numpy()

    return draw


def _tell(report: QuantizeReport) -> None:
    console.print(
        f"{report.file_bytes:,} bytes; ranges at percentile {report.percentile:g}; "
        f"same label as float on {report.loss.argmax_share:.1%} of the calibration pictures"
    )
    console.print(f"stays in float: {', '.join(report.float_ops) or 'nothing'}")
    if report.odd_widths:
        console.print(f"widths that are no multiple of 8, slow on Arm: {', '.join(report.odd_widths)}")
    worst = ", ".join(f"{layer.layer} {layer.alone:.4f}" for layer in report.layers[:3])
    console.print(f"layers that cost most (squared logit error alone): {worst}")
