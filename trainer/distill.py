"""Distill: pictures (and a teacher's opinion of them) -> a trained student.

    data/ -> weighted draws -> augment -> student [<- teacher] -> distill/last.pt (every epoch) -> distill/student.pt

The weights that are kept are a running average over steps, judged on *tune* after each epoch. Cut off at any moment,
it goes on from the last whole epoch. Without a teacher it is plain training with the same schedule: the control of
every distillation.
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from device.preprocess import fit
from device.simulator.drawings import TRAINING_SHAPES, draw_item
from trainer.augment import Augmenter
from trainer.data import Dataset, open_dataset
from trainer.errors import TrainerError
from trainer.losses import allowed_loss, distillation_loss
from trainer.nets import MEAN, STD, Net, build_net, freeze
from trainer.progress import console, track
from trainer.recipe import Recipe
from trainer.stage import Stage, write_atomic

__all__ = ["TrainingPictures", "distill", "draw_epoch", "load_student", "make_batches", "normalise"]

Batch = tuple[Tensor, Tensor]
"""uint8 [N, S, S, 3] RGB and float32 [N, K] allowed labels."""

_BATCHES_AHEAD = 4


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [N, S, S, 3] RGB -> float32 [N, 3, S, S] as the network takes it."""
    return ((pixels.permute(0, 3, 1, 2).float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def draw_epoch(dataset: Dataset, recipe: Recipe, epoch: int) -> list[tuple[int, int]]:
    """What one epoch shows: (record index, or -1 - drawing index; seed), in order.

    A picture's chance is its source's weight over the square root of how many pictures its label has, so that rare
    labels are seen often enough without being learnt by heart.
    """
    rng = np.random.default_rng([recipe.train.seed, epoch])
    train = np.array(dataset.indices("train"))
    targets = [dataset.records[index].target for index in train]
    count = {target: targets.count(target) for target in set(targets)}
    weight = np.array([
        recipe.data.weight.get(dataset.records[index].source, 1.0) / count[target] ** 0.5
        for index, target in zip(train, targets, strict=True)
    ])  # fmt: skip
    photographs = rng.choice(train, recipe.train.pictures_per_epoch, p=weight / weight.sum())
    drawings = -1 - rng.integers(0, recipe.drawings.per_label * len(recipe.data.labels), recipe.drawings.per_epoch)
    drawn = np.concatenate([photographs, drawings])
    rng.shuffle(drawn)
    return [(int(index), int(seed)) for index, seed in zip(drawn, rng.integers(0, 2**62, len(drawn)), strict=True)]


class TrainingPictures:
    """The pictures of one epoch, each made when it is asked for.

    Attributes:
        order: what `draw_epoch` drew.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self._dataset = dataset
        self._labels = recipe.data.labels
        self._augmenter = Augmenter(recipe.augment, recipe.size_px, recipe.train.seed)
        self._drawings = _draw(self._labels, recipe.drawings.per_label) if recipe.drawings.per_epoch else ()
        self.order: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        index, seed = self.order[position]
        rng = np.random.default_rng(seed)
        if index < 0:
            rgba, label = self._drawings[-1 - index]
            allowed = np.array([name == label for name in self._labels], dtype=np.float32)
            return self._augmenter.item(rgba, rng), allowed
        record = self._dataset.records[index]
        picture = self._augmenter.photograph(self._dataset.pixels[index], self._dataset.alpha[index], rng)
        return picture, record.allowed(self._labels)


@lru_cache(maxsize=1)  # a minute of drawing, the same for every step of a run
def _draw(labels: tuple[str, ...], per_label: int) -> tuple[tuple[NDArray[np.uint8], str], ...]:
    return tuple(
        (draw_item(label, number, TRAINING_SHAPES[label][number % len(TRAINING_SHAPES[label])], 224), label)
        for label in labels
        for number in range(per_label)
    )


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
    dataset = open_dataset(run)
    _check_labels(dataset, run, recipe)
    opinion = _open_teacher(teacher, recipe) if teacher else None
    inputs = {
        "data": dataset.fingerprint, "net": recipe.net, "size_px": recipe.size_px, "train": recipe.train,
        "augment": recipe.augment, "finish": recipe.finish, "drawings": recipe.drawings,
        "teacher": (recipe.teacher, Stage.result_of(teacher, "distill")[0]) if teacher else None,
    }  # fmt: skip
    stage = Stage(run, "distill", inputs)
    if stage.is_done:
        console.print("distill: unchanged")
        return
    last = stage.path / "last.pt"
    if stage.is_begun and last.is_file():
        state = _go_on(recipe, last)
        console.print(f"distill: going on after epoch {len(state.history)}")
    else:
        last.unlink(missing_ok=True)  # first: cut off in between, it would pass for this stage's own
        stage.begin()
        state = _start(recipe)
    pictures, calm_pictures = TrainingPictures(dataset, recipe), TrainingPictures(dataset, recipe.at_finish())
    tune = _square_pictures(dataset, recipe, "tune")
    epochs = recipe.train.epochs + recipe.finish.epochs
    while len(state.history) < epochs:
        epoch = len(state.history)
        if epoch == recipe.train.epochs:
            state = _start_finish(recipe, state)
        shown = pictures if epoch < recipe.train.epochs else calm_pictures
        start_s = time.monotonic()
        shown.order = draw_epoch(dataset, recipe, epoch)
        loss = _train_epoch(state, shown, recipe, opinion, f"epoch {epoch + 1} of {epochs}")
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


def _start(recipe: Recipe) -> _Run:
    """The first phase, from the ImageNet weights."""
    torch.manual_seed(recipe.train.seed)
    net = build_net(recipe.net, len(recipe.data.labels))
    return _phase(net, recipe, recipe.train.epochs, recipe.train.peak_lr, [])


def _start_finish(recipe: Recipe, first: _Run) -> _Run:
    """The last phase, from the averaged weights of the first."""
    net = build_net(recipe.net, len(recipe.data.labels))
    net.load_state_dict(first.average.module.state_dict())
    return _phase(net, recipe, recipe.finish.epochs, recipe.finish.peak_lr, first.history)


def _go_on(recipe: Recipe, checkpoint: Path) -> _Run:
    """The phase that the checkpoint was written in, as it was then."""
    state = _start(recipe)
    if len(torch.load(checkpoint, weights_only=True)["history"]) > recipe.train.epochs:
        state = _start_finish(recipe, state)
    state.load(checkpoint)
    return state


def _phase(net: Net, recipe: Recipe, epochs: int, peak_lr: float, history: list[dict[str, float]]) -> _Run:
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
    steps = -(-(recipe.train.pictures_per_epoch + recipe.drawings.per_epoch) // recipe.train.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_lr, total_steps=epochs * steps, pct_start=0.15)
    return _Run(net, average, optimizer, schedule, history)


def _train_epoch(state: _Run, pictures: TrainingPictures, recipe: Recipe, teacher: Net | None, what: str) -> float:
    """One pass; the mean loss."""
    state.net.train()
    freeze(state.net, recipe.train.frozen_stages)
    total = torch.zeros(())
    for pixels, allowed in track(
        make_batches(pictures, recipe.train.batch), what, -(-len(pictures) // recipe.train.batch)
    ):
        batch = normalise(pixels)
        logits, _ = state.net(batch)
        loss = allowed_loss(logits, allowed, recipe.train.label_smoothing)
        if teacher is not None:
            with torch.no_grad():
                opinion, _ = teacher(batch)
            far = distillation_loss(logits, opinion, recipe.teacher.temperature)
            loss = recipe.teacher.alpha * far + (1 - recipe.teacher.alpha) * loss
        if not torch.isfinite(loss):
            raise TrainerError(f"{what}: the loss is {loss.item()}; lower train.peak_lr in the recipe")
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.schedule.step()
        state.average.update_parameters(state.net)
        total += loss.detach() * len(allowed)
    return float(total) / len(pictures)


def make_batches(pictures: TrainingPictures, size: int) -> Iterator[Batch]:
    """Batches in order, made ahead in threads: OpenCV and numpy let go of the interpreter, and nothing is forked."""
    starts = iter(range(0, len(pictures), size))

    def make(start: int) -> Batch:
        rows = [pictures[position] for position in range(start, min(start + size, len(pictures)))]
        return torch.from_numpy(np.stack([row[0] for row in rows])), torch.from_numpy(
            np.stack([row[1] for row in rows])
        )

    with ThreadPoolExecutor(2) as pool:
        ahead = deque(pool.submit(make, start) for start in islice(starts, _BATCHES_AHEAD))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(make, start) for start in islice(starts, 1))
            yield batch


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


def _open_teacher(run: Path, recipe: Recipe) -> Net:
    """The student of another run, as a teacher."""
    _, result = Stage.result_of(run, "distill")
    if result["labels"] != list(recipe.data.labels):
        raise TrainerError(
            f"{run}: a teacher of {', '.join(result['labels'])}, "
            f"but the recipe asks for {', '.join(recipe.data.labels)}; train the teacher with the same labels"
        )
    net = build_net(result["net"], len(recipe.data.labels))
    net.load_state_dict(torch.load(run / "distill" / "student.pt", weights_only=True)["net"])
    return net.eval().requires_grad_(False)


def _save(body: dict[str, Any], path: Path) -> None:
    part = path.with_name(path.name + ".tmp")
    torch.save(body, part)
    write_atomic(path, part.read_bytes())
    part.unlink()
