"""The simulated camera: what the people do, what the flaps do, and time."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.camera.frame import Frame
from device.errors import CameraError
from device.simulator.camera import SimulatedCamera, open_simulator
from device.simulator.drawings import draw_item
from device.simulator.items import Items, PackedItem
from device.simulator.visits import Reach, Visit, VisitKind, script

SIZE_PX = (160, 120)
RATE_HZ = 15.0
ITEMS = Items(
    "test",
    [
        PackedItem(f"{label}-{number}", label, lambda label=label, number=number: draw_item(label, number, size_px=64))
        for label in ("metal", "organic")
        for number in range(4)
    ],
)
VISIT = Visit(
    number=0, kind=VisitKind.ITEM, items=ITEMS.packed[:1], seed=3, by_hand=True,
    wait_s=1.0, enter_s=0.5, hold_s=0.3, leave_s=0.4, patience_s=2.0,
)  # fmt: skip
FALLEN_IN = replace(VISIT, by_hand=False)
FIRST_S = 2.5  # empty tray before the first visit


class Clock:
    def __init__(self) -> None:
        self.now_s = 500.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


def camera_of(*visits: Visit, seed: int = 1) -> SimulatedCamera:
    return SimulatedCamera(ITEMS, visits, seed=seed, size_px=SIZE_PX, rate_hz=RATE_HZ)


def play(camera: SimulatedCamera, flaps_at: Sequence[int] = ()) -> list[tuple[Frame, bool]]:
    """Every frame, and whether an item lay still; a flap opens before the frames `flaps_at`."""
    frames = []
    while True:
        if len(frames) in flaps_at:
            camera.flap_moved("Metal")
        frame = camera.read()
        if frame is None:
            return frames
        frames.append((frame, camera.lies))


def lying_s(frames: Sequence[tuple[Frame, bool]]) -> tuple[float, float]:
    times = [frame.captured_s for frame, lies in frames if lies]
    return round(times[0], 2), round(times[-1], 2)


def digest(frames: Sequence[tuple[Frame, bool]]) -> str:
    whole = hashlib.sha256()
    for frame, lies in frames:
        whole.update(frame.rgb.tobytes() + f"{frame.captured_s} {frame.number} {lies}".encode())
    return whole.hexdigest()


def differs(frame: Frame, other: Frame) -> float:
    """The share of the picture that shows something else."""
    off = np.abs(frame.rgb.astype(int) - other.rgb).sum(2)
    return float((off > 60).mean())


def test_the_same_seed_gives_the_same_frames_to_the_last_bit() -> None:
    visits = script(ITEMS, 3, 2)
    first, second, other = (play(camera_of(*visits, seed=seed), (70,)) for seed in (1, 1, 2))

    assert digest(first) == digest(second)
    assert digest(first) != digest(other)


def test_frames_are_rgb_of_the_size_asked_for_on_the_scripts_own_time() -> None:
    frames = [frame for frame, _ in play(camera_of(VISIT))]

    assert {(frame.rgb.shape, frame.rgb.dtype.name) for frame in frames} == {((120, 160, 3), "uint8")}
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert [frame.captured_s for frame in frames] == [number / RATE_HZ for number in range(len(frames))]


def test_an_item_put_down_by_hand_lies_still_once_the_hand_has_left() -> None:
    frames = play(camera_of(VISIT))
    start_s = FIRST_S + 1.0 + 0.5 + 0.3 + 0.4

    assert lying_s(frames)[0] == pytest.approx(start_s, abs=1 / RATE_HZ)


def test_an_item_that_falls_in_lies_still_once_it_has_slid_to_its_place() -> None:
    frames = play(camera_of(FALLEN_IN))

    assert lying_s(frames)[0] == pytest.approx(FIRST_S + 1.0 + 0.5 + 0.3, abs=1 / RATE_HZ)


@pytest.mark.parametrize("visit", [VISIT, FALLEN_IN], ids=["by hand", "falls"])
def test_the_tray_is_empty_then_something_moves_then_the_item_lies_still(visit: Visit) -> None:
    frames = play(camera_of(visit))
    shown = [frame for frame, _ in frames]
    at_rest = [i for i, (_, lies) in enumerate(frames) if lies]
    start = round((FIRST_S + 1.0) * RATE_HZ)

    assert max(differs(shown[0], frame) for frame in shown[: start - 1]) < 0.01
    assert max(differs(a, b) for a, b in pairwise(shown[start : at_rest[0]])) > 0.03
    assert max(differs(shown[at_rest[0]], shown[i]) for i in at_rest) < 0.01
    assert differs(shown[0], shown[at_rest[0]]) > 0.02


def test_a_flap_that_opens_lets_the_item_fall_and_ends_the_visit() -> None:
    camera = camera_of(FALLEN_IN, replace(VISIT, number=1, kind=VisitKind.NOTHING, items=()))
    frames = play(camera, flaps_at=(80,))
    last_lying_s = lying_s(frames)[1]
    after = [frame for frame, _ in frames if frame.captured_s > 80 / RATE_HZ + 0.45]

    assert last_lying_s == pytest.approx(79 / RATE_HZ, abs=0.01)
    assert differs(frames[0][0], after[0]) < 0.01
    assert camera.visits_done == 2


def test_an_item_that_sticks_stays_as_often_as_the_script_says() -> None:
    stuck = replace(FALLEN_IN, sticks=2)
    once, thrice = (play(camera_of(stuck), flaps_at=at) for at in ((80,), (80, 90, 100)))

    # Opened once in vain; then its owner loses patience.
    assert lying_s(once)[1] == pytest.approx(80 / RATE_HZ + 2.0, abs=1 / RATE_HZ)
    assert lying_s(thrice)[1] == pytest.approx(99 / RATE_HZ, abs=0.01)


def test_an_item_that_no_flap_takes_is_taken_out_by_hand() -> None:
    camera = camera_of(FALLEN_IN, replace(VISIT, number=1, kind=VisitKind.NOTHING, items=()))
    frames = play(camera)
    lies_s = lying_s(frames)
    at_rest = next(frame for frame, lies in frames if lies)
    after = [frame for frame, _ in frames if frame.captured_s > lies_s[1] + 1.5]

    assert lies_s[1] - lies_s[0] == pytest.approx(2.0, abs=2 / RATE_HZ)
    assert differs(after[0], at_rest) > 0.02
    assert differs(after[0], frames[0][0]) < 0.01


def test_a_flap_that_opens_over_an_empty_tray_or_under_a_hand_changes_nothing() -> None:
    early = round((FIRST_S + 1.2) * RATE_HZ)

    assert digest(play(camera_of(VISIT), (3, 20, early))) == digest(play(camera_of(VISIT)))


def test_a_hand_alone_comes_and_goes_and_reaches_over_the_edge_all_the_time() -> None:
    frames = [frame for frame, _ in play(camera_of(replace(VISIT, kind=VisitKind.HAND, items=(), hold_s=1.0)))]
    start, end = round((FIRST_S + 1.1) * RATE_HZ), round((FIRST_S + 1.0 + 0.5 + 1.0) * RATE_HZ)
    rim = np.ones((120, 160), bool)
    rim[2:-2, 2:-2] = False

    def reach(frame: Frame) -> int:
        return int(((np.abs(frame.rgb.astype(int) - frames[0].rgb).sum(2) > 60) & rim).sum())

    held = frames[start + 8 : end]
    assert min(reach(frame) for frame in held) > 20
    assert max(reach(frame) for frame in frames[: start - 4]) < 5
    # It trembles: no two frames of it are alike.
    assert min(differs(a, b) for a, b in pairwise(held)) > 0.001


def test_a_lamp_switched_changes_the_light_of_all_visits_after_it_until_the_next_one() -> None:
    lamp = replace(VISIT, kind=VisitKind.LAMP, items=(), by_hand=False, hold_s=3.0)
    frames = [frame for frame, _ in play(camera_of(lamp, replace(lamp, number=1)))]
    light = [float(frame.rgb.mean()) for frame in frames]
    switched = round((FIRST_S + 1.0) * RATE_HZ)
    again = switched + round((0.5 + 3.0 + 1.0) * RATE_HZ)

    assert min(light[switched : switched + 6]) < 0.8 * light[0]
    assert light[switched + 40] > 1.1 * min(light[switched : switched + 6])  # the exposure follows
    assert max(light[again : again + 6]) > 1.1 * light[again - 5]
    assert light[-1] == pytest.approx(light[0], rel=0.08)


def test_two_items_lie_apart() -> None:
    camera = camera_of(replace(FALLEN_IN, kind=VisitKind.TWO, items=ITEMS.packed[:2]))
    frames = play(camera)
    at_rest = next(frame for frame, lies in frames if lies)
    changed = np.abs(at_rest.rgb.astype(int) - frames[0][0].rgb).sum(2) > 60
    columns = np.nonzero(changed.any(0))[0]

    assert (columns.min() < 70, columns.max() > 90) == (True, True)
    assert int(np.diff(columns).max()) > 3


def test_items_rest_inside_the_frame_whatever_the_seed() -> None:
    for seed in range(6):
        frames = play(camera_of(replace(FALLEN_IN, seed=seed, wait_s=0.1, patience_s=0.2), seed=seed))
        at_rest = next(frame for frame, lies in frames if lies)
        changed = np.abs(at_rest.rgb.astype(int) - frames[0][0].rgb).sum(2) > 60
        rows, cols = np.nonzero(changed)

        assert (rows.min() > 2, rows.max() < 117, cols.min() > 2, cols.max() < 157) == (True, True, True, True)
        assert float(changed.mean()) > 0.01


def test_the_truth_goes_with_the_frames_and_ends_with_them() -> None:
    nothing = replace(VISIT, kind=VisitKind.NOTHING, items=(), by_hand=False)
    camera = camera_of(nothing, replace(nothing, number=1))
    seen = []
    while camera.read() is not None:
        assert camera.visit is not None
        seen.append((camera.visit.number, camera.visits_done))

    assert sorted(set(seen)) == [(0, 0), (1, 1)]
    assert (camera.visit, camera.visits_done, camera.read(), camera.read()) == (None, 2, None, None)


def test_in_real_time_it_keeps_the_pace_of_the_clock_and_stamps_frames_with_it() -> None:
    clock = Clock()
    camera = SimulatedCamera(
        ITEMS, [VISIT], seed=1, size_px=SIZE_PX, rate_hz=10, real_time=True, clock=clock, sleep=clock.sleep
    )
    frames = [camera.read() for _ in range(4)]

    assert [round(frame.captured_s, 3) for frame in frames if frame] == [500.0, 500.1, 500.2, 500.3]
    assert [round(seconds, 3) for seconds in clock.slept_s] == [0.1, 0.1, 0.1]
    assert (camera.name, camera.is_live) == ("sim", True)


def test_in_real_time_frames_that_nobody_read_are_dropped() -> None:
    clock = Clock()
    camera = SimulatedCamera(
        ITEMS, [VISIT], seed=1, size_px=SIZE_PX, rate_hz=10, real_time=True, clock=clock, sleep=clock.sleep
    )
    camera.read()
    clock.now_s += 0.75
    late, next_one = camera.read(), camera.read()

    assert late is not None
    assert next_one is not None
    assert (late.number, round(late.captured_s, 3)) == (7, 500.7)
    assert (next_one.number, round(clock.now_s, 3)) == (8, 500.8)


def test_in_real_time_a_new_script_follows_each_one() -> None:
    clock = Clock()
    camera = SimulatedCamera(
        ITEMS, script(ITEMS, 2, 4), seed=4, size_px=(64, 48), rate_hz=2, real_time=True, clock=clock, sleep=clock.sleep
    )
    seen: list[Visit] = []
    while camera.visits_done < 5:
        assert camera.read() is not None
        if camera.visit is not None and camera.visit not in seen:
            seen.append(camera.visit)

    assert seen == [*script(ITEMS, 2, 4), *script(ITEMS, 2, 5), *script(ITEMS, 2, 6)]


def test_reading_a_closed_camera_is_an_error_that_names_it() -> None:
    with camera_of(VISIT) as camera:
        camera.read()
    camera.close()

    with pytest.raises(CameraError) as caught:
        camera.read()
    assert str(caught.value) == "sim: read after it was closed; open it again"


def test_opens_a_folder_of_photographs_or_our_drawings(tmp_path: Path) -> None:
    (tmp_path / "metal").mkdir()
    assert cv2.imwrite(str(tmp_path / "metal/a.png"), np.full((40, 60, 3), 90, np.uint8))
    clock = Clock()

    photographs = open_simulator(tmp_path, seed=0, size_px=SIZE_PX, clock=clock, sleep=clock.sleep)
    drawings = open_simulator(None, seed=0, size_px=SIZE_PX, clock=clock, sleep=clock.sleep)

    for camera in (photographs, drawings):
        frame = camera.read()
        assert (frame is not None, camera.visit is not None, camera.is_live) == (True, True, True)


def test_a_hand_that_reaches_in_is_in_view_for_a_while_and_what_lies_there_does_not_lie_alone():
    reached = replace(FALLEN_IN, patience_s=6.0, reach=Reach(3.0, 0.3, 0.6, 0.3))
    camera = camera_of(reached)
    shares, lies, rests = [], [], []
    for _ in range(round((FIRST_S + 5.0) * RATE_HZ)):
        camera.read()
        shares.append(camera.hand_share)
        lies.append(camera.lies)
        rests.append(camera.would_fall)
    start, end = round((FIRST_S + 3.0) * RATE_HZ), round((FIRST_S + 4.2) * RATE_HZ)
    assert max(shares[:start]) == 0.0
    assert 0.05 < max(shares[start:end]) < 0.6
    assert True not in lies[start + 1 : end]
    assert {*rests[start:end]} == {True}


def test_what_lies_there_falls_when_a_flap_opens_hand_or_no_hand():
    camera = camera_of(replace(FALLEN_IN, reach=Reach(2.0, 0.3, 9.0, 0.3)), replace(FALLEN_IN, number=1))
    frames = play(camera, flaps_at=[round((FIRST_S + 2.5) * RATE_HZ)])
    assert camera.visits_done == 2
    assert frames


def test_what_sticks_once_falls_at_the_second_try_and_only_then_breaks_a_beam():
    camera = camera_of(replace(FALLEN_IN, sticks=1))
    told = []
    for _ in range(round((FIRST_S + 3.0) * RATE_HZ)):
        camera.read()
    for _ in range(2):
        told.append((camera.rests_still, camera.would_fall))
        camera.flap_moved("Glass")
        told.append(camera.landings())
        camera.read()
    assert told == [(True, False), [], (True, True), ["Glass"]]
    assert (camera.rests_still, camera.landings()) == (False, [])


def test_the_lid_is_open_from_when_to_when_the_visit_says():
    camera = camera_of(replace(FALLEN_IN, lid_open_s=(1.0, 2.0)))
    is_open = []
    while camera.read() is not None:
        is_open.append(camera.lid_open)
    first = is_open.index(True)
    assert first == pytest.approx((FIRST_S + 1.0) * RATE_HZ, abs=1)
    assert sum(is_open) == pytest.approx(RATE_HZ, abs=1)
