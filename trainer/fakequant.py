"""INT8 arithmetic imitated in float: ranges, rounding, and the repair of the mean errors that rounding leaves.

Graph + calibration pictures -> Histograms -> choose_scales -> Simulation -> correct_biases -> int8_weights

Weights: symmetric, one scale per output channel. Activations: one scale and zero point per tensor. After ReLU the zero
point is -128 and after ReLU6 the range ends at 6 or below, so that saturation *is* the activation and the INT8 graph
needs none. Sources: Jacob et al. 2018 (the arithmetic), Nagel et al. 2021 (ranges, empirical bias correction).
Cross-layer equalisation is left out: scaling a channel commutes with ReLU but not with ReLU6, and with one weight scale
per channel there is little left to equalise.

It must never be more precise than the INT8 file that is written from it: `quantize` compares the two.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.graph import INPUT, Graph, Node, TorchGraph, activate
from trainer.onnx_write import Affine, Int8Weights

__all__ = [
    "Histograms",
    "Simulation",
    "affine_for",
    "correct_biases",
    "int8_weights",
    "normalise",
    "quantised_tensors",
    "weight_scale",
]

_BINS = 4096
# int32 biases: a channel of almost zero weights would need a bias beyond 2^31 steps.
_MAX_BIAS_STEPS = 2.0**30
_SMALLEST_SCALE = 1e-9
_PASS_ON = ("maxpool", "flatten")


def normalise(pixels: NDArray[np.uint8], affine: Affine) -> Tensor:
    """uint8 pixels [N, 3, S, S] to the float32 numbers that the network reads (byte XOR 0x80 is pixel - 128)."""
    return (torch.from_numpy(pixels).float() - (128.0 + affine.zero_point)) * affine.scale


def affine_for(low: float, high: float) -> Affine:
    """The int8 scale for a range, widened to hold 0 exactly.

    Args:
        low, high: real numbers, low <= high. A low of 0 gives zero point -128.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255.0, _SMALLEST_SCALE)))
    return Affine(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def quantised_tensors(graph: Graph) -> dict[str, str]:
    """Tensor -> tensor whose scale it has, for all tensors that INT8 stores.

    Pools that pick and reshapes keep their input's scale. A linear layer that nothing reads gives float32 logits
    straight from the int32 sums: rounding them to 256 steps would only lose.
    """
    readers = graph.readers()
    owner = {INPUT: INPUT}
    for node in graph.nodes:
        if node.op in _PASS_ON:
            owner[node.output] = owner[node.inputs[0]]
        elif node.op != "linear" or readers[node.output]:
            owner[node.output] = node.output
    return owner


class Histograms:
    """What values each tensor takes over the calibration pictures.

    Args:
        net: the float network.
        batches: float32 [n, C, H, W] each, normalised; gone through twice.
    """

    def __init__(self, net: TorchGraph, batches: Sequence[Tensor]) -> None:
        self.ends: dict[str, tuple[float, float]] = {}
        self.counts: dict[str, Tensor] = {}
        self._graph = net.to_graph()
        with torch.no_grad():
            for batch in batches:
                net(batch, after=self._widen)
            for batch in batches:
                net(batch, after=self._count)

    def _widen(self, node: Node, value: Tensor) -> Tensor:
        low, high = self.ends.get(node.output, (0.0, 0.0))
        self.ends[node.output] = (min(low, float(value.min())), max(high, float(value.max())))
        return value

    def _count(self, node: Node, value: Tensor) -> Tensor:
        low, high = self.ends[node.output]
        if high > low:
            counts = torch.histc(value, _BINS, low, high)
            self.counts[node.output] = self.counts.get(node.output, torch.zeros(_BINS)) + counts
        return value

    def range_of(self, tensor: str, percentile: float) -> tuple[float, float]:
        """The range that leaves out (100 - percentile) % of the values at either end; all of them at 100.

        Args:
            percentile: 50..100. An end that is 0 (after ReLU) stays 0.
        """
        low, high = self.ends[tensor]
        if percentile >= 100.0 or high <= low:
            return low, high
        below = torch.cumsum(self.counts[tensor].double(), 0)
        cut = float(below[-1]) * (1.0 - percentile / 100.0)
        width = (high - low) / _BINS
        first = int(torch.searchsorted(below, cut, right=True))
        last = int(torch.searchsorted(below, float(below[-1]) - cut))
        return (low + first * width if low < 0.0 else 0.0), low + (last + 1) * width

    def scales(self, percentile: float, pixels: Affine) -> dict[str, Affine]:
        """A scale for every tensor that INT8 stores."""
        acts: dict[str, Affine] = {INPUT: pixels}
        for tensor, owner in quantised_tensors(self._graph).items():
            if tensor not in acts:
                acts[tensor] = acts[owner] if owner in acts else affine_for(*self.range_of(tensor, percentile))
        return acts


def weight_scale(weight: Tensor, bias: Tensor, input_scale: float) -> Tensor:
    """One scale per output channel, float32 [O]: the largest weight becomes 127."""
    largest = weight.detach().abs().amax(tuple(range(1, weight.dim()))) / 127.0
    needed = bias.detach().abs() / (input_scale * _MAX_BIAS_STEPS)
    return torch.maximum(largest, needed).clamp_min(_SMALLEST_SCALE)


class Simulation:
    """The hooks that make `TorchGraph.forward` compute as INT8 does; gradients go straight through the rounding.

    Args:
        net: whose parameters are used; they may change afterwards.
        acts: scale per tensor.
        only: quantise just this node's weights and result (to see what it costs); None for all.
    """

    def __init__(self, net: TorchGraph, acts: Mapping[str, Affine], only: str | None = None) -> None:
        self.net = net
        self.acts = acts
        self.only = only

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Run a batch; arguments and result as `TorchGraph.forward`."""
        outputs: dict[str, Tensor] = self.net(x, self.weight, self.bias, self.after)
        return outputs

    def weight(self, node: Node, value: Tensor) -> Tensor:
        """Round a layer's weights."""
        if self.only not in {None, node.output}:
            return value
        scale = self._scale(node)
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(value, scale, zeros, 0, -127, 127)

    def bias(self, node: Node, value: Tensor) -> Tensor:
        """Round a layer's biases to steps of input scale times weight scale."""
        if self.only not in {None, node.output}:
            return value
        step = self._scale(node) * self.acts[node.inputs[0]].scale
        return value + (torch.round(value / step) * step - value).detach()

    def after(self, node: Node, value: Tensor) -> Tensor:
        """Round what a layer gives."""
        if self.only not in {None, node.output} or node.op in _PASS_ON or node.output not in self.acts:
            return value
        act = self.acts[node.output]
        return torch.fake_quantize_per_tensor_affine(value, act.scale, act.zero_point, -128, 127)

    def _scale(self, node: Node) -> Tensor:
        weight, bias = self.net.get_parameter(node.weight), self.net.get_parameter(node.bias)
        return weight_scale(weight, bias, self.acts[node.inputs[0]].scale)


def correct_biases(teacher: TorchGraph, student: TorchGraph, acts: Mapping[str, Affine], pictures: Tensor) -> None:
    """Shift each bias so that the layer's mean per channel is the float network's, from the first layer to the last.

    Rounded weights shift means, and a depthwise net adds the shifts up.

    Args:
        teacher: the float network.
        student: its biases are changed in place.
        pictures: float32 [N, C, H, W], normalised; all tensors of a layer are in memory at once (64 pictures of 192 px
            need about 2 GB).
    """
    simulation = Simulation(student, acts)
    left = student.to_graph().readers()
    real, fake = {INPUT: pictures}, {INPUT: pictures}
    with torch.no_grad():
        for node in student.nodes:
            expected = teacher.run_node(node, [real[name] for name in node.inputs])
            got = student.run_node(node, [fake[name] for name in node.inputs], simulation.weight, simulation.bias)
            for name in node.inputs:
                left[name] -= 1
                if not left[name]:
                    del real[name], fake[name]
            if node.weight:
                axes = (0, *range(2, got.dim()))
                shift = expected.mean(axes) - got.mean(axes)
                student.get_parameter(node.bias).add_(shift)
                got = got + shift.reshape(1, -1, *[1] * (got.dim() - 2))
            real[node.output] = activate(node.act, expected)
            fake[node.output] = simulation.after(node, activate(node.act, got))


def int8_weights(graph: Graph, acts: Mapping[str, Affine]) -> dict[str, Int8Weights]:
    """The integers that `Simulation` rounds to, per layer, by the tensor it makes."""
    weights: dict[str, Int8Weights] = {}
    for node in graph.nodes:
        if not node.weight:
            continue
        weight, bias = torch.from_numpy(graph.params[node.weight]), torch.from_numpy(graph.params[node.bias])
        scale = weight_scale(weight, bias, acts[node.inputs[0]].scale)
        step = scale * acts[node.inputs[0]].scale
        columns = scale.reshape(-1, *[1] * (weight.dim() - 1))
        q: NDArray[np.int8] = torch.round(weight / columns).clamp(-127, 127).to(torch.int8).numpy()
        whole = torch.round(bias / step).to(torch.int32).numpy()
        weights[node.output] = Int8Weights(q, scale.numpy(), whole, step.numpy())
    return weights
