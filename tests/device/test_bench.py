"""What bench measures is there and plausible; how much it is, is for people to read."""

from pathlib import Path

import numpy as np
from bundles import make_bundle

from device.bench import bench, draw_frame, table
from device.config import load_config
from device.gate import Gate, GateRule, TrayState


def test_the_drawn_frames_are_an_empty_tray_and_an_item_to_the_gate():
    gate = Gate(GateRule())
    states = [gate.update(draw_frame(number, has_item=number >= 25)).state for number in range(45)]
    assert states[20] is TrayState.EMPTY
    assert states[-1] is TrayState.ITEM
    assert np.array_equal(draw_frame(3, has_item=True).rgb, draw_frame(3, has_item=True).rgb)


def test_measures_every_stage_and_a_bin_that_lives(tmp_path: Path):
    make_bundle(tmp_path / "b")
    figures = bench(load_config(None, environ={"HOME": str(tmp_path)}), tmp_path / "b", repeats=2, idle_s=0.2)
    assert list(figures) == ["machine", "model", "ms", "rss_mb", "idle_cpu_share", "start_to_decision_s"]
    assert figures["model"]["name"] == "mean-colour"
    stages = ["gate_idle", "gate_item", "preprocess", "classify_int8", "classify_int8_arm", "classify_float32"]
    assert list(figures["ms"]) == stages
    assert all(0 < ms["p50"] <= ms["p95"] for ms in figures["ms"].values())
    assert 20 < figures["rss_mb"] < 2000
    # The tray is learnt for a second and a half before the item comes.
    assert 1.5 < figures["start_to_decision_s"] < 60
    assert figures["idle_cpu_share"] > 0


def test_the_table_is_for_people():
    figures = {
        "machine": {"cpu": "Cortex-A76", "arch": "aarch64", "onnxruntime": "1.27.0", "threads": 1},
        "model": {"name": "nano", "version": "1-abc"},
        "ms": {"gate_idle": {"p50": 1.234, "p95": 2.0}},
        "rss_mb": 118.4,
        "idle_cpu_share": 0.0253,
        "start_to_decision_s": 2.96,
    }
    assert table(figures).splitlines() == [
        "Cortex-A76 (aarch64), onnxruntime 1.27.0, threads 1",
        "model nano 1-abc",
        "",
        "stage                   p50 ms    p95 ms",
        "gate_idle                 1.23      2.00",
        "",
        "memory (RSS)                118 MB",
        "idle, 15 frames a second   2.5% of one core",
        "start to first decision     3.0 s",
    ]
