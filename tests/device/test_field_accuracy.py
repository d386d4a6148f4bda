"""Field accuracy: from answers drawn by chance and landings, never from corrections; its interval covers the truth."""

import pytest

from benchmarks.field_accuracy import play, try_bins
from device.errors import ConfigError
from device.field_accuracy import Answer, FieldAccuracy, Share, estimate, share


def answers(right: int, wrong: int, group: str = "monday") -> list[Answer]:
    return [Answer(True, group)] * right + [Answer(False, group)] * wrong


def test_knows_nothing_without_answers():
    assert estimate([], decisions=7, asked=2, corrections=3) == FieldAccuracy(None, 0.0, 1.0, 0, 0.0, 7, 2, 0, 0, 3)


def test_the_interval_is_wilsons():
    # Newcombe (1998), table I: 81 of 263.
    found = share(answers(81, 182))
    assert found == Share(
        pytest.approx(81 / 263), pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4), 263, 263
    )


def test_all_right_is_not_certain():
    found = share(answers(10, 0))
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(0.7225, abs=1e-4), 1.0)


def test_corrections_change_nothing_but_their_own_count():
    few, many = (estimate(answers(8, 2), decisions=100, corrections=n) for n in (0, 40))
    assert (few.right, few.low, few.high) == (many.right, many.low, many.high)
    assert (few.corrections, many.corrections) == (0, 40)


def test_what_fell_elsewhere_is_wrong_whatever_it_was_called():
    found = estimate(answers(9, 1), decisions=100, landed=80, landed_elsewhere=20)
    plain = share(answers(9, 1))
    assert found.right == pytest.approx(0.8 * 0.9)
    assert (found.low, found.high) == (pytest.approx(0.8 * plain.low), pytest.approx(0.8 * plain.high))


def test_answers_drawn_at_a_lower_rate_stand_for_more_decisions():
    found = share([Answer(True, rate=0.1), *[Answer(False, rate=1.0)] * 10])
    assert found.value == pytest.approx(0.5)
    assert found.n_effective == pytest.approx(20**2 / (10**2 + 10))


def test_answers_that_are_alike_within_a_day_count_for_fewer():
    alike = [each for day in range(10) for each in answers(10 * (day % 2), 10 * (1 - day % 2), str(day))]
    mixed = [each for day in range(10) for each in answers(5, 5, str(day))]
    assert share(mixed).n_effective == 100
    # A hundred answers of ten days, each all right or all wrong, are worth ten, and a little less since ten are few.
    assert 5 < share(alike).n_effective < 10
    assert share(alike).high - share(alike).low > 2 * (share(mixed).high - share(mixed).low)


@pytest.mark.parametrize(
    ("decisions", "landed", "elsewhere"), [(5, 0, 0), (20, 30, 0), (20, 3, 4), (20, 3, -1)], ids=str
)
def test_counts_that_contradict_each_other_are_refused(decisions: int, landed: int, elsewhere: int):
    with pytest.raises(ConfigError, match="do not go together"):
        estimate(answers(9, 1), decisions=decisions, landed=landed, landed_elsewhere=elsewhere)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1])
def test_a_rate_that_is_no_share_is_refused(rate: float):
    with pytest.raises(ConfigError, match=f"a rate is {rate}"):
        share([Answer(True, rate=rate)])


def test_covers_the_truth_over_many_bins_where_corrections_alone_do_not():
    outcome = try_bins(200, seed=1)
    assert outcome.covered >= 0.93
    assert abs(outcome.bias) < 0.02
    assert outcome.covered_naively < 0.2
    assert outcome.bias_naive > 0.1


def test_the_same_seed_plays_the_same_bin():
    assert play(3) == play(3)
    assert play(3) != play(4)
