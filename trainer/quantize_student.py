"""Quantize, the step: a run's student -> its INT8 file and its float file, both with the bin's int8 input.

distill/student.pt -> float ONNX -> quantize (calibrated on *tune*, tail on *train*) -> quantize/model.onnx  float.onnx

A bin's own frames, without labels, can be calibrated on beside *tune*: they set ranges and biases, and teach nothing.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from device.errors import ItemsError, PictureError
from device.pictures import PictureRef, decode_picture, find_pictures
from device.preprocess import fit
from trainer.data import Dataset, open_dataset
from trainer.errors import QuantizeError
from trainer.export import export_float, with_int8_input
from trainer.lessons import Lessons, open_lessons
from trainer.machine import Machine, open_machine
from trainer.nets import MEAN, STD
from trainer.progress import console
from trainer.quantize import QatTail, QuantizeReport, quantize
from trainer.recipe import Recipe
from trainer.stage import Stage
from trainer.student import load_student
from trainer.tail import TailBatch

__all__ = ["calibration_pictures", "frames_of", "quantize_student", "tail_batches"]

SCHEME = "static S8S8 QDQ, weights per channel"
_TAIL_BATCH = 32
_WORST = 5
"""Layers that are named."""


def quantize_student(run: Path, recipe: Recipe, frames: Path | None = None) -> None:
    """Write the student of a run as INT8 and as float, and say what INT8 costs.

    Args:
        frames: a folder or zip of a bin's own pictures, cropped or whole, to calibrate on beside *tune*.

    Raises:
        StageMissing: `trainer distill` has not been run.
        QuantizeError: see `trainer.quantize.quantize`; or there is no picture in `frames` that can be read.
    """
    dataset = open_dataset(run)
    mark, student = Stage.result_of(run, "distill")
    own = None if frames is None else frames_of(frames, recipe.size_px, recipe.quantize.calibration_pictures)
    inputs = {
        "distill": mark, "quantize": recipe.quantize, "augment": recipe.augment, "finish": recipe.finish,
        "frames": None if own is None else _digest(own),
    }  # fmt: skip
    stage = Stage(run, "quantize", inputs)
    if stage.is_done:
        console.print("quantize: unchanged")
        return
    checkpoint = stage.path / "tail.pt"
    if not stage.is_begun:
        checkpoint.unlink(missing_ok=True)
        stage.begin()
    traced, zero_point = stage.path / "student.onnx", int(MEAN) - 128
    net = load_student(run, recipe)
    export_float(net, recipe.size_px, traced)
    with_int8_input(traced, stage.path / "float.onnx", input_scale=1 / STD, input_zero_point=zero_point)
    pictures = calibration_pictures(dataset, recipe)
    if own is not None:
        console.print(f"quantize: calibrated on {len(pictures)} pictures of tune and {len(own)} of {frames}")
        pictures = np.concatenate([pictures, own])
    with open_machine() as machine:
        tail = _tail(run, recipe, student["teacher"], checkpoint, machine) if recipe.quantize.tail_epochs else None
        report = quantize(
            traced,
            stage.path / "model.onnx",
            pictures,
            input_scale=1 / STD,
            input_zero_point=zero_point,
            tail=tail,
            on_step=lambda what: console.print(f"quantize: {what}"),
        )
    _tell(report)
    stage.finish(
        {
            "scheme": SCHEME,
            "bytes": report.file_bytes,
            "features": net.head.in_features,
            "calibration_sha256": _digest(pictures),
            "frames": 0 if own is None else len(own),
            "report": asdict(report),
        }
    )


def calibration_pictures(dataset: Dataset, recipe: Recipe) -> NDArray[np.uint8]:
    """Pictures of *tune*, spread evenly over it, as the device fits them: uint8 RGB [N, 3, S, S]."""
    rows = dataset.indices("tune")
    squares = [
        fit(dataset.pixels[rows[place]], recipe.size_px)
        for place in _spread(len(rows), recipe.quantize.calibration_pictures)
    ]
    return _channels_first(squares)


def frames_of(path: Path, size_px: int, most: int) -> NDArray[np.uint8]:
    """A bin's own pictures, spread evenly over the folder, as the device fits them: uint8 RGB [N, 3, S, S].

    Raises:
        QuantizeError: nothing is there, or no picture that can be read.
    """
    try:
        found = list(find_pictures(path))
    except (ItemsError, PictureError) as error:
        raise QuantizeError(f"--calibrate-with: {error}") from error
    chosen = [_square(found[place], size_px) for place in _spread(len(found), most)]
    squares = [square for square in chosen if square is not None]
    if not squares:
        raise QuantizeError(
            f"--calibrate-with: {path}: none of {min(len(found), most)} pictures can be read; give a bin's own frames"
        )
    return _channels_first(squares)


def _square(ref: PictureRef, size_px: int) -> NDArray[np.uint8] | None:
    try:
        return fit(decode_picture(ref.read(), ref.name), size_px)
    except PictureError as error:
        console.print(f"left out: {error}")
        return None


def _spread(count: int, most: int) -> list[int]:
    return [int(place) for place in np.linspace(0, count - 1, min(count, most))]


def _channels_first(squares: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.stack(squares).transpose(0, 3, 1, 2))


def _digest(pictures: NDArray[np.uint8]) -> str:
    return hashlib.sha256(pictures.tobytes()).hexdigest()


def _tail(run: Path, recipe: Recipe, teacher: str, checkpoint: Path, machine: Machine) -> QatTail:
    rule = recipe.quantize
    short = replace(recipe, train=replace(recipe.train, batch=_TAIL_BATCH, pictures_per_epoch=rule.tail_pictures))
    asked = rule.tail_teacher and teacher != "None"
    lessons = open_lessons(run, short, Path(teacher) if asked else None, machine)
    return QatTail(
        batches=tail_batches(lessons, recipe.train.epochs + recipe.finish.epochs),
        steps=-(-lessons.per_epoch // _TAIL_BATCH),
        epochs=rule.tail_epochs,
        learning_rate=rule.tail_lr,
        teacher_weight=rule.tail_teacher,
        checkpoint=checkpoint,
        on_epoch=lambda epoch, loss, seconds: console.print(f"tail epoch {epoch}  loss {loss:.5f}  {seconds:.0f} s"),
    )


def tail_batches(lessons: Lessons, trained: int) -> Callable[[int], Iterator[TailBatch]]:
    """The lessons of the epochs that would have come next, from views or live, as the student's own were.

    Args:
        trained: epochs that the student has had.
    """

    def batches(epoch: int) -> Iterator[TailBatch]:
        for lesson in lessons.epoch(trained + epoch):
            pixels = np.ascontiguousarray(lesson.pixels.numpy().transpose(0, 3, 1, 2))
            yield pixels, None if lesson.opinion is None else lesson.opinion.float().cpu().numpy()

    return batches


def _tell(report: QuantizeReport) -> None:
    console.print(
        f"{report.file_bytes:,} bytes for {report.params:,} parameters; "
        f"same label as float on {report.loss.argmax_share:.1%} of the calibration pictures"
    )
    console.print("squared error of the logits against float, by how the ranges are chosen:")
    for method, error in sorted(report.tried.items(), key=lambda item: item[1]):
        console.print(f"  {error:.5f}  {method}{'  (taken)' if method == report.ranges else ''}")
    for what, error in (("bias correction", report.error), ("cross-layer equalisation", report.equalised_error)):
        taken = what == "bias correction" or report.equalised
        console.print(f"after {what}: {error:.5f}{'' if taken else ', not closer: dropped'}")
    if report.tail_error is not None:
        dropped = report.tail_error >= min(report.error, report.equalised_error)
        console.print(f"after the tail: {report.tail_error:.5f}{', not closer: dropped' if dropped else ''}")
    console.print(f"stays in float on Arm: {', '.join(report.float_ops) or 'nothing'}")
    console.print(f"widths that are no multiple of 8, slow on Arm: {', '.join(report.odd_widths) or 'none'}")
    table = Table("layer", "error alone", "signal to noise", title="layers that lose most")
    for layer in report.layers[:_WORST]:
        table.add_row(layer.layer, f"{layer.alone:.5f}", f"{layer.sqnr_db:.0f} dB")
    console.print(table)
