"""A bin in a process of its own: a release on trial is kept or given up, whatever happens to the process."""

import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from bad_models import crashes_near, swapped_colours, write_bad
from bundles import WEIGHTS, network
from numpy.typing import NDArray
from signed import make_key, members_of, sign, signer_line, tar_of
from sim_bin import WASTEBIN, wait_for, wait_until_sorting, write_config

from device.event_reader import read_events
from device.looks import keep_look, looks_folder
from device.release_state import State
from device.releases import ReleaseStore

DEADLINE_S = 600
T0 = 1_790_000_000
TRAY_LEVEL = -0.1
"""Mean feature of the simulator's empty tray."""


@dataclass
class Site:
    """One bin: its files, and its store with one release that has proved itself."""

    folder: Path
    key: Path
    store: ReleaseStore
    old: str = ""
    processes: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def ship(self, sequence: int, model: bytes | None = None, weights: NDArray[np.float32] = WEIGHTS) -> str:
        """Sign a bundle around this network and take it in; not active yet."""
        bundle = write_bad(self.folder / f"shipped-{sequence}", model or network(), weights, sequence=sequence)
        sign(bundle.path / "manifest.json", self.key)
        return self.store.install(members_of(tar_of(bundle.path))).release

    def wastebin(self, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *WASTEBIN, *arguments, "--config", str(self.folder / "bin.toml"), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(self.folder)},
        )
        self.processes.append(process)
        return process

    def start(self) -> "subprocess.Popen[str]":
        return self.wastebin("run", "--pins", "mock")

    def models(self) -> list[str]:
        """What the events tell of models."""
        return [event.detail for event in read_events(self.folder / "events.db") if event.kind == "model"]

    def state(self) -> State:
        return self.store.read_state()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    key = make_key(tmp_path / "key")
    signers = tmp_path / "keys" / "allowed_signers"
    signers.parent.mkdir()
    signers.write_text(signer_line(key))
    write_config(tmp_path)
    site = Site(tmp_path, key, ReleaseStore(tmp_path / "models", signers))
    site.old = site.ship(T0)
    site.store.begin_trial(site.old)
    site.store.commit(site.old)
    yield site
    for process in site.processes:
        if process.poll() is None:  # its test has failed
            process.kill()
            process.communicate()


def end(process: "subprocess.Popen[str]") -> str:
    process.terminate()
    return process.communicate(timeout=DEADLINE_S)[1]


@pytest.mark.slow
def test_a_good_release_is_activated_beside_a_running_bin_and_kept(site: Site):
    new = site.ship(T0 + 1)
    bin_ = site.start()
    wait_until_sorting(bin_)
    done = site.wastebin("models", "activate", new, "--wait", "300")
    out, err = done.communicate(timeout=DEADLINE_S)
    assert (done.returncode, err) == (0, "")
    assert list(dict.fromkeys(json.loads(line)["phase"] for line in out.splitlines())) == ["trial", "committed"]
    assert (site.state().serving, site.state().way_back) == (new, site.old)
    assert end(bin_) == ""
    told = site.models()
    assert told[:2] == ["now mean-colour", "on trial: mean-colour, try 1 of 3"]
    assert told[2].startswith("kept: 30 good seconds")


@pytest.mark.slow
def test_a_release_that_names_the_bins_own_pictures_worse_is_refused_and_the_reason_is_everywhere(site: Site):
    for label, colour in (("metal", (200, 40, 40)), ("paper", (40, 40, 200))):
        for number in range(3):
            rgb = np.full((40, 50, 3), colour, np.uint8) + np.uint8(number)
            keep_look(looks_folder(site.folder / "events.db"), label, f"event-{number}", rgb)
    bad = site.ship(T0 + 1, *swapped_colours())
    before = site.state()
    bin_ = site.start()
    wait_until_sorting(bin_)
    refused = site.wastebin("models", "activate", bad, "--wait", "300")
    out, err = refused.communicate(timeout=DEADLINE_S)
    why = f"{bad}: worse: names 0 of this bin's 6 labelled pictures right, the model in use 6 (6 are lost, 0 won"
    assert (refused.returncode, out, err.startswith(f"error: {why}")) == (1, "", True)
    assert (site.state(), site.store.refusal(bad)) == (before, err.removeprefix("error: ").strip())
    listed, _ = site.wastebin("models", "list").communicate(timeout=DEADLINE_S)
    assert json.loads(listed.splitlines()[0])["problem"].startswith(why)
    wait_for(lambda: bool(site.models()), "the refusal among the events")
    assert end(bin_) == ""
    assert [told.startswith(f"refused {bad}: {why}") for told in site.models()] == [True]


@pytest.mark.slow
def test_a_release_that_brings_the_bin_down_is_given_up_after_three_tries(site: Site):
    """No trial beforehand shows it, for it is this tray's brightness that it cannot bear."""
    if platform.machine() != "x86_64":
        return  # an Arm CPU divides without a trap
    bad = site.ship(T0 + 1, crashes_near(TRAY_LEVEL, 0.09))
    bin_ = site.start()
    wait_until_sorting(bin_)
    site.store.begin_trial(bad)
    ends = []
    for _ in range(3):  # what systemd does
        bin_.communicate(timeout=DEADLINE_S)
        ends.append(bin_.returncode)
        bin_ = site.start()
    assert ends == [-8] * 3
    wait_for(lambda: site.state().phase != "trial", "the fourth start gives it up")
    wait_until_sorting(bin_)
    assert end(bin_) == ""
    why = "it was started 3 times and did not prove itself in any"
    assert (site.state().serving, site.state().phase, site.state().reason) == (site.old, "rolled_back", why)
    assert site.store.refusal(bad) == why
    assert site.models()[-1] == f"rolled back from {bad}: {why}"


@pytest.mark.slow
def test_a_bin_that_is_killed_at_any_moment_of_a_trial_runs_the_old_model_or_the_new_one(site: Site):
    draw = random.Random(4)
    kills, trials = 0, 0
    while kills < 20:
        trials += 1
        new = site.ship(T0 + trials)
        bin_ = site.start()
        wait_until_sorting(bin_)
        site.store.begin_trial(new)
        killed = 0
        while site.state().phase == "trial":
            is_up = killed == 0 or draw.random() < 0.5
            if killed > 0:
                bin_ = site.start()
                if is_up:
                    wait_until_sorting(bin_)
            kill(bin_, draw.uniform(0.0, 3.0))
            kills, killed = kills + 1, killed + 1
            assert site.state().serving in (site.old, new)
            assert site.store.verify(site.state().serving or "").version == site.state().serving
            assert killed <= 30, "a bin that is never let start counts no tries, but it was let start"
        assert (site.state().phase, site.state().serving) == ("rolled_back", site.old)
    bin_ = site.start()
    wait_until_sorting(bin_)
    assert end(bin_) == ""
    tries = [told for told in site.models() if told.startswith("on trial")]
    assert all(told.endswith(("try 1 of 3", "try 2 of 3", "try 3 of 3")) for told in tries)


def kill(process: "subprocess.Popen[str]", after_s: float) -> None:
    """SIGKILL it after so many seconds."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(after_s)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
