"""A small convolutional network as data, and as a torch module.

float.onnx -> onnx_read.read_graph -> Graph -> TorchGraph -> calibration, bias correction, quantisation-aware training

The float file is the specification: whatever is measured, corrected or fine-tuned later is this graph. It knows the
layers of plain feed-forward CNNs (MobileNetV2, EfficientNet, ResNet) and nothing of files or of INT8: who simulates
INT8 hands in functions, for weights, for biases and for what a layer gives.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["INPUT", "Act", "Array", "Graph", "Node", "Op", "TorchGraph", "activate"]

INPUT = "x"
Op = Literal["conv", "linear", "add", "mul", "sigmoid", "maxpool", "avgpool", "mean", "flatten"]
Act = Literal["none", "relu", "relu6"]
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Node:
    """One layer.

    Attributes:
        op: `mean` is the mean over height and width, kept as [N, C, 1, 1]; `flatten` gives [N, F]; `mul` also takes
            [N, C, H, W] times [N, C, 1, 1].
        output: short name of the tensor it makes, `a0`, `a1`, ...
        inputs: tensors that it reads; `x` is the picture.
        kernel, stride: height, width.
        pads: top, left, bottom, right; zeros for a convolution.
        act: applied to the result.
        weight, bias: names in `Graph.params`, of `conv` [O, I/groups, kh, kw] and `linear` [O, I] only.
        tops: where ReLU6 ends, per channel; empty for 6 everywhere. Only equalisation makes others.
    """

    op: Op
    output: str
    inputs: tuple[str, ...]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    act: Act = "none"
    weight: str = ""
    bias: str = ""
    tops: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A whole network.

    Attributes:
        nodes: in the order of execution.
        params: float32 weights and biases by name.
        outputs: name outside (`logits`, `features`) -> tensor.
        input_shape: channels, height, width.
        input_name: what the file calls the picture.
    """

    nodes: tuple[Node, ...]
    params: Mapping[str, Array]
    outputs: Mapping[str, str]
    input_shape: tuple[int, int, int]
    input_name: str = "pixels"

    def readers(self) -> Counter[str]:
        """How many nodes read each tensor."""
        return Counter(name for node in self.nodes for name in node.inputs)

    def describe(self, node: Node) -> str:
        """A layer for a person, `a5: conv 3x3 depthwise, 96 channels, stride 2`."""
        text = f"{node.output}: {node.op}"
        if node.op == "conv":
            text += f" {node.kernel[0]}x{node.kernel[1]}"
        if node.weight:
            width = self.params[node.weight].shape[0]
            kind = "" if node.groups == 1 else " depthwise" if node.groups == width else f" in {node.groups} groups"
            text += f"{kind}, {width} channels"
        return text + (f", stride {node.stride[0]}" if max(node.stride) > 1 else "")


def activate(node: Node, value: Tensor) -> Tensor:
    """Apply a layer's activation to what it gives, [N, C, ...]."""
    if node.act == "none":
        return value
    if node.act == "relu6" and not node.tops:
        return F.relu6(value)
    value = F.relu(value)
    return torch.minimum(value, torch.tensor(node.tops).reshape(-1, *[1] * (value.dim() - 2))) if node.tops else value


def _same(_: Node, value: Tensor) -> Tensor:
    return value


class TorchGraph(torch.nn.Module):
    """Runs a graph in torch; its parameters carry the graph's own names (`w0`, `b0`).

    Args:
        graph: copied; `to_graph` gives it back with the parameters as they are then.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.nodes = graph.nodes
        self._graph = graph
        for name, value in graph.params.items():
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(value.copy())))

    def to_graph(self) -> Graph:
        """The graph with the parameters as they are now."""
        params = {name: value.detach().numpy().copy() for name, value in self.named_parameters()}
        return replace(self._graph, params=params)

    def forward(
        self,
        x: Tensor,
        weight: Callable[[Node, Tensor], Tensor] = _same,
        bias: Callable[[Node, Tensor], Tensor] = _same,
        after: Callable[[Node, Tensor], Tensor] = _same,
    ) -> dict[str, Tensor]:
        """Run a batch.

        Args:
            x: float32 [N, C, H, W], normalised.
            weight, bias: change a layer's parameters before they are used.
            after: changes or looks at what a layer gives, activation included.

        Returns:
            The outputs by the names of `Graph.outputs`.
        """
        left = self._graph.readers()
        left.update(self._graph.outputs.values())
        values = {INPUT: x}
        for node in self.nodes:
            inputs = [values[name] for name in node.inputs]
            for name in node.inputs:
                left[name] -= 1
                if not left[name]:
                    del values[name]  # a batch of calibration pictures does not fit twice
            values[node.output] = after(node, activate(node, self.run_node(node, inputs, weight, bias)))
        return {name: values[tensor] for name, tensor in self._graph.outputs.items()}

    def run_node(
        self,
        node: Node,
        inputs: list[Tensor],
        weight: Callable[[Node, Tensor], Tensor] = _same,
        bias: Callable[[Node, Tensor], Tensor] = _same,
    ) -> Tensor:
        """One layer, before its activation."""
        x = inputs[0]
        if node.op == "conv":
            top, left, bottom, right = node.pads
            padding: tuple[int, int] = (top, left)
            if (top, left) != (bottom, right):
                x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
            w, b = weight(node, self.get_parameter(node.weight)), bias(node, self.get_parameter(node.bias))
            return F.conv2d(x, w, b, node.stride, padding, groups=node.groups)
        if node.op == "linear":
            w, b = weight(node, self.get_parameter(node.weight)), bias(node, self.get_parameter(node.bias))
            return F.linear(x, w, b)
        if node.op == "add":
            return x + inputs[1]
        if node.op == "mul":
            return x * inputs[1]
        if node.op == "sigmoid":
            return torch.sigmoid(x)
        if node.op == "maxpool":
            top, left, bottom, right = node.pads
            return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-torch.inf), node.kernel, node.stride)
        if node.op == "avgpool":
            return F.avg_pool2d(x, node.kernel, node.stride)
        if node.op == "mean":
            return x.mean((2, 3), keepdim=True)
        return x.flatten(1)
