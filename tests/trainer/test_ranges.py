import numpy as np
import pytest
import torch

from trainer.errors import QuantizeError
from trainer.graph import Graph, Node, TorchGraph
from trainer.onnx_write import Affine
from trainer.ranges import RANGES, Histograms, affine_for, quantised_tensors

PIXELS = Affine(1 / 128, -1)


def as_it_is(act: str = "none") -> TorchGraph:
    """A convolution that hands its one channel on, then mean and flatten."""
    nodes = (
        Node("conv", "a0", ("x",), act=act, weight="w0", bias="b0"),
        Node("mean", "a1", ("a0",)),
        Node("flatten", "a2", ("a1",)),
    )
    params = {"w0": np.ones((1, 1, 1, 1), np.float32), "b0": np.zeros(1, np.float32)}
    return TorchGraph(Graph(nodes, params, {"logits": "a2"}, (1, 100, 100)))


def seen(values: torch.Tensor, act: str = "none") -> Histograms:
    return Histograms(as_it_is(act), list(values.split(1)))


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 6.0, 6 / 255, -128),  # after ReLU6
        (-1.0, 1.55, 0.01, -28),
        (0.5, 2.55, 0.01, -128),  # widened to hold 0
        (-2.55, -1.0, 0.01, 127),
        (0.0, 0.0, 1e-9, -128),  # a channel that is always 0
    ],
)
def test_a_range_becomes_a_scale_that_holds_zero_exactly(low, high, scale, zero_point) -> None:
    affine = affine_for(low, high)
    assert affine == Affine(float(np.float32(scale)), zero_point)


def test_pools_that_pick_and_reshapes_share_a_scale_and_unread_logits_stay_float() -> None:
    nodes = (
        Node("conv", "a0", ("x",), weight="w", bias="b"),
        Node("maxpool", "a1", ("a0",)),
        Node("mean", "a2", ("a1",)),
        Node("flatten", "a3", ("a2",)),
        Node("linear", "a4", ("a3",), weight="w", bias="b"),
        Node("linear", "a5", ("a4",), weight="w", bias="b"),
    )
    graph = Graph(nodes, {}, {"logits": "a5"}, (1, 2, 2))
    assert quantised_tensors(graph) == {"x": "x", "a0": "a0", "a1": "a0", "a2": "a2", "a3": "a2", "a4": "a4"}


def two_outliers() -> torch.Tensor:
    """Numbers spread evenly over -1..1, but for one of -50 and one of 70."""
    values = torch.linspace(-1, 1, 10_000).reshape(1, 1, 100, 100).repeat(2, 1, 1, 1)
    values[0, 0, 0, 0], values[1, 0, 0, 1] = -50.0, 70.0
    return values


def test_a_percentile_leaves_out_the_rare_values_at_either_end() -> None:
    found = seen(two_outliers())
    step = 120 / 4096
    assert found.range_of("a0", "min-max") == (-50.0, 70.0)
    low, high = found.range_of("a0", "99.9 %")
    assert (low, high) == (pytest.approx(-0.998, abs=step), pytest.approx(0.998, abs=step))


def test_after_relu_only_the_upper_end_is_cut() -> None:
    values = torch.linspace(-1, 1, 10_000).reshape(1, 1, 100, 100).clone()
    values[0, 0, 0, 0] = 70.0
    found = seen(values, "relu6")
    assert found.range_of("a0", "min-max") == (0.0, 6.0)
    assert found.range_of("a0", "99.9 %") == (0.0, pytest.approx(0.998, abs=6 / 4096))
    assert [found.range_of("a0", method)[0] for method in RANGES] == [0.0] * len(RANGES)
    scales = found.scales("min-max", PIXELS)
    assert scales["a0"] == Affine(float(np.float32(6 / 255)), -128)
    assert (scales["x"], scales["a2"]) == (PIXELS, scales["a1"])


def test_the_range_of_least_squared_error_is_the_one_that_a_search_by_hand_finds() -> None:
    values = torch.linspace(0, 1, 10_000).reshape(1, 1, 100, 100).repeat(40, 1, 1, 1)
    values[0, 0, 0, 0] = 1.6
    found = seen(values)
    low, high = found.range_of("a0", "squared error")

    def rounded(top: float) -> float:
        scale = top / 255
        return float((values - (values / scale).round().clamp(0, 255) * scale).square().mean())

    best = min(np.linspace(0.9, 1.6, 400), key=rounded)
    assert low == 0.0
    assert rounded(high) < 1.02 * rounded(float(best))
    assert rounded(high) < 0.8 * rounded(1.6)


def test_the_range_of_least_divergence_leaves_out_a_far_value_and_keeps_what_is_common() -> None:
    bell = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 1, 100, 100)).astype(np.float32))
    bell[0, 0, 0, 0], bell[0, 0, 0, 1] = 30.0, -30.0
    low, high = seen(bell).range_of("a0", "entropy")
    assert -10 < low < -2.5
    assert 2.5 < high < 10
    # Without anything rare nothing is left out.
    even = torch.linspace(0, 5, 10_000).reshape(1, 1, 100, 100)
    assert seen(even).range_of("a0", "entropy")[1] == pytest.approx(5.0, abs=0.06)


def test_the_many_zeros_after_relu_do_not_draw_the_range_in() -> None:
    values = torch.linspace(0, 5, 10_000).reshape(1, 1, 100, 100).repeat(20, 1, 1, 1)
    values[1:] = 0.0
    assert seen(values).range_of("a0", "entropy")[1] == pytest.approx(5.0, abs=0.06)


def test_a_tensor_that_is_always_zero_has_the_empty_range_by_every_method() -> None:
    found = seen(torch.zeros(1, 1, 100, 100))
    assert [found.range_of("a0", method) for method in RANGES] == [(0.0, 0.0)] * len(RANGES)


def test_peaks_are_the_largest_magnitudes_per_channel_over_all_batches() -> None:
    nodes = (Node("conv", "a0", ("x",), weight="w0", bias="b0"),)
    params = {"w0": np.array([1, -2], np.float32).reshape(2, 1, 1, 1), "b0": np.zeros(2, np.float32)}
    net = TorchGraph(Graph(nodes, params, {"logits": "a0"}, (1, 1, 2)))
    batches = [torch.tensor([[[[1.0, -3.0]]]]), torch.tensor([[[[2.0, 0.0]]]])]
    assert Histograms(net, batches).peaks["a0"].tolist() == [3.0, 6.0]


def test_an_unknown_method_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(QuantizeError, match=r"ranges 'best': unknown; the quantiser has min-max, 99.999 %"):
        seen(torch.zeros(1, 1, 100, 100)).range_of("a0", "best")
