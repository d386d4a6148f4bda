import cv2
import numpy as np
import pytest
from tray import Picture, Tray, arm, box, glass, overlap, plate, shadow, states

from device.camera.frame import Frame
from device.errors import ConfigError
from device.gate import Gate, GateRule, TrayState, View
from device.simulator.acting import Act
from device.simulator.camera import SimulatedCamera
from device.simulator.drawings import LABELS
from device.simulator.items import Items, load_items
from device.simulator.scene import Scene
from device.simulator.visits import Visit, VisitKind, script

SIM_PX = (320, 240)


def learnt(tray: Tray, region: tuple[int, int, int, int] | None = None, margin: float = 0.0) -> Gate:
    """A gate that knows the empty tray."""
    gate = Gate(GateRule(margin=margin), region)
    views = tray.watch(gate, 2.0)
    assert states(views) == ["learning", "empty"]
    return gate


def boxes(views: list[View]) -> list[tuple[int, int, int, int]]:
    return [view.item.box for view in views if view.item is not None]


def test_learns_the_empty_tray_for_warm_s_and_then_calls_it_empty() -> None:
    gate = Gate(GateRule(warm_s=1.0))
    views = Tray().watch(gate, 1.2)
    assert [view.state for view in views] == [TrayState.LEARNING] * 15 + [TrayState.EMPTY] * 3
    assert all(view.item is None for view in views)


def test_a_thing_is_an_item_once_it_has_lain_still_for_settle_s() -> None:
    tray = Tray()
    gate = learnt(tray)
    views = tray.watch(gate, 0.8, box(200, 150, 150, 120))
    # 0.3 s at 15 Hz: the frame in which it appeared, and those less than 0.3 s after it.
    assert [view.state for view in views] == [TrayState.MOVING] * 5 + [TrayState.ITEM] * 7
    assert [view.item is not None for view in views] == [False] * 5 + [True] * 7
    assert all(overlap(found, (200, 150, 150, 120)) > 0.6 for found in boxes(views))
    assert views[-1].motion < 0.002
    assert 0.05 < views[-1].foreground < 0.12


def test_the_tray_is_empty_at_once_when_the_item_is_gone() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.watch(gate, 1.0, box(200, 150, 150, 120))
    assert [view.state for view in tray.watch(gate, 0.4)] == [TrayState.EMPTY] * 6


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_white_paper_on_a_light_tray_is_an_item(seed: int) -> None:
    tray = Tray(seed, tone=205.0)
    gate = learnt(tray)
    views = tray.watch(gate, 1.0, box(180, 140, 220, 240, (222.0, 221.0, 217.0)))
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (180, 140, 220, 240)) > 0.6


@pytest.mark.parametrize("seed", [6, 7, 8])
def test_clear_glass_is_one_item_with_one_box(seed: int) -> None:
    tray = Tray(seed)
    gate = learnt(tray)
    views = tray.watch(gate, 1.0, glass(250, 130, 120, 240))
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (250, 130, 120, 240)) > 0.7


def test_a_dark_thing_in_a_dark_tray_is_an_item() -> None:
    tray = Tray(9, tone=45.0)
    gate = learnt(tray)
    views = tray.watch(gate, 1.0, box(250, 130, 150, 150, (26.0, 26.0, 28.0)))
    assert states(views) == ["moving", "item"]


def test_what_moves_is_no_item_however_slowly() -> None:
    tray = Tray()
    gate = learnt(tray)
    views = [view for x in range(150, 330, 6) for view in tray.watch(gate, 1 / 15, box(x, 150, 120, 120))]
    assert {view.state for view in views} == {TrayState.MOVING}


def test_an_item_that_is_pushed_must_settle_again() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.watch(gate, 1.0, box(200, 150, 150, 120))
    views = tray.watch(gate, 0.6, box(240, 150, 150, 120))
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (240, 150, 150, 120)) > 0.6


def test_an_arm_is_no_item_while_it_reaches_in_lies_still_or_leaves() -> None:
    tray = Tray()
    gate = learnt(tray)
    views = [view for reach in range(40, 280, 30) for view in tray.watch(gate, 1 / 15, arm(250, reach))]
    still = tray.watch(gate, 6.0, arm(250, 280))
    gone = tray.watch(gate, 0.5)
    assert states(views) == ["moving"]
    assert states(still) == ["moving", "blocked"]
    assert states(gone) == ["empty"]


def test_parts_close_to_each_other_are_one_item() -> None:
    tray = Tray()
    gate = learnt(tray)
    views = tray.watch(gate, 1.0, plate(200, 150, 40, 160), plate(258, 150, 40, 160))
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (200, 150, 98, 160)) > 0.6


def test_at_a_low_frame_rate_three_frames_must_agree() -> None:
    tray = Tray()
    gate = learnt(tray)
    views = []
    for _ in range(5):
        tray.frames += 14
        views += tray.watch(gate, 1 / 15, box(200, 150, 150, 120))
    assert [view.state for view in views] == [TrayState.MOVING] * 3 + [TrayState.ITEM] * 2


def test_an_arm_beside_an_item_blocks_it() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.watch(gate, 1.0, box(120, 250, 120, 100))
    assert states(tray.watch(gate, 2.0, box(120, 250, 120, 100), arm(400, 200))) == ["moving", "blocked"]
    assert states(tray.watch(gate, 1.0, box(120, 250, 120, 100))) == ["moving", "item"]


def test_of_two_things_the_larger_is_the_item() -> None:
    tray = Tray()
    gate = learnt(tray)
    views = tray.watch(gate, 1.0, box(90, 150, 60, 120), box(380, 150, 160, 160))
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (380, 150, 160, 160)) > 0.6


def test_a_crumb_is_no_item_and_does_not_hide_one() -> None:
    tray = Tray()
    gate = learnt(tray)
    assert states(tray.watch(gate, 2.0, box(300, 200, 24, 24))) == ["moving", "empty"]
    views = tray.watch(gate, 1.0, box(300, 200, 24, 24), box(120, 250, 120, 120))
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (120, 250, 120, 120)) > 0.6


def test_an_item_left_for_minutes_is_not_absorbed() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.watch(gate, 1.0, box(200, 150, 150, 120))
    step = np.linspace(0.0, 1.0, 90)
    # Six minutes at one frame in four seconds, while the light fades by a tenth.
    views = []
    for share in step:
        tray.frames += 59
        views += tray.watch(gate, 1 / 15, box(200, 150, 150, 120), light=float(1.0 - 0.1 * share))
    assert {view.state for view in views} == {TrayState.ITEM}
    assert states(tray.watch(gate, 0.5, light=0.9)) == ["empty"]


def test_slow_exposure_and_white_balance_drift_in_an_empty_tray_is_nothing() -> None:
    tray = Tray()
    gate = learnt(tray)
    drift = np.linspace(0.0, 1.0, 150)
    views = [
        gate.update(tray.shoot(light=float(1.0 - 0.3 * share), cast=(1.0 + 0.1 * share, 1.0, 1.0 - 0.1 * share)))
        for share in drift
    ]
    assert {view.state for view in views} == {TrayState.EMPTY}
    assert max(view.motion for view in views) < 0.002


def test_an_item_is_found_at_another_exposure_than_the_tray_was_learnt_at() -> None:
    tray = Tray()
    gate = learnt(tray)
    views = tray.watch(gate, 1.0, box(180, 140, 220, 240, (222.0, 221.0, 217.0)), light=0.93)
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (180, 140, 220, 240)) > 0.6


@pytest.mark.parametrize("place", [(250, 150, 120), (0, 150, 160), (320, 480, 200)])
def test_a_soft_shadow_is_no_item_though_it_lies_still(place: tuple[int, int, int]) -> None:
    tray = Tray()
    gate = learnt(tray)
    assert states(tray.watch(gate, 2.0, shadow(*place))) == ["moving", "empty"]
    assert "item" not in states(tray.watch(gate, 2.0))


def test_a_soft_shadow_on_a_bold_pattern_is_no_item() -> None:
    tray = Tray()
    tray.floor = checkered(tray)
    gate = learnt(tray)
    assert states(tray.watch(gate, 2.0, shadow(300, 240, 140))) == ["moving", "empty"]


@pytest.mark.parametrize("brightness", [0.4, 0.7, 1.2])
def test_a_lamp_that_is_switched_is_learnt_and_is_no_item(brightness: float) -> None:
    tray = Tray(tone=170.0)
    gate = learnt(tray)
    for light in (brightness, 1.0):
        assert states(tray.watch(gate, 1.5, light=light)) == ["learning", "empty"]


def slanted(left: float, right: float) -> np.ndarray:
    """Light of a lamp at one side."""
    return np.linspace(left, right, 640, dtype=np.float32)[None, :, None]


def test_a_lamp_at_one_side_is_learnt_and_things_are_seen_in_its_light() -> None:
    tray = Tray(tone=150.0)
    gate = learnt(tray)
    assert states(tray.watch(gate, 1.5, light=slanted(0.5, 1.2))) == ["learning", "empty"]
    assert states(tray.watch(gate, 1.0, box(200, 150, 150, 120), light=slanted(0.5, 1.2))) == ["moving", "item"]


def test_an_item_stays_an_item_when_a_lamp_is_switched() -> None:
    tray = Tray(tone=150.0)
    gate = learnt(tray)
    tray.watch(gate, 1.0, box(200, 150, 150, 120))
    views = tray.watch(gate, 1.5, box(200, 150, 150, 120), light=slanted(0.5, 1.2))
    assert states(views) == ["learning", "item"]
    assert overlap(boxes(views)[-1], (200, 150, 150, 120)) > 0.5
    assert states(tray.watch(gate, 0.5, light=slanted(0.5, 1.2))) == ["empty"]


def test_exposure_that_follows_an_overexposed_lamp_is_no_item() -> None:
    tray = Tray(tone=190.0)
    gate = learnt(tray)
    views = [gate.update(tray.shoot(light=float(1.0 + 0.7 * np.exp(-step / 12)))) for step in range(90)]
    assert set(states(views)) == {"learning", "empty"}
    assert states(views)[-1] == "empty"


def test_what_arrives_while_the_exposure_follows_a_lamp_is_an_item() -> None:
    tray = Tray(tone=150.0)
    gate = learnt(tray)
    thing = box(200, 150, 150, 120)
    light = [float(1.0 - 0.45 * np.exp(-step / 12)) for step in range(60)]
    views = [gate.update(tray.shoot(*([thing] if step >= 6 else []), light=light[step])) for step in range(60)]
    assert states(views)[-1] == "item"
    assert overlap(boxes(views)[-1], (200, 150, 150, 120)) > 0.5
    assert states(tray.watch(gate, 1.0))[-1] == "empty"


def test_an_item_stays_an_item_while_the_exposure_follows_a_lamp() -> None:
    tray = Tray(tone=140.0)
    gate = learnt(tray)
    thing = box(200, 150, 150, 120)
    tray.watch(gate, 1.0, thing)
    light = [float(1.0 - 0.5 * np.exp(-step / 12)) for step in range(75)]
    views = [gate.update(tray.shoot(thing, light=light[step])) for step in range(75)]
    assert states(views) == ["learning", "item"]
    assert overlap(boxes(views)[-1], (200, 150, 150, 120)) > 0.6
    assert states(tray.watch(gate, 0.5)) == ["empty"]


def test_a_hand_too_fast_to_have_edges_is_not_learnt_with_the_light_of_a_lamp() -> None:
    smeared = shadow(60, 240, 100, depth=0.5, softness=20.0)
    for shapes, third in (((), "learning"), ((smeared,), "moving")):
        tray = Tray(tone=90.0)
        tray.floor += 18 * np.sin(np.arange(480, dtype=np.float32) / 5)[:, None, None]  # wood has edges everywhere
        gate = learnt(tray)
        views = tray.watch(gate, 2 / 15, light=1.6)
        views.append(gate.update(tray.shoot(*shapes, light=1.6)))
        assert [str(view.state) for view in views] == ["learning", "learning", third]
        views = tray.watch(gate, 1.0, light=1.6)
        assert views[-1].state == TrayState.EMPTY
        assert boxes(views) == []


def checkered(tray: Tray) -> np.ndarray:
    """Another picture than the tray, all over."""
    squares = np.kron(np.indices((12, 16)).sum(axis=0) % 2, np.ones((40, 40)))[..., None].astype(np.float32)
    return np.asarray(tray.floor * (0.3 + 0.6 * squares), np.float32)


def test_a_bag_held_over_the_tray_is_not_learnt() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.watch(gate, 1.0, box(200, 150, 150, 120))
    floor = tray.floor
    tray.floor = checkered(tray)
    assert states(tray.watch(gate, 1.5)) == ["moving"]
    tray.floor = floor
    views = tray.watch(gate, 1.0, box(200, 150, 150, 120))
    assert states(views)[-1] == "item"
    assert overlap(boxes(views)[-1], (200, 150, 150, 120)) > 0.6


def test_what_light_does_not_explain_is_learnt_anew_once_nothing_moves() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.floor = checkered(tray)
    assert states(tray.watch(gate, 4.0)) == ["moving", "learning", "empty"]
    assert states(tray.watch(gate, 1.0, box(200, 150, 150, 120, (10.0, 200.0, 20.0)))) == ["moving", "item"]


def test_something_that_arrives_while_the_tray_is_learnt_is_an_item() -> None:
    tray = Tray()
    gate = Gate(GateRule())
    tray.watch(gate, 0.5)
    assert states(tray.watch(gate, 1.0, box(200, 150, 150, 120))) == ["moving", "item"]


def test_nothing_is_learnt_while_something_moves_at_the_start() -> None:
    tray = Tray()
    gate = Gate(GateRule())
    views = [view for reach in range(300, 0, -30) for view in tray.watch(gate, 1 / 15, arm(250, reach))]
    assert states(views) == ["learning"]
    assert states(tray.watch(gate, 1.5)) == ["learning", "empty"]


def test_what_lay_there_while_the_tray_was_learnt_is_no_item_when_it_is_taken_out() -> None:
    tray = Tray()
    gate = Gate(GateRule())
    assert states(tray.watch(gate, 2.0, box(200, 150, 150, 120))) == ["learning", "empty"]
    assert states(tray.watch(gate, 2.0)) == ["moving", "empty"]
    assert states(tray.watch(gate, 1.0, box(200, 150, 150, 120))) == ["moving", "item"]


def test_an_arm_that_was_there_while_the_tray_was_learnt_blocks_nothing_afterwards() -> None:
    tray = Tray()
    gate = Gate(GateRule())
    tray.watch(gate, 2.0, arm(250, 250))
    assert states(tray.watch(gate, 2.0)) == ["moving", "empty"]


def test_a_camera_that_shakes_sees_nothing_in_the_texture_of_the_tray() -> None:
    tray = Tray()
    gate = learnt(tray)
    floor = tray.floor
    views = []
    for x, y in tray.rng.integers(-1, 2, (45, 2)):
        shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
        tray.floor = cv2.warpAffine(floor, shift, tray.size_px, borderMode=cv2.BORDER_REPLICATE)
        views += tray.watch(gate, 1 / 15)
    assert states(views) == ["empty"]


def test_a_camera_whose_clock_starts_again_goes_on() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.watch(gate, 5.0, box(200, 150, 150, 120))
    tray.frames = 0
    assert states(tray.watch(gate, 1.0, box(200, 150, 150, 120))) == ["moving", "item"]


def test_relearn_takes_what_lies_there_for_the_empty_tray() -> None:
    tray = Tray()
    gate = learnt(tray)
    tray.watch(gate, 1.0, box(200, 150, 150, 120))
    gate.relearn()
    assert states(tray.watch(gate, 2.0, box(200, 150, 150, 120))) == ["learning", "empty"]


def test_only_the_region_counts_and_boxes_are_in_px_of_the_picture() -> None:
    tray = Tray()
    gate = learnt(tray, region=(160, 100, 320, 240))
    assert states(tray.watch(gate, 1.0, box(20, 360, 120, 100))) == ["empty"]
    views = tray.watch(gate, 1.0, box(250, 160, 100, 80))
    assert states(views) == ["moving", "item"]
    assert overlap(boxes(views)[-1], (250, 160, 100, 80)) > 0.6


def test_the_crop_is_the_box_with_its_margin_made_square_in_memory_of_its_own() -> None:
    tray = Tray(noise=0.0)
    gate = learnt(tray, margin=0.15)
    tray.watch(gate, 1.0, box(240, 160, 160, 80))
    frame = tray.shoot(box(240, 160, 160, 80))
    item = gate.update(frame).item
    assert item is not None
    x, y, w, h = item.box
    side = round(w * 1.3)
    left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    np.testing.assert_array_equal(item.crop_rgb, frame.rgb[top : top + side, left : left + side])
    assert not np.shares_memory(item.crop_rgb, frame.rgb)
    assert (item.captured_s, item.number) == (frame.captured_s, frame.number)


def test_the_crop_repeats_the_edge_where_it_reaches_beyond_the_picture() -> None:
    tray = Tray(noise=0.0)
    gate = learnt(tray, margin=0.15)
    tray.watch(gate, 1.0, box(200, 40, 240, 340))
    frame = tray.shoot(box(200, 40, 240, 340))
    item = gate.update(frame).item
    assert item is not None
    _, y, w, h = item.box
    side = round(h * 1.3)
    above = -round(y + h / 2 - side / 2)
    assert item.crop_rgb.shape == (side, side, 3)
    assert h > w
    assert above > 0
    np.testing.assert_array_equal(item.crop_rgb[:above], np.repeat(item.crop_rgb[above : above + 1], above, axis=0))


def test_a_frame_is_only_looked_at() -> None:
    tray = Tray()
    gate = learnt(tray)
    for frame in [tray.shoot(box(200, 150, 150, 120)) for _ in range(10)]:
        before = frame.rgb.copy()
        frame.rgb.setflags(write=False)
        gate.update(frame)
        np.testing.assert_array_equal(frame.rgb, before)


def test_a_picture_of_another_size_starts_anew() -> None:
    tray, small = Tray(), Tray(size_px=(320, 240))
    gate = learnt(tray)
    small.frames = tray.frames
    assert states(small.watch(gate, 1.5)) == ["learning", "empty"]


@pytest.mark.parametrize("region", [(-1, 0, 100, 100), (0, 0, 31, 100)])
def test_refuses_a_region_that_cannot_be(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match="width and height of 32 px or more; correct it"):
        Gate(GateRule(), region)


def test_refuses_a_region_that_reaches_beyond_the_picture() -> None:
    frame = Frame(np.zeros((240, 320, 3), np.uint8), 0.0, 0)
    with pytest.raises(ConfigError, match="beyond the camera's picture of 320 x 240 px"):
        Gate(GateRule(), (200, 0, 200, 100)).update(frame)


def test_a_rule_names_all_its_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        GateRule(settle_s=0.0, warm_s=-1.0, min_area=2.0, margin=-0.1)
    assert caught.value.problems == [
        "gate: settle_s is 0.0, expected a number above 0 and at most 10.0; correct it",
        "gate: warm_s is -1.0, expected a number above 0 and at most 60.0; correct it",
        "gate: min_area is 2.0, expected a number above 0 and at most 1.0; correct it",
        "gate: margin is -0.1, expected a number from 0 to 1; correct it",
    ]


def truth_px(visit: Visit, items: Items, tray_px: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """Where the things of a visit come to rest: boxes x, y, w, h."""
    act = Act(visit, [items.picture(item) for item in visit.items], SIM_PX, tray_px, 1 / 15)
    settled_s = visit.wait_s + visit.enter_s + visit.hold_s + visit.leave_s + 0.01
    found = []
    for layer in act.layers(settled_s)[: len(visit.items)]:
        rows, columns = layer.rgba.shape[:2]
        turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), layer.angle_deg, layer.size_px / max(rows, columns))
        turn[:, 2] += (layer.centre_px[0] - columns / 2, layer.centre_px[1] - rows / 2)
        seen = cv2.warpAffine(layer.rgba[..., 3], turn, SIM_PX) > 100
        x, y, w, h = cv2.boundingRect(seen.astype(np.uint8))
        found.append((x, y, w, h))
    return found


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_sees_every_item_of_a_simulated_day_and_nothing_else(seed: int) -> None:
    items = load_items(None, LABELS, seed)
    gate = Gate(GateRule())
    tray_px = Scene(seed, SIM_PX).tray_px
    found: dict[int, tuple[int, int, int, int]] = {}
    false: list[str] = []
    lain = 0
    with SimulatedCamera(items, script(items, 15, seed), seed=seed, size_px=SIM_PX) as camera:
        while (frame := camera.read()) is not None:
            visit = camera.visit
            assert visit is not None
            item = gate.update(frame).item
            if item is not None and camera.lies:
                found[visit.number] = item.box
            elif item is not None and visit.number not in found:
                false.append(f"{visit.number} {visit.kind}")
            lain = lain + 1 if camera.lies else 0
            if lain == 10:
                camera.flap_moved("any")
    visits = script(items, 15, seed)
    assert false == []
    assert sorted(found) == [visit.number for visit in visits if visit.items]
    for visit in visits:
        if visit.kind is VisitKind.ITEM:
            (truth,) = truth_px(visit, items, tray_px)
            assert overlap(found[visit.number], truth) > 0.5, visit


def test_a_hand_is_said_to_reach_in_from_its_first_frame_also_when_it_is_a_blur() -> None:
    def blurred(picture: Picture) -> None:
        arm(250, 120)(picture)
        picture[:] = cv2.GaussianBlur(picture, (0, 0), 20.0)

    # What is soft and has stopped is a shadow; a hand has an outline then.
    for hand, frames in ((arm(250, 120), 15), (blurred, 5)):
        tray = Tray()
        gate = learnt(tray)
        assert [view.reached for view in tray.watch(gate, frames / 15, hand)] == [True] * frames
        assert [view.reached for view in tray.watch(gate, 0.2)] == [False] * 3


def test_an_item_reaches_in_from_nowhere() -> None:
    tray = Tray()
    gate = learnt(tray)
    assert [view.reached for view in tray.watch(gate, 1.0, box(200, 150, 150, 120))] == [False] * 15
