"""device.camera.replay: what was recorded comes back to the last bit, also after a power cut."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from device.camera import open_camera
from device.camera.frame import Frame
from device.camera.replay import Recorder
from device.errors import CameraError, CameraNotFound, UsageError


def frames(count: int, *, first_s: float = 1234.000123456789) -> list[Frame]:
    rng = np.random.default_rng(3)
    return [
        Frame(rng.integers(0, 256, (12, 16, 3), np.uint8), first_s + number / 15, 7 + 2 * number)
        for number in range(count)
    ]


def record(folder: Path, taken: list[Frame]) -> Path:
    recorder = Recorder(folder)
    assert [recorder.write(frame) for frame in taken] == [True] * len(taken)
    recorder.close()
    recorder.close()
    return folder


def play(folder: Path) -> list[Frame]:
    played: list[Frame] = []
    with open_camera(f"replay:{folder}") as camera:
        while (frame := camera.read()) is not None:
            played.append(frame)
    return played


def same(played: list[Frame], taken: list[Frame]) -> bool:
    facts = [(f.captured_s, f.number, f.rgb.shape, f.rgb.tobytes()) for f in played]
    return facts == [(f.captured_s, f.number, f.rgb.shape, f.rgb.tobytes()) for f in taken]


def test_plays_back_the_same_bits_times_and_numbers(tmp_path: Path) -> None:
    taken = frames(5)

    assert same(play(record(tmp_path / "deep/new", taken)), taken)


def test_a_recording_can_be_moved(tmp_path: Path) -> None:
    taken = frames(2)
    record(tmp_path / "a", taken)
    shutil.move(tmp_path / "a", tmp_path / "b")

    assert same(play(tmp_path / "b"), taken)


@pytest.mark.parametrize("lost", [1, 20, 60])
def test_a_torn_last_line_costs_that_frame_only(tmp_path: Path, lost: int) -> None:
    taken = frames(4)
    index = record(tmp_path / "r", taken) / "index.jsonl"
    index.write_bytes(index.read_bytes()[:-lost])

    assert same(play(tmp_path / "r"), taken[:3])


def test_pictures_that_never_reached_the_card_are_left_out_at_the_end(tmp_path: Path) -> None:
    taken = frames(6)
    folder = record(tmp_path / "r", taken)
    (folder / "000005.png").unlink()
    (folder / "000004.png").write_bytes(b"")
    (folder / "000003.png").write_bytes((folder / "000003.png").read_bytes()[:-4])

    assert same(play(folder), taken[:3])


def test_a_damaged_picture_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = record(tmp_path / "r", frames(3))
    (folder / "000001.png").write_bytes(b"")

    with pytest.raises(CameraError) as caught:
        play(folder)
    assert str(caught.value).startswith(f"replay:{folder}: {folder}/000001.png: the file is empty (0 bytes)")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{oops", "line 3 of index.jsonl is damaged"),
        ("[]", "line 3 of index.jsonl is '[]'; expected file, captured_s and number"),
        ('{"file": "../../x.png", "captured_s": 1.5, "number": 1}', "line 3 of index.jsonl is"),
        ('{"file": "000000.png", "captured_s": NaN, "number": 1}', "line 3 of index.jsonl is"),
        ('{"file": "000000.png", "captured_s": "1.5", "number": 1}', "line 3 of index.jsonl is"),
        ('{"file": "000000.png", "captured_s": 1.5, "number": 1, "more": 2}', "line 3 of index.jsonl is"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: str, expected: str) -> None:
    index = record(tmp_path / "r", frames(3)) / "index.jsonl"
    lines = index.read_text().splitlines()
    lines[2] = line
    index.write_text("\n".join(lines) + "\n")

    with pytest.raises(CameraError, match="record it again") as caught:
        play(tmp_path / "r")
    assert expected in str(caught.value)


@pytest.mark.parametrize("head", ["", "{}\n", '{"wastebin_recording": 2}\n', "\xff\xfe\n"])
def test_another_files_index_is_refused(tmp_path: Path, head: str) -> None:
    (tmp_path / "index.jsonl").write_text(head, encoding="latin-1")

    with pytest.raises(CameraError, match=r'expected \{"wastebin_recording": 1\}, record it again'):
        play(tmp_path)


def test_time_that_goes_back_is_refused(tmp_path: Path) -> None:
    folder = record(tmp_path / "r", frames(3))
    lines = (folder / "index.jsonl").read_text().splitlines()
    (folder / "index.jsonl").write_text("\n".join([lines[0], lines[2], lines[1]]) + "\n")

    with pytest.raises(CameraError, match="not after the one before it"):
        play(folder)


def test_a_recording_without_frames_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="not one whole frame in it; record it again"):
        play(record(tmp_path / "r", []))


def test_no_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraNotFound, match=r"no recording there \(index\.jsonl is missing\)"):
        play(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CameraNotFound, match="cannot be read"):
        play(tmp_path / "file")


def test_an_older_recording_is_not_written_over(tmp_path: Path) -> None:
    taken = frames(2)
    record(tmp_path / "r", taken)

    with pytest.raises(UsageError, match="holds a recording or a file of that name already; name another folder"):
        Recorder(tmp_path / "r")
    assert same(play(tmp_path / "r"), taken)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(UsageError, match="cannot be written"):
        Recorder(tmp_path / "file/r")
    with pytest.raises(UsageError, match="file of that name already"):
        Recorder(tmp_path / "file")


def test_stops_at_its_limit_and_says_so_once_for_all(tmp_path: Path) -> None:
    taken = frames(5)
    size = len((record(tmp_path / "one", taken[:1]) / "000000.png").read_bytes())
    recorder = Recorder(tmp_path / "r", max_bytes=3 * size + size // 2)

    assert [recorder.write(frame) for frame in taken] == [True, True, True, False, False]
    recorder.close()
    assert recorder.problem == (
        f"{tmp_path}/r: the recording ends after 3 frames: it has reached its limit of 0 MiB; the bin goes on"
    )
    assert same(play(tmp_path / "r"), taken[:3])


def test_a_disk_that_refuses_ends_the_recording_and_not_the_bin(tmp_path: Path) -> None:
    taken = frames(3)
    recorder = Recorder(tmp_path / "r")
    assert recorder.write(taken[0])
    assert recorder.problem is None
    shutil.rmtree(tmp_path / "r")

    assert [recorder.write(frame) for frame in taken[1:]] == [False, False]
    recorder.close()
    assert recorder.problem == (
        f"{tmp_path}/r: the recording ends after 1 frames: it cannot be written (No such file or directory); "
        "the bin goes on"
    )


def test_a_camera_that_was_opened_again_is_numbered_on(tmp_path: Path) -> None:
    before, after = frames(3), frames(2, first_s=2000.0)
    again = [Frame(frame.rgb, frame.captured_s, number) for number, frame in enumerate(after)]
    folder = record(tmp_path / "r", [*before, *again])

    assert [frame.number for frame in play(folder)] == [7, 9, 11, 12, 13]


def test_frames_out_of_order_are_not_recorded(tmp_path: Path) -> None:
    first, second = frames(2)
    recorder = Recorder(tmp_path / "r")

    assert [recorder.write(second), recorder.write(first)] == [True, False]
    recorder.close()
    assert recorder.problem is not None
    assert "the camera's time went back from 1234.067 s to 1234.000 s" in recorder.problem


def test_the_index_is_one_line_a_frame(tmp_path: Path) -> None:
    folder = record(tmp_path / "r", frames(1, first_s=2.5))

    assert [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()] == [
        {"wastebin_recording": 1},
        {"file": "000000.png", "captured_s": 2.5, "number": 7},
    ]
