"""Timing: network files -> milliseconds of one inference on this machine.

    model.onnx, float.onnx -> open sessions -> one turn after the other -> p50

The files take turns, and processor time is counted: on a busy machine a stopwatch says six times as much. On an idle
one both say the same, since one thread does the work. An x86 machine says nothing
about which of INT8 and float is faster on a Raspberry Pi; see `benchmarks/arm` for that.
"""

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from trainer.errors import TrainerError

__all__ = ["Computer", "Timed", "this_computer", "time_files"]

_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Computer:
    """Where figures were measured.

    Attributes:
        cores: that this machine has; one thread was used.
        load: how many programs wanted a core then, as a mean over a minute: the more, the longer the times.
    """

    cpu: str
    arch: str
    cores: int
    onnxruntime: str
    load: float


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of processor time for one inference, one thread, without reading or scaling the picture.

    Attributes:
        plain_ms: the session that a program opens without further words.
        arm_ms: computed as an Arm CPU does (`session.qdqisint8allowed`), as the accuracy was measured; None for float.
    """

    plain_ms: float
    arm_ms: float | None


def this_computer() -> Computer:
    """What this is, by its own account."""
    return Computer(_cpu_name(), platform.machine(), os.cpu_count() or 1, ort.__version__, round(os.getloadavg()[0], 1))


def time_files(files: Mapping[str, Path], repeats: int, clock: Callable[[], float]) -> dict[str, Timed]:
    """Time files by turns.

    Args:
        files: key -> ONNX file with int8 pixels; keys that end in `int8` are measured in both sessions.
        repeats: turns; the median is taken.
        clock: seconds; of processor time rather than of the day, so that other programs hardly count.

    Raises:
        TrainerError: onnxruntime cannot open a file.
    """
    sessions = {(key, False): _session(path, arm_exact=False) for key, path in files.items()}
    sessions |= {(key, True): _session(path, arm_exact=True) for key, path in files.items() if key.endswith("int8")}
    pixels = {place: _pixels(session) for place, session in sessions.items()}
    taken_ms: dict[tuple[str, bool], list[float]] = {place: [] for place in sessions}
    for turn in range(_WARM_UPS + repeats):
        for place, session in sessions.items():
            start_s = clock()
            session.run(None, pixels[place])
            if turn >= _WARM_UPS:
                taken_ms[place].append((clock() - start_s) * 1e3)
    middle = {place: statistics.median(times) for place, times in taken_ms.items()}
    return {key: Timed(middle[key, False], middle.get((key, True))) for key in files}


def _session(path: Path, *, arm_exact: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if arm_exact:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's error classes are not public
        reason = " ".join(str(exc).split())
        raise TrainerError(f"{path}: onnxruntime cannot load it ({reason}); quantise again: trainer quantize") from exc


def _pixels(session: ort.InferenceSession) -> dict[str, Any]:
    (wanted,) = session.get_inputs()
    return {wanted.name: np.random.default_rng(1).integers(-128, 128, wanted.shape, np.int8)}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()
