"""What a running bin goes by while its camera is lent, and what has to follow when it comes back."""

from dataclasses import replace
from pathlib import Path

import pytest

from device.calibrated import Calibrated, Changes
from device.calibration import Calibration, save_calibration
from device.camera.locks import Locks
from device.config import load_config
from device.config_types import Config

SPEC = "usb:0"
COLOURS = Locks(is_swapped=True, balance=(1.1, 1.0, 0.9))
HELD = replace(COLOURS, exposure_us=9_000, gain=2.0)
SAME = Changes(camera=False, view=False, model=False, note=None)


@pytest.fixture
def plain(tmp_path: Path) -> Config:
    config = load_config(None, environ={"STATE_DIRECTORY": str(tmp_path)})
    return replace(config, camera=replace(config.camera, source=SPEC))


def keep(plain: Config, **found: object) -> None:
    save_calibration(plain.events_path.parent, Calibration(camera=SPEC, **found))  # type: ignore[arg-type]


def test_a_camera_that_is_lent_is_let_go_so_that_it_can_settle_anew_and_held_again_afterwards(plain: Config) -> None:
    keep(plain, locks=HELD)
    bin_ = Calibrated(plain)
    assert bin_.camera.locks == HELD
    assert bin_.lend() is True
    assert bin_.camera.locks == COLOURS
    assert bin_.lend() is False
    assert bin_.take_back() == replace(SAME, camera=True)
    assert bin_.camera.locks == HELD


def test_nothing_follows_where_nothing_was_found(plain: Config) -> None:
    keep(plain, locks=COLOURS, threads=2)
    bin_ = Calibrated(plain)
    assert bin_.lend() is False
    keep(plain, locks=COLOURS, threads=2)
    assert bin_.take_back() == SAME


@pytest.mark.parametrize(
    ("found", "changes"),
    [
        ({"locks": COLOURS}, replace(SAME, camera=True, view=True)),
        ({"rate_hz": 10.0}, replace(SAME, camera=True, view=True)),
        ({"size_px": (640, 480), "region": (10, 10, 300, 300)}, replace(SAME, camera=True, view=True)),
        ({"threads": 2}, replace(SAME, model=True)),
        ({"pulses_us": {"Glass": (1900, 1100)}}, SAME),
    ],
)
def test_what_was_found_is_gone_by_and_what_must_follow_is_said(
    plain: Config, found: dict[str, object], changes: Changes
) -> None:
    bin_ = Calibrated(plain)
    before = bin_.config
    bin_.lend()
    keep(plain, **found)
    assert bin_.config == before
    assert bin_.take_back() == changes
    assert bin_.config == Calibrated(plain).config
    assert bin_.plain == plain


def test_a_damaged_file_is_said_again_when_it_is_met(plain: Config) -> None:
    bin_ = Calibrated(plain)
    bin_.lend()
    (plain.events_path.parent / "calibration.json").write_text("x")
    changes = bin_.take_back()
    assert changes.note is not None
    assert "runs uncalibrated" in changes.note
    assert bin_.config == plain
