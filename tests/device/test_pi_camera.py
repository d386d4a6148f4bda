"""device.camera.pi and the rules of device.camera.stall, against a sensor that misbehaves as real ones do."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.camera.frame import Frame, Rgb
from device.camera.locks import AUTOMATIC, Locks
from device.camera.pi import PiSource
from device.camera.stall import WatchedCamera
from device.errors import CameraError, CameraNotFound, CameraStalled

SIZE_PX = (64, 48)


class Clock:
    """Monotonic seconds that only move when something takes time."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Sensor:
    """A sensor and the part of picamera2 that is used, on a clock of its own.

    A frame every 1/15 s, with noise, kept in a queue of one as picamera2 does; colours lie in memory as picamera2 lays
    them. What can go wrong with it is an attribute.
    """

    def __init__(self, clock: Clock, **faults: Any) -> None:
        self.clock = clock
        self.faults = faults
        self.camera_controls: dict[str, Any] = {"AfMode": (0, 2, 0)} if faults.get("has_lens") else {}
        self.configuration: dict[str, Any] = {}
        self.is_started = False
        self.closed = 0
        self.on_loan = 0
        self.frames = 0

    def create_video_configuration(self, **configuration: Any) -> dict[str, Any]:
        return configuration

    def configure(self, configuration: Mapping[str, Any]) -> None:
        if "configure" in self.faults:
            raise self.faults["configure"]
        self.configuration = dict(configuration)
        self.configuration["main"] = {**configuration["main"], **self.faults.get("adjusts", {})}

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def start(self) -> None:
        self.is_started = True

    @contextmanager
    def captured_request(self, wait: float) -> Iterator["Sensor"]:
        assert self.is_started
        if self.frames >= self.faults.get("silent_after", 1000):
            self.clock.now_s += wait
            raise TimeoutError
        if self.frames >= self.faults.get("gone_after", 1000):
            raise RuntimeError("camera disconnected")
        self.clock.now_s += 1 / 15
        self.frames += 1
        self.on_loan += 1
        yield self
        self.on_loan -= 1

    def get_metadata(self) -> dict[str, Any]:
        if self.faults.get("has_no_time"):
            return {}
        frozen = self.frames > self.faults.get("time_stops_after", 1000)
        taken_s = self.faults["stopped_s"] if frozen else self.clock.now_s - self.faults.get("late_s", 0.02)
        self.faults["stopped_s"] = taken_s
        return {"SensorTimestamp": round(taken_s * 1e9), "ExposureTime": 10_000}

    def make_array(self, name: str) -> Rgb:
        assert name == "main"
        width, height = self.configuration["main"]["size"]
        if self.frames > self.faults.get("grows_after", 1000):
            width *= 2
        stuck = self.frames > self.faults.get("picture_stops_after", 1000)
        rgb = np.random.default_rng(0 if stuck else self.frames).integers(0, 30, (height, width, 3), np.uint8)
        rgb[:, : width // 2, 0] += 200
        rgb[:, width // 2 :, 2] += 200
        # libcamera names formats by the order in a little-endian word: "RGB888" is B, G, R in memory.
        return rgb if self.configuration["main"]["format"] == "BGR888" else rgb[..., ::-1]

    def close(self) -> None:
        self.closed += 1
        if "never_closes" in self.faults:
            self.faults["never_closes"].wait()
        if "close" in self.faults:
            raise self.faults["close"]


def camera(sensor: Sensor, *, close_s: float = 5.0, locks: Locks = AUTOMATIC) -> WatchedCamera:
    source = PiSource(
        size_px=SIZE_PX, rate_hz=15, stall_s=2.0, open_picamera2=lambda: sensor, close_s=close_s, locks=locks
    )
    return WatchedCamera(source, name="picamera2", is_live=True, size_px=SIZE_PX, stall_s=2.0, clock=sensor.clock)


def read(camera: WatchedCamera) -> Frame:
    frame = camera.read()
    assert frame is not None
    return frame


def read_until_error(camera: WatchedCamera) -> tuple[int, CameraError]:
    """Give how many frames came, and what ended them."""
    for count in range(200):
        try:
            camera.read()
        except CameraError as error:
            return count, error
    raise AssertionError("no error came")


def test_asks_for_the_format_that_is_rgb_in_memory_few_buffers_and_the_rate() -> None:
    sensor = Sensor(Clock())
    with camera(sensor):
        pass

    assert sensor.configuration == {
        "main": {"format": "BGR888", "size": SIZE_PX},
        "buffer_count": 3,
        "controls": {"FrameDurationLimits": (66667, 66667)},
    }


LOCKS = Locks(exposure_us=9000, gain=2.0, colour_gains=(1.5, 2.1), lens=4.5)
HELD = {
    "AeEnable": False, "ExposureTime": 9000, "AnalogueGain": 2.0, "AwbEnable": False, "ColourGains": (1.5, 2.1),
    "AfMode": 0, "LensPosition": 4.5,
}  # fmt: skip


def test_what_calibration_has_locked_is_held_from_the_first_frame_as_far_as_the_camera_has_it() -> None:
    sensor = Sensor(Clock(), has_lens=True)
    sensor.camera_controls = dict.fromkeys(HELD)
    with camera(sensor, locks=LOCKS):
        pass
    assert sensor.configuration["controls"] == {"FrameDurationLimits": (66667, 66667), **HELD}
    fixed = Sensor(Clock())
    fixed.camera_controls = {"AeEnable": None, "ExposureTime": None, "AnalogueGain": None}
    with camera(fixed, locks=LOCKS):
        pass
    assert fixed.configuration["controls"] == {
        "FrameDurationLimits": (66667, 66667), "AeEnable": False, "ExposureTime": 9000, "AnalogueGain": 2.0,
    }  # fmt: skip


def test_it_tells_what_the_camera_has_settled_on() -> None:
    with camera(Sensor(Clock())) as opened:
        assert opened.settled() == AUTOMATIC
        read(opened)
        assert opened.settled() == Locks(exposure_us=10_000)


def test_a_camera_with_a_lens_is_told_to_focus() -> None:
    sensor = Sensor(Clock(), has_lens=True)
    with camera(sensor):
        pass

    assert sensor.configuration["controls"]["AfMode"] == 2


def test_red_is_red() -> None:
    with camera(Sensor(Clock())) as pi:
        rgb = read(pi).rgb

    assert rgb[:, :32].min(axis=(0, 1)).argmax() == 0
    assert rgb[:, 32:].min(axis=(0, 1)).argmax() == 2


def test_the_sensors_time_is_the_frames_time() -> None:
    sensor = Sensor(Clock(500.0), late_s=0.05)
    with camera(sensor) as pi:
        times_s = [read(pi).captured_s for _ in range(3)]

    assert times_s == pytest.approx([500 + 1 / 15 - 0.05, 500 + 2 / 15 - 0.05, 500 + 3 / 15 - 0.05], abs=1e-8)


def test_every_request_goes_back_also_after_a_frame_without_time() -> None:
    sensor = Sensor(Clock(), has_no_time=True)
    with camera(sensor) as pi:
        _, error = read_until_error(pi)

    assert sensor.on_loan == 0
    assert str(error) == "picamera2: a frame without SensorTimestamp; update libcamera: sudo apt full-upgrade"


def test_a_sensor_that_goes_silent_is_noticed_after_stall_s() -> None:
    sensor = Sensor(Clock(100.0), silent_after=3)
    with camera(sensor) as pi:
        count, error = read_until_error(pi)

    assert (count, type(error)) == (3, CameraStalled)
    assert sensor.clock.now_s == pytest.approx(100 + 3 / 15 + 2.0)
    assert str(error) == ("picamera2: no frame within 2 s; opening it again may help, else check the ribbon cable")


def test_a_sensor_whose_time_stands_still_is_noticed_though_pictures_keep_coming() -> None:
    sensor = Sensor(Clock(100.0), time_stops_after=3)
    with camera(sensor) as pi:
        count, error = read_until_error(pi)

    assert (count, type(error)) == (3, CameraStalled)
    assert sensor.clock.now_s == pytest.approx(100 + 3 / 15 + 2.0, abs=1 / 15)
    assert "picamera2: no new frame for 2 s (the newest was taken 2.1 s ago)" in str(error)


def test_the_same_picture_again_and_again_is_noticed_though_the_sensors_time_advances() -> None:
    sensor = Sensor(Clock(100.0), picture_stops_after=3)
    with camera(sensor) as pi:
        count, error = read_until_error(pi)

    # Frame 4 is the first of the stuck ones; the one taken 2 s after it is refused.
    assert (count, type(error)) == (3 + 30, CameraStalled)
    assert "the same picture to the last bit for 2 s" in str(error)


def test_a_picture_that_repeats_for_less_than_stall_s_is_no_fault() -> None:
    clock = Clock()
    same = np.zeros((48, 64, 3), np.uint8)
    pictures = [same, same, same, same + 1, same, same, same]

    class Film:
        def grab(self) -> Frame:
            clock.now_s += 0.9
            return Frame(pictures.pop(0).copy(), clock.now_s, 0)

        def release(self) -> None:
            pass

    with WatchedCamera(Film(), name="usb:0", is_live=True, stall_s=2.0, clock=clock) as film:
        assert len([read(film) for _ in range(7)]) == 7


def test_only_old_pictures_are_a_stall() -> None:
    sensor = Sensor(Clock(100.0), late_s=2.5)
    with camera(sensor) as pi:
        count, error = read_until_error(pi)

    assert (count, type(error)) == (0, CameraStalled)
    assert "(the newest was taken 2.5 s ago)" in str(error)


def test_old_pictures_in_the_drivers_queue_are_dropped_after_a_pause() -> None:
    clock = Clock()
    taken_s = [100.0, 100.1, 107.9, 108.0]

    class Queue:
        def grab(self) -> Frame:
            number = 4 - len(taken_s)
            return Frame(np.full((48, 64, 3), number, np.uint8), taken_s.pop(0), number)

        def release(self) -> None:
            pass

    with WatchedCamera(Queue(), name="usb:0", is_live=True, stall_s=2.0, clock=clock) as queue:
        first = read(queue)
        clock.now_s = 108.0  # nobody read for eight seconds
        second = read(queue)

    assert [(f.captured_s, f.number) for f in (first, second)] == [(100.0, 0), (107.9, 2)]


def test_a_picture_that_changes_its_size_is_an_error() -> None:
    with camera(Sensor(Clock(), grows_after=3)) as pi:
        count, error = read_until_error(pi)

    assert (count, type(error)) == (3, CameraError)
    assert str(error) == "picamera2: the picture changed its size from 64x48 to 128x48; open it again"


def test_a_frame_of_another_kind_is_an_error() -> None:
    class Depth:
        def grab(self) -> Frame:
            return Frame(np.zeros((48, 64), np.uint8), 0.0, 0)

        def release(self) -> None:
            pass

    with WatchedCamera(Depth(), name="usb:0", is_live=False) as depth:
        _, error = read_until_error(depth)

    assert str(error) == "usb:0: a frame of uint8 [48, 64]; expected uint8 [H, W, 3], check its format"


def test_a_camera_that_disappears_is_an_error() -> None:
    with camera(Sensor(Clock(), gone_after=3)) as pi:
        count, error = read_until_error(pi)

    assert (count, type(error)) == (3, CameraError)
    assert str(error) == "picamera2: the camera went away (camera disconnected); check the ribbon cable"


def test_a_live_camera_that_ends_is_an_error() -> None:
    class Empty:
        def grab(self) -> None:
            return None

        def release(self) -> None:
            pass

    with WatchedCamera(Empty(), name="usb:0", is_live=True) as empty:
        _, error = read_until_error(empty)

    assert "it ended, which a live camera must not" in str(error)


def test_a_size_that_libcamera_adjusted_is_refused_and_the_camera_closed() -> None:
    sensor = Sensor(Clock(), adjusts={"size": (80, 48)})
    with pytest.raises(CameraError) as caught:
        camera(sensor)

    assert str(caught.value) == (
        "picamera2: the camera offers BGR888 at 80x48; asked for BGR888 at 64x48, "
        "set camera.size_px to a size that it has"
    )
    assert (sensor.closed, sensor.is_started) == (1, False)


def test_a_format_that_libcamera_adjusted_is_refused() -> None:
    with pytest.raises(CameraError, match="the camera offers YUYV at 64x48"):
        camera(Sensor(Clock(), adjusts={"format": "YUYV"}))


def test_a_camera_that_does_not_start_is_closed() -> None:
    sensor = Sensor(Clock(), configure=RuntimeError("Failed to allocate buffers"))
    with pytest.raises(CameraError, match=r"does not start \(Failed to allocate buffers\); restart the service"):
        camera(sensor)

    assert sensor.closed == 1


def refuses(cause: Exception) -> Callable[[], Any]:
    def open_picamera2() -> Any:
        try:
            raise cause
        except type(cause):
            # As picamera2 does, hiding the cause.
            raise RuntimeError("Camera __init__ sequence did not complete.")  # noqa: B904

    return open_picamera2


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (
            RuntimeError("Failed to acquire camera: Device or resource busy"),
            "picamera2: another program holds the camera (Failed to acquire camera: Device or resource busy); "
            "find it with: sudo fuser -v /dev/media* /dev/video*",
        ),
        (
            IndexError("list index out of range"),
            "picamera2: no camera opens (list index out of range); "
            "check the ribbon cable and: rpicam-hello --list-cameras",
        ),
    ],
)
def test_a_camera_that_does_not_open_is_named_with_its_cause(cause: Exception, expected: str) -> None:
    with pytest.raises(CameraNotFound) as caught:
        PiSource(size_px=SIZE_PX, rate_hz=15, open_picamera2=refuses(cause))

    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "line",
    [
        """raise ImportError("No module named 'libcamera'")""",
        'raise ValueError("numpy.dtype size changed. Expected 96, got 88")',
    ],
)
def test_a_picamera2_that_cannot_be_imported_is_named_with_the_cure(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picamera2.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    cause = line.split('"')[-2]

    with pytest.raises(CameraNotFound) as caught:
        PiSource(size_px=SIZE_PX, rate_hz=15)

    assert str(caught.value) == (
        f"picamera2: cannot be imported ({cause}); run: sudo apt install python3-picamera2, "
        "and make the environment with: python3 -m venv --system-site-packages"
    )


def test_closes_on_every_way_out_and_once() -> None:
    sensor = Sensor(Clock())
    pi = camera(sensor)

    def work() -> None:
        with pi:
            read(pi)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    pi.close()

    assert sensor.closed == 1


def test_a_close_that_never_returns_is_said_and_left_behind() -> None:
    never = threading.Event()
    pi = camera(Sensor(Clock(), never_closes=never), close_s=0.01)

    with pytest.raises(CameraError, match=r"picamera2: did not close within 0\.01 s; restart the service"):
        pi.close()
    never.set()


def test_a_close_that_fails_is_said() -> None:
    pi = camera(Sensor(Clock(), close=RuntimeError("Unable to stop preview.")))

    with pytest.raises(CameraError, match=r"did not close \(Unable to stop preview\.\); restart the service"):
        pi.close()


def test_frames_are_handed_out_write_protected() -> None:
    with camera(Sensor(Clock())) as pi:
        frame = read(pi)

    with pytest.raises(ValueError, match="read-only"):
        frame.rgb[0, 0, 0] = 1
