"""The witness turns ImageNet's classes into evidence for materials, and its word is added to the teachers'."""

import math
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Drawn
from torch import Tensor, nn

from trainer.draws import normalise
from trainer.errors import TrainerError
from trainer.recipe import Recipe, Teach, Views
from trainer.stage import Stage
from trainer.taught import load_teachers, teacher_answers
from trainer.teach import teach
from trainer.views import open_views
from trainer.witness import Witness, open_witness


class _Says(nn.Module):
    """Gives every picture the same scores."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = torch.tensor(scores)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.scores.expand(len(pixels), -1)


def test_evidence_is_the_mean_class_of_a_material_and_nothing_where_there_is_none() -> None:
    witness = Witness(_Says([0.0, 0.0, math.log(3), 5.0]), [(0, 1), (2,), ()])
    said = witness(torch.zeros(2, 3, 8, 8))
    assert torch.allclose(said, torch.tensor([[0.0, math.log(3), 0.0]] * 2))
    witness.usual.copy_(torch.tensor([1.0, 0.0, 0.0]))
    assert torch.allclose(witness(torch.zeros(1, 3, 8, 8)), torch.tensor([[-1.0, math.log(3), 0.0]]))


def test_every_class_is_named_once_and_is_one_of_a_thousand() -> None:
    named = tomllib.loads(resources.files("trainer").joinpath("imagenet.toml").read_text(encoding="utf-8"))
    every = [number for some in named.values() for number in some]
    assert len(every) == len(set(every))
    assert 0 <= min(every) <= max(every) < 1000
    assert sorted(named) == ["cardboard", "glass", "metal", "organic", "paper", "plastic", "trash"]


def test_labels_that_imagenet_does_not_know_are_refused_in_a_sentence() -> None:
    with pytest.raises(TrainerError, match=r"ImageNet has no class for any of cup, lid; .* set teach.witness = 0"):
        open_witness(["cup", "lid"])


@pytest.fixture
def recipe(drawn: Drawn) -> Recipe:
    views = Views(photographs=28, drawings=4, size_px=96, calm=0.25)  # at 32 px its last stages are saturated
    return replace(drawn.recipe, views=views, teach=Teach(("nano",), 4, probe_passes=1, passes=1, batch=16))


def test_the_witness_is_added_to_the_teachers_without_tuning_them_again(fresh: Path, recipe: Recipe) -> None:
    teach(fresh, recipe)
    alone = teacher_answers(fresh).astype(np.float32)
    tuned = Stage.result_of(fresh, "teach/nano")
    teach(fresh, replace(recipe, teach=replace(recipe.teach, witness=0.5)))
    both = teacher_answers(fresh).astype(np.float32)
    assert Stage.result_of(fresh, "teach/nano") == tuned
    added = np.load(fresh / "teach" / "witness" / "views.npy").astype(np.float32)
    assert np.abs(added.mean(axis=0)).max() < 0.01
    assert np.abs(added).max() > 0.05
    assert both == pytest.approx(alone + 0.5 * added, abs=0.02)
    pixels = normalise(torch.from_numpy(np.array(open_views(fresh).pixels[:8])))
    with torch.inference_mode():
        said = load_teachers(fresh)(pixels).numpy()
    # Frozen stages may have run in half precision.
    assert np.abs(said - both[:8]).mean() < 0.1
