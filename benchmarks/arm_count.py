"""Count the Arm instructions of one inference; fail when a bundle has become dearer than what is recorded.

models/*/{model,float}.onnx and cnn4 -> emulated cortex-a72 (Pi 4) and cortex-a76 (Pi 5) -> benchmarks/arm/<name>.json

INT8 is the file that the bin runs. FP32 is the same network in its strongest form: batch norms folded, float32 pixels
straight into the first layer (the int8 input of `float.onnx` and its DequantizeLinear taken off), every optimisation of
onnxruntime. Both run on one thread without spinning. Instructions are no milliseconds: they leave out memory and what a
core does at once, but are the same on every machine, so they can be compared with last month's.

What was counted is kept in the cache, by what may change it: a second run counts nothing again.
"""

import argparse
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnx
from onnx import TensorProto

from benchmarks.arm_emulator import CACHE, COUNTED, CPUS, Emulator, open_emulator
from device.bundle import load_bundle
from device.errors import WastebinError

__all__ = [
    "Counter",
    "Network",
    "bundle_networks",
    "cnn4",
    "count_all",
    "count_and_settle",
    "dearer",
    "main",
    "ratios",
    "record",
    "settle",
    "with_float_input",
]

ROOT = Path(__file__).resolve().parent.parent
RECORDS = Path(__file__).resolve().parent / "arm"
MOST = 1.05
"""A count may be this many times the recorded one."""
PI_4 = "cortex-a72"
_CNN4_PX = 224
_EXPORTERS = {"export", "graph", "nets", "onnx_read", "onnx_write"}
"""Modules that decide what the exported file is."""

Counts = dict[str, dict[str, int]]
"""Instructions by kind (`int8`, `float32`) and by processor."""


class Counter(Protocol):
    """What counts; the emulator, or a stand-in."""

    @property
    def qemu(self) -> str:
        """Its version."""

    @property
    def onnxruntime(self) -> str:
        """The version of the aarch64 wheel."""

    @property
    def key(self) -> str:
        """Changes with everything that may change a count."""

    def count(self, model: Path, cpu: str) -> int:
        """Instructions of one inference."""


@dataclass(frozen=True, slots=True)
class Network:
    """One file to count.

    Attributes:
        name: of the bundle.
        kind: `int8` or `float32`.
        file: what is counted.
        sha256: of the file as it ships.
        cpus: where.
    """

    name: str
    kind: str
    file: Path
    sha256: str
    cpus: tuple[str, ...] = tuple(CPUS)


def bundle_networks(models: Path, cache: Path) -> list[Network]:
    """The files of every bundle in a folder.

    Raises:
        BundleError: a bundle is not what its manifest says.
        WastebinError: there is none.
    """
    networks = []
    for path in sorted(manifest.parent for manifest in models.glob("*/manifest.json")):
        bundle = load_bundle(path)
        networks.append(Network(path.name, "int8", bundle.model, _sha256(bundle.model.read_bytes())))
        if bundle.float_model is not None:
            data = bundle.float_model.read_bytes()
            file = _kept(cache, f"models/{_sha256(data)}.onnx", with_float_input(data, bundle.float_model))
            networks.append(Network(path.name, "float32", file, _sha256(data)))
    if not networks:
        raise WastebinError(f"{models}: no bundles in it, expected folders with a manifest.json; name models/")
    return networks


def with_float_input(data: bytes, where: Path) -> bytes:
    """A float network without the DequantizeLinear that turns int8 pixels into numbers: it takes the numbers.

    Raises:
        WastebinError: its input is int8 and goes elsewhere.
    """
    model = onnx.load_from_string(data)
    (pixels,) = model.graph.input
    if pixels.type.tensor_type.elem_type == TensorProto.FLOAT:
        return data
    readers = [node for node in model.graph.node if pixels.name in node.input]
    if [node.op_type for node in readers] != ["DequantizeLinear"]:
        raise WastebinError(
            f"{where}: its int8 input goes to {', '.join(node.op_type for node in readers)}, expected one "
            "DequantizeLinear; export it again with: trainer quantize"
        )
    model.graph.node.remove(readers[0])
    pixels.name, pixels.type.tensor_type.elem_type = readers[0].output[0], TensorProto.FLOAT
    return bytes(model.SerializeToString(deterministic=True))


def cnn4(cache: Path) -> Network:
    """The network that this project started from, 390,918 parameters, at 224 px, in float.

    Its weights are random: how many instructions are executed does not depend on them.
    """
    sources = sorted((ROOT / "trainer").glob("*.py"))
    made_by = _sha256(b"".join(path.read_bytes() for path in sources if path.stem in _EXPORTERS))
    file = cache / "models" / f"cnn4-{made_by[:12]}.onnx"
    if not file.is_file():
        # Takes seconds to import, and is only needed the first time.
        import torch

        from trainer.export import export_float
        from trainer.nets import RANDOM, build_net

        torch.manual_seed(0)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        export_float(build_net("cnn4", 6, RANDOM), _CNN4_PX, new)
        new.rename(file)
    return Network("cnn4", "float32", file, _sha256(file.read_bytes()), (PI_4,))


def count_all(networks: Sequence[Network], counter: Counter, cache: Path) -> dict[str, Counts]:
    """Count each file on each of its processors, several at once; by name.

    Raises:
        WastebinError: one does not run there.
    """

    def one(job: tuple[Network, str]) -> int:
        network, cpu = job
        what = _sha256(f"{_sha256(network.file.read_bytes())} {counter.key} {cpu}".encode())
        kept = cache / "counts" / what
        if not kept.is_file():
            print(f"counting {network.name} {network.kind} on {cpu}", file=sys.stderr, flush=True)
            _kept(cache, f"counts/{what}", f"{counter.count(network.file, cpu)}\n".encode())
        return int(kept.read_text(encoding="ascii"))

    jobs = [(network, cpu) for network in networks for cpu in network.cpus]
    found: dict[str, Counts] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (network, cpu), instructions in zip(jobs, pool.map(one, jobs), strict=True):
            found.setdefault(network.name, {}).setdefault(network.kind, {})[cpu] = instructions
    return found


def ratios(counts: Counts, start: Counts) -> dict[str, float]:
    """What a bundle's counts are compared by; `start` is that of cnn4."""
    rows = {}
    if {"int8", "float32"} <= counts.keys():
        rows = {f"int8 / float32, {cpu}": counts["int8"][cpu] / counts["float32"][cpu] for cpu in counts["int8"]}
    if "int8" in counts:
        rows[f"cnn4 float32 at {_CNN4_PX} px / int8, {PI_4}"] = start["float32"][PI_4] / counts["int8"][PI_4]
    return {name: round(value, 4) for name, value in rows.items()}


def record(networks: Sequence[Network], counts: Counts, start: Counts, counter: Counter) -> dict[str, Any]:
    """What is written down of one bundle."""
    return {
        "name": networks[0].name,
        "onnxruntime": counter.onnxruntime,
        "qemu": counter.qemu,
        "threads": 1,
        "inferences": COUNTED,
        "files": {
            network.kind: {"sha256": network.sha256, "instructions": counts[network.kind]} for network in networks
        },
        "ratios": ratios(counts, start),
    }  # fmt: skip


def dearer(counts: Counts, recorded: Mapping[str, Any] | None, times: float) -> list[tuple[str, str, int, int]]:
    """Kind, processor, count and recorded count of what costs more than so many times what is recorded."""
    files = {} if recorded is None else recorded["files"]
    return [
        (kind, cpu, now, files[kind]["instructions"][cpu])
        for kind, row in counts.items()
        for cpu, now in row.items()
        if kind in files and cpu in files[kind]["instructions"] and now > files[kind]["instructions"][cpu] * times
    ]


def settle(path: Path, body: dict[str, Any], *, update: bool = False) -> list[str]:
    """Compare with the record and write it anew, unless something costs more: then what was reached stays the bound.

    Args:
        path: the record; may not be there yet.
        body: from `record`.
        update: write whatever was counted.

    Returns:
        A sentence for each count that has risen by more than is allowed.
    """
    counts = {kind: file["instructions"] for kind, file in body["files"].items()}
    recorded = json.loads(path.read_bytes()) if path.is_file() else None
    risen = [] if update else dearer(counts, recorded, MOST)
    if update or not dearer(counts, recorded, 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    elif recorded is not None and not risen and _hashes(body) != _hashes(recorded):
        print(f"{path.name}: not rewritten, since the new files cost a little more; accept them with: {_ACCEPT}")
    return [
        f"{path.name}: {kind} takes {now:,} instructions on {cpu}, {now / before - 1:+.1%} against the recorded "
        f"{before:,}, at most {MOST - 1:+.0%} is allowed; make it cheaper, or accept it with: {_ACCEPT}"
        for kind, cpu, now, before in risen
    ]


_ACCEPT = "make arm-count UPDATE=1"


def count_and_settle(
    networks: Sequence[Network], counter: Counter, cache: Path, records: Path, *, update: bool
) -> list[str]:
    """Count, print, and settle each record; cnn4 must be among the networks.

    Returns:
        As `settle`, of all records.

    Raises:
        WastebinError: see `count_all`.
    """
    counts = count_all(networks, counter, cache)
    risen: list[str] = []
    for name, found in counts.items():
        own = [network for network in networks if network.name == name]
        body = record(own, found, counts["cnn4"], counter)
        _print_counts(body)
        risen += settle(records / f"{name}.json", body, update=update)
    return risen


def main(
    arguments: Sequence[str] | None = None,
    *,
    open_counter: Callable[[Path, Callable[[str], None]], Emulator] = open_emulator,
    cache: Path = CACHE,
    records: Path = RECORDS,
) -> int:
    """Count, compare, write, print; the exit status."""
    parser = argparse.ArgumentParser(prog="arm_count", description="Count the Arm instructions of one inference.")
    parser.add_argument("--update", action="store_true", help="accept what is counted, also where it has risen")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of bundles")
    parser.add_argument("--layers", type=Path, metavar="ONNX", help="instead, what each layer of this file costs")
    parser.add_argument("--cpu", choices=sorted(CPUS), default=PI_4, help="for --layers")
    options = parser.parse_args(arguments)
    try:
        emulator = open_counter(cache, lambda what: print(what, file=sys.stderr, flush=True))
        if options.layers is not None:
            _print_layers(emulator, options.layers, options.cpu)
            return 0
        networks = [*bundle_networks(options.models, cache), cnn4(cache)]
        risen = count_and_settle(networks, emulator, cache, records, update=options.update)
    except WastebinError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for sentence in risen:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if risen else 0


def _print_counts(body: Mapping[str, Any]) -> None:
    print(f"{body['name']}, million instructions an inference")
    for kind, file in body["files"].items():
        row = ", ".join(f"{cpu} {instructions / 1e6:.2f}" for cpu, instructions in file["instructions"].items())
        print(f"  {kind:<8} {row}")
    for name, value in body["ratios"].items():
        print(f"  {value:.3f}  {name}")


def _print_layers(emulator: Emulator, file: Path, cpu: str) -> None:
    layers = emulator.layers(file, cpu)
    total = sum(layer.instructions for layer in layers)
    for layer in layers:
        print(f"{layer.instructions:>12,} {layer.instructions / total:>6.1%}  {layer.op:<26} {layer.result}")
    print(f"{total:>12,} 100.0%  {len(layers)} layers on {cpu}, each with some 25,000 of the profiler's own")


def _hashes(body: Mapping[str, Any]) -> dict[str, str]:
    return {kind: file["sha256"] for kind, file in body["files"].items()}


def _kept(cache: Path, name: str, data: bytes) -> Path:
    """A file of the cache, whole or not there; threads may write the same one."""
    path = cache / name
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{threading.get_ident()}")
    new.write_bytes(data)
    new.replace(path)
    return path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
