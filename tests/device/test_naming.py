"""Photographs are judged by the rule and the bins of the site, as the bin itself would."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import make_bundle

from device.config import load_config
from device.errors import ItemsError, PictureError
from device.naming import Named, name_pictures
from device.route import Bin, Site

REST = Bin("Rest", frozenset({"paper"}), is_residual=True)


@pytest.mark.parametrize(
    ("bins", "expected"),
    [
        ((Bin("Glass", frozenset({"glass"})), Bin("Metal", frozenset({"metal"})), REST), (False, "unsure", "Rest")),
        ((Bin("Containers", frozenset({"glass", "metal"})), REST), (True, None, "Containers")),
    ],
)
def test_one_bin_for_two_materials_settles_what_lies_between_them(
    tmp_path: Path, bins: tuple[Bin, ...], expected: tuple[bool, str | None, str]
) -> None:
    make_bundle(tmp_path / "b")
    cv2.imwrite(str(tmp_path / "yellow.png"), np.full((20, 20, 3), (60, 200, 200), np.uint8))
    config = replace(load_config(None, environ={"HOME": str(tmp_path)}), site=Site(bins))
    named: list[Named | PictureError | ItemsError] = list(
        name_pictures([tmp_path / "yellow.png"], config, tmp_path / "b")
    )
    assert [
        (each.accepted, each.reason, each.bin, round(each.prob, 3)) for each in named if isinstance(each, Named)
    ] == [(*expected, 0.5)]
