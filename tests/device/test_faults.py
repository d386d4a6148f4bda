"""What may be wrong with a simulated bin, by name and severity."""

from pathlib import Path

import numpy as np
import pytest

from device.config import load_config
from device.errors import UsageError
from device.simulator.camera import SimulatedCamera
from device.simulator.faults import SOUND, Faults
from device.simulator.items import load_items
from device.simulator.spec import read_sim_spec
from device.simulator.visits import Habits, script

SIZE_PX = (160, 120)


def first_frame(faults: Faults) -> np.ndarray:
    items = load_items(None, ("glass",), 1)
    frame = SimulatedCamera(items, script(items, 1, 1), seed=1, size_px=SIZE_PX, faults=faults).read()
    assert frame is not None
    return frame.rgb.astype(float)


def test_a_spec_names_faults_beside_seed_and_items_in_any_order() -> None:
    spec = "sim:white_balance=-0.4,seed=7,swapped=1,far=0.72,items=/a,b,shift=0.1,blur=2.5,reversed=Glass+Paper"
    assert read_sim_spec(spec) == (
        7,
        Path("/a,b"),
        Faults(-0.4, True, 0.72, 0.1, 2.5, frozenset({"Glass", "Paper"})),
        Habits(),
    )
    assert read_sim_spec("sim") == (0, None, SOUND, Habits())


def test_a_spec_names_habits_too() -> None:
    spec = "sim:hands=0.3,jams=0.2,blur=2,lids=1,others=0,by_hand=0.25,pause=12"
    habits = Habits(hands=0.3, jams=0.2, lids=1.0, others=0.0, by_hand=0.25, pause_s=12.0)
    assert read_sim_spec(spec) == (0, None, Faults(blur=2.0), habits)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("white_balance=2", "white_balance is '2', expected a number from -0.7 to 0.7"),
        ("blur=x", "blur is 'x', expected a number from 0 to 8"),
        ("far=0", "far is '0', expected a number from 0.5 to 1"),
        ("swapped=yes", "swapped is 'yes', expected 0 or 1"),
        ("rot=1", "'rot=1' is no option of it; expected seed=, items=, hands=, jams=, lids=, others="),
        ("hands=1.5", "hands is '1.5', expected a number from 0 to 1"),
        ("pause=-1", "pause is '-1', expected a number from 0 to 3600"),
        ("hands=", "'hands=' is no option of it"),
        ("seed=x", "seed is 'x', expected a whole number, 0 or more"),
    ],
)
def test_a_fault_that_is_none_is_refused(option: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_sim_spec(f"sim:{option}")


def test_a_relative_path_of_items_stays_beside_its_file_whatever_follows_it(tmp_path: Path) -> None:
    file = tmp_path / "bin.toml"
    file.write_text('camera.source = "sim:items=photos,blur=2"\n')
    assert load_config(file).camera.source == f"sim:items={tmp_path}/photos,blur=2"


def test_each_fault_shows_in_the_picture_and_a_sound_camera_has_none() -> None:
    sound = first_frame(SOUND)
    warm = first_frame(Faults(white_balance=0.4))
    assert warm[..., 0].mean() > 1.2 * sound[..., 0].mean()
    assert warm[..., 2].mean() < 0.8 * sound[..., 2].mean()
    assert (first_frame(Faults(swapped=True)) == sound[..., ::-1]).all()
    assert np.abs(np.diff(first_frame(Faults(blur=3.0)), axis=0)).mean() < np.abs(np.diff(sound, axis=0)).mean()
    assert (first_frame(Faults()) == sound).all()


def test_a_box_of_the_scene_is_found_in_the_picture_of_a_camera_that_was_knocked() -> None:
    assert SOUND.box_px((10, 20, 100, 50), (640, 480)) == (10, 20, 100, 50)
    assert Faults(far=0.5, shift=0.1).box_px((0, 0, 640, 480), (640, 480)) == (224, 144, 320, 240)
    assert Faults(shift=0.2).box_px((320, 0, 320, 480), (640, 480)) == (448, 48, 192, 432)
