from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from trainer.errors import QuantizeError
from trainer.fakequant import int8_weights
from trainer.graph import Graph, Node
from trainer.onnx_write import Affine, write_float, write_int8
from trainer.quantize import QatTail, arm_session, fused_ops, quantize
from trainer.ranges import RANGES, affine_for
from trainer.sums import PARTS

INPUT = {"input_scale": 1 / 128, "input_zero_point": -1}


def small_graph(width: int = 16) -> Graph:
    """Three convolutions with a residual, as MobileNetV2 has them, at 32 px."""
    generator = np.random.default_rng(1)
    nodes = (
        Node("conv", "a0", ("x",), (3, 3), (2, 2), (1, 1, 1, 1), 1, "relu6", "w0", "b0"),
        Node("conv", "a1", ("a0",), (3, 3), (1, 1), (1, 1, 1, 1), width, "relu6", "w1", "b1"),
        Node("conv", "a2", ("a1",), weight="w2", bias="b2"),
        Node("add", "a3", ("a0", "a2")),
        Node("maxpool", "a4", ("a3",), (2, 2), (2, 2)),
        Node("mean", "a5", ("a4",)),
        Node("flatten", "a6", ("a5",)),
        Node("linear", "a7", ("a6",), weight="w7", bias="b7"),
    )
    shapes = {"w0": (width, 3, 3, 3), "w1": (width, 1, 3, 3), "w2": (width, width, 1, 1), "w7": (4, width)}
    params = {}
    for name, shape in shapes.items():
        params[name] = (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        params[f"b{name[1:]}"] = generator.normal(size=shape[0]).astype(np.float32)
    params["w7"] *= 4
    return Graph(nodes, params, {"logits": "a7", "features": "a6"}, (3, 32, 32))


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Patches of colour: random pixels would all have the same mean."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 3, 4, 4), np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 2).repeat(8, 3))


@pytest.fixture(scope="module")
def float_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantize") / "float.onnx"
    write_float(small_graph(), path)
    return path


def logits(path: Path, pixels: np.ndarray) -> np.ndarray:
    session = arm_session(path)
    return np.concatenate([session.run(["logits"], {"pixels": (p ^ 0x80).view(np.int8)[None]})[0] for p in pixels])


def float_logits(path: Path, pixels: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(path)
    rows = [session.run(["logits"], {"pixels": ((p.astype(np.float32) - 127) / 128)[None]})[0] for p in pixels]
    return np.concatenate(rows)


def test_the_int8_file_runs_whole_in_int8_and_answers_as_the_float_one(float_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    report = quantize(float_onnx, out, pictures(48), **INPUT)
    assert report.file_bytes == out.stat().st_size
    assert report.params == 16 * 27 + 16 * 9 + 16 * 16 + 4 * 16 + 3 * 16 + 4
    assert report.float_ops == ()
    kinds = ("QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "QGemm", "NhwcMaxPool", "DequantizeLinear")
    assert {kind: report.fused.get(kind, 0) for kind in kinds} == {
        "QLinearConv": 3,
        "QLinearAdd": 1,
        "QLinearGlobalAveragePool": 1,
        "QGemm": 1,
        "NhwcMaxPool": 1,
        "DequantizeLinear": 1,  # the features
    }
    assert report.odd_widths == ()
    assert report.parity.argmax_share == 1.0
    assert report.parity.mean_diff < 0.002
    unseen = pictures(48, seed=5)
    wanted = float_logits(float_onnx, unseen)
    off = np.abs(logits(out, unseen) - wanted)
    assert off.mean() < 0.02 * wanted.std()


def test_the_file_has_int8_pixels_two_float_outputs_and_nothing_to_spare(float_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    quantize(float_onnx, out, pictures(4), ranges=("min-max",), **INPUT)
    model = onnx.load(str(out))
    onnx.checker.check_model(model, full_check=True)
    session = arm_session(out)
    inputs = [(value.name, value.type, value.shape) for value in session.get_inputs()]
    outputs = [(value.name, value.type, value.shape) for value in session.get_outputs()]
    assert inputs == [("pixels", "tensor(int8)", [1, 3, 32, 32])]
    assert outputs == [("logits", "tensor(float)", [1, 4]), ("features", "tensor(float)", [1, 16])]
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert (list(model.metadata_props), list(model.graph.value_info), model.graph.doc_string) == ([], [], "")
    assert Counter(node.op_type for node in model.graph.node)["Clip"] == 0
    held = [(item.data_type, tuple(item.dims), item.raw_data) for item in model.graph.initializer]
    assert len(held) == len(set(held))  # equal constants are stored once
    # A byte a weight, and a float16 scale and bias a channel; the logits' bias alone is int32 with scales of its own.
    weights, channels, named = 16 * 27 + 16 * 9 + 16 * 16 + 4 * 16, 3 * 16, 4
    halves = [item for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT16]
    assert [tuple(item.dims) for item in halves] == [(2 * channels + named,)]
    arrays = [item for item in model.graph.initializer if item.dims and item.data_type != onnx.TensorProto.INT64]
    numbers = sum(len(item.raw_data) for item in arrays)
    assert numbers == weights + 4 * channels + 11 * named
    assert out.stat().st_size - numbers < 2000


def test_the_layers_that_cost_most_come_first_and_odd_widths_are_named(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    write_float(small_graph(width=12), path)
    report = quantize(path, tmp_path / "model.onnx", pictures(16), ranges=("min-max",), **INPUT)
    assert report.odd_widths == (
        "a0: conv 3x3, 12 channels, stride 2",
        "a1: conv 3x3 depthwise, 12 channels",
        "a2: conv 1x1, 12 channels",
    )
    costs = [layer.alone for layer in report.layers]
    assert costs == sorted(costs, reverse=True)
    assert {layer.layer.partition(":")[0] for layer in report.layers} == {f"a{n}" for n in range(8)}
    assert min(layer.sqnr_db for layer in report.layers) > 25


def test_takes_the_ranges_whose_logits_come_closest(float_onnx: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    report = quantize(float_onnx, tmp_path / "model.onnx", pictures(32), on_step=steps.append, **INPUT)
    assert report.tried[report.ranges] == min(report.tried.values())
    assert tuple(report.tried) == RANGES
    assert report.equalised == (report.equalised_error < report.error)
    assert report.tail_error is None
    assert steps == [
        "ranges of 32 pictures",
        *(f"ranges by {method}" for method in RANGES),
        "bias correction",
        "cross-layer equalisation",
        "bias correction",
        "writing and checking",
        "cost per layer",
    ]


def uneven_graph() -> Graph:
    """The small network with channels that matter alike and differ fiftyfold in size."""
    graph = small_graph()
    size = np.geomspace(0.02, 1.0, 16, dtype=np.float32)
    params = dict(graph.params)
    params["w1"], params["b1"] = params["w1"] * size.reshape(-1, 1, 1, 1), np.abs(params["b1"]) * size
    params["w2"] = params["w2"] / size.reshape(1, -1, 1, 1)
    return Graph(graph.nodes, params, graph.outputs, graph.input_shape)


def test_equalises_channels_where_that_comes_closer(tmp_path: Path) -> None:
    write_float(uneven_graph(), tmp_path / "float.onnx")
    out = tmp_path / "model.onnx"
    report = quantize(tmp_path / "float.onnx", out, pictures(32), ranges=("min-max",), **INPUT)
    assert report.equalised
    assert report.equalised_error < 0.7 * report.error
    off = logits(out, pictures(32)) - float_logits(tmp_path / "float.onnx", pictures(32))
    measured = float(np.square(off - off.mean(1, keepdims=True)).mean())
    assert measured == pytest.approx(report.equalised_error, rel=0.2)


def test_gates_and_swishes_run_in_int8_too(tmp_path: Path) -> None:
    graph = small_graph()
    nodes = (
        Node("conv", "a0", ("x",), (3, 3), (2, 2), (1, 1, 1, 1), weight="w0", bias="b0"),
        Node("sigmoid", "a1", ("a0",)),
        Node("mul", "a2", ("a0", "a1")),
        Node("mean", "a3", ("a2",)),
        Node("conv", "a4", ("a3",), weight="w2", bias="b2"),
        Node("sigmoid", "a5", ("a4",)),
        Node("mul", "a6", ("a2", "a5")),
        Node("mean", "a7", ("a6",)),
        Node("flatten", "a8", ("a7",)),
        Node("linear", "a9", ("a8",), weight="w7", bias="b7"),
    )
    params = {name: value for name, value in graph.params.items() if name[1:] != "1"}
    gated = Graph(nodes, params, {"logits": "a9", "features": "a8"}, (3, 32, 32))
    write_float(gated, tmp_path / "float.onnx")
    report = quantize(tmp_path / "float.onnx", tmp_path / "model.onnx", pictures(32), ranges=("min-max",), **INPUT)
    assert report.float_ops == ()
    assert (report.fused["QLinearSigmoid"], report.fused["QLinearMul"]) == (2, 2)
    assert report.loss.argmax_share > 0.9


def test_refuses_pictures_of_another_size_or_kind_and_a_file_without_logits(float_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    for wrong in (pictures(2)[:, :, :16], pictures(2).astype(np.float32), pictures(2)[:0]):
        with pytest.raises(QuantizeError, match=r"expected uint8 \[N, 3, 32, 32\]"):
            quantize(float_onnx, out, wrong, **INPUT)
    graph = small_graph()
    other = Graph(graph.nodes, graph.params, {"features": "a6", "answer": "a7"}, graph.input_shape)
    write_float(other, tmp_path / "other.onnx")
    with pytest.raises(QuantizeError, match=r"outputs are \['answer', 'features'\], expected 'logits'"):
        quantize(tmp_path / "other.onnx", out, pictures(2), **INPUT)
    assert not out.exists()


def test_refuses_a_file_that_onnxruntime_cannot_load(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(QuantizeError, match="onnxruntime cannot load it"):
        fused_ops(path)


def test_writes_integers_that_onnxruntime_multiplies_as_worked_out_by_hand(tmp_path: Path) -> None:
    nodes = (
        Node("conv", "a0", ("x",), act="relu6", weight="w0", bias="b0"),
        Node("mean", "a1", ("a0",)),
        Node("flatten", "a2", ("a1",)),
        Node("linear", "a3", ("a2",), weight="w3", bias="b3"),
    )
    params = {
        "w0": np.array([2.54, -2.54], np.float32).reshape(2, 1, 1, 1),
        "b0": np.array([0.0, 1.0], np.float32),
        "w3": np.array([[1.27, 0.0], [0.0, 1.27]], np.float32),
        "b3": np.array([0.5, 0.25], np.float32),
    }
    graph = Graph(nodes, params, {"logits": "a3", "features": "a2"}, (1, 1, 1))
    acts = {"x": Affine(1 / 64, 0), "a0": affine_for(0, 5.1), "a1": affine_for(0, 5.1), "a2": affine_for(0, 5.1)}
    write_int8(graph, tmp_path / "model.onnx", acts, int8_weights(graph, acts))
    session = arm_session(tmp_path / "model.onnx")
    q = np.full((1, 1, 1, 1), 32, np.int8)  # 0.5
    got = session.run(["logits", "features"], {"pixels": q})
    # 1.27 and -0.27 -> ReLU -> steps of 0.02: 1.28 (63.5 rounds to the even 64) or 1.26, and 0.
    assert got[1][0, 0] in {np.float32(1.26), np.float32(1.28)}
    assert got[1][0, 1] == 0.0
    assert got[0].tolist() == [
        [pytest.approx(0.5 + 1.27 * float(got[1][0, 0]), abs=1e-3), pytest.approx(0.25, abs=1e-3)]
    ]


def far_off() -> QatTail:
    """Steps so long that nothing comes closer."""
    return QatTail(lambda epoch: [(pictures(16), None)], steps=1, learning_rate=200.0)


def coarse_graph() -> Graph:
    """The small network with one large weight in every channel, beside which the others are rounded coarsely."""
    graph = small_graph()
    params = {name: value.copy() for name, value in graph.params.items()}
    params["w2"][:, 3] *= 60
    params["w1"][3] *= 0.02
    params["b1"][3] = 0.0
    return Graph(graph.nodes, params, graph.outputs, graph.input_shape)


def test_a_tail_comes_closer_to_the_float_network_and_is_told_of(tmp_path: Path) -> None:
    write_float(coarse_graph(), tmp_path / "float.onnx")
    told: list[int] = []
    tail = QatTail(
        batches=lambda epoch: ((pictures(32, 8 * epoch + step), None) for step in range(8)),
        steps=8,
        epochs=6,
        learning_rate=0.003,
        on_epoch=lambda epoch, loss, seconds: told.append(epoch),
    )
    out = tmp_path / "model.onnx"
    report = quantize(tmp_path / "float.onnx", out, pictures(96), tail=tail, ranges=("min-max",), **INPUT)
    assert told == [1, 2, 3, 4, 5, 6]
    assert report.tail_error is not None
    assert report.tail_error < 0.95 * min(report.error, report.equalised_error)
    # What was learnt is what is written.
    off = logits(out, pictures(96)) - float_logits(tmp_path / "float.onnx", pictures(96))
    assert float(np.square(off - off.mean(1, keepdims=True)).mean()) < report.equalised_error


def parts_of_the_sum(path: Path) -> list[float]:
    """Scales of what the graph's one sum adds, in parts of its own scale."""
    model = onnx.load(str(path))
    made = {node.output[0]: node for node in model.graph.node}
    number = {
        tensor.name: float(onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer if not tensor.dims
    }
    (add,) = (node for node in model.graph.node if node.op_type == "Add")
    (total,) = (node for node in model.graph.node if add.output[0] in node.input)
    return [number[made[name].input[1]] / number[total.input[1]] * PARTS for name in add.input]


@pytest.mark.parametrize("with_tail", [False, True])
def test_a_written_sum_is_the_same_on_every_processor(tmp_path: Path, with_tail: bool) -> None:
    write_float(coarse_graph(), tmp_path / "float.onnx")
    tail = QatTail(lambda epoch: [(pictures(32), None)] * 8, steps=8, epochs=6, learning_rate=0.003)
    out = tmp_path / "model.onnx"
    chosen = tail if with_tail else None
    report = quantize(tmp_path / "float.onnx", out, pictures(96), tail=chosen, ranges=("min-max",), **INPUT)
    if with_tail:  # it was taken, and had moved the scales
        assert report.tail_error is not None
        assert report.tail_error < min(report.error, report.equalised_error)
    parts = parts_of_the_sum(out)
    assert parts == pytest.approx([round(part) for part in parts], abs=1e-3)


def test_a_tail_that_comes_no_closer_is_dropped_and_said(float_onnx: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    quick = {"ranges": ("min-max",), **INPUT}
    report = quantize(float_onnx, tmp_path / "a.onnx", pictures(32), tail=far_off(), on_step=steps.append, **quick)
    quantize(float_onnx, tmp_path / "b.onnx", pictures(32), **quick)
    assert report.tail_error is not None
    assert report.tail_error > max(report.error, report.equalised_error)
    assert [step for step in steps if "dropped" in step] == [steps[-3]]
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
