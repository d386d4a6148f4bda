import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.errors import QuantizeError
from trainer.fakequant import Simulation, weight_scale
from trainer.graph import Graph, Node, TorchGraph
from trainer.losses import distillation_loss
from trainer.onnx_write import Affine
from trainer.ranges import affine_for
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


def batches(epoch=0, count=3):
    generator = np.random.default_rng(epoch)
    for _ in range(count):
        yield generator.integers(0, 256, (8, 3, 4, 4), np.uint8), None


def parameters(net: TorchGraph) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in net.named_parameters()}


def test_learns_to_answer_as_the_float_network_although_biases_are_wrong() -> None:
    teacher, student, losses = net(), net(), []
    with torch.no_grad():
        student.get_parameter("b3").add_(torch.tensor([0.5, -0.5]))
    before = parameters(teacher)
    acts = dict.fromkeys(ACTS, affine_for(0.0, 6.0)) | {"x": PIXELS}
    tail = QatTail(batches, 3, epochs=60, learning_rate=1.0, on_epoch=lambda _, loss, seconds: losses.append(loss))
    fine_tune(teacher, student, acts, PIXELS, tail)
    assert losses[-1] < losses[0] / 4
    assert parameters(teacher) == before


def test_ranges_that_are_too_short_grow() -> None:
    acts = fine_tune(net(), net(), ACTS, PIXELS, QatTail(batches, 3, epochs=20, learning_rate=0.5))
    assert acts["a1"].scale > 1.1 * ACTS["a1"].scale
    assert (acts["x"], acts["a2"]) == (PIXELS, acts["a1"])
    assert {name: affine.zero_point for name, affine in acts.items()} == {
        name: affine.zero_point for name, affine in ACTS.items()
    }


def test_the_range_after_relu6_never_grows_beyond_six() -> None:
    acts = dict.fromkeys(ACTS, affine_for(0.0, 5.9)) | {"x": PIXELS}
    teacher, student = net(), net()
    with torch.no_grad():
        teacher.get_parameter("w3").mul_(3.0)  # larger logits, which a longer range would bring
    learnt = fine_tune(teacher, student, acts, PIXELS, QatTail(batches, 3, epochs=20, learning_rate=2.0))
    assert learnt["a0"].scale == float(np.float32(6 / 255))
    assert learnt["a1"].scale > 1.05 * float(np.float32(6 / 255))


def test_what_learns_moves_by_a_share_of_its_own_rounding_step() -> None:
    student = net()
    with torch.no_grad():
        student.get_parameter("w0").mul_(100.0)
        student.get_parameter("b0").mul_(100.0)
        teacher = TorchGraph(student.to_graph())
        student.get_parameter("b3").add_(torch.tensor([0.5, -0.5]))
    before = {name: value.detach().clone() for name, value in student.named_parameters()}
    acts = ACTS | {"a0": affine_for(0.0, 6.0)}
    tail = QatTail(lambda epoch: batches(count=1), 1, epochs=1, learning_rate=0.1)
    fine_tune(teacher, student, acts, PIXELS, tail)
    for name, source in (("w0", "x"), ("w3", "a2")):
        step = weight_scale(before[name], before[f"b{name[1:]}"], acts[source].scale).median()
        moved = (student.get_parameter(name).detach() - before[name]).abs().max()
        assert float(moved) == pytest.approx(0.1 * float(step), rel=0.01)  # Adam's first step


def test_goes_on_after_the_last_whole_epoch_as_if_it_had_not_been_cut_off(tmp_path: Path) -> None:
    whole, cut = net(), net()
    wanted = fine_tune(net(), whole, ACTS, PIXELS, QatTail(batches, 3, epochs=3))

    class Stopped(Exception):
        pass

    def stop_after_the_second(epoch: int, loss: float, seconds: float) -> None:
        if epoch == 2:
            raise Stopped

    checkpoint = tmp_path / "tail.pt"
    with pytest.raises(Stopped):
        fine_tune(
            net(),
            cut,
            ACTS,
            PIXELS,
            QatTail(batches, 3, epochs=3, checkpoint=checkpoint, on_epoch=stop_after_the_second),
        )
    epochs: list[int] = []
    resumed = net()
    tail = QatTail(batches, 3, epochs=3, checkpoint=checkpoint, on_epoch=lambda epoch, *_: epochs.append(epoch))
    acts = fine_tune(net(), resumed, ACTS, PIXELS, tail)
    assert epochs == [3]
    assert parameters(resumed) == parameters(whole)
    assert acts == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tail.pt"]


def test_each_epoch_asks_for_its_own_batches() -> None:
    asked: list[int] = []

    def noted(epoch: int):
        asked.append(epoch)
        return batches(epoch)

    fine_tune(net(), net(), ACTS, PIXELS, QatTail(noted, 3, epochs=3))
    assert asked == [0, 1, 2]


def test_the_loss_is_the_squared_error_without_what_is_common_to_all_labels() -> None:
    teacher = net()
    simulation = Simulation(net(), ACTS)
    x = torch.zeros(1, 3, 4, 4)
    with torch.no_grad():
        off = (simulation(x)["logits"] - teacher(x)["logits"])[0]
        got = tail_loss(teacher, simulation, x, None, QatTail(batches, 3, teacher_weight=2.0))
        simulation.net.get_parameter("b3").add_(simulation.acts["a2"].scale * 7)
        shifted = tail_loss(teacher, simulation, x, None, QatTail(batches, 3))
    assert float(got) == pytest.approx(float((off[0] - off[1]) ** 2) / 4, rel=1e-4)
    assert float(shifted) == pytest.approx(float(got), rel=0.05)


def test_another_teachers_answers_count_when_they_have_a_weight() -> None:
    teacher, simulation = net(), Simulation(net(), ACTS)
    x, opinion = torch.zeros(1, 3, 4, 4), np.array([[3.0, -1.0]], np.float32)
    with torch.no_grad():
        plain = tail_loss(teacher, simulation, x, opinion, QatTail(batches, 3))
        both = tail_loss(teacher, simulation, x, opinion, QatTail(batches, 3, teacher_weight=0.5))
        far = distillation_loss(simulation(x)["logits"], torch.from_numpy(opinion), 2.0)
    assert float(both - plain) == pytest.approx(0.5 * float(far), rel=1e-4)


def test_refuses_an_epoch_without_pictures() -> None:
    with pytest.raises(QuantizeError, match="quantisation-aware training: epoch 1 had 0 batches"):
        fine_tune(net(), net(), ACTS, PIXELS, QatTail(lambda epoch: (), 3))


def test_refuses_a_loss_that_is_no_number() -> None:
    student = net()
    with torch.no_grad():
        student.get_parameter("b3").fill_(math.nan)
    with pytest.raises(
        QuantizeError, match=r"epoch 1 had 3 batches and summed loss nan; lower the learning rate 0\.005"
    ):
        fine_tune(net(), student, ACTS, PIXELS, QatTail(batches, 3))
