"""A short quantisation-aware training after calibration: weights, biases and ranges learn to live with the rounding.

float network (teacher) + batches -> Simulation of the INT8 network -> squared logit error -> its parameters, changed

What is asked for is what the float network answers, by squared error: where INT8 already agrees nothing pulls, so a
hundred small steps are enough. A step is a share of each layer's own rounding step: one learning rate for all weights
would be many rounding steps in one layer and none in another. The scales of activations learn too (Esser et al. 2020,
LSQ); gradients pass the rounding unchanged (Bengio et al. 2013). It must never see pictures of *val*.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.errors import QuantizeError
from trainer.fakequant import Simulation, normalise, weight_scale
from trainer.graph import INPUT, Node, TorchGraph
from trainer.losses import distillation_loss
from trainer.onnx_write import Affine
from trainer.ranges import PASS_ON, quantised_tensors

__all__ = ["QatTail", "TailBatch", "fine_tune", "tail_loss"]

TailBatch = tuple[NDArray[np.uint8], NDArray[np.float32] | None]
"""Pixels uint8 [B, 3, S, S] RGB; a teacher's logits or log-probabilities float32 [B, K] for them, or None."""

_SCALE_RATE = 0.05
"""Rate of the logarithm of an activation's scale, as a share of `QatTail.learning_rate`."""


@dataclass(frozen=True, slots=True)
class QatTail:
    """A short quantisation-aware fine-tuning after everything else.

    Attributes:
        batches: the batches of an epoch, by its number from 0; the same number gives the same batches, so that a tail
            that was cut off goes on as if it had not been.
        steps: batches in an epoch, for the learning rate's cosine.
        epochs: how many.
        learning_rate: at the start, in rounding steps of a layer's weights per training step; falls to 0.
        teacher_weight: of the distillation from the batches' own logits, beside the float network's; 0 leaves it out.
        temperature: of that distillation.
        checkpoint: parameters and optimiser after each epoch; when it exists, training goes on from there. Whether it
            belongs to the same network and data is the caller's care.
        on_epoch: told (epoch from 1, mean loss, seconds).
    """

    batches: Callable[[int], Iterable[TailBatch]]
    steps: int
    epochs: int = 1
    learning_rate: float = 0.005
    teacher_weight: float = 0.0
    temperature: float = 2.0
    checkpoint: Path | None = None
    on_epoch: Callable[[int, float, float], None] | None = None


class _Learning(Simulation):
    """A simulation whose scales of activations learn.

    Attributes:
        logs: logarithm of each tensor's own scale.
    """

    def __init__(self, net: TorchGraph, acts: Mapping[str, Affine]) -> None:
        super().__init__(net, acts)
        self._graph = net.to_graph()
        own = {owner for owner in quantised_tensors(self._graph).values() if owner != INPUT}
        self.logs = torch.nn.ParameterDict({name: torch.tensor(math.log(acts[name].scale)) for name in sorted(own)})
        # Above 6 saturation would no longer do what ReLU6 does.
        six = {node.output for node in net.nodes if node.act == "relu6"}
        self._most = {name: math.log(6.0 / 255.0) if name in six else math.inf for name in own}

    def after(self, node: Node, value: Tensor) -> Tensor:
        if node.op in PASS_ON or node.output not in self.logs:
            return value
        zero_point = self.acts[node.output].zero_point
        scale = self.logs[node.output].clamp_max(self._most[node.output]).exp()
        steps = (value / scale).clamp(-128 - zero_point, 127 - zero_point)
        rounded: Tensor = (steps + (steps.round() - steps).detach()) * scale
        return rounded

    def learnt(self) -> dict[str, Affine]:
        """The scales as they are now."""
        acts = dict(self.acts)
        for name, owner in quantised_tensors(self._graph).items():
            if owner != INPUT:
                scale = math.exp(min(float(self.logs[owner].detach()), self._most[owner]))
                acts[name] = Affine(float(np.float32(scale)), self.acts[owner].zero_point)
        return acts


def fine_tune(
    teacher: TorchGraph, student: TorchGraph, acts: Mapping[str, Affine], pixels: Affine, tail: QatTail
) -> dict[str, Affine]:
    """Change the student's weights and biases in place.

    Args:
        teacher: the float network; not changed.
        acts: scale per tensor, to begin with.
        pixels: how pixels become normalised numbers.

    Returns:
        The scales as they have learnt.

    Raises:
        QuantizeError: an epoch without a batch, or a loss that is no number.
    """
    simulation = _Learning(student, acts)
    optimiser = torch.optim.AdamW(_groups(simulation, tail.learning_rate), weight_decay=0.0)
    rates = [float(group["lr"]) for group in optimiser.param_groups]
    done = 0
    if tail.checkpoint is not None and tail.checkpoint.exists():
        state = torch.load(tail.checkpoint, weights_only=True)
        student.load_state_dict(state["weights"])
        simulation.logs.load_state_dict(state["logs"])
        optimiser.load_state_dict(state["optimiser"])
        done = int(state["epoch"])
    for epoch in range(done, tail.epochs):
        began_s = time.monotonic()
        losses: list[float] = []
        for step, (pictures, opinion) in enumerate(tail.batches(epoch)):
            progress = min(1.0, (epoch + step / tail.steps) / tail.epochs)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * progress))
            loss = tail_loss(teacher, simulation, normalise(pictures, pixels), opinion, tail)
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
            _save(tail.checkpoint, epoch + 1, simulation, optimiser)
        if tail.on_epoch is not None:
            tail.on_epoch(epoch + 1, sum(losses) / len(losses), time.monotonic() - began_s)
    return simulation.learnt()


def _groups(simulation: _Learning, rate: float) -> list[dict[str, Any]]:
    """What learns, each with the rate that moves it as far as it matters."""
    groups: list[dict[str, Any]] = [{"params": list(simulation.logs.values()), "lr": rate * _SCALE_RATE}]
    for node in simulation.net.nodes:
        if not node.weight:
            continue
        weight, bias = simulation.net.get_parameter(node.weight), simulation.net.get_parameter(node.bias)
        step = float(weight_scale(weight, bias, simulation.acts[node.inputs[0]].scale).median())
        groups.append({"params": [weight], "lr": rate * step})
        result = simulation.acts.get(node.output)  # none for the logits, which are not rounded
        groups.append({"params": [bias], "lr": rate * (step if result is None else result.scale)})
    return groups


def tail_loss(
    teacher: TorchGraph, simulation: Simulation, x: Tensor, opinion: NDArray[np.float32] | None, tail: QatTail
) -> Tensor:
    """Squared error against the float network's logits, and distillation from the batch's own when it has a weight.

    What is common to all labels is left out of the error: softmax does not see it.
    """
    with torch.no_grad():
        wanted = teacher(x)["logits"]
    logits = simulation(x)["logits"]
    off = logits - wanted
    loss: Tensor = (off - off.mean(1, keepdim=True)).square().mean()
    if tail.teacher_weight and opinion is not None:
        far = distillation_loss(logits, torch.from_numpy(opinion), tail.temperature)
        loss = loss + tail.teacher_weight * far
    return loss


def _save(path: Path, epoch: int, simulation: _Learning, optimiser: torch.optim.Optimizer) -> None:
    """Write beside and rename: a stop in mid-write must not cost the earlier epochs."""
    state = {
        "epoch": epoch,
        "weights": simulation.net.state_dict(),
        "logs": simulation.logs.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    beside = path.with_name(f"{path.name}.part")
    torch.save(state, beside)
    beside.replace(path)
