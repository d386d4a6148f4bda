"""Views are made once and only of training pictures; teachers answer them; a student learns from both."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from conftest import LABELS, Drawn

from trainer.data import open_dataset
from trainer.distill import borrow, distill
from trainer.draws import normalise
from trainer.errors import StageMissing, TrainerError
from trainer.lessons import open_lessons
from trainer.machine import Machine
from trainer.recipe import Recipe, Teach, Views
from trainer.stage import Stage
from trainer.taught import load_teachers, teacher_answers
from trainer.teach import teach
from trainer.teachers import build_teacher
from trainer.views import make_views, open_views

VIEWS = Views(photographs=52, drawings=8, size_px=32, calm=0.25)
TEACH = Teach(nets=("nano",), frozen_stages=4, probe_passes=1, passes=2, batch=16, average=0.5)


@pytest.fixture
def recipe(drawn: Drawn) -> Recipe:
    return replace(drawn.recipe, views=VIEWS, teach=TEACH)


@pytest.fixture
def taught(fresh: Path, recipe: Recipe) -> Path:
    """A run whose views are made and whose teacher is tuned."""
    teach(fresh, recipe)
    return fresh


def test_views_are_of_training_pictures_and_carry_their_labels(fresh: Path, recipe: Recipe) -> None:
    views = make_views(fresh, recipe)
    records = open_dataset(fresh).records
    assert views.pixels.shape == (60, 32, 32, 3)
    assert np.count_nonzero(views.record < 0) == 8
    for record, allowed in zip(views.record, views.allowed, strict=True):
        if record >= 0:
            assert records[record].split == "train"
            assert allowed.tolist() == records[record].allowed(LABELS).tolist()
        else:
            assert allowed.tolist() == [float((-1 - record) // 2 == place) for place in range(3)]


def test_views_that_were_cut_off_go_on_to_the_very_same(
    fresh: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.views._CHUNK", 4)
    monkeypatch.setattr("trainer.views._SAVED_EVERY", 2)
    other = Path(shutil.copytree(fresh, tmp_path / "other"))
    whole = np.array(make_views(other, recipe).pixels)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trainer.views.np.savez", stop)
        with pytest.raises(KeyboardInterrupt):
            make_views(fresh, recipe)
    note = fresh / "views" / "made.txt"
    note.write_text("24")  # as if it had been cut off there
    pixels = np.load(fresh / "views" / "pixels.npy", mmap_mode="r+")
    pixels[24:] = 0
    pixels[:4] = 7  # what was made is not made again
    pixels.flush()
    resumed = np.array(make_views(fresh, recipe).pixels)
    assert (resumed[:4] == 7).all()
    assert np.array_equal(resumed[4:], whole[4:])


def test_other_weights_of_sources_make_other_views(fresh: Path, recipe: Recipe) -> None:
    first = make_views(fresh, recipe).fingerprint
    heavier = replace(recipe, data=replace(recipe.data, weight={"drawn": 2.0}))
    assert make_views(fresh, heavier).fingerprint != first


def test_teachers_are_kept_answer_every_view_and_are_measured_on_val(taught: Path, recipe: Recipe) -> None:
    answers, views = teacher_answers(taught), open_views(taught)
    assert answers.shape == (60, 3)
    assert np.exp(answers.astype(np.float64)).sum(axis=1) == pytest.approx(np.ones(60), abs=0.01)
    live = load_teachers(taught)
    with torch.inference_mode():
        said = live(normalise(torch.from_numpy(np.array(views.pixels[:16])))).numpy()
    # The frozen stages may have run in half precision.
    assert np.abs(said - answers[:16]).max() < 0.15
    _, result = Stage.result_of(taught, "teach")
    assert result["nets"] == ["nano"]
    val = sum(1 for record in open_dataset(taught).records if record.split == "val" and record.target in LABELS)
    assert result["val"]["drawn"]["pictures"] == val
    assert not list((taught / "teach").glob("*/maps.npy"))


def test_a_probe_alone_leaves_the_stages_as_they_were(fresh: Path, recipe: Recipe) -> None:
    frozen = replace(recipe, teach=replace(TEACH, frozen_stages=99))
    teach(fresh, frozen)
    kept = torch.load(fresh / "teach" / "nano" / "teacher.pt", weights_only=True)["net"]
    original = build_teacher("nano", 3).state_dict()
    assert all(torch.equal(kept[name], original[name]) for name in kept if name.startswith("stages."))
    assert not torch.equal(kept["head.weight"], original["head.weight"])


def test_teaching_that_was_cut_off_goes_on_to_the_same_teacher(
    fresh: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(fresh, tmp_path / "other"))
    teach(other, recipe)
    import trainer.teach as module

    real, saved = module.save_checkpoint, []

    def stop_after_two(body: dict[str, object], path: Path) -> None:
        real(body, path)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            teach(fresh, recipe)
    teach(fresh, recipe)
    left, right = (
        torch.load(run / "teach" / "nano" / "teacher.pt", weights_only=True)["net"] for run in (other, fresh)
    )
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_student_learns_from_the_teachers_answers_to_the_same_pixels(
    taught: Path, recipe: Recipe, tmp_path: Path
) -> None:
    lessons = open_lessons(taught, recipe, taught, Machine())
    views, answers = open_views(taught), teacher_answers(taught)
    seen = 0
    for lesson in lessons.epoch(0):
        assert lesson.opinion is not None
        for pixels, opinion in zip(lesson.pixels.numpy(), lesson.opinion.numpy(), strict=True):
            found = [
                row
                for row in range(len(views))
                if np.array_equal(views.pixels[row], pixels) or np.array_equal(views.pixels[row][:, ::-1], pixels)
            ]
            assert any(np.array_equal(answers[row].astype(np.float32), opinion) for row in found)
            seen += 1
    assert seen == recipe.train.pictures_per_epoch
    student = tmp_path / "student"
    distill(student, recipe, taught)  # has no pictures of its own
    control = tmp_path / "control"
    borrow(control, taught)
    distill(control, recipe)
    left, right = (torch.load(run / "distill" / "student.pt", weights_only=True)["net"] for run in (student, control))
    assert not torch.equal(left["head.weight"], right["head.weight"])


def test_every_view_is_shown_before_one_comes_again(taught: Path, recipe: Recipe) -> None:
    lessons = open_lessons(taught, recipe, None, Machine())
    shown = np.concatenate([lesson.allowed.numpy() for number in range(5) for lesson in lessons.epoch(number)])
    assert len(shown) == 60
    assert shown.sum(axis=0).tolist() == open_views(taught).allowed.sum(axis=0).tolist()


def test_a_student_may_start_where_its_teacher_stopped(taught: Path, recipe: Recipe, tmp_path: Path) -> None:
    still = replace(
        recipe,
        train=replace(recipe.train, epochs=1, peak_lr=1e-9, weight_decay=0.0, frozen_stages=99),
        finish=replace(recipe.finish, epochs=0),
        teacher=replace(recipe.teacher, start=True),
    )
    distill(tmp_path / "student", still, taught)
    student = torch.load(tmp_path / "student" / "distill" / "student.pt", weights_only=True)["net"]
    kept = torch.load(taught / "teach" / "nano" / "teacher.pt", weights_only=True)["net"]
    assert student["head.weight"].numpy() == pytest.approx(kept["head.weight"].numpy(), abs=1e-6)


def test_answers_about_other_views_are_refused(taught: Path, recipe: Recipe, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(taught / "data", other / "data")
    make_views(other, replace(recipe, data=replace(recipe.data, weight={"drawn": 2.0})))
    with pytest.raises(TrainerError, match="answered other views"):
        open_lessons(other, recipe, taught, Machine())


def test_a_recipe_without_teachers_or_views_says_so(fresh: Path, drawn: Drawn, recipe: Recipe) -> None:
    with pytest.raises(StageMissing, match=r"teach\.nets is empty"):
        teach(fresh, drawn.recipe)
    with pytest.raises(StageMissing, match=r"views\.photographs is 0"):
        make_views(fresh, drawn.recipe)
    with pytest.raises(TrainerError, match="--weights is for one network"):
        teach(fresh, replace(recipe, teach=replace(TEACH, nets=("nano", "lite0"))), Path("weights.pth"))


# Any network of timm


def test_a_timm_teacher_takes_weights_from_a_file(fresh: Path, recipe: Recipe, tmp_path: Path) -> None:
    published = timm.create_model("test_resnet", pretrained=False)
    torch.save(published.state_dict(), tmp_path / "brought.pth")
    named = replace(recipe, teach=replace(TEACH, nets=("timm:test_resnet",), frozen_stages=1, passes=1))
    teach(fresh, named, tmp_path / "brought.pth")
    kept = torch.load(fresh / "teach" / "timm-test_resnet" / "teacher.pt", weights_only=True)["net"]
    assert torch.equal(kept["stages.0.conv1.0.weight"], published.state_dict()["conv1.0.weight"])
    assert np.isfinite(teacher_answers(fresh)).all()


def test_a_timm_teacher_can_be_tuned_whole(fresh: Path, recipe: Recipe, tmp_path: Path) -> None:
    published = timm.create_model("test_resnet", pretrained=False)
    torch.save(published.state_dict(), tmp_path / "brought.pth")
    named = replace(recipe, teach=replace(TEACH, nets=("timm:test_resnet",), frozen_stages=0, passes=1))
    teach(fresh, named, tmp_path / "brought.pth")
    kept = torch.load(fresh / "teach" / "timm-test_resnet" / "teacher.pt", weights_only=True)["net"]
    assert not torch.equal(kept["stages.0.conv1.0.weight"], published.state_dict()["conv1.0.weight"])


def test_without_a_hub_one_sentence_says_how_to_bring_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TrainerError, match=r"inception_resnet_v2: its weights cannot be loaded .*--weights") as caught:
        build_teacher("timm:inception_resnet_v2", 7)
    assert "\n" not in str(caught.value)


def test_an_unknown_timm_name_and_a_missing_file_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="timm has no network 'resnett50'"):
        build_teacher("timm:resnett50", 7)
    with pytest.raises(TrainerError, match="no such file of weights"):
        build_teacher("timm:test_resnet", 7, tmp_path / "none.pth")
