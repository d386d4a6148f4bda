"""Threshold: how sure a bin must be before it sorts a thing, chosen on *tune*.

    answers of tune -> diversion's outcome at each threshold -> the strictest that still gives the bins their share

A bundle's costs say what is worth it on average, which leaves a threshold that is as lenient as the probabilities are
honest: at home. In another room a model is sure too often, and one load of paper with a tenth of other things in it is
sent back whole. So the bin starts as strict as it may be and still do its work. A site's own costs can only make it
stricter, see `device.route.rule_at`; its own `accept_prob` can make it anything.

Chosen by diversion and not by contamination: *tune* has hundreds of things that can be sorted and a few dozen that no
bin takes, so that a bound on contamination there is met or missed by one picture.
"""

from dataclasses import replace
from pathlib import Path

from device.bundle import Costs as BundleCosts
from device.decide import Rule
from device.route import DEFAULT_SITE, Costs, Site
from trainer.answers import open_answers
from trainer.diversion import outcome
from trainer.familiar import familiar_of
from trainer.manifest import COSTS, DECISION, Draft
from trainer.stream import Stream, near_rows, stream_of

__all__ = ["deciding", "new_site", "strictest"]

KEPT = 0.7
"""Of what another bin takes, the share that must go there: less, and people stop believing in the bin."""

FEWEST = 40
"""Of fewer things that can be sorted, a share says nothing: the costs alone decide."""

STEPS = tuple(step / 200 for step in range(160, 200))
"""0.80 to 0.995."""


def deciding(run: Path, temperature: float, leading: str) -> Draft:
    """A draft that decides as the finished bundle will.

    Args:
        temperature: of the INT8 logits.
        leading: the first source with labels.

    Raises:
        StageMissing: `trainer evaluate` kept no answers.
        DatasetError: see `trainer.familiar.fit_familiar`.
    """
    answers, known = open_answers(run), familiar_of(run)
    site = new_site(COSTS)
    rows = near_rows(answers, "tune", leading)
    rule = Rule(
        accept_prob=DECISION.accept_prob,
        frame_correlation=DECISION.frame_correlation,
        min_frames=DECISION.min_frames,
        max_frames=DECISION.max_frames,
        temperature=temperature,
        lowest_familiarity=None if known is None else known.lowest,
    )
    stream = stream_of("tune", answers, rows, site, temperature=temperature, known=known)
    return Draft(temperature=temperature, out_of_distribution=known, accept_prob=strictest(stream, rule, site))


def new_site(costs: BundleCosts) -> Site:
    """A new bin's containers under a bundle's costs."""
    return Site(DEFAULT_SITE.bins, Costs(costs.contamination, costs.missed))


def strictest(stream: Stream, rule: Rule, site: Site) -> float:
    """The highest of `STEPS` that diverts `KEPT`; the rule's own where none does, or where there is too little to see.

    Args:
        rule: as the bundle would propose it; only its threshold is varied, and never lowered.
    """
    residual, recyclable = stream.counts(site)
    if not residual or recyclable < FEWEST:
        return rule.accept_prob
    kept = [
        step
        for step in STEPS
        if step >= rule.accept_prob and outcome(stream, replace(rule, accept_prob=step), site).diversion >= KEPT
    ]
    return max(kept, default=rule.accept_prob)
