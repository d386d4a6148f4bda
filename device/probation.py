"""Try a model beside the running bin, before anything changes: what it costs and what it answers, on this device.

    new, current and factory bundle -> a child process each -> Measured -> judge -> Probation, or BundleRefused
    `wastebin models activate` -> probe_offline

A signature says who made a model, its golden pictures that it arrived whole; neither says that it is any good here. So
it is compared on this device: what it costs with the factory model, and what it answers to the labelled pictures that
the bin took itself with the model that is in use. It must never run an unproven model in this process, and never refuse
for want of pictures: a new bin has none.
"""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from device.bundle import Budget, load_bundle
from device.config_types import Config
from device.errors import BundleRefused
from device.looks import looks_folder
from device.probe_child import Job, Measured
from device.releases import ReleaseStore
from device.route import homeless

__all__ = ["Limits", "Probation", "chance_of_worse", "in_turns", "judge", "measure_in_child", "probe", "probe_offline"]

ALPHA: Final = 0.05
"""A model counts as worse when chance alone would make it look so in fewer than one trial in twenty."""

LATENCY_GRACE_MS: Final = 1.0
"""So much more CPU time a picture is always allowed: no bin notices it, and tiny models are hard to time."""

TURNS: Final = 3
"""So often a model that seems too slow, and the factory model, are measured again, in turns."""

HOPELESS: Final = 4.0
"""So many times more than is allowed is not the fault of a busy machine."""

_CODE: Final = "from device.probe_child import main; main()"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an unproven model may use up.

    Attributes:
        spare_mb: memory beyond what the libraries take.
        cpu_s: seconds of CPU.
        wall_s: seconds in all.
    """

    spare_mb: int = 768
    cpu_s: int = 120
    wall_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Probation:
    """What a model that may go on trial showed, beside those it was compared with.

    Attributes:
        cpu_ms, factory_cpu_ms: CPU time of one picture.
        peak_mb, factory_peak_mb: memory of a process that uses it, MB of 10**6 bytes.
        looks: labelled pictures of this bin that were read.
        right, right_before: of them, named right by it and by the model in use.
        p: chance of so many or more that only the model in use names right, were both equally good; 0..1.
        unreadable: pictures that cannot be read, a sentence each.
    """

    cpu_ms: float
    factory_cpu_ms: float
    peak_mb: float
    factory_peak_mb: float
    looks: int
    right: int
    right_before: int
    p: float
    unreadable: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """The same for a JSON line."""
        return asdict(self)

    def text(self) -> str:
        """The same in a sentence."""
        looks = (
            f"{self.right} of this bin's {self.looks} labelled pictures right ({self.right_before} before)"
            if self.looks
            else "no labelled pictures here to try it on"
        )
        return (
            f"{self.cpu_ms:.1f} ms of CPU a picture (factory model {self.factory_cpu_ms:.1f}), "
            f"{self.peak_mb:.0f} MB ({self.factory_peak_mb:.0f}), {looks}"
        )


def probe_offline(store: ReleaseStore, release: str, config: Config) -> Probation:
    """Try a release of the store before it goes on trial.

    Raises:
        BundleError: it must not; see `probe`.
        ReleaseError: no such release.
    """
    lost = homeless(store.verify(release).labels, config.site)
    if lost:
        raise BundleRefused(
            f"{release}: no bin for {', '.join(lost)}, expected one for each material; add it to the takes of a [[bin]]"
        )
    return probe(
        store.path_of(release),
        current=store.path_of(store.read_state().serving),
        factory=store.path_of(None),
        looks=looks_folder(config.events_path),
        threads=config.model.threads,
    )


def probe(
    candidate: Path, *, current: Path, factory: Path, looks: Path, threads: int = 1, limits: Limits | None = None
) -> Probation:
    """Try a model that is not in use yet; takes about ten seconds on a Raspberry Pi 4.

    Args:
        candidate: folder of its bundle.
        current: of the model in use.
        factory: of the one that came with wastebin.
        looks: see `device.looks`.
        threads: of one inference, as the bin is configured.
        limits: of each child.

    Raises:
        BundleRefused: it crashes, hangs, answers with no numbers or other than it promised, costs too much, or names
            this bin's own pictures worse than the model in use.
        BundleError: its folder is not a bundle.
    """
    bundle = load_bundle(candidate)
    bounds = limits or Limits()

    def run(path: Path) -> Measured:
        return measure_in_child(path, looks, threads=threads, limits=bounds)

    found, standard = in_turns(run, candidate, factory, bundle.manifest.budget)
    before = standard if _is_same(current, factory) or not found.answers else run(current)
    return judge(bundle.version, bundle.manifest.budget, found, factory=standard, current=before)


def in_turns(
    measure: Callable[[Path], Measured], candidate: Path, factory: Path, budget: Budget
) -> tuple[Measured, Measured]:
    """Measure a model and the factory model, and both again, in turns, while the model seems a little too slow.

    Whatever else a busy machine does only adds to a time, and by chance more to one of the two: the least counts.

    Raises:
        BundleRefused: one of them does not come to a good end.
    """
    found = measure(candidate)  # first, for most bad models fail here
    standard = measure(factory)
    for _ in range(TURNS):
        if not _is_slow(found, standard, budget):
            break
        found, standard = _quicker(found, measure(candidate)), _quicker(standard, measure(factory))
    return found, standard


def judge(version: str, budget: Budget, found: Measured, *, factory: Measured, current: Measured) -> Probation:
    """Compare what was measured; pure.

    Args:
        version: of the new model, for the sentence.
        budget: what its manifest allows it, as multiples of the factory model.
        found: of the new model.
        factory, current: of the models that it is compared with.

    Raises:
        BundleRefused: too slow, too large, or worse; the first of them.
    """
    allowed_ms = _allowed_ms(factory, budget)
    if found.cpu_ms > allowed_ms:
        raise BundleRefused(
            f"{version}: too slow: takes {found.cpu_ms:.1f} ms of CPU a picture, expected at most {allowed_ms:.1f} "
            f"({budget.latency:g} times the factory model on this device); train a smaller network"
        )
    allowed_mb = budget.memory * factory.peak_mb
    if found.peak_mb > allowed_mb:
        raise BundleRefused(
            f"{version}: too large: takes {found.peak_mb:.0f} MB of memory, expected at most {allowed_mb:.0f} "
            f"({budget.memory:g} times the factory model on this device); train a smaller network"
        )
    shared = found.answers.keys() & current.answers.keys()
    right = {name for name in shared if found.answers[name] == found.truths[name]}
    right_before = {name for name in shared if current.answers[name] == found.truths[name]}
    lost, won = len(right_before - right), len(right - right_before)
    p = chance_of_worse(lost, won)
    if p <= ALPHA:
        raise BundleRefused(
            f"{version}: worse: names {len(right)} of this bin's {len(shared)} labelled pictures right, the model in "
            f"use {len(right_before)} ({lost} are lost, {won} won, p = {p:.2g}); expected no fewer: look at what it "
            "was trained on, with this bin's pictures among it (trainer pull)"
        )
    return Probation(
        cpu_ms=round(found.cpu_ms, 3),
        factory_cpu_ms=round(factory.cpu_ms, 3),
        peak_mb=round(found.peak_mb, 1),
        factory_peak_mb=round(factory.peak_mb, 1),
        looks=len(shared),
        right=len(right),
        right_before=len(right_before),
        p=p,
        unreadable=tuple(found.unreadable),
    )


def chance_of_worse(lost: int, won: int) -> float:
    """McNemar's exact test (1947), one-sided: the chance of `lost` or more among the pictures on which both differ."""
    differ = lost + won
    return sum(math.comb(differ, count) for count in range(lost, differ + 1)) / (1 << differ)


def measure_in_child(bundle: Path, looks: Path, *, threads: int = 1, limits: Limits | None = None) -> Measured:
    """Run one model in a process of its own.

    Raises:
        BundleRefused: it did not come to an end, or not to a good one.
    """
    bounds = limits or Limits()
    job = Job(str(bundle), str(looks), threads, bounds.spare_mb, bounds.cpu_s)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, json.dumps(asdict(job))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=bounds.wall_s,
            # One thread a library: more would only reserve address space, and that is limited.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BundleRefused(
            f"{bundle}: no answer in {bounds.wall_s:g} s when it was tried, expected a few seconds; it hangs, or this "
            "machine is too busy: activate it again later"
        ) from None
    if done.returncode != 0:
        raise BundleRefused(
            f"{bundle}: crashed when it was tried ({_ending(done.returncode)}{_last_line(done.stderr)}), expected "
            "answers; run it on the workstation: wastebin verify"
        )
    said: dict[str, Any] = json.loads(done.stdout)
    if "refused" in said:
        raise BundleRefused(said["refused"])
    return Measured(**said)


def _allowed_ms(factory: Measured, budget: Budget) -> float:
    return max(budget.latency * factory.cpu_ms, factory.cpu_ms + LATENCY_GRACE_MS)


def _is_slow(found: Measured, factory: Measured, budget: Budget) -> bool:
    """Whether it is too slow, by so little that a busy machine may be to blame."""
    allowed_ms = _allowed_ms(factory, budget)
    return allowed_ms < found.cpu_ms <= HOPELESS * allowed_ms


def _quicker(one: Measured, other: Measured) -> Measured:
    return replace(one, cpu_ms=min(one.cpu_ms, other.cpu_ms))


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return f": {lines[-1]}" if lines else ""
