"""Opening a bundle as the model of a bin."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from bin_fakes import model, prediction
from bundles import LABELS, make_bundle, rewrite

from device.bundle import factory_bundle_path
from device.config import load_config
from device.config_types import ModelConfig, ModelsConfig
from device.decide import Rule
from device.errors import BundleNotFound, ConfigError
from device.model import Models, bundle_rule, open_model, served_path
from device.release_state import State
from device.route import Costs


def test_opens_a_bundle_with_the_rule_that_it_proposes(tmp_path: Path):
    bundle = make_bundle(tmp_path / "b")
    model = open_model(tmp_path / "b", bundle_rule)
    assert (model.name, model.version, model.labels) == ("mean-colour", bundle.version, LABELS)
    assert model.costs == Costs(bundle.costs.contamination, bundle.costs.missed)
    assert model.rule == Rule(
        accept_prob=0.8,
        frame_correlation=0.8,
        min_frames=2,
        max_frames=8,
        temperature=1.5,
        lowest_familiarity=-0.4,
    )


def test_a_bundle_that_cannot_tell_what_is_strange_judges_nothing_so(tmp_path: Path):
    make_bundle(tmp_path / "b")
    rewrite(tmp_path / "b", lambda table: table.update(out_of_distribution=None))
    assert open_model(tmp_path / "b", bundle_rule).rule.lowest_familiarity is None


def test_refuses_a_folder_without_a_bundle(tmp_path: Path):
    with pytest.raises(BundleNotFound, match=r"no manifest\.json"):
        open_model(tmp_path, bundle_rule)


def test_lets_a_rule_that_contradicts_itself_be_refused(tmp_path: Path):
    make_bundle(tmp_path / "b")
    with pytest.raises(ConfigError, match="max_frames"):
        open_model(tmp_path / "b", lambda bundle: Rule(0.5, 0.5, 5, 4, 1.0))


def test_going_back_forgets_a_model_that_waits_for_its_turn():
    first, second = model(prediction("glass")), model(prediction("glass"), version="2-new")
    models = Models(first)
    models.swap(lambda: second).join(60)
    models.put_back(first)
    assert (models.take_over(0.0), models.current) == (None, first)


def test_a_bin_uses_the_model_that_is_named_then_what_the_store_says_then_the_factorys(tmp_path: Path):
    release = "7-0123456789ab"
    config = replace(load_config(None), models=ModelsConfig(tmp_path, tmp_path / "signers"))
    assert served_path(config, None) == factory_bundle_path()
    (tmp_path / "state.json").write_text(json.dumps(asdict(State(phase="committed", release=release, current=release))))
    assert served_path(config, None) == tmp_path / "releases" / release
    in_file = replace(config, model=ModelConfig(tmp_path / "mine"))
    assert served_path(in_file, None) == tmp_path / "mine"
    assert served_path(in_file, tmp_path / "other") == tmp_path / "other"
