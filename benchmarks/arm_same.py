"""Ask emulated Arm processors for a bundle's answers, and compare them with those of the figures.

pictures: a run's *val* -> device.preprocess -> PICTURES.npz
compare: PICTURES.npz -> emulated cortex-a72 and cortex-a76, this machine's Arm-exact session -> arm/<name>-same.json

Accuracy is measured on a workstation, in a session that is told to compute INT8 as Arm does. This is the proof that it
does, on the very pictures that the figures are about; it takes minutes, so it is done once a bundle and recorded.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.arm_emulator import CACHE, CPUS, open_emulator
from device.bundle import Bundle, load_bundle
from device.errors import ItemsError, WastebinError
from device.preprocess import preprocess

__all__ = ["Arm", "compare", "main", "prepare", "reference"]

RECORDS = Path(__file__).resolve().parent / "arm"
_PART = 64
"""Pictures that the emulator is asked about at once: minutes at most, far below its limit, also on a busy machine."""


class Arm(Protocol):
    """What answers as an Arm processor does; the emulator, or a stand-in."""

    def answers(self, model: Path, pixels: NDArray[np.int8], cpu: str) -> NDArray[np.float32]:
        """Logits float32 [N, K]."""


def prepare(run: Path, bundle: Bundle, most: int | None) -> NDArray[np.int8]:
    """The pictures of *val* of a run, from their original files, as the device prepares them for this bundle.

    Args:
        most: so many, spread evenly over *val*; None for all.

    Returns:
        int8 [N, ...], in the order of the sources.

    Raises:
        StageMissing: `trainer data` has not been run.
        DatasetError: a picture is not what it read.
    """
    # They take seconds to import, and `compare` does without them.
    from trainer.data import open_dataset
    from trainer.evaluate import originals

    dataset = open_dataset(run)
    val = [record for record in dataset.records if record.split == "val"]
    if most is not None:
        val = [val[place] for place in np.linspace(0, len(val) - 1, min(most, len(val))).astype(int)]
    return np.concatenate(
        [preprocess(decode(), bundle.manifest.input) for _, decode in originals(dataset.sources, val)]
    )


def reference(model: Path, pixels: NDArray[np.int8]) -> NDArray[np.float32]:
    """Logits float32 [N, K] of this machine's session that computes as Arm does: what every figure comes from."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(["logits"], {name: one[None]})[0] for one in pixels])


def compare(model: Path, pixels: NDArray[np.int8], arm: Arm) -> dict[str, dict[str, float]]:
    """How far each processor's answers are from the figures': by processor.

    Returns:
        `same_label` and `same_logits` count pictures; `largest_difference` is of any logit.

    Raises:
        WastebinError: the network does not run there.
    """
    expected = reference(model, pixels)
    parts = np.array_split(pixels, -(-len(pixels) // _PART))
    jobs = [(cpu, part) for cpu in CPUS for part in parts]
    found: dict[str, list[NDArray[np.float32]]] = {cpu: [] for cpu in CPUS}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (cpu, _), logits in zip(jobs, pool.map(lambda job: arm.answers(model, job[1], job[0]), jobs), strict=True):
            found[cpu].append(logits)
    return {cpu: _difference(np.concatenate(rows), expected) for cpu, rows in found.items()}


def _difference(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, float]:
    return {
        "same_label": int((logits.argmax(1) == expected.argmax(1)).sum()),
        "same_logits": int((logits == expected).all(1).sum()),
        "largest_difference": float(np.abs(logits - expected).max()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare or compare; the exit status."""
    parser = argparse.ArgumentParser(prog="arm_same", description="Compare emulated Arm's answers with the figures'.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("pictures", help="write a run's val pictures as the network takes them")
    make.add_argument("--run", type=Path, required=True, help="the run's folder")
    make.add_argument("--most", type=int, help="at most so many, spread over val")
    ask = commands.add_parser("compare", help="answer them on emulated Arm, and record how far the answers are off")
    for command in (make, ask):
        command.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
        command.add_argument("pictures", type=Path, help="an .npz file with an array `pixels`, int8 [N, ...]")
    options = parser.parse_args(arguments)
    try:
        bundle = load_bundle(options.bundle)
        if options.command == "pictures":
            pixels = prepare(options.run, bundle, options.most)
            np.savez_compressed(options.pictures, pixels=pixels)
            print(f"{options.pictures}: {len(pixels)} pictures of val")
            return 0
        body = _compare(bundle, _read(options.pictures, bundle))
    except WastebinError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    RECORDS.mkdir(exist_ok=True)
    (RECORDS / f"{bundle.name}-same.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(body, indent=1))
    others = {cpu: body["pictures"] - row["same_label"] for cpu, row in body["processors"].items()}
    if any(others.values()):
        said = ", ".join(f"{count} on {cpu}" for cpu, count in others.items())
        print(
            f"error: {bundle.model}: another label than the figures' for {said} of {body['pictures']} pictures, "
            "expected none; the figures are not those of the bin: look at the layers that stay in float",
            file=sys.stderr,
        )
        return 1
    return 0


def _compare(bundle: Bundle, pixels: NDArray[np.int8]) -> dict[str, Any]:
    emulator = open_emulator(CACHE, lambda what: print(what, file=sys.stderr, flush=True))
    return {
        "name": bundle.name,
        "model_sha256": hashlib.sha256(bundle.model.read_bytes()).hexdigest(),
        "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "pictures": len(pixels),
        "onnxruntime": emulator.onnxruntime,
        "qemu": emulator.qemu,
        "processors": compare(bundle.model, pixels, emulator),
    }


def _read(path: Path, bundle: Bundle) -> NDArray[np.int8]:
    shape = tuple(bundle.manifest.input.shape[1:])
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pixels = np.asarray(arrays["pixels"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ItemsError(
            f"{path}: cannot be read ({error}), expected an .npz file with an array pixels; make it with: "
            "python -m benchmarks.arm_same pictures"
        ) from error
    if pixels.dtype != np.int8 or pixels.shape[1:] != shape or not len(pixels):
        raise ItemsError(
            f"{path}: holds {pixels.dtype} {pixels.shape}, expected int8 (N, {', '.join(map(str, shape))}); make it "
            "for this bundle with: python -m benchmarks.arm_same pictures"
        )
    return pixels


if __name__ == "__main__":
    sys.exit(main())
