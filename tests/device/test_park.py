"""The quick way to the safe state: the same outputs as the whole configuration names, without its libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

from device.config import REFERENCE_BUILDS, load_config
from device.errors import ConfigError
from device.park import main, read_outputs

ENVIRON = {"HOME": "/home/x"}


@pytest.mark.parametrize("build", REFERENCE_BUILDS, ids=lambda path: path.stem)
def test_the_outputs_are_those_of_the_whole_configuration(build: Path) -> None:
    assert read_outputs(build) == load_config(build, environ=ENVIRON).outputs


def test_a_mistake_in_another_section_keeps_no_flap_open(tmp_path: Path) -> None:
    path = tmp_path / "bin.toml"
    path.write_text(REFERENCE_BUILDS[1].read_text() + "\n[gate]\nsettle_s = 99\n")
    assert read_outputs(path) == load_config(REFERENCE_BUILDS[1], environ=ENVIRON).outputs


def test_the_bins_that_come_along_are_those_of_the_whole_configuration(tmp_path: Path) -> None:
    outputs = REFERENCE_BUILDS[0].read_text().partition("[outputs]")
    (tmp_path / "bin.toml").write_text(outputs[1] + outputs[2])
    assert read_outputs(tmp_path / "bin.toml") == load_config(REFERENCE_BUILDS[0], environ=ENVIRON).outputs


@pytest.mark.parametrize("text", ["outputs = [", '[[bin]]\nname = "A"\n[outputs]\nbuild = "ledz"\n'])
def test_what_cannot_be_parked_is_one_sentence(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bin.toml").write_text(text)
    with pytest.raises(ConfigError):
        read_outputs(tmp_path / "bin.toml")
    assert main([str(tmp_path / "bin.toml"), "--pins", "mock"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}")


def test_other_words_are_not_guessed_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(REFERENCE_BUILDS[0]), "--pins", "wires"]) == 2
    assert capsys.readouterr().err == "usage: python -m device.park CONFIG [--pins lgpio|mock]\n"


def test_nothing_heavy_is_loaded_on_the_way() -> None:
    code = (
        "import sys, device.park; status = device.park.main(sys.argv[1:]); "
        "print(status, [m for m in ('argparse', 'numpy', 'cv2', 'onnxruntime', 'typer', 'rich') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(REFERENCE_BUILDS[0]), "--pins", "mock"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"
