"""Diversion: what a bin with this model would put where, on a stream in which many things belong in no bin.

    Stream -> the device's own Vote and choose_bin, one still view each -> contamination, diversion

40 % of the visits bring residual or unknown things; costs, rule and bins are the ones a new bin has, fixed beforehand.
Every bin but the residual one counts, Organic too. Nothing is chosen here: it must never see a picture of *train*.

The bound is one-sided: the contamination that 95 of 100 posterior draws stay below, from uniform priors on the shares
(for a single share that is Clopper and Pearson's bound to within one picture). Pictures of one object count as many.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from device.classify import Prediction
from device.decide import Decision, Rule, Vote
from device.route import Site, choose_bin, rule_at
from trainer.stream import Stream

__all__ = ["RESIDUAL_SHARE", "Diversion", "Outcome", "diversion", "outcome", "still_decision"]

RESIDUAL_SHARE = 0.4
"""Visits with a thing that belongs in the residual bin."""

ACCEPT_PROBS = (
    0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995,
    0.999,
)  # fmt: skip
"""Thresholds of the curve; costs make a site's lowest one higher, see `device.route.rule_at`."""

_DRAWS = 20_000
_SEED = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of them at one threshold.

    Attributes:
        accept_prob: the threshold that the site's costs leave, 0..1.
        contamination: of what went into a bin other than the residual one, the share that does not belong there, at
            `RESIDUAL_SHARE`; None when nothing went there.
        contamination_high: its one-sided 95 % bound.
        diversion: of what another bin takes, the share that went there.
        diversion_low: its one-sided 95 % bound.
    """

    accept_prob: float
    contamination: float | None
    contamination_high: float
    diversion: float
    diversion_low: float


@dataclass(frozen=True, slots=True)
class Diversion:
    """The curve, and the point that a bin starts with.

    Attributes:
        stream: which pictures.
        residual_share: of the visits.
        residual, recyclable: how many pictures of each stand for them.
        points: by threshold.
        at_default: at the bundle's own threshold.
        at_strict: at that of a strict site, see `trainer.threshold`.
    """

    stream: str
    residual_share: float
    residual: int
    recyclable: int
    points: tuple[Outcome, ...]
    at_default: Outcome
    at_strict: Outcome


def still_decision(prediction: Prediction, rule: Rule) -> Decision:
    """What a bin decides about a thing that lies still: the same view in every frame, until the vote ends.

    Args:
        rule: of the site, see `device.route.rule_at`.
    """
    vote = Vote(rule, prediction.labels)
    while True:  # the rule's max_frames ends every vote
        decision = vote.add(prediction)
        if decision is not None:
            return decision


def outcome(stream: Stream, rule: Rule, site: Site) -> Outcome:
    """Sort the whole stream under one rule of a bundle, at this site; it needs a thing of either kind."""
    residual, rule = site.residual.name, rule_at(rule, site, stream.predictions[0].labels)
    put = [choose_bin(still_decision(prediction, rule), site).name for prediction in stream.predictions]
    pairs = list(zip(stream.homes, put, strict=True))
    spoilt = [bin_name != residual for home, bin_name in pairs if home == residual]
    recyclable = [(bin_name == home, bin_name == residual) for home, bin_name in pairs if home != residual]
    right, missed = (sum(column) for column in zip(*recyclable, strict=True))
    wrong = len(recyclable) - right - missed
    mean = _contamination(sum(spoilt) / len(spoilt), wrong / len(recyclable), right / len(recyclable))
    rng = np.random.default_rng(_SEED)
    # One more of each outcome is the uniform prior.
    draws_spoilt = rng.beta(1 + sum(spoilt), 1 + len(spoilt) - sum(spoilt), _DRAWS)
    draws = rng.dirichlet([1 + right, 1 + wrong, 1 + missed], _DRAWS)
    put_there = sum(spoilt) + wrong + right
    return Outcome(
        accept_prob=rule.accept_prob,
        contamination=float(mean) if put_there else None,
        contamination_high=float(np.quantile(_contamination(draws_spoilt, draws[:, 1], draws[:, 0]), 0.95)),
        diversion=right / len(recyclable),
        diversion_low=float(np.quantile(draws[:, 0], 0.05)),
    )


def diversion(stream: Stream, rule: Rule, site: Site, strict: float) -> Diversion | None:
    """The curve over thresholds; None for a stream without residual or without recyclable things.

    Args:
        rule: as the bundle proposes it; only its threshold is varied.
        site: bins and costs.
        strict: the threshold of a strict site, chosen on other pictures than these.
    """
    residual, recyclable = stream.counts(site)
    if not residual or not recyclable:
        return None
    labels = stream.predictions[0].labels
    probs = sorted({rule_at(replace(rule, accept_prob=prob), site, labels).accept_prob for prob in ACCEPT_PROBS})
    points = tuple(outcome(stream, replace(rule, accept_prob=prob), site) for prob in probs)
    at_default = outcome(stream, rule, site)
    at_strict = outcome(stream, replace(rule, accept_prob=strict), site)
    return Diversion(stream.name, RESIDUAL_SHARE, residual, recyclable, points, at_default, at_strict)


def _contamination(spoilt: ArrayLike, wrong: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
    """Share of what does not belong, from the shares of residual visits and of recyclable ones; 0 of nothing."""
    bad = RESIDUAL_SHARE * np.asarray(spoilt, np.float64) + (1 - RESIDUAL_SHARE) * np.asarray(wrong, np.float64)
    everything = bad + (1 - RESIDUAL_SHARE) * np.asarray(right, np.float64)
    return np.asarray(bad / np.maximum(everything, np.finfo(np.float64).tiny), np.float64)
