"""How fast this very machine is: threads and frames a second, and INT8 against FP32.

    Classifier, Gate -> ms of each -> Calibration.threads, Calibration.rate_hz

INT8 is slower than FP32 on some boards (onnxruntime#6732, #17389), so both are measured and the answer is said; the bin
goes on with INT8, which is what its trainer has measured, and a person may send another bundle. The rate is the
configured one or less: a loop that is always late decides on old frames.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import count

from device.bench import ITEM_BOX, draw_frame
from device.calibrate.step import Outcome, Place, StepResult
from device.config_types import Config
from device.gate import Gate
from device.model import served_path

__all__ = ["Cost", "check_speed", "measure_cost"]

REPEATS = 8
BUSY_SHARE = 0.7
"""Of a frame's time, what gate and network may take together."""

LEAST_GAIN = 0.8
"""More threads must bring a vote down to this share, or one is left for everything else."""

RATES_HZ = (30.0, 25.0, 20.0, 15.0, 12.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0)

Cost = Mapping[str, float]
"""`gate`, and `int8:N` and `float32:N` for N threads; milliseconds."""


def check_speed(place: Place, *, cost: Callable[[Config], Cost] | None = None) -> Outcome:
    """Choose threads and rate for this machine.

    Args:
        cost: measures; this machine's if None.
    """
    ms = (cost or measure_cost)(place.config)
    threads, best = 1, ms["int8:1"]
    for name in sorted(ms):
        kind, _, used = name.partition(":")
        if kind == "int8" and ms[name] < LEAST_GAIN * best:
            threads, best = int(used), ms[name]
    frame_ms = ms["gate"] + best
    wanted = place.config.camera.rate_hz
    fits = [rate for rate in (wanted, *RATES_HZ) if rate <= wanted and frame_ms <= BUSY_SHARE * 1000 / rate]
    rate_hz = fits[0] if fits else RATES_HZ[-1]
    told = f"{threads} thread{'s' if threads > 1 else ''}, {rate_hz:g} frames a second: a look costs {frame_ms:.0f} ms"
    found: list[str] = []
    if rate_hz < wanted:
        found.append("slow")
        told += f", too slow for {wanted:g}"
    float_ms = ms.get(f"float32:{threads}")
    if float_ms is not None:
        faster = "INT8" if best <= float_ms else "FP32"
        told += f"; INT8 {best:.0f} ms, FP32 {float_ms:.0f} ms: {faster} is faster here"
    figures: dict[str, float | str] = {f"{name}_ms": round(value, 2) for name, value in ms.items()}
    figures |= {"threads": float(threads), "rate_hz": rate_hz}
    result = StepResult("speed", True, tuple(found), tuple(found), told, figures)
    return result, replace(place.calibration, threads=threads, rate_hz=rate_hz)


def measure_cost(config: Config) -> Cost:
    """Measure this machine with the model that the bin uses.

    Raises:
        BundleError: the model cannot be used.
    """
    from device.bundle import load_bundle
    from device.classify import Classifier

    bundle = load_bundle(served_path(config, None))
    x, y, w, h = ITEM_BOX
    crop = draw_frame(0, has_item=True).rgb[y : y + h, x : x + w].copy()
    gate = Gate(config.gate)
    for number in range(32):
        gate.update(draw_frame(number, has_item=number > 30))
    still, number_now = draw_frame(35, has_item=True), count(45)
    ms = {"gate": _median_ms(lambda: gate.update(replace(still, captured_s=next(number_now) / 15)))}
    cores = len(os.sched_getaffinity(0))
    for threads in (1, *(each for each in (2, 4) if each <= cores)):
        for kind, use_float in (("int8", False), ("float32", True)):
            if use_float and bundle.float_model is None:
                continue
            # What this processor does by itself: on x86 the bin computes as an Arm CPU does, which is slower.
            classifier = Classifier(bundle, threads=threads, arm_exact=False, use_float=use_float)
            ms[f"{kind}:{threads}"] = _median_ms(partial(classifier.classify, crop))
    return ms


def _median_ms(order: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS + 2):
        start_s = time.perf_counter()
        order()
        times.append((time.perf_counter() - start_s) * 1e3)
    return sorted(times[2:])[REPEATS // 2]
