"""Bundles that are whole, agree with their own golden pictures, and are no good: what a signature cannot keep out.

All are made from the network of `bundles`: the mean colour and one matrix; red is metal.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from bundles import GOLDEN_RGB, WEIGHTS, expected_logits, golden, manifest, network
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from device.bundle import Bundle, write_bundle

node = helper.make_node

DARK_RGB: Final = GOLDEN_RGB // 2
"""Golden pictures that are nothing like a tray in good light."""


def write_bad(
    path: Path, model: bytes, weights: NDArray[np.float32] = WEIGHTS, *, sequence: int | None = None
) -> Bundle:
    """A bundle around this network, with golden answers that agree with its weights."""
    logits = np.stack([expected_logits(picture) @ np.linalg.inv(WEIGHTS) @ weights for picture in DARK_RGB])
    body = manifest()
    if sequence is not None:
        created_at = datetime.fromtimestamp(sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = replace(body, sequence=sequence, created_at=created_at)
    files = {
        "model.onnx": model,
        "float.onnx": network(),
        "golden.npz": golden(DARK_RGB, logits.astype(np.float32)),
    }
    return write_bundle(path, body, files, "# bad\n")


def nan() -> bytes:
    """Answers NaN to everything."""
    return network(bias=float("nan"))


def swapped_colours() -> tuple[bytes, NDArray[np.float32]]:
    """Takes red for blue, as a trainer that mixed up BGR and RGB would have it."""
    weights = np.ascontiguousarray(WEIGHTS[::-1])
    return network(weights=weights), weights


def shuffled_labels() -> tuple[bytes, NDArray[np.float32]]:
    """Says paper for glass, glass for metal, metal for paper."""
    weights = np.ascontiguousarray(WEIGHTS[:, [1, 2, 0]])
    return network(weights=weights), weights


def slow(side: int = 400, turns: int = 6) -> bytes:
    """Multiplies large matrices before it answers as ever."""
    zeros = np.zeros((side, side), np.float32)
    nodes = [node("ReduceMean", ["mean"], ["level"], axes=[0, 1], keepdims=1), node("Add", ["level", "zeros"], ["m0"])]
    nodes += [node("MatMul", [f"m{turn}", "zeros"], [f"m{turn + 1}"]) for turn in range(turns)]
    nodes.append(node("ReduceMax", [f"m{turns}"], ["extra"], axes=[0, 1], keepdims=1))
    return _with_extra(nodes, {"zeros": zeros})


def large(megabytes: int = 300) -> bytes:
    """Asks for so much memory, once, and answers as ever."""
    nodes = [
        node("ReduceMean", ["mean"], ["level"], axes=[0, 1], keepdims=1),
        node("Expand", ["level", "many"], ["crowd"]),
        node("ReduceMax", ["crowd"], ["most"], axes=[0, 1], keepdims=1),
        node("Sub", ["most", "level"], ["extra"]),
    ]
    return _with_extra(nodes, {"many": np.array([1000, megabytes * 250], np.int64)})


def hangs() -> bytes:
    """Goes round in circles when it is run."""
    go_on = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    body = helper.make_graph(
        [node("Identity", ["before"], ["go_on"]), node("Identity", ["value"], ["after"])],
        "round",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("before", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, [1, 1]),
        ],
        [go_on, helper.make_tensor_value_info("after", TensorProto.FLOAT, [1, 1])],
    )
    nodes = [
        node("ReduceMean", ["mean"], ["level"], axes=[0, 1], keepdims=1),
        node("Loop", ["", "true", "level"], ["extra_"], body=body),
        node("Sub", ["extra_", "level"], ["extra"]),
    ]
    return _with_extra(nodes, {"true": np.array(True)})


def crashes_on_load() -> bytes:
    """Divides the lowest integer by -1 while it is opened: SIGFPE on x86 (an Arm CPU would answer 0)."""
    nodes = [node("Mod", ["lowest", "minus"], ["rest"]), node("Cast", ["rest"], ["extra"], to=TensorProto.FLOAT)]
    return _with_extra(nodes, {"lowest": np.array([[-(2**31)]], np.int32), "minus": np.array([[-1]], np.int32)})


def crashes_near(level: float, width: float = 0.3) -> bytes:
    """Does the same when it is run, on pictures of one brightness only, so that no trial beforehand shows it.

    Args:
        level: mean of the features, -2 (black) .. 2 (white).
        width: how far off still counts.
    """
    nodes = [
        node("ReduceMean", ["mean"], ["level"], axes=[0, 1], keepdims=1),
        node("Sub", ["level", "middle"], ["off"]),
        node("Abs", ["off"], ["distance"]),
        node("Less", ["distance", "width"], ["is_near"]),
        node("Where", ["is_near", "minus", "two"], ["divisor"]),
        node("Mod", ["lowest", "divisor"], ["rest"]),
        node("Cast", ["rest"], ["extra"], to=TensorProto.FLOAT),
    ]
    constants = {
        "middle": np.array(level, np.float32),
        "width": np.array(width, np.float32),
        "two": np.array([[2]], np.int32),
        "minus": np.array([[-1]], np.int32),
        "lowest": np.array([[-(2**31)]], np.int32),
    }
    return _with_extra(nodes, constants)


def _with_extra(nodes: list[NodeProto], constants: dict[str, NDArray[Any]]) -> bytes:
    """The network, whose logits have `extra` [1, 1], which is 0, added to them."""
    model = ModelProto.FromString(network())
    graph = model.graph
    graph.node[-1].output[0] = "plain"
    graph.node.extend([*nodes, node("Add", ["plain", "extra"], ["logits"])])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return bytes(model.SerializeToString())
