"""A whole, sound bundle around a network of three numbers: the mean colour decides. Made without torch."""

import io
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from device.bundle import (
    Budget,
    Bundle,
    Costs,
    DecisionDefaults,
    Golden,
    Input,
    Licences,
    Manifest,
    Metrics,
    Quantization,
    Resize,
    WastebinRange,
    write_bundle,
)
from device.camera.frame import Rgb

LABELS = ("cardboard", "glass", "metal", "organic", "paper", "plastic", "trash")
SIZE_PX = 32
ZERO = "0" * 64

WEIGHTS = np.zeros((3, 7), np.float32)
WEIGHTS[0, LABELS.index("metal")] = 0.4  # red is metal
WEIGHTS[1, LABELS.index("glass")] = 0.4  # green is glass
WEIGHTS[2, LABELS.index("plastic")] = 0.4  # blue is plastic


def network() -> bytes:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean-colour",
        [helper.make_tensor_value_info("pixels", TensorProto.INT8, [1, 3, SIZE_PX, SIZE_PX])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 7]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3]),
        ],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def logits_of(rgb: Rgb) -> np.ndarray:
    return (rgb.reshape(-1, 3).mean(axis=0) - 128) @ WEIGHTS


def make_bundle(path: Path, *, with_float: bool = True) -> Bundle:
    rng = np.random.default_rng(5)
    pictures = rng.integers(0, 256, (3, SIZE_PX, SIZE_PX, 3), np.uint8)
    golden = io.BytesIO()
    np.savez(golden, rgb=pictures, logits=np.stack([logits_of(rgb) for rgb in pictures]).astype(np.float32))
    manifest = Manifest(
        schema=1,
        name="mean-colour",
        sequence=1_790_000_000,
        created_at="2026-09-21T14:13:20Z",
        source_commit="unknown",
        wastebin=WastebinRange("0.0.1", "9.0.0"),
        files={},
        input=Input(
            name="pixels",
            dtype="int8",
            layout="NCHW",
            shape=(1, 3, SIZE_PX, SIZE_PX),
            colour="RGB",
            resize=Resize(SIZE_PX, SIZE_PX, "area", "linear"),
            xor=128,
            scale=1.0,
            zero_point=0,
            mean=(128.0, 128.0, 128.0),
            std=(1.0, 1.0, 1.0),
        ),
        labels=LABELS,
        features=3,
        temperature=1.0,
        decision=DecisionDefaults(accept_prob=0.5, min_frames=2, max_frames=4, frame_correlation=0.5),
        costs=Costs(4.0, 1.0),
        out_of_distribution=None,
        quantization=Quantization("none", ZERO),
        metrics=Metrics(ZERO, {}, {}, None),
        golden=Golden(3, 0.5),
        budget=Budget(2.0, 2.0),
        allow_downgrade=False,
        licences=Licences(("none",), ("none",)),
    )
    files = {"model.onnx": network(), "golden.npz": golden.getvalue()}
    if with_float:
        files["float.onnx"] = network()
    return write_bundle(path, manifest, files, "# mean colour\n")
