"""Run a network inside the emulator: what the emulated Arm processor executes, with the real aarch64 onnxruntime.

count MODEL -> 3 runs, mark 0, 12 runs, mark 1
layers MODEL FOLDER -> 3 runs, mark 0, one run under onnxruntime's profiler, mark 1; prints the profile's path
answers MODEL PIXELS.npy LOGITS.npy -> the logits of every picture

A mark is a system call that fails; `count.c` writes down how many instructions were executed until then. One thread, no
spinning, every optimisation: a session as the bin opens it.
"""

import contextlib
import gc
import os
import sys

import numpy as np
import onnxruntime as ort

MARK = -24301
WARM_UP, COUNTED = 3, 12


def main() -> None:
    """Do what the command line says."""
    what, model, *more = sys.argv[1:]
    if what == "answers":
        answer(_open(model), *more)
    else:
        count(model, more)


def count(model: str, profile: list[str]) -> None:
    """Warm up, then run between two marks."""
    session = _open(model, *profile)
    (pixels,) = session.get_inputs()
    kind = {"tensor(int8)": np.int8, "tensor(float)": np.float32}[pixels.type]
    feed = {pixels.name: np.random.default_rng(0).integers(-128, 128, pixels.shape).astype(kind)}
    gc.collect()
    gc.disable()
    for _ in range(WARM_UP):
        session.run(None, feed)
    mark(0)
    for _ in range(1 if profile else COUNTED):
        session.run(None, feed)
    mark(1)
    if profile:
        print(session.end_profiling())


def answer(session: ort.InferenceSession, pixels: str, logits: str) -> None:
    """Classify every picture of a file: int8 [N, ...] -> float32 [N, K]."""
    name = session.get_inputs()[0].name
    np.save(logits, np.concatenate([session.run(["logits"], {name: one[None]})[0] for one in np.load(pixels)]))


def mark(tag: int) -> None:
    """Let the counter write down where it is."""
    with contextlib.suppress(OSError):
        os.lseek(MARK, tag, os.SEEK_SET)


def _open(model: str, profile: str = "") -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(profile, "layers")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
