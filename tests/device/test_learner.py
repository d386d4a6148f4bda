"""The bin learns while it sorts: what changed is learnt once it has settled, told, worn, and taken off again."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from bin_fakes import MemoryLog
from bundles import golden, make_bundle
from test_teach_site import COLOURS, HOME, SITE, picture, teacher

from device.errors import LearntError
from device.learner import Learner, LearntView
from device.learnt import LearntStore
from device.looks import keep_look
from device.model import Model, Models, bundle_rule, open_model


class Wearing:
    """The engine's models, without an engine; there is always a gap between two items."""

    def __init__(self, model: Model) -> None:
        self.models = Models(model)

    @property
    def model(self) -> Model:
        self.models.take_over(0.0)
        return self.models.current

    def wear(self, layer) -> None:
        self.models.wear(layer)

    def named(self, colour: str) -> str:
        return self.model.classifier.classify(picture(COLOURS[colour], 99)).label


class Bin:
    def __init__(self, path: Path, model: Model) -> None:
        self.now_s = 0.0
        self.path = path
        self.log = MemoryLog()
        self.engine = Wearing(model)
        self.learner = self.another()
        self.store = LearntStore(path / "learnt")

    def another(self) -> Learner:
        clock, pause = (lambda: self.now_s), (lambda _: None)
        return Learner(self.path / "events.db", self.engine, SITE, self.log, clock=clock, pause=pause)

    def look(self, after_s: float = 6.0) -> None:
        self.learner.look()
        self.now_s += after_s
        self.learner.look()

    def show(self, count: int = 4, name: str = "shown") -> None:
        for label, colour in COLOURS.items():
            for number in range(count):
                keep_look(self.path / "looks", label, f"{name}-{number}", picture(colour, number))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    make_bundle(tmp_path / "bundle", golden_npz=golden(home=HOME))
    return open_model(tmp_path / "bundle", bundle_rule)


@pytest.fixture
def site(tmp_path: Path, model: Model) -> Bin:
    return Bin(tmp_path, model)


def test_looks_that_have_settled_are_learnt_worn_and_told_once(site: Bin, model: Model):
    assert site.engine.named("glass") != "glass"
    site.show()
    site.look(after_s=4.0)
    assert site.log.events == []
    site.look()
    assert [(event.kind, event.model_version) for event in site.log.events] == [("learnt", model.version)]
    assert site.log.events[0].detail.startswith("learnt from 12 looks (glass 4, metal 4, paper 4): of 12 left out")
    assert [site.engine.named(label) for label in COLOURS] == [*COLOURS]
    site.look()
    assert len(site.log.events) == 1


def test_what_a_person_may_see(site: Bin):
    assert site.learner.view() == LearntView()
    site.show()
    view = site.learner.learn()
    name = site.store.names()[0]
    assert view == replace(
        LearntView(name, dict.fromkeys(COLOURS, 4), 12, 0.0, 1.0, versions=(name,)),
        at=view.at,
        right_before=view.right_before,
    )
    assert view.right_before < 0.5


def test_corrections_are_learnt_and_not_judged(site: Bin):
    keep_look(site.path / "looks", "glass", "event-3", picture(COLOURS["glass"], 99))
    view = site.learner.learn()
    assert (view.looks, view.judged, view.right_before, view.right_after) == ({"glass": 1}, 0, None, None)
    assert site.engine.named("glass") == "glass"


def test_taking_back_lasts_until_the_looks_change(site: Bin):
    before = [site.engine.named(label) for label in COLOURS]
    site.show()
    site.learner.learn()
    view = site.learner.revoke()
    assert (view.active, len(view.versions)) == (None, 1)
    assert [site.engine.named(label) for label in COLOURS] == before
    site.look()
    assert [event.detail for event in site.log.events][1:] == ["taken back: the bundle answers alone"]
    site.show(count=5)
    site.look()
    assert site.engine.named("glass") == "glass"


def test_what_another_process_has_learnt_is_worn_and_not_learnt_again(site: Bin, model: Model):
    site.show()
    teacher(site.path / "looks").teach(model)
    site.look()
    assert site.engine.named("glass") == "glass"
    assert site.log.events == []


def test_what_was_learnt_is_worn_from_the_first_item_on(site: Bin):
    site.show()
    site.learner.learn()
    after = Bin(site.path, site.engine.models.current.classifier.bare)
    after.learner.start()
    after.learner.close()
    assert after.engine.named("glass") == "glass"


def test_a_refusal_is_told_once_and_kept_for_the_dashboard(site: Bin, model: Model):
    for at, label in enumerate(COLOURS):
        for number in range(4):
            wrong = picture([*COLOURS.values()][number % 3], 10 * at + number)
            keep_look(site.path / "looks", label, f"shown-{number}", wrong)
    site.look()
    site.look()
    assert [event.kind for event in site.log.events] == ["learnt"]
    assert site.log.events[0].detail == f"nothing learnt: {site.learner.view().refused}"
    assert site.engine.model is model


def test_another_bundle_wears_nothing_until_it_has_learnt_from_the_same_pictures(site: Bin, model: Model):
    site.show()
    site.learner.learn()
    other = replace(model, version="9-0123456789ab")
    site.engine.models.swap(lambda: other).join(60)
    assert site.engine.model is other
    site.look()
    assert site.engine.named("glass") == "glass"
    assert set(site.store.read_active().versions) == {model.version, other.version}
    site.engine.models.put_back(model)
    assert site.engine.named("glass") == "glass"


def test_a_damaged_version_is_told_taken_off_and_made_again(site: Bin):
    site.show()
    site.learner.learn()
    (site.path / "learnt" / f"{site.store.names()[0]}.npz").write_bytes(b"")
    site.learner = site.another()
    site.learner.start()
    site.learner.close()
    assert site.engine.named("glass") != "glass"
    with pytest.raises(LearntError):
        site.learner.view()
    site.look()
    assert [event.kind for event in site.log.events] == ["learnt", "fault", "learnt"]
    assert site.engine.named("glass") == "glass"


def test_trouble_is_told_once(site: Bin):
    (site.path / "looks" / "glass").mkdir(parents=True)
    (site.path / "looks" / "glass" / "a.png").write_bytes(b"")
    site.look()
    site.look()
    assert [event.kind for event in site.log.events] == ["fault"]
    assert "not one picture can be used" in site.log.events[0].detail


def test_the_thread_ends_when_it_is_told_to(site: Bin):
    site.learner.start()
    site.learner.close()
    assert [thread for thread in threading.enumerate() if thread.name == "learn-site"] == []
