"""The trainer's branch of the error tree that starts in `device.errors`.

WastebinError
  TrainerError
    DatasetError(ValueError)    pictures, labels or splits are no use
    RecipeError(ValueError)     all problems of a recipe at once
    QuantizeError(RuntimeError) a graph that cannot be quantised, or does not come out the same
    StageMissing                an earlier step has not been run
    KeysError                   a key cannot be made or used
    LinkError(OSError)          no way to a bin
      Unreachable               nobody answers there; nothing was asked of the bin
      LinkLost                  it was cut or fell silent; what was asked may have been done
    GateError                   a model is worse than what runs now
    ShipError(RuntimeError)     a bin does not run what it was shipped
    ProvisionError(RuntimeError) a machine cannot be made a bin, or not be upgraded
"""

from collections.abc import Sequence

from device.errors import WastebinError

__all__ = [
    "DatasetError",
    "GateError",
    "KeysError",
    "LinkError",
    "LinkLost",
    "ProvisionError",
    "QuantizeError",
    "RecipeError",
    "ShipError",
    "StageMissing",
    "TrainerError",
    "Unreachable",
]


class TrainerError(WastebinError):
    """Something on the workstation that a person can mend."""


class DatasetError(TrainerError, ValueError):
    """Pictures, labels or splits cannot be used."""


class RecipeError(TrainerError, ValueError):
    """A recipe is wrong.

    Attributes:
        problems: one sentence each, all that were found.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class QuantizeError(TrainerError, RuntimeError):
    """A network cannot be quantised, or its INT8 file does not compute what was planned."""


class StageMissing(TrainerError):
    """A step needs the result of an earlier one."""


class KeysError(TrainerError):
    """A key, or the signature made with it, cannot be had."""


class LinkError(TrainerError, OSError):
    """A bin cannot be talked to."""


class Unreachable(LinkError):
    """Nobody answers there: it is off, or the network is; nothing has changed on the bin."""


class LinkLost(LinkError):
    """The link was cut or fell silent after something had been asked; the bin goes on by itself."""


class ShipError(TrainerError, RuntimeError):
    """A bin refused what it was shipped, went back from it, or answered what nobody understands."""


class GateError(TrainerError):
    """A model must not replace the one that a bin runs."""


class ProvisionError(TrainerError, RuntimeError):
    """A machine cannot be made a bin, or its program not be upgraded."""
