"""Compare: several runs -> what each ingredient brought, and how much chance there is in a figure. Pure.

Two runs are compared on the pictures of *val* that both answered, by McNemar's test (1947); runs of the same recipe
with other seeds say how far one run's figure can be off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from trainer.findings import Findings, right_of
from trainer.stats import Paired, Spread, mcnemar_p, spread

__all__ = ["Again", "Ingredient", "compare_runs", "differences", "repeat_runs"]


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A run that lacks something the main run has, or has something that it lacks.

    Attributes:
        run, name: its folder and its recipe's name.
        differs: what is other, from the main run to it, one phrase each.
        seeds: how many pairs of runs with the same seed are counted together.
        leading, labelled: INT8 files on the first source, and on every labelled picture of *val*; `wrong` is the main
            run's, `other_wrong` this one's.
    """

    run: str
    name: str
    differs: tuple[str, ...]
    seeds: int
    leading: Paired
    labelled: Paired


@dataclass(frozen=True, slots=True)
class Again:
    """The same recipe once more.

    Attributes:
        what: "seeds" for other seeds on the same pictures of *val*, "splits" for other pictures.
        runs: folder -> seed.
        figures: what -> mean and standard deviation.
    """

    what: str
    runs: dict[str, int]
    figures: dict[str, Spread]


def differences(main: Findings, other: Findings) -> tuple[str, ...]:
    """What is other in the second run's recipe and teacher, apart from names, seeds and licences."""
    ours, theirs = _essence(main), _essence(other)
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return tuple(f"{key}: {_show(ours.get(key))} → {_show(theirs.get(key))}" for key in keys)


def compare_runs(main: Findings, others: Sequence[Findings]) -> list[Ingredient]:
    """Every recipe for the same network that is not the main run's, pooled over seeds that both have."""
    groups: dict[tuple[str, ...], list[Findings]] = {}
    for other in others:
        differs = differences(main, other)
        if differs and other.recipe.net == main.recipe.net and other.answers is not None:
            groups.setdefault(differs, []).append(other)
    same = {run.recipe.train.seed: run for run in [*reversed(others), main] if not differences(main, run)}
    found = []
    for differs, runs in groups.items():
        pairs = [(same[run.recipe.train.seed], run) for run in runs if run.recipe.train.seed in same]
        pairs = pairs or [(main, runs[0])]
        pairs = [(ours, theirs) for ours, theirs in pairs if ours.answers is not None]
        if pairs:
            leading, labelled = _pair(pairs, main.leading), _pair(pairs, None)
            first = runs[0]
            found.append(Ingredient(str(first.run), first.recipe.name, differs, len(pairs), leading, labelled))
    return found


def repeat_runs(main: Findings, others: Sequence[Findings]) -> list[Again]:
    """Mean and standard deviation over runs of the main run's recipe: other seeds, and other splits, apart."""
    again = [run for run in others if not differences(main, run) and run.answers is not None]
    if main.answers is None:
        return []
    ours = right_of(main.answers, "int8").keys()
    seeds = [run for run in again if run.answers is not None and right_of(run.answers, "int8").keys() == ours]
    splits = [run for run in again if run not in seeds]
    return [
        Again(what, {str(run.run): run.recipe.train.seed for run in runs}, _figures(runs))
        for what, runs, rest in (("seeds", [main, *seeds], seeds), ("splits", [main, *splits], splits))
        if rest
    ]


def _essence(run: Findings) -> dict[str, object]:
    """What makes a run what it is: its recipe's values, flat, and whether and by whom it was taught."""
    recipe = asdict(run.recipe)
    recipe["data"].pop("licence")
    recipe["train"].pop("seed")
    recipe.pop("name")
    return {**_flat(recipe, ""), "taught by": run.taught_by}


def _flat(table: Mapping[str, object], before: str) -> dict[str, object]:
    rows: dict[str, object] = {}
    for key, value in table.items():
        rows |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return rows


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _pair(pairs: Sequence[tuple[Findings, Findings]], source: str | None) -> Paired:
    pictures = wrong = other_wrong = only = only_other = 0
    for main, other in pairs:
        if main.answers is None or other.answers is None:
            continue
        ours, theirs = right_of(main.answers, "int8", source), right_of(other.answers, "int8", source)
        for digest in ours.keys() & theirs.keys():
            pictures += 1
            wrong += not ours[digest]
            other_wrong += not theirs[digest]
            only += ours[digest] and not theirs[digest]
            only_other += theirs[digest] and not ours[digest]
    return Paired(pictures, wrong, other_wrong, only, only_other, mcnemar_p(only, only_other))


def _figures(runs: Sequence[Findings]) -> dict[str, Spread]:
    """Every figure that all of the runs have."""
    tables = [_figures_of(run) for run in runs]
    return {name: spread([table[name] for table in tables]) for name in tables[0] if all(name in t for t in tables)}


def _figures_of(run: Findings) -> dict[str, float]:
    rows: dict[str, float] = {}
    scores = (run.evaluate or {}).get("int8", {})
    if run.leading in scores:
        first = scores[run.leading]
        rows = {f"accuracy, {run.leading}": first["accuracy"], f"macro-F1, {run.leading}": first["macro_f1"]}
        rows |= {f"recall of {label}, {run.leading}": value for label, value in first["recall"].items()}
    rows |= {f"accuracy, {source}": row["accuracy"] for source, row in scores.items() if source != run.leading}
    if run.probes:
        rows |= {f"accuracy, {row['source']} (field)": row["accuracy"] for row in run.probes.get("field", [])}
    return rows
