import numpy as np
import pytest
import torch

from trainer.graph import Graph, Node, TorchGraph, activate

ONES = np.ones((1, 1, 2, 2), np.float32)
GRAPH = Graph(
    nodes=(
        Node("conv", "a0", ("x",), (2, 2), (1, 1), (0, 0, 1, 1), 1, "relu6", "w0", "b0"),
        Node("add", "a1", ("a0", "x")),
        Node("maxpool", "a2", ("a1",), (2, 2), (2, 2)),
        Node("flatten", "a3", ("a2",)),
        Node("linear", "a4", ("a3",), weight="w4", bias="b4"),
    ),
    params={
        "w0": ONES,
        "b0": np.array([-1.0], np.float32),
        "w4": np.array([[2.0]], np.float32),
        "b4": np.array([0.5], np.float32),
    },
    outputs={"logits": "a4", "features": "a3"},
    input_shape=(1, 2, 2),
)


def test_runs_a_graph_worked_out_by_hand() -> None:
    # The sums of the window, padded below and on the right, less 1: [[9, 5], [6, 3]], cut at 6: [[6, 5], [6, 3]].
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    outputs = TorchGraph(GRAPH)(x)
    assert {name: value.tolist() for name, value in outputs.items()} == {"features": [[9.0]], "logits": [[18.5]]}


def test_lets_a_caller_change_weights_biases_and_results() -> None:
    outputs = TorchGraph(GRAPH)(
        torch.zeros(1, 1, 2, 2),
        weight=lambda node, value: value * (10 if node.output == "a4" else 1),
        bias=lambda node, value: value + 2,
        after=lambda node, value: value + (1 if node.op == "add" else 0),
    )
    # conv: bias -1 + 2 = 1; add: 1 + 0, then + 1; linear: 2 * 20 + 0.5 + 2.
    assert outputs["logits"].tolist() == [[42.5]]


def test_gives_back_the_parameters_as_they_are_now_and_leaves_the_first_graph_alone() -> None:
    net = TorchGraph(GRAPH)
    with torch.no_grad():
        net.get_parameter("b4").add_(1.0)
    assert net.to_graph().params["b4"].tolist() == [1.5]
    assert GRAPH.params["b4"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("act", "expected"), [("none", [-1.0, 3.0, 7.0]), ("relu", [0.0, 3.0, 7.0]), ("relu6", [0.0, 3.0, 6.0])]
)
def test_knows_three_activations(act, expected) -> None:
    assert activate(Node("add", "a0", ("x", "x"), act=act), torch.tensor([[-1.0, 3.0, 7.0]])).tolist() == [expected]


def test_relu6_can_end_elsewhere_in_each_channel() -> None:
    node = Node("conv", "a0", ("x",), act="relu6", tops=(6.0, 9.0))
    value = torch.tensor([-1.0, 7.0, 10.0]).repeat(1, 2, 1)
    assert activate(node, value).tolist() == [[[0.0, 6.0, 6.0], [0.0, 7.0, 9.0]]]


def test_gates_channels_by_a_sigmoid_as_squeeze_and_excite_does() -> None:
    nodes = (Node("mean", "a0", ("x",)), Node("sigmoid", "a1", ("a0",)), Node("mul", "a2", ("x", "a1")))
    net = TorchGraph(Graph(nodes, {}, {"logits": "a2"}, (2, 1, 2)))
    x = torch.tensor([[[[1.0, -1.0]], [[40.0, 60.0]]]])
    assert net(x)["logits"].tolist() == [[[[0.5, -0.5]], [[40.0, 60.0]]]]


def test_describes_layers_for_a_person() -> None:
    depthwise = Node("conv", "a7", ("x",), (3, 3), (2, 2), groups=8, weight="w", bias="b")
    graph = Graph((depthwise,), {"w": np.zeros((8, 1, 3, 3), np.float32)}, {}, (8, 4, 4))
    assert graph.describe(depthwise) == "a7: conv 3x3 depthwise, 8 channels, stride 2"
    assert [GRAPH.describe(node) for node in GRAPH.nodes[1:]] == [
        "a1: add",
        "a2: maxpool, stride 2",
        "a3: flatten",
        "a4: linear, 1 channels",
    ]
