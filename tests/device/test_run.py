"""A whole bin: a recording goes in at one end, events and moved pins come out at the other."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from bundles import make_bundle
from loopback import free_port

from device.bench import draw_frame
from device.calibration import Calibration, save_calibration
from device.camera.frame import Frame
from device.camera.locks import Locks
from device.camera.replay import Recorder
from device.config import load_config
from device.config_dashboard import DashboardConfig
from device.config_types import Config, ModelsConfig
from device.drive import Driven
from device.errors import BundleRefused, CameraNotFound, EventsBusy, UsageError
from device.event_reader import read_counts, read_events
from device.events import Event, EventLog
from device.notify import Notifier
from device.outputs import default_outputs
from device.release_state import State
from device.run import Plan, load_model, run_bin
from device.status import Status
from device.web.token import TokenStore, dashboard_path

DEADLINE_S = 60


class Clock:
    """Real seconds, but pauses pass at once."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped_s

    def pause(self, seconds: float) -> None:
        self.skipped_s += seconds


def run(plan: Plan, watching: "Watching") -> list[tuple[str, float | None]]:
    """What the pins were told."""
    clock = Clock()
    trace: list[Driven] = []
    run_bin(plan, watching, clock=clock, pause=clock.pause, trace=trace.append)
    return [(driven.output, driven.value) for driven in trace]


class Watching:
    """Keeps what it is shown; may do something on the first frame that shows a state."""

    def __init__(self, on_first: Callable[[], None] = lambda: None, word: str = "learning") -> None:
        self.seen: list[Status] = []
        self.faults: list[str | None] = []
        self.on_first = on_first
        self.word = word

    def frame(self, status: Status, frame: Frame) -> None:
        self.seen.append(status)
        if [str(each.state) for each in self.seen].count(self.word) == 1 and status.state == self.word:
            self.on_first()

    def fault(self, sentence: str | None) -> None:
        self.faults.append(sentence)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty tray for 1.6 s, a green thing that lies for 0.7 s, an empty tray again."""
    folder = tmp_path_factory.mktemp("day") / "recording"
    recorder = Recorder(folder)
    for number in range(60):
        frame = draw_frame(number, has_item=24 <= number < 35)
        recorder.write(Frame(frame.rgb[::4, ::4].copy(), frame.captured_s, number))
    recorder.close()
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    settings = load_config(None, environ={"HOME": str(tmp_path)})
    flaps = default_outputs([bin_.name for bin_ in settings.site.bins])
    # Quick servos: they are brought to rest, one after another, before the item comes.
    return replace(settings, outputs=replace(flaps, move_s=0.05, hold_s=0.2))


def test_sorts_what_a_recording_shows(config: Config, bundle: Path, recording: Path):
    watching = Watching()
    told = run(Plan(config, f"replay:{recording}", "mock", bundle), watching)
    assert told[-4:] == [("Glass", 2000.0), ("Glass", None), ("Glass", 1000.0), ("Glass", None)]
    assert {value for _, value in told[:-4]} == {1000.0, None}  # to rest, at the start
    events = read_events(config.events_path)
    assert [event.kind for event in events] == ["start", "decision", "stop"]
    assert (events[1].label, events[1].bin, events[1].accepted) == ("glass", "Glass", True)
    assert events[2].detail == "the source has ended"
    assert read_counts(config.events_path) == {"sorted:Glass": 1}
    # Nobody waits for a recording, and none of its frames is lost.
    assert [status.frame_number for status in watching.seen] == list(range(60))
    words = [str(status.state) for status in watching.seen]
    assert [word for word, before in zip(words, ["", *words], strict=False) if word != before] == [
        *("learning", "watching", "voting", "moving", "checking", "watching")
    ]
    assert watching.seen[-1].counts["Glass"] == 1
    assert watching.faults == []


def test_goes_by_what_calibration_has_found_and_tells_when_its_file_is_damaged(
    config: Config, bundle: Path, recording: Path
):
    camera = f"replay:{recording}"
    folder = config.events_path.parent
    turned = Calibration(camera=camera, locks=Locks(is_swapped=True), pulses_us={"Glass": (1900, 1100)})
    save_calibration(folder, turned)
    save_calibration(folder, turned)
    seen: list[list[int]] = []

    class Looking(Watching):
        def frame(self, status: Status, frame: Frame) -> None:
            seen.append(frame.rgb[60, 70].tolist())
            super().frame(status, frame)

    plan = Plan(config, camera, "mock", bundle)
    told = run(plan, Looking())
    assert told[-4:] == [("Glass", 1100.0), ("Glass", None), ("Glass", 1900.0), ("Glass", None)]
    swapped = [rgb[::-1] for rgb in seen]
    (folder / "calibration.json").write_text("x")
    (folder / "calibration.last-good.json").unlink()
    seen.clear()
    run(plan, Looking())
    assert seen == swapped
    (fault,) = read_events(config.events_path, kind="fault")
    assert fault.detail.endswith("the bin runs uncalibrated, run: wastebin calibrate")


def test_what_is_saved_in_the_dashboard_is_gone_by_at_once_without_a_restart(config: Config, bundle: Path):
    camera, port = "sim:seed=4,white_balance=0.6", free_port()
    tokens = TokenStore(dashboard_path(config.events_path))
    tokens.make(wall_s=time.time())
    cookie = f"wastebin={tokens.open_session(wall_s=time.time())}"
    blueness: list[float] = []  # of each frame that the bin acted on
    frames = threading.Condition()

    class Looking(Watching):
        def frame(self, status: Status, frame: Frame) -> None:
            with frames:
                blueness.append(float(frame.rgb[..., 2].mean()) / float(frame.rgb[..., 0].mean()))
                frames.notify_all()

    def ask(what: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        headers = {"cookie": cookie, "x-wastebin": "1", "content-type": "application/json"}
        connection.request("POST", f"/api/calibration/{what}", b"{}", headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()

    def story() -> None:
        try:
            with frames:
                assert frames.wait_for(lambda: len(blueness) > 5, DEADLINE_S)
            ask("open")
            found = Calibration(
                camera=camera,
                locks=Locks(balance=(0.5, 1.0, 2.0)),
                pulses_us={"Glass": (1900, 1100)},
                threads=2,
            )
            save_calibration(config.events_path.parent, found)
            with frames:
                dull = max(blueness)
            ask("close")
            with frames:
                assert frames.wait_for(lambda: blueness[-1] > 2 * dull, DEADLINE_S)
            end_s = time.monotonic() + DEADLINE_S
            while not read_events(config.events_path, kind="model"):
                assert time.monotonic() < end_s
                threading.Event().wait(0.05)
            happened.append("gone by")
        finally:
            signal.raise_signal(signal.SIGTERM)

    happened: list[str] = []
    live = replace(config, dashboard=DashboardConfig(port=port))
    trace: list[Driven] = []
    thread = threading.Thread(target=story, daemon=True)
    thread.start()
    run_bin(Plan(live, camera, "mock", bundle, for_s=2.0 * DEADLINE_S), Looking(), trace=trace.append)
    thread.join(DEADLINE_S)
    assert happened == ["gone by"]
    assert ("Glass", 1900.0) in [(driven.output, driven.value) for driven in trace]


def test_the_service_manager_hears_when_it_is_ready_and_when_it_stops(
    config: Config, bundle: Path, recording: Path, tmp_path: Path
):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        clock = Clock()
        plan = Plan(config, f"replay:{recording}", "mock", bundle)
        notifier = Notifier(str(tmp_path / "notify"), watchdog_s=1000.0)
        run_bin(plan, Watching(), notifier=notifier, clock=clock, pause=clock.pause)
        heard = [manager.recv(200).decode() for _ in range(4)]
    status = next(message for message in heard if message.startswith("STATUS="))
    assert heard == ["READY=1", status, "WATCHDOG=1", "STOPPING=1"]
    assert status.startswith("STATUS=sorting with ")


def test_records_what_it_saw_to_the_last_bit(config: Config, bundle: Path, recording: Path, tmp_path: Path):
    run(Plan(config, f"replay:{recording}", "mock", bundle, record=tmp_path / "again"), Watching())
    files = sorted(path.name for path in recording.iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == files
    assert (tmp_path / "again" / "000040.png").read_bytes() == (recording / "000040.png").read_bytes()


def test_stops_when_asked_and_gives_the_signals_back(config: Config, bundle: Path, recording: Path):
    before = signal.getsignal(signal.SIGTERM)
    watching = Watching(lambda: signal.raise_signal(signal.SIGTERM))
    run(Plan(config, f"replay:{recording}", "mock", bundle), watching)
    assert len(watching.seen) == 1
    assert [event.detail for event in read_events(config.events_path)][-1] == "asked to stop"
    assert signal.getsignal(signal.SIGTERM) is before
    assert [thread.name for thread in threading.enumerate() if thread.name in ("capture", "events")] == []


def test_a_flap_that_is_on_its_way_when_asked_to_stop_is_closed_first(config: Config, bundle: Path, recording: Path):
    watching = Watching(lambda: signal.raise_signal(signal.SIGTERM), "moving")
    told = run(Plan(config, f"replay:{recording}", "mock", bundle), watching)
    assert str(watching.seen[-1].state) == "moving"
    assert told[-4:] == [("Glass", 2000.0), ("Glass", None), ("Glass", 1000.0), ("Glass", None)]


def test_stops_after_its_time(config: Config, bundle: Path, recording: Path):
    watching = Watching()
    run(Plan(config, f"replay:{recording}", "mock", bundle, for_s=0.0), watching)
    assert watching.seen == []
    assert [event.detail for event in read_events(config.events_path)][-1] == "the time is over"


def test_sighup_changes_over_to_the_model_that_lies_there_now(config: Config, bundle: Path, recording: Path):
    def reload() -> None:
        signal.raise_signal(signal.SIGHUP)
        for thread in threading.enumerate():
            if thread.name == "open-model":
                thread.join(DEADLINE_S)

    run(Plan(config, f"replay:{recording}", "mock", bundle), Watching(reload))
    kinds = [event.kind for event in read_events(config.events_path)]
    assert kinds == ["start", "model", "decision", "stop"]


def test_a_camera_that_is_not_there_is_an_error_and_leaves_a_reason(config: Config, bundle: Path, tmp_path: Path):
    with pytest.raises(CameraNotFound, match="nothing-here"):
        run(Plan(config, f"replay:{tmp_path / 'nothing-here'}", "mock", bundle), Watching())
    last = read_events(config.events_path)[-1]
    assert last.kind == "stop"
    assert "nothing-here" in last.detail


def test_refuses_to_record_over_a_recording(config: Config, bundle: Path, recording: Path):
    with pytest.raises(UsageError, match="name another folder"):
        run(Plan(config, f"replay:{recording}", "mock", bundle, record=recording), Watching())


def test_the_bins_own_rule_goes_over_the_bundles(config: Config, bundle: Path):
    strict = replace(config, decide=replace(config.decide, accept_prob=0.99))
    model, _ = load_model(strict, bundle)
    assert (model.rule.accept_prob, model.rule.max_frames) == (0.99, 8)


def test_a_model_with_a_material_that_has_no_bin_here_is_refused(config: Config, bundle: Path):
    site = replace(config.site, bins=tuple(bin_ for bin_ in config.site.bins if "metal" not in bin_.takes))
    with pytest.raises(BundleRefused, match=r"no bin for metal, expected one for each material"):
        load_model(replace(config, site=site), bundle)


def test_a_second_bin_is_sent_away_before_it_counts_as_a_try_of_a_model(
    config: Config, recording: Path, tmp_path: Path
):
    store = tmp_path / "models"
    store.mkdir()
    trial = json.dumps(asdict(State(phase="trial", release="7-0123456789ab", tries_left=3)))
    (store / "state.json").write_text(trial)
    shared = replace(config, models=ModelsConfig(store, tmp_path / "signers"))
    with EventLog(config.events_path), pytest.raises(EventsBusy, match="another wastebin"):
        run(Plan(shared, f"replay:{recording}", "mock"), Watching())
    assert (store / "state.json").read_text() == trial


# --------------------------------------------------------------------------------------------- real processes


def start(tmp_path: Path, bundle: Path) -> "subprocess.Popen[str]":
    """A bin in a process of its own, once it has seen frames."""
    arguments = ["run", "--camera", "sim:seed=1", "--pins", "mock", "--model", str(bundle), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from device.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("state") == "watching":
            break
    return process


def test_sigterm_ends_a_bin_in_order(tmp_path: Path, bundle: Path):
    process = start(tmp_path, bundle)
    process.terminate()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    assert [event.kind for event in read_events(tmp_path / "wastebin" / "events.db")] == ["start", "stop"]


def test_sigkill_loses_nothing_that_was_written_and_the_next_start_works(tmp_path: Path, bundle: Path):
    path = tmp_path / "wastebin" / "events.db"
    with EventLog(path) as log:
        log.add(Event("decision", "kept"))
    process = start(tmp_path, bundle)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    with EventLog(path) as log:
        log.add(Event("start", "again"))
    details = [event.detail for event in read_events(path)]
    assert (details[0], details[-1]) == ("kept", "again")
    assert set(details[1:-1]) <= {"wastebin 0.1.0, camera sim:seed=1, pins mock"}
