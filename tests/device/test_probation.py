"""Models that are well signed and no good: each is run in a child, and refused with a reason."""

import platform
from dataclasses import replace
from pathlib import Path

import bad_models
import numpy as np
import pytest
from bad_models import write_bad
from bundles import make_bundle
from numpy.typing import NDArray
from signed import make_key, members_of, signed_bundle, signer_line, tar_of

from device.bundle import Budget
from device.config import load_config
from device.errors import BundleNotFound, BundleRefused
from device.looks import keep_look
from device.probation import (
    Limits,
    Probation,
    chance_of_worse,
    in_turns,
    judge,
    measure_in_child,
    probe,
    probe_offline,
)
from device.probe_child import Measured
from device.releases import ReleaseStore

COLOURS = {"metal": (200, 40, 40), "glass": (40, 200, 40), "paper": (40, 40, 200)}
EACH = 4
FACTORY = Path("factory")


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the bin took itself: four pictures of each material, and a damaged file."""
    folder = tmp_path_factory.mktemp("state") / "looks"
    draw = np.random.default_rng(5)
    for label, colour in COLOURS.items():
        for number in range(EACH):
            rgb = np.clip(np.array(colour) + draw.integers(-30, 30, (40, 50, 3)), 0, 255).astype(np.uint8)
            keep_look(folder, label, f"event-{number}", rgb)
    (folder / "paper" / "torn.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "good"
    make_bundle(path)
    return path


@pytest.fixture(scope="module")
def standard(good: Path, looks: Path) -> Measured:
    """What the good model does on this machine."""
    return measure_in_child(good, looks)


def test_a_good_model_is_measured_and_may_go_on_trial(good: Path, looks: Path):
    found = probe(good, current=good, factory=good, looks=looks)
    assert (found.looks, found.right, found.right_before, found.p) == (12, 12, 12, 1.0)
    assert 0 <= found.cpu_ms < 1000
    assert 20 < found.peak_mb < 1000
    assert [line.split(": ")[0].split("/")[-1] for line in found.unreadable] == ["torn.png"]
    assert found.text().endswith("12 of this bin's 12 labelled pictures right (12 before)")
    assert found.fields()["looks"] == 12


def test_what_seems_slow_beside_the_factory_model_is_measured_again_in_turns(good: Path, looks: Path):
    turns: list[Path] = []

    def measure(path: Path) -> Measured:
        turns.append(path)
        later = len(turns) > 2
        return measured("", cpu_ms=10.0 if path == FACTORY or later else 16.7)

    found, standard = in_turns(measure, Path("new"), FACTORY, Budget(1.5, 1.5))
    assert (found.cpu_ms, standard.cpu_ms) == (10.0, 10.0)
    assert turns == [Path("new"), FACTORY, Path("new"), FACTORY]


@pytest.mark.parametrize(("ms", "looked"), [(15.0, 2), (16.0, 8), (60.0, 8), (60.1, 2)])
def test_neither_a_quick_model_nor_a_hopeless_one_is_measured_twice(ms: float, looked: int):
    turns: list[Path] = []

    def measure(path: Path) -> Measured:
        turns.append(path)
        return measured("", cpu_ms=10.0 if path == FACTORY else ms)

    assert in_turns(measure, Path("new"), FACTORY, Budget(1.5, 1.5))[0].cpu_ms == ms
    assert len(turns) == looked


def refusal(path: Path, looks: Path, standard: Measured, limits: Limits | None = None) -> str:
    """Why the model at this path is refused beside the good one."""
    with pytest.raises(BundleRefused) as refused:
        judge(
            "7-bad", Budget(1.5, 1.5), measure_in_child(path, looks, limits=limits), factory=standard, current=standard
        )
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_model_that_answers_no_numbers_is_refused(tmp_path: Path, looks: Path, standard: Measured):
    write_bad(tmp_path / "bad", bad_models.nan())
    assert "logits are nan" in refusal(tmp_path / "bad", looks, standard)


@pytest.mark.parametrize(
    ("made", "right"), [(bad_models.swapped_colours(), 4), (bad_models.shuffled_labels(), 0)], ids=["colours", "labels"]
)
def test_what_agrees_with_its_own_golden_pictures_is_found_out_by_the_bins_own(
    tmp_path: Path, looks: Path, standard: Measured, made: tuple[bytes, NDArray[np.float32]], right: int
):
    write_bad(tmp_path / "bad", *made)
    said = refusal(tmp_path / "bad", looks, standard)
    assert said.startswith(f"7-bad: worse: names {right} of this bin's 12 labelled pictures right, the model in use 12")


def test_without_pictures_of_its_own_a_bin_cannot_tell(tmp_path: Path, good: Path):
    write_bad(tmp_path / "bad", *bad_models.swapped_colours())
    found = probe(tmp_path / "bad", current=good, factory=good, looks=tmp_path / "none")
    assert (found.looks, found.p) == (0, 1.0)
    assert found.text().endswith("no labelled pictures here to try it on")


def test_a_model_that_is_ten_times_slower_is_refused(tmp_path: Path, looks: Path, standard: Measured):
    write_bad(tmp_path / "bad", bad_models.slow())
    assert "too slow: takes" in refusal(tmp_path / "bad", looks, standard)


@pytest.mark.slow
def test_a_model_that_takes_300_mb_more_is_refused(tmp_path: Path, standard: Measured):
    write_bad(tmp_path / "bad", bad_models.large(300))
    # It is slow as well, since memory must be written: what is asked here is only the memory.
    found = replace(measure_in_child(tmp_path / "bad", tmp_path / "none"), cpu_ms=standard.cpu_ms)
    assert 280 < found.peak_mb - standard.peak_mb < 330
    with pytest.raises(BundleRefused, match="too large: takes"):
        judge("7-bad", Budget(1.5, 1.5), found, factory=standard, current=standard)


def test_a_model_that_takes_all_memory_does_not_get_it(tmp_path: Path, looks: Path, standard: Measured):
    write_bad(tmp_path / "bad", bad_models.large(600))
    said = refusal(tmp_path / "bad", looks, standard, Limits(spare_mb=300))
    assert "stopped in mid-network" in said


@pytest.mark.slow
def test_a_model_that_never_answers_runs_out_of_cpu_time(tmp_path: Path, looks: Path, standard: Measured):
    write_bad(tmp_path / "bad", bad_models.hangs())
    said = refusal(tmp_path / "bad", looks, standard, Limits(cpu_s=1))
    assert "crashed when it was tried (SIG" in said


def test_a_child_that_takes_too_long_is_ended(good: Path, looks: Path):
    with pytest.raises(BundleRefused, match=r"no answer in 0\.01 s when it was tried"):
        measure_in_child(good, looks, limits=Limits(wall_s=0.01))


def test_a_model_that_crashes_takes_only_the_child_with_it(tmp_path: Path, looks: Path, standard: Measured):
    write_bad(tmp_path / "bad", bad_models.crashes_on_load())
    if platform.machine() == "x86_64":  # an Arm CPU divides without a trap
        assert "crashed when it was tried (SIGFPE" in refusal(tmp_path / "bad", looks, standard)


def test_what_is_no_bundle_is_not_even_run(tmp_path: Path, good: Path, looks: Path):
    with pytest.raises(BundleNotFound, match="no manifest"):
        probe(tmp_path, current=good, factory=good, looks=looks)


def test_a_release_with_a_material_that_has_no_bin_here_is_not_even_run(tmp_path: Path):
    key = make_key(tmp_path / "key")
    (tmp_path / "signers").write_text(signer_line(key))
    store = ReleaseStore(tmp_path / "models", tmp_path / "signers")
    release = store.install(members_of(tar_of(signed_bundle(tmp_path / "new", key, 1_790_000_000).path))).release
    config = load_config(None)
    site = replace(config.site, bins=tuple(bin_ for bin_ in config.site.bins if "metal" not in bin_.takes))
    with pytest.raises(BundleRefused, match=rf"{release}: no bin for metal, expected one for each material"):
        probe_offline(store, release, replace(config, site=site))


# ------------------------------------------------------------------------------------------------ judging


def measured(right: str, cpu_ms: float = 10.0, peak_mb: float = 100.0) -> Measured:
    """One look a letter: `+` named right, `-` not."""
    names = [f"glass/{number}.png" for number in range(len(right))]
    answers = {name: "glass" if each == "+" else "metal" for name, each in zip(names, right, strict=True)}
    return Measured(cpu_ms, peak_mb, answers, dict.fromkeys(names, "glass"), [])


def judged(found: Measured, current: Measured | None = None, budget: Budget | None = None) -> Probation:
    factory = measured("")
    return judge("7-new", budget or Budget(1.5, 1.5), found, factory=factory, current=current or measured(""))


@pytest.mark.parametrize(("ms", "is_refused"), [(15.0, False), (15.1, True)])
def test_cpu_time_is_judged_by_the_budget_of_the_bundle(ms: float, is_refused: bool):
    if is_refused:
        with pytest.raises(
            BundleRefused, match=r"takes 15\.1 ms of CPU a picture, expected at most 15\.0 \(1\.5 times"
        ):
            judged(measured("", cpu_ms=ms))
    else:
        assert judged(measured("", cpu_ms=ms)).cpu_ms == ms
    assert judged(measured("", cpu_ms=ms), budget=Budget(4.0, 1.5)).factory_cpu_ms == 10.0


def test_a_tiny_model_is_allowed_a_millisecond():
    factory = measured("", cpu_ms=0.2)
    assert judge("7-new", Budget(1.5, 1.5), measured("", cpu_ms=1.1), factory=factory, current=factory).cpu_ms == 1.1
    with pytest.raises(BundleRefused, match="too slow"):
        judge("7-new", Budget(1.5, 1.5), measured("", cpu_ms=1.3), factory=factory, current=factory)


@pytest.mark.parametrize(("mb", "is_refused"), [(150.0, False), (151.0, True)])
def test_memory_is_judged_by_the_budget_of_the_bundle(mb: float, is_refused: bool):
    if is_refused:
        with pytest.raises(BundleRefused, match="takes 151 MB of memory, expected at most 150"):
            judged(measured("", peak_mb=mb))
    else:
        assert judged(measured("", peak_mb=mb)).peak_mb == 150.0


def test_four_lost_pictures_may_be_chance_five_are_not():
    found = judged(measured("----++"), measured("++++++"))
    assert (found.looks, found.right, found.right_before, found.p) == (6, 2, 6, 0.0625)
    with pytest.raises(BundleRefused, match=r"names 1 of this bin's 6 .* use 6 \(5 are lost, 0 won, p = 0\.031\)"):
        judged(measured("-----+"), measured("++++++"))


def test_what_is_won_counts_against_what_is_lost():
    assert judged(measured("-----+++"), measured("+++++---")).right == 3


def test_a_better_model_is_never_refused():
    assert judged(measured("++++++++"), measured("--------")).p == 1.0


def test_only_pictures_that_both_answered_are_compared():
    assert judged(measured("-----"), measured("++")).looks == 2


def test_the_chance_is_the_binomial_tail():
    assert [chance_of_worse(*pair) for pair in ((0, 0), (1, 0), (0, 3), (2, 1), (5, 0))] == [1.0, 0.5, 1.0, 0.5, 1 / 32]
