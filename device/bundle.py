"""Bundle: THE CONTRACT between trainer and bin. A folder that never changes; a change is a new one.

    trainer.pack -> write_bundle -> model.onnx golden.npz manifest.json [float.onnx card.md] -> load_bundle -> classify

What is true of the *model* stands in the manifest; what is true of *one bin* stands in its configuration; never both. Every
preprocessing step is data here, because a right model behind a wrong resize is silently worse (onnx/models#592). Loading
checks, in this order: the manifest's fields, the wastebin version it asks for, that exactly the listed files are there, their
sizes, their SHA-256. What the file *computes* is checked by `device.classify`, which replays the golden pictures.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import device
from device.errors import BundleMismatch, BundleNotFound, BundleUnsupported
from device.fields import build

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "Budget",
    "Bundle",
    "Costs",
    "DecisionDefaults",
    "FileEntry",
    "Golden",
    "Input",
    "Licences",
    "Manifest",
    "Metrics",
    "OutOfDistribution",
    "Quantization",
    "Resize",
    "Score",
    "WastebinRange",
    "factory_bundle_path",
    "load_bundle",
    "write_bundle",
]

SCHEMA = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
FLOAT = "float.onnx"
GOLDEN = "golden.npz"
LISTED = frozenset({MODEL, GOLDEN, FLOAT})
BESIDE = frozenset({MANIFEST, MANIFEST + ".sig", "card.md"})
"""May lie in the folder without being listed: the manifest itself, its signature, and the text for people."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size in bytes and SHA-256 in hexadecimal of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class WastebinRange:
    """Versions of wastebin that can run the bundle: `minimum` included, `below` excluded."""

    minimum: str
    below: str


@dataclass(frozen=True, slots=True)
class Resize:
    """The whole picture is fitted into width x height, whatever its shape.

    Attributes:
        width_px, height_px: of the network's input.
        shrink, enlarge: interpolation, by direction; `area` and `linear` are OpenCV's.
    """

    width_px: int
    height_px: int
    shrink: str
    enlarge: str


@dataclass(frozen=True, slots=True)
class Input:
    """How a picture becomes the network's input.

    A network value is `(pixel - mean) / std`; as a number of the file it is the pixel byte XOR 0x80, read as int8, with
    `scale` and `zero_point` folded into the file.

    Attributes:
        name: of the ONNX input.
        dtype, layout, shape: `int8`, `NCHW` or `NHWC`, four sizes with one picture.
        colour: `RGB`.
        resize: the geometry.
        xor: applied to every byte.
        scale, zero_point: network value = (number - zero_point) * scale.
        mean, std: the same, as training frameworks say it, per colour.
    """

    name: str
    dtype: str
    layout: str
    shape: tuple[int, ...]
    colour: str
    resize: Resize
    xor: int
    scale: float
    zero_point: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DecisionDefaults:
    """How sure is sure enough; a bin's calibration may override it.

    Attributes:
        accept_prob: lowest pooled probability that names a material, 0..1.
        min_frames, max_frames: frames looked at before a decision, at least and at most.
        frame_correlation: between frames of an item that lies still, 0..1.
    """

    accept_prob: float
    min_frames: int
    max_frames: int
    frame_correlation: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What a mistake costs, in any unit; a site's configuration overrides it.

    Attributes:
        contamination: a thing in a recycling bin that does not belong there.
        missed: a recyclable thing in the residual bin.
    """

    contamination: float
    missed: float


@dataclass(frozen=True, slots=True)
class OutOfDistribution:
    """A cheap score of strangeness: the cosine between the features and the nearest label's mean.

    Attributes:
        means: float [K][F], unit length, one per label.
        lowest: a cosine below it is strange, -1..1.
    """

    means: tuple[tuple[float, ...], ...]
    lowest: float


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the INT8 file was made.

    Attributes:
        scheme: such as `S8S8 QDQ per-channel`.
        calibration_sha256: over the pictures that set the ranges.
    """

    scheme: str
    calibration_sha256: str


@dataclass(frozen=True, slots=True)
class Score:
    """Figures on *val*.

    Attributes:
        pictures: how many.
        accuracy, macro_f1: 0..1.
        recall: per label that occurs, 0..1.
    """

    pictures: int
    accuracy: float
    macro_f1: float
    recall: dict[str, float]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The shipped INT8 file beside its float original, through the device's own code.

    Attributes:
        split_sha256: of the split file that says which pictures are *val*.
        int8, float32: per group of sources, such as `trashnet`.
        teacher: likewise, where there was one.
    """

    split_sha256: str
    int8: dict[str, Score]
    float32: dict[str, Score]
    teacher: dict[str, Score] | None


@dataclass(frozen=True, slots=True)
class Golden:
    """Pictures with known answers.

    Attributes:
        pictures: how many golden.npz holds.
        tolerance: largest difference of a logit that is forgiven.
    """

    pictures: int
    tolerance: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What the model may cost, as multiples of the factory model on the same device."""

    latency: float
    memory: float


@dataclass(frozen=True, slots=True)
class Licences:
    """One sentence for each source of pictures, and for the pretrained weights."""

    data: tuple[str, ...]
    weights: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is true of a model; see `docs` of the parts.

    Attributes:
        schema: of this manifest.
        name: such as `nano`.
        sequence: UTC seconds at packing; higher is newer.
        created_at: the same for people.
        source_commit: of the code that made it.
        labels: in the order of the outputs, which is the order of the data's folders.
        features: how many numbers the second output has.
        temperature: logits are divided by it before softmax.
        allow_downgrade: may replace a bundle with a higher sequence.
    """

    schema: int
    name: str
    sequence: int
    created_at: str
    source_commit: str
    wastebin: WastebinRange
    files: dict[str, FileEntry]
    input: Input
    labels: tuple[str, ...]
    features: int
    temperature: float
    decision: DecisionDefaults
    costs: Costs
    out_of_distribution: OutOfDistribution | None
    quantization: Quantization
    metrics: Metrics
    golden: Golden
    budget: Budget
    allow_downgrade: bool
    licences: Licences


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files are what its manifest says.

    Attributes:
        path: the folder.
        manifest: its fields, checked.
        sha256: of the manifest's bytes, in hexadecimal.
    """

    path: Path
    manifest: Manifest
    sha256: str

    @property
    def name(self) -> str:
        """Such as `nano`."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """`<sequence>-<first 12 of the hash>`: the name of its folder on a device."""
        return f"{self.manifest.sequence}-{self.sha256[:12]}"

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the outputs."""
        return self.manifest.labels

    @property
    def temperature(self) -> float:
        """Logits are divided by it before softmax."""
        return self.manifest.temperature

    @property
    def decision(self) -> DecisionDefaults:
        """Thresholds that hold unless the bin has its own."""
        return self.manifest.decision

    @property
    def costs(self) -> Costs:
        """Costs that hold unless the site has its own."""
        return self.manifest.costs

    @property
    def size_px(self) -> int:
        """Side of the network's square input."""
        return self.manifest.input.resize.width_px

    @property
    def model(self) -> Path:
        """The INT8 file."""
        return self.path / MODEL

    @property
    def float_model(self) -> Path | None:
        """The float file, where the bundle has one."""
        return self.path / FLOAT if FLOAT in self.manifest.files else None

    @property
    def golden(self) -> Path:
        """Pictures with known answers."""
        return self.path / GOLDEN


def factory_bundle_path() -> Path:
    """The bundle that came with the package: the last fall-back, trusted by package.

    In a checkout it is `models/nano`; a wheel carries a copy inside `device/factory`.

    Raises:
        BundleNotFound: neither is there.
    """
    packed = Path(str(resources.files("device"))) / "factory"
    checkout = Path(device.__file__).resolve().parent.parent / "models" / "nano"
    for path in (packed, checkout):
        if (path / MANIFEST).is_file():
            return path
    raise BundleNotFound(
        f"{checkout}: the factory bundle is not there, nor in {packed}; "
        "install wastebin again, or name a bundle with --model"
    )


def load_bundle(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleNotFound: the folder, its manifest or a listed file is missing.
        BundleMismatch: a field, a size or a hash is wrong, or a file is there that nobody listed.
        BundleUnsupported: another schema, or another version of wastebin is needed.
    """
    if not (path / MANIFEST).is_file():
        raise BundleNotFound(f"{path}: no {MANIFEST} there; name the folder of a bundle, such as models/nano")
    raw = (path / MANIFEST).read_bytes()
    manifest = _parse(raw, path / MANIFEST)
    _check_files(path, manifest)
    return Bundle(path, manifest, hashlib.sha256(raw).hexdigest())


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes], card: str) -> Bundle:
    """Write a bundle into a new folder and load it back.

    Args:
        manifest: its `files` are filled in here.
        files: content of model.onnx, golden.npz and, where there is one, float.onnx.
        card: the text for people.

    Raises:
        BundleMismatch: the folder holds something already, or the manifest is wrong.
    """
    if path.exists() and any(path.iterdir()):
        raise BundleMismatch(f"{path}: not empty, and a bundle never changes; give a new folder")
    path.mkdir(parents=True, exist_ok=True)
    entries = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    body = {**asdict(manifest), "files": entries}
    for name, data in {**files, "card.md": card.encode(), MANIFEST: (json.dumps(body, indent=1) + "\n").encode()}.items():
        with (path / name).open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    return load_bundle(path)


def _parse(raw: bytes, where: Path) -> Manifest:
    try:
        table = json.loads(raw)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleMismatch(f"{where}: not JSON ({error}); the copy is damaged, ship the bundle again") from error
    schema = table.get("schema") if isinstance(table, dict) else None
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        raise BundleUnsupported(
            f"{where}: schema {schema}, this wastebin {device.__version__} reads {SCHEMA}; upgrade wastebin"
        )
    problems: list[str] = []
    manifest = build(Manifest, table, str(where), problems)
    if manifest is not None:
        problems += [f"{where}.{text}" for text in _check_values(manifest)]
    if manifest is None or problems:
        raise BundleMismatch("; ".join(problems) + "; pack the bundle again with: trainer pack")
    own = _numbers(device.__version__)
    if not _numbers(manifest.wastebin.minimum) <= own < _numbers(manifest.wastebin.below):
        raise BundleUnsupported(
            f"{where}: made for wastebin {manifest.wastebin.minimum} up to, not including, {manifest.wastebin.below}; "
            f"this is {device.__version__}; install a fitting version or another bundle"
        )
    return manifest


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


_HEX = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def _check_values(m: Manifest) -> list[str]:
    """One sentence for each field whose value cannot be."""
    problems: list[str] = []

    def expect(is_right: bool, field: str, observed: Any, expected: str) -> None:
        if not is_right:
            problems.append(f"{field} is {observed!r}, expected {expected}")

    expect(m.schema == SCHEMA, "schema", m.schema, str(SCHEMA))
    expect(bool(_NAME.fullmatch(m.name)), "name", m.name, "small letters, digits and dashes")
    expect(0 < m.sequence < 2**40, "sequence", m.sequence, "UTC seconds at packing")
    if 0 < m.sequence < 2**40:
        stamp = datetime.fromtimestamp(m.sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        expect(m.created_at == stamp, "created_at", m.created_at, f"{stamp}, the time that sequence names")
    expect(
        bool(re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?|unknown", m.source_commit)),
        "source_commit", m.source_commit, "a commit's hash, or unknown",
    )  # fmt: skip
    for field in ("minimum", "below"):
        text = getattr(m.wastebin, field)
        expect(bool(_VERSION.fullmatch(text)), f"wastebin.{field}", text, "a version such as 0.1.0")
    expect(
        {MODEL, GOLDEN} <= m.files.keys() <= LISTED, "files", sorted(m.files), f"{MODEL}, {GOLDEN} and perhaps {FLOAT}"
    )
    for name, entry in m.files.items():
        expect(entry.size > 0, f"files.{name}.size", entry.size, "bytes, more than 0")
        expect(bool(_HEX.fullmatch(entry.sha256)), f"files.{name}.sha256", entry.sha256, "64 hexadecimal digits")
    _check_input(m.input, expect)
    expect(
        len(m.labels) >= 2 and list(m.labels) == sorted(set(m.labels)) and all(m.labels),
        "labels", list(m.labels), "two or more names, sorted, none twice",
    )  # fmt: skip
    expect(m.features > 0, "features", m.features, "more than 0")
    expect(0.05 <= m.temperature <= 20, "temperature", m.temperature, "0.05 to 20")
    expect(0 < m.decision.accept_prob <= 1, "decision.accept_prob", m.decision.accept_prob, "more than 0, at most 1")
    expect(m.decision.min_frames >= 1, "decision.min_frames", m.decision.min_frames, "1 or more")
    expect(
        m.decision.min_frames <= m.decision.max_frames <= 1000,
        "decision.max_frames", m.decision.max_frames, "min_frames to 1000",
    )  # fmt: skip
    expect(
        0 <= m.decision.frame_correlation <= 1, "decision.frame_correlation", m.decision.frame_correlation, "0 to 1"
    )
    expect(0 < m.costs.contamination <= 1e6, "costs.contamination", m.costs.contamination, "more than 0")
    expect(0 < m.costs.missed <= 1e6, "costs.missed", m.costs.missed, "more than 0")
    if m.out_of_distribution is not None:
        shape = [len(row) for row in m.out_of_distribution.means]
        expect(
            shape == [m.features] * len(m.labels),
            "out_of_distribution.means", shape, f"{len(m.labels)} rows of {m.features}",
        )  # fmt: skip
        lowest = m.out_of_distribution.lowest
        expect(-1 <= lowest <= 1, "out_of_distribution.lowest", lowest, "-1 to 1")
    expect(bool(m.quantization.scheme), "quantization.scheme", m.quantization.scheme, "a text")
    digest = m.quantization.calibration_sha256
    expect(bool(_HEX.fullmatch(digest)), "quantization.calibration_sha256", digest, "64 hexadecimal digits")
    digest = m.metrics.split_sha256
    expect(bool(_HEX.fullmatch(digest)), "metrics.split_sha256", digest, "64 hexadecimal digits")
    for kind in ("int8", "float32", "teacher"):
        for group, score in (getattr(m.metrics, kind) or {}).items():
            at = f"metrics.{kind}.{group}"
            expect(score.pictures > 0, f"{at}.pictures", score.pictures, "more than 0")
            expect(0 <= score.accuracy <= 1, f"{at}.accuracy", score.accuracy, "0 to 1")
            expect(0 <= score.macro_f1 <= 1, f"{at}.macro_f1", score.macro_f1, "0 to 1")
            for label, recall in score.recall.items():
                expect(label in m.labels, f"{at}.recall", label, f"one of {', '.join(m.labels)}")
                expect(0 <= recall <= 1, f"{at}.recall.{label}", recall, "0 to 1")
    expect(m.golden.pictures >= 1, "golden.pictures", m.golden.pictures, "1 or more")
    expect(0 < m.golden.tolerance <= 2, "golden.tolerance", m.golden.tolerance, "more than 0, at most 2")
    expect(1 <= m.budget.latency <= 100, "budget.latency", m.budget.latency, "1 to 100")
    expect(1 <= m.budget.memory <= 100, "budget.memory", m.budget.memory, "1 to 100")
    for field in ("data", "weights"):
        lines = getattr(m.licences, field)
        expect(bool(lines) and all(lines), f"licences.{field}", list(lines), "at least one sentence")
    return problems


def _check_input(i: Input, expect: Any) -> None:
    expect(bool(i.name), "input.name", i.name, "the name of the ONNX input")
    expect(i.dtype == "int8", "input.dtype", i.dtype, "int8")
    expect(i.layout in ("NCHW", "NHWC"), "input.layout", i.layout, "NCHW or NHWC")
    size = (i.resize.height_px, i.resize.width_px)
    shape = (1, 3, *size) if i.layout == "NCHW" else (1, *size, 3)
    expect(i.shape == shape, "input.shape", list(i.shape), f"{list(shape)}, as input.resize and input.layout say")
    expect(i.colour == "RGB", "input.colour", i.colour, "RGB")
    expect(
        i.resize.width_px == i.resize.height_px and 8 <= i.resize.width_px <= 1024,
        "input.resize", list(size), "a square of 8 to 1024 px",
    )  # fmt: skip
    expect(i.resize.shrink == "area", "input.resize.shrink", i.resize.shrink, "area")
    expect(i.resize.enlarge == "linear", "input.resize.enlarge", i.resize.enlarge, "linear")
    expect(i.xor == 0x80, "input.xor", i.xor, "128")
    expect(i.scale > 0, "input.scale", i.scale, "more than 0")
    expect(-128 <= i.zero_point <= 127, "input.zero_point", i.zero_point, "-128 to 127")
    # (pixel - 128 - zero_point) * scale must be (pixel - mean) / std, or training saw other colours than the bin does.
    expect(
        len(i.std) == 3 and all(abs(std * i.scale - 1) < 1e-6 for std in i.std),
        "input.std", list(i.std), f"three times {1 / i.scale if i.scale else 0:g}, as input.scale says",
    )  # fmt: skip
    expect(
        len(i.mean) == 3 and all(abs(mean - 128 - i.zero_point) < 1e-6 for mean in i.mean),
        "input.mean", list(i.mean), f"three times {128 + i.zero_point}, as input.zero_point says",
    )  # fmt: skip


def _check_files(path: Path, manifest: Manifest) -> None:
    for name in sorted(entry.name for entry in path.iterdir()):
        if name not in manifest.files.keys() | BESIDE:
            raise BundleMismatch(f"{path / name}: not listed in {MANIFEST}; remove it, or ship the bundle again")
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleNotFound(f"{file}: missing, but {MANIFEST} lists it; ship the bundle again")
        size = file.stat().st_size
        if size != entry.size:
            raise BundleMismatch(
                f"{file}: {size} bytes, but {MANIFEST} says {entry.size}; the copy is damaged, ship the bundle again"
            )
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest != entry.sha256:
            raise BundleMismatch(
                f"{file}: SHA-256 {digest[:12]}..., but {MANIFEST} says {entry.sha256[:12]}...; "
                "the copy is damaged, ship the bundle again"
            )
