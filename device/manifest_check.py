"""Manifest check: bytes -> Manifest, or one sentence that names every field that cannot be.

    manifest.json -> JSON -> fields and types -> values -> the wastebin version that it asks for -> Manifest

A field is checked against the others wherever two of them say the same thing, so that a single damaged one shows. What
only the network itself can contradict (its shapes, its answers) is checked by `device.classify`.
"""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import device
from device.errors import BundleMismatch, BundleUnsupported
from device.fields import build
from device.manifest import FLOAT, GOLDEN, MODEL, SCHEMA, Input, Manifest, Metrics

__all__ = ["parse_manifest"]

_HEX = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_COMMIT = re.compile(r"[0-9a-f]{7,40}(-dirty)?|unknown")
_YEAR_10000_S = 253_402_300_800


class _Expect(Protocol):
    def __call__(self, is_right: bool, field: str, observed: Any, expected: str) -> None: ...


def parse_manifest(raw: bytes, where: Path) -> Manifest:
    """Read and check the bytes of a manifest.

    Args:
        where: the file they came from, for messages.

    Raises:
        BundleMismatch: not JSON, an unknown, missing or mistyped field, or a value that cannot be; all at once.
        BundleUnsupported: a newer schema, or another version of wastebin is needed.
    """
    try:
        table = json.loads(raw, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        raise BundleMismatch(
            f"{where}: {len(raw)} bytes that are not JSON ({error}), expected a manifest; "
            "the copy is damaged, ship the bundle again"
        ) from error
    schema = table.get("schema") if isinstance(table, dict) else None
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        raise BundleUnsupported(
            f"{where}.schema is {schema}, expected {SCHEMA}, as wastebin {device.__version__} reads; upgrade wastebin"
        )
    problems: list[str] = []
    manifest = build(Manifest, table, str(where), problems)
    if manifest is not None:
        problems += [f"{where}.{text}" for text in _check_values(manifest)]
    if manifest is None or problems:
        raise BundleMismatch("; ".join(problems) + "; pack the bundle again with: trainer pack")
    if not _numbers(manifest.wastebin.minimum) <= _numbers(device.__version__) < _numbers(manifest.wastebin.below):
        raise BundleUnsupported(
            f"{where}.wastebin is {manifest.wastebin.minimum} up to, not including, {manifest.wastebin.below}, "
            f"expected a range that holds {device.__version__}; install a fitting wastebin, or another bundle"
        )
    return manifest


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one key, another reader of the same signed bytes might take the other."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError(f"a key twice among {', '.join(sorted(key for key, _ in pairs))!r}")
    return table


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _is_text(text: str) -> bool:
    """One line that a person can see: not blank, no control characters."""
    return bool(text) and text.strip() == text and text.isprintable()


def _check_values(m: Manifest) -> list[str]:
    """One sentence for each field whose value cannot be."""
    problems: list[str] = []

    def expect(is_right: bool, field: str, observed: Any, expected: str) -> None:
        if not is_right:
            problems.append(f"{field} is {observed!r}, expected {expected}")

    expect(m.schema == SCHEMA, "schema", m.schema, str(SCHEMA))
    expect(bool(_NAME.fullmatch(m.name)), "name", m.name, "small letters, digits and dashes")
    is_time = 0 < m.sequence < _YEAR_10000_S
    expect(is_time, "sequence", m.sequence, "UTC seconds at packing")
    if is_time:
        stamp = datetime.fromtimestamp(m.sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        expect(m.created_at == stamp, "created_at", m.created_at, f"{stamp}, the time that sequence names")
    expect(bool(_COMMIT.fullmatch(m.source_commit)), "source_commit", m.source_commit, "a commit's hash, or unknown")
    for field in ("minimum", "below"):
        text = getattr(m.wastebin, field)
        expect(bool(_VERSION.fullmatch(text)), f"wastebin.{field}", text, "a version such as 0.1.0")
    expect(
        {MODEL, GOLDEN} <= m.files.keys() <= {MODEL, GOLDEN, FLOAT},
        "files", sorted(m.files), f"{MODEL}, {GOLDEN} and perhaps {FLOAT}",
    )  # fmt: skip
    for name, entry in m.files.items():
        expect(entry.size > 0, f"files.{name}.size", entry.size, "bytes, more than 0")
        expect(bool(_HEX.fullmatch(entry.sha256)), f"files.{name}.sha256", entry.sha256, "64 hexadecimal digits")
    _check_input(m.input, expect)
    expect(
        len(m.labels) >= 2 and list(m.labels) == sorted(set(m.labels)) and all(map(_is_text, m.labels)),
        "labels", list(m.labels), "two or more names, sorted, none twice",
    )  # fmt: skip
    expect(m.features > 0, "features", m.features, "more than 0")
    expect(0.05 <= m.temperature <= 20, "temperature", m.temperature, "0.05 to 20")
    _check_choices(m, expect)
    _check_strangeness(m, expect)
    expect(_is_text(m.quantization.scheme), "quantization.scheme", m.quantization.scheme, "a text")
    digest = m.quantization.calibration_sha256
    expect(bool(_HEX.fullmatch(digest)), "quantization.calibration_sha256", digest, "64 hexadecimal digits")
    _check_metrics(m.metrics, m.labels, expect)
    expect(m.golden.pictures >= 1, "golden.pictures", m.golden.pictures, "1 or more")
    expect(0 < m.golden.tolerance <= 2, "golden.tolerance", m.golden.tolerance, "more than 0, at most 2")
    expect(1 <= m.budget.latency <= 100, "budget.latency", m.budget.latency, "1 to 100")
    expect(1 <= m.budget.memory <= 100, "budget.memory", m.budget.memory, "1 to 100")
    for field in ("data", "weights"):
        lines = getattr(m.licences, field)
        expect(bool(lines) and all(map(_is_text, lines)), f"licences.{field}", list(lines), "at least one sentence")
    return problems


def _check_choices(m: Manifest, expect: _Expect) -> None:
    """Thresholds and costs."""
    rule, costs = m.decision, m.costs
    expect(0 < rule.accept_prob <= 1, "decision.accept_prob", rule.accept_prob, "more than 0, at most 1")
    expect(rule.min_frames >= 1, "decision.min_frames", rule.min_frames, "1 or more")
    expect(rule.min_frames <= rule.max_frames <= 1000, "decision.max_frames", rule.max_frames, "min_frames to 1000")
    expect(0 <= rule.frame_correlation <= 1, "decision.frame_correlation", rule.frame_correlation, "0 to 1")
    expect(0 < costs.contamination <= 1e6, "costs.contamination", costs.contamination, "more than 0, at most 1000000")
    expect(0 < costs.missed <= 1e6, "costs.missed", costs.missed, "more than 0, at most 1000000")


def _check_strangeness(m: Manifest, expect: _Expect) -> None:
    if m.out_of_distribution is None:
        return
    means, strange = m.out_of_distribution.means, m.out_of_distribution.strange
    lowest, at = m.out_of_distribution.lowest, "out_of_distribution"
    expect(
        len(means) == len(m.labels) and all(len(row) == m.features for row in means),
        f"{at}.means", [len(row) for row in means], f"{len(m.labels)} rows of {m.features}, as labels and features say",
    )  # fmt: skip
    if strange is not None:
        expect(
            len(strange) >= 1 and all(len(row) == m.features for row in strange),
            f"{at}.strange", [len(row) for row in strange], f"one row or more of {m.features}, as features says",
        )  # fmt: skip
    for field, rows in (("means", means), ("strange", strange or ())):
        for index, row in enumerate(rows):
            largest = max(map(abs, row), default=0.0)
            expect(largest <= 1e6, f"{at}.{field}[{index}]", f"as large as {largest:g}", "at most 1000000")
    expect(len(set(means)) == len(means), f"{at}.means", "the same for two labels", "each its own")
    expect(-1.5 <= lowest <= 1.5, f"{at}.lowest", lowest, "-1.5 to 1.5")


def _check_metrics(metrics: Metrics, labels: tuple[str, ...], expect: _Expect) -> None:
    """INT8, float and teacher saw the same pictures, so they name the same groups, counts and labels."""
    digest = metrics.split_sha256
    expect(bool(_HEX.fullmatch(digest)), "metrics.split_sha256", digest, "64 hexadecimal digits")
    for kind in ("int8", "float32", "teacher"):
        scores = getattr(metrics, kind)
        if scores is None:
            continue
        groups = sorted(metrics.float32)
        expect(sorted(scores) == groups, f"metrics.{kind}", sorted(scores), f"{groups}, as metrics.float32 has")
        for group, score in scores.items():
            at = f"metrics.{kind}.{group}"
            beside = metrics.float32.get(group, score)
            expect(_is_text(group), at, group, "the name of a group of sources")
            expect(score.pictures > 0, f"{at}.pictures", score.pictures, "more than 0")
            expect(
                score.pictures == beside.pictures,
                f"{at}.pictures", score.pictures, f"{beside.pictures}, as metrics.float32 has",
            )  # fmt: skip
            expect(0 <= score.accuracy <= 1, f"{at}.accuracy", score.accuracy, "0 to 1")
            expect(0 <= score.macro_f1 <= 1, f"{at}.macro_f1", score.macro_f1, "0 to 1")
            known, wanted = sorted(score.recall), sorted(beside.recall)
            expect(known == wanted, f"{at}.recall", known, f"{wanted}, as metrics.float32 has")
            for label, recall in score.recall.items():
                expect(label in labels, f"{at}.recall", label, f"one of {list(labels)}")
                expect(0 <= recall <= 1, f"{at}.recall.{label}", recall, "0 to 1")


def _check_input(i: Input, expect: _Expect) -> None:
    expect(_is_text(i.name), "input.name", i.name, "the name of the ONNX input")
    expect(i.dtype == "int8", "input.dtype", i.dtype, "int8")
    expect(i.layout in ("NCHW", "NHWC"), "input.layout", i.layout, "NCHW or NHWC")
    size = (i.resize.height_px, i.resize.width_px)
    shape = (1, 3, *size) if i.layout == "NCHW" else (1, *size, 3)
    expect(i.shape == shape, "input.shape", list(i.shape), f"{list(shape)}, as input.resize and input.layout say")
    expect(i.colour == "RGB", "input.colour", i.colour, "RGB")
    width, height = i.resize.width_px, i.resize.height_px
    expect(8 <= width <= 1024, "input.resize.width_px", width, "8 to 1024")
    expect(height == width, "input.resize.height_px", height, f"{width}, as input.resize.width_px is: a square")
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
