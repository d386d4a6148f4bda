import numpy as np
import pytest
import torch

from trainer.equalise import equalise
from trainer.fakequant import Simulation, correct_biases
from trainer.graph import Graph, Node, TorchGraph
from trainer.ranges import Histograms, affine_for


def filled(nodes: tuple[Node, ...], shapes: dict[str, tuple[int, ...]], outputs: dict[str, str], side=8) -> Graph:
    """Random weights whose channels differ thirtyfold, and biases that let something through each."""
    random = np.random.default_rng(0)
    params = {}
    for name, shape in shapes.items():
        size = np.exp(random.uniform(-1.8, 1.8, (shape[0], *[1] * (len(shape) - 1))))
        params[name] = (random.normal(size=shape) * size / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        params[f"b{name[1:]}"] = (2.0 * size.reshape(-1)).astype(np.float32)
    return Graph(nodes, params, outputs, (3, side, side))


def mobile() -> Graph:
    """Expansion, depthwise, projection with a residual, each with another activation; features and logits."""
    nodes = (
        Node("conv", "a0", ("x",), (3, 3), (1, 1), (1, 1, 1, 1), act="relu6", weight="w0", bias="b0"),
        Node("conv", "a1", ("a0",), (3, 3), (1, 1), (1, 1, 1, 1), 6, act="relu6", weight="w1", bias="b1"),
        Node("conv", "a2", ("a1",), weight="w2", bias="b2"),
        Node("conv", "a3", ("a2",), act="relu", weight="w3", bias="b3"),
        Node("conv", "a4", ("a3",), (3, 3), (1, 1), (1, 1, 1, 1), 2, act="relu", weight="w4", bias="b4"),
        Node("add", "a5", ("a2", "a4")),
        Node("maxpool", "a6", ("a5",), (2, 2), (2, 2)),
        Node("conv", "a7", ("a6",), act="relu6", weight="w7", bias="b7"),
        Node("mean", "a8", ("a7",)),
        Node("flatten", "a9", ("a8",)),
        Node("linear", "a10", ("a9",), weight="w10", bias="b10"),
    )
    shapes = {
        "w0": (6, 3, 3, 3), "w1": (6, 1, 3, 3), "w2": (4, 6, 1, 1), "w3": (6, 4, 1, 1), "w4": (4, 3, 3, 3),
        "w7": (8, 4, 1, 1), "w10": (5, 8),
    }  # fmt: skip
    return filled(nodes, shapes, {"logits": "a10", "features": "a9"})


def stack() -> Graph:
    """Convolution, pooling, and a linear layer that reads what is flattened with height and width."""
    nodes = (
        Node("conv", "a0", ("x",), (3, 3), (1, 1), (1, 1, 1, 1), act="relu", weight="w0", bias="b0"),
        Node("maxpool", "a1", ("a0",), (4, 4), (4, 4)),
        Node("flatten", "a2", ("a1",)),
        Node("linear", "a3", ("a2",), act="relu", weight="w3", bias="b3"),
        Node("linear", "a4", ("a3",), weight="w4", bias="b4"),
    )
    return filled(nodes, {"w0": (5, 3, 3, 3), "w3": (7, 20), "w4": (3, 7)}, {"logits": "a4"})


def pictures(count: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32))


def peaks(graph: Graph) -> dict[str, torch.Tensor]:
    return Histograms(TorchGraph(graph), [pictures()]).peaks


@pytest.mark.parametrize("graph", [mobile(), stack()], ids=["mobile", "stack"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_answers_stay_the_same_also_for_pictures_that_were_not_seen(graph: Graph, strength: float) -> None:
    even = equalise(graph, peaks(graph), strength)
    with torch.no_grad():
        wanted, got = TorchGraph(graph)(pictures(seed=9) * 2), TorchGraph(even)(pictures(seed=9) * 2)
    assert list(got) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-3, atol=1e-4)


def test_at_full_strength_every_channel_peaks_where_the_largest_does() -> None:
    graph = mobile()
    before, after = peaks(graph), peaks(equalise(graph, peaks(graph), 1.0))
    for name in ("a0", "a1", "a3"):
        alive = before[name] > 0
        assert int(alive.sum()) >= 4
        assert after[name][alive].tolist() == pytest.approx([float(before[name].max())] * int(alive.sum()), rel=1e-4)
    assert float(before["a0"].min()) < 0.7 * float(before["a0"].max())
    # Outputs are what they were.
    assert after["a9"].tolist() == pytest.approx(before["a9"].tolist(), rel=1e-4)


def test_channels_only_grow_and_the_end_of_relu6_grows_along() -> None:
    graph = mobile()
    even = equalise(graph, peaks(graph), 1.0)
    at = peaks(graph)["a1"]
    factors = (at.max() / at).tolist()
    by_name = {node.output: node for node in even.nodes}
    assert by_name["a1"].tops == pytest.approx([6.0 * factor for factor in factors], rel=1e-4)
    assert min(by_name["a1"].tops) == 6.0
    assert (by_name["a3"].tops, by_name["a7"].tops) == ((), ())  # ReLU has no end; the features stay
    np.testing.assert_allclose(even.params["w1"][:, 0].sum((1, 2)) / graph.params["w1"][:, 0].sum((1, 2)) *
        (peaks(graph)["a0"] / peaks(graph)["a0"].max()).numpy() ** -1.0, factors, rtol=1e-3)  # fmt: skip


def test_without_strength_only_tensors_that_depthwise_layers_alone_read_are_changed() -> None:
    graph = mobile()
    even = equalise(graph, peaks(graph), 0.0)
    assert [name for name in graph.params if not np.array_equal(graph.params[name], even.params[name])] == [
        *("w0", "b0", "w1")
    ]


def test_what_is_added_shares_its_factors() -> None:
    graph = mobile()
    even = equalise(graph, peaks(graph), 0.5)
    factors = [even.params[name] / graph.params[name] for name in ("b2", "b4")]
    assert factors[0].tolist() == pytest.approx(factors[1].tolist(), rel=1e-5)
    assert factors[0].max() > 1.2


def test_what_a_sigmoid_or_a_product_reads_keeps_its_size() -> None:
    nodes = (
        Node("conv", "a0", ("x",), weight="w0", bias="b0"),
        Node("sigmoid", "a1", ("a0",)),
        Node("mul", "a2", ("a0", "a1")),
        Node("conv", "a3", ("a2",), weight="w3", bias="b3"),
        Node("mean", "a4", ("a3",)),
        Node("flatten", "a5", ("a4",)),
    )
    graph = filled(nodes, {"w0": (4, 3, 1, 1), "w3": (2, 4, 1, 1)}, {"logits": "a5"})
    even = equalise(graph, peaks(graph), 1.0)
    assert [name for name in graph.params if not np.array_equal(graph.params[name], even.params[name])] == []


def test_a_channel_that_is_always_zero_is_left_alone() -> None:
    graph = mobile()
    graph.params["w0"][2], graph.params["b0"][2] = 0.0, -1.0
    even = equalise(graph, peaks(graph), 1.0)
    assert all(np.isfinite(value).all() for value in even.params.values())
    with torch.no_grad():
        wanted, got = TorchGraph(graph)(pictures())["logits"], TorchGraph(even)(pictures())["logits"]
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)


def test_int8_of_uneven_channels_comes_closer() -> None:
    nodes = (
        Node("conv", "a0", ("x",), act="relu6", weight="w0", bias="b0"),
        Node("conv", "a1", ("a0",), weight="w1", bias="b1"),
        Node("mean", "a2", ("a1",)),
        Node("flatten", "a3", ("a2",)),
    )
    graph = filled(nodes, {"w0": (6, 3, 1, 1), "w1": (4, 6, 1, 1)}, {"logits": "a3"})
    # Small channels that count as much as large ones.
    gains = np.array([1, 0.5, 0.2, 0.1, 0.05, 0.02], np.float32)
    for name in ("w0", "b0"):
        size = np.abs(graph.params[name].reshape(6, -1)).max(1)
        graph.params[name][:] = graph.params[name] * (gains / size).reshape(-1, *[1] * (graph.params[name].ndim - 1))
    graph.params["w1"][:] = np.sign(graph.params["w1"]) / gains.reshape(1, 6, 1, 1)
    x = pictures(32)
    off = {}
    for name, net in {"plain": graph, "even": equalise(graph, peaks(graph), 0.5)}.items():
        teacher, student = TorchGraph(net), TorchGraph(net)
        acts = Histograms(teacher, [x]).scales("min-max", affine_for(float(x.min()), float(x.max())))
        correct_biases(teacher, student, acts, x)
        with torch.no_grad():
            wanted, got = teacher(x)["logits"], Simulation(student, acts)(x)["logits"]
        off[name] = float((got - wanted).square().mean())
    assert off["even"] < 0.5 * off["plain"]
