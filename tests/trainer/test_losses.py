"""Losses against numbers worked by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.losses import allowed_loss, distillation_loss

# Softmax of these is 1/8, 2/8, 5/8.
LOGITS = torch.log(torch.tensor([[1.0, 2.0, 5.0]]))


def allowed(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def test_with_one_label_it_is_cross_entropy() -> None:
    assert allowed_loss(LOGITS, allowed([0, 1, 0])).item() == pytest.approx(-math.log(2 / 8), rel=1e-6)
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    truth = torch.tensor([0, 3, 2, 2, 1])
    one_hot = F.one_hot(truth, 4).float()
    for smoothing in (0.0, 0.1, 0.7):
        expected = F.cross_entropy(logits, truth, label_smoothing=smoothing)
        assert allowed_loss(logits, one_hot, smoothing).item() == pytest.approx(expected.item(), rel=1e-5)


def test_with_several_labels_it_is_the_log_of_their_sum() -> None:
    assert allowed_loss(LOGITS, allowed([1, 0, 1])).item() == pytest.approx(-math.log(6 / 8), rel=1e-6)


def test_with_all_labels_there_is_nothing_to_learn() -> None:
    assert allowed_loss(LOGITS, allowed([1, 1, 1])).item() == pytest.approx(0.0, abs=1e-6)


def test_smoothing_by_hand() -> None:
    even = -(math.log(1 / 8) + math.log(2 / 8) + math.log(5 / 8)) / 3
    expected = 0.7 * -math.log(5 / 8) + 0.3 * even
    assert allowed_loss(LOGITS, allowed([0, 0, 1]), 0.3).item() == pytest.approx(expected, rel=1e-6)


def test_smoothing_leaves_a_set_of_labels_alone() -> None:
    assert allowed_loss(LOGITS, allowed([1, 0, 1]), 0.3).item() == pytest.approx(-math.log(6 / 8), rel=1e-6)


def test_the_loss_is_the_mean_over_the_batch() -> None:
    both = allowed_loss(LOGITS.repeat(2, 1), allowed([0, 1, 0], [1, 0, 1]))
    assert both.item() == pytest.approx((-math.log(2 / 8) - math.log(6 / 8)) / 2, rel=1e-6)


def test_anything_but_one_pushes_only_that_one_down() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    allowed_loss(logits, allowed([1, 0, 1])).backward()
    # d/dz of -log(1 - p_1): p_1 for itself; the others share the pull up.
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-1 / 6, 1 / 3, -1 / 6]]))


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = allowed_loss(logits, allowed([0, 1, 1]), 0.1)
    loss.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(logits.grad).all())


# Teacher 3/4, 1/4; student even.
KL = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
TEACHER, STUDENT = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)


def test_distillation_is_kl_from_teacher_to_student() -> None:
    assert distillation_loss(STUDENT, TEACHER, 1.0).item() == pytest.approx(KL, rel=1e-6)
    swapped = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert distillation_loss(TEACHER, STUDENT, 1.0).item() == pytest.approx(swapped, rel=1e-6)


def test_temperature_softens_both_and_the_loss_carries_its_square() -> None:
    # Logits twice as far apart at T = 2 give the same probabilities: the same KL, times 4.
    assert distillation_loss(STUDENT, 2 * TEACHER, 2.0).item() == pytest.approx(4 * KL, rel=1e-6)


def test_gradients_keep_their_size_at_high_temperature() -> None:
    # Hinton et al. 2015, section 2.1: towards (v - z) / N^2 for N labels, whatever T.
    logits = torch.zeros(1, 2, requires_grad=True)
    distillation_loss(logits, torch.tensor([[0.2, -0.2]]), 50.0).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.1, 0.1]]), atol=1e-4, rtol=0)


def test_a_student_that_agrees_has_no_loss_and_no_gradient() -> None:
    logits = TEACHER.clone().requires_grad_()
    loss = distillation_loss(logits, TEACHER, 3.0)
    loss.backward()
    assert logits.grad is not None
    assert (loss.item(), logits.grad.abs().max().item()) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_distillation_is_the_mean_over_the_batch() -> None:
    both = distillation_loss(STUDENT.repeat(2, 1), torch.cat([TEACHER, STUDENT]), 1.0)
    assert both.item() == pytest.approx(KL / 2, rel=1e-6)
