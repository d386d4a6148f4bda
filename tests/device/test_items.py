"""The pack of items: class folders, drawings, and cutting things out of photographs."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.camera.frame import Rgb
from device.errors import ItemsError, PictureError
from device.simulator.drawings import HELD_OUT_SHAPES, LABELS
from device.simulator.items import cut_out, load_items, outline

SIZE = (120, 160)  # rows, columns


def board(brightness: int = 215) -> Rgb:
    """A white board, lit from the left, with a sensor's noise."""
    ramp = np.linspace(brightness + 12, brightness - 25, SIZE[1])[None, :, None]
    noise = np.random.default_rng(1).normal(0, 2, (*SIZE, 3))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def save(path: Path, rgb: Rgb) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def with_box(colour: tuple[int, int, int]) -> Rgb:
    rgb = board()
    rgb[40:80, 50:110] = colour
    return rgb


def overlap(alpha: np.ndarray, box: tuple[slice, slice]) -> float:
    truth = np.zeros(alpha.shape, bool)
    truth[box] = True
    found = alpha > 127
    return float((truth & found).sum() / (truth | found).sum())


def test_frees_a_coloured_thing_from_an_uneven_board() -> None:
    assert overlap(outline(with_box((30, 110, 60))), (slice(40, 80), slice(50, 110))) > 0.85


def test_leaves_the_shadow_of_a_thing_on_the_board() -> None:
    rgb = with_box((170, 40, 30)).astype(np.float32)
    shadow = np.zeros(SIZE, np.float32)
    shadow[70:100, 55:125] = 0.15
    shadow[40:80, 50:110] = 0
    rgb *= 1 - cv2.GaussianBlur(shadow, (0, 0), 8)[..., None]

    assert overlap(outline(rgb.astype(np.uint8)), (slice(40, 80), slice(50, 110))) > 0.8


def test_the_cut_out_is_cropped_to_the_thing_and_keeps_its_colours() -> None:
    rgba = cut_out(with_box((30, 110, 60)))

    assert (abs(rgba.shape[0] - 40) <= 6, abs(rgba.shape[1] - 60) <= 6, rgba.shape[2]) == (True, True, 4)
    assert tuple(rgba[rgba.shape[0] // 2, rgba.shape[1] // 2]) == (30, 110, 60, 255)


@pytest.mark.parametrize(
    "rgb",
    [
        np.random.default_rng(4).integers(0, 255, (*SIZE, 3), np.uint8),  # no plain border
        board(),  # white on white: nothing stands out
        np.full((*SIZE, 3), 128, np.uint8),
    ],
    ids=["busy", "empty board", "one colour"],
)
def test_keeps_the_whole_picture_with_a_soft_edge_when_nothing_can_be_freed(rgb: Rgb) -> None:
    alpha = outline(rgb)

    assert alpha.shape == SIZE
    assert int(alpha[SIZE[0] // 2, SIZE[1] // 2]) == 255
    assert int(alpha[0].max()) < 128
    assert float((alpha == 255).mean()) > 0.75


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 2), (16, 16)])
def test_tiny_pictures_are_no_error(size: tuple[int, int]) -> None:
    rgba = cut_out(np.full((*size, 3), 90, np.uint8))

    assert rgba.ndim == 3


def test_reads_class_folders_in_the_order_of_label_and_name(tmp_path: Path) -> None:
    for name in ("set/glass/b.png", "set/glass/a.png", "set/battery/c.png"):
        save(tmp_path / name, with_box((30, 110, 60)))

    items = load_items(tmp_path, LABELS, seed=0)

    assert [(item.label, Path(item.name).name) for item in items.packed] == [
        ("battery", "c.png"),
        ("glass", "a.png"),
        ("glass", "b.png"),
    ]
    # A material that the model does not know keeps its name: it is what visitors bring.
    assert (items.labels, len(items), items.source) == (("battery", "glass"), 3, str(tmp_path))
    assert items.picture(items.packed[0]).shape[2] == 4


def test_reads_class_folders_of_an_archive(tmp_path: Path) -> None:
    save(tmp_path / "a.png", with_box((30, 110, 60)))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "dataset/metal/a.png")

    items = load_items(tmp_path / "set.zip", LABELS, seed=0)

    assert [(item.label, item.name) for item in items.packed] == [
        ("metal", f"{tmp_path}/set.zip!/dataset/metal/a.png"),
    ]
    assert items.picture(items.packed[0]).shape[2] == 4


def test_a_picture_is_read_once_while_it_is_kept_and_cannot_be_written_to(tmp_path: Path) -> None:
    save(tmp_path / "glass/a.png", with_box((30, 110, 60)))
    items = load_items(tmp_path, LABELS, seed=0)
    first = items.picture(items.packed[0])

    assert items.picture(items.packed[0]) is first
    assert not first.flags.writeable


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    save(tmp_path / "set/glass/a.png", board())
    (tmp_path / "set/metal").mkdir()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "set/glass/a.png", "glass/a.png")
        archive.mkdir("metal")

    for path, named in ((tmp_path / "set", "set/metal"), (tmp_path / "set.zip", "set.zip!/metal/")):
        with pytest.raises(ItemsError) as caught:
            load_items(path, LABELS, seed=0)
        assert str(caught.value) == (
            f"{tmp_path}/{named}: an empty class folder; expected pictures in it. Add some or remove the folder"
        )


def test_a_picture_in_no_class_folder_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", board())

    with pytest.raises(ItemsError) as caught:
        load_items(tmp_path, LABELS, seed=0)
    assert str(caught.value) == (
        f"{tmp_path}/a.png: in no class folder; expected folders named by material, such as glass/"
    )


def test_a_damaged_picture_is_an_error_only_when_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "glass").mkdir()
    (tmp_path / "glass/a.jpg").write_bytes(b"no picture")
    items = load_items(tmp_path, LABELS, seed=0)

    with pytest.raises(PictureError) as caught:
        items.picture(items.packed[0])
    assert str(caught.value).startswith(f"{tmp_path}/glass/a.jpg: ")


def test_draws_only_held_out_shapes_of_known_labels_and_the_same_ones_for_the_same_seed() -> None:
    items = load_items(None, ("glass", "paper", "uranium"), seed=3)
    shapes = {(item.label, item.name.split("/")[1].rsplit("-", 1)[0]) for item in items.packed}
    again, other = load_items(None, ("glass", "paper"), seed=3), load_items(None, ("glass", "paper"), seed=4)

    assert shapes == {(label, shape) for label in ("glass", "paper") for shape in HELD_OUT_SHAPES[label]}
    assert [item.name for item in again.packed] == [item.name for item in items.packed]
    assert not {item.name for item in again.packed} & {item.name for item in other.packed}
    assert np.array_equal(items.picture(items.packed[5]), again.picture(again.packed[5]))


def test_labels_that_nobody_can_draw_are_an_error_that_names_photographs_as_the_way() -> None:
    with pytest.raises(ItemsError) as caught:
        load_items(None, ("steel", "copper"), seed=0)
    assert str(caught.value) == (
        "drawings: the model's labels are steel, copper; can draw cardboard, glass, metal, organic, paper, plastic, "
        "trash. Name photographs with --items DIR"
    )
