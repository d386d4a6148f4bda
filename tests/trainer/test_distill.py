"""Training resumes to the very same student, is skipped when nothing changed, and refuses what does not fit."""

import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from bundles import manifest
from conftest import LABELS, Drawn, StopsAfter

from device.bundle import Resize
from device.preprocess import preprocess
from device.simulator.drawings import TRAINING_SHAPES
from trainer.checkpoint import read_checkpoint
from trainer.cli import run_app
from trainer.data import open_dataset
from trainer.distill import distill
from trainer.draws import TrainingPictures, draw_epoch, normalise
from trainer.errors import StageMissing, TrainerError
from trainer.nets import RANDOM, build_net
from trainer.progress import console
from trainer.recipe import Finish, Recipe
from trainer.stage import Stage
from trainer.student import load_student

Weights = dict[str, torch.Tensor]


def weights(run: Path) -> Weights:
    made: Weights = torch.load(run / "distill" / "student.pt", weights_only=True)["net"]
    return made


def same(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def history(run: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = Stage.result_of(run, "distill")[1]["history"]
    return rows


def figures(run: Path) -> list[tuple[float, float]]:
    return [(row["loss"], row["tune_right"]) for row in history(run)]


# What an epoch shows


def test_an_epoch_draws_from_train_alone_and_the_same_each_time(finished: Path, drawn: Drawn) -> None:
    dataset, recipe = open_dataset(finished), drawn.recipe
    order = draw_epoch(dataset, recipe, 1)
    assert order == draw_epoch(dataset, recipe, 1)
    assert order != draw_epoch(dataset, recipe, 2)
    assert len(order) == recipe.train.pictures_per_epoch + recipe.drawings.per_epoch
    photographs = {index for index, _ in order if index >= 0}
    assert photographs <= set(dataset.indices("train"))
    drawings = [-1 - index for index, _ in order if index < 0]
    assert len(drawings) == recipe.drawings.per_epoch
    assert set(drawings) <= set(range(recipe.drawings.per_label * len(LABELS)))
    assert len({seed for _, seed in order}) == len(order)


def test_rare_labels_are_drawn_more_often_and_weights_count(finished: Path, drawn: Drawn) -> None:
    dataset = open_dataset(finished)
    recipe = replace(drawn.recipe, train=replace(drawn.recipe.train, pictures_per_epoch=20_000))
    shown = Counter(dataset.records[index].target for index, _ in draw_epoch(dataset, recipe, 0) if index >= 0)
    count = Counter(dataset.records[index].target for index in dataset.indices("train"))
    # The chance of a target goes with the root of its pictures: n / sqrt(n).
    total = sum(size**0.5 for size in count.values())
    for target, size in count.items():
        assert shown[target] / 20_000 == pytest.approx(size**0.5 / total, abs=0.015)
    rows = [replace(record, source="rare" if record.target == "metal" else "drawn") for record in dataset.records]
    heavy = replace(recipe, data=replace(recipe.data, weight={"rare": 3.0}))
    tripled = Counter(
        rows[index].target for index, _ in draw_epoch(replace(dataset, records=rows), heavy, 0) if index >= 0
    )
    odds = (tripled["metal"] / tripled["glass"]) / (shown["metal"] / shown["glass"])
    assert odds == pytest.approx(3.0, rel=0.06)


def test_a_picture_comes_with_the_labels_that_are_right_for_it(finished: Path, drawn: Drawn) -> None:
    dataset = open_dataset(finished)
    pictures = TrainingPictures(dataset, drawn.recipe)
    hand = next(index for index in dataset.indices("train") if dataset.records[index].target == "!glass")
    metal = next(index for index in dataset.indices("train") if dataset.records[index].target == "metal")
    # Drawings lie in the labels' order, two of each.
    pictures.order = [(metal, 1), (hand, 2), (-1, 3), (-2, 4), (-3, 5), (-6, 6)]
    made = [pictures[position] for position in range(len(pictures))]
    assert [allowed.tolist() for _, allowed in made] == [
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 1.0],
        [1.0, 0.0, 0.0],
        [1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, 0.0, 1.0],
    ]
    assert {(rgb.dtype.name, rgb.shape) for rgb, _ in made} == {("uint8", (32, 32, 3))}
    again, _ = pictures[0]
    assert np.array_equal(again, made[0][0])
    assert all(TRAINING_SHAPES[label] for label in LABELS)


def test_training_sees_what_the_device_will_feed() -> None:
    spec = replace(manifest().input, shape=(1, 3, 32, 32), resize=Resize(32, 32, "area", "linear"), scale=1 / 128)
    rgb = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    trained = normalise(torch.from_numpy(rgb[None])).numpy()
    numbers = preprocess(rgb, spec).astype(np.float32)
    np.testing.assert_allclose(trained, (numbers - spec.zero_point) * spec.scale, atol=1e-7)


# The whole way


def test_a_student_is_trained_and_can_be_loaded(finished: Path, drawn: Drawn) -> None:
    result = Stage.result_of(finished, "distill")[1]
    assert (result["net"], result["labels"], result["teacher"]) == ("nano", list(LABELS), "None")
    assert len(history(finished)) == 4
    assert all(np.isfinite(loss) and 0 <= right <= 1 for loss, right in figures(finished))
    student = load_student(finished, drawn.recipe)
    assert student.training is False
    logits, features = student(torch.zeros(2, 3, 32, 32))
    assert (logits.shape, features.shape) == ((2, 3), (2, 112))


def test_frozen_stages_keep_their_weights_and_statistics_and_others_do_not(finished: Path) -> None:
    before, after = build_net("nano", 3).state_dict(), weights(finished)
    changed = {
        name.split(".")[1]
        for name in after
        if name.startswith("stages.") and not torch.equal(after[name], before[name])
    }
    assert changed == {"4", "5"}


def test_an_unchanged_step_is_skipped(finished: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]) -> None:
    stamp = (finished / "distill" / "student.pt").stat().st_mtime_ns
    distill(finished, drawn.recipe)
    assert (finished / "distill" / "student.pt").stat().st_mtime_ns == stamp
    assert "distill: unchanged" in capsys.readouterr().err


def test_a_changed_recipe_trains_anew_from_the_start(run: Path, drawn: Drawn) -> None:
    changed = replace(drawn.recipe, train=replace(drawn.recipe.train, epochs=1, peak_lr=5e-3), finish=Finish())
    before = weights(run)
    distill(run, changed)
    assert len(history(run)) == 1
    assert not same(weights(run), before)


def test_without_data_there_is_nothing_to_train_on(tmp_path: Path, drawn: Drawn) -> None:
    with pytest.raises(StageMissing, match="data: this step has not been finished; run: trainer data --run"):
        distill(tmp_path / "run", drawn.recipe)


# Cut off


# Ctrl-C as a terminal sends it, to helpers too, in the middle of the second epoch.
CHILD = """
import os, signal, sys
from trainer.cli import run_app
from trainer.progress import console

class Screen:
    def write(self, text):
        sys.stderr.write(text)
        if "epoch 1/" in text:
            os.killpg(os.getpgrp(), signal.SIGINT)
    def flush(self):
        sys.stderr.flush()

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job that a shell puts behind ignores it
console.file = Screen()
sys.exit(run_app(sys.argv[1:]))
"""


def test_what_was_cut_off_goes_on_to_the_very_same_student(
    fresh: Path, finished: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["distill", "--run", str(fresh), "--recipe", str(drawn.recipe_path)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, start_new_session=True, check=False
    )
    said = done.stderr.splitlines()
    assert (done.returncode, said[-1]) == (130, "stopped; run the same command again to go on"), done.stderr
    assert [line.split()[:2] for line in said[:-1]] == [["epoch", f"{n + 1}/4"] for n in range(len(said) - 1)]
    assert not (fresh / "distill" / "student.pt").exists()
    kept = len(torch.load(fresh / "distill" / "last.pt", weights_only=True)["history"])
    assert kept == len(said) - 1 >= 1  # at most the epoch that was under way is lost
    distill(fresh, drawn.recipe)
    assert f"distill: going on after epoch {kept}" in capsys.readouterr().err
    assert figures(fresh) == figures(finished)
    assert same(weights(fresh), weights(finished))


class FullAfter:
    """A screen that leaves no room on the disk once it has read something."""

    def __init__(self, what: str) -> None:
        self._what = what

    def write(self, text: str) -> None:
        if self._what in text:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def flush(self) -> None:
        pass


def test_a_disk_that_fills_up_costs_the_epoch_that_was_under_way_and_no_other(
    fresh: Path, finished: Path, drawn: Drawn
) -> None:
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    console.file = FullAfter("epoch 2/4")  # type: ignore[assignment]
    try:
        with pytest.raises(TrainerError, match=r"last\.pt: cannot be written \(File too large\), expected room for "):
            distill(fresh, drawn.recipe)
    finally:
        console.file = None  # type: ignore[assignment]
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    assert len(read_checkpoint(fresh / "distill" / "last.pt")["history"]) == 2
    distill(fresh, drawn.recipe)
    assert figures(fresh) == figures(finished)
    assert same(weights(fresh), weights(finished))


@pytest.mark.parametrize("epoch", [2, 3], ids=["before the finish", "in the finish"])
def test_the_finish_is_gone_on_with_as_well(fresh: Path, finished: Path, drawn: Drawn, epoch: int) -> None:
    console.file = StopsAfter(f"epoch {epoch}/4")  # type: ignore[assignment]
    try:
        with pytest.raises(KeyboardInterrupt):
            distill(fresh, drawn.recipe)
    finally:
        console.file = None  # type: ignore[assignment]
    distill(fresh, drawn.recipe)
    assert figures(fresh) == figures(finished)
    assert same(weights(fresh), weights(finished))


def test_what_another_recipe_left_is_not_gone_on_with(fresh: Path, finished: Path, drawn: Drawn) -> None:
    short = replace(drawn.recipe, train=replace(drawn.recipe.train, epochs=1), finish=Finish())
    # Cut off under another recipe: its checkpoint lies there, and its name is on it.
    shutil.copytree(finished / "distill", fresh / "distill")
    (fresh / "distill" / "stage.json").unlink()
    distill(fresh, short)
    assert len(history(fresh)) == 1


def test_a_damaged_checkpoint_is_one_sentence_and_stays(fresh: Path, finished: Path, drawn: Drawn) -> None:
    shutil.copytree(finished / "distill", fresh / "distill")
    (fresh / "distill" / "stage.json").unlink()
    (fresh / "distill" / "last.pt").write_bytes(b"PK")
    with pytest.raises(TrainerError, match=r"last\.pt: a checkpoint that cannot be read .*; remove .*distill and run"):
        distill(fresh, drawn.recipe)
    assert (fresh / "distill" / "last.pt").read_bytes() == b"PK"


# Where it starts from


STEM = "stages.0.0.weight"
"""Of a frozen stage: after training as it was at the start."""


def test_a_student_starts_from_imagenet_at_random_or_from_a_file(
    fresh: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = replace(drawn.recipe, train=replace(drawn.recipe.train, epochs=1), finish=Finish())
    file = tmp_path / "lite1.pth"
    torch.save(timm.create_model("efficientnet_lite1").state_dict(), file)
    distill(fresh, short)
    assert torch.equal(weights(fresh)[STEM], build_net("nano", 3).state_dict()[STEM])
    distill(fresh, replace(short, weights="none"))
    torch.manual_seed(short.train.seed)
    assert torch.equal(weights(fresh)[STEM], build_net("nano", 3, RANDOM).state_dict()[STEM])
    distill(fresh, short, weights=file)
    assert torch.equal(weights(fresh)[STEM], build_net("nano", 3, file).state_dict()[STEM])
    capsys.readouterr()
    distill(fresh, short, weights=file)
    assert capsys.readouterr().err == "distill: unchanged\n"
    # Another file of the same name is another start.
    torch.save(timm.create_model("efficientnet_lite1").state_dict(), file)
    distill(fresh, short, weights=file)
    assert torch.equal(weights(fresh)[STEM], build_net("nano", 3, file).state_dict()[STEM])


def test_weights_that_are_not_there_are_one_sentence(
    fresh: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--run", str(fresh), "--recipe", str(drawn.recipe_path)]
    assert run_app(["distill", *rest, "--weights", str(fresh / "no.pth")]) == 1
    assert capsys.readouterr().err == (
        f"error: {fresh / 'no.pth'}: no file of weights to read (No such file or directory); give one that is\n"
    )


# A teacher


def test_a_teacher_changes_the_student_and_belongs_to_its_inputs(
    fresh: Path, finished: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(drawn.recipe, train=replace(drawn.recipe.train, epochs=1), finish=Finish())
    before = weights(finished)
    distill(fresh, recipe, teacher=finished)
    taught = weights(fresh)
    assert same(weights(finished), before)
    assert Stage.result_of(fresh, "distill")[1]["teacher"] == str(finished)
    distill(fresh, recipe, teacher=finished)
    assert "distill: unchanged" in capsys.readouterr().err
    distill(fresh, recipe)
    assert "distill: unchanged" not in capsys.readouterr().err
    assert not same(taught, weights(fresh))


def test_a_student_may_start_where_another_runs_student_stopped(fresh: Path, finished: Path, drawn: Drawn) -> None:
    still = replace(drawn.recipe.train, epochs=1, peak_lr=1e-9, weight_decay=0.0, frozen_stages=100)
    gentle = replace(drawn.recipe, train=still, finish=Finish(), teacher=replace(drawn.recipe.teacher, start=True))
    distill(fresh, gentle, teacher=finished)
    before, after = weights(finished), weights(fresh)
    assert before.keys() == after.keys()
    for name in before:
        assert torch.allclose(before[name].float(), after[name].float(), atol=1e-5), name


def retold(run: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change what a finished distill step says of itself."""
    import json

    path = run / "distill" / "stage.json"
    body = json.loads(path.read_text())
    change(body["result"])
    path.write_text(json.dumps(body))


def test_a_teacher_of_other_labels_is_refused(fresh: Path, finished: Path, tmp_path: Path, drawn: Drawn) -> None:
    teacher = Path(shutil.copytree(finished, tmp_path / "teacher"))
    retold(teacher, lambda result: result.update(labels=["glass", "metal", "plastic"]))
    with pytest.raises(TrainerError) as caught:
        distill(fresh, drawn.recipe, teacher=teacher)
    assert str(caught.value) == (
        f"{teacher}: a teacher of glass, metal, plastic, but the recipe asks for glass, metal, paper; "
        "train the teacher with the same labels"
    )


def test_a_teacher_that_was_never_trained_is_refused(fresh: Path, tmp_path: Path, drawn: Drawn) -> None:
    with pytest.raises(StageMissing, match="distill: this step has not been finished; run: trainer distill --run"):
        distill(fresh, drawn.recipe, teacher=tmp_path / "nobody")


# What does not fit


def other_labels(recipe: Recipe) -> Recipe:
    return replace(recipe, name="other", data=replace(recipe.data, labels=("glass", "metal")))


def test_a_recipe_for_other_pictures_is_refused(fresh: Path, drawn: Drawn) -> None:
    with pytest.raises(TrainerError) as caught:
        distill(fresh, other_labels(drawn.recipe))
    assert str(caught.value) == (
        f"{fresh}: its pictures are of glass, metal, paper, but recipe other asks for glass, metal; "
        "give its own with --recipe, or read other pictures with: trainer data"
    )


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        (other_labels, "recipe other asks for a nano of glass, metal"),
        (lambda recipe: replace(recipe, net="lite0"), "recipe tiny asks for a lite0 of glass, metal, paper"),
    ],
)
def test_a_student_of_another_recipe_is_refused(
    finished: Path, drawn: Drawn, change: Callable[[Recipe], Recipe], asks: str
) -> None:
    with pytest.raises(TrainerError) as caught:
        load_student(finished, change(drawn.recipe))
    assert str(caught.value) == (
        f"{finished}: its student is a nano of glass, metal, paper, but {asks}; "
        "give its own with --recipe, or another --run"
    )


def test_an_unknown_net_is_one_sentence(fresh: Path, drawn: Drawn) -> None:
    with pytest.raises(TrainerError, match="net 'resnet': unknown; the project has cnn4, "):
        distill(fresh, replace(drawn.recipe, net="resnet"))


def test_a_loss_that_runs_away_is_one_sentence(fresh: Path, drawn: Drawn) -> None:
    wild = replace(drawn.recipe, train=replace(drawn.recipe.train, peak_lr=1e30))
    # Named are photographs of the very batch.
    of_batch = r"among its pictures (\S+/(glass|metal|paper|hand)/\d\d?\.png(, )?){1,3}"
    with pytest.raises(
        TrainerError,
        match=rf"^epoch \d of 4, batch \d: the loss is (nan|inf); {of_batch}; lower train.peak_lr in the recipe$",
    ):
        distill(fresh, wild)
    assert not (fresh / "distill" / "last.pt").exists()


def test_the_command_is_the_same_step(run: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["distill", "--run", str(run), "--recipe", str(drawn.recipe_path)]) == 0
    assert "distill: unchanged" in capsys.readouterr().err


def test_a_student_of_another_shape_by_the_same_name_is_refused(run: Path, drawn: Drawn) -> None:
    kept = run / "distill" / "student.pt"
    body = torch.load(kept, weights_only=True)
    del body["net"]["head.bias"]
    torch.save(body, kept)
    with pytest.raises(TrainerError, match="its tensors are not those of the nano"):
        load_student(run, drawn.recipe)
