from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.fakequant import Simulation, correct_biases, int8_weights, normalise, weight_scale
from trainer.graph import Graph, Node, TorchGraph
from trainer.onnx_write import Affine
from trainer.ranges import Histograms, affine_for

PIXELS = Affine(1 / 128, -1)


def one_conv(weight, bias, act="none") -> Graph:
    """A 1x1 convolution of one channel into len(weight), then mean and flatten."""
    nodes = (
        Node("conv", "a0", ("x",), act=act, weight="w0", bias="b0"),
        Node("mean", "a1", ("a0",)),
        Node("flatten", "a2", ("a1",)),
    )
    params = {"w0": np.array(weight, np.float32).reshape(-1, 1, 1, 1), "b0": np.array(bias, np.float32)}
    return Graph(nodes, params, {"logits": "a2"}, (1, 2, 2))


def test_turns_pixels_into_the_numbers_that_the_network_was_trained_on() -> None:
    pixels = np.array([0, 127, 128, 255], np.uint8).reshape(1, 1, 2, 2)
    assert normalise(pixels, PIXELS).flatten().tolist() == [-127 / 128, 0.0, 1 / 128, 1.0]


def test_after_relu6_saturation_is_the_activation() -> None:
    values = torch.linspace(-9, 9, 4001)
    act = affine_for(0.0, 6.0)
    node = one_conv([1.0], [0.0]).nodes[0]
    net = TorchGraph(one_conv([1.0], [0.0]))
    after = Simulation(net, {"x": PIXELS, "a0": act}).after
    assert torch.equal(after(node, values), after(node, torch.nn.functional.relu6(values)))


def test_each_output_channel_has_its_own_weight_scale_which_float16_holds() -> None:
    weight = torch.tensor([[1.27, -0.5], [-254.0, 3.0]])
    scale = weight_scale(weight, torch.zeros(2), 1.0)
    assert scale.tolist() == pytest.approx([0.01, 2.0], rel=2**-11)
    assert torch.equal(scale, scale.half().float())


def test_a_channel_of_zero_weights_gets_a_scale_in_which_its_bias_fits_int32() -> None:
    graph = one_conv([0.0, 1.0], [5000.0, 5.0])
    held = int8_weights(graph, {"x": PIXELS})["a0"]
    assert held.weight.reshape(-1).tolist() == [0, 127]
    assert 2**29 < float(held.bias[0]) / float(held.step[0]) < 2**31


def test_integers_and_biases_of_a_layer_worked_out_by_hand() -> None:
    graph = one_conv([1.27, 0.6], [0.1, -0.3])
    held = int8_weights(graph, {"x": Affine(0.5, 0)})["a0"]
    assert held.weight.reshape(-1).tolist() == [127, 127]
    assert (held.scale.dtype, held.bias.dtype, held.step.dtype) == (np.float16, np.float16, np.float32)
    assert held.scale.tolist() == np.array([1.27 / 127, 0.6 / 127], np.float16).tolist()
    assert held.bias.tolist() == np.array([0.1, -0.3], np.float16).tolist()
    assert held.step.tolist() == (held.scale.astype(np.float32) / 2).tolist()


def test_the_simulation_rounds_weights_biases_and_results() -> None:
    # 1.27 * 0.5 + 0.102, the bias in steps of 0.5 * 0.01: 0.635 + 0.1; the result in steps of 0.1: 0.7.
    graph = one_conv([1.27], [0.102])
    acts = {"x": Affine(0.5, 0), "a0": Affine(0.1, 0), "a1": Affine(0.1, 0), "a2": Affine(0.1, 0)}
    outputs = Simulation(TorchGraph(graph), acts)(torch.full((1, 1, 2, 2), 0.5))
    assert outputs["logits"].tolist() == [[pytest.approx(0.7)]]
    only = Simulation(TorchGraph(graph), acts, only="a1")(torch.full((1, 1, 2, 2), 0.57))
    assert only["logits"].tolist() == [[pytest.approx(0.8)]]  # 0.8259 in float, rounded once


def test_gradients_pass_the_rounding_and_stop_where_it_saturates() -> None:
    net = TorchGraph(one_conv([1.0], [0.0]))
    acts = {"x": PIXELS} | dict.fromkeys(("a0", "a1", "a2"), affine_for(-1.0, 1.0))
    Simulation(net, acts)(torch.full((1, 1, 2, 2), 0.5))["logits"].sum().backward()
    weight, bias = net.get_parameter("w0"), net.get_parameter("b0")
    assert (weight.grad.item(), bias.grad.item()) == (pytest.approx(0.5), pytest.approx(1.0))
    net.zero_grad()
    Simulation(net, acts)(torch.full((1, 1, 2, 2), 5.0))["logits"].sum().backward()
    assert (weight.grad.item(), bias.grad.item()) == (0.0, 0.0)


def test_bias_correction_gives_back_the_means_that_rounding_moved() -> None:
    generator = np.random.default_rng(0)
    nodes = (
        Node("conv", "a0", ("x",), (3, 3), (1, 1), (1, 1, 1, 1), act="relu6", weight="w0", bias="b0"),
        Node("conv", "a1", ("a0",), (3, 3), (1, 1), (1, 1, 1, 1), 4, "relu6", "w1", "b1"),
        Node("add", "a2", ("a0", "a1")),
        Node("mean", "a3", ("a2",)),
        Node("flatten", "a4", ("a3",)),
        Node("linear", "a5", ("a4",), weight="w5", bias="b5"),
    )
    shapes = {"w0": (4, 3, 3, 3), "b0": (4,), "w1": (4, 1, 3, 3), "b1": (4,), "w5": (2, 4), "b5": (2,)}
    params = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    graph = Graph(nodes, params, {"logits": "a5"}, (3, 8, 8))
    teacher, student = TorchGraph(graph), TorchGraph(graph)
    x = torch.from_numpy(generator.normal(size=(16, 3, 8, 8)).astype(np.float32))
    # Coarse steps, so that there is something to correct.
    acts = {name: replace(affine, scale=affine.scale * 12) for name, affine in _scales(teacher, x).items()}
    with torch.no_grad():
        wanted = teacher(x)["logits"].mean(0)
        before = Simulation(student, acts)(x)["logits"].mean(0)
        correct_biases(teacher, student, acts, x)
        after = Simulation(student, acts)(x)["logits"].mean(0)
    assert float((before - wanted).abs().max()) > 0.05
    assert float((after - wanted).abs().max()) < 0.01


def _scales(net: TorchGraph, x: torch.Tensor) -> dict[str, Affine]:
    return Histograms(net, [x]).scales("min-max", affine_for(float(x.min()), float(x.max())))
