"""Write a graph as ONNX: in float, in float behind int8 pixels, or as INT8 (QDQ).

torch network -> export_float -> float ONNX -> Graph -> write_float, write_int8 -> the files of a bundle

Names are short, attributes that say the usual are left out, equal constants are stored once, and of every channel only
a float16 scale and a float16 bias: a QDQ graph made by the usual tools spends 150 kB on names, scales and zero points
where the whole model may have 390 kB. The float16 numbers are one vector that is cast and split when the file is
loaded; onnxruntime 1.27 then rounds the biases to int32 steps itself. Opset and IR version are fixed to what it reads.
It must never choose a scale: those come in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trainer.graph import INPUT, Graph, Node, Op

__all__ = ["OPSET", "Affine", "Int8Weights", "write_float", "write_int8"]

OPSET = 17
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Affine:
    """How an int8 tensor stands for numbers: real = (q - zero_point) * scale.

    Attributes:
        scale: above 0, a float32 value.
        zero_point: -128..127.
    """

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, eq=False)
class Int8Weights:
    """One layer's constants.

    Attributes:
        weight: int8, shape as in the graph, zero point 0.
        scale: float16 [O], one per output channel.
        bias: float16 [O], in real numbers.
        step: float32 [O], the input's scale times `scale`: int32 sums and biases are in these.
    """

    weight: NDArray[np.int8]
    scale: NDArray[np.float16]
    bias: NDArray[np.float16]
    step: NDArray[np.float32]


class _Writer:
    """Nodes and constants of one file; equal constants share one name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self.halves: dict[str, NDArray[np.float16]] = {}

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, value: NDArray[Any], name: str) -> str:
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return self.constants[key].name

    def half(self, value: NDArray[np.float16], name: str) -> str:
        """A vector that is stored in float16 and read as float32."""
        self.halves[name] = value
        return name

    def scale(self, affine: Affine, name: str) -> tuple[str, str]:
        zero_point = f"z{affine.zero_point + 128}"
        return (
            self.constant(np.array(affine.scale, np.float32), f"s{name}"),
            self.constant(np.array(affine.zero_point, np.int8), zero_point),
        )

    def layer(self, node: Node, inputs: Sequence[str], output: str) -> str:
        """The node itself; its activation is left to the caller."""
        more: dict[str, Any] = {}
        if max(node.stride) > 1:
            more["strides"] = node.stride
        if any(node.pads):
            more["pads"] = node.pads
        if node.groups > 1:
            more["group"] = node.groups
        if node.op in {"maxpool", "avgpool"}:
            more["kernel_shape"] = node.kernel
        if node.op == "linear":
            more["transB"] = 1
        return self.add(_ONNX[node.op], inputs, output, **more)

    def model(self, graph: Graph, input_type: int, widths: Mapping[str, int]) -> onnx.ModelProto:
        if self.halves:
            lengths = self.constant(np.array([len(value) for value in self.halves.values()], np.int64), "l")
            stored = self.constant(np.concatenate(list(self.halves.values())), "h")
            self.nodes[:0] = [
                helper.make_node("Cast", [stored], ["f"], to=TensorProto.FLOAT),
                helper.make_node("Split", ["f", lengths], list(self.halves)),
            ]
        picture = helper.make_tensor_value_info(graph.input_name, input_type, [1, *graph.input_shape])
        outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, width]) for n, width in widths.items()]
        proto = helper.make_graph(self.nodes, "g", [picture], outputs, list(self.constants.values()))
        return helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)


_ONNX: dict[Op, str] = {
    "conv": "Conv",
    "linear": "Gemm",
    "add": "Add",
    "mul": "Mul",
    "sigmoid": "Sigmoid",
    "maxpool": "MaxPool",
    "avgpool": "AveragePool",
    "mean": "GlobalAveragePool",
    "flatten": "Flatten",
}


def _widths(graph: Graph) -> dict[str, int]:
    """Numbers per output."""
    by_name: dict[str, int] = {INPUT: graph.input_shape[0]}
    for node in graph.nodes:
        by_name[node.output] = graph.params[node.weight].shape[0] if node.weight else by_name[node.inputs[0]]
    return {name: by_name[tensor] for name, tensor in graph.outputs.items()}


def write_float(graph: Graph, path: Path, *, pixels: Affine | None = None) -> None:
    """Write the float32 network.

    Args:
        graph: not an equalised one: its activations end in another place in each channel.
        path: written whole or not at all by the caller's care; replaced when it exists.
        pixels: None for a float32 input (normalised); otherwise the input is int8 [1, C, H, W] and is turned into
            normalised numbers first, so that the device prepares the same pixels for this file and for the INT8 one.
    """
    writer = _Writer()
    start = graph.input_name
    if pixels is not None:
        start = writer.add("DequantizeLinear", [start, *writer.scale(pixels, "x")], INPUT)
    ends = {tensor: name for name, tensor in graph.outputs.items()}
    names = {INPUT: start}
    for node in graph.nodes:
        inputs = [names[name] for name in node.inputs]
        inputs += [writer.constant(graph.params[name], name) for name in (node.weight, node.bias) if name]
        result = ends.get(node.output, node.output)
        before = result if node.act == "none" else f"{node.output}r"
        writer.layer(node, inputs, before)
        if node.act == "relu":
            writer.add("Relu", [before], result)
        elif node.act == "relu6":
            low, high = (writer.constant(np.array(end, np.float32), f"c{end}") for end in (0, 6))
            writer.add("Clip", [before, low, high], result)
        names[node.output] = result
    kind = TensorProto.FLOAT if pixels is None else TensorProto.INT8
    path.write_bytes(writer.model(graph, kind, _widths(graph)).SerializeToString(deterministic=True))


def write_int8(graph: Graph, path: Path, acts: Mapping[str, Affine], weights: Mapping[str, Int8Weights]) -> None:
    """Write the QDQ network: int8 [1, C, H, W] in, float32 outputs.

    Args:
        path: replaced when it exists.
        acts: for each tensor its scale; a tensor without one stays float32 (the logits). Activations are not written:
            the scale's range ends where they saturate.
        weights: per layer, by the tensor it makes.
    """
    writer = _Writer()
    names = {INPUT: writer.add("DequantizeLinear", [graph.input_name, *writer.scale(acts[INPUT], INPUT)], "d")}
    ends = {tensor: name for name, tensor in graph.outputs.items()}
    readers = graph.readers()
    for number, node in enumerate(graph.nodes):
        inputs = [names[name] for name in node.inputs]
        if node.weight:
            held = weights[node.output]
            weight = [writer.constant(held.weight, f"w{number}"), writer.half(held.scale, f"t{number}")]
            if node.op == "conv":
                bias = writer.half(held.bias, f"c{number}")
            else:  # QGemm wants zero points and an int32 bias of its own
                weight.append(writer.constant(np.zeros(held.scale.shape, np.int8), f"o{number}"))
                whole = np.rint(held.bias.astype(np.float32) / held.step).astype(np.int32)
                steps = [writer.constant(whole, f"b{number}"), writer.constant(held.step, f"u{number}")]
                bias = writer.add("DequantizeLinear", steps, f"c{number}", axis=0)
            inputs.append(writer.add("DequantizeLinear", weight, f"v{number}", axis=0))
            inputs.append(bias)
        if node.output not in acts:
            names[node.output] = writer.layer(node, inputs, ends[node.output])
            continue
        scale = writer.scale(acts[node.output], str(number))
        result = writer.layer(node, inputs, node.output)
        held_as = writer.add("QuantizeLinear", [result, *scale], f"q{number}")
        if readers[node.output]:
            names[node.output] = writer.add("DequantizeLinear", [held_as, *scale], f"d{number}")
        if node.output in ends:
            writer.add("DequantizeLinear", [held_as, *scale], ends[node.output])
    path.write_bytes(writer.model(graph, TensorProto.INT8, _widths(graph)).SerializeToString(deterministic=True))
