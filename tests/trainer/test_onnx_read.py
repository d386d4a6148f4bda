from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from trainer.errors import QuantizeError
from trainer.graph import TorchGraph
from trainer.onnx_read import read_graph

RANDOM = np.random.default_rng(0)


def model(nodes, constants, outputs=("y",), shape=(1, 4, 8, 8)) -> onnx.ModelProto:
    picture = helper.make_tensor_value_info("p", TensorProto.FLOAT, shape)
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None]) for name in outputs]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [picture], results, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"n_{output}", **attributes)


def weights(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def test_computes_what_onnxruntime_computes_for_every_operator_it_knows() -> None:
    nodes = [
        node("Pad", ["p", "ends"], "padded"),
        node("Conv", ["padded", "k0", "bias0"], "c0", strides=[2, 2], pads=[1, 1, 0, 0]),
        node("BatchNormalization", ["c0", "gamma", "beta", "mean", "var"], "n0", epsilon=1e-3),
        node("Identity", ["n0"], "i0"),
        node("Clip", ["i0", "zero", "six"], "r0"),
        node("Conv", ["r0", "k1", "bias1"], "c1", group=8, pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], "r1"),
        node("Add", ["r0", "r1"], "s"),
        node("GlobalAveragePool", ["s"], "g"),
        node("Sigmoid", ["g"], "gs"),
        node("Mul", ["gs", "s"], "sg"),
        node("MaxPool", ["sg"], "m", kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
        node("AveragePool", ["m"], "v", kernel_shape=[2, 2]),
        node("ReduceMean", ["v"], "f", axes=[-1, -2], keepdims=0),
        node("MatMul", ["f", "k2"], "h"),
        node("Add", ["bias2", "h"], "hb"),
        node("Clip", ["hb", "zero"], "hr"),
        node("Dropout", ["hr"], "hd"),
        node("Gemm", ["hd", "k3", "bias3"], "y"),
    ]
    constants = {
        "ends": np.array([0, 0, 0, 1, 0, 0, 1, 0]),
        "zero": np.float32(0),
        "six": np.float32(6),
        "k0": 3 * weights(8, 4, 3, 3),
        "bias0": weights(8),
        "gamma": weights(8),
        "beta": weights(8),
        "mean": weights(8),
        "var": weights(8) ** 2 + 0.1,
        "k1": weights(8, 1, 3, 3),
        "bias1": weights(8),
        "k2": weights(8, 5),
        "bias2": weights(5),
        "k3": weights(5, 3),
        "bias3": weights(3),
    }
    proto = model(nodes, constants, ("y", "f"))
    x = RANDOM.normal(size=(1, 4, 8, 8)).astype(np.float32)
    expected = ort.InferenceSession(proto.SerializeToString()).run(["y", "f"], {"p": x})
    graph = read_graph(proto)
    got = TorchGraph(graph)(torch.from_numpy(x))
    np.testing.assert_allclose(got["y"].detach(), expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got["f"].detach(), expected[1], rtol=1e-4, atol=1e-5)
    assert [(n.op, n.act, n.pads) for n in graph.nodes] == [
        ("conv", "relu6", (1, 2, 1, 0)),
        ("conv", "relu", (1, 1, 1, 1)),
        ("add", "none", (0, 0, 0, 0)),
        ("mean", "none", (0, 0, 0, 0)),
        ("sigmoid", "none", (0, 0, 0, 0)),
        ("mul", "none", (0, 0, 0, 0)),
        ("maxpool", "none", (0, 0, 1, 1)),
        ("avgpool", "none", (0, 0, 0, 0)),
        ("mean", "none", (0, 0, 0, 0)),
        ("flatten", "none", (0, 0, 0, 0)),
        ("linear", "relu", (0, 0, 0, 0)),
        ("linear", "none", (0, 0, 0, 0)),
    ]
    assert graph.outputs == {"y": "a11", "f": "a9"}
    assert (graph.input_name, graph.input_shape) == ("p", (4, 8, 8))


def test_drops_what_no_output_needs_and_flattens_once() -> None:
    nodes = [
        node("Constant", [], "shape", value=numpy_helper.from_array(np.array([1, -1]))),
        node("Conv", ["p", "k"], "unused"),
        node("GlobalAveragePool", ["p"], "m"),
        node("Reshape", ["m", "shape"], "f"),
        node("Flatten", ["f"], "f2"),
        node("Gemm", ["f2", "w"], "y", transB=1),
    ]
    graph = read_graph(model(nodes, {"k": weights(2, 4, 1, 1), "w": weights(3, 4)}))
    assert [n.op for n in graph.nodes] == ["mean", "flatten", "linear"]
    assert sorted(graph.params) == ["b2", "w2"]


CONV = node("Conv", ["p", "k"], "c")
MEAN = node("GlobalAveragePool", ["p"], "m")
REFUSED = {
    "HardSwish (HardSwish) is an operator": [CONV, node("HardSwish", ["c"], "y")],
    "dilations": [node("Conv", ["p", "k"], "y", dilations=[2, 2])],
    "auto_pad": [node("Conv", ["p", "k"], "y", auto_pad="SAME_UPPER")],
    "input 1 from another node": [node("Conv", ["p", "p"], "y")],
    "clips to -1.0..6.0": [CONV, node("Clip", ["c", "minus", "six"], "y")],
    "must follow a conv or linear or add that nothing else reads": [
        CONV,
        node("Relu", ["c"], "r"),
        node("Add", ["r", "c"], "y"),
    ],
    "must follow a conv that nothing else reads": [node("BatchNormalization", ["p", "v", "v", "v", "v"], "y")],
    "expected height and width": [node("ReduceMean", ["p"], "y", axes=[1])],
    "must pad with zeros": [node("Pad", ["p", "ends"], "q", mode="edge"), node("Conv", ["q", "k"], "y")],
    "pads [0, 1, 0, 0, 0, 0, 0, 0]": [node("Pad", ["p", "deep"], "q"), node("Conv", ["q", "k"], "y")],
    "which only a Conv can take in": [
        node("Pad", ["p", "ends"], "q"),
        node("MaxPool", ["q"], "y", kernel_shape=[2, 2]),
    ],
    "averages over padding": [node("AveragePool", ["p"], "y", kernel_shape=[2, 2], pads=[1, 1, 0, 0])],
    "reads something that is not flat": [MEAN, node("Gemm", ["m", "flat"], "y", transB=1)],
    "uses alpha": [MEAN, node("Flatten", ["m"], "f"), node("Gemm", ["f", "flat"], "y", alpha=2.0)],
    "another axis than 1": [node("Flatten", ["p"], "y", axis=2)],
    "reshapes to [1, 2, 128]": [node("Reshape", ["p", "three"], "y")],
    "multiplies by a constant": [CONV, node("Mul", ["c", "v"], "y")],
    "not a MatMul": [CONV, node("Add", ["c", "v"], "y")],
    "no node makes": [node("Pad", ["p", "ends"], "y")],
}


@pytest.mark.parametrize(("sentence", "nodes"), REFUSED.items(), ids=REFUSED)
def test_refuses_by_name_what_it_does_not_understand(sentence, nodes) -> None:
    constants = {
        "k": weights(4, 4, 1, 1),
        "v": weights(4),
        "flat": weights(4, 4),
        "six": np.float32(6),
        "minus": np.float32(-1),
        "ends": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "deep": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
        "three": np.array([1, 2, 128]),
    }
    with pytest.raises(QuantizeError) as caught:
        read_graph(model(nodes, constants))
    assert sentence.replace("HardSwish (", "'n_y' (") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_a_picture_of_unknown_size_and_a_second_input() -> None:
    nodes = [node("GlobalAveragePool", ["p"], "y")]
    with pytest.raises(QuantizeError, match=r"input 'p' is \[1, 4, 0, 0\], expected float32"):
        read_graph(model(nodes, {}, shape=(1, 4, None, None)))
    two = model(nodes, {})
    two.graph.input.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, [1]))
    with pytest.raises(QuantizeError, match="2 inputs, expected one picture"):
        read_graph(two)


def test_refuses_a_file_that_is_no_onnx(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(QuantizeError, match="cannot be read as ONNX") as caught:
        read_graph(path)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(QuantizeError, match="cannot be read as ONNX"):
        read_graph(tmp_path / "missing.onnx")
