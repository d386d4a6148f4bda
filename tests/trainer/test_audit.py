"""The audit: planted wrong labels, near-copies and shortcuts are found, and the page holds all it shows."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Drawn, save
from numpy.typing import NDArray

from trainer.audit import audit_run
from trainer.audit_find import Audit, Group, audit_data
from trainer.audit_labels import SourceNoise, Suspect, find_suspects
from trainer.audit_page import render
from trainer.cli import run_app
from trainer.data import Dataset, open_dataset
from trainer.dataset import Record
from trainer.recipe import Data, Recipe, Train, load_recipe

LABELS = ("glass", "metal", "paper")
PER_LABEL = 20
SWAPPED = {"glass/03.png": "metal", "metal/07.png": "paper", "paper/11.png": "glass"}
"""File -> what it really shows."""


def texture(label: str, number: int) -> NDArray[np.uint8]:
    """Stripes, checks or grain, uint8 RGB [64, 64, 3]: nobody could take one for another."""
    rng = np.random.default_rng([LABELS.index(label), number])
    width, (dark, light) = int(rng.integers(4, 9)), rng.integers((20, 160), (100, 250))
    y, x = np.mgrid[:64, :64] + int(rng.integers(0, 9))
    lit = {"glass": x // width % 2, "metal": (x // width + y // width) % 2, "paper": rng.random((64, 64))}[label]
    tint = rng.uniform(0.8, 1.0, 3)
    return np.asarray((dark + (light - dark) * lit)[..., None] * tint, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Audited:
    """A run, its page and its recipe."""

    run: Path
    page: Path
    recipe: Recipe


@pytest.fixture(scope="module")
def audited(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """A run and its page: three pictures in the wrong folder, and one picture four times with other light."""
    top = tmp_path_factory.mktemp("audited")
    for label in LABELS:
        for number in range(PER_LABEL):
            name = f"{label}/{number:02d}.png"
            save(top / "made" / name, texture(SWAPPED.get(name, label), number + 100 * (name in SWAPPED)))
    for brighter in (1, 2, 3):
        save(top / "made" / "paper" / f"00-{brighter}.png", texture("paper", 0) + np.uint8(brighter))
    recipe = top / "strict.toml"  # all stripes are alike: only what is nearly the same picture is one object
    recipe.write_text(drawn.recipe_path.read_text().replace("[data]\n", "[data]\nsame_object = 0.998\n"))
    arguments = [f"ma<de={top / 'made'}", "--run", str(top / "run"), "--recipe", str(recipe)]
    assert run_app(["data", *arguments, "--audit", str(top / "out" / "page.html")]) == 0
    return Audited(top / "run", top / "out" / "page.html", load_recipe(str(recipe)))


def test_labels_that_were_swapped_on_purpose_are_the_surest_suspects(audited: Audited) -> None:
    name_of = {record.sha256: record.name for record in open_dataset(audited.run).records}
    head, *lines = audited.page.with_suffix(".tsv").read_text(encoding="utf-8").splitlines()
    assert head == "sha256\tgiven\tsuggested\tprob"
    rows = [line.split("\t") for line in lines]
    first = {"/".join(name_of[row[0]].split("/")[-2:]): (row[1], row[2]) for row in rows[: len(SWAPPED)]}
    assert first == {name: (name.split("/")[0], shows) for name, shows in SWAPPED.items()}
    assert all(re.fullmatch(r"[01]\.\d{3}", row[3]) for row in rows)


def test_a_group_of_near_copies_is_shown_once(audited: Audited) -> None:
    records = open_dataset(audited.run).records
    copies = {index for index, record in enumerate(records) if Path(record.name).name.startswith("00-")}
    text = audited.page.read_text(encoding="utf-8")
    shown = re.findall(r'<div class="group">.*?</div></div>', text, re.DOTALL)
    mine = [group for group in shown if all(records[index].sha256 in group for index in copies)]
    assert len(mine) == 1
    assert mine[0].startswith('<div class="group"><small>4 pictures, paper</small>')
    assert mine[0].count("<img ") == 4
    assert not any(records[index].sha256 in group for group in shown if group != mine[0] for index in copies)


def test_the_page_needs_nothing_but_itself(audited: Audited) -> None:
    text = audited.page.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]{0,24})', text)
    assert {source[:23] for source in sources if not source.startswith("#")} == {"data:image/jpeg;base64,"}
    assert not re.search(r"<script|<link|@import|url\(|http", text)
    assert "<de" not in text
    assert "ma&lt;de" in text
    for title in ("Balance", "Near-copies", "Suspected wrong labels", "Shortcuts: what a model could cheat with"):
        assert f">{title}</h2>" in text


def test_the_main_points_are_said(audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit = audit_run(audited.run, audited.recipe, tmp_path / "page.html")
    text = capsys.readouterr()
    copies, suspects = sum(len(group.members) for group in audit.groups), len(audit.suspects)
    assert text.out == ""
    assert text.err.splitlines() == [
        "audit: 63 pictures from 1 source; rarest is glass with 20; from its source alone "
        f"{audit.source_right:.0%} of what training draws can be named, with one name for all {audit.guess_right:.0%}",
        f"audit: {copies} pictures in {len(audit.groups)} groups of near-copies, largest {len(audit.groups[0].members)}"
        f", {sum(len(group.targets) > 1 for group in audit.groups)} with more than one label, "
        "0 on more than one side of the split",
        f"audit: {suspects} suspected wrong labels ({suspects / 63:.1%}); "
        f"wrong at most about: ma<de {audit.noise[0].share:.1%}",
        f"audit: {tmp_path / 'page.html'}, {tmp_path / 'page.tsv'}",
    ]


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (None, "no features to look at, this run was read by an older version"),
        (np.zeros((3, 8), np.float16), "features of 3 pictures, expected 41"),
    ],
)
def test_a_run_without_its_features_is_one_sentence(
    features: NDArray[np.float16] | None, says: str, run: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    path, page = run / "data" / "features.npy", run / "page.html"
    path.unlink()
    if features is not None:
        np.save(path, features)
    rest = ["--run", str(run), "--recipe", str(drawn.recipe_path), "--audit", str(page)]
    assert run_app(["data", f"drawn={drawn.pictures}", *rest]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {path}: {says}; read it again: rm {run / 'data' / 'stage.json'} && "
        f"trainer data SOURCES --run {run} --audit PAGE.html"
    )
    assert not page.exists()


def test_a_page_of_another_kind_is_refused_before_anything_is_read(
    tmp_path: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--run", str(tmp_path / "run"), "--recipe", str(drawn.recipe_path), "--audit", "page.tsv"]
    assert run_app(["data", f"drawn={drawn.pictures}", *rest]) == 2
    assert capsys.readouterr().err == (
        "error: --audit page.tsv: a page's name ends in .html; the list of suspects goes beside it as .tsv\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_page_that_cannot_be_written_is_one_sentence(
    run: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    page = tmp_path / "file" / "page.html"
    rest = ["--run", str(run), "--recipe", str(drawn.recipe_path), "--audit", str(page)]
    assert run_app(["data", f"drawn={drawn.pictures}", *rest]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {page}: cannot be written (File exists); give another with --audit"
    )


# What is found, on features made by hand.


def make_records(rows: Sequence[tuple[str, str]], split: str = "train") -> list[Record]:
    """A record for each (source, target), each a group of its own."""
    return [
        Record(f"{index:064x}", f"{source}/{target}/{index}.jpg", source, target, index, split)
        for index, (source, target) in enumerate(rows)
    ]


def make_dataset(records: list[Record], side_px: int = 8) -> Dataset:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(records), side_px, side_px, 3), np.uint8)
    return Dataset(records, pixels, pixels[..., 0], [], Path("split.txt"), "")


def recipe_of(**data: object) -> Recipe:
    return Recipe("tiny", "nano", 32, Data(LABELS, **data), Train(1, 1))  # type: ignore[arg-type]


def clusters(shown: Sequence[str], seed: int = 0) -> NDArray[np.float32]:
    """Features that say what is shown, float32 [N, 12]."""
    rng = np.random.default_rng(seed)
    centres = np.eye(12)[[LABELS.index(label) for label in shown]] * 6
    return (centres + rng.normal(size=centres.shape)).astype(np.float32)


def test_a_suspect_is_as_likely_as_those_that_have_the_label_and_likelier_than_what_it_was_given() -> None:
    rows = [("a", "glass"), ("a", "glass"), ("a", "metal"), ("a", "metal"), ("b", "!metal"), ("b", "!metal")]
    rows += [("b", "!metal")]
    probs = np.array(
        [
            [0.90, 0.05, 0.05],  # glass's limit: 0.5
            [0.10, 0.85, 0.05],  # reaches metal's limit, 0.5: a suspect
            [0.60, 0.40, 0.00],  # reaches glass's limit and is likelier: a suspect, but less so
            [0.40, 0.60, 0.00],
            [0.20, 0.80, 0.00],  # said not to be metal
            [0.40, 0.45, 0.15],  # reaches no limit and does not count
            [0.30, 0.50, 0.20],  # reaches metal's limit and counts, but is not likelier to be metal than not
        ],
        np.float32,
    )
    suspects, noise = find_suspects(make_records(rows), probs, LABELS)
    assert [replace(found, prob=round(found.prob, 3), given_prob=round(found.given_prob, 3)) for found in suspects] == [
        Suspect(1, "glass", "metal", 0.85, 0.1),
        Suspect(4, "!metal", "metal", 0.8, 0.2),
        Suspect(2, "metal", "glass", 0.6, 0.4),
    ]
    # Of b two pictures count, and one is wrong; the third is taken to be wrong as often.
    assert noise == (SourceNoise("a", 4, 2, 0.5, True), SourceNoise("b", 3, 1, 0.5, False))


def find(records: list[Record], features: NDArray[np.float32], **data: object) -> Audit:
    return audit_data(make_dataset(records), features, recipe_of(**data))


def test_swapped_labels_are_found_and_no_others() -> None:
    shown = [label for label in LABELS for _ in range(40)]
    given = list(shown)
    given[3], given[50], given[51], given[100] = "metal", "paper", "glass", "glass"
    features = clusters(shown)
    for index in (3, 50, 51, 100):  # plain to see: nearer the middle than most
        features[index] = 7 * np.eye(12)[LABELS.index(shown[index])]
    audit = find(make_records([("one", label) for label in given]), features)
    assert {found.index: (found.given, found.suggested) for found in audit.suspects} == {
        3: ("metal", "glass"),
        50: ("paper", "metal"),
        51: ("glass", "metal"),
        100: ("glass", "paper"),
    }
    (noise,) = audit.noise
    assert noise.share == pytest.approx(4 / 120, abs=0.01)


def test_a_wrong_label_is_found_although_its_near_copies_have_it_too() -> None:
    shown = [label for label in LABELS for _ in range(40)]
    records = make_records([("one", label) for label in shown])
    features = clusters(shown)
    # Five copies of a thing with a mark of its own: a probe that has seen one of them knows the mark.
    for index in range(5):
        features[index] = features[0] + np.eye(12, dtype=np.float32)[9] * 8
        records[index] = replace(records[index], target="paper", group=0)
    audit = find(records, features)
    assert {found.index for found in audit.suspects} == {0, 1, 2, 3, 4}
    assert audit.groups == (Group((0, 1, 2, 3, 4), ("paper",), ("train",)),)


def test_groups_say_how_many_labels_and_sides_they_have() -> None:
    records = make_records([("one", LABELS[index % 3]) for index in range(30)])
    records[7] = replace(records[7], group=2, split="val")
    records[9] = replace(records[9], group=4)
    records[10] = replace(records[10], group=4)
    audit = find(records, clusters([record.target for record in records]))
    assert audit.groups == (
        Group((4, 9, 10), ("metal", "glass"), ("train",)),
        Group((2, 7), ("paper", "metal"), ("train", "val")),
    )


def test_pairs_on_both_sides_of_the_limit_are_shown_the_closest_to_it_first() -> None:
    angles = np.radians([0, 20, 60, 85, 125, 151])  # and the same turned by half: their mean is the origin
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    features = np.concatenate([features, -features]).astype(np.float32)
    records = make_records([("one", LABELS[index % 3]) for index in range(12)])
    limit = float(np.cos(np.radians(22)))
    records[1] = replace(records[1], group=0)
    records[7] = replace(records[7], group=6)
    audit = find(records, features, same_object=limit)
    over = [(pair.left, pair.right, round(float(np.degrees(np.arccos(pair.cosine))))) for pair in audit.over]
    assert sorted(over) == [(0, 1, 20), (6, 7, 20)]
    under = [round(float(np.degrees(np.arccos(pair.cosine)))) for pair in audit.under]
    assert under == [25, 25, 26, 26, 29, 29, 40, 40, 40, 40, 55, 55]  # 49 is between the same two groups as 29


def test_shares_of_the_draws_are_those_of_training() -> None:
    rows = [("a", "glass")] * 16 + [("a", "metal")] * 3 + [("b", "metal")] * 1 + [("b", "paper")] * 25
    records = make_records(rows)
    records.append(Record("f" * 64, "", "b", "paper", 99, "val"))
    audit = find(records, clusters([record.target for record in records]), weight={"b": 3.0})
    assert audit.counts == {("a", "glass"): (16, 0, 0), ("a", "metal"): (3, 0, 0), ("b", "metal"): (1, 0, 0),
                            ("b", "paper"): (25, 0, 1)}  # fmt: skip
    # Pictures x the source's weight / the root of the label's pictures in train.
    drawn = {("a", "glass"): 16 / 4, ("a", "metal"): 3 / 2, ("b", "metal"): 3 / 2, ("b", "paper"): 3 * 25 / 5}
    expected = {key: pytest.approx(value / 22, abs=0.004) for key, value in drawn.items()}
    assert audit.draws == expected


def test_a_source_that_is_always_one_label_is_named_as_a_shortcut() -> None:
    # Board and thing are both to be seen: dimension 5 is the board of source b, which is always paper.
    rows = [("a", label) for label in LABELS for _ in range(20)] + [("b", "paper")] * 20
    features = clusters([label for _, label in rows])
    features[60:, 5] += 8
    audit = find(make_records(rows), features, weight={"b": 2.0})
    first, second = audit.shortcuts
    assert (first.source, first.implied, first.implied_share) == ("b", "paper", 1.0)
    assert (first.recognised, first.own, first.others) == (1.0, 1.0, 1.0)
    assert (second.source, second.recognised) == ("a", 1.0)
    # glass and metal: 20 / root of 20; paper: 20 / root of 40, and twice that from b.
    cell = np.array([20 / 20**0.5, 20 / 20**0.5, 20 / 40**0.5, 40 / 40**0.5])
    cell /= cell.sum()
    assert first.draws == pytest.approx(cell[3], abs=0.004)
    assert first.bits == pytest.approx(-np.log2(cell[2] + cell[3]), abs=0.02)
    targets = np.array([cell[0], cell[1], cell[2] + cell[3]])
    assert audit.label_bits == pytest.approx(-(targets * np.log2(targets)).sum(), abs=0.01)
    inside_a = cell[:3] / cell[:3].sum()
    left = -(inside_a * np.log2(inside_a)).sum() * cell[:3].sum()
    assert audit.source_bits == pytest.approx(audit.label_bits - left, abs=0.01)
    assert audit.source_right == pytest.approx(cell[:3].max() + cell[3], abs=0.01)
    assert audit.guess_right == pytest.approx(targets.max(), abs=0.01)
    assert [(noise.source, noise.is_judged) for noise in audit.noise] == [("a", True), ("b", False)]


def test_a_source_whose_look_does_the_work_is_named_wrong_by_the_others() -> None:
    # In b things look like nothing else: only its own pictures tell what they are.
    rows = [(source, label) for source in "ab" for label in LABELS for _ in range(20)]
    features = clusters([label for _, label in rows])
    features[60:] = np.roll(features[60:], 4, axis=1)
    audit = find(make_records(rows), features)
    found = {shortcut.source: shortcut for shortcut in audit.shortcuts}
    assert found["b"].own == pytest.approx(1.0, abs=0.05)
    assert found["b"].others is not None
    assert found["b"].others < 0.6


def test_a_source_that_training_draws_nothing_of_is_no_shortcut() -> None:
    records = make_records([("a", LABELS[index % 3]) for index in range(30)])
    records += [Record("e" * 64, "", "b", "glass", 77, "val"), Record("f" * 64, "", "b", "glass", 78, "val")]
    audit = find(records, clusters([record.target for record in records]))
    assert [shortcut.source for shortcut in audit.shortcuts] == ["a"]


def test_the_page_stays_below_six_megabytes_however_many_pictures_there_are() -> None:
    # Pictures of pure noise are the largest that JPEG makes; all are suspects, and all are near-copies.
    count = 700
    records = [
        replace(record, group=index // 10)
        for index, record in enumerate(make_records([(f"s{i % 7}", LABELS[i % 3]) for i in range(count)]))
    ]
    dataset = make_dataset(records, side_px=128)
    audit = audit_data(dataset, clusters([record.target for record in records]), recipe_of())
    many = replace(audit, suspects=tuple(Suspect(i, "glass", "metal", 0.9, 0.1) for i in range(count)))
    text = render(many, dataset, Path("runs/x"), recipe_of(), ("a < b",))
    assert text.count('<figure class="card">') == 7 * (240 // 7)  # of each source as many
    assert 300_000 < len(text) < 6_000_000
    assert "<li>a &lt; b</li>" in text


def test_the_audit_leaves_the_run_as_it_was(run: Path, drawn: Drawn, tmp_path: Path) -> None:
    before = shutil.copytree(run / "data", tmp_path / "before")
    audit_run(run, drawn.recipe, tmp_path / "page.html")
    for path in sorted(before.iterdir()):
        assert (run / "data" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in (run / "data").iterdir()) == sorted(path.name for path in before.iterdir())
