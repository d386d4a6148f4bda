"""Classify: a picture -> Prediction, on the CPU, through onnxruntime.

    Rgb -> preprocess -> session -> logits, features -> probabilities, familiarity -> Prediction

Threads are explicit and never spin: an idle pool that spins took 184 % of a CPU at 6 Hz (AutoSplit64#51), and a count
left at 0 makes onnxruntime pin threads, which a hardened service may not.
"""

import platform
import time
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from device.bundle import Bundle, OutOfDistribution
from device.camera.frame import Rgb
from device.errors import BundleMismatch
from device.preprocess import preprocess

__all__ = ["Classifier", "Familiarity", "Prediction", "check_golden", "open_classifier", "softmax"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network says of one picture.

    Attributes:
        logits: float32 [K], as the network gives them.
        probs: float32 [K], calibrated: softmax of logits / temperature.
        features: float32 [F], pooled.
        labels: [K], the bundle's.
        ms: preprocessing and inference, milliseconds.
        familiarity: see `Familiarity`; None where the bundle cannot tell.
    """

    logits: F32
    probs: F32
    features: F32
    labels: tuple[str, ...]
    ms: float
    familiarity: float | None = None

    @property
    def label(self) -> str:
        """The likeliest label."""
        return self.labels[int(self.probs.argmax())]

    @property
    def prob(self) -> float:
        """Its probability, 0..1."""
        return float(self.probs.max())


def softmax(logits: F32, temperature: float = 1.0) -> F32:
    """Probabilities, float32 [..., K], from logits of the same shape."""
    scaled = logits / np.float32(temperature)
    power = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(power / power.sum(axis=-1, keepdims=True), dtype=np.float32)


class Familiarity:
    """How much a picture's features are those of a thing that the model knows.

    The cosine to the nearest label's mean, less half the cosine to the nearest mean of a strange kind; all of them seen
    from the middle of the labels' means, since what every picture has in common tells nothing. -1.5..1.5, high is
    familiar. Nine rows of 1,280 numbers cost 12,000 multiplications, a thousandth of the network.

    What it is good for, and why this one: `trainer.familiar`.
    """

    def __init__(self, statistics: OutOfDistribution) -> None:
        """Turn a manifest's statistics into what is multiplied with."""
        means = np.array(statistics.means, np.float32)
        self._middle = means.mean(axis=0)
        self._labels = len(means)
        rows = np.concatenate([means, np.array(statistics.strange or (), np.float32).reshape(-1, means.shape[1])])
        self._rows = _unit(rows - self._middle)

    def score(self, features: F32) -> F32:
        """Familiarity, float32 [...], of features, float32 [..., F]."""
        cosines = _unit(features - self._middle) @ self._rows.T
        known, strange = cosines[..., : self._labels], cosines[..., self._labels :]
        return np.asarray(known.max(axis=-1) - 0.5 * (strange.max(axis=-1) if strange.size else 0.0), np.float32)


def _unit(rows: F32) -> F32:
    """Each row at length 1; a row of zeros stays as it is."""
    lengths = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


class Classifier:
    """One open session of one bundle.

    Attributes:
        bundle: what it was opened from.
        labels: in the order of the probabilities.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, arm_exact: bool = True, use_float: bool = False) -> None:
        """Open the bundle's network.

        Args:
            threads: of one inference.
            arm_exact: on x86, compute INT8 as an Arm CPU does: slower there, but the answer of the bin
                (otherwise VPMADDUBSW saturates, and accuracy measured on a workstation is another model's).
            use_float: the float file instead of the INT8 one.

        Raises:
            BundleMismatch: the file cannot be opened, or its inputs and outputs are not the manifest's.
        """
        self.bundle = bundle
        self.labels = bundle.labels
        path = bundle.float_model if use_float else bundle.model
        if path is None:
            raise BundleMismatch(f"{bundle.path}: has no float.onnx, expected one to compare with; take another bundle")
        self._path = path
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if arm_exact and platform.machine() in ("x86_64", "AMD64"):
            options.add_session_config_entry("session.qdqisint8allowed", "1")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a family of its own that it does not export
            raise BundleMismatch(
                f"{path}: onnxruntime {ort.__version__} cannot open it ({str(error).splitlines()[0]}); "
                "ship the bundle again, or pack it with this version"
            ) from error
        statistics = bundle.manifest.out_of_distribution
        self._familiarity = None if statistics is None else Familiarity(statistics)
        self._spec = bundle.manifest.input
        declared = {
            self._spec.name: ("tensor(int8)", list(self._spec.shape)),
            "logits": ("tensor(float)", [1, len(bundle.labels)]),
            "features": ("tensor(float)", [1, bundle.manifest.features]),
        }
        found = {
            node.name: (node.type, node.shape) for node in (*self._session.get_inputs(), *self._session.get_outputs())
        }
        if found != declared:
            raise BundleMismatch(
                f"{path}: has {_signature(found)}, but the manifest promises {_signature(declared)}; "
                "pack the bundle again"
            )

    def classify(self, rgb: Rgb) -> Prediction:
        """Name the material in a picture.

        Args:
            rgb: uint8 [H, W, 3], 0-255, RGB; the item fills most of it.

        Raises:
            BundleMismatch: the network answered with something that is no number.
        """
        start_s = time.perf_counter()
        pixels = preprocess(rgb, self._spec)
        try:
            logits, features = self._session.run(["logits", "features"], {self._spec.name: pixels})
        except Exception as error:  # see above
            raise BundleMismatch(
                f"{self._path}: stopped in mid-network ({str(error).splitlines()[0]}), expected an answer; "
                "go back to the bundle before, or ship this one again"
            ) from error
        for name, numbers in (("logits", logits), ("features", features)):
            if not np.isfinite(numbers).all():
                raise BundleMismatch(
                    f"{self._path}: the network's {name} are {_show(numbers[0])}, expected finite numbers; "
                    "go back to the bundle before, or ship this one again"
                )
        probs = softmax(logits[0], self.bundle.temperature)
        familiarity = None if self._familiarity is None else float(self._familiarity.score(features[0]))
        ms = (time.perf_counter() - start_s) * 1e3
        return Prediction(logits[0], probs, features[0], self.labels, ms, familiarity)


def check_golden(classifier: Classifier) -> None:
    """Replay the golden pictures: swapped colours, swapped labels or a broken kernel show here, before the first item.

    Raises:
        BundleMismatch: a logit is further off than the manifest forgives, or the file does not hold what it says.
    """
    bundle = classifier.bundle
    promised = bundle.manifest.golden
    try:
        with bundle.golden.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            rgb, expected = arrays["rgb"], arrays["logits"]
    except (KeyError, ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleMismatch(
            f"{bundle.golden}: cannot be read ({error}), expected arrays rgb and logits; pack the bundle again"
        ) from error
    count, labels = promised.pictures, len(bundle.labels)
    is_whole = rgb.dtype == np.uint8 and rgb.ndim == 4 and rgb.shape[::3] == (count, 3) and 0 not in rgb.shape
    if not is_whole or expected.dtype != np.float32 or expected.shape != (count, labels):
        raise BundleMismatch(
            f"{bundle.golden}: holds {rgb.dtype} pictures {rgb.shape} and {expected.dtype} logits {expected.shape}, "
            f"expected uint8 ({count}, height, width, 3) and float32 ({count}, {labels}); pack the bundle again"
        )
    for index, picture in enumerate(rgb):
        off = float(np.abs(classifier.classify(picture).logits - expected[index]).max())
        if not off <= promised.tolerance:
            raise BundleMismatch(
                f"{bundle.golden}: picture {index} gives logits that are {off:.3f} off, at most {promised.tolerance} "
                "is forgiven; this machine does not compute what the trainer did: run wastebin doctor, or ship another "
                "bundle"
            )


def open_classifier(bundle: Bundle, *, threads: int = 1) -> Classifier:
    """A classifier that has answered its golden pictures.

    Raises:
        BundleMismatch: see `Classifier` and `check_golden`.
    """
    classifier = Classifier(bundle, threads=threads)
    check_golden(classifier)
    return classifier


def _show(numbers: F32) -> str:
    return ", ".join(f"{number:g}" for number in numbers[:8]) + (", ..." if len(numbers) > 8 else "")


def _signature(nodes: dict[str, tuple[str, list[int]]]) -> str:
    return ", ".join(f"{name} {kind}{shape}" for name, (kind, shape) in sorted(nodes.items()))
