"""INT8 arithmetic imitated in float: rounding, and the repair of the mean errors that it leaves.

Graph + scales -> Simulation -> correct_biases -> int8_weights

Weights: symmetric, one scale per output channel. Activations: one scale and zero point per tensor. After ReLU the zero
point is -128 and after ReLU6 the range ends at 6 or below, so that saturation *is* the activation and the INT8 graph
needs none. Scales and biases are numbers that float16 holds, since that is how they are stored. Sources: Jacob et al.
2018 (the arithmetic), Nagel et al. 2021 (empirical bias correction).

It must never be more precise than the INT8 file that is written from it: `quantize` compares the two.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.graph import INPUT, Graph, Node, TorchGraph, activate
from trainer.onnx_write import Affine, Int8Weights
from trainer.ranges import PASS_ON

__all__ = ["Simulation", "correct_biases", "int8_weights", "normalise", "weight_scale"]

# int32 biases: a channel of almost zero weights would need a bias beyond 2^31 steps.
_MAX_BIAS_STEPS = 2.0**30
_SMALLEST_SCALE = 2.0**-20  # below, float16 is too coarse


def normalise(pixels: NDArray[np.uint8], affine: Affine) -> Tensor:
    """uint8 pixels [N, 3, S, S] to the float32 numbers that the network reads (byte XOR 0x80 is pixel - 128)."""
    return (torch.from_numpy(pixels).float() - (128.0 + affine.zero_point)) * affine.scale


def weight_scale(weight: Tensor, bias: Tensor, input_scale: float) -> Tensor:
    """One scale per output channel, float32 [O] that float16 holds: the largest weight becomes 127."""
    largest = weight.detach().abs().amax(tuple(range(1, weight.dim()))) / 127.0
    needed = bias.detach().abs() / (input_scale * _MAX_BIAS_STEPS)
    return torch.maximum(largest, needed).clamp_min(_SMALLEST_SCALE).half().float()


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
        """Round a layer's biases to float16, then to steps of input scale times weight scale."""
        if self.only not in {None, node.output}:
            return value
        step = self._scale(node) * self.acts[node.inputs[0]].scale
        return value + (torch.round(value.half().float() / step) * step - value).detach()

    def after(self, node: Node, value: Tensor) -> Tensor:
        """Round what a layer gives."""
        if self.only not in {None, node.output} or node.op in PASS_ON or node.output not in self.acts:
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
            real[node.output] = activate(node, expected)
            fake[node.output] = simulation.after(node, activate(node, got))


def int8_weights(graph: Graph, acts: Mapping[str, Affine]) -> dict[str, Int8Weights]:
    """The integers that `Simulation` rounds to, per layer, by the tensor it makes."""
    weights: dict[str, Int8Weights] = {}
    for node in graph.nodes:
        if not node.weight:
            continue
        weight, bias = torch.from_numpy(graph.params[node.weight]), torch.from_numpy(graph.params[node.bias])
        input_scale = acts[node.inputs[0]].scale
        scale = weight_scale(weight, bias, input_scale)
        columns = scale.reshape(-1, *[1] * (weight.dim() - 1))
        q: NDArray[np.int8] = torch.round(weight / columns).clamp(-127, 127).to(torch.int8).numpy()
        weights[node.output] = Int8Weights(q, scale.half().numpy(), bias.half().numpy(), (scale * input_scale).numpy())
    return weights
