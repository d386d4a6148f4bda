"""Read a float ONNX network into the graph that the quantiser works on.

float.onnx -> read_graph -> Graph

Batch norms and paddings are folded into the convolutions, activations attached to the layer before them, copies and
dead nodes dropped. It must never guess: an operator or attribute that it does not understand is refused by name.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from trainer.errors import QuantizeError
from trainer.graph import INPUT, Act, Graph, Node, Op

__all__ = ["read_graph"]


def read_graph(model: Path | onnx.ModelProto) -> Graph:
    """Read a float ONNX network with one picture as input.

    Args:
        model: a file or a loaded model; input float32 [1, C, H, W], fixed height and width.

    Raises:
        QuantizeError: the file cannot be read, or holds an operator or attribute outside the list above.
    """
    where = "the model" if isinstance(model, onnx.ModelProto) else str(model)
    try:
        proto = model if isinstance(model, onnx.ModelProto) else onnx.load(str(model))
        onnx.checker.check_model(proto)
    except Exception as exc:  # protobuf's own error class is private
        reason = " ".join(str(exc).split())
        raise QuantizeError(f"{where}: cannot be read as ONNX ({reason}); export the float network again") from exc
    return _Reader(proto, where).read()


class _Reader:
    """The state of one reading: nodes so far, keyed by the tensor they make."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.proto = model.graph
        self.where = where
        self.constants = {item.name: numpy_helper.to_array(item) for item in self.proto.initializer}
        self.same: dict[str, str] = {}  # tensor -> the tensor that it equals
        self.padded: dict[str, tuple[str, tuple[int, int, int, int]]] = {}
        self.nodes: dict[str, Node] = {}
        self.params: dict[str, NDArray[np.float32]] = {}
        for node in self.proto.node:
            if node.op_type in {"Identity", "Dropout"}:
                self.same[node.output[0]] = node.input[0]
        self.read_by: Counter[str] = Counter()
        for node in self.proto.node:
            if node.op_type not in {"Identity", "Dropout"}:
                self.read_by.update(self._tensor(name) for name in node.input)
        self.read_by.update(self._tensor(output.name) for output in self.proto.output)

    def read(self) -> Graph:
        inputs = [value for value in self.proto.input if value.name not in self.constants]
        if len(inputs) != 1:
            raise QuantizeError(f"{self.where}: {len(inputs)} inputs, expected one picture; export it again")
        picture = inputs[0]
        dims = [dim.dim_value for dim in picture.type.tensor_type.shape.dim]
        if len(dims) != 4 or min(dims[1:]) < 1 or picture.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise QuantizeError(
                f"{self.where}: input {picture.name!r} is {dims}, expected float32 [1, C, H, W] of a fixed size"
            )
        for node in self.proto.node:
            self._OPERATORS.get(node.op_type, _Reader._refuse_op)(self, node)
        outputs = {value.name: self._tensor(value.name) for value in self.proto.output}
        return self._tidy(outputs, (dims[1], dims[2], dims[3]), picture.name)

    def _tidy(self, outputs: dict[str, str], shape: tuple[int, int, int], picture: str) -> Graph:
        """Drop what no output needs and give short names."""
        needed = set(outputs.values())
        for node in reversed(list(self.nodes.values())):
            if node.output in needed:
                needed.update(node.inputs)
        if unknown := sorted(needed - set(self.nodes) - {picture}):
            raise QuantizeError(f"{self.where}: no node makes {unknown}, which the network needs; export it again")
        short = {picture: INPUT}
        nodes: list[Node] = []
        params: dict[str, NDArray[np.float32]] = {}
        for node in self.nodes.values():
            if node.output not in needed:
                continue
            number = len(nodes)
            short[node.output] = f"a{number}"
            weight, bias = (f"w{number}", f"b{number}") if node.weight else ("", "")
            if node.weight:
                params |= {weight: self.params[node.weight], bias: self.params[node.bias]}
            names = tuple(short[name] for name in node.inputs)
            nodes.append(replace(node, output=short[node.output], inputs=names, weight=weight, bias=bias))
        return Graph(tuple(nodes), params, {name: short[to] for name, to in outputs.items()}, shape, picture)

    # What every operator needs

    def _say(self, node: onnx.NodeProto, problem: str) -> QuantizeError:
        return QuantizeError(
            f"{self.where}: node {node.name or node.output[0]!r} ({node.op_type}) {problem}; "
            "change the network, or leave it in float"
        )

    def _refuse_op(self, node: onnx.NodeProto) -> None:
        raise self._say(node, "is an operator that the quantiser does not know")

    def _tensor(self, name: str) -> str:
        while name in self.same:
            name = self.same[name]
        return name

    def _becomes(self, node: onnx.NodeProto, before: Node) -> None:
        """The node is now part of the one before it, its only reader until here."""
        self.read_by[before.output] = self.read_by[node.output[0]]
        self.same[node.output[0]] = before.output

    def _constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        name = node.input[index] if index < len(node.input) else ""
        if self._tensor(name) not in self.constants:
            raise self._say(node, f"reads input {index} from another node, expected a constant")
        return self.constants[self._tensor(name)]

    def _has(self, node: onnx.NodeProto, index: int) -> bool:
        return index < len(node.input) and node.input[index] != ""

    def _add_node(self, node: Node, weight: NDArray[Any] | None = None, bias: NDArray[Any] | None = None) -> None:
        if weight is not None:
            node = replace(node, weight=f"w.{node.output}", bias=f"b.{node.output}")
            self.params[node.weight] = np.ascontiguousarray(weight, np.float32)
            zeros = np.zeros(weight.shape[0], np.float32)
            self.params[node.bias] = zeros if bias is None else np.ascontiguousarray(bias, np.float32).reshape(-1)
        self.nodes[node.output] = node

    def _before(self, node: onnx.NodeProto, ops: tuple[Op, ...]) -> Node:
        """The node that makes the first input, when it may still be changed."""
        name = self._tensor(node.input[0])
        before = self.nodes.get(name)
        if before is None or before.op not in ops or before.act != "none" or self.read_by[name] != 1:
            raise self._say(node, f"must follow a {' or '.join(ops)} that nothing else reads")
        return before

    # One method per operator

    def _hold(self, node: onnx.NodeProto) -> None:
        value = _attributes(node).get("value")
        if not isinstance(value, onnx.TensorProto):
            raise self._say(node, "holds no tensor")
        self.constants[node.output[0]] = numpy_helper.to_array(value)

    def _skip(self, node: onnx.NodeProto) -> None:
        """A copy: noted before the reading began."""

    def _pad(self, node: onnx.NodeProto) -> None:
        ends = self._constant(node, 1).tolist()
        value = float(self._constant(node, 2).item()) if self._has(node, 2) else 0.0
        if _attributes(node).get("mode", b"constant") != b"constant" or value != 0.0 or self._has(node, 3):
            raise self._say(node, "must pad with zeros on all axes")
        if len(ends) != 8 or any(ends[axis] for axis in (0, 1, 4, 5)) or min(ends) < 0:
            raise self._say(node, f"pads {ends}, expected height and width only")
        self.padded[node.output[0]] = (self._tensor(node.input[0]), (ends[2], ends[3], ends[6], ends[7]))

    def _window(self, node: onnx.NodeProto, kernel: tuple[int, int]) -> dict[str, Any]:
        """Stride and pads of a convolution or pool, refused when it does anything else."""
        attributes = _attributes(node)
        if attributes.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
            raise self._say(node, "uses auto_pad; export explicit pads")
        if attributes.get("ceil_mode", 0) or any(step != 1 for step in attributes.get("dilations", ())):
            raise self._say(node, "uses ceil_mode or dilations")
        stride = tuple(attributes.get("strides", (1, 1)))
        pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
        if len(kernel) != 2 or len(stride) != 2 or len(pads) != 4:
            raise self._say(node, "is not two-dimensional")
        return {"kernel": kernel, "stride": stride, "pads": pads}

    def _conv(self, node: onnx.NodeProto) -> None:
        weight = self._constant(node, 1)
        window = self._window(node, tuple(weight.shape[2:]))
        source, more = self.padded.get(name := self._tensor(node.input[0]), (name, (0, 0, 0, 0)))
        window["pads"] = tuple(a + b for a, b in zip(window["pads"], more, strict=True))
        groups = int(_attributes(node).get("group", 1))
        bias = self._constant(node, 2) if self._has(node, 2) else None
        self._add_node(Node("conv", node.output[0], (source,), groups=groups, **window), weight, bias)

    def _batchnormalization(self, node: onnx.NodeProto) -> None:
        before = self._before(node, ("conv",))
        gamma, beta, mean, var = (self._constant(node, index).astype(np.float64) for index in (1, 2, 3, 4))
        factor = gamma / np.sqrt(var + float(_attributes(node).get("epsilon", 1e-5)))
        weight, bias = self.params[before.weight], self.params[before.bias]
        self.params[before.weight] = (weight * factor[:, None, None, None]).astype(np.float32)
        self.params[before.bias] = ((bias - mean) * factor + beta).astype(np.float32)
        self._becomes(node, before)

    def _set_act(self, node: onnx.NodeProto, act: Act) -> None:
        before = self._before(node, ("conv", "linear", "add"))
        self.nodes[before.output] = replace(before, act=act)
        self._becomes(node, before)

    def _relu(self, node: onnx.NodeProto) -> None:
        self._set_act(node, "relu")

    def _clip(self, node: onnx.NodeProto) -> None:
        low = float(self._constant(node, 1).item()) if self._has(node, 1) else -math.inf
        high = float(self._constant(node, 2).item()) if self._has(node, 2) else math.inf
        if low != 0.0 or high not in {6.0, math.inf}:
            raise self._say(node, f"clips to {low}..{high}, expected 0..6 (ReLU6)")
        self._set_act(node, "relu6" if high == 6.0 else "relu")

    def _add(self, node: onnx.NodeProto) -> None:
        first, second = (self._tensor(name) for name in node.input)
        if first not in self.constants and second not in self.constants:
            self._add_node(Node("add", node.output[0], (first, second)))
            return
        before = self.nodes.get(second if first in self.constants else first)
        constant = self.constants[first if first in self.constants else second]
        if before is None or before.op != "linear" or before.act != "none" or self.read_by[before.output] != 1:
            raise self._say(node, "adds a constant to something that is not a MatMul")
        self.params[before.bias] = (self.params[before.bias] + constant.reshape(-1)).astype(np.float32)
        self._becomes(node, before)

    def _mul(self, node: onnx.NodeProto) -> None:
        inputs = tuple(self._tensor(name) for name in node.input)
        if any(name in self.constants for name in inputs):
            raise self._say(node, "multiplies by a constant; put it into the weights before it")
        self._add_node(Node("mul", node.output[0], inputs))

    def _sigmoid(self, node: onnx.NodeProto) -> None:
        self._add_node(Node("sigmoid", node.output[0], (self._tensor(node.input[0]),)))

    def _pool(self, node: onnx.NodeProto, op: Op) -> None:
        window = self._window(node, tuple(_attributes(node)["kernel_shape"]))
        if self._tensor(node.input[0]) in self.padded:
            raise self._say(node, "follows a Pad, which only a Conv can take in")
        if op == "avgpool" and any(window["pads"]):
            raise self._say(node, "averages over padding")
        self._add_node(Node(op, node.output[0], (self._tensor(node.input[0]),), **window))

    def _maxpool(self, node: onnx.NodeProto) -> None:
        self._pool(node, "maxpool")

    def _averagepool(self, node: onnx.NodeProto) -> None:
        self._pool(node, "avgpool")

    def _globalaveragepool(self, node: onnx.NodeProto) -> None:
        self._add_node(Node("mean", node.output[0], (self._tensor(node.input[0]),)))

    def _reducemean(self, node: onnx.NodeProto) -> None:
        attributes = _attributes(node)
        axes = self._constant(node, 1).tolist() if self._has(node, 1) else list(attributes.get("axes", ()))
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            raise self._say(node, f"averages over axes {axes}, expected height and width")
        if attributes.get("keepdims", 1):
            self._globalaveragepool(node)
        else:
            kept = f"{node.output[0]}.kept"
            self._add_node(Node("mean", kept, (self._tensor(node.input[0]),)))
            self._add_node(Node("flatten", node.output[0], (kept,)))

    def _flatten(self, node: onnx.NodeProto) -> None:
        if _attributes(node).get("axis", 1) != 1:
            raise self._say(node, "flattens from another axis than 1")
        before = self.nodes.get(self._tensor(node.input[0]))
        if before is not None and before.op in {"flatten", "linear"}:
            self.read_by[before.output] += self.read_by[node.output[0]] - 1
            self.same[node.output[0]] = before.output  # it is flat already
        else:
            self._add_node(Node("flatten", node.output[0], (self._tensor(node.input[0]),)))

    def _reshape(self, node: onnx.NodeProto) -> None:
        shape = self._constant(node, 1).tolist()
        if len(shape) != 2 or shape[0] not in {-1, 0, 1}:
            raise self._say(node, f"reshapes to {shape}, expected [1, -1]")
        self._flatten(node)

    def _gemm(self, node: onnx.NodeProto) -> None:
        attributes = _attributes(node)
        if (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0)) != (1.0, 1.0, 0):
            raise self._say(node, "uses alpha, beta or transA")
        weight = self._constant(node, 1)
        bias = self._constant(node, 2) if self._has(node, 2) else None
        self._linear(node, weight if attributes.get("transB", 0) else weight.T, bias)

    def _matmul(self, node: onnx.NodeProto) -> None:
        self._linear(node, self._constant(node, 1).T, None)

    def _linear(self, node: onnx.NodeProto, weight: NDArray[Any], bias: NDArray[Any] | None) -> None:
        source = self._tensor(node.input[0])
        before = self.nodes.get(source)
        if before is None or before.op not in {"flatten", "linear"}:
            raise self._say(node, "reads something that is not flat; put a Flatten before it")
        self._add_node(Node("linear", node.output[0], (source,)), weight, bias)

    _OPERATORS: ClassVar[Mapping[str, Callable[["_Reader", onnx.NodeProto], None]]] = {
        "Add": _add,
        "AveragePool": _averagepool,
        "BatchNormalization": _batchnormalization,
        "Clip": _clip,
        "Constant": _hold,
        "Conv": _conv,
        "Dropout": _skip,
        "Flatten": _flatten,
        "Gemm": _gemm,
        "GlobalAveragePool": _globalaveragepool,
        "Identity": _skip,
        "MatMul": _matmul,
        "MaxPool": _maxpool,
        "Mul": _mul,
        "Pad": _pad,
        "ReduceMean": _reducemean,
        "Relu": _relu,
        "Reshape": _reshape,
        "Sigmoid": _sigmoid,
    }


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
