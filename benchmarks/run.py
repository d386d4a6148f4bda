"""Run `wastebin bench` several times and say median, least and most; fail when a promised bound is broken.

wastebin bench --json, RUNS times, each a process of its own -> benchmarks/device.json and a table

One run's figures move with whatever else the machine does; ratios within a run move less, so compare those.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

RUNS = 5
MOST_MB = 150.0
OUT = Path(__file__).parent / "device.json"


def main() -> None:
    """Measure, write, print."""
    runs: list[dict[str, Any]] = []
    for number in range(RUNS):
        print(f"run {number + 1} of {RUNS}", file=sys.stderr)
        command = [str(Path(sys.executable).parent / "wastebin"), "bench", "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
    figures = {name: _spread([_flat(run)[name] for run in runs]) for name in _flat(runs[0])}
    body = {"machine": runs[0]["machine"], "model": runs[0]["model"], "runs": RUNS, "figures": figures}
    OUT.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    machine = runs[0]["machine"]
    print(f"{machine['cpu']} ({machine['arch']}), onnxruntime {machine['onnxruntime']}, {machine['threads']} thread(s)")
    print(f"{'':<42}{'median':>10}{'least':>10}{'most':>10}")
    for name, spread in figures.items():
        print(f"{name:<42}{spread['median']:>10.3f}{spread['least']:>10.3f}{spread['most']:>10.3f}")
    memory = figures["memory, MB"]["median"]
    if memory > MOST_MB:
        sys.exit(f"memory is {memory:.0f} MB, promised are {MOST_MB:.0f}")


def _flat(run: dict[str, Any]) -> dict[str, float]:
    """One run's figures under names for people, ratios included."""
    ms = run["ms"]
    rows = {f"{stage}, {point}, ms": value for stage, times in ms.items() for point, value in times.items()}
    if "classify_float32" in ms:
        for kind in ("classify_int8", "classify_int8_arm"):
            rows[f"{kind} / classify_float32, p50"] = ms[kind]["p50"] / ms["classify_float32"]["p50"]
    rows["memory, MB"] = run["rss_mb"]
    rows["idle at 15 Hz, share of one core"] = run["idle_cpu_share"]
    rows["start to first decision, s"] = run["start_to_decision_s"]
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


if __name__ == "__main__":
    main()
