"""Audit: a run's pictures -> one page to look at, and a list of suspects beside it.

data/ -> audit_data -> PAGE.html + PAGE.tsv + three lines for a person
"""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import UsageError
from trainer.audit_find import Audit, audit_data
from trainer.audit_page import render
from trainer.data import open_dataset
from trainer.errors import DatasetError, TrainerError
from trainer.progress import console
from trainer.recipe import Recipe
from trainer.stage import write_atomic

__all__ = ["audit_run", "check_page", "summarise"]


def check_page(page: Path) -> None:
    """Refuse a name that would be known to be wrong only after minutes of reading.

    Raises:
        UsageError: it does not end in .html.
    """
    if page.suffix != ".html":
        raise UsageError(f"--audit {page}: a page's name ends in .html; the list of suspects goes beside it as .tsv")


def audit_run(run: Path, recipe: Recipe, page: Path) -> Audit:
    """Look at a run's pictures, write the page and the list beside it, and say the main points.

    The list has one line a suspect, the surest first: `sha256 given suggested prob`, separated by tabs.

    Raises:
        StageMissing: the data step has not been run.
        DatasetError: it was run by a version that did not keep the features.
        TrainerError: the page cannot be written.
    """
    dataset = open_dataset(run)
    audit = audit_data(dataset, _read_features(run, len(dataset.records)), recipe)
    points = summarise(audit)
    text = render(audit, dataset, run, recipe, points)
    lines = ["sha256\tgiven\tsuggested\tprob"] + [
        f"{dataset.records[suspect.index].sha256}\t{suspect.given}\t{suspect.suggested}\t{suspect.prob:.3f}"
        for suspect in audit.suspects
    ]
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(page.with_suffix(".tsv"), "".join(f"{line}\n" for line in lines).encode())
        write_atomic(page, text.encode())
    except OSError as error:
        raise TrainerError(f"{page}: cannot be written ({error.strerror}); give another with --audit") from error
    for point in points:
        console.print(f"audit: {point}", soft_wrap=True)
    console.print(f"audit: {page}, {page.with_suffix('.tsv')}", soft_wrap=True)
    return audit


def summarise(audit: Audit) -> tuple[str, str, str]:
    """The main points: balance and shortcut, near-copies, suspects."""
    totals: Counter[str] = Counter()
    for (_, target), counts in audit.counts.items():
        totals[target] += sum(counts)
    rarest, few = min(totals.items(), key=lambda item: (item[1], item[0]))
    total = sum(totals.values())
    grouped = sum(len(group.members) for group in audit.groups)
    mixed = sum(len(group.targets) > 1 for group in audit.groups)
    cut = sum(len(group.splits) > 1 for group in audit.groups)
    largest = len(audit.groups[0].members) if audit.groups else 0
    worst = sorted((noise for noise in audit.noise if noise.is_judged), key=lambda noise: -noise.share)[:3]
    return (
        f"{total} pictures from {len(audit.noise)} source{'s' * (len(audit.noise) > 1)}; "
        f"rarest is {rarest} with {few}; from its source alone "
        f"{audit.source_right:.0%} of what training draws can be named, with one name for all {audit.guess_right:.0%}",
        f"{grouped} pictures in {len(audit.groups)} groups of near-copies, largest {largest}, "
        f"{mixed} with more than one label, {cut} on more than one side of the split",
        f"{len(audit.suspects)} suspected wrong labels ({len(audit.suspects) / total:.1%}); wrong at most about: "
        + (", ".join(f"{noise.source} {noise.share:.1%}" for noise in worst) or "no source with more than one label"),
    )


def _read_features(run: Path, pictures: int) -> NDArray[np.float32]:
    path = run / "data" / "features.npy"
    try:
        features = np.load(path)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: no features to look at, this run was read by an older version; "
            f"read it again: rm {run / 'data' / 'stage.json'} && trainer data SOURCES --run {run} --audit PAGE.html"
        ) from error
    if len(features) != pictures:
        raise DatasetError(
            f"{path}: features of {len(features)} pictures, expected {pictures}; "
            f"read it again: rm {run / 'data' / 'stage.json'} && trainer data SOURCES --run {run} --audit PAGE.html"
        )
    return np.asarray(features, dtype=np.float32)
