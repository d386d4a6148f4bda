"""Settings of the dashboard are checked as the configuration is, and a damaged file never keeps a bin from starting."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from device.config import load_config
from device.config_types import Config
from device.errors import ConfigError, DashboardError
from device.settings import Settings, apply_settings, load_settings, parse_settings, save_settings

SET = Settings(0.9, 8.0, 2.0, 0.7, 0.25)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(None, environ={"STATE_DIRECTORY": str(tmp_path / "state")})


def test_nothing_set_changes_nothing(config: Config):
    assert load_settings(config) == (Settings(), None)
    assert apply_settings(config, Settings()) == config


def test_what_is_set_goes_over_the_configuration(config: Config):
    found = apply_settings(config, SET)
    assert (found.decide.accept_prob, found.gate.settle_s, found.contamination, found.missed) == (0.9, 0.7, 8.0, 2.0)
    assert (found.site.costs.contamination, found.site.costs.missed) == (8.0, 2.0)
    assert (config.spot_check_rate, found.spot_check_rate) == (0.1, 0.25)


@pytest.mark.parametrize(
    "table",
    [
        [], {"accept": 0.5}, {"accept_prob": 1.5}, {"accept_prob": True}, {"missed": -1}, {"settle_s": "long"},
        {"contamination": float("nan")}, {"settle_s": -0.1}, {"spot_check_rate": 1.1},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(config: Config, table: object):
    with pytest.raises(ConfigError, match="settings"):
        parse_settings(table, config)


def test_all_problems_are_told_at_once(config: Config):
    with pytest.raises(ConfigError) as caught:
        parse_settings({"accept_prob": 2, "missed": -1}, config)
    assert caught.value.problems == [
        "settings.accept_prob is 2, expected 0 to 1",
        "settings.missed is -1, expected 0 to 1e+06",
    ]


def test_a_damaged_file_gives_way_to_the_last_good_one_and_says_so(config: Config):
    save_settings(config, SET)
    save_settings(config, replace(SET, missed=3.0))
    folder = config.events_path.parent
    assert load_settings(config) == (replace(SET, missed=3.0), None)
    assert json.loads((folder / "settings.last-good.json").read_text())["missed"] == 2.0
    (folder / "settings.json").write_text('{"missed": ')
    settings, note = load_settings(config)
    assert (settings, "set them again" in (note or "")) == (SET, True)
    # A damaged file must not become the last good one.
    save_settings(config, replace(SET, missed=4.0))
    assert json.loads((folder / "settings.last-good.json").read_text())["missed"] == 2.0


def test_a_folder_that_cannot_be_written_is_a_sentence(config: Config):
    config.events_path.parent.parent.mkdir(exist_ok=True)
    config.events_path.parent.write_text("a file stands there")
    with pytest.raises(DashboardError, match="was not kept"):
        save_settings(config, SET)
