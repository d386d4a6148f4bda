"""Taught: what `teach` left behind: tuned networks, the witness, and what they say of every view.

teach/<net>/teacher.pt, teach/answers.npy -> load_teachers, teacher_answers -> lessons, evaluate
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.checkpoint import read_checkpoint
from trainer.errors import TrainerError
from trainer.nets import RANDOM, Net
from trainer.stage import Stage
from trainer.teachers import build_teacher
from trainer.witness import Witness, open_witness

__all__ = ["Teachers", "folder_of", "has_teachers", "load_teacher", "load_teachers", "teacher_answers"]


def folder_of(net: str) -> str:
    """A network's name as a folder's."""
    return net.replace(":", "-")


def has_teachers(run: Path) -> bool:
    """Whether this run's teachers are finished; a run without any can teach with its student."""
    return (run / "teach" / "stage.json").is_file()


def teacher_answers(run: Path) -> NDArray[np.float16]:
    """The teachers' opinion of every view, log-probabilities (with a witness: unnormalised), float16 [N, K].

    Raises:
        StageMissing: `trainer teach` has not been run.
    """
    Stage.result_of(run, "teach")
    return np.asarray(np.load(run / "teach" / "answers.npy"))


class Teachers(nn.Module):
    """Several networks as one: the mean of their log-probabilities, and a share of the witness's evidence."""

    def __init__(self, nets: list[Net], witness: Witness | None = None, weight: float = 0.0) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.witness = witness
        self.weight = weight

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 [N, 3, S, S], normalised -> [N, K]."""
        opinion = torch.stack([torch.log_softmax(net(pixels)[0], 1) for net in self.nets]).mean(0)
        return opinion if self.witness is None else opinion + self.weight * self.witness(pixels)


def load_teachers(run: Path) -> Teachers:
    """The tuned teachers of a run, to be asked about pictures that are not among its views.

    Raises:
        StageMissing: `trainer teach` has not been run.
        TrainerError: the witness's wheel is missing.
    """
    _, result = Stage.result_of(run, "teach")
    nets = [load_teacher(run, name) for name in result["nets"]]
    witness = None
    if result["witness"]:
        witness = open_witness(result["labels"])
        witness.usual.copy_(torch.tensor(result["usual"]))
    return Teachers(nets, witness, result["witness"]).eval().requires_grad_(False)


def load_teacher(run: Path, name: str) -> Net:
    """One tuned teacher of a run.

    Raises:
        StageMissing: `trainer teach` has not been run.
        TrainerError: it is none of its teachers.
    """
    _, result = Stage.result_of(run, "teach")
    if name not in result["nets"]:
        raise TrainerError(f"{run}: has taught {', '.join(result['nets'])}, not {name!r}; name one of them")
    net = build_teacher(name, len(result["labels"]), RANDOM)
    net.load_state_dict(read_checkpoint(run / "teach" / folder_of(name) / "teacher.pt")["net"])
    return net
