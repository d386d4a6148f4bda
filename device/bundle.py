"""Bundle: THE CONTRACT between trainer and bin. A folder that never changes; a change is a new one.

    trainer.pack -> write_bundle -> model.onnx golden.npz manifest.json [float.onnx card.md] -> load_bundle -> classify

What is true of the *model* stands in the manifest; what is true of *one bin* stands in its configuration; never both.
Loading checks, in this order: the manifest's fields, the wastebin version it asks for, that exactly the listed files
are there, their sizes, their SHA-256. What the file *computes* is checked by `device.classify`, by golden pictures.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import device
from device.errors import BundleError, BundleMismatch, BundleNotFound
from device.manifest import (
    FLOAT,
    GOLDEN,
    MODEL,
    SCHEMA,
    Budget,
    Costs,
    DecisionDefaults,
    FileEntry,
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
)
from device.manifest_check import parse_manifest

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

MANIFEST = "manifest.json"
BESIDE = frozenset({MANIFEST, MANIFEST + ".sig", "card.md"})
"""May lie in the folder without being listed: the manifest itself, its signature, and the text for people."""


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
        BundleNotFound: the folder, its manifest or a listed file is missing or cannot be read.
        BundleMismatch: a field, a size or a hash is wrong, or a file is there that nobody listed.
        BundleUnsupported: another schema, or another version of wastebin is needed.
    """
    try:
        if not (path / MANIFEST).is_file():
            raise BundleNotFound(f"{path}: no {MANIFEST} there; name the folder of a bundle, such as models/nano")
        raw = (path / MANIFEST).read_bytes()
        manifest = parse_manifest(raw, path / MANIFEST)
        _check_files(path, manifest)
    except BundleError:
        raise
    except OSError as error:
        raise BundleNotFound(
            f"{error.filename or path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
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
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise BundleMismatch(f"{path}: not empty, and a bundle never changes; give a new folder")
    except OSError as error:
        raise BundleMismatch(f"{path}: no folder can be made there ({error.strerror}); give a new folder") from error
    entries = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    body = {**asdict(manifest), "files": entries}
    for name, data in {
        **files,
        "card.md": card.encode(),
        MANIFEST: _as_text(body).encode(),
    }.items():
        with (path / name).open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    return load_bundle(path)


def _as_text(body: Mapping[str, Any]) -> str:
    """The manifest as JSON for eyes too: a row of numbers is one line, since there may be rows of a thousand."""
    # Inside JSON's own texts a line break is written as \\n, so that nothing but a list can match.
    text = re.sub(r"\[\n[-+.\deE,\s]+\]", lambda row: "".join(row[0].split()), json.dumps(body, indent=1))
    return text + "\n"


def _check_files(path: Path, manifest: Manifest) -> None:
    for name in sorted(entry.name for entry in path.iterdir()):
        if name not in manifest.files.keys() | BESIDE:
            raise BundleMismatch(
                f"{path / name}: not listed, expected only the files of {MANIFEST}; remove it, or ship again"
            )
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
