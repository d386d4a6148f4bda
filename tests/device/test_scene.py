"""The bin interior and what is laid into it."""

import numpy as np
import pytest

from device.simulator.brush import Rgba
from device.simulator.scene import HAND_AT, Layer, Light, Scene, draw_hand, expose, interior, noise_tile, paste

SIZE_PX = (160, 120)


def red_square(side: int = 40) -> Rgba:
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[:] = (220, 20, 10, 255)
    return rgba


def calm(size_px: tuple[int, int] = SIZE_PX) -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_same_seed_is_the_same_bin_to_the_last_bit() -> None:
    layers = [Layer(red_square(), (80, 60), 50, 30, (9, 4), 0.4)]
    shots = [Scene(5, SIZE_PX).render(layers, Light(), np.random.default_rng(2)) for _ in range(2)]
    other = Scene(6, SIZE_PX).render(layers, Light(), np.random.default_rng(2))

    assert (shots[0].shape, shots[0].dtype.name) == ((120, 160, 3), "uint8")
    assert shots[0].tobytes() == shots[1].tobytes()
    assert shots[0].tobytes() != other.tobytes()


def test_a_frame_is_new_memory_and_new_noise_each_time() -> None:
    scene, rng = Scene(5, SIZE_PX), np.random.default_rng(2)
    first = scene.render([], Light(), rng)
    before = first.copy()
    second = scene.render([], Light(), rng)

    assert np.array_equal(first, before)
    assert not np.shares_memory(first, second)
    assert 0.5 < float(np.abs(first.astype(int) - second).mean()) < 6


@pytest.mark.parametrize("seed", range(12))
def test_every_bin_is_neither_black_nor_burnt_and_its_tray_is_most_of_the_picture(seed: int) -> None:
    scene = Scene(seed, SIZE_PX)
    rgb = scene.render([], Light(), calm())
    x, y, width, height = scene.tray_px

    assert 40 < float(rgb.mean()) < 190
    assert float((rgb == 255).mean()) < 0.05
    assert (x > 0, y > 0, x + width < 160, y + height < 120) == (True, True, True, True)
    assert width * height > 0.5 * 160 * 120


def test_an_item_shows_where_it_lies_in_its_own_colour() -> None:
    scene = Scene(5, SIZE_PX)
    empty, full = (scene.render(x, Light(), calm()).astype(int) for x in ([], [Layer(red_square(), (80, 60), 40)]))
    changed = np.abs(full - empty).sum(2) > 40
    rows, cols = np.nonzero(changed)

    assert changed[60, 80]
    assert (rows.min() > 25, rows.max() < 95, cols.min() > 45, cols.max() < 115) == (True, True, True, True)
    red, green, blue = full[55:65, 75:85].mean((0, 1))
    assert red > 2 * max(green, blue)


def test_an_item_throws_a_shadow_outside_its_outline() -> None:
    scene = Scene(5, SIZE_PX)
    empty, full = (scene.render(x, Light(), calm()).astype(int) for x in ([], [Layer(red_square(), (80, 60), 40)]))
    around = np.ones((120, 160), bool)
    around[38:82, 58:102] = False
    darker = (empty - full).sum(2)[around]

    assert int((darker > 25).sum()) > 20
    assert int((darker < -25).sum()) == 0


def test_motion_smears_along_its_way_only() -> None:
    scene = Scene(5, SIZE_PX)
    item = red_square()
    still = scene.render([Layer(item, (80, 60), 30)], Light(), calm()).astype(int)
    moving = scene.render([Layer(item, (80, 60), 30, velocity_px=(40, 0))], Light(), calm()).astype(int)
    redness = [(rgb[..., 0] - rgb[..., 1]) for rgb in (still, moving)]
    across = [int((r[60] > r[60].max() * 0.3).sum()) for r in redness]
    down = [int((r[:, 80] > r[:, 80].max() * 0.3).sum()) for r in redness]

    assert across[1] >= across[0] + 6
    assert abs(down[1] - down[0]) <= 3


def test_the_lamp_changes_the_whole_frame_and_exposure_makes_up_for_it() -> None:
    scene = Scene(5, SIZE_PX)
    on, off, adapted = (
        scene.render([], light, calm()).astype(float)
        for light in (Light(), Light(lamp=0.0), Light(lamp=0.0, exposure=scene.dusk_gain))
    )

    assert off.mean() < 0.75 * on.mean()
    assert abs(adapted.mean() - on.mean()) < 0.12 * on.mean()


def test_a_layer_outside_the_frame_or_partly_so_is_cut_off() -> None:
    scene = Scene(5, SIZE_PX)
    empty = scene.render([], Light(), calm())
    gone = scene.render([Layer(red_square(), (-300, 60), 40), Layer(red_square(), (80, 500), 40)], Light(), calm())
    half = scene.render([Layer(red_square(), (0, 60), 40)], Light(), calm())

    assert np.array_equal(empty, gone)
    assert not np.array_equal(empty, half)


def test_layers_are_not_written_to() -> None:
    item = red_square()
    item.setflags(write=False)
    Scene(5, SIZE_PX).render([Layer(item, (80, 60), 12, 20, (30, 30), 0.5)], Light(), calm())

    assert np.array_equal(item, red_square())


def test_a_drawing_that_took_the_place_of_another_in_memory_is_not_mistaken_for_it() -> None:
    scene = Scene(5, SIZE_PX)
    shots = []
    for value in range(40):
        item = np.full((32, 32, 4), (value * 6, 90, 90, 255), np.uint8)
        shots.append(int(scene.render([Layer(item, (80, 60), 40)], Light(), calm())[60, 80, 0]))
        del item

    assert shots == sorted(shots)
    assert shots[-1] - shots[0] > 120


def test_exposure_and_cast_scale_the_channels() -> None:
    grey = np.full((120, 160, 3), 100, np.uint8)
    still = np.zeros((120, 160, 3), np.int16)
    rgb = expose(grey, Light(exposure=1.2, cast=(1.0, 0.5, 1.5)), still, calm())

    assert [tuple(colour) for colour in np.unique(rgb.reshape(-1, 3), axis=0)] == [(120, 60, 180)]


def test_the_noise_tile_has_the_deviation_asked_for() -> None:
    tile = noise_tile(np.random.default_rng(1), SIZE_PX, 4.0)

    assert (tile.shape, tile.dtype.name) == ((184, 224, 3), "int16")
    assert 3.8 < float(tile.std()) < 5.2
    assert abs(float(tile.mean())) < 0.1


def test_interior_and_paste_serve_the_trainer_and_leave_their_inputs_alone() -> None:
    background, again = (interior(np.random.default_rng(9), (200, 150)) for _ in range(2))
    before = background.copy()
    rgb = paste(background, red_square(), (100, 75), 60, 45, rng=np.random.default_rng(1))
    bare = paste(background, red_square(), (100, 75), 60, 45, rng=np.random.default_rng(1), shadow=False)

    assert (background.shape, background.dtype.name) == ((150, 200, 3), "uint8")
    assert background.tobytes() == again.tobytes()
    assert np.array_equal(background, before)
    assert (rgb.shape, bool((rgb[75, 100] != before[75, 100]).any())) == ((150, 200, 3), True)
    assert int((rgb.astype(int) - bare).max()) <= 1
    assert int((bare.astype(int) - rgb).max()) > 5


def test_a_hand_reaches_in_from_the_top_and_ends_before_the_bottom() -> None:
    hands = [draw_hand(seed, 96) for seed in range(8)]
    at = (int(HAND_AT[1] * 96), int(HAND_AT[0] * 96))

    assert [int(hand[0, :, 3].max()) for hand in hands] == [255] * 8
    assert [int(hand[-1, :, 3].max()) for hand in hands] == [0] * 8
    assert [int(hand[at][3]) for hand in hands] == [255] * 8
    assert len({hand.tobytes() for hand in hands}) == 8
    assert draw_hand(3, 96).tobytes() == hands[3].tobytes()
