"""Runs against runs: what differs, on which pictures, and by how much chance alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import RECIPE, seeded, write_probes, write_run
from made_runs import probes as made_probes

from trainer.compare import Again, compare_runs, differences, repeat_runs
from trainer.findings import Findings, read_findings
from trainer.recipe import Recipe
from trainer.stats import Paired, Spread


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Findings]:
    """Main and control with two seeds each, another recipe, another network, another split."""
    pictures = tmp_path / "pictures"
    taught = {"teacher": "runs/teacher"}
    shorter = replace(RECIPE, name="short", train=replace(RECIPE.train, epochs=1, seed=9))
    wide = replace(RECIPE, name="wide", net="lite0")

    def run(name: str, recipe: Recipe, **more: object) -> Findings:
        path = write_run(tmp_path / name, pictures, net=recipe.net, **more)  # type: ignore[arg-type]
        return read_findings(path, recipe, tmp_path)

    return {
        "main": run("main", RECIPE, int8_wrong=[0, 12], **taught),
        "again": run("again", seeded(2), int8_wrong=[0, 1, 2], **taught),
        "control": run("control", RECIPE, int8_wrong=[1, 2, 3], **{}),
        "control2": run("control2", seeded(2), int8_wrong=[0, 4]),
        "short": run("short", shorter, int8_wrong=range(12), **taught),
        "wide": run("wide", wide, **taught),
        "fold": run("fold", RECIPE, first=5, **taught),
    }


def test_what_differs_is_said_in_words_and_seed_name_and_licence_do_not_count(made: dict[str, Findings]) -> None:
    assert differences(made["main"], made["again"]) == ()
    assert differences(made["main"], made["control"]) == ("taught by: runs/teacher → none",)
    assert differences(made["main"], made["short"]) == ("train.epochs: 2 → 1",)
    assert differences(made["main"], made["wide"]) == ("net: nano → lite0",)


def test_runs_are_paired_by_seed_and_counted_together(made: dict[str, Findings]) -> None:
    others = [made[name] for name in ("again", "control2", "control", "short", "wide")]
    control, short = compare_runs(made["main"], others)
    assert (control.run, control.differs, control.seeds) == (
        str(made["control2"].run), ("taught by: runs/teacher → none",), 2,
    )  # fmt: skip
    # Seed 1: main errs on 0 of lab, the control on 1, 2, 3. Seed 2: 0, 1, 2 against 0, 4.
    assert control.leading == Paired(24, 4, 5, 3 + 1, 1 + 2, 1.0)
    assert control.labelled == Paired(30, 5, 5, 3 + 1, 2 + 2, 1.0)
    # No run of the short recipe has a seed of ours: one pair, with the main run.
    assert (short.seeds, short.leading) == (1, Paired(12, 1, 12, 11, 0, pytest.approx(2 / 2**11)))


def test_another_network_is_no_ingredient(made: dict[str, Findings]) -> None:
    assert compare_runs(made["main"], [made["wide"], made["again"]]) == []


def test_only_pictures_that_both_answered_count(made: dict[str, Findings]) -> None:
    other = replace(made["fold"], distill={**(made["fold"].distill or {}), "teacher": "None"})
    (row,) = compare_runs(made["main"], [other])
    assert row.leading.pictures == 7  # 12 of lab each, moved by five


def test_seeds_and_splits_are_summed_up_apart(made: dict[str, Findings], tmp_path: Path) -> None:
    for name in ("main", "again"):
        write_probes(made[name].run, made_probes())
        made[name] = read_findings(made[name].run, made[name].recipe, tmp_path)
    seeds, splits = repeat_runs(made["main"], [made["again"], made["control"], made["fold"]])
    assert (seeds.what, seeds.runs) == ("seeds", {str(made["main"].run): 1, str(made["again"].run): 2})
    accuracy = seeds.figures["accuracy, lab"]
    assert (accuracy.runs, accuracy.mean) == (2, pytest.approx((11 + 9) / 24, abs=1e-4))
    assert accuracy.sd == pytest.approx(2 / 12 / 2**0.5, abs=1e-4)
    assert seeds.figures["accuracy, phone (field)"] == Spread(2, 0.65, 0.0)
    assert seeds.figures["recall of glass, lab"].mean == pytest.approx(3 / 4)
    assert (splits.what, list(splits.runs)) == ("splits", [str(made["main"].run), str(made["fold"].run)])
    assert "accuracy, phone (field)" not in splits.figures  # the fold was not probed
    assert isinstance(splits, Again)


def test_a_run_alone_says_nothing_of_chance(made: dict[str, Findings]) -> None:
    assert repeat_runs(made["main"], [made["control"]]) == []
