"""Measure what the bin costs on this machine: time per stage, memory, idle load, time to the first decision.

    drawn frames -> each stage alone, repeated -> p50, p95
    a child process that lives like a bin -> start to first decision, memory, idle load

The frames are drawn here, so that neither a camera nor the simulator is in the figures. On x86 two INT8 sessions are
measured: `classify_int8_arm` computes as an Arm CPU does and is about four times slower there, `classify_int8` is what
x86 does by itself; neither says how fast INT8 is on a Raspberry Pi.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from device.camera.frame import Frame, Rgb
from device.config_types import Config
from device.errors import WastebinError

__all__ = ["ITEM_BOX", "bench", "draw_frame", "live_once", "table"]

REPEATS = 60
WARM_UPS = 5
RATE_HZ = 15.0
IDLE_S = 4.0
FRAMES = 4
"""Different frames of a kind; few, for they count as memory of the process that is measured."""
CHILD_S = 60.0
ITEM_BOX = (240, 160, 160, 150)
"""x, y, w, h of the drawn item in px."""


def draw_frame(number: int, *, has_item: bool) -> Frame:
    """An empty tray with sensor noise, or the same with a striped thing in it; 15 a second from zero.

    Returns:
        A frame of uint8 [480, 640, 3]; the same number gives the same pixels.
    """
    noise = np.random.default_rng(number).integers(-3, 4, (480, 640, 3), np.int16)
    base = np.full((480, 640, 3), 110, np.int16)
    base += np.linspace(-25, 25, 640).astype(np.int16)[None, :, None]
    if has_item:
        x, y, w, h = ITEM_BOX
        base[y : y + h, x : x + w] = (40, 150, 90)
        base[y : y + h, x : x + w : 20] = (230, 230, 220)
    return Frame((base + noise).clip(0, 255).astype(np.uint8), number / RATE_HZ, number)


def bench(
    config: Config, model_path: Path | None = None, *, repeats: int = REPEATS, idle_s: float = IDLE_S
) -> dict[str, Any]:
    """Measure; takes about a quarter of a minute.

    Args:
        config: of the bin.
        model_path: as `Plan`.
        repeats: how often each stage is measured.
        idle_s: how long the idle load is measured.

    Returns:
        `machine`, `model`, `ms` (stage -> p50, p95), `rss_mb`, `idle_cpu_share` (of one core), and
        `start_to_decision_s`.

    Raises:
        WastebinError: the model cannot be used, or this is no Linux.
    """
    import onnxruntime

    from device.classify import Classifier
    from device.preprocess import preprocess
    from device.run import load_model

    model, bundle = load_model(config, model_path)
    x, y, w, h = ITEM_BOX
    crop: Rgb = np.ascontiguousarray(draw_frame(0, has_item=True).rgb[y - 20 : y + h + 20, x - 15 : x + w + 15])
    threads = config.model.threads
    stages: dict[str, Callable[[int], object]] = {
        **_gate_stages(config),
        "preprocess": lambda _: preprocess(crop, bundle.manifest.input),
        "classify_int8": _classify(Classifier(bundle, threads=threads, arm_exact=False), crop),
        "classify_int8_arm": _classify(Classifier(bundle, threads=threads), crop),
    }
    if bundle.float_model is not None:
        stages["classify_float32"] = _classify(Classifier(bundle, threads=threads, use_float=True), crop)
    return {
        "machine": {
            "cpu": _cpu_name(),
            "arch": platform.machine(),
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "threads": threads,
        },
        "model": {"name": model.name, "version": model.version},
        "ms": {name: _measure(stage, repeats) for name, stage in stages.items()},
        **_live_in_child(config, model_path, idle_s),
    }


def table(figures: dict[str, Any]) -> str:
    """The same for people."""
    machine = figures["machine"]
    lines = [
        f"{machine['cpu']} ({machine['arch']}), onnxruntime {machine['onnxruntime']}, threads {machine['threads']}",
        f"model {figures['model']['name']} {figures['model']['version']}",
        "",
        f"{'stage':<20}{'p50 ms':>10}{'p95 ms':>10}",
        *(f"{name:<20}{ms['p50']:>10.2f}{ms['p95']:>10.2f}" for name, ms in figures["ms"].items()),
        "",
        f"memory (RSS)                {figures['rss_mb']:.0f} MB",
        f"idle, {RATE_HZ:g} frames a second   {figures['idle_cpu_share']:.1%} of one core",
        f"start to first decision     {figures['start_to_decision_s']:.1f} s",
    ]
    return "\n".join(lines)


def _gate_stages(config: Config) -> dict[str, Callable[[int], object]]:
    """The gate on frame after frame, as the bin sees them: an empty tray, and one with an item."""
    from device.gate import Gate

    frames = {
        has_item: [draw_frame(number, has_item=has_item) for number in range(FRAMES)] for has_item in (False, True)
    }

    def watch(has_item: bool) -> Callable[[int], object]:
        gate = Gate(config.gate, config.camera.region)
        for number in range(30):
            gate.update(_at(frames[False][number % FRAMES], number))
        return lambda turn: gate.update(_at(frames[has_item][turn % FRAMES], 30 + turn))

    return {"gate_idle": watch(False), "gate_item": watch(True)}


def _at(frame: Frame, number: int) -> Frame:
    return Frame(frame.rgb, number / RATE_HZ, number)


def _classify(classifier: Any, crop: Rgb) -> Callable[[int], object]:
    return lambda _: classifier.classify(crop)


def _measure(stage: Callable[[int], object], repeats: int) -> dict[str, float]:
    times_ms = []
    for turn in range(WARM_UPS + repeats):
        start_s = time.perf_counter()
        stage(turn)
        times_ms.append((time.perf_counter() - start_s) * 1e3)
    p50, p95 = np.percentile(times_ms[WARM_UPS:], (50, 95))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def _live_in_child(config: Config, model_path: Path | None, idle_s: float) -> dict[str, float]:
    """Figures of a process of its own, which holds one session and nothing of the measuring above."""
    code = "import sys; from device.bench import live_once; live_once(float(sys.argv[1]), *sys.argv[2:])"
    arguments = [str(path) if path is not None else "" for path in (config.file, model_path)]
    start_s = time.time()
    child = subprocess.run(
        [sys.executable, "-c", code, str(idle_s), *arguments],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["no word"])[-1]
        raise WastebinError(f"bench: the child process ended with {child.returncode}: {last}; see: wastebin doctor")
    figures = json.loads(child.stdout)
    return {
        "rss_mb": round(figures["rss_mb"], 1),
        "idle_cpu_share": round(figures["idle_cpu_share"], 4),
        "start_to_decision_s": round(figures["decided_at_s"] - start_s, 2),
    }


def live_once(idle_s: float, config_path: str, model_path: str) -> None:
    """Be a bin in real time: start, learn the tray, sort one item, idle; print the figures as one JSON line.

    Args:
        idle_s: how long to idle.
        config_path, model_path: as the command line gives them; empty for none.
    """
    import tempfile

    from device.config import load_config
    from device.drive import open_drive
    from device.engine import Engine
    from device.events import EventLog
    from device.gate import Gate
    from device.run import load_model

    config = load_config(Path(config_path) if config_path else None)
    model, bundle = load_model(config, Path(model_path) if model_path else None)
    site = config.site_for(contamination=bundle.costs.contamination, missed=bundle.costs.missed)
    empty, full = ([draw_frame(number, has_item=has_item) for number in range(FRAMES)] for has_item in (False, True))
    with (
        tempfile.TemporaryDirectory() as folder,
        EventLog(Path(folder) / "events.db") as log,
        open_drive(config.outputs, pins="mock") as drive,
    ):
        engine = Engine(Gate(config.gate, config.camera.region), model, site, drive, log)
        decided_at_s = None
        number = 0
        while decided_at_s is None:
            time.sleep(1 / RATE_HZ)
            # The item comes as soon as the tray can be known.
            frames = empty if number < (config.gate.warm_s + 0.5) * RATE_HZ else full
            if engine.step(Frame(frames[number % FRAMES].rgb, time.monotonic(), number)).decided is not None:
                decided_at_s = time.time()
            number += 1
        for _ in range(round(RATE_HZ)):  # the item leaves
            number += 1
            engine.step(Frame(empty[number % FRAMES].rgb, time.monotonic(), number))
            time.sleep(1 / RATE_HZ)
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        while time.perf_counter() - start_s < idle_s:
            number += 1
            engine.step(Frame(empty[number % FRAMES].rgb, time.monotonic(), number))
            time.sleep(1 / RATE_HZ)
        share = (time.process_time() - start_cpu_s) / (time.perf_counter() - start_s)
    figures = {"decided_at_s": decided_at_s, "idle_cpu_share": share, "rss_mb": _rss_mb()}
    sys.stdout.write(json.dumps(figures) + "\n")


def _rss_mb() -> float:
    """Memory that this process holds now, in MB of 10**6 bytes."""
    status = _read(Path("/proc/self/status"))
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise WastebinError("bench: /proc/self/status tells no memory; bench measures on Linux only")


def _cpu_name() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise WastebinError(f"{path}: cannot be read ({exc.strerror}); bench measures on Linux only") from exc
