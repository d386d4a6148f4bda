"""Checkpoint: tensors by name -> one file, whole or not at all -> tensors by name.

    state_dicts -> save_checkpoint -> last.pt -> read_checkpoint -> state_dicts

A full disk or a cut in mid-write leaves the file of before. It must never unpickle anything but tensors and plain
values: a checkpoint may come from another machine.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainer.errors import TrainerError
from trainer.stage import write_atomic

__all__ = ["read_checkpoint", "save_checkpoint"]


def save_checkpoint(body: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values.

    Raises:
        TrainerError: the disk is full; what was there before is still whole.
    """
    stream = io.BytesIO()
    torch.save(dict(body), stream)
    write_atomic(path, stream.getvalue())


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Args:
        device: where the tensors shall be, wherever they were.

    Raises:
        TrainerError: there is no such file, or it is damaged.
    """
    try:
        return dict(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # a damaged file fails in as many ways as pickle and zip have
        raise TrainerError(
            f"{path}: a checkpoint that cannot be read ({type(error).__name__}); "
            f"remove {path.parent} and run its step again"
        ) from error
