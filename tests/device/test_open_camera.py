"""device.camera: which words open which camera; and device.camera.files and .usb, which need no Pi."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.camera import CAMERAS, open_camera
from device.camera.files import fit
from device.camera.frame import Camera, Rgb
from device.camera.locks import AUTOMATIC, Locks
from device.camera.stall import WatchedCamera
from device.camera.usb import UsbSource
from device.errors import CameraError, CameraNotFound, CameraStalled, ItemsError, PictureError, UsageError

RED, BLUE, GREY = (200, 30, 20), (20, 60, 210), (90, 90, 90)


def plain(size_px: tuple[int, int], colour: tuple[int, int, int] = GREY) -> Rgb:
    return np.full((size_px[1], size_px[0], 3), colour, np.uint8)


def card(size_px: tuple[int, int] = (64, 48)) -> Rgb:
    """Red on the left, blue on the right."""
    rgb = plain(size_px, BLUE)
    rgb[:, : size_px[0] // 2] = RED
    return rgb


def save(path: Path, rgb: Rgb) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def film(path: Path, pictures: list[Rgb], rate_hz: float = 10.0) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), rate_hz, (width, height))
    for rgb in pictures:
        writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def play(camera: Camera) -> list[tuple[float, int, Rgb]]:
    taken: list[tuple[float, int, Rgb]] = []
    with camera:
        while (frame := camera.read()) is not None:
            taken.append((frame.captured_s, frame.number, frame.rgb))
    return taken


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "webcam",
        "picamera2:0",
        "Picamera2",
        "usb",
        "usb:",
        "usb:x",
        "usb:-1",
        "usb:1.5",
        "dir",
        "dir:",
        "video:",
        "replay:",
        "sim:",
        "simulator",
        " sim",
        ":",
    ],
)
def test_a_word_that_names_no_camera_is_a_usage_error_that_lists_what_there_is(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_camera(spec)

    assert str(caught.value) == (
        f"camera {spec!r}: no such camera; expected one of picamera2, usb:N, dir:PATH, video:PATH, replay:DIR, "
        "sim[:seed=N,items=PATH]"
    )
    assert (caught.value.exit_code, len(CAMERAS)) == (2, 6)


@pytest.mark.parametrize(
    ("spec", "option"),
    [
        ("sim:seed=", "seed="),
        ("sim:items=", "items="),
        ("sim:3", "3"),
        ("sim:seed=1,speed=2", "speed=2"),
    ],
)
def test_an_option_that_the_simulator_lacks_is_named(spec: str, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_camera(spec)

    assert str(caught.value) == (
        f"camera {spec!r}: {option!r} is no option of it; expected seed=, items=, hands=, jams=, lids=, others=, "
        "by_hand=, pause=, white_balance=, swapped=, far=, shift=, blur=, reversed="
    )


def test_importing_the_camera_package_loads_no_library_for_pictures() -> None:
    # device.pictures names frames, so a circle would show here too.
    code = "import device.camera, sys; print('cv2' in sys.modules); import device.pictures, device.camera.replay"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)


def test_the_pictures_of_a_folder_become_frames_on_the_films_own_time(tmp_path: Path) -> None:
    colours = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]
    for name, colour in (("b/1.png", colours[1]), ("a/9.png", colours[0]), ("b/2.bmp", colours[2])):
        save(tmp_path / name, plain((64, 48), colour))

    camera = open_camera(f"dir:{tmp_path}", size_px=(64, 48), rate_hz=4)

    assert (camera.name, camera.is_live) == (f"dir:{tmp_path}", False)
    assert [(s, n, tuple(rgb[0, 0])) for s, n, rgb in play(camera)] == [
        (0.0, 0, colours[0]),
        (0.25, 1, colours[1]),
        (0.5, 2, colours[2]),
    ]


def test_pictures_of_any_size_become_frames_of_one_size(tmp_path: Path) -> None:
    for name, size_px in (("1.png", (30, 90)), ("2.png", (900, 300)), ("3.png", (64, 48)), ("4.png", (2000, 1))):
        save(tmp_path / name, card(size_px))

    taken = play(open_camera(f"dir:{tmp_path}", size_px=(64, 48)))

    assert [rgb.shape for _, _, rgb in taken] == [(48, 64, 3)] * 4
    assert [(tuple(rgb[24, 0]), tuple(rgb[24, 63])) for _, _, rgb in taken] == [(RED, BLUE)] * 4


def test_a_picture_is_fitted_whole_centred_with_its_edges_drawn_out() -> None:
    tall = plain((10, 20))
    tall[:, 0], tall[:, -1] = RED, BLUE

    frame = fit(tall, (40, 20))

    assert (frame.shape, frame.dtype.name, frame.flags.c_contiguous) == ((20, 40, 3), "uint8", True)
    assert np.array_equal(frame[:, 15:25], tall)
    assert np.array_equal(frame[:, :15], plain((15, 20), RED))
    assert np.array_equal(frame[:, 25:], plain((15, 20), BLUE))


def test_a_zip_plays_like_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "items/glass/1.png", card())
    save(tmp_path / "items/metal/1.jpg", card((100, 100)))
    with zipfile.ZipFile(tmp_path / "items.zip", "w") as archive:
        for path in (tmp_path / "items").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path))

    folder, packed = (play(open_camera(f"dir:{tmp_path}/{name}", size_px=(64, 48))) for name in ("items", "items.zip"))

    assert [(s, n, rgb.tobytes()) for s, n, rgb in packed] == [(s, n, rgb.tobytes()) for s, n, rgb in folder]
    assert len(packed) == 2


def test_a_picture_that_cannot_be_read_stops_the_film_with_its_name(tmp_path: Path) -> None:
    save(tmp_path / "1.png", card())
    (tmp_path / "2.png").write_bytes(b"")

    with open_camera(f"dir:{tmp_path}") as camera:
        assert camera.read() is not None
        with pytest.raises(PictureError, match=r"2\.png: the file is empty"):
            camera.read()


def test_a_folder_that_is_missing_or_empty_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such file or folder"):
        open_camera(f"dir:{tmp_path}/none")
    with pytest.raises(ItemsError, match="no pictures in it"):
        open_camera(f"dir:{tmp_path}")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "items/1.png", card())

    assert len(play(open_camera("dir:~/items"))) == 1


def test_a_video_keeps_its_own_rate(tmp_path: Path) -> None:
    greys = [plain((64, 48), (level, level, level)) for level in (20, 90, 160)]

    taken = play(open_camera(f"video:{film(tmp_path / 'a.mkv', greys, rate_hz=8)}", size_px=(64, 48), rate_hz=30))

    assert [(s, n, int(np.median(rgb))) for s, n, rgb in taken] == [(0.0, 0, 20), (0.125, 1, 90), (0.25, 2, 160)]


def test_a_video_is_fitted_into_the_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", [card((128, 48))])

    ((_, _, rgb),) = play(open_camera(f"video:{path}", size_px=(64, 48)))

    assert rgb.shape == (48, 64, 3)
    assert rgb[24, 10].argmax() == 0
    assert rgb[0, 60].argmax() == 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, "no such file; check the path"),
        (b"", "no video that OpenCV reads"),
        (b"x" * 9999, "no video that OpenCV"),
    ],
)
def test_a_video_that_is_none_is_refused_in_one_sentence(
    tmp_path: Path, data: bytes | None, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if data is not None:
        (tmp_path / "a.mp4").write_bytes(data)

    with pytest.raises(CameraNotFound, match=expected):
        open_camera(f"video:{tmp_path}/a.mp4")
    assert capfd.readouterr() == ("", "")


def test_a_usb_camera_that_is_not_there_is_refused_in_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CameraNotFound) as caught:
        open_camera("usb:213")

    assert str(caught.value) == (
        "usb:213: /dev/video213 does not open as a camera; see which there are with: v4l2-ctl --list-devices, "
        "and who holds it with: sudo fuser -v /dev/video213"
    )
    assert capfd.readouterr() == ("", "")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Webcam:
    """A USB camera behind OpenCV: B, G, R pictures with noise, one every 1/30 s; torn or missing ones as told.

    Args:
        script: a letter a read: `.` a picture, `t` a torn one, `w` none within the driver's patience.
        after: what happens when the script is over.
    """

    def __init__(self, clock: Clock, script: str = "", after: str = ".", size_px: tuple[int, int] = (64, 48)) -> None:
        self.clock = clock
        self.script = list(script)
        self.after = after
        self.size_px = size_px
        self.settings: list[tuple[int, float]] = []
        self.is_open = True
        self.released = 0
        self.reads = 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.is_open

    def set(self, prop: int, value: float) -> bool:
        self.settings.append((prop, value))
        return True

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_EXPOSURE: 156.0, cv2.CAP_PROP_FOCUS: 0.0}[prop]

    def read(self) -> tuple[bool, Any]:
        self.reads += 1
        happens = self.script.pop(0) if self.script else self.after
        self.clock.now_s += 2.0 if happens == "w" else 1 / 30
        if happens != ".":
            return False, None
        noise = np.random.default_rng(self.reads).integers(0, 9, (self.size_px[1], self.size_px[0], 3), np.uint8)
        return True, cv2.cvtColor(card(self.size_px) + noise, cv2.COLOR_RGB2BGR)

    def release(self) -> None:
        self.released += 1


def usb(webcam: Webcam, locks: Locks = AUTOMATIC) -> WatchedCamera:
    opened: list[int] = []

    def open_capture(device: int) -> Webcam:
        opened.append(device)
        return webcam

    source = UsbSource(
        3, size_px=(64, 48), rate_hz=15, stall_s=2.0, clock=webcam.clock, open_capture=open_capture, locks=locks
    )
    assert opened == [3]
    return WatchedCamera(source, name="usb:3", is_live=True, size_px=(64, 48), stall_s=2.0, clock=webcam.clock)


def test_a_usb_camera_is_held_at_what_was_locked_and_tells_what_it_settled_on() -> None:
    webcam = Webcam(Clock())
    with usb(webcam, Locks(exposure_us=12_000, lens=40.0)) as camera:
        assert camera.settled() == Locks(exposure_us=15_600)
    assert webcam.settings[5:] == [
        (cv2.CAP_PROP_AUTO_EXPOSURE, 1),
        (cv2.CAP_PROP_EXPOSURE, 120.0),
        (cv2.CAP_PROP_AUTO_WB, 0),
        (cv2.CAP_PROP_AUTOFOCUS, 0),
        (cv2.CAP_PROP_FOCUS, 40.0),
    ]


def test_colours_are_put_right_in_any_camera_that_is_asked_for_it(tmp_path: Path) -> None:
    save(tmp_path / "a.png", plain((64, 48), RED))
    ((_, _, rgb),) = play(open_camera(f"dir:{tmp_path}", size_px=(64, 48), locks=Locks(is_swapped=True)))
    assert rgb[0, 0].tolist() == list(RED[::-1])


def test_a_usb_camera_is_asked_for_mjpg_the_size_the_rate_and_one_buffer_in_this_order() -> None:
    webcam = Webcam(Clock())
    with usb(webcam):
        pass

    # The format first: a camera offers other sizes and rates for each.
    assert webcam.settings == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 64),
        (cv2.CAP_PROP_FRAME_HEIGHT, 48),
        (cv2.CAP_PROP_FPS, 15),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]
    assert webcam.released == 1


def test_a_usb_frame_is_stamped_when_it_arrives() -> None:
    with usb(Webcam(Clock())) as camera:
        frames = [camera.read() for _ in range(3)]

    assert [frame and (round(frame.captured_s, 4), frame.number) for frame in frames] == [
        (100.0333, 0),
        (100.0667, 1),
        (100.1, 2),
    ]


def test_a_few_torn_pictures_are_passed_over() -> None:
    with usb(Webcam(Clock(), "tttt.t.")) as camera:
        frames = [camera.read() for _ in range(2)]

    assert [frame and frame.number for frame in frames] == [0, 1]


def read_until_error(camera: Camera) -> CameraError:
    with camera:
        for _ in range(200):
            try:
                camera.read()
            except CameraError as error:
                return error
    raise AssertionError("no error came")


def test_a_usb_camera_that_was_pulled_out_is_an_error_at_once() -> None:
    webcam = Webcam(Clock(), "...", after="t")

    error = read_until_error(usb(webcam))

    assert (type(error), str(error)) == (
        CameraError,
        "usb:3: 5 reads in a row gave no frame; plug the camera in again",
    )
    assert webcam.clock.now_s < 101


def test_a_usb_camera_that_goes_silent_is_a_stall() -> None:
    error = read_until_error(usb(Webcam(Clock(), "...", after="w")))

    assert (type(error), str(error)) == (
        CameraStalled,
        "usb:3: no frame within 2 s; opening it again may help, else unplug it and plug it in",
    )


def test_a_usb_camera_that_lacks_the_size_is_refused() -> None:
    error = read_until_error(usb(Webcam(Clock(), size_px=(80, 60))))

    assert str(error) == "usb:3: gives 80x60 pixels; asked for 64x48, set camera.size_px to a size that it has"


def test_a_usb_camera_that_fails_inside_opencv_is_an_error() -> None:
    class Broken(Webcam):
        def read(self) -> tuple[bool, Any]:
            cv2.imdecode(np.zeros(0, np.uint8), cv2.IMREAD_COLOR)
            raise AssertionError

    error = read_until_error(usb(Broken(Clock())))

    assert str(error).startswith("usb:3: OpenCV failed to read it (")
    assert "\n" not in str(error)


def test_a_usb_camera_that_does_not_open_is_given_back() -> None:
    webcam = Webcam(Clock())
    webcam.is_open = False

    with pytest.raises(CameraNotFound, match="/dev/video3 does not open as a camera"):
        usb(webcam)
    assert webcam.released == 1


def test_the_simulator_opens_with_its_own_drawings() -> None:
    with open_camera("sim", size_px=(160, 120)) as camera:
        frame = camera.read()

    assert (camera.name, camera.is_live) == ("sim", True)
    assert frame is not None
    assert frame.rgb.shape == (120, 160, 3)


@pytest.mark.parametrize("options", ["seed=7,items={}", "items={},seed=7"])
def test_the_simulator_takes_a_seed_and_a_path_with_a_comma(tmp_path: Path, options: str) -> None:
    save(tmp_path / "cans, tins/metal/1.png", card())
    spec = "sim:" + options.format(tmp_path / "cans, tins")

    def first(spec: str) -> bytes:
        with open_camera(spec, size_px=(160, 120)) as camera:
            frame = camera.read()
        assert frame is not None
        return frame.rgb.tobytes()

    assert first(spec) == first("sim:seed=7")
    assert first(spec) != first("sim")


def test_items_that_the_simulator_cannot_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises((PictureError, ItemsError)):
        open_camera(f"sim:items={tmp_path}/none")
    save(tmp_path / "1.png", card())
    with pytest.raises(ItemsError, match="in no class folder"):
        open_camera(f"sim:items={tmp_path}")
