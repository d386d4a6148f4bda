"""Turn the predictions of one still item into one decision.

    classify.Prediction -> Vote.add -> Decision | None -> route

Pure: no camera, no clock, no outputs. It must never give a decision that the evidence does not carry: when the frames
run out it says so with `accepted=False`, and such an item goes to the residual bin.

Why the pooled logits are scaled. A frame's calibrated log-odds are `logits / temperature`. Were frames independent,
n of them would add up: n times the mean. Frames of an item that lies still show the same picture again, with the same
mistake in it, so they count as n_eff = n / (1 + (n - 1) rho) frames only, rho being the correlation between two frames
(Kish's design effect). Evidence is the mean times n_eff: one frame keeps its calibrated probability, agreeing frames
add at most a factor 1 / rho however many there are, and frames that disagree pull the mean, and with it the
probability, down.

Two doubts, kept apart because they call for different cures. *Unsure*: between two bins; a better look may settle it.
*Strange*: none of the things that the model knows, however sure the softmax sounds, which must share out its one
among the labels whatever it is shown (Hendrycks and Gimpel 2017). Sure means sure of the *bin*: cardboard at 0.5 and
paper at 0.45 are one safe answer where one bin takes both. Which labels share a bin is the site's, see `route.rule_at`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from device.errors import BundleMismatch, ConfigError

if TYPE_CHECKING:  # only the name is needed, and classify loads onnxruntime
    from device.classify import Prediction

__all__ = ["Decision", "Reason", "Rule", "Vote"]

Reason = Literal["unsure", "strange"]
"""Why a decision was not accepted, in a word for people and machines."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When the evidence for one item is enough.

    Attributes:
        accept_prob: lowest pooled probability of one bin that counts as sure, 0..1.
        frame_correlation: correlation between two frames of an item that lies still, 0 (each frame is news) .. 1.
        min_frames: frames to look at before anything is decided, at least 1.
        max_frames: frames after which a decision falls either way, at least `min_frames`.
        temperature: what logits are divided by to become calibrated log-odds, above 0.
        lowest_familiarity: a mean familiarity of the frames below it is strange; None judges none.
        together: labels that share a bin, whose probabilities count together; a label in none stands alone.

    Raises:
        ConfigError: a value is outside its range; all of them at once.
    """

    accept_prob: float
    frame_correlation: float
    min_frames: int
    max_frames: int
    temperature: float
    lowest_familiarity: float | None = None
    together: tuple[frozenset[str], ...] = ()

    def __post_init__(self) -> None:
        problems = [
            f"decision rule: {name} is {value}, expected a number from 0 to 1; correct it"
            for name, value in (("accept_prob", self.accept_prob), ("frame_correlation", self.frame_correlation))
            if not 0.0 <= value <= 1.0
        ]
        if self.min_frames < 1:
            problems.append(f"decision rule: min_frames is {self.min_frames}, expected at least 1; raise it")
        if self.max_frames < self.min_frames:
            problems.append(
                f"decision rule: max_frames is {self.max_frames}, expected at least min_frames ({self.min_frames}); "
                "raise it"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0.0):
            problems.append(
                f"decision rule: temperature is {self.temperature}, expected a number above 0; 1.0 changes nothing"
            )
        if problems:
            raise ConfigError(problems)

    def effective_frames(self, frames: int) -> float:
        """How many independent frames `frames` correlated ones are worth: 1..1 / frame_correlation, 0 for none."""
        return frames / (1.0 + (frames - 1) * self.frame_correlation) if frames else 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What the item is taken for.

    Attributes:
        label: the likeliest material, also when `accepted` is False.
        prob: its pooled, calibrated probability, 0..1.
        probs: the same for every label, in the model's order; sums to 1.
        accepted: False where the frames ran out before every doubt was gone.
        frames: how many frames were looked at.
        familiarity: mean of the frames', see `classify.Familiarity`; None where the model cannot tell.
        reason: why it was not accepted, the doubt that was left; None when it was.
    """

    label: str
    prob: float
    probs: dict[str, float]
    accepted: bool
    frames: int
    familiarity: float | None = None
    reason: Reason | None = None


class Vote:
    """Pools the frames of one item; make a new one for each item.

    Args:
        rule: when the evidence is enough.
        labels: the model's labels, in the order of its logits.
    """

    def __init__(self, rule: Rule, labels: Sequence[str]) -> None:
        self._rule = rule
        self._labels = tuple(labels)
        alone = set(self._labels).difference(*rule.together)
        self._shared = (*rule.together, *(frozenset({label}) for label in alone))
        self._sum_logits: NDArray[np.float64] = np.zeros(len(self._labels))
        self._sum_familiarity: float | None = 0.0
        self._frames = 0

    def add(self, prediction: Prediction) -> Decision | None:
        """Count one more frame; gives the decision once the evidence is enough or the frames have run out.

        Args:
            prediction: of this item; its logits are finite (the classifier refuses others).

        Raises:
            BundleMismatch: the prediction comes from a model with other labels; the vote is unchanged.
        """
        if prediction.labels != self._labels:
            raise BundleMismatch(
                f"vote: a prediction names {list(prediction.labels)}, but this vote began with {list(self._labels)}; "
                "swap models only between two items"
            )
        self._sum_logits += prediction.logits
        if prediction.familiarity is None or self._sum_familiarity is None:
            self._sum_familiarity = None
        else:
            self._sum_familiarity += prediction.familiarity
        self._frames += 1
        if self._frames < self._rule.min_frames:
            return None
        probs = self.state()
        familiarity = None if self._sum_familiarity is None else self._sum_familiarity / self._frames
        doubt = self._doubt(probs, familiarity)
        if doubt is not None and self._frames < self._rule.max_frames:
            return None
        label = max(probs, key=probs.__getitem__)
        return Decision(label, probs[label], probs, doubt is None, self._frames, familiarity, doubt)

    def state(self) -> dict[str, float]:
        """The pooled probability of each label so far, in the model's order; all equal before the first frame."""
        evidence = self._rule.effective_frames(self._frames) / max(self._frames, 1)
        log_odds = self._sum_logits * (evidence / self._rule.temperature)
        odds = np.exp(log_odds - log_odds.max())
        return dict(zip(self._labels, (odds / odds.sum()).tolist(), strict=True))

    def _doubt(self, probs: dict[str, float], familiarity: float | None) -> Reason | None:
        lowest = self._rule.lowest_familiarity
        if lowest is not None and familiarity is not None and familiarity < lowest:
            return "strange"
        # fsum rounds once, so that a sum of all labels is 1 and not a hair less.
        best = max(math.fsum(prob for label, prob in probs.items() if label in shared) for shared in self._shared)
        return None if best >= self._rule.accept_prob else "unsure"
