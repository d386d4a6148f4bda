"""An Arm processor to count on: the real aarch64 onnxruntime under qemu-user, unpacked into a folder of its own.

apt and pip, as this machine has them set up -> .cache/arm/<key>/ (emulator, guest, counter) -> Emulator.count, .answers

Nothing is installed: Debian's packages of two architectures are fetched with an apt state of their own and unpacked.
The emulator runs with its own C library, so it fits whatever the machine has. The folder is made whole or not at all,
and made once; it must never be used to say how long something takes: instructions are counted, time is not known.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import WastebinError

__all__ = ["CACHE", "COUNTED", "CPUS", "Emulator", "Layer", "open_emulator"]

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "arm"
CPUS = {"cortex-a72": "0xd08", "cortex-a76": "0xd0b"}
"""Processors by qemu's name, with the part number that Linux shows: Raspberry Pi 4 and Pi 5."""
COUNTED = 12
"""Inferences between the two marks: the count after 15 runs less the count after 3."""

_HERE = Path(__file__).resolve().parent / "arm"
_HOST_PACKAGES = ("qemu-user",)
_GUEST_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
_WHEELS = ("onnxruntime", "numpy")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_LIMIT_S = 1800
_CONNECT = "the first time needs the network: connect, and try again"
_PYTHON = re.compile(r"python3\.(\d+)")


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer of the optimised network costs.

    Attributes:
        name, op: as onnxruntime has them after its optimisations.
        result: type and shape of what it makes.
        instructions: of one run; some 25,000 of them are the profiler's own.
    """

    name: str
    op: str
    result: str
    instructions: int


@dataclass(frozen=True, slots=True)
class Emulator:
    """An unpacked emulator.

    Attributes:
        path: the folder.
        counter: the plugin that counts.
        qemu: its version.
        onnxruntime: the version of the aarch64 wheel.
        key: changes with everything that may change a count: emulator, wheel, counter, what runs in the guest.
    """

    path: Path
    counter: Path
    qemu: str
    onnxruntime: str
    key: str

    def count(self, model: Path, cpu: str) -> int:
        """Instructions of one inference of a network, on average over `COUNTED`.

        Args:
            model: an ONNX file with one input, int8 or float32.
            cpu: of `CPUS`.

        Raises:
            WastebinError: it does not run there.
        """
        marks, _ = self._count(cpu, "", "count", str(model))
        first, last = marks
        return round((int(last[1]) - int(first[1])) / COUNTED)

    def layers(self, model: Path, cpu: str) -> list[Layer]:
        """Instructions of each layer, in the order of execution; arguments and errors as `count`.

        For finding what is dear: the profiler adds to every layer, so that their sum is more than `count`.
        """
        with tempfile.TemporaryDirectory() as folder:
            lines, said = self._count(cpu, ",clock=on", "layers", str(model), folder)
            events = json.loads(Path(said.split()[-1]).read_bytes())
        begin, end = ([tag for tag, _ in lines].index(mark) for mark in "01")
        ticks = [int(count) for _, count in lines[begin + 1 : end]]
        nodes = [event for event in events if event["cat"] == "Node"]
        runs = sum(event["name"] == "model_run" for event in events)
        nodes = nodes[-(len(nodes) // runs) :]
        # Three readings for the session and the executor come first, then two a layer, then five.
        if len(ticks) != 2 * len(nodes) + 8:
            raise WastebinError(
                f"{model}: the profiler of onnxruntime {self.onnxruntime} read the clock {len(ticks)} times for "
                f"{len(nodes)} layers, expected {2 * len(nodes) + 8}; layers cannot be told apart with this version"
            )
        return [
            Layer(
                node["name"].removesuffix("_kernel_time"),
                node["args"]["op_name"],
                " ".join(
                    f"{kind} {shape}" for made in node["args"]["output_type_shape"] for kind, shape in made.items()
                ),
                ticks[4 + 2 * index] - ticks[3 + 2 * index],
            )
            for index, node in enumerate(nodes)
        ]

    def answers(self, model: Path, pixels: NDArray[np.int8], cpu: str) -> NDArray[np.float32]:
        """Logits float32 [N, K] of prepared pictures, as the emulated processor computes them.

        Args:
            model: an INT8 file of a bundle.
            pixels: int8 [N, ...], each as `device.preprocess` makes it, without its leading 1.

        Raises:
            WastebinError: it does not run there.
        """
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "pixels.npy", Path(folder) / "logits.npy"
            np.save(given, pixels)
            self._run(cpu, [], "answers", str(model), str(given), str(made))
            return np.asarray(np.load(made), dtype=np.float32)

    def _count(self, cpu: str, more: str, *arguments: str) -> tuple[list[list[str]], str]:
        """The counter's lines, split in two, and what the guest printed."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "marks"
            said = self._run(cpu, ["-plugin", f"{self.counter},out={out}{more}"], *arguments)
            return [line.split() for line in out.read_text().splitlines()], said

    def _run(self, cpu: str, emulate: Sequence[str], *arguments: str) -> str:
        root = self.path / cpu
        environment = {
            "PYTHONPATH": str(root / "opt"),
            "PYTHONPYCACHEPREFIX": str(self.path / "compiled"),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
        }
        python = (root / "usr" / "bin" / "python3").resolve().name
        guest = [str(root / "usr" / "bin" / python), "-S", str(_HERE / "guest.py"), *arguments]
        command = [*_qemu(self.path), "-cpu", cpu, "-L", str(root), *emulate, *guest]
        return _call(
            command,
            f"{arguments[1]} on emulated {cpu}",
            environment,
            f"see whether onnxruntime {self.onnxruntime} opens it on this machine",
        )


def open_emulator(cache: Path, say: Callable[[str], None]) -> Emulator:
    """The emulator of a cache folder; fetched and unpacked when it is not there.

    Args:
        cache: where it is kept.
        say: told what takes long.

    Raises:
        WastebinError: apt, pip or a C compiler is missing or fails.
    """
    wheels = {name: version(name) for name in _WHEELS}
    name = "-".join([_release(), platform.machine(), *(f"{name}{number}" for name, number in wheels.items())])
    path = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with _only_one(cache):
        if not (path / "ready.json").is_file():
            part = cache / f"{name}.part"
            for left in (part, path):
                shutil.rmtree(left, ignore_errors=True)
            part.mkdir()
            made = _unpack(part, wheels, say)
            (part / "ready.json").write_text(json.dumps(made) + "\n", encoding="utf-8")
            part.rename(path)
        counter = path / f"count-{_sha256(_HERE / 'count.c')[:12]}.so"
        if not counter.is_file():
            _compile(counter)
    kept = json.loads((path / "ready.json").read_bytes())
    parts = [*sorted(kept.values()), *(_sha256(_HERE / name) for name in ("count.c", "guest.py"))]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return Emulator(path, counter, kept["qemu"], wheels["onnxruntime"], key)


def _unpack(path: Path, wheels: dict[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Fill a new folder; what identifies it, by name."""
    architecture = _call(["dpkg", "--print-architecture"], "this machine's architecture", os.environ).strip()
    say("fetching the emulator and a Python for it (Debian packages)")
    _packages(path / "host", architecture, _HOST_PACKAGES)
    _packages(path / "guest", "arm64", _GUEST_PACKAGES)
    numbers = [found[1] for folder in (path / "guest/usr/lib").iterdir() if (found := _PYTHON.fullmatch(folder.name))]
    say("fetching onnxruntime for aarch64")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [f"--platform={name}" for name in _PLATFORMS] + [f"--python-version=3.{max(map(int, numbers))}"]
        command += [f"--dest={folder}", *(f"{name}=={number}" for name, number in wheels.items())]
        _call(command, "the aarch64 wheels", os.environ)
        files = sorted(Path(folder).glob("*.whl"))
        for file in files:
            shutil.unpack_archive(file, path / "guest" / "opt", "zip")
        hashes = {file.name: _sha256(file) for file in files}
    for cpu, part in CPUS.items():
        _root(path / cpu, part)
    said = _call([*_qemu(path), "--version"], "the emulator", os.environ)
    return {"qemu": said.split("version ")[1].split()[0], **hashes}


def _packages(into: Path, architecture: str, names: Sequence[str]) -> None:
    """Unpack Debian packages, and all that they need, into a folder, with an apt that knows of no installed package."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        for name in ("lists/partial", "archives/partial"):
            (state / name).mkdir(parents=True)
        (state / "status").touch()
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "",
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
            "Dir::State": folder,
            "Dir::State::status": str(state / "status"),
            "Dir::Cache": folder,
        }
        apt = ["apt-get", "-qq", "-y", *(f"-o{key}={value}" for key, value in options.items())]
        _call([*apt, "update"], f"Debian's list of {architecture} packages", os.environ)
        _call([*apt, "--download-only", "install", *names], f"{', '.join(names)} ({architecture})", os.environ)
        into.mkdir()
        for package in sorted((state / "archives").glob("*.deb")):
            _call(["dpkg-deb", "--extract", str(package), str(into)], package.name, os.environ)


def _root(path: Path, part: str) -> None:
    """A root for one processor: the guest's folders, and what Linux would say of the processor.

    onnxruntime's probe stops on the cpuinfo of an x86 machine.
    """
    path.mkdir()
    for folder in ("bin", "etc", "lib", "opt", "usr"):
        (path / folder).symlink_to(Path("..") / "guest" / folder)
    features = "fp asimd evtstrm crc32 cpuid" + (
        " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp" * (part == "0xd0b")
    )
    (path / "proc").mkdir()
    (path / "proc" / "cpuinfo").write_text(
        "".join(
            f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n"
            for core in range(4)
        ),
        encoding="ascii",
    )
    cores = path / "sys" / "devices" / "system" / "cpu"
    cores.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cores / name).write_text("0-3\n", encoding="ascii")


def _qemu(path: Path) -> list[str]:
    """The emulator's command: through its own loader, with its own libraries."""
    (loader,) = (path / "host").glob("lib*/ld-linux*")
    libraries = ":".join(str(path / "host" / name) for name in (f"lib/{_triplet(path)}", f"usr/lib/{_triplet(path)}"))
    return [str(loader), "--library-path", libraries, str(path / "host" / "usr" / "bin" / "qemu-aarch64")]


def _triplet(path: Path) -> str:
    (folder,) = (path / "host" / "usr" / "lib").glob("*-linux-gnu")
    return folder.name


def _compile(counter: Path) -> None:
    new = counter.with_suffix(".new")
    command = ["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC"]
    _call([*command, "-o", str(new), str(_HERE / "count.c")], "benchmarks/arm/count.c", os.environ)
    new.rename(counter)


def _call(command: Sequence[str], what: str, environment: Mapping[str, str], cure: str = _CONNECT) -> str:
    """Run a program; its stdout.

    Raises:
        WastebinError: it is not there, takes too long, or fails; `cure` is what to do then.
    """
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise WastebinError(
            f"{what}: the program {command[0]} is not there; counting needs Debian's apt and a C compiler: "
            "apt-get install apt dpkg gcc libc6-dev"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise WastebinError(f"{what}: not done after {_LIMIT_S} s, expected minutes; try again") from error
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["it said nothing"]
        raise WastebinError(f"{what}: failed with status {done.returncode} ({said[-1].strip()}), expected 0; {cure}")
    return done.stdout


def _release() -> str:
    named = platform.freedesktop_os_release()
    return named.get("VERSION_CODENAME", named["ID"])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    """Wait until nobody else fills this cache."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
