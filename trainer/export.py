"""Turn a trained torch network into the float ONNX file that everything after it starts from.

torch network -> torch.export -> ONNX nodes, one for one -> read_graph (folds batch norms) -> write_float

torch's own ONNX exporter is not used: it needs another package, its names fill a third of a small file, and it changes
with every release. It must never change what the network computes: `quantize` compares the results.
"""

import copy
import operator
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.fx.node import Node as FxNode

from trainer.errors import QuantizeError
from trainer.graph import Graph
from trainer.onnx_read import read_graph
from trainer.onnx_write import OPSET, Affine, write_float

__all__ = ["export_float", "trace", "with_int8_input"]

_OUTPUTS = ("logits", "features")


def export_float(net: torch.nn.Module, size_px: int, path: Path) -> Graph:
    """Write a network as float ONNX, batch norms folded.

    Args:
        net: its forward takes float32 [1, 3, S, S] (normalised) and returns (logits [1, K], features [1, F]).
            Not changed; it is traced as in eval mode.
        size_px: S.
        path: gets input `pixels` float32 [1, 3, S, S] and outputs `logits`, `features`.

    Raises:
        QuantizeError: the network uses an operation that the quantiser does not know.
    """
    graph = trace(net, size_px)
    write_float(graph, path)
    return graph


def with_int8_input(float_onnx: Path, path: Path, *, input_scale: float, input_zero_point: int) -> None:
    """Write the same float network with the INT8 file's input: int8 [1, 3, S, S], byte XOR 0x80.

    Args:
        float_onnx: from `export_float`.
        input_scale, input_zero_point: normalised = (q - zero_point) * scale; 1/128 and -1 for mean 127, deviation 128.
    """
    write_float(read_graph(float_onnx), path, pixels=Affine(input_scale, input_zero_point))


def trace(net: torch.nn.Module, size_px: int) -> Graph:
    """A network as a graph, batch norms folded; arguments and errors as `export_float`."""
    frozen = copy.deepcopy(net).eval()  # eval() on the caller's own would forget which of its stages are frozen
    try:
        with torch.no_grad():
            program = torch.export.export(frozen, (torch.zeros(1, 3, size_px, size_px),)).run_decompositions({})
    except Exception as exc:  # torch.export raises whatever the network's code meets
        raise QuantizeError(
            f"{type(net).__name__}: cannot be traced at {size_px} px ({str(exc).splitlines()[0]}); "
            "keep branches that depend on pixel values out of forward"
        ) from exc
    graph = read_graph(_Translator(program, type(net).__name__).model(size_px))
    outputs = {name.removesuffix(".out"): tensor for name, tensor in graph.outputs.items()}
    return replace(graph, outputs=outputs, input_name="pixels")


class _Translator:
    """ATen nodes to ONNX nodes of the same names."""

    def __init__(self, program: torch.export.ExportedProgram, where: str) -> None:
        self.where = where
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.picture = ""
        signature = program.graph_signature
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        held |= signature.inputs_to_lifted_tensor_constants
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in held:
                value = {**program.state_dict, **program.constants}[held[node.name]]
                self.hold(node.name, value.detach().cpu().numpy())
            elif node.op == "placeholder":
                self.picture = node.name
            elif node.op == "call_function":
                self._translate(node)
        outputs = [item.name for item in program.graph.output_node().args[0]]
        if len(outputs) != len(_OUTPUTS):
            raise QuantizeError(
                f"{where}: forward returns {len(outputs)} tensors, expected (logits, features); wrap the network"
            )
        self.outputs = outputs

    def model(self, size_px: int) -> onnx.ModelProto:
        for inside, outside in zip(self.outputs, _OUTPUTS, strict=True):
            self.add("Identity", [inside], f"{outside}.out")
        picture = helper.make_tensor_value_info(self.picture, TensorProto.FLOAT, [1, 3, size_px, size_px])
        outputs = [helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, [1, None]) for name in _OUTPUTS]
        graph = helper.make_graph(self.nodes, self.where, [picture], outputs, list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])

    def hold(self, name: str, value: Any) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def _translate(self, node: FxNode) -> None:
        if node.target is operator.getitem:
            if node.args[1] == 0:
                self.add("Identity", [_name(node.args[0])], node.name)
            return
        name = str(node.target).removeprefix("aten.").partition(".")[0]
        if name not in _ATEN:
            raise QuantizeError(
                f"{self.where}: node {node.name!r} (aten.{name}) is an operation that the quantiser does not know; "
                "change the network"
            )
        _ATEN[name](self, node)


def _name(value: Any) -> str:
    return value.name if isinstance(value, FxNode) else ""


def _pair(value: Any) -> list[int]:
    pair = [value] if isinstance(value, int) else list(value)
    return pair * 2 if len(pair) == 1 else pair


def _arguments(node: FxNode) -> dict[str, Any]:
    """Arguments by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
    return {argument.name: argument.default_value for argument in schema.arguments} | given | dict(node.kwargs)


def _conv(to: _Translator, node: FxNode) -> None:
    given = _arguments(node)
    pads = _pair(given["padding"])
    inputs = [_name(given["input"]), _name(given["weight"])] + ([_name(given["bias"])] if given["bias"] else [])
    window = {"strides": _pair(given["stride"]), "pads": pads * 2, "dilations": _pair(given["dilation"])}
    to.add("Conv", inputs, node.name, group=given["groups"], **window)


def _batch_norm(to: _Translator, node: FxNode) -> None:
    given = _arguments(node)
    inputs = [_name(given[key]) for key in ("input", "weight", "bias", "running_mean", "running_var")]
    to.add("BatchNormalization", inputs, node.name, epsilon=given["eps"])


def _clip(to: _Translator, node: FxNode) -> None:
    given = _arguments(node)
    ends = [given.get("min_val", given.get("min")), given.get("max_val", given.get("max"))]
    names = [
        "" if end is None else to.hold(f"{node.name}.{index}", np.array(end, np.float32))
        for index, end in enumerate(ends)
    ]
    to.add("Clip", [_name(node.args[0]), *names], node.name)


def _add(to: _Translator, node: FxNode) -> None:
    if node.kwargs.get("alpha", 1) != 1 or not all(isinstance(value, FxNode) for value in node.args):
        raise QuantizeError(f"{to.where}: node {node.name!r} adds a number or a multiple; only tensors can be added")
    to.add("Add", [_name(value) for value in node.args], node.name)


def _mul(to: _Translator, node: FxNode) -> None:
    if not all(isinstance(value, FxNode) for value in node.args):
        raise QuantizeError(f"{to.where}: node {node.name!r} multiplies by a number; only tensors can be multiplied")
    to.add("Mul", [_name(value) for value in node.args], node.name)


def _silu(to: _Translator, node: FxNode) -> None:
    to.add("Sigmoid", [_name(node.args[0])], f"{node.name}.gate")
    to.add("Mul", [_name(node.args[0]), f"{node.name}.gate"], node.name)


def _linear(to: _Translator, node: FxNode) -> None:
    to.add("Gemm", [_name(value) for value in node.args if value is not None], node.name, transB=1)


def _addmm(to: _Translator, node: FxNode) -> None:
    bias, x, weight = (_name(value) for value in node.args)
    to.add("Gemm", [x, weight, bias], node.name)


def _mean(to: _Translator, node: FxNode) -> None:
    given = _arguments(node)
    to.add("ReduceMean", [_name(given["self"])], node.name, axes=list(given["dim"]), keepdims=int(given["keepdim"]))


def _adaptive(to: _Translator, node: FxNode) -> None:
    if _pair(node.args[1]) != [1, 1]:
        raise QuantizeError(f"{to.where}: node {node.name!r} pools to {node.args[1]}, expected 1x1")
    to.add("GlobalAveragePool", [_name(node.args[0])], node.name)


def _pool(to: _Translator, node: FxNode) -> None:
    given = _arguments(node)
    kernel = _pair(given["kernel_size"])
    window: dict[str, Any] = {"strides": _pair(given["stride"] or kernel), "pads": _pair(given["padding"]) * 2}
    window["ceil_mode"] = int(given["ceil_mode"])
    if "dilation" in given:
        to.add("MaxPool", [_name(given["self"])], node.name, kernel_shape=kernel, **window)
    else:
        to.add("AveragePool", [_name(given["self"])], node.name, kernel_shape=kernel, **window)


def _reshape(to: _Translator, node: FxNode) -> None:
    shape = to.hold(f"{node.name}.shape", np.array(node.meta["val"].shape, np.int64))
    to.add("Reshape", [_name(node.args[0]), shape], node.name)


def _pad(to: _Translator, node: FxNode) -> None:
    given = _arguments(node)
    ends = [*given["pad"], *[0] * (8 - len(given["pad"]))]  # innermost axis first, begin and end
    order = [ends[2 * axis + side] for side in (0, 1) for axis in (3, 2, 1, 0)]
    pads = to.hold(f"{node.name}.pads", np.array(order, np.int64))
    value = to.hold(f"{node.name}.value", np.array(given.get("value") or 0.0, np.float32))
    if given.get("mode", "constant") != "constant":
        raise QuantizeError(f"{to.where}: node {node.name!r} pads by {given['mode']}, expected zeros")
    to.add("Pad", [_name(node.args[0]), pads, value], node.name)


def _rename(op: str) -> Callable[[_Translator, FxNode], None]:
    def translate(to: _Translator, node: FxNode) -> None:
        to.add(op, [_name(node.args[0])], node.name)

    return translate


_ATEN: dict[str, Callable[[_Translator, FxNode], None]] = {
    "_native_batch_norm_legit_no_training": _batch_norm,
    "adaptive_avg_pool2d": _adaptive,
    "add": _add,
    "addmm": _addmm,
    "alias": _rename("Identity"),
    "avg_pool2d": _pool,
    "clamp": _clip,
    "clone": _rename("Identity"),
    "constant_pad_nd": _pad,
    "conv2d": _conv,
    "dropout": _rename("Identity"),
    "flatten": _reshape,
    "hardtanh": _clip,
    "linear": _linear,
    "max_pool2d": _pool,
    "mean": _mean,
    "mul": _mul,
    "pad": _pad,
    "relu": _rename("Relu"),
    "reshape": _reshape,
    "sigmoid": _rename("Sigmoid"),
    "silu": _silu,
    "squeeze": _reshape,
    "view": _reshape,
}
