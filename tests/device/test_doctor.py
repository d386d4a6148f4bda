"""The doctor names what keeps a machine from being a bin, each with its cure."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from device import doctor as doctor_module
from device.bundle import factory_bundle_path
from device.calibration import Calibration, Done, save_calibration
from device.doctor import Check, check_all
from device.errors import BundleNotFound
from device.events import Event, EventLog
from device.machine import Machine, Ran, run_child, this_machine

LABELS = ("cardboard", "glass", "metal", "organic", "paper", "plastic", "trash")
VERSIONS = {"onnxruntime": "1.27.0", "cv2": "4.11.0", "picamera2": "0.3.31", "lgpio": "0.2.2.0"}


@dataclass(frozen=True)
class Bundle:
    name: str = "nano"
    version: str = "1763856000-0123456789ab"
    labels: tuple[str, ...] = LABELS


def children(**broken: Ran) -> Callable[[Sequence[str]], Ran]:
    """Programs that import one module each, all well but those named here."""

    def run(command: Sequence[str]) -> Ran:
        if command[0] == "vcgencmd":
            return broken.get("vcgencmd", Ran(127, "vcgencmd is not installed"))
        assert command[:2] == [sys.executable, "-c"]
        module = command[2].removeprefix("import ").partition(";")[0]
        return broken.get(module, Ran(0, f"a warning\nversion {VERSIONS[module]}\n"))

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a Raspberry Pi 4 with a camera, in good health."""
    root = tmp_path / "root"
    for name, text in {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "dev/video0": "",
        "dev/gpiochip0": "",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
        "etc/systemd/system/wastebin.service": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def pi(root: Path) -> Machine:
    return Machine(
        bits=64,
        arch="aarch64",
        python=(3, 11, 2),
        root=root,
        groups=frozenset({"pi", "video", "gpio"}),
        is_root=False,
        wall_s=1763856000.0,
        run=children(),
        free_bytes=lambda path: 8_000_000_000,
        can_write=lambda path: True,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "bin.toml"
    file.write_text('[events]\npath = "state/events.db"\n')
    return file


def examine(machine: Machine, file: Path) -> list[Check]:
    return check_all(file, machine=machine, load_bundle=lambda path: Bundle())


def ailing(machine: Machine, file: Path) -> list[Check]:
    return [check for check in examine(machine, file) if not check.ok]


def test_a_sound_pi_passes_every_check(pi: Machine, file: Path) -> None:
    state = file.parent / "state"
    assert examine(pi, file) == [
        Check("system", True, "64-bit aarch64"),
        Check("python", True, "3.11.2"),
        Check("onnxruntime", True, "1.27.0"),
        Check("opencv", True, "4.11.0"),
        Check("configuration", True, str(file)),
        Check("model", True, "nano 1763856000-0123456789ab"),
        Check("camera", True, "/dev/video0"),
        Check("picamera2", True, "0.3.31"),
        Check("pins", True, "/dev/gpiochip0"),
        Check("lgpio", True, "0.2.2.0"),
        Check("groups", True, "video, gpio"),
        Check("disk", True, f"8,000 MB free at {file.parent}"),
        Check("state folder", True, str(state)),
        Check("events", True, f"{state}/events.db: none yet"),
        Check("clock", True, "2025-11-23 00:00 UTC"),
        Check("power and heat", True, "good, now and since the start"),
        Check("service", True, "/etc/systemd/system/wastebin.service"),
    ]
    assert not state.exists()


def test_a_32_bit_system_is_refused_in_one_sentence(pi: Machine, file: Path) -> None:
    assert examine(replace(pi, bits=32, arch="armv7l"), file) == [
        Check(
            "system",
            False,
            "a 32-bit system (armv7l), and onnxruntime has no 32-bit Arm build",
            "write the 64-bit Raspberry Pi OS to the card with Raspberry Pi Imager",
        )
    ]


def test_a_library_that_kills_python_is_reported_and_not_suffered(pi: Machine, file: Path) -> None:
    found = ailing(replace(pi, run=children(onnxruntime=Ran(-4, ""))), file)
    assert found == [
        Check(
            "onnxruntime",
            False,
            "import onnxruntime dies with SIGILL on this processor",
            "pip install 'onnxruntime>=1.27,<1.28'",
        ),
        Check("configuration", None, "not looked at", "mend the lines above, then run: wastebin doctor"),
    ]


@pytest.mark.parametrize(
    ("module", "ran", "check"),
    [
        (
            "onnxruntime",
            Ran(0, "version 1.25.1"),
            Check(
                "onnxruntime",
                False,
                "1.25.1, expected 1.27.x (1.21 crashes, 1.24 to 1.26 leak on Arm)",
                "pip install 'onnxruntime>=1.27,<1.28'",
            ),
        ),
        (
            "cv2",
            Ran(1, "Traceback ...\nImportError: libGL.so.1: cannot open shared object file\n"),
            Check(
                "opencv",
                False,
                "import cv2 fails: ImportError: libGL.so.1: cannot open shared object file",
                "pip install 'opencv-python-headless>=4.11'",
            ),
        ),
        (
            "picamera2",
            Ran(1, "ModuleNotFoundError: No module named 'picamera2'"),
            Check(
                "picamera2",
                False,
                "import picamera2 fails: ModuleNotFoundError: No module named 'picamera2'",
                "sudo apt install python3-picamera2, then make the venv with: python3 -m venv --system-site-packages "
                "(pip cannot build it)",
            ),
        ),
        (
            "lgpio",
            Ran(124, "no answer in 60 s"),
            Check(
                "lgpio",
                False,
                "import lgpio fails: no answer in 60 s",
                "pip install 'wastebin[pi]' (on Raspberry Pi OS also: sudo apt install python3-lgpio)",
            ),
        ),
    ],
)
def test_a_library_that_does_not_import_comes_with_its_cure(
    pi: Machine, file: Path, module: str, ran: Ran, check: Check
) -> None:
    assert ailing(replace(pi, run=children(**{module: ran})), file)[0] == check


def test_a_python_that_is_too_new_is_named(pi: Machine, file: Path) -> None:
    found = ailing(replace(pi, python=(3, 14, 0)), file)
    cure = "make the venv with another one: python3.11 -m venv"
    assert found[0] == Check("python", False, "3.14.0, expected 3.11 to 3.13", cure)


def test_every_problem_of_the_configuration_is_a_line(pi: Machine, file: Path) -> None:
    file.write_text("[camera]\nrate = 1\n[gate]\nsettle_s = 99\n")
    cure = "correct the file, then run: wastebin doctor"
    assert ailing(pi, file) == [
        Check("configuration", False, f"{file}: [camera] has an unknown key 'rate'; did you mean 'rate_hz'?", cure),
        Check(
            "configuration",
            False,
            f"{file}: gate: settle_s is 99.0, expected a number above 0 and at most 10.0; correct it",
            cure,
        ),
    ]


def test_a_material_of_the_model_without_a_bin_is_a_line(pi: Machine, file: Path) -> None:
    checks = check_all(file, machine=pi, load_bundle=lambda path: Bundle(labels=(*LABELS, "battery")))
    assert [check for check in checks if not check.ok] == [
        Check(
            "configuration",
            False,
            f"{file}: [[bin]]: material 'battery' of the model has no bin; add it to the takes of a bin",
            "correct the file, then run: wastebin doctor",
        )
    ]


def test_a_damaged_model_is_a_line_and_the_rest_is_still_looked_at(pi: Machine, file: Path) -> None:
    asked: list[Path] = []

    def load(path: Path) -> Bundle:
        asked.append(path)
        raise BundleNotFound("models/x: no manifest.json there")

    file.write_text(file.read_text() + '[model]\npath = "models/x"\n')
    checks = check_all(file, machine=pi, load_bundle=load)
    cure = "go back: wastebin models rollback; or install wastebin again, or name another bundle: [model] path"
    assert [check for check in checks if not check.ok] == [
        Check("model", False, "models/x: no manifest.json there", cure)
    ]
    assert checks[-1].name == "service"
    assert asked == [file.parent / "models/x"]


def test_the_model_that_is_looked_at_is_the_one_that_runs(pi: Machine, file: Path, tmp_path: Path) -> None:
    asked: list[Path] = []

    def load(path: Path) -> Bundle:
        asked.append(path)
        return Bundle()

    file.write_text(file.read_text() + f'[models]\nstore = "{tmp_path / "models"}"\n')
    check_all(file, machine=pi, load_bundle=load)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "current").symlink_to("releases/5-aaaaaaaaaaaa")
    (tmp_path / "models" / "state.json").touch()  # damaged: what the link names goes on
    check_all(file, machine=pi, load_bundle=load)
    assert asked == [factory_bundle_path(), tmp_path / "models" / "releases" / "5-aaaaaaaaaaaa"]


def test_a_pi_without_a_camera_says_how_to_look_for_it(pi: Machine, root: Path, file: Path) -> None:
    (root / "dev/video0").unlink()
    cure = "switch off, seat the ribbon cable, check with: rpicam-hello --list-cameras"
    assert ailing(pi, file) == [Check("camera", False, "there is no /dev/video*", cure)]


def test_a_usb_camera_of_another_number_is_pointed_out(pi: Machine, file: Path) -> None:
    file.write_text(file.read_text() + '[camera]\nsource = "usb:2"\n')
    assert ailing(pi, file) == [
        Check("camera", False, "there is no /dev/video2", "[camera] source: choose one of usb:0")
    ]
    file.write_text(file.read_text().replace("usb:2", "usb:0"))
    assert [check for check in examine(pi, file) if check.name in ("camera", "picamera2")] == [
        Check("camera", True, "/dev/video0")
    ]


def test_a_simulated_camera_needs_no_device(pi: Machine, root: Path, file: Path) -> None:
    (root / "dev/video0").unlink()
    file.write_text(file.read_text() + '[camera]\nsource = "sim:seed=3"\n')
    assert [check for check in examine(pi, file) if check.name == "camera"] == [
        Check("camera", True, "sim:seed=3: needs no hardware")
    ]


def test_a_laptop_is_told_of_the_demo_instead_of_being_called_broken(pi: Machine, root: Path, file: Path) -> None:
    for name in ("proc/device-tree/model", "dev/video0", "dev/gpiochip0", "etc/systemd/system/wastebin.service"):
        (root / name).unlink()
    (root / "sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    demo = "try it with a simulated bin: wastebin demo"
    assert ailing(replace(pi, groups=frozenset()), file) == [
        Check("camera", None, "there is no /dev/video*; this is no Raspberry Pi", demo),
        Check("pins", None, "there is no /dev/gpiochip*; this is no Raspberry Pi", demo),
        Check("power and heat", None, "known on a Raspberry Pi only"),
        Check("service", None, "does not start by itself", "sudo wastebin install"),
    ]


def test_pins_without_permission_name_the_group(pi: Machine, file: Path) -> None:
    machine = replace(pi, groups=frozenset({"video"}), can_write=lambda path: path.name != "gpiochip0")
    cure = "sudo usermod -aG gpio $USER, then log in anew"
    assert ailing(machine, file) == [
        Check("pins", False, "no permission for /dev/gpiochip0", cure),
        Check("groups", False, "this user is not in gpio", cure),
    ]
    assert Check("groups", True, "root") in examine(replace(machine, is_root=True), file)


def test_a_pi_without_pins_is_told_the_kernel(pi: Machine, root: Path, file: Path) -> None:
    (root / "dev/gpiochip0").unlink()
    cure = "use a Raspberry Pi OS kernel; without pins: wastebin run --pins mock"
    assert ailing(pi, file) == [Check("pins", False, "there is no /dev/gpiochip*", cure)]


def test_a_full_card_and_a_folder_of_somebody_else_are_told(pi: Machine, file: Path) -> None:
    machine = replace(pi, free_bytes=lambda path: 499_999_999, can_write=lambda path: path != file.parent)
    state = file.parent / "state"
    assert ailing(machine, file) == [
        Check(
            "disk",
            False,
            f"500 MB free at {file.parent}",
            "free some space: sudo apt clean; sudo journalctl --vacuum-size=50M",
        ),
        Check(
            "state folder",
            False,
            f"{file.parent} is not writable for this user",
            f"sudo mkdir -p {state} && sudo chown $USER {state}; or set [events] path",
        ),
    ]


def test_the_newest_event_is_told_and_a_damaged_database_too(pi: Machine, file: Path) -> None:
    path = file.parent / "state" / "events.db"
    with EventLog(path, wall=lambda: 1763856000.0) as log:
        log.add(Event("start"))
    assert Check("events", True, f"{path}: newest 2025-11-23T00:00:00.000+00:00") in examine(pi, file)
    path.write_text("no database" * 100)
    cure = f"start the bin, it sets a damaged file aside; or: sudo chown $USER {path}"
    found = f"{path}: cannot be read: file is not a database; see: wastebin doctor"
    assert ailing(pi, file) == [Check("events", False, found, cure)]
    EventLog(path, wall=lambda: 1763856000.0).close()
    assert ailing(pi, file) == [
        Check(
            "events",
            None,
            "damaged and set aside: events.db.corrupt.20251123T000000Z",
            "replace the card if this happens again",
        )
    ]


def test_what_calibration_has_left_to_do_is_told_and_a_damaged_file_too(pi: Machine, file: Path) -> None:
    state = file.parent / "state"
    fine = Calibration(camera="picamera2", done={"colour": Done("2026-11-23T10:00:00Z", True, "right")})
    save_calibration(state, fine)
    assert Check("calibration", True, "colour, newest 2026-11-23T10:00:00Z") in examine(pi, file)
    cure = "run: wastebin calibrate"
    save_calibration(state, replace(fine, done={"camera": Done("2026-11-23T10:00:00Z", False, "blurred")}))
    assert ailing(pi, file) == [Check("calibration", None, "camera: blurred", cure)]
    save_calibration(state, replace(fine, camera="usb:1"))
    assert ailing(pi, file) == [Check("calibration", None, "made with usb:1, and the bin has picamera2", cure)]
    (state / "calibration.json").write_text("x")
    (check,) = ailing(pi, file)
    assert (check.name, check.ok, check.cure) == ("calibration", False, cure)
    assert "the last good copy is used" in check.found


@pytest.mark.parametrize("wall_s", [0.0, 1_735_689_599.0, 4_102_444_800.0])
def test_a_clock_that_cannot_be_right_is_worth_knowing(pi: Machine, file: Path, wall_s: float) -> None:
    (check,) = ailing(replace(pi, wall_s=wall_s), file)
    assert (check.name, check.ok, check.cure) == (
        "clock",
        None,
        "sudo timedatectl set-ntp true, or wait for the network",
    )


POWER = "use the official 5 V supply and a short cable, servos on a supply of their own; add a heat sink"


@pytest.mark.parametrize(
    ("word", "check"),
    [
        ("50005", Check("power and heat", False, "now: under-voltage, throttled", POWER)),
        ("50000", Check("power and heat", None, "since the start: under-voltage, throttled", POWER)),
        ("80008", Check("power and heat", False, "now: too hot", POWER)),
        ("20000", Check("power and heat", None, "since the start: frequency capped", POWER)),
    ],
)
def test_throttling_now_and_past_are_told_apart(pi: Machine, root: Path, file: Path, word: str, check: Check) -> None:
    (root / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text(word + "\n")
    assert ailing(pi, file) == [check]


def test_without_the_file_of_the_kernel_the_firmware_is_asked(pi: Machine, root: Path, file: Path) -> None:
    (root / "sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    machine = replace(pi, run=children(vcgencmd=Ran(0, "throttled=0x1\n")))
    assert ailing(machine, file) == [Check("power and heat", False, "now: under-voltage", POWER)]
    for answer in (Ran(0, "error=1"), Ran(255, "throttled=0x0"), Ran(127, "")):
        machine = replace(pi, run=children(vcgencmd=answer))
        assert ailing(machine, file) == [Check("power and heat", None, "the firmware does not tell")]


def test_a_bin_that_does_not_start_by_itself_is_worth_knowing(pi: Machine, root: Path, file: Path) -> None:
    (root / "etc/systemd/system/wastebin.service").unlink()
    cure = "sudo wastebin install"
    assert ailing(pi, file) == [Check("service", None, "does not start by itself", cure)]


def test_this_machine_is_described_and_its_libraries_import() -> None:
    machine = this_machine()
    assert (machine.bits, machine.python) == (64, sys.version_info[:3])
    checks = {check.name: check.ok for check in check_all(None, load_bundle=lambda path: Bundle())}
    assert [checks[name] for name in ("system", "python", "onnxruntime", "opencv")] == [True, True, True, True]


def test_a_child_is_run_to_its_end_whatever_that_is() -> None:
    assert run_child([sys.executable, "-c", "print('hello')"]) == Ran(0, "hello\n")
    assert run_child([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"]) == Ran(-15, "")
    assert run_child(["no-such-program-of-ours"]) == Ran(127, "no-such-program-of-ours is not installed")
    slow = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert run_child(slow, timeout_s=0.1) == Ran(124, "no answer in 0.1 s")


def test_the_public_names_are_these() -> None:
    assert doctor_module.__all__ == ["BundleFacts", "Check", "check_all"]
