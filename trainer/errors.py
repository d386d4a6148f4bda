"""The trainer's branch of the error tree that starts in `device.errors`.

WastebinError
  TrainerError
    DatasetError(ValueError)    pictures, labels or splits are no use
    RecipeError(ValueError)     all problems of a recipe at once
    QuantizeError(RuntimeError) a graph that cannot be quantised, or does not come out the same
    StageMissing                an earlier step has not been run
"""

from collections.abc import Sequence

from device.errors import WastebinError

__all__ = ["DatasetError", "QuantizeError", "RecipeError", "StageMissing", "TrainerError"]


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
