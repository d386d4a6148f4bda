"""Choose the bin of this site for a decided material.

    Rule of the bundle -> rule_at -> Rule of this site -> decide.Vote
    decide.Decision -> choose_bin -> Bin -> drive

Pure. A model knows materials, a site has bins: which bin takes what, and what a mistake costs here, is the site's
configuration and never the model's. It must never send an item that was not accepted anywhere but to the residual bin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from device.decide import Decision, Rule
from device.errors import ConfigError

__all__ = ["DEFAULT_SITE", "Bin", "Costs", "Site", "choose_bin", "home_bin", "homeless", "rule_at"]


@dataclass(frozen=True, slots=True)
class Bin:
    """One container of a site.

    Attributes:
        name: as the outputs and events call it.
        takes: materials (labels) that belong in it.
        is_residual: True for the one bin that takes whatever is uncertain.
    """

    name: str
    takes: frozenset[str]
    is_residual: bool = False


@dataclass(frozen=True, slots=True)
class Costs:
    """What a mistake costs, in any unit; only the ratio counts.

    Attributes:
        contamination: of an item in a recycling bin (Organic is one too) that does not take it; 0 or more.
        missed: of an item in the residual bin that another bin takes; 0 or more.

    Raises:
        ConfigError: a cost is negative or not a number; both at once.
    """

    contamination: float = 4.0
    missed: float = 1.0

    def __post_init__(self) -> None:
        problems = [
            f"costs: {name} is {value}, expected a number of 0 or more; correct it"
            for name, value in (("contamination", self.contamination), ("missed", self.missed))
            if not (math.isfinite(value) and value >= 0.0)
        ]
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True, slots=True)
class Site:
    """The bins that stand here, and what mistakes cost.

    Attributes:
        bins: exactly one of them is residual; no two share a name or a material.
        costs: what mistakes cost.

    Raises:
        ConfigError: the bins contradict each other; all problems at once.
    """

    bins: tuple[Bin, ...]
    costs: Costs = field(default_factory=Costs)

    def __post_init__(self) -> None:
        problems = []
        residual = [bin_.name for bin_ in self.bins if bin_.is_residual]
        if len(residual) != 1:
            problems.append(
                f"bins: {len(residual)} are residual {residual}, expected exactly one; "
                "mark the bin for what is left over"
            )
        seen_names: set[str] = set()
        takers: dict[str, str] = {}
        for bin_ in self.bins:
            if bin_.name in seen_names:
                problems.append(f"bins: two are called {bin_.name!r}, expected different names; rename one")
            seen_names.add(bin_.name)
            for material in sorted(bin_.takes):
                if material in takers:
                    problems.append(
                        f"bins: {material!r} is taken by {takers[material]!r} and by {bin_.name!r}, expected one; "
                        "remove it from the other"
                    )
                takers[material] = bin_.name
        if problems:
            raise ConfigError(problems)

    @property
    def residual(self) -> Bin:
        """The bin for what is uncertain or belongs nowhere else."""
        return next(bin_ for bin_ in self.bins if bin_.is_residual)


def home_bin(label: str, site: Site) -> Bin:
    """The bin where a material belongs; the residual one for a material that no bin takes."""
    return next((bin_ for bin_ in site.bins if label in bin_.takes), site.residual)


def homeless(labels: Sequence[str], site: Site) -> list[str]:
    """The materials of a model that no bin takes: such a model must not run here until the site says where they go."""
    return [label for label in labels if not any(label in bin_.takes for bin_ in site.bins)]


def rule_at(rule: Rule, site: Site, labels: Sequence[str]) -> Rule:
    """The rule that a vote at this site follows.

    Labels of one bin count together. And a recycling bin is cheaper than the residual one, whatever else the item may
    be, from probability contamination / (contamination + missed) on: where that is more than the rule asks for, the
    vote goes on looking instead of settling for an answer that `choose_bin` must then send to the residual bin.

    Args:
        rule: of the bundle, with what the bin's configuration changes.
        labels: the model's.
    """
    shared: dict[str, frozenset[str]] = {}
    for label in labels:
        name = home_bin(label, site).name
        shared[name] = shared.get(name, frozenset()) | {label}
    total = site.costs.contamination + site.costs.missed
    pays_from = site.costs.contamination / total if total > 0 else 0.0
    return replace(rule, together=tuple(shared.values()), accept_prob=max(rule.accept_prob, pays_from))


def choose_bin(decision: Decision, site: Site) -> Bin:
    """The bin with the least expected cost; on a tie, and for a decision that was not accepted, the residual one.

    The likeliest material does not always win: cardboard at 0.5 and paper at 0.45 are one safe answer where one bin
    takes both, and glass at 0.7 is not worth a spoilt glass bin where contamination costs four times a miss.
    """
    if not decision.accepted:
        return site.residual
    # `min` keeps the first of equals: the residual bin stands first, so that a tie never risks a recycling bin.
    candidates = (site.residual, *(bin_ for bin_ in site.bins if not bin_.is_residual))
    return min(candidates, key=lambda bin_: _expected_cost(bin_, decision, site))


def _expected_cost(bin_: Bin, decision: Decision, site: Site) -> float:
    """What putting the item into `bin_` costs on average over what it may be."""
    # fsum rounds once: two bins with the same terms in another order stay tied.
    return math.fsum(
        prob * (site.costs.missed if bin_.is_residual else site.costs.contamination)
        for label, prob in decision.probs.items()
        if home_bin(label, site).name != bin_.name
    )


DEFAULT_SITE = Site(
    bins=(
        Bin("Plastic", frozenset({"plastic"})),
        Bin("Paper", frozenset({"cardboard", "paper"})),
        Bin("Metal", frozenset({"metal"})),
        Bin("Glass", frozenset({"glass"})),
        Bin("Organic", frozenset({"organic"})),
        Bin("Trash", frozenset({"trash"}), is_residual=True),
    )
)
"""The six bins of a new installation."""
