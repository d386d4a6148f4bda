"""A whole bin learns from a correction: an item is named wrong, a person says so, it is right the next time."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bundles import LABELS, golden, make_bundle

from device.bench import draw_frame
from device.camera.frame import Frame
from device.camera.replay import Recorder
from device.cli import run_app
from device.config import load_config
from device.config_types import Config
from device.drive import Drive, open_drive
from device.engine import Engine
from device.event_reader import add_correction, read_events
from device.events import EventLog
from device.gate import Gate
from device.keep import Keeper
from device.learner import Learner
from device.model import bundle_rule, open_model
from device.run import Plan, run_bin

HOME = np.random.default_rng(7).normal(0, 0.05, (30, 3)).astype(np.float16)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path / "state" / "wastebin"


@pytest.fixture
def config(state: Path) -> Config:
    settings = load_config(None)
    assert settings.events_path == state / "events.db"
    return settings


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "bundle", golden_npz=golden(home=HOME))
    return tmp_path / "bundle"


@dataclass
class Bin:
    """The parts that `run` puts together, one frame at a time and in the frames' own time."""

    config: Config
    bundle: Path
    log: EventLog

    def __post_init__(self) -> None:
        self.site = self.config.site_for(contamination=4.0, missed=1.0)
        gate = Gate(self.config.gate, self.config.camera.region)
        self.engine = Engine(gate, open_model(self.bundle, bundle_rule), self.site, self.open_drive(), self.log)
        self.keeper = Keeper(self.config.events_path, self.config.gate.margin, self.log)
        self.number = 0
        self.now_s = 0.0
        clock: Callable[[], float] = lambda: self.now_s  # noqa: E731
        path = self.config.events_path
        self.learner = Learner(path, self.engine, self.site, self.log, clock=clock, pause=lambda _: None)

    def open_drive(self) -> Drive:
        return open_drive(self.config.outputs, pins="mock", clock=lambda: self.engine.now_s)

    def frames(self, count: int, *, has_item: bool) -> list[tuple[int, str, str]]:
        """Event, label and bin of what was decided."""
        decided = []
        for _ in range(count):
            frame = draw_frame(self.number, has_item=has_item)
            self.number += 1
            status = self.engine.step(frame)
            self.keeper.frame(status, frame)
            if status.decided is not None:
                decided.append((status.decided.event, status.decided.label, status.decided.bin))
        return decided

    def visit(self) -> tuple[int, str, str]:
        self.frames(150, has_item=False)
        decided = []
        while not decided:
            decided = self.frames(1, has_item=True)
        # It falls, the flap closes, the tray is empty again.
        self.frames(150, has_item=False)
        assert self.log.flush()  # who corrects it looks into the file
        return decided[0]

    def wait(self) -> None:
        """The two threads have a look, and another one some seconds later."""
        for _ in range(2):
            self.keeper.look()
            self.learner.look()
            self.now_s += 6.0


def test_a_corrected_item_is_right_the_next_time(config: Config, bundle: Path):
    with EventLog(config.events_path) as log:
        bin_ = Bin(config, bundle, log)
        event, label, where = bin_.visit()
        assert (label, where) == ("glass", "Glass")
        add_correction(config.events_path, event, "paper", LABELS, wall_s=time.time())
        bin_.wait()
        bin_.wait()
        _, label, where = bin_.visit()
        assert (label, where) == ("paper", "Paper")
        bin_.learner.revoke()
        assert bin_.visit()[1:] == ("glass", "Glass")
    told = [event.detail for event in read_events(config.events_path) if event.kind == "learnt"]
    assert told == [
        "learnt from 1 looks (paper 1): corrections only, which count for their own kind of item",
        "taken back: the bundle answers alone",
    ]


def test_run_wears_what_teach_has_learnt_new_material_included(
    state: Path, config: Config, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with EventLog(config.events_path) as log:
        bin_ = Bin(config, bundle, log)
        event, _, _ = bin_.visit()
        # The built-in bin has a place for trash, which this bundle does not know.
        assert run_app(["correct", str(event), "trash", "--model", str(bundle)]) == 0
        bin_.keeper.look()
    assert run_app(["teach", "--model", str(bundle), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["looks"], told["active"]) == ({"trash": 1}, (state / "learnt").glob("*.npz").__next__().stem)

    recorder = Recorder(tmp_path / "day")
    for number in range(60):
        frame = draw_frame(number, has_item=24 <= number < 45)
        recorder.write(Frame(frame.rgb, frame.captured_s, number))
    recorder.close()
    run_bin(Plan(config, f"replay:{tmp_path / 'day'}", "mock", bundle), Nobody())
    last = [event for event in read_events(config.events_path) if event.kind == "decision"][-1]
    assert (last.label, last.bin) == ("trash", "Trash")
    assert set(last.probs or {}) == {*LABELS, "trash"}


class Nobody:
    """A watcher that looks away."""

    def frame(self, status, frame) -> None:
        pass

    def fault(self, sentence) -> None:
        pass
