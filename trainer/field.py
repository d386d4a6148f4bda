"""Field: other people's photographs, only for measuring how far a model carries.

<source>/<label>/<picture> in a folder or zip -> pictures that no step of this run has learnt from
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.errors import ItemsError, PictureError
from device.pictures import decode_picture, find_pictures
from trainer.dataset import map_label
from trainer.errors import DatasetError
from trainer.recipe import Data

__all__ = ["FieldPicture", "read_field"]


@dataclass(frozen=True, slots=True)
class FieldPicture:
    """One photograph that was found.

    Attributes:
        sha256: of the file's bytes, in hexadecimal.
        source: name of the folder above the label's; of the archive where there is none.
        target: a label, or `!label`.
        decode: gives it, uint8 RGB [H, W, 3]; PictureError when it is damaged.
    """

    sha256: str
    source: str
    target: str
    decode: Callable[[], NDArray[np.uint8]]


def read_field(paths: Iterable[Path], data: Data, splits: Mapping[str, str]) -> Iterator[FieldPicture]:
    """Read every photograph once, the same file twice only once.

    Args:
        data: how folders become labels, as for training.
        splits: SHA-256 -> split of the pictures of the run.

    Raises:
        DatasetError: nothing there, a folder that is no label, or a picture that was trained or tuned on.
    """
    seen: set[str] = set()
    for path in paths:
        try:
            found = list(find_pictures(path))
        except (ItemsError, PictureError) as error:
            raise DatasetError(str(error)) from error
        for ref in found:
            if ref.label is None:
                raise DatasetError(f"{ref.name}: not inside a class folder; expected SOURCE/<label>/<picture>")
            source = _source(path, ref.name)
            target = map_label(source, ref.label, data)
            content = ref.read()
            digest = hashlib.sha256(content).hexdigest()
            if target is None or digest in seen:
                continue
            if splits.get(digest) in ("train", "tune"):
                raise DatasetError(
                    f"{ref.name}: is a picture of {splits[digest]}, expected pictures that this run has not learnt "
                    "from; take it out, or give other pictures with --field"
                )
            seen.add(digest)
            yield FieldPicture(digest, source, target, partial(decode_picture, content, ref.name))


def _source(path: Path, name: str) -> str:
    inside = name.removeprefix(str(path)).removeprefix("!/").lstrip("/").split("/")
    return inside[-3] if len(inside) > 2 else path.stem
