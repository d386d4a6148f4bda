"""A data set that is drawn in a second, its recipe, and a run whose first two steps are done once for all tests."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from device.simulator.drawings import draw_item
from device.simulator.scene import paste
from trainer.cli import run_app
from trainer.recipe import Recipe, load_recipe

torch.set_num_threads(1)

LABELS = ("glass", "metal", "paper")
PER_LABEL = 12

RECIPE = """
name = "tiny"
net = "nano"
size_px = 32
[data]
labels = ["glass", "metal", "paper"]
label_map = { hand = "!glass", notes = "-" }
licence = { drawn = "MIT, drawn by a test" }
[train]
epochs = 2
pictures_per_epoch = 12
batch = 8
frozen_stages = 4
average = 0.5
[finish]
epochs = 2
[drawings]
per_epoch = 4
per_label = 2
[quantize]
calibration_pictures = 8
tail_epochs = 1
tail_pictures = 16
"""


def save(path: Path, rgb: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


def photograph(label: str, number: int) -> NDArray[np.uint8]:
    """A drawing on a plain board, uint8 RGB [72, 96, 3]."""
    rng = np.random.default_rng([number, len(label)])
    board = np.full((72, 96, 3), rng.integers(90, 220, 3), np.uint8)
    return paste(board, draw_item(label, number, size_px=64), (48, 36), 60, float(rng.uniform(0, 360)), rng=rng)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A data set and its recipe, on the disk."""

    pictures: Path
    recipe_path: Path

    @property
    def recipe(self) -> Recipe:
        return load_recipe(str(self.recipe_path))


class StopsAfter:
    """A screen that presses Ctrl-C when it reads something."""

    def __init__(self, what: str) -> None:
        self._what = what

    def write(self, text: str) -> None:
        if self._what in text:
            raise KeyboardInterrupt

    def flush(self) -> None:
        pass


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """12 pictures a label, one of them twice with other light, 4 hands, a damaged file and one that is left out."""
    top = tmp_path_factory.mktemp("drawn")
    pictures = top / "pictures"
    for label in LABELS:
        for number in range(PER_LABEL):
            save(pictures / label / f"{number:02d}.png", photograph(label, number))
    save(pictures / "glass" / "00-brighter.png", np.minimum(photograph("glass", 0), 245) + np.uint8(10))
    for number in range(4):
        save(pictures / "hand" / f"{number}.png", photograph("organic", number))
    save(pictures / "notes" / "0.png", photograph("trash", 0))
    (pictures / "metal" / "damaged.png").write_bytes((pictures / "metal" / "00.png").read_bytes()[:200])
    (top / "tiny.toml").write_text(RECIPE)
    return Drawn(pictures, top / "tiny.toml")


@pytest.fixture(scope="session")
def finished(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with data and student, through the command line; not to be changed: see `run`."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    rest = ["--run", str(run), "--recipe", str(drawn.recipe_path)]
    assert run_app(["data", f"drawn={drawn.pictures}", *rest]) == 0
    assert run_app(["distill", *rest]) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def fresh(run: Path) -> Path:
    """A run with data and no student."""
    shutil.rmtree(run / "distill")
    return run
