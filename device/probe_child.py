"""The child process in which an unproven model is run for the first time.

    probation -> python -c "...probe_child.main()" JOB -> limits -> open, golden pictures, looks -> one JSON line

A model may hang, ask for all memory, or bring the process down: here that hurts nobody. The kernel is told to kill this
process first where memory runs short, and to run it after everything else; the bin goes on sorting next door. Nothing
in here judges: it measures, and `probation` compares.
"""

import json
import math
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device.errors import BundleMismatch, PictureError, WastebinError

if TYPE_CHECKING:  # heavy, and the parent only wants the names
    from device.camera.frame import Rgb
    from device.classify import Classifier

__all__ = ["Job", "Measured", "main", "measure"]

BATCHES: Final = 4
BATCH: Final = 8
"""Inferences that are timed, so many at once: some kernels count CPU time in steps longer than one inference."""

ENOUGH_S: Final = 3.0
"""After so much CPU time no further batch is begun."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a child shall do.

    Attributes:
        bundle: folder of the model.
        looks: folder of the labelled pictures.
        threads: of one inference.
        spare_mb: memory that it may ask for beyond what it has when its libraries are loaded, in MB of 10**6 bytes.
        cpu_s: seconds of CPU, likewise, after which the kernel ends it.
    """

    bundle: str
    looks: str
    threads: int
    spare_mb: int
    cpu_s: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model does on this device.

    Attributes:
        cpu_ms: CPU time of one picture, preprocessing and inference, all threads together: the mean of the quickest
            batch, since whatever else the machine does can only add to it.
        peak_mb: most memory that the process held while it opened the model and used it, in MB of 10**6 bytes.
        answers: name of a look -> the likeliest label.
        truths: name of a look -> what a person said.
        unreadable: looks that cannot be read, a sentence each.
    """

    cpu_ms: float
    peak_mb: float
    answers: dict[str, str]
    truths: dict[str, str]
    unreadable: list[str]


def main() -> None:
    """Do the job that stands in the first argument; print `Measured`, or why the model is no use, as a line of JSON."""
    job = Job(**json.loads(sys.argv[1]))
    _step_back()
    import device.classify  # noqa: F401  the libraries are ours and trusted: what they take is not the model's

    _limit(job)
    try:
        said: dict[str, object] = asdict(measure(job))
    except WastebinError as error:
        said = {"refused": str(error)}
    except MemoryError:
        said = {"refused": f"{job.bundle}: asks for more than {job.spare_mb} MB of memory; ship a smaller model"}
    sys.stdout.write(json.dumps(said) + "\n")


def measure(job: Job) -> Measured:
    """Open a model, have it answer its golden pictures, and measure it.

    Raises:
        BundleError: it cannot be opened, or answers with something that is no number, or not with what it promised.
        ItemsError: the folder of looks may not be listed.
    """
    from device.bundle import load_bundle
    from device.classify import open_classifier

    classifier = open_classifier(load_bundle(Path(job.bundle)), threads=job.threads)
    cpu_ms = _time(classifier)
    peak_mb = _peak_mb()  # before the looks, since large pictures are not the model's fault
    answers, truths, unreadable = _answer(classifier, Path(job.looks))
    return Measured(cpu_ms, peak_mb, answers, truths, unreadable)


def _step_back() -> None:
    """Let everybody else have CPU and memory first, and yet come to an end on a busy bin."""
    os.nice(5)
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit(job: Job) -> None:
    """Bound what comes from here on: memory, CPU time, and no file may be written."""
    now_bytes = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    most_bytes = now_bytes + job.spare_mb * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    most_s = job.cpu_s + math.ceil(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _time(classifier: "Classifier") -> float:
    """CPU milliseconds of one picture; black, white and noise must get finite answers on the way."""
    import numpy as np

    noise: Rgb = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    for picture in (np.zeros_like(noise), np.full_like(noise, 255)):
        classifier.classify(picture)
    batches_s: list[float] = []
    while len(batches_s) < BATCHES and sum(batches_s) < ENOUGH_S:
        start_s = time.process_time()
        for _ in range(BATCH):
            classifier.classify(noise)
        batches_s.append(time.process_time() - start_s)
    return min(batches_s) / BATCH * 1e3


def _peak_mb() -> float:
    # Not `ru_maxrss`: that one remembers the parent from before exec.
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BundleMismatch("/proc/self/status tells no VmHWM; models are tried on Linux only")


def _answer(classifier: "Classifier", folder: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    from device.looks import find_looks
    from device.pictures import read_picture

    answers: dict[str, str] = {}
    truths: dict[str, str] = {}
    unreadable: list[str] = []
    for look in find_looks(folder):
        try:
            rgb = read_picture(look.path)
        except PictureError as error:
            unreadable.append(str(error))
            continue
        truths[look.name] = look.label
        answers[look.name] = classifier.classify(rgb).label
    return answers, truths, unreadable
