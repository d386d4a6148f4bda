"""A configuration is read whole or refused with everything that is wrong with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from device import config as config_module
from device.config import (
    REFERENCE_BUILDS,
    CameraConfig,
    Config,
    DecideConfig,
    ModelConfig,
    ModelsConfig,
    load_config,
    state_dir,
)
from device.decide import Rule
from device.errors import ConfigError
from device.gate import GateRule
from device.outputs import LedOutputs, PinnedLed
from device.route import DEFAULT_SITE, Bin, Costs, Site

ENVIRON = {"STATE_DIRECTORY": "/var/lib/wastebin"}
LABELS = ("cardboard", "glass", "metal", "organic", "paper", "plastic", "trash")

WHOLE = """
[camera]
source = "usb:1"
size_px = [1280, 720]
rate_hz = 10
region = [100, 50, 800, 600]

[gate]
settle_s = 0.5
min_area = 0.02

[model]
path = "models/nano"
threads = 2

[decide]
accept_prob = 0.9
max_frames = 8

[[bin]]
name = "Bottles"
takes = ["glass", "plastic"]

[[bin]]
name = "Rest"
takes = ["trash"]
residual = true

[costs]
contamination = 2

[outputs]
build = "leds"

[[outputs.led]]
bin = "Bottles"
pin_bcm = 5

[[outputs.led]]
bin = "Rest"
pin_bcm = 6

[events]
path = "data/bin.db"

[models]
store = "shipped"
signers = "/etc/keys/trainers"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bin.toml"


def load(file: Path, text: str, labels: tuple[str, ...] | None = None) -> Config:
    file.write_text(text, encoding="utf-8")
    return load_config(file, labels=labels, environ=ENVIRON)


def problems(file: Path, text: str, labels: tuple[str, ...] | None = None) -> list[str]:
    """What is said about a file, without the file's name in front of each sentence."""
    with pytest.raises(ConfigError) as caught:
        load(file, text, labels)
    assert [text for text in caught.value.problems if not text.startswith(f"{file}: ")] == []
    return [text.removeprefix(f"{file}: ") for text in caught.value.problems]


def test_every_section_is_read_and_paths_are_relative_to_the_file(file: Path, tmp_path: Path) -> None:
    assert load(file, WHOLE, ("glass", "plastic", "trash")) == Config(
        file=file,
        camera=CameraConfig("usb:1", (1280, 720), 10.0, (100, 50, 800, 600)),
        gate=GateRule(settle_s=0.5, min_area=0.02),
        model=ModelConfig(tmp_path / "models/nano", 2),
        decide=DecideConfig(accept_prob=0.9, max_frames=8),
        site=Site(
            (Bin("Bottles", frozenset({"glass", "plastic"})), Bin("Rest", frozenset({"trash"}), is_residual=True)),
            Costs(contamination=2.0),
        ),
        contamination=2.0,
        missed=None,
        outputs=LedOutputs((PinnedLed("Bottles", 5), PinnedLed("Rest", 6))),
        events_path=tmp_path / "data/bin.db",
        models=ModelsConfig(tmp_path / "shipped", Path("/etc/keys/trainers")),
    )


def test_without_a_file_there_are_six_bins_leds_and_the_camera_of_the_pi() -> None:
    config = load_config(None, labels=LABELS, environ=ENVIRON)
    leds = tuple(PinnedLed(bin_.name, pin) for bin_, pin in zip(DEFAULT_SITE.bins, (5, 6, 13, 19, 26, 16), strict=True))
    assert config == Config(
        file=None,
        camera=CameraConfig("picamera2", (640, 480), 15.0, None),
        gate=GateRule(),
        model=ModelConfig(None, 1),
        decide=DecideConfig(),
        site=DEFAULT_SITE,
        contamination=None,
        missed=None,
        outputs=LedOutputs(leds, show_s=3.0, alarm_pin_bcm=21),
        events_path=Path("/var/lib/wastebin/events.db"),
        models=ModelsConfig(Path("/var/lib/wastebin/models"), Path("/etc/wastebin/allowed_signers")),
    )


def test_an_empty_file_is_the_built_in_bin(file: Path) -> None:
    assert load(file, "") == replace(load_config(None, environ=ENVIRON), file=file)


def test_a_file_may_change_the_camera_only(file: Path) -> None:
    assert load(file, '[camera]\nsource = "usb:0"') == replace(
        load_config(None, environ=ENVIRON), file=file, camera=CameraConfig("usb:0")
    )


def test_every_reference_build_is_a_whole_configuration() -> None:
    shipped = sorted(REFERENCE_BUILDS[0].parent.glob("*.toml"))
    assert shipped == sorted(REFERENCE_BUILDS)
    kinds = {path.stem: type(load_config(path, labels=LABELS, environ=ENVIRON).outputs).__name__ for path in shipped}
    assert kinds == {"diverter": "DiverterOutputs", "flaps": "FlapOutputs", "leds": "LedOutputs"}


def test_all_problems_are_told_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = """
surprise = 1

[outputs]
build = "leds"

[[outputs.led]]
bin = "Bottles"
pin_bcm = 5

[[outputs.led]]
bin = "Rest"
pin_bcm = 5

[[bin]]
name = "Bottles"
takes = ["glass", "plastc"]

[[bin]]
name = "Rest"
takes = ["glass"]
residual = true

[camera]
sourc = "picamera2"
rate_hz = true

[gates]
settle_s = 1

[costs]
missed = nan
"""
    assert problems(file, text, LABELS[1:]) == [
        "[surprise] is an unknown section or key; known are: camera, gate, model, models, decide, bin, costs, "
        "outputs, sensors, events, dashboard",
        "[[outputs.led]] 2: pin_bcm 5 is already used by [[outputs.led]] 1; give each output its own pin",
        "[[bin]]: material 'metal' of the model has no bin; add it to the takes of a bin",
        "[[bin]]: material 'organic' of the model has no bin; add it to the takes of a bin",
        "[[bin]]: material 'paper' of the model has no bin; add it to the takes of a bin",
        "[[bin]]: material 'plastic' of the model has no bin; is 'plastc' a typing error?",
        "[[bin]]: material 'trash' of the model has no bin; add it to the takes of a bin",
        "bins: 'glass' is taken by 'Bottles' and by 'Rest', expected one; remove it from the other",
        "[camera] has an unknown key 'sourc'; did you mean 'source'?",
        "[camera].rate_hz is True, expected a number",
        "[gates] is an unknown section or key; did you mean [gate]?",
        "[costs].missed is nan, expected a number",
    ]


CAMERA_FORMS = "picamera2, usb:N, dir:PATH, video:PATH, replay:DIR, sim[:seed=N,items=PATH]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[camera]\nsource = "picamera"',
            f"[camera].source is 'picamera', expected one of {CAMERA_FORMS}; did you mean 'picamera2'?",
        ),
        ('[camera]\nsource = ""', f"[camera].source is '', expected one of {CAMERA_FORMS}"),
        ("[camera]\nsource = 0", "[camera].source is 0, expected a text"),
        ("[camera]\nsize_px = [640]", "[camera].size_px is [640], expected [width, height], each 64 to 4608"),
        ("[camera]\nsize_px = [640, 0]", "[camera].size_px is [640, 0], expected [width, height], each 64 to 4608"),
        ("[camera]\nsize_px = [640, 480.5]", "[camera].size_px[1] is 480.5, expected a whole number"),
        ("[camera]\nrate_hz = 0", "[camera].rate_hz is 0.0, expected 1 to 120"),
        ("[camera]\nrate_hz = inf", "[camera].rate_hz is inf, expected a number"),
        (
            "[camera]\nregion = [0, 0, 640]",
            "[camera].region is [0, 0, 640], expected [x, y, width, height] in px, x and y from 0, "
            "width and height from 32",
        ),
        (
            "[camera]\nregion = [0, 0, 640, 10]",
            "[camera].region is [0, 0, 640, 10], expected [x, y, width, height] in px, x and y from 0, "
            "width and height from 32",
        ),
        (
            "[camera]\nregion = [1, 0, 640, 480]",
            "[camera].region is [1, 0, 640, 480], expected a place inside the picture of 640 x 480 px; "
            "make it smaller or raise size_px",
        ),
        ("[[camera]]", "[camera] is [{}], expected a table"),
        ("camera = 1", "[camera] is 1, expected a table"),
        ("[gate]\nsettle = 1", "[gate] has an unknown key 'settle'; did you mean 'settle_s'?"),
        ("[gate]\nsettle_s = 99", "gate: settle_s is 99.0, expected a number above 0 and at most 10.0; correct it"),
        ("[gate]\nmin_area = false", "[gate].min_area is False, expected a number"),
        ("[model]\nthreads = 0", "[model].threads is 0, expected 1 to 16"),
        ("[model]\nthreads = 1.0", "[model].threads is 1.0, expected a whole number"),
        ("[model]\npath = 3", "[model].path is 3, expected a text"),
        ("[decide]\naccept_prob = 1.5", "[decide].accept_prob is 1.5, expected 0 to 1"),
        ("[decide]\nmin_frames = 0", "[decide].min_frames is 0, expected 1 to 1000"),
        (
            "[decide]\nmin_frames = 5\nmax_frames = 3",
            "[decide].max_frames is 3, expected at least min_frames (5)",
        ),
        ("[costs]\ncontamination = -1", "[costs].contamination is -1.0, expected 0 to 1e+06"),
        ("[bin]\nname = 'Rest'", "[bin] is one table, expected a list: write [[bin]] before each bin"),
        ("bin = [1]", "[[bin]] 1 is 1, expected a table"),
        ("[[bin]]\ntakes = ['glass']", "[[bin]] 1 has no 'name'; expected a text"),
        ("[[bin]]\nname = 'Rest'\nresidal = true", "[[bin]] 1 has an unknown key 'residal'; did you mean 'residual'?"),
        ("[[bin]]\nname = 'Rest'\nresidual = 1", "[[bin]] 1.residual is 1, expected true or false"),
        ("outputs = 1", "[outputs] is missing or no table, expected the wiring of the bins; copy it from one of "),
        ("[events]\nfile = 'x'", "[events] has an unknown key 'file'; known here: path, keep_unsure, spot_check_rate"),
        ("[events]\nspot_check_rate = 1.5", "[events].spot_check_rate is 1.5, expected 0 to 1"),
        ("[events]\nkeep_unsure = -1", "[events].keep_unsure is -1, expected 0 to 1000 pictures"),
    ],
)
def test_one_wrong_value_is_one_sentence_with_place_observed_and_expected(file: Path, text: str, problem: str) -> None:
    found = problems(file, text)
    assert [sentence[: len(problem)] for sentence in found] == [problem]


def test_bins_of_ones_own_need_wiring_of_ones_own(file: Path) -> None:
    text = "[[bin]]\nname = 'Rest'\nresidual = true"
    copies = ", ".join(map(str, REFERENCE_BUILDS))
    assert problems(file, text) == [
        f"[outputs] is missing or no table, expected the wiring of the bins; copy it from one of {copies}"
    ]


def test_a_bin_that_nothing_goes_into_and_one_without_a_name_are_refused(file: Path) -> None:
    text = """
[[bin]]
name = " "
residual = true
[[bin]]
name = "Glass"
[outputs]
build = "leds"
led = [{ bin = " ", pin_bcm = 5 }, { bin = "Glass", pin_bcm = 6 }]
"""
    assert problems(file, text) == [
        "[[bin]] 1.name is ' ', expected a name for people to read",
        "[[bin]] 2.takes is empty, expected the materials that go into 'Glass'",
    ]


def test_exactly_one_bin_is_residual(file: Path) -> None:
    text = WHOLE.replace("residual = true", "")
    sentence = "bins: 0 are residual [], expected exactly one; mark the bin for what is left over"
    assert problems(file, text) == [sentence]


def test_a_bin_that_cannot_be_read_is_one_problem_and_not_five(file: Path) -> None:
    text = WHOLE.replace('name = "Rest"', 'nmae = "Rest"')
    assert problems(file, text, LABELS) == [
        "[[bin]] 2 has an unknown key 'nmae'; did you mean 'name'?",
        "[[bin]] 2 has no 'name'; expected a text",
    ]


def test_a_site_may_take_materials_that_this_model_does_not_know(file: Path) -> None:
    assert load(file, "", ("glass", "paper")).site == DEFAULT_SITE


def test_a_syntax_error_names_line_and_column(file: Path) -> None:
    assert problems(file, "[camera]\nsource = picamera2\n") == [
        "not TOML: Invalid value (at line 2, column 10); correct that place, see https://toml.io"
    ]


def test_a_key_given_twice_names_the_line(file: Path) -> None:
    assert problems(file, "[camera]\nrate_hz = 1\nrate_hz = 2\n") == [
        "not TOML: Cannot overwrite a value (at line 3, column 12); correct that place, see https://toml.io"
    ]


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ=ENVIRON)
    assert caught.value.problems == [f"{file}: byte 5 is no UTF-8; save the file as UTF-8 text"]


def test_a_missing_file_names_the_builds_to_copy(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ=ENVIRON)
    copies = ", ".join(map(str, REFERENCE_BUILDS))
    assert caught.value.problems == [f"{file}: no such file; copy one of the reference builds and edit it: {copies}"]


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path, environ=ENVIRON)
    assert caught.value.problems == [
        f"{tmp_path}: cannot be read: Is a directory; expected a TOML file that this user may read"
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("dir:pictures", "dir:{folder}/pictures"),
        ("dir:/pictures.zip", "dir:/pictures.zip"),
        ("video:a:b.mp4", "video:{folder}/a:b.mp4"),
        ("replay:rec", "replay:{folder}/rec"),
        ("sim", "sim"),
        ("sim:seed=3", "sim:seed=3"),
        ("sim:items=a,b.zip", "sim:items={folder}/a,b.zip"),
        ("sim:seed=3,items=x", "sim:seed=3,items={folder}/x"),
        ("sim:items=x,seed=3", "sim:items={folder}/x,seed=3"),
        ("usb:0", "usb:0"),
    ],
)
def test_paths_of_a_camera_are_relative_to_the_file_too(file: Path, source: str, expected: str) -> None:
    assert load(file, f'[camera]\nsource = "{source}"').camera.source == expected.format(folder=file.parent)


def test_a_tilde_is_the_home_folder(file: Path) -> None:
    assert load(file, '[events]\npath = "~/bin.db"').events_path == Path.home() / "bin.db"


def test_the_home_of_a_user_who_does_not_exist_is_a_problem(file: Path) -> None:
    text = """
[camera]
source = "dir:~nobody-of-ours/pictures"
[events]
path = "~nobody-of-ours/bin.db"
"""
    assert problems(file, text) == [
        "[camera].source is '~nobody-of-ours/pictures', expected a user that exists after the ~",
        "[events].path is '~nobody-of-ours/bin.db', expected a user that exists after the ~",
    ]


def test_brackets_without_end_are_refused(file: Path) -> None:
    assert problems(file, "x = " + "[" * 5000) == ["not TOML: brackets in brackets without end; correct that place"]


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "HOME": "/home/pi"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/pi"}, "/state/wastebin"),
        ({"HOME": "/home/pi"}, "/home/pi/.local/state/wastebin"),
    ],
)
def test_data_lives_where_systemd_or_xdg_say_or_else_in_the_home(environ: dict[str, str], folder: str) -> None:
    assert state_dir(environ) == Path(folder)


def test_without_a_home_the_path_of_the_events_must_be_given(file: Path) -> None:
    file.write_text("")
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ={})
    assert caught.value.problems == [
        f"{file}: the environment has neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME; set [events] path"
    ]
    file.write_text('[events]\npath = "bin.db"')
    assert load_config(file, environ={}).events_path == file.parent / "bin.db"


def test_costs_of_the_bundle_count_where_the_file_names_none(file: Path) -> None:
    given = load(file, WHOLE)
    assert given.site_for(contamination=7.0, missed=0.5).costs == Costs(contamination=2.0, missed=0.5)
    built_in = load_config(None, environ=ENVIRON)
    assert built_in.site_for(contamination=7.0, missed=0.5).costs == Costs(contamination=7.0, missed=0.5)


def test_what_the_file_decides_stands_over_what_the_bundle_proposes(file: Path) -> None:
    proposed = Rule(accept_prob=0.7, frame_correlation=0.5, min_frames=3, max_frames=12, temperature=1.5)
    assert DecideConfig().over(proposed) == proposed
    assert load(file, WHOLE).decide.over(proposed) == replace(proposed, accept_prob=0.9, max_frames=8)
    with pytest.raises(ConfigError, match=r"max_frames is 2, expected at least min_frames \(3\)"):
        DecideConfig(max_frames=2).over(proposed)


def test_the_public_names_are_these() -> None:
    assert config_module.__all__ == [
        "REFERENCE_BUILDS",
        "CameraConfig",
        "Config",
        "DecideConfig",
        "ModelConfig",
        "ModelsConfig",
        "load_config",
        "state_dir",
    ]
