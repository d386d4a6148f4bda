"""A live trial, second by second, on a clock that only the test moves."""

from collections.abc import Iterable

from device.trial import Trial, Verdict

FRAME_S = 0.125  # exact in binary


def live(trial: Trial, seconds: float, ms: float = 20.0) -> Trial:
    """The trial after so many more seconds of frames without a gap."""
    now_s = trial.began_s if trial.seen_s is None else trial.seen_s
    for _ in range(int(seconds / FRAME_S)):
        now_s += FRAME_S
        trial = trial.saw_frame(now_s)
        if trial.wants_look(now_s):
            trial = trial.answered(now_s, ms)
    return trial


def first_end(trial: Trial, times_s: Iterable[float]) -> tuple[float, Verdict] | None:
    for now_s in times_s:
        verdict = trial.verdict(now_s)
        if verdict is not None:
            return now_s, verdict
    return None


def test_a_model_is_kept_after_thirty_good_seconds_and_not_before():
    trial = live(Trial(began_s=100.0), 30.0)
    assert (trial.good_s, trial.verdict(130.0)) == (29.875, None)  # the first frame has none before it
    trial = live(trial, FRAME_S)
    assert trial.verdict(130.125) == Verdict("commit", "30 good seconds, 31 pictures answered")


def test_a_bin_that_nobody_uses_shows_its_model_the_tray_once_a_second():
    assert live(Trial(0.0), 12.0).answers == 12


def test_seconds_without_a_frame_are_not_good_ones():
    trial = live(Trial(0.0), 20.0)
    trial = trial.saw_frame(20.0 + 1.125)
    assert trial.good_s == 19.875
    trial = trial.saw_frame(21.125 + 1.0)
    assert trial.good_s == 20.875


def test_a_model_that_was_not_asked_is_not_kept():
    trial = Trial(0.0)
    for number in range(1, 41):
        trial = trial.saw_frame(float(number))
    assert (trial.good_s, trial.answers, trial.verdict(40.0)) == (39.0, 0, None)


def test_the_deadline_ends_a_trial_that_gets_nowhere():
    trial = live(Trial(100.0), 12.0)
    end = first_end(trial, (112.0, 190.0, 190.125))
    assert end == (
        190.125,
        Verdict(
            "roll back",
            "only 12 of 30 good seconds and 12 of 10 answers in 90 s; see wastebin events: did the camera fail?",
        ),
    )


def test_good_enough_counts_even_after_the_deadline_has_passed():
    trial = live(Trial(0.0), 31.0)
    assert trial.verdict(1000.0) == Verdict("commit", "31 good seconds, 31 pictures answered")


def test_a_failure_ends_it_at_once_also_when_it_was_nearly_over_and_the_first_reason_is_kept():
    trial = live(Trial(0.0), 40.0).failed("logits are nan").failed("later")
    assert trial.verdict(40.0) == Verdict("roll back", "logits are nan")


def test_two_slow_answers_are_forgiven_a_third_is_not():
    trial = live(Trial(0.0), 20.0)
    trial = trial.answered(21.0, 1001.0).answered(22.0, 1001.0).answered(23.0, 1000.0)
    assert (trial.slow, trial.verdict(23.0)) == (2, None)
    trial = trial.answered(24.0, 1001.0)
    assert trial.verdict(24.0) == Verdict(
        "roll back", "3 of 24 answers took longer than 1000 ms; too slow for this bin"
    )
