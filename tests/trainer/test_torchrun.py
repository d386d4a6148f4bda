"""Two processes under `torchrun` train what one process trains, and one of them writes and talks."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Drawn

from trainer.cli import run_app
from trainer.nets import build_net
from trainer.stage import Stage

TRAINER = Path(sys.executable).with_name("trainer")


def flat(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten() for name, value in weights.items() if name.endswith(("weight", "bias"))])


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--no-python",
        "--",
    ]
    return subprocess.run([*command, str(TRAINER), *arguments], capture_output=True, text=True, check=False)


def test_two_processes_train_what_one_does(
    fresh: Path, finished: Path, drawn: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["distill", "--run", str(fresh), "--recipe", str(drawn.recipe_path)]
    done = torchrun(*arguments)
    assert done.returncode == 0, done.stderr
    said = [line.split()[:2] for line in done.stderr.splitlines() if line.startswith("epoch ")]
    assert said == [["epoch", f"{number}/4"] for number in (1, 2, 3, 4)]
    one, two = (Stage.result_of(run, "distill")[1] for run in (finished, fresh))
    assert (one["machine"], two["machine"]) == ("cpu", "2 x cpu")
    # Batch norms of stages that are not frozen see both processes' rows: a half batch alone would be off by tenths.
    assert [row["loss"] for row in two["history"]] == pytest.approx([row["loss"] for row in one["history"]], rel=1e-3)
    assert [row["tune_right"] for row in two["history"]] == [row["tune_right"] for row in one["history"]]
    # What Adam makes of rounding where a slope is nearly nought is little beside the way that the weights went.
    torch.manual_seed(drawn.recipe.train.seed)
    start = flat(build_net("nano", 3).state_dict())
    student, other = (
        flat(torch.load(run / "distill" / "student.pt", weights_only=True)["net"]) for run in (finished, fresh)
    )
    assert (student - other).norm() < 0.1 * (student - start).norm()
    # What several processes began or ended, one goes on with.
    assert run_app(arguments) == 0
    assert "distill: unchanged" in capsys.readouterr().err
