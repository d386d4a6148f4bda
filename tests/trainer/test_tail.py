import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.errors import QuantizeError
from trainer.fakequant import Simulation, affine_for
from trainer.graph import Graph, Node, TorchGraph
from trainer.onnx_write import Affine
from trainer.tail import QatTail, fine_tune, tail_loss

PIXELS = Affine(1 / 128, -1)
NODES = (
    Node("conv", "a0", ("x",), act="relu6", weight="w0", bias="b0"),
    Node("mean", "a1", ("a0",)),
    Node("flatten", "a2", ("a1",)),
    Node("linear", "a3", ("a2",), weight="w3", bias="b3"),
)
ACTS = {"x": PIXELS} | dict.fromkeys(("a0", "a1", "a2"), affine_for(0.0, 1.0))


def net() -> TorchGraph:
    generator = np.random.default_rng(0)
    shapes = {"w0": (8, 3, 1, 1), "b0": (8,), "w3": (2, 8), "b3": (2,)}
    params = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return TorchGraph(Graph(NODES, params, {"logits": "a3"}, (3, 4, 4)))


def batches(count=3):
    generator = np.random.default_rng(1)
    for _ in range(count):
        yield generator.integers(0, 256, (8, 3, 4, 4), np.uint8), np.ones((8, 2), np.float32)


def test_learns_to_answer_as_the_float_network_although_a_range_is_too_short() -> None:
    teacher, student, losses = net(), net(), []
    with torch.no_grad():
        student.get_parameter("b3").add_(torch.tensor([0.5, -0.5]))
    before = teacher.get_parameter("w0").clone()
    tail = QatTail(batches, 3, epochs=12, learning_rate=3e-2, on_epoch=lambda _, loss, seconds: losses.append(loss))
    fine_tune(teacher, student, ACTS, PIXELS, tail)
    assert losses[-1] < losses[0] / 4
    assert torch.equal(teacher.get_parameter("w0"), before)


def test_goes_on_after_the_last_whole_epoch(tmp_path: Path) -> None:
    whole, cut = net(), net()
    fine_tune(net(), whole, ACTS, PIXELS, QatTail(batches, 3, epochs=2))

    class Stopped(Exception):
        pass

    def stop_in_the_second(epoch: int, loss: float, seconds: float) -> None:
        raise Stopped

    checkpoint = tmp_path / "tail.pt"
    with pytest.raises(Stopped):
        fine_tune(
            net(), cut, ACTS, PIXELS, QatTail(batches, 3, epochs=2, checkpoint=checkpoint, on_epoch=stop_in_the_second)
        )
    epochs: list[int] = []
    resumed = net()
    tail = QatTail(batches, 3, epochs=2, checkpoint=checkpoint, on_epoch=lambda epoch, *_: epochs.append(epoch))
    fine_tune(net(), resumed, ACTS, PIXELS, tail)
    assert epochs == [2]
    assert {name: value.tolist() for name, value in resumed.named_parameters()} == {
        name: value.tolist() for name, value in whole.named_parameters()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tail.pt"]


def test_the_labels_part_is_minus_log_of_what_the_allowed_labels_share() -> None:
    teacher = net()
    simulation = Simulation(net(), ACTS)
    x = torch.zeros(1, 3, 4, 4)
    allowed = torch.tensor([[1.0, 0.0]])
    plain = tail_loss(teacher, simulation, x, allowed, QatTail(batches, 3))
    named = tail_loss(teacher, simulation, x, allowed, QatTail(batches, 3, label_weight=2.0))
    prob = torch.softmax(simulation(x)["logits"].detach(), 1)[0, 0]
    assert float((named - plain).detach()) == pytest.approx(-2.0 * math.log(float(prob)), rel=1e-4)
    both = tail_loss(teacher, simulation, x, torch.ones(1, 2), QatTail(batches, 3, label_weight=2.0))
    assert float(both.detach()) == pytest.approx(float(plain.detach()), abs=1e-6)


@pytest.mark.parametrize("wrong", [lambda: iter(()), lambda: ((p, np.zeros((8, 2), np.float32)) for p, _ in batches())])
def test_refuses_an_epoch_without_pictures_or_with_a_loss_that_is_no_number(wrong) -> None:
    with pytest.raises(QuantizeError, match="quantisation-aware training: epoch 1 had"):
        fine_tune(net(), net(), ACTS, PIXELS, QatTail(wrong, 3, label_weight=1.0))
