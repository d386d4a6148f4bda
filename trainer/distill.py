"""Distill: pictures (and a teacher's opinion of them) -> a trained student.

    lessons (pictures, labels, a teacher's opinion) -> student -> distill/last.pt (every epoch) -> distill/student.pt

The weights that are kept are a running average over steps, judged on *tune* after each epoch. Cut off at any moment,
it goes on from the last whole epoch. Without a teacher it is plain training with the same schedule: the control of
every distillation.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from device.preprocess import fit
from trainer.data import Dataset, open_dataset
from trainer.draws import Batch, normalise
from trainer.errors import TrainerError
from trainer.lessons import Lessons, open_lessons
from trainer.losses import allowed_loss, distillation_loss
from trainer.nets import Net, build_net, freeze
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.stage import Stage, write_atomic
from trainer.teach import load_teacher

__all__ = ["borrow", "distill", "load_student"]


@dataclass(slots=True)
class _Run:
    """Everything that an epoch changes, and that a checkpoint holds."""

    net: Net
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    history: list[dict[str, float]]

    def save(self, path: Path) -> None:
        body = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
        }
        _save(body, path)

    def load(self, path: Path) -> None:
        body = torch.load(path, weights_only=True)
        self.net.load_state_dict(body["net"])
        self.average.load_state_dict(body["average"])
        self.optimizer.load_state_dict(body["optimizer"])
        self.schedule.load_state_dict(body["schedule"])
        self.history = body["history"]


def distill(run: Path, recipe: Recipe, teacher: Path | None = None) -> None:
    """Train the student of this recipe.

    Args:
        teacher: a run folder whose student has the same labels; None trains on labels alone.

    Raises:
        TrainerError: the teacher does not fit, or the loss is no number any more.
    """
    if teacher is not None:
        borrow(run, teacher)
    dataset = open_dataset(run)
    _check_labels(dataset, run, recipe)
    lessons = open_lessons(run, recipe, teacher)
    inputs = {
        "lessons": lessons.origin, "net": recipe.net, "size_px": recipe.size_px, "train": recipe.train,
        "augment": recipe.augment, "finish": recipe.finish, "drawings": recipe.drawings, "views": recipe.views,
        "teacher": recipe.teacher if teacher else None,
    }  # fmt: skip
    stage = Stage(run, "distill", inputs)
    if stage.is_done:
        console.print("distill: unchanged")
        return
    last = stage.path / "last.pt"
    if stage.is_begun and last.is_file():
        state = _go_on(recipe, last, lessons.per_epoch)
        console.print(f"distill: going on after epoch {len(state.history)}")
    else:
        last.unlink(missing_ok=True)  # first: cut off in between, it would pass for this stage's own
        stage.begin()
        state = _start(recipe, lessons.per_epoch)
        if recipe.teacher.start and teacher is not None:
            weights = load_teacher(teacher, recipe.net).state_dict()
            state.net.load_state_dict(weights)
            state.average.module.load_state_dict(weights)
    tune = _square_pictures(dataset, recipe, "tune")
    epochs = recipe.train.epochs + recipe.finish.epochs
    while len(state.history) < epochs:
        epoch = len(state.history)
        if epoch == recipe.train.epochs:
            state = _start_finish(recipe, state, lessons.per_epoch)
        start_s = time.monotonic()
        loss = _train_epoch(state, lessons, recipe, epoch)
        right = _right(state.average, tune)
        state.history.append({"loss": loss, "tune_right": right, "seconds": time.monotonic() - start_s})
        state.save(last)
        left_min = state.history[-1]["seconds"] * (epochs - epoch - 1) / 60
        console.print(
            f"epoch {epoch + 1}/{epochs}  loss {loss:.4f}  right on tune {right:.1%}  "
            f"{state.history[-1]['seconds']:.0f} s  about {left_min:.0f} min left"
        )
    _save({"net": state.average.module.state_dict()}, stage.path / "student.pt")
    stage.finish({"net": recipe.net, "labels": recipe.data.labels, "history": state.history, "teacher": str(teacher)})


def borrow(run: Path, other: Path) -> None:
    """Let a run that has no pictures of its own use those of another, by a link; its views too."""
    run.mkdir(parents=True, exist_ok=True)
    for step in ("data", "views"):
        if not (run / step).exists() and (other / step).is_dir() and run.resolve() != other.resolve():
            (run / step).symlink_to((other / step).resolve(), target_is_directory=True)


def load_student(run: Path, recipe: Recipe) -> Net:
    """The student that `distill` trained, ready to infer.

    Raises:
        StageMissing: there is none.
        TrainerError: it was trained by another recipe.
    """
    _, result = Stage.result_of(run, "distill")
    if (result["net"], result["labels"]) != (recipe.net, list(recipe.data.labels)):
        raise TrainerError(
            f"{run}: its student is a {result['net']} of {', '.join(result['labels'])}, but recipe {recipe.name} asks "
            f"for a {recipe.net} of {', '.join(recipe.data.labels)}; give its own with --recipe, or another --run"
        )
    net = build_net(recipe.net, len(recipe.data.labels))
    net.load_state_dict(torch.load(run / "distill" / "student.pt", weights_only=True)["net"])
    return net.eval()


def _check_labels(dataset: Dataset, run: Path, recipe: Recipe) -> None:
    found = sorted({record.target.removeprefix("!") for record in dataset.records})
    if found != list(recipe.data.labels):
        raise TrainerError(
            f"{run}: its pictures are of {', '.join(found)}, but recipe {recipe.name} asks for "
            f"{', '.join(recipe.data.labels)}; give its own with --recipe, or read other pictures with: trainer data"
        )


def _start(recipe: Recipe, per_epoch: int) -> _Run:
    """The first phase, from the ImageNet weights."""
    torch.manual_seed(recipe.train.seed)
    net = build_net(recipe.net, len(recipe.data.labels))
    return _phase(net, recipe, (recipe.train.epochs, per_epoch), recipe.train.peak_lr, [])


def _start_finish(recipe: Recipe, first: _Run, per_epoch: int) -> _Run:
    """The last phase, from the averaged weights of the first."""
    net = build_net(recipe.net, len(recipe.data.labels))
    net.load_state_dict(first.average.module.state_dict())
    return _phase(net, recipe, (recipe.finish.epochs, per_epoch), recipe.finish.peak_lr, first.history)


def _go_on(recipe: Recipe, checkpoint: Path, per_epoch: int) -> _Run:
    """The phase that the checkpoint was written in, as it was then."""
    state = _start(recipe, per_epoch)
    if len(torch.load(checkpoint, weights_only=True)["history"]) > recipe.train.epochs:
        state = _start_finish(recipe, state, per_epoch)
    state.load(checkpoint)
    return state


def _phase(net: Net, recipe: Recipe, length: tuple[int, int], peak_lr: float, history: list[dict[str, float]]) -> _Run:
    """A network with an optimiser, a one-cycle schedule and a running average of its own."""
    freeze(net, recipe.train.frozen_stages)
    net.to(memory_format=torch.channels_last)
    decay = get_ema_multi_avg_fn(recipe.train.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(net, multi_avg_fn=decay, use_buffers=True)
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    decayed = [weight for weight in trained if weight.ndim > 1]
    plain = [weight for weight in trained if weight.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.train.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    )
    epochs, per_epoch = length
    steps = epochs * -(-per_epoch // recipe.train.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_lr, total_steps=steps, pct_start=0.15)
    return _Run(net, average, optimizer, schedule, history)


def _train_epoch(state: _Run, lessons: Lessons, recipe: Recipe, epoch: int) -> float:
    """One pass; the mean loss."""
    state.net.train()
    freeze(state.net, recipe.train.frozen_stages)
    total = torch.zeros(())
    what = f"epoch {epoch + 1} of {recipe.train.epochs + recipe.finish.epochs}"
    batches = -(-lessons.per_epoch // recipe.train.batch)
    for number, lesson in enumerate(track(lessons.epoch(epoch), what, batches), 1):
        logits, _ = state.net(normalise(lesson.pixels))
        loss = allowed_loss(logits, lesson.allowed, recipe.train.label_smoothing)
        if lesson.opinion is not None:
            far = distillation_loss(logits, lesson.opinion, recipe.teacher.temperature)
            loss = recipe.teacher.alpha * far + (1 - recipe.teacher.alpha) * loss
        if not torch.isfinite(loss):
            raise TrainerError(f"{what}, batch {number}: the loss is {loss.item()}; lower train.peak_lr in the recipe")
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.schedule.step()
        state.average.update_parameters(state.net)
        total += loss.detach() * len(lesson.allowed)
    return float(total) / lessons.per_epoch


def _square_pictures(dataset: Dataset, recipe: Recipe, split: str) -> Batch:
    """The pictures of a split as the device would fit them."""
    rows = dataset.indices(split)
    pixels = np.stack([fit(dataset.pixels[row], recipe.size_px) for row in rows])
    allowed = np.stack([dataset.records[row].allowed(recipe.data.labels) for row in rows])
    return torch.from_numpy(pixels), torch.from_numpy(allowed)


def _right(net: torch.nn.Module, pictures: Batch) -> float:
    """Share of pictures whose likeliest label is allowed."""
    pixels, allowed = pictures
    net.eval()
    hits = 0.0
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            logits, _ = net(normalise(pixels[start : start + 64]))
            named = logits.argmax(dim=1, keepdim=True)
            hits += float(allowed[start : start + 64].gather(1, named).sum())
    return hits / len(pixels)


def _save(body: dict[str, Any], path: Path) -> None:
    part = path.with_name(path.name + ".tmp")
    torch.save(body, part)
    write_atomic(path, part.read_bytes())
    part.unlink()
