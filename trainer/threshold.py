"""Threshold: how sure a strict bin must be before it sorts a thing, chosen on *tune*.

    stream of tune -> diversion's outcome at each threshold -> the strictest that still gives the bins their share

A bundle's costs say what is worth it on average. Where a load of paper with a tenth of other things in it is sent back
whole, a site may want to be as strict as it can be and still do its work: `[decide] accept_prob`. It is not the
default: in another room, where the model is rarely so sure, hardly anything would be sorted.

Chosen by diversion and not by contamination: *tune* has hundreds of things that can be sorted and a few dozen that no
bin takes, so that a bound on contamination there is met or missed by one picture.
"""

from dataclasses import replace

from device.decide import Rule
from device.route import Site
from trainer.diversion import outcome
from trainer.stream import Stream

__all__ = ["strictest"]

KEPT = 0.7
"""Of what another bin takes, the share that must go there: less, and people stop believing in the bin."""

FEWEST = 40
"""Of fewer things that can be sorted, a share says nothing."""

STEPS = tuple(step / 200 for step in range(160, 200))
"""0.80 to 0.995."""


def strictest(stream: Stream, rule: Rule, site: Site) -> float:
    """The highest of `STEPS` that diverts `KEPT`; the rule's own where none does, or where there is too little to see.

    Args:
        stream: of *tune*.
        rule: as the bundle proposes it; only its threshold is varied, and never lowered.
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
