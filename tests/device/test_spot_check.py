"""Which decisions people are asked about: by chance alone, and the same again after a restart."""

import pytest
from bin_fakes import Bench, MemoryLog, prediction

from device.camera.frame import Frame
from device.errors import ConfigError
from device.events import Event
from device.spot_check import SpotChecks, is_drawn


def test_draws_the_share_that_was_asked_for():
    for rate in (0.05, 0.1, 0.5):
        drawn = sum(is_drawn(number, seed=3, rate=rate) for number in range(20_000))
        assert drawn / 20_000 == pytest.approx(rate, abs=0.01)


def test_draws_the_same_again_and_others_with_another_seed():
    first, again, other = (
        [number for number in range(500) if is_drawn(number, seed=seed, rate=0.1)] for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_none_and_all_are_shares_too():
    assert not any(is_drawn(number, seed=1, rate=0.0) for number in range(1000))
    assert all(is_drawn(number, seed=1, rate=1.0) for number in range(1000))


@pytest.mark.parametrize(
    ("rate", "asked"), [(0.0, []), (1.0, [Event("asked", "was decision 1 right?", prob=1.0, about=1)])]
)
def test_asks_once_about_a_decision(rate: float, asked: list[Event]):
    bench = Bench(["empty", *["item"] * 4, "empty"], prediction("glass"))
    log = MemoryLog()
    checks = SpotChecks(log, rate=rate)
    for _ in range(10):
        status = bench.step()
        checks.frame(status, Frame(bench.gate.views[0], status.at_s, 0))  # type: ignore[arg-type]
    checks.fault("nothing to ask about")
    assert log.events == asked


def test_a_rate_that_is_no_share_is_refused():
    with pytest.raises(ConfigError, match=r"spot checks: rate is 1\.5, expected a share from 0 to 1"):
        SpotChecks(MemoryLog(), rate=1.5)
