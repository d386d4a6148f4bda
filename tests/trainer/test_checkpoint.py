"""A checkpoint comes back as it was, or says in one sentence why not; a full disk leaves the one of before."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from trainer.checkpoint import read_checkpoint, save_checkpoint
from trainer.errors import TrainerError


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk with room for so many bytes a file, as far as this process can tell."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_tensors_and_plain_values_come_back(tmp_path: Path) -> None:
    body = {"net": {"w": torch.arange(3.0)}, "history": [{"loss": 0.5}], "epoch": 2}
    save_checkpoint(body, tmp_path / "last.pt")
    made = read_checkpoint(tmp_path / "last.pt")
    assert torch.equal(made["net"].pop("w"), torch.arange(3.0))
    assert made == {"net": {}, "history": [{"loss": 0.5}], "epoch": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_full_disk_is_one_sentence_and_leaves_the_checkpoint_of_before(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint({"epoch": 1}, path)
    with files_of_at_most(20_000), pytest.raises(TrainerError) as caught:
        save_checkpoint({"epoch": 2, "net": torch.zeros(10_000)}, path)
    text = str(caught.value)
    assert text.startswith(f"{path}: cannot be written (File too large), expected room for 4")
    assert text.endswith(" bytes; what was there before is kept: make room and run the same command again")
    assert read_checkpoint(path) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("damage", ["cut", "emptied", "removed"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint({"net": torch.zeros(100)}, path)
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 300 if damage == "cut" else 0])
    with pytest.raises(TrainerError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: a checkpoint that cannot be read (")
    assert str(caught.value).endswith(f"); remove {tmp_path} and run its step again")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_never_a_program(tmp_path: Path) -> None:
    torch.save({"net": Path("/")}, tmp_path / "last.pt")  # an object of a class, not of plain values
    with pytest.raises(TrainerError, match="cannot be read"):
        read_checkpoint(tmp_path / "last.pt")
