"""Teachers: the large networks that can teach, by name, with the weights that they were published with.

    name + weights -> build_teacher -> Net

A key of `trainer.nets.NETS`, or `timm:NAME` for any network that timm knows. timm's weights come through its own
loading: a hub, its cache, or a file that somebody brought. It must never fall back on random weights: a teacher that
knows nothing teaches nothing.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from trainer.errors import TrainerError
from trainer.nets import IMAGENET, MEAN, RANDOM, STD, Net, build_net

__all__ = ["PREFIX", "build_teacher"]

PREFIX = "timm:"


class _TimmNet(Net):
    """Any timm network as one stage; its own pooling makes the features."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: Any, width: int, labels: int) -> None:
        super().__init__([body], width, labels)
        config = body.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As `Net.forward`: pixels are (pixel - 127) / 128 and are turned into what the weights were trained on."""
        body: Any = self.stages[0]
        own = ((pixels * STD + MEAN) / 255 - self.mean) / self.std
        features = body.forward_head(body.forward_features(own), pre_logits=True)
        return self.head(features), features


def build_teacher(name: str, labels: int, weights: str | Path = IMAGENET) -> Net:
    """A pretrained network with a new last layer.

    Args:
        name: a key of `trainer.nets.NETS`, or `timm:NAME`.
        weights: `IMAGENET` for the published ones, a file in their place (safetensors, or what torch.save wrote), or
            `RANDOM` where a checkpoint is loaded next.

    Raises:
        TrainerError: no such network, or its weights cannot be had.
    """
    if not name.startswith(PREFIX):
        return build_net(name, labels, weights)
    plain = name.removeprefix(PREFIX)
    if plain not in timm.list_models():
        near = ", ".join(timm.list_models(f"*{plain[:12]}*")[:5]) or "timm.list_models() names them"
        raise TrainerError(f"teach.nets: timm has no network {plain!r}; near it: {near}")
    overlay = {"file": str(weights)} if weights not in (IMAGENET, RANDOM) else None
    if overlay and not Path(weights).is_file():
        raise TrainerError(f"{weights}: no such file of weights; give the one that was published for {plain}")
    try:
        body: nn.Module = timm.create_model(plain, pretrained=weights != RANDOM, pretrained_cfg_overlay=overlay)
    except Exception as error:  # hub, cache, network and file fail in as many ways as they have libraries
        reason = " ".join(str(error).split())[:200]
        raise TrainerError(
            f"{plain}: its weights cannot be loaded ({reason}); on a machine with a network run python -c "
            f"\"import timm, torch; torch.save(timm.create_model('{plain}', pretrained=True).state_dict(), "
            f"'{plain}.pth')\", bring the file and give it with --weights {plain}.pth"
        ) from error
    with torch.no_grad():
        body.eval()
        side = int(body.pretrained_cfg["input_size"][-1])  # type: ignore[index]
        probe: Any = body
        width = probe.forward_head(probe.forward_features(torch.zeros(1, 3, side, side)), pre_logits=True).shape[1]
    return _TimmNet(body, int(width), labels)
