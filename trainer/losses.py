"""Losses: small and pure; every one is the mean over the batch.

A target is a row of allowed labels, so that "anything but organic" can be taught as well as "glass".
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["allowed_loss", "distillation_loss"]


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
