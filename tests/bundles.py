"""A whole bundle in milliseconds, without torch: the network is the mean colour and one matrix; red is metal.

Every optional part is there (float file, strangeness, teacher), so that a test can damage each of them.
"""

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import device
from device.bundle import (
    MANIFEST,
    Budget,
    Bundle,
    Costs,
    DecisionDefaults,
    Golden,
    Input,
    Licences,
    Manifest,
    Metrics,
    OutOfDistribution,
    Quantization,
    Resize,
    Score,
    WastebinRange,
    write_bundle,
)

LABELS = ("glass", "metal", "paper")
SIZE_PX = 16
SCALE = 1 / 64
WEIGHTS = np.array([[-4, 8, 0], [8, -4, 0], [-4, -4, 8]], np.float32)  # red, green, blue -> glass, metal, paper
HASH = "0123456789abcdef" * 4

GOLDEN_RGB = np.random.default_rng(3).integers(0, 256, (2, 12, 20, 3), np.uint8)


def expected_logits(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network must say, without a network; float32 [3]."""
    import cv2

    small = cv2.resize(rgb, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_LINEAR)
    features = (small.reshape(-1, 3).mean(axis=0) - 127) * SCALE
    return (features @ WEIGHTS).astype(np.float32)


def network(
    *,
    layout: str = "NCHW",
    input_name: str = "pixels",
    size_px: int = SIZE_PX,
    weights: NDArray[np.float32] = WEIGHTS,
    bias: float = 0.0,
    log_features: bool = False,
    breaks: bool = False,
) -> bytes:
    """The network as an ONNX file.

    Args:
        bias: of every logit; NaN makes a network that answers NaN.
        log_features: the second output is log(features): NaN for dark pictures.
        breaks: reads beyond its numbers when it is run.
    """
    shape = [1, 3, size_px, size_px] if layout == "NCHW" else [1, size_px, size_px, 3]
    node = helper.make_node
    nodes = [
        node("DequantizeLinear", ["nhwc" if layout == "NHWC" else input_name, "scale", "zero"], ["real"]),
        node("GlobalAveragePool", ["real"], ["pooled"]),
        node("Flatten", ["pooled"], ["mean"]),
        node("Log" if log_features else "Identity", ["mean"], ["features"]),
        node("Gemm", ["mean", "weights", "bias"], ["sums" if breaks else "logits"]),
    ]
    if layout == "NHWC":
        nodes.insert(0, node("Transpose", [input_name], ["nhwc"], perm=[0, 3, 1, 2]))
    constants = [
        numpy_helper.from_array(np.array(SCALE, np.float32), "scale"),
        numpy_helper.from_array(np.array(-1, np.int8), "zero"),
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.full(weights.shape[1], bias, np.float32), "bias"),
    ]
    if breaks:  # the index comes out of the data, so that nothing notices before the network runs
        nodes += [
            node("Add", ["mean", "beyond"], ["far"]),
            node("Cast", ["far"], ["index"], to=TensorProto.INT64),
            node("GatherElements", ["sums", "index"], ["logits"], axis=1),
        ]
        constants.append(numpy_helper.from_array(np.array(99, np.float32), "beyond"))
    graph = helper.make_graph(
        nodes,
        "mean-colour",
        [helper.make_tensor_value_info(input_name, TensorProto.INT8, shape)],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, weights.shape[1]]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(model.SerializeToString())


def golden(rgb: NDArray[np.uint8] = GOLDEN_RGB, logits: NDArray[Any] | None = None, **more: NDArray[Any]) -> bytes:
    """golden.npz with the true answers, or with others."""
    stream = BytesIO()
    if logits is None:
        logits = np.stack([expected_logits(picture) for picture in rgb])
    np.savez(stream, rgb=rgb, logits=logits, **more)
    return stream.getvalue()


def manifest(layout: str = "NCHW") -> Manifest:
    """A manifest with every optional part, and with no list that could lose an entry unseen."""
    score = Score(pictures=30, accuracy=0.9, macro_f1=0.88, recall={"glass": 0.8, "metal": 1.0, "paper": 0.9})
    return Manifest(
        schema=1,
        name="mean-colour",
        sequence=1_790_000_000,
        created_at="2026-09-21T14:13:20Z",
        source_commit="0123abc",
        wastebin=WastebinRange(device.__version__, "9.0.0"),
        files={},
        input=Input(
            name="pixels",
            dtype="int8",
            layout=layout,
            shape=(1, 3, SIZE_PX, SIZE_PX) if layout == "NCHW" else (1, SIZE_PX, SIZE_PX, 3),
            colour="RGB",
            resize=Resize(SIZE_PX, SIZE_PX, "area", "linear"),
            xor=128,
            scale=SCALE,
            zero_point=-1,
            mean=(127.0, 127.0, 127.0),
            std=(64.0, 64.0, 64.0),
        ),
        labels=LABELS,
        features=3,
        temperature=1.5,
        decision=DecisionDefaults(accept_prob=0.8, min_frames=2, max_frames=8, frame_correlation=0.8),
        costs=Costs(contamination=4.0, missed=1.0),
        # Green, red and blue are known; white is strange, grey is only unsure.
        out_of_distribution=OutOfDistribution(
            ((-1.0, 1.0, -1.0), (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)), ((1.0, 1.0, 1.0),), -0.4
        ),
        quantization=Quantization("S8S8 QDQ per-channel", HASH),
        metrics=Metrics(HASH, {"trashnet": score}, {"trashnet": score}, {"trashnet": score}),
        golden=Golden(pictures=len(GOLDEN_RGB), tolerance=0.05),
        budget=Budget(latency=1.5, memory=1.5),
        allow_downgrade=False,
        licences=Licences(("trashnet: MIT",), ("ImageNet: Apache-2.0",)),
    )


def make_bundle(
    path: Path, *, layout: str = "NCHW", model: bytes | None = None, golden_npz: bytes | None = None
) -> Bundle:
    """Write a bundle; `model` and `golden_npz` replace the right ones."""
    files = {
        "model.onnx": model or network(layout=layout),
        "float.onnx": network(layout=layout),
        "golden.npz": golden_npz or golden(),
    }
    return write_bundle(path, manifest(layout), files, "# mean colour\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest's JSON."""
    table: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    return table


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest's JSON in place."""
    table = read_manifest(path)
    change(table)
    (path / MANIFEST).write_text(json.dumps(table))


def replace_file(path: Path, name: str, data: bytes) -> None:
    """Put another file into a bundle, and its size and hash into the manifest: damage that no hash shows."""
    (path / name).write_bytes(data)
    entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(path, lambda table: table["files"].update({name: entry}))
