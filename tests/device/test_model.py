"""Opening a bundle as the model of a bin."""

from pathlib import Path

import pytest
from bundles import LABELS, make_bundle, rewrite

from device.decide import Rule
from device.errors import BundleNotFound, ConfigError
from device.model import bundle_rule, open_model


def test_opens_a_bundle_with_the_rule_that_it_proposes(tmp_path: Path):
    bundle = make_bundle(tmp_path / "b")
    model = open_model(tmp_path / "b", bundle_rule)
    assert (model.name, model.version, model.labels) == ("mean-colour", bundle.version, LABELS)
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
