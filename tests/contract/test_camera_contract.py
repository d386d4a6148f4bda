"""What every camera promises, checked on every backend but the Pi's own hardware (whose code runs on a made-up sensor).

Each backend is shown the same card, red on the left and blue on the right: a camera that swaps them fails here, as all
three open bins would that feed picamera2's `RGB888` to their classifier (picamera2#848).
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.camera import open_camera
from device.camera.frame import Camera, Frame, Rgb
from device.camera.pi import PiSource
from device.camera.replay import Recorder
from device.camera.stall import WatchedCamera
from device.camera.usb import UsbSource
from device.errors import CameraError
from device.simulator.camera import SimulatedCamera
from device.simulator.items import Items, PackedItem
from device.simulator.visits import Visit, VisitKind

SIZE_PX = (160, 120)
COUNT = 6
RED, BLUE = (200, 30, 20), (20, 60, 210)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def card(seed: int = 0) -> Rgb:
    rgb = np.empty((SIZE_PX[1], SIZE_PX[0], 3), np.uint8)
    rgb[:], rgb[:, : SIZE_PX[0] // 2] = BLUE, RED
    return np.asarray(rgb + np.random.default_rng(seed).integers(0, 20, rgb.shape, np.uint8), np.uint8)


class Sensor:
    """What PiSource uses of picamera2, before the card."""

    def __init__(self, clock: Clock) -> None:
        self.camera_controls: dict[str, Any] = {}
        self._clock = clock
        self._frames = 0
        self._main: Mapping[str, Any] = {}

    def create_video_configuration(self, **configuration: Any) -> dict[str, Any]:
        return configuration

    def configure(self, configuration: Mapping[str, Any]) -> None:
        self._main = configuration["main"]

    def camera_configuration(self) -> dict[str, Any]:
        return {"main": self._main}

    def start(self) -> None:
        pass

    @contextmanager
    def captured_request(self, wait: float) -> Iterator["Sensor"]:
        self._clock.now_s += 1 / 15
        self._frames += 1
        yield self

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": round(self._clock.now_s * 1e9)}

    def make_array(self, name: str) -> Rgb:
        # The real one's formats are named backwards: picamera2#848.
        return {"BGR888": card(self._frames), "RGB888": card(self._frames)[..., ::-1]}[self._main["format"]]

    def close(self) -> None:
        pass


class Webcam:
    """What UsbSource uses of cv2.VideoCapture, before the card."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._frames = 0

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, prop: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        self._clock.now_s += 1 / 15
        self._frames += 1
        return True, cv2.cvtColor(card(self._frames), cv2.COLOR_RGB2BGR)

    def release(self) -> None:
        pass


def picamera2(folder: Path) -> Camera:
    clock = Clock()
    source = PiSource(size_px=SIZE_PX, rate_hz=15, open_picamera2=lambda: Sensor(clock))
    return WatchedCamera(source, name="picamera2", is_live=True, size_px=SIZE_PX, clock=clock)


def usb(folder: Path) -> Camera:
    clock = Clock()
    source = UsbSource(0, size_px=SIZE_PX, rate_hz=15, clock=clock, open_capture=lambda device: Webcam(clock))
    return WatchedCamera(source, name="usb:0", is_live=True, size_px=SIZE_PX, clock=clock)


def _save_cards(folder: Path) -> list[Path]:
    paths = [folder / f"{index}.png" for index in range(COUNT)]
    for index, path in enumerate(paths):
        assert cv2.imwrite(str(path), cv2.cvtColor(card(index), cv2.COLOR_RGB2BGR))
    return paths


def pictures(folder: Path) -> Camera:
    _save_cards(folder)
    return open_camera(f"dir:{folder}", size_px=SIZE_PX)


def archive(folder: Path) -> Camera:
    with zipfile.ZipFile(folder / "cards.zip", "w") as packed:
        for path in _save_cards(folder):
            packed.write(path, path.name)
    return open_camera(f"dir:{folder}/cards.zip", size_px=SIZE_PX)


def video(folder: Path) -> Camera:
    writer = cv2.VideoWriter(str(folder / "cards.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 15.0, SIZE_PX)
    for index in range(COUNT):
        writer.write(cv2.cvtColor(card(index), cv2.COLOR_RGB2BGR))
    writer.release()
    return open_camera(f"video:{folder}/cards.avi", size_px=SIZE_PX)


def recording(folder: Path) -> Camera:
    recorder = Recorder(folder / "recording")
    for index in range(COUNT):
        assert recorder.write(Frame(card(index), 50.0 + index / 7, 3 * index))
    recorder.close()
    return open_camera(f"replay:{folder}/recording")


def _visit(number: int, *items: PackedItem) -> Visit:
    kind = VisitKind.ITEM if items else VisitKind.NOTHING
    return Visit(
        number, kind, items, 5, by_hand=False, wait_s=0.1, enter_s=0.2, hold_s=0.1, leave_s=0.2, patience_s=0.5
    )


def _drop(label: str) -> PackedItem:
    """A thing all red or all blue, as tall as wide, so that no turn of it matters."""
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[..., :3] = {"red": RED, "blue": BLUE}[label]
    return PackedItem(label, label, lambda: rgba)


def simulator(folder: Path) -> SimulatedCamera:
    things = [_drop("red"), _drop("blue")]
    visits = [_visit(number, thing) for number, thing in enumerate(things)]
    return SimulatedCamera(Items("test", things), visits, seed=2, size_px=SIZE_PX)


def live_simulator(folder: Path) -> Camera:
    clock, items = Clock(), Items("test", [_drop("red")])
    return SimulatedCamera(items, [_visit(0)], seed=2, size_px=SIZE_PX, real_time=True, clock=clock, sleep=clock.sleep)


SHOWN_THE_CARD: list[Callable[[Path], Camera]] = [picamera2, usb, pictures, archive, video, recording]
FINITE: list[Callable[[Path], Camera]] = [pictures, archive, video, recording, simulator]
EVERY: list[Callable[[Path], Camera]] = [picamera2, usb, *FINITE, live_simulator]


@pytest.fixture(params=EVERY, ids=lambda backend: backend.__name__)
def camera(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Camera]:
    opened: Camera = request.param(tmp_path)
    yield opened
    opened.close()


def take(camera: Camera, count: int = COUNT) -> list[Frame]:
    frames = [camera.read() for _ in range(count)]
    assert None not in frames
    return [frame for frame in frames if frame is not None]


def test_frames_are_contiguous_uint8_rgb_of_one_size(camera: Camera) -> None:
    facts = {(f.rgb.dtype.name, f.rgb.shape, f.rgb.flags.c_contiguous) for f in take(camera)}

    assert facts == {("uint8", (SIZE_PX[1], SIZE_PX[0], 3), True)}


@pytest.mark.parametrize("backend", SHOWN_THE_CARD, ids=lambda backend: backend.__name__)
def test_red_is_red_and_blue_is_blue(backend: Callable[[Path], Camera], tmp_path: Path) -> None:
    with backend(tmp_path) as camera:
        rgb = take(camera, 1)[0].rgb.astype(int)
    left, right = rgb[20:-20, 20:60].mean(axis=(0, 1)), rgb[20:-20, 100:140].mean(axis=(0, 1))

    # The card's own colours with the mean of its noise; a video's compression costs a little.
    assert np.abs(left - (np.array(RED) + 9.5)).max() < 8
    assert np.abs(right - (np.array(BLUE) + 9.5)).max() < 8


def test_red_is_red_and_blue_is_blue_in_the_simulator(tmp_path: Path) -> None:
    seen: dict[str, Rgb] = {}
    with simulator(tmp_path) as camera:
        empty = take(camera, 1)[0].rgb.astype(int)
        while (frame := camera.read()) is not None:
            if camera.lies and camera.visit is not None:
                seen[camera.visit.labels[0]] = frame.rgb
    things = {label: rgb[np.abs(rgb - empty).max(axis=2) > 60] for label, rgb in seen.items()}

    assert {label: len(pixels) > 200 for label, pixels in things.items()} == {"red": True, "blue": True}
    red, blue = things["red"].mean(axis=0), things["blue"].mean(axis=0)
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80


def test_numbers_count_up_and_time_goes_on(camera: Camera) -> None:
    frames = take(camera)
    numbers, times_s = [f.number for f in frames], [f.captured_s for f in frames]

    assert numbers == sorted(set(numbers))
    assert times_s == sorted(set(times_s))
    assert {(type(f.number), type(f.captured_s)) for f in frames} == {(int, float)}


def test_a_frame_is_never_written_to_after_it_was_handed_out(camera: Camera) -> None:
    first = take(camera, 1)[0].rgb
    before = first.copy()
    take(camera, COUNT - 1)

    assert np.array_equal(first, before)


def test_two_frames_share_no_memory(camera: Camera) -> None:
    first, second = take(camera, 2)

    assert not np.shares_memory(first.rgb, second.rgb)


def test_it_knows_its_name_and_whether_it_is_live(camera: Camera) -> None:
    name, _, _ = camera.name.partition(":")

    assert (name, camera.is_live) in {
        ("picamera2", True),
        ("usb", True),
        ("dir", False),
        ("video", False),
        ("replay", False),
        ("sim", False),
        ("sim", True),
    }


def test_closing_twice_is_no_error(camera: Camera) -> None:
    take(camera, 1)
    camera.close()
    camera.close()


def test_closing_before_the_first_frame_is_no_error(camera: Camera) -> None:
    camera.close()


def test_reading_a_closed_camera_is_an_error_that_names_it(camera: Camera) -> None:
    camera.close()

    with pytest.raises(CameraError) as caught:
        camera.read()
    assert str(caught.value) == f"{camera.name}: read after it was closed; open it again"


def test_leaving_the_with_block_closes_it(camera: Camera) -> None:
    with camera as entered:
        assert entered is camera
        take(camera, 1)

    with pytest.raises(CameraError):
        camera.read()


@pytest.mark.parametrize("backend", FINITE, ids=lambda backend: backend.__name__)
def test_the_end_of_a_finite_camera_is_none_and_stays_none(backend: Callable[[Path], Camera], tmp_path: Path) -> None:
    with backend(tmp_path) as camera:
        take(camera)
        rest = [camera.read() for _ in range(200)]

    assert rest[-2:] == [None, None]
    assert rest.index(None) == sum(frame is not None for frame in rest)


@pytest.mark.parametrize("backend", FINITE, ids=lambda backend: backend.__name__)
def test_a_finite_camera_gives_the_same_twice(backend: Callable[[Path], Camera], tmp_path: Path) -> None:
    runs: list[list[tuple[float, int, bytes]]] = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with backend(tmp_path / name) as camera:
            runs.append([(f.captured_s, f.number, f.rgb.tobytes()) for f in take(camera)])

    assert runs[0] == runs[1]
