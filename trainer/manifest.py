"""Manifest: a run's files and figures -> what the bundle promises.

Used twice: for the draft that `evaluate` measures through the device's code, and for the bundle that `pack` writes.
"""

import hashlib
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import device
from device.bundle import (
    SCHEMA,
    Bundle,
    Costs,
    DecisionDefaults,
    Golden,
    Input,
    Licences,
    Manifest,
    Metrics,
    OutOfDistribution,
    Quantization,
    Resize,
    Score,
    WastebinRange,
    write_bundle,
)
from trainer.data import open_dataset
from trainer.nets import MEAN, STD, weights_licence
from trainer.recipe import Recipe
from trainer.stage import Stage

__all__ = ["GOLDEN_TOLERANCE", "Draft", "golden_bytes", "write_draft"]

GOLDEN_TOLERANCE = 0.05
"""INT8 sums are exact, so x86 (Arm-exact) and Arm differ in the last bits of the float ends only; a wrong colour
order or a
missing kernel is off by whole units."""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What is not known before the model has been measured; the defaults make a bundle that can be opened.

    Attributes:
        out_of_distribution: see `trainer.familiar`; None judges nothing as strange.
        golden_rgb: uint8 [G, H, W, 3].
        golden_logits: float32 [G, K]; zeros where None.
        home: float16 [H, F], see `trainer.home`; none where None.
    """

    temperature: float = 1.0
    int8: dict[str, Score] = field(default_factory=dict)
    float32: dict[str, Score] = field(default_factory=dict)
    out_of_distribution: OutOfDistribution | None = None
    golden_rgb: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((1, 8, 8, 3), np.uint8))
    golden_logits: NDArray[np.float32] | None = None
    home: NDArray[np.float16] | None = None
    card: str = "A draft, for measuring only.\n"


def golden_bytes(rgb: NDArray[np.uint8], logits: NDArray[np.float32], home: NDArray[np.float16] | None = None) -> bytes:
    """golden.npz."""
    stream = BytesIO()
    arrays: dict[str, Any] = {"rgb": rgb, "logits": logits} | ({} if home is None else {"home": home})
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def write_draft(path: Path, run: Path, recipe: Recipe, draft: Draft, *, has_float: bool = True) -> Bundle:
    """Write a bundle from a run's quantised files.

    Args:
        has_float: the float file comes along.

    Raises:
        StageMissing: `trainer quantize` has not been run.
        BundleMismatch: `path` is not empty.
    """
    dataset = open_dataset(run)
    _, quantized = Stage.result_of(run, "quantize")
    sources = dict.fromkeys(record.source for record in dataset.records)
    sequence = int(time.time())
    logits = draft.golden_logits
    if logits is None:
        logits = np.zeros((len(draft.golden_rgb), len(recipe.data.labels)), np.float32)
    side = recipe.size_px
    manifest = Manifest(
        schema=SCHEMA,
        name=recipe.name,
        sequence=sequence,
        created_at=datetime.fromtimestamp(sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        source_commit=_commit(),
        wastebin=WastebinRange(minimum=device.__version__, below="1.0.0"),
        files={},
        input=Input(
            name="pixels",
            dtype="int8",
            layout="NCHW",
            shape=(1, 3, side, side),
            colour="RGB",
            resize=Resize(side, side, shrink="area", enlarge="linear"),
            xor=0x80,
            scale=1 / STD,
            zero_point=int(MEAN) - 128,
            mean=(MEAN,) * 3,
            std=(STD,) * 3,
        ),
        labels=recipe.data.labels,
        features=int(quantized["features"]),
        temperature=draft.temperature,
        # Costs decide: naming pays from p = contamination / (contamination + missed) on.
        decision=DecisionDefaults(accept_prob=0.8, min_frames=2, max_frames=8, frame_correlation=0.8),
        costs=Costs(contamination=4.0, missed=1.0),
        out_of_distribution=draft.out_of_distribution,
        quantization=Quantization(quantized["scheme"], quantized["calibration_sha256"]),
        metrics=Metrics(
            split_sha256=hashlib.sha256(dataset.split_path.read_bytes()).hexdigest(),
            int8=draft.int8,
            float32=draft.float32,
            teacher=None,
        ),
        golden=Golden(pictures=len(draft.golden_rgb), tolerance=GOLDEN_TOLERANCE),
        budget=recipe.budget,
        allow_downgrade=False,
        licences=Licences(
            data=tuple(f"{name}: {recipe.data.licence.get(name, 'not stated')}" for name in sources),
            weights=(weights_licence(recipe.net, recipe.weights),),
        ),
    )
    files = {
        "model.onnx": (run / "quantize" / "model.onnx").read_bytes(),
        "golden.npz": golden_bytes(draft.golden_rgb, logits, draft.home),
    }
    if has_float:
        files["float.onnx"] = (run / "quantize" / "float.onnx").read_bytes()
    return write_bundle(path, manifest, files, draft.card)


def _commit() -> str:
    """The checkout's commit, marked where files differ from it; `unknown` outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"
