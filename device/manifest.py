"""Manifest: what a bundle says of itself, as frozen dataclasses; the names that trainer and bin share, once.

    manifest.json -> device.manifest_check -> Manifest

Every preprocessing step is data, because a right model behind a wrong resize is silently worse (onnx/models#592). It
must hold nothing that is true of one bin only. Fields are added with a new `SCHEMA`, never within one.
"""

from dataclasses import dataclass

__all__ = [
    "FLOAT",
    "GOLDEN",
    "MODEL",
    "SCHEMA",
    "Budget",
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
]

SCHEMA = 1
MODEL = "model.onnx"
FLOAT = "float.onnx"
GOLDEN = "golden.npz"


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
        accept_prob: lowest pooled probability of a site's bin that settles where an item goes, 0..1.
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
    """What tells a thing that the model knows from any other, by its features; scored by `classify.Familiarity`.

    Attributes:
        means: float [K][F], the mean features of each label, in the labels' order.
        strange: float [S][F], the mean features of kinds of things that are none of the labels, such as a bare hand;
            None where no example of one was at hand.
        lowest: a familiarity below it is strange, -1.5..1.5.
    """

    means: tuple[tuple[float, ...], ...]
    strange: tuple[tuple[float, ...], ...] | None
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
