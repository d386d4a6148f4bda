import math
from dataclasses import replace

import pytest

from device.decide import Decision, Rule
from device.errors import ConfigError
from device.route import DEFAULT_SITE, Bin, Costs, Site, choose_bin, home_bin, homeless, rule_at

TRASH = Bin("Trash", frozenset({"trash"}), is_residual=True)


def decided(accepted: bool = True, **probs: float) -> Decision:
    label = max(probs, key=probs.__getitem__)
    return Decision(label, probs[label], probs, accepted, 3)


def bin_for(site: Site = DEFAULT_SITE, accepted: bool = True, **probs: float) -> str:
    return choose_bin(decided(accepted, **probs), site).name


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cardboard", "Paper"),
        ("glass", "Glass"),
        ("metal", "Metal"),
        ("organic", "Organic"),
        ("paper", "Paper"),
        ("plastic", "Plastic"),
        ("trash", "Trash"),
    ],
)
def test_a_sure_material_goes_home(label: str, name: str) -> None:
    assert bin_for(**{label: 1.0}) == name
    assert home_bin(label, DEFAULT_SITE).name == name


def test_the_default_site_has_the_six_bins() -> None:
    assert [bin_.name for bin_ in DEFAULT_SITE.bins] == ["Plastic", "Paper", "Metal", "Glass", "Organic", "Trash"]
    assert DEFAULT_SITE.residual.name == "Trash"
    assert DEFAULT_SITE.costs == Costs(contamination=4.0, missed=1.0)


def test_a_rejected_decision_goes_to_the_residual_bin_however_sure_it_looks() -> None:
    assert bin_for(accepted=False, glass=0.99, metal=0.01) == "Trash"


def test_two_materials_of_one_bin_count_together() -> None:
    # Paper bin: 0.1 * 4 = 0.4; Trash: 1.0.
    assert bin_for(cardboard=0.5, paper=0.4, plastic=0.1) == "Paper"


def test_an_item_is_missed_rather_than_a_stream_spoilt() -> None:
    # Glass: 0.3 * 4 = 1.2; Trash: 1.0 missed.
    assert bin_for(glass=0.7, metal=0.3) == "Trash"
    # Glass: 0.2 * 4 = 0.8.
    assert bin_for(glass=0.8, metal=0.2) == "Glass"


def test_true_trash_costs_nothing_in_the_residual_bin() -> None:
    # Glass: 0.2 * 4 = 0.8; Trash: 0.8 missed, its own 0.2 free: a tie, which must not risk the glass.
    assert bin_for(glass=0.8, trash=0.2) == "Trash"
    assert bin_for(glass=0.81, trash=0.19) == "Glass"


def test_where_contamination_is_cheap_the_likeliest_material_wins() -> None:
    site = Site(DEFAULT_SITE.bins, Costs(contamination=1.0, missed=1.0))
    assert bin_for(site, glass=0.6, metal=0.4) == "Glass"


def test_a_tie_of_all_bins_goes_to_the_residual_bin() -> None:
    site = Site(DEFAULT_SITE.bins, Costs(contamination=0.0, missed=0.0))
    assert bin_for(site, glass=1.0) == "Trash"


def test_organic_is_a_recycling_bin_like_the_others() -> None:
    assert bin_for(organic=0.75, plastic=0.25) == "Trash"


def test_a_material_that_no_bin_takes_is_at_home_in_the_residual_bin() -> None:
    site = Site((Bin("Glass", frozenset({"glass"})), Bin("Rest", frozenset(), is_residual=True)))
    assert home_bin("metal", site).name == "Rest"
    # Rest: 0.4 missed glass; Glass: 0.6 * 4.
    assert bin_for(site, metal=0.6, glass=0.4) == "Rest"


def test_materials_that_no_bin_takes_are_named_in_the_models_order() -> None:
    assert homeless(("wood", "glass", "foil"), DEFAULT_SITE) == ["wood", "foil"]
    assert homeless(("glass", "trash"), DEFAULT_SITE) == []


def test_a_site_names_all_its_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Site(
            (
                Bin("Glass", frozenset({"glass"})),
                Bin("Glass", frozenset({"metal"})),
                Bin("Cans", frozenset({"metal"})),
            )
        )
    assert caught.value.problems == [
        "bins: 0 are residual [], expected exactly one; mark the bin for what is left over",
        "bins: two are called 'Glass', expected different names; rename one",
        "bins: 'metal' is taken by 'Glass' and by 'Cans', expected one; remove it from the other",
    ]


def test_a_site_has_one_residual_bin_only() -> None:
    with pytest.raises(ConfigError, match=r"2 are residual \['Trash', 'Rest'\]"):
        Site((TRASH, Bin("Rest", frozenset(), is_residual=True)))


def test_costs_name_all_their_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Costs(contamination=-1.0, missed=math.inf)
    assert caught.value.problems == [
        "costs: contamination is -1.0, expected a number of 0 or more; correct it",
        "costs: missed is inf, expected a number of 0 or more; correct it",
    ]


LABELS = ("cardboard", "glass", "metal", "organic", "paper", "plastic", "trash")
RULE = Rule(0.8, 0.8, 2, 8, 1.5, lowest_familiarity=0.25)


def test_the_rule_of_a_site_counts_the_materials_of_one_bin_together() -> None:
    alone = [frozenset({label}) for label in ("glass", "metal", "organic", "plastic", "trash")]
    assert rule_at(RULE, DEFAULT_SITE, LABELS) == replace(RULE, together=(frozenset({"cardboard", "paper"}), *alone))


def test_what_no_bin_takes_counts_together_with_the_residual_bin() -> None:
    site = Site((Bin("Glass", frozenset({"glass"})), TRASH))
    assert rule_at(RULE, site, ("glass", "metal", "trash")).together == (
        frozenset({"glass"}),
        frozenset({"metal", "trash"}),
    )


@pytest.mark.parametrize(
    ("contamination", "missed", "accept_prob"),
    # From contamination / (contamination + missed) on a recycling bin pays; the bundle's 0.8 is the least.
    [(4.0, 1.0, 0.8), (9.0, 1.0, 0.9), (1.0, 1.0, 0.8), (0.0, 0.0, 0.8), (1.0, 0.0, 1.0)],
)
def test_costs_of_a_site_may_ask_for_more_certainty_never_for_less(
    contamination: float, missed: float, accept_prob: float
) -> None:
    site = Site(DEFAULT_SITE.bins, Costs(contamination, missed))
    assert rule_at(RULE, site, LABELS).accept_prob == pytest.approx(accept_prob)


def test_a_vote_that_just_accepts_a_recycling_bin_is_not_overruled_by_costs() -> None:
    site = Site(DEFAULT_SITE.bins, Costs(contamination=9.0, missed=1.0))
    least = rule_at(RULE, site, LABELS).accept_prob
    assert bin_for(site, glass=least + 1e-9, trash=1 - least - 1e-9) == "Glass"
