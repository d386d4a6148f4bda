"""A short quantisation-aware training after calibration: the weights learn to live with the rounding.

float network (teacher) + batches -> Simulation of the INT8 network -> distillation -> its weights, changed in place

The teacher is the network's own float self (Hinton et al. 2015 for the loss, Bengio et al. 2013 for gradients straight
through the rounding), so the tail brings INT8 nearer to float, and labels are optional. The scales of activations stay
as calibrated; those of weights follow the weights. It must never see pictures of *val*.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainer.errors import QuantizeError
from trainer.fakequant import Simulation, normalise
from trainer.graph import TorchGraph
from trainer.onnx_write import Affine

__all__ = ["QatTail", "fine_tune", "tail_loss"]


@dataclass(frozen=True, slots=True)
class QatTail:
    """A short quantisation-aware fine-tuning after everything else; scales of activations stay as they are.

    Attributes:
        batches: one epoch: (pixels uint8 [B, 3, S, S] RGB, allowed float32 [B, K], 1 for each label that is right).
        steps: batches in an epoch, for the learning rate's cosine.
        epochs: how many.
        learning_rate: at the start; falls to 0.
        temperature: of the distillation from the float network's logits.
        label_weight: weight of -log(sum of the allowed labels' probabilities) beside it; 0 leaves it out.
        checkpoint: weights and optimiser after each epoch; when it exists, training goes on from there. Whether it
            belongs to the same network and data is the caller's care.
        on_epoch: told (epoch from 1, mean loss, seconds).
    """

    batches: Callable[[], Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]]]
    steps: int
    epochs: int = 2
    learning_rate: float = 2e-5
    temperature: float = 2.0
    label_weight: float = 0.0
    checkpoint: Path | None = None
    on_epoch: Callable[[int, float, float], None] | None = None


def fine_tune(
    teacher: TorchGraph, student: TorchGraph, acts: Mapping[str, Affine], pixels: Affine, tail: QatTail
) -> None:
    """Change the student's weights and biases in place.

    Args:
        teacher: the float network; not changed.
        acts: scale per tensor.
        pixels: how pixels become normalised numbers.

    Raises:
        QuantizeError: an epoch without a batch, or a loss that is no number.
    """
    simulation = Simulation(student, acts)
    optimiser = torch.optim.AdamW(student.parameters(), lr=tail.learning_rate, weight_decay=0.0)
    done = 0
    if tail.checkpoint is not None and tail.checkpoint.exists():
        state = torch.load(tail.checkpoint, weights_only=True)
        student.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        done = int(state["epoch"])
    for epoch in range(done, tail.epochs):
        began_s = time.monotonic()
        losses: list[float] = []
        for step, (pictures, allowed) in enumerate(tail.batches()):
            progress = min(1.0, (epoch + step / tail.steps) / tail.epochs)
            optimiser.param_groups[0]["lr"] = tail.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
            loss = tail_loss(teacher, simulation, normalise(pictures, pixels), torch.from_numpy(allowed), tail)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
        if not losses or not math.isfinite(sum(losses)):
            raise QuantizeError(
                f"quantisation-aware training: epoch {epoch + 1} had {len(losses)} batches and summed loss "
                f"{sum(losses)}; lower the learning rate {tail.learning_rate:g} or give it pictures"
            )
        if tail.checkpoint is not None:
            _save(tail.checkpoint, epoch + 1, student, optimiser)
        if tail.on_epoch is not None:
            tail.on_epoch(epoch + 1, sum(losses) / len(losses), time.monotonic() - began_s)


def _save(path: Path, epoch: int, student: TorchGraph, optimiser: torch.optim.Optimizer) -> None:
    """Write beside and rename: a stop in mid-write must not cost the earlier epochs."""
    state = {"epoch": epoch, "weights": student.state_dict(), "optimiser": optimiser.state_dict()}
    beside = path.with_name(f"{path.name}.part")
    torch.save(state, beside)
    beside.replace(path)


def tail_loss(teacher: TorchGraph, simulation: Simulation, x: Tensor, allowed: Tensor, tail: QatTail) -> Tensor:
    """Distillation from the float network, and the labels beside it when `label_weight` is not 0."""
    with torch.no_grad():
        wanted = teacher(x)["logits"]
    logits = simulation(x)["logits"]
    t = tail.temperature
    loss = F.kl_div(
        F.log_softmax(logits / t, 1), F.log_softmax(wanted / t, 1), reduction="batchmean", log_target=True
    ) * (t * t)
    if tail.label_weight:
        named = F.log_softmax(logits, 1).masked_fill(allowed <= 0, -torch.inf)
        loss = loss - tail.label_weight * torch.logsumexp(named, 1).mean()
    return loss
