"""Measure shipping: one real bin from upload to live and what its sorting loses, then twenty bins at a stroke.

python -m benchmarks.ship -> benchmarks/ship.json and a table; fails when a promised bound is broken

The one bin is `wastebin run` with the simulated camera behind OpenSSH's own sshd on this machine, with the shipped
model, signed for it. The twenty answer the same questions without a model behind them, after the thirty seconds of
trial that a real bin takes: what is measured is the trainer's side, and what goes over each wire.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from device.camera.frame import Frame
from device.config import load_config
from device.event_reader import read_events
from device.run import Plan, run_bin
from device.status import Status
from trainer.fleet import make_fleet, roll_out
from trainer.keys import init_keys
from trainer.link import Access, Host, bin_host
from trainer.ship import Outcome, Tell, open_parcel, ship_to
from trainer.sign import sign_bundle

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the loopback sshd, the simulated and the fake bin are the tests' own

from loopback import Wire, program, running_sshd  # noqa: E402
from sim_bin import WASTEBIN, write_config  # noqa: E402

OUT = Path(__file__).with_suffix(".json")
MOST_TO_LIVE_S = 15.0
MOST_GAP_S = 2.0
MANY = 20
TRIAL_S = 30


class Gaps:
    """A watcher that knows the longest pause between two frames."""

    def __init__(self) -> None:
        self.times_s: list[float] = []

    def frame(self, status: Status, frame: Frame) -> None:  # noqa: ARG002
        """Take the time; say once that it runs."""
        if not self.times_s:
            print("running", flush=True)
        self.times_s.append(time.monotonic())

    def fault(self, sentence: str | None) -> None:
        """A fault shows as a pause."""


def run_watched(config: Path) -> None:
    """Be the bin: run until told to stop, then say the longest pause and the usual one."""
    watcher = Gaps()
    settings = load_config(config)
    run_bin(Plan(settings, settings.camera.source, "mock"), watcher)
    pauses = sorted(after - before for before, after in zip(watcher.times_s, watcher.times_s[1:], strict=False))
    print(json.dumps({"longest_s": round(pauses[-1], 3), "usual_s": round(pauses[len(pauses) // 2], 3)}))


def one_bin(folder: Path) -> dict[str, float]:
    """Ship the project's model to a bin that sorts."""
    keys = init_keys(folder / "keys", "bench")
    bundle = Path(shutil.copytree(ROOT / "models" / "nano", folder / "nano"))
    sign_bundle(bundle, keys)
    parcel = open_parcel(bundle)
    config = write_config(folder)
    wastebin = program(folder / "wastebin", *WASTEBIN)
    words = [sys.executable, "-m", "benchmarks.ship", str(config)]
    with running_sshd(folder / "sshd", f"{wastebin} models remote --config {config}") as sshd:
        wire = Wire(sshd.port)
        access = Access((sshd.client_key,), sshd.known_hosts(folder / "known", wire.port), has_agent=False)
        host = bin_host(f"root@127.0.0.1:{wire.port}")
        bin_ = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert bin_.stdout is not None
        bin_.stdout.readline()
        reached_s: dict[str, float] = {}
        say = _say(host)

        def tell(stage: str, share: float | None = None) -> None:
            reached_s.setdefault(stage, time.monotonic())
            say(stage, share)

        begin_s = time.monotonic()
        outcome = asyncio.run(ship_to(host, access, parcel, tell))
        bin_.terminate()
        gaps = json.loads(bin_.communicate()[0])
    if outcome.result != "live":
        sys.exit(f"{outcome.result}: {outcome.detail}")
    tried_s = next(event.mono_s for event in read_events(folder / "events.db", kind="model") if "trial" in event.detail)
    assert tried_s is not None
    return {
        "bundle, bytes": outcome.sent_bytes,
        "over the wire, bytes": wire.sent,
        "until it is let in, s": round(reached_s["asking"] - begin_s, 2),
        "until all is sent, s": round(reached_s["checking"] - begin_s, 2),
        "until it is checked and stored, s": round(reached_s["probing"] - begin_s, 2),
        "until the probe is passed, s": round(reached_s["on trial"] - begin_s, 2),
        "upload to live, s": round(tried_s - begin_s, 2),
        "upload to committed, s": outcome.took_s,
        "longest pause between two frames, s": gaps["longest_s"],
        "usual pause between two frames, s": gaps["usual_s"],
    }


def many_bins(folder: Path) -> dict[str, float]:
    """Ship to twenty bins that all like it."""
    folder.mkdir()
    bundle = Path(shutil.copytree(ROOT / "models" / "nano", folder / "nano"))
    sign_bundle(bundle, init_keys(folder / "keys", "bench"))
    parcel = open_parcel(bundle)
    with running_sshd(folder / "sshd") as sshd:
        wires = [Wire(sshd.port) for _ in range(MANY)]
        known_hosts = sshd.known_hosts(folder / "known", *(wire.port for wire in wires))
        access = Access((sshd.client_key,), known_hosts, has_agent=False)
        hosts = [_fake_bin(folder / str(number), wire.port) for number, wire in enumerate(wires)]
        begin_s = time.monotonic()

        async def ship_one(host: Host) -> Outcome:
            return await ship_to(host, access, parcel, _say(host))

        noted: list[Outcome] = []
        outcomes = asyncio.run(roll_out(make_fleet(hosts), ship_one, noted.append))
        took_s = time.monotonic() - begin_s
    if not all(outcome.result == "live" for outcome in outcomes):
        sys.exit(f"not all are live: {[outcome.detail for outcome in outcomes if not outcome.is_live]}")
    return {
        "bins": MANY,
        "trial of each, s": TRIAL_S,
        "all live, s": round(took_s, 1),
        "over each wire, bytes": round(sum(wire.sent for wire in wires) / MANY),
    }


def _fake_bin(folder: Path, port: int) -> Host:
    folder.mkdir()
    idle = {"phase": "idle", "release": None, "current": None, "reason": "", "changed_at": ""}
    (folder / "state.json").write_text(json.dumps(idle))
    (folder / "verdict").write_text("good")
    (folder / "trial_s").write_text(str(TRIAL_S))
    fake = program(folder / "wastebin", "-I", "-S", str(ROOT / "tests" / "fake_bin.py"), str(folder))
    return replace(bin_host(f"root@127.0.0.1:{port}"), wastebin=str(fake))


def _say(host: Host) -> Tell:
    """Progress on stderr, each stage once."""
    told: list[str] = []

    def tell(stage: str, share: float | None = None) -> None:  # noqa: ARG001
        if told[-1:] != [stage]:
            told.append(stage)
            print(f"{host}: {stage}", file=sys.stderr)

    return tell


def main() -> None:
    """Measure, write, print."""
    with tempfile.TemporaryDirectory() as folder:
        one = one_bin(Path(folder))
        many = many_bins(Path(folder) / "many")
    body: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "one bin": one,
        "fleet": many,
    }
    OUT.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    for name, value in (one | many).items():
        print(f"{name:<42}{value:>12,}")
    if one["upload to live, s"] > MOST_TO_LIVE_S:
        sys.exit(f"upload to live took {one['upload to live, s']} s, promised are {MOST_TO_LIVE_S:g}")
    if one["longest pause between two frames, s"] > MOST_GAP_S:
        sys.exit(f"sorting paused {one['longest pause between two frames, s']} s, promised are {MOST_GAP_S:g}")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        run_watched(Path(sys.argv[1]))
    else:
        main()
