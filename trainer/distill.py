"""Distill: pictures (and a teacher's opinion of them) -> a trained student.

    lessons (pictures, labels, a teacher's opinion) -> student -> distill/last.pt (every epoch) -> distill/student.pt

The weights that are kept are a running average over steps, judged on *tune* after each epoch. Cut off at any moment,
it goes on from the last whole epoch. Several processes (see `trainer.machine`) do as one would; the first one writes.
Without a teacher it is plain training with the same schedule: the control of every distillation.
"""

import hashlib
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from device.preprocess import fit
from trainer.checkpoint import read_checkpoint, save_checkpoint
from trainer.classes import CLASSES
from trainer.data import Dataset, open_dataset
from trainer.draws import Batch, normalise
from trainer.errors import TrainerError
from trainer.lessons import Lesson, Lessons, open_lessons
from trainer.losses import allowed_loss, distillation_loss
from trainer.machine import Machine, open_machine
from trainer.nets import IMAGENET, RANDOM, Net, build_net, freeze
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.stage import Stage
from trainer.student import load_student
from trainer.taught import has_teachers, load_teacher

__all__ = ["borrow", "distill"]


@dataclass(slots=True)
class _Run:
    """Everything that an epoch changes, and that a checkpoint holds.

    Attributes:
        beside: features -> ImageNet's classes; only where the recipe asks for them, and never in what ships.
    """

    net: Net
    beside: torch.nn.Linear | None
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    machine: Machine
    history: list[dict[str, float]]

    def save(self, path: Path) -> None:
        body = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.machine.scaler.state_dict(),
            "history": self.history,
        }
        if self.beside is not None:
            body["beside"] = self.beside.state_dict()
        save_checkpoint(body, path)

    def load(self, body: dict[str, Any]) -> None:
        self.net.load_state_dict(body["net"])
        if self.beside is not None:
            self.beside.load_state_dict(body["beside"])
        self.average.load_state_dict(body["average"])
        self.optimizer.load_state_dict(body["optimizer"])
        self.schedule.load_state_dict(body["schedule"])
        if body.get("scaler"):  # empty but for float16
            self.machine.scaler.load_state_dict(body["scaler"])
        self.history = body["history"]


def distill(run: Path, recipe: Recipe, teacher: Path | None = None, weights: Path | None = None) -> None:
    """Train the student of this recipe.

    Args:
        teacher: a run folder with taught teachers, or with a student of the same labels; None trains on labels alone.
        weights: a file of ImageNet weights in the place of what the recipe starts from.

    Raises:
        TrainerError: the teacher or the weights do not fit, the GPU is too small, the disk is full, or the loss is no
            number any more.
    """
    with open_machine() as machine:
        _distill(run, recipe, teacher, weights, machine)


def _distill(run: Path, recipe: Recipe, teacher: Path | None, weights: Path | None, machine: Machine) -> None:
    if teacher is not None:
        borrow(run, teacher)
    dataset = open_dataset(run)
    _check_labels(dataset, run, recipe)
    lessons = open_lessons(run, recipe, teacher, machine)
    inputs: dict[str, Any] = {
        "lessons": lessons.origin, "net": recipe.net, "size_px": recipe.size_px, "train": recipe.train,
        "augment": recipe.augment, "finish": recipe.finish, "drawings": recipe.drawings, "views": recipe.views,
        "teacher": asdict(recipe.teacher) if teacher else None,
    }  # fmt: skip
    if teacher and not recipe.teacher.classes:
        del inputs["teacher"]["classes"]  # as with the weights
    if weights is not None or recipe.weights != IMAGENET:  # what was trained before there was a choice stays
        inputs["weights"] = _mark(weights) if weights else recipe.weights
    stage = Stage(run, "distill", inputs)
    if machine.agree(stage.is_done):
        console.print("distill: unchanged")
        return
    last = stage.path / "last.pt"
    going_on = machine.agree(stage.is_begun and last.is_file())
    if machine.is_first and not going_on:
        last.unlink(missing_ok=True)  # first: cut off in between, it would pass for this stage's own
        stage.begin()
    state = _start(recipe, weights, lessons, machine)
    if going_on:
        body = read_checkpoint(last, machine.device)
        if len(body["history"]) > recipe.train.epochs:
            state = _start_finish(recipe, state, lessons.per_epoch)
        state.load(body)
        console.print(f"distill: going on after epoch {len(state.history)}")
    elif recipe.teacher.start and teacher is not None:
        taught = _taught(teacher, recipe).state_dict()
        state.net.load_state_dict(taught)
        state.average.module.load_state_dict(taught)
    tune = _square_pictures(dataset, recipe, "tune")
    epochs = recipe.train.epochs + recipe.finish.epochs
    while len(state.history) < epochs:
        epoch = len(state.history)
        if epoch == recipe.train.epochs:
            state = _start_finish(recipe, state, lessons.per_epoch)
        start_s = time.monotonic()
        with machine.within_memory(recipe.train.batch):
            loss = _train_epoch(state, lessons, recipe, dataset)
            right = _right(state.average, tune, machine)
        state.history.append({"loss": loss, "tune_right": right, "seconds": time.monotonic() - start_s})
        if machine.is_first:
            state.save(last)
        left_min = state.history[-1]["seconds"] * (epochs - epoch - 1) / 60
        console.print(
            f"epoch {epoch + 1}/{epochs}  loss {loss:.4f}  right on tune {right:.1%}  "
            f"{state.history[-1]['seconds']:.0f} s  about {left_min:.0f} min left"
        )
    if machine.is_first:
        save_checkpoint({"net": state.average.module.state_dict()}, stage.path / "student.pt")
        stage.finish(
            {
                "net": recipe.net, "labels": recipe.data.labels, "history": state.history, "teacher": str(teacher),
                "machine": machine.name,
            }
        )  # fmt: skip


def borrow(run: Path, other: Path) -> None:
    """Let a run that has no pictures of its own use those of another, by a link; its views too."""
    run.mkdir(parents=True, exist_ok=True)
    for step in ("data", "views"):
        if not (run / step).exists() and (other / step).is_dir() and run.resolve() != other.resolve():
            with suppress(FileExistsError):  # another process of the same run was quicker
                (run / step).symlink_to((other / step).resolve(), target_is_directory=True)


def _taught(teacher: Path, recipe: Recipe) -> torch.nn.Module:
    """What a student starts from: the teacher that is the same network, or the other run's student."""
    return load_teacher(teacher, recipe.net) if has_teachers(teacher) else load_student(teacher, recipe)


def _check_labels(dataset: Dataset, run: Path, recipe: Recipe) -> None:
    found = sorted({record.target.removeprefix("!") for record in dataset.records})
    if found != list(recipe.data.labels):
        raise TrainerError(
            f"{run}: its pictures are of {', '.join(found)}, but recipe {recipe.name} asks for "
            f"{', '.join(recipe.data.labels)}; give its own with --recipe, or read other pictures with: trainer data"
        )


def _mark(weights: Path) -> str:
    """What changes when a file of weights does."""
    try:
        return hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise TrainerError(f"{weights}: no file of weights to read ({error.strerror}); give one that is") from error


def _start(recipe: Recipe, weights: Path | None, lessons: Lessons, machine: Machine) -> _Run:
    """The first phase, from the recipe's weights or those of a file."""
    torch.manual_seed(recipe.train.seed)
    net = build_net(recipe.net, len(recipe.data.labels), weights or recipe.weights)
    beside = torch.nn.Linear(net.head.in_features, CLASSES) if lessons.has_classes else None
    return _phase((net, beside), recipe, (recipe.train.epochs, lessons.per_epoch), recipe.train.peak_lr, machine)


def _start_finish(recipe: Recipe, first: _Run, per_epoch: int) -> _Run:
    """The last phase, from the averaged weights of the first."""
    net = build_net(recipe.net, len(recipe.data.labels), RANDOM)
    net.load_state_dict(first.average.module.state_dict())
    state = _phase((net, first.beside), recipe, (recipe.finish.epochs, per_epoch), recipe.finish.peak_lr, first.machine)
    state.history = first.history
    return state


def _phase(
    nets: tuple[Net, torch.nn.Linear | None], recipe: Recipe, length: tuple[int, int], peak_lr: float, machine: Machine
) -> _Run:
    """A network, and what learns beside it, with an optimiser, a one-cycle schedule and a running average."""
    net, beside = nets
    machine.place(net)
    if beside is not None:
        machine.place(beside)
    freeze(net, recipe.train.frozen_stages)
    decay = get_ema_multi_avg_fn(recipe.train.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(net, multi_avg_fn=decay, use_buffers=True)
    trained = [weight for weight in _learning(net, beside).parameters() if weight.requires_grad]
    decayed = [weight for weight in trained if weight.ndim > 1]
    plain = [weight for weight in trained if weight.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.train.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    )
    epochs, per_epoch = length
    steps = epochs * -(-per_epoch // recipe.train.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_lr, total_steps=steps, pct_start=0.15)
    return _Run(net, beside, average, optimizer, schedule, machine, [])


def _learning(net: Net, beside: torch.nn.Linear | None) -> torch.nn.Module:
    """All that learns, as one module."""
    return net if beside is None else torch.nn.ModuleList([net, beside])


def _train_epoch(state: _Run, lessons: Lessons, recipe: Recipe, dataset: Dataset) -> float:
    """One pass; the mean loss."""
    state.net.train()
    freeze(state.net, recipe.train.frozen_stages)
    machine, size, learning = state.machine, recipe.train.batch, _learning(state.net, state.beside)
    total = torch.zeros((), device=machine.device)
    epoch = len(state.history)
    what = f"epoch {epoch + 1} of {recipe.train.epochs + recipe.finish.epochs}"
    batches = -(-lessons.per_epoch // size)
    for number, lesson in enumerate(track(lessons.epoch(epoch), what, batches)):
        start, end = number * size, min((number + 1) * size, lessons.per_epoch)
        with machine.autocast():
            logits, features = state.net(normalise(lesson.pixels.to(machine.device)))
            own = _loss(logits.float(), lesson, recipe)
            if state.beside is not None and lesson.classes is not None:
                seen, wanted = state.beside(features).float(), lesson.classes.to(machine.device)
                own = own + recipe.teacher.classes * distillation_loss(seen, wanted, recipe.teacher.temperature)
        loss = machine.backward(own, machine.share(start, end), learning)
        if not torch.isfinite(loss):
            raise TrainerError(
                f"{what}, batch {number + 1}: the loss is {loss.item()}; among its pictures "
                f"{_names(lesson, dataset)}; lower train.peak_lr in the recipe"
            )
        machine.step(state.optimizer)
        state.schedule.step()
        state.average.update_parameters(state.net)
        total += loss * (end - start)
    return float(total) / lessons.per_epoch


def _loss(logits: Tensor, lesson: Lesson, recipe: Recipe) -> Tensor:
    loss = allowed_loss(logits, lesson.allowed.to(logits.device), recipe.train.label_smoothing)
    if lesson.opinion is None:
        return loss
    far = distillation_loss(logits, lesson.opinion.to(logits.device).float(), recipe.teacher.temperature)
    return recipe.teacher.alpha * far + (1 - recipe.teacher.alpha) * loss


def _names(lesson: Lesson, dataset: Dataset, most: int = 3) -> str:
    """Where the first photographs of a lesson came from."""
    return ", ".join([dataset.records[index].name for index in lesson.records if index >= 0][:most]) or "drawings only"


def _square_pictures(dataset: Dataset, recipe: Recipe, split: str) -> Batch:
    """The pictures of a split as the device would fit them."""
    rows = dataset.indices(split)
    pixels = np.stack([fit(dataset.pixels[row], recipe.size_px) for row in rows])
    allowed = np.stack([dataset.records[row].allowed(recipe.data.labels) for row in rows])
    return torch.from_numpy(pixels), torch.from_numpy(allowed)


def _right(net: torch.nn.Module, pictures: Batch, machine: Machine) -> float:
    """Share of pictures whose likeliest label is allowed."""
    pixels, allowed = (part[machine.rank :: machine.world] for part in pictures)
    net.eval()
    hits = 0.0
    with torch.inference_mode(), machine.autocast():
        for start in range(0, len(pixels), 64):
            logits, _ = net(normalise(pixels[start : start + 64].to(machine.device)))
            named = logits.argmax(dim=1, keepdim=True).cpu()
            hits += float(allowed[start : start + 64].gather(1, named).sum())
    return machine.total(hits) / len(pictures[0])
