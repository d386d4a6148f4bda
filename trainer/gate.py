"""Gate: may this model go to a bin? It is compared with what the bin runs now, on the same pictures.

    bundle, reference bundles + pictures that neither was trained on -> name_all -> judge -> Verdict

Two models differ by chance on a few hundred pictures, so a difference is tested pair by pair (McNemar 1947). Refused is
what is worse, what loses a material, and what unlearns more of the people's corrections than it learns: a bin that
forgets what it was told is not told again. It must never be asked about pictures that the model was trained on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.classify import Classifier
from trainer.crew import in_order
from trainer.data import Dataset
from trainer.dataset import Record
from trainer.evaluate import originals
from trainer.progress import track
from trainer.stats import mcnemar_p

__all__ = ["Compared", "Verdict", "judge", "name_all", "withheld"]

_P = 0.05
"""A difference that chance would make more rarely than this counts."""

_FEW = 8
"""A material with fewer pictures than this is not judged by itself."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate against one reference.

    Attributes:
        reference: what it was compared with, in words.
        reasons: why it must not replace it, a sentence each; none when it may.
        right, right_before: of `pictures` that are no corrections, how many the candidate and the reference name right.
        changed: of these, how many they name otherwise.
        corrections, corrected, corrected_before: how many corrections there are, and how many each names right.
    """

    reference: str
    reasons: tuple[str, ...]
    pictures: int
    right: int
    right_before: int
    changed: int
    corrections: int
    corrected: int
    corrected_before: int

    def sentences(self) -> list[str]:
        """What people are told."""
        said = []
        if self.corrections:
            said.append(
                f"of your {self.corrections} corrections kept out of training {self.corrected} are right now "
                f"({self.corrected_before} before, {self.reference})"
            )
        others = "others" if self.corrections else "pictures"
        said.append(
            f"{self.changed} of {self.pictures} {others} changed: {self.right} right now, {self.right_before} before "
            f"({self.reference})"
        )
        return said


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's word on a candidate, against every reference."""

    compared: tuple[Compared, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is refused; empty when it may pass."""
        return tuple(reason for one in self.compared for reason in one.reasons)


def withheld(dataset: Dataset, labels: Sequence[str]) -> list[Record]:
    """The labelled pictures of *val*."""
    return [record for record in dataset.records if record.split == "val" and record.target in labels]


def name_all(bundle: Bundle, dataset: Dataset, records: Sequence[Record]) -> list[str]:
    """The label that a bundle gives each picture, through the device's own code, Arm-exact.

    Raises:
        DatasetError: a picture is not what `trainer data` read.
    """
    asked: list[str] = []

    def tasks() -> Iterator[Callable[[Classifier], str]]:
        for record, decode in originals(dataset.sources, records):
            asked.append(record.sha256)
            yield partial(_name, decode)

    said = list(track(in_order(tasks(), lambda: Classifier(bundle)), f"asking {bundle.name}", len(records)))
    found = dict(zip(asked, said, strict=True))
    return [found[record.sha256] for record in records]


def _name(decode: Callable[[], NDArray[np.uint8]], classifier: Classifier) -> str:
    return classifier.classify(decode()).label


def judge(
    records: Sequence[Record], named: Sequence[str], before: Mapping[str, Sequence[str]], corrected: frozenset[str]
) -> Verdict:
    """Compare what a candidate names with what each reference named.

    Args:
        records: the pictures.
        named: per picture, the candidate's label.
        before: reference in words -> per picture, its label.
        corrected: sources whose pictures are people's corrections.
    """
    return Verdict(tuple(_compare(records, named, words, said, corrected) for words, said in before.items()))


def _compare(
    records: Sequence[Record], named: Sequence[str], words: str, said: Sequence[str], corrected: frozenset[str]
) -> Compared:
    truth = np.array([record.target for record in records])
    own = np.array([record.source in corrected for record in records], dtype=bool)
    now, then = np.array(named) == truth, np.array(said) == truth
    gained, lost = now & ~then, then & ~now
    reasons = []
    few, many = int((gained & ~own).sum()), int((lost & ~own).sum())
    p = mcnemar_p(few, many)
    if many > few and p < _P:
        reasons.append(
            f"worse than {words}: wrong on {many} pictures that it names right, right on {few} that it does not "
            f"(p = {p:.2g}); train longer, or on more pictures"
        )
    for label in dict.fromkeys(record.target for record in records):
        reason = _lost_material(label, now[truth == label], then[truth == label], words)
        if reason:
            reasons.append(reason)
    learnt, unlearnt = int((gained & own).sum()), int((lost & own).sum())
    if unlearnt > learnt:
        reasons.append(
            f"breaks corrections: {unlearnt} that {words} names right are wrong now, {learnt} that it does not are "
            "right; pull the corrections and train on them too"
        )
    changed = np.array(named) != np.array(said)
    return Compared(
        reference=words, reasons=tuple(reasons), pictures=int((~own).sum()), right=int((now & ~own).sum()),
        right_before=int((then & ~own).sum()), changed=int((changed & ~own).sum()), corrections=int(own.sum()),
        corrected=int((now & own).sum()), corrected_before=int((then & own).sum()),
    )  # fmt: skip


def _lost_material(label: str, now: NDArray[np.bool_], then: NDArray[np.bool_], words: str) -> str | None:
    few, many = int((now & ~then).sum()), int((then & ~now).sum())
    is_gone = not now.any() and then.any()
    if len(now) < _FEW or not (is_gone or (many > few and mcnemar_p(few, many) < _P)):
        return None
    return (
        f"loses {label}: names {int(now.sum())} of {len(now)} right, {words} {int(then.sum())}; look at its pictures "
        "with: trainer data --audit"
    )
