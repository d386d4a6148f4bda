"""Losses against numbers worked by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.losses import (
    Mixup,
    adjust,
    allowed_loss,
    distillation_loss,
    draw_mixup,
    mix,
    mix_logits,
    standardise,
)

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


# Logit standardisation


def test_standardised_logits_by_hand() -> None:
    # Mean 2, squares 4 + 0 + 4 over 3 labels: a deviation of sqrt(8 / 3).
    made = standardise(torch.tensor([[0.0, 2.0, 4.0], [5.0, 5.0, 5.0]]))
    far = 2 / math.sqrt(8 / 3)
    torch.testing.assert_close(made, torch.tensor([[-far, 0.0, far], [0.0, 0.0, 0.0]]))


def test_a_student_with_the_teachers_proportions_has_nothing_to_learn_whatever_their_size() -> None:
    teacher = torch.tensor([[9.0, 3.0, -6.0]])
    smaller = teacher / 12 + 100
    assert distillation_loss(standardise(smaller), standardise(teacher), 2.0).item() == pytest.approx(0.0, abs=1e-6)
    assert distillation_loss(smaller, teacher, 2.0).item() > 1.0
    # The other way round is as wrong as it was.
    assert distillation_loss(standardise(-smaller), standardise(teacher), 2.0).item() > 0.5


def test_standardised_logits_of_one_answer_keep_a_finite_gradient() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    distillation_loss(standardise(logits), standardise(LOGITS), 2.0).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


# Rare labels


def test_an_adjusted_loss_by_hand() -> None:
    # Softmax 1/8, 2/8, 5/8 times shares 1/2, 1/4, 1/4 is 4/64, 4/64, 10/64: 4, 4 and 10 of 18.
    share = torch.tensor([20.0, 10.0, 10.0])
    for label, part in enumerate((4, 4, 10)):
        truth = F.one_hot(torch.tensor([label]), 3).float()
        assert allowed_loss(adjust(LOGITS, share), truth).item() == pytest.approx(-math.log(part / 18), rel=1e-6)
    assert allowed_loss(adjust(LOGITS, share), allowed([1, 0, 1])).item() == pytest.approx(-math.log(14 / 18), rel=1e-6)


def test_half_the_strength_takes_the_root_of_the_shares_and_none_changes_nothing() -> None:
    share = torch.tensor([16.0, 4.0, 1.0])
    made = F.softmax(adjust(torch.zeros(1, 3), share, 0.5), dim=1)
    torch.testing.assert_close(made, torch.tensor([[4 / 7, 2 / 7, 1 / 7]]))
    assert torch.equal(adjust(LOGITS, share, 0.0), LOGITS)


def test_what_is_learnt_through_it_is_balanced() -> None:
    # One feature that says nothing: nine pictures of the first label, one of the second.
    logits = torch.zeros(2, requires_grad=True)
    truth = F.one_hot(torch.tensor([0] * 9 + [1]), 2).float()
    for _ in range(400):
        loss = allowed_loss(adjust(logits.expand(10, 2), torch.tensor([9.0, 1.0])), truth)
        (slope,) = torch.autograd.grad(loss, logits)
        logits = (logits - 2.0 * slope).detach().requires_grad_()
    torch.testing.assert_close(F.softmax(logits, dim=0), torch.tensor([0.5, 0.5]), atol=1e-3, rtol=0)


# Mixup

MIXUP = Mixup(torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))


def test_mixed_rows_by_hand() -> None:
    pixels = torch.tensor([[[4.0, 8.0]], [[0.0, 2.0]]])
    assert torch.equal(mix(pixels, MIXUP), torch.tensor([[[3.0, 6.5]], [[2.0, 5.0]]]))


def test_mixed_answers_are_the_mixture_at_every_temperature() -> None:
    for temperature in (1.0, 2.0, 5.0):
        probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        mixed = mix_logits(temperature * probs.log(), MIXUP, temperature)
        wanted = torch.tensor([[0.725, 0.275], [0.55, 0.45]])
        torch.testing.assert_close(F.softmax(mixed / temperature, dim=1), wanted)
        # A student that answers with the mixture has no loss.
        assert distillation_loss(temperature * wanted.log(), mixed, temperature).item() == pytest.approx(0.0, abs=1e-6)


def test_a_share_of_one_leaves_a_row_as_it_was_however_sure_the_teacher_is() -> None:
    sure = torch.tensor([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0]])
    whole = mix_logits(sure, Mixup(torch.tensor([1, 0]), torch.tensor([1.0, 0.0])), 2.0)
    torch.testing.assert_close(whole, torch.log_softmax(sure[[0, 0]] / 2, dim=1) * 2)
    half = mix_logits(sure, Mixup(torch.tensor([1, 0]), torch.tensor([0.5, 0.5])), 2.0)
    torch.testing.assert_close(F.softmax(half / 2, dim=1), torch.tensor([[0.5, 0.5, 0.0]] * 2))
    assert bool(torch.isfinite(distillation_loss(LOGITS.repeat(2, 1), half, 2.0)))


def test_the_same_generator_draws_the_same_mixture() -> None:
    def drawn(seed: int) -> tuple[list[int], list[float]]:
        made = draw_mixup(200, 0.3, np.random.default_rng([1, seed]))
        return made.partner.tolist(), made.share.tolist()

    partner, share = drawn(5)
    assert (partner, share) == drawn(5)
    assert share != drawn(6)[1]
    assert sorted(partner) == list(range(200))
    assert all(0 <= value <= 1 for value in share)
    # A strength below 1 leaves most rows close to one of the two.
    assert sum(value < 0.1 or value > 0.9 for value in share) > 80
