"""Losses: small and pure; every one is the mean over the batch.

A target is a row of allowed labels, so that "anything but organic" can be taught as well as "glass". What changes
logits before a loss (`standardise`, `adjust`) or batches before a network (`mix`, `mix_logits`) is a function of its
own: each loss then works with each of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Mixup",
    "adjust",
    "allowed_loss",
    "distillation_loss",
    "draw_mixup",
    "mix",
    "mix_logits",
    "standardise",
]


def allowed_loss(logits: Tensor, allowed: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log of the probability that the allowed labels have together; with one allowed label, cross-entropy.

    Args:
        logits: float [N, K].
        allowed: float [N, K], 1 where the label would be right, else 0; at least one 1 a row.
        smoothing: share of the loss that asks for even probabilities, 0..1; only where a single label is allowed.
    """
    log_probs = F.log_softmax(logits, dim=1)
    hard = -torch.logsumexp(log_probs.masked_fill(allowed == 0, -torch.inf), dim=1)
    share = smoothing * (allowed.sum(dim=1) == 1)
    return ((1 - share) * hard - share * log_probs.mean(dim=1)).mean()


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) at a temperature, times T^2 so that gradients keep their size (Hinton et al. 2015).

    Args:
        logits, teacher_logits: float [N, K].
    """
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean") * temperature**2


def standardise(logits: Tensor) -> Tensor:
    """Each row less its mean, over its standard deviation (Sun et al. 2024, "Logit Standardization").

    Given both rows like this, `distillation_loss` asks a small student for the teacher's order and proportions, not
    for logits as far apart as a large network's.

    Args:
        logits: float [N, K].

    Returns:
        float [N, K]; a row of equal logits gives zeros.
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-12).sqrt()


def adjust(logits: Tensor, share: Tensor, strength: float = 1.0) -> Tensor:
    """Logits with their label's log frequency added: what to give a loss, so that rare labels count as much.

    A network trained so answers as if all labels were equally frequent; in use its logits are taken as they are
    (Menon et al. 2021, "Long-tail learning via logit adjustment").

    Args:
        logits: float [N, K].
        share: float [K], how much of the pictures, as they are drawn for training, each label has; more than 0.
        strength: tau of the paper; 1 balances the labels, 0 changes nothing.
    """
    return logits + strength * torch.log(share / share.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Mixup:
    """How the rows of a batch are mixed: row i gets `share[i]` of itself and the rest of row `partner[i]`.

    (Zhang et al. 2018. For small students only under a teacher's labels: with hard ones it hurts, Liu et al. 2024.)

    Attributes:
        partner: int64 [N].
        share: float32 [N], 0..1.
    """

    partner: Tensor
    share: Tensor


def draw_mixup(rows: int, strength: float, rng: np.random.Generator) -> Mixup:
    """Draw partners and shares for a batch.

    Args:
        strength: both parameters of the beta distribution that shares are drawn from; more than 0.
        rng: made from the recipe's seed, the epoch and the step, so that a run can be gone on with.
    """
    partner = torch.from_numpy(rng.permutation(rows))
    return Mixup(partner, torch.from_numpy(rng.beta(strength, strength, rows).astype(np.float32)))


def mix(batch: Tensor, mixup: Mixup) -> Tensor:
    """Mix pictures, features or probabilities: float [N, ...]."""
    share = mixup.share.to(batch).view(-1, *[1] * (batch.ndim - 1))
    return share * batch + (1 - share) * batch[mixup.partner]


def mix_logits(teacher_logits: Tensor, mixup: Mixup, temperature: float) -> Tensor:
    """A teacher's answers to the mixed pictures, from its answers to the plain ones.

    Returns:
        float [N, K]: logits whose softmax at this temperature is the mixture of the two rows' softmax, as
        `distillation_loss` takes them.
    """
    log_probs = F.log_softmax(teacher_logits / temperature, dim=1)
    share = mixup.share.to(log_probs).unsqueeze(1)
    # In logarithms throughout: a probability that underflows would become a logit of minus infinity.
    return temperature * torch.logaddexp(log_probs + share.log(), log_probs[mixup.partner] + (-share).log1p())
