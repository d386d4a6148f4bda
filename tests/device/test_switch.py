"""A running bin follows its store of models: on a clock that only the test moves, with the store's own rules."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from bin_fakes import RGB, Bench, model, prediction, view

from device.camera.frame import Frame, Rgb
from device.classify import Prediction
from device.errors import BundleError, BundleMismatch, ConfigError, ReleaseError
from device.model import Model
from device.release_state import State, begin_trial, commit, give_back_try, note_try, roll_back
from device.switch import FixedStore, Started, Switch, start_model

OLD, NEW, NEXT = "5-aaaaaaaaaaaa", "7-bbbbbbbbbbbb", "9-cccccccccccc"
GLASS, PAPER = prediction("glass"), prediction("paper")
NAN = BundleMismatch("model.onnx: the network's logits are nan")
DEADLINE_S = 60


class MemoryStore:
    """The store's rules without a disk; a list of errors stands for a disk that refuses."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.errors: list[ReleaseError] = []
        self.refused: dict[str, str] = {}

    def refusals(self) -> dict[str, str]:
        return dict(self.refused)

    def read_state(self) -> State:
        return self.state

    def choices(self, state: State) -> list[str | None]:
        return list(dict.fromkeys([state.serving, state.way_back, None]))

    def _change(self, step: Callable[[State], State]) -> State:
        if self.errors:
            raise self.errors.pop(0)
        self.state = step(self.state)
        return self.state

    def begin_trial(self, release: str) -> State:
        return self._change(lambda state: begin_trial(state, release, allow_downgrade=False))

    def note_try(self) -> State:
        return self._change(note_try)

    def give_back_try(self, release: str) -> State:
        return self._change(lambda state: give_back_try(state, release))

    def commit(self, release: str) -> State:
        return self._change(lambda state: commit(state, release))

    def roll_back(self, reason: str, release: str | None = None) -> State:
        state = self._change(lambda state: roll_back(state, reason))
        if state.release is not None:
            self.refused[state.release] = reason
        return state


class Shelf:
    """Opens releases; keeps which ones it was asked for, and the tries that were left then."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.models: dict[str | None, Model | Exception] = {
            None: model(GLASS, version="1-factory"),
            OLD: model(GLASS, version=OLD),
            NEW: model(PAPER, version=NEW),
            NEXT: model(PAPER, version=NEXT),
        }
        self.asked: list[tuple[str | None, int]] = []

    def open(self, release: str | None) -> Model:
        self.asked.append((release, self.store.state.tries_left))
        found = self.models[release]
        if isinstance(found, Exception):
            raise found
        return found


class Day:
    """A bin that runs `OLD`, unless its state says otherwise."""

    def __init__(self, state: State | None = None, **models: Model | Exception) -> None:
        self.store = MemoryStore(state or State(phase="committed", release=OLD, current=OLD, highest_seq=5))
        self.shelf = Shelf(self.store)
        self.shelf.models.update({{"new": NEW, "old": OLD}[name]: found for name, found in models.items()})
        self.started = start_model(self.store, self.shelf.open)
        self.bench = Bench(["empty"], GLASS)
        self.engine = self.bench.engine
        self.engine.put_back(self.started.model)
        for note in self.started.notes:
            self.bench.log.add(note)
        self.switch = Switch(
            self.store,
            self.engine,
            self.shelf.open,
            self.bench.log,
            clock=lambda: self.bench.now_s,
            started=self.started,
        )

    def step(self, *, has_frame: bool = True) -> None:
        """One eighth of a second; threads that were started end within it."""
        if has_frame:
            self.bench.step()
            self.switch.saw(Frame(RGB, self.bench.now_s, 0))
        else:
            self.bench.now_s += 0.125
        self.switch.step()
        for thread in threading.enumerate():
            if thread.name in ("open-model", "change-models"):
                thread.join(DEADLINE_S)

    def live(self, seconds: float, *, has_frames: bool = True) -> None:
        for _ in range(int(seconds / 0.125)):
            self.step(has_frame=has_frames)

    def details(self) -> list[str]:
        return [event.detail for event in self.bench.log.events if event.kind in ("model", "fault")]

    def runs(self) -> str:
        return self.engine.model.version


KEPT = "kept: 30 good seconds, 31 pictures answered"


def test_a_release_on_trial_is_followed_watched_and_kept():
    day = Day()
    day.live(2.0)
    assert day.details() == []
    day.store.begin_trial(NEW)
    day.live(2.0)
    assert (day.runs(), day.store.state.phase) == (NEW, "trial")
    day.live(31.0)
    assert day.details() == ["now nano", "on trial: nano, try 1 of 3", KEPT]
    assert [event.model_version for event in day.bench.log.events] == [NEW] * 3
    state = day.store.state
    assert (state.phase, state.current, state.previous) == ("committed", NEW, OLD)
    day.live(5.0)
    assert [release for release, _ in day.shelf.asked] == [OLD, NEW]


def test_the_try_is_counted_before_the_model_is_opened():
    day = Day()
    day.store.begin_trial(NEW)
    day.live(1.5)
    assert day.shelf.asked[-1] == (NEW, 2)


def test_a_release_that_cannot_be_opened_is_rolled_back_and_sorting_goes_on():
    day = Day(new=BundleMismatch("golden.npz: picture 0 is off"))
    day.store.begin_trial(NEW)
    day.live(2.0)
    assert (day.runs(), day.store.state.phase) == (OLD, "rolled_back")
    assert day.store.state.reason == "golden.npz: picture 0 is off"
    assert day.details() == [
        f"golden.npz: picture 0 is off; {OLD} goes on",
        f"rolled back from {NEW}: golden.npz: picture 0 is off",
    ]
    day.live(5.0)
    assert len(day.shelf.asked) == 2


def test_a_picture_that_gets_no_answer_ends_the_trial_on_that_very_frame():
    day = Day(new=model(*[GLASS] * 5, NAN, version=NEW))
    day.store.begin_trial(NEW)
    while day.store.state.phase == "trial" and day.bench.now_s < 60:
        was = day.runs()
        day.step()
    assert (was, day.runs(), day.engine.model) == (NEW, OLD, day.started.model)
    assert day.store.state.reason == str(NAN)
    day.step()
    assert day.details()[-1] == f"rolled back from {NEW}: {NAN}"


class Picky:
    """Answers whole frames and one picture of an item: it breaks on something that the empty tray does not show."""

    def __init__(self) -> None:
        self.items = 0

    def classify(self, rgb: Rgb) -> Prediction:
        if rgb.shape != RGB.shape:
            self.items += 1
        if self.items > 1:
            raise NAN
        return PAPER


def test_an_item_that_the_new_model_cannot_name_is_named_by_the_old_one():
    day = Day(new=replace(model(PAPER, version=NEW), classifier=Picky()))
    day.store.begin_trial(NEW)
    day.live(3.0)
    assert day.runs() == NEW
    day.bench.gate.views = [view("item")]
    day.live(1.0)
    decisions = [event for event in day.bench.log.events if event.kind == "decision"]
    # Two frames of the old model; a third vote, the new one's, would have made it unsure.
    assert [(event.label, event.accepted, event.frames, event.model_version) for event in decisions] == [
        ("glass", True, 2, OLD)
    ]
    assert (day.store.state.phase, day.store.state.reason) == ("rolled_back", str(NAN))
    assert day.bench.log.counts["classify_failed"] == 1


def test_a_release_is_not_blamed_for_what_the_model_before_it_could_not_name():
    day = Day(old=replace(model(GLASS, version=OLD), classifier=Picky()))
    day.bench.gate.views = [view("item"), view("item"), view("empty")]
    day.live(0.5)
    assert day.engine.model_error is NAN
    day.store.begin_trial(NEW)
    day.live(35.0)
    assert day.store.state.phase == "committed"


def test_a_model_is_not_changed_while_an_item_is_looked_at_and_its_trial_does_not_begin_before():
    day = Day()
    day.live(1.0)
    day.store.begin_trial(NEW)
    day.bench.gate.views = [view("item")]  # it jams
    day.live(8.0)
    assert (day.runs(), day.engine.model_error) == (OLD, None)
    assert [detail for detail in day.details() if "trial" in detail] == []
    day.bench.gate.views = [view("empty")]
    day.live(1.0)
    assert (day.runs(), day.details()) == (NEW, ["now nano", "on trial: nano, try 1 of 3"])


def test_a_trial_without_frames_ends_at_its_deadline():
    day = Day()
    day.store.begin_trial(NEW)
    day.live(3.0)
    day.live(91.0, has_frames=False)
    assert (day.runs(), day.store.state.phase) == (OLD, "rolled_back")
    assert day.store.state.reason.startswith("only ")


def test_a_roll_back_by_hand_during_the_trial_brings_the_open_model_back():
    day = Day()
    day.store.begin_trial(NEW)
    day.live(5.0)
    day.store.roll_back("somebody asked for it")
    day.live(1.5)
    assert (day.runs(), day.details()[-1]) == (OLD, f"rolled back from {NEW}: somebody asked for it")
    told = day.details()
    day.live(40.0)
    assert [release for release, _ in day.shelf.asked] == [OLD, NEW]
    assert (day.store.state.phase, day.details()) == ("rolled_back", told)


def test_a_roll_back_by_hand_afterwards_opens_the_one_before():
    day = Day()
    day.store.begin_trial(NEW)
    day.live(35.0)
    assert day.store.state.phase == "committed"
    day.store.roll_back("somebody asked for it")
    day.live(2.0)
    assert (day.runs(), day.shelf.asked[-1]) == (OLD, (OLD, 0))
    assert day.details()[-2:] == ["now nano", f"rolled back from {NEW}: somebody asked for it"]


def test_what_cannot_be_opened_is_not_tried_each_second_but_once_for_each_change():
    day = Day()
    day.store.begin_trial(NEW)
    day.live(35.0)
    day.shelf.models[OLD] = BundleMismatch("model.onnx: torn")
    day.store.roll_back("somebody asked for it")
    day.live(10.0)
    assert (day.runs(), [release for release, _ in day.shelf.asked]) == (NEW, [OLD, NEW, OLD])
    day.store.begin_trial(NEXT)
    day.live(2.0)
    assert day.runs() == NEXT


def test_what_was_refused_before_it_came_here_is_told_once():
    day = Day()
    day.live(2.0)
    day.store.refused = {NEXT: "worse: names 3 of 12"}
    day.live(5.0)
    told = [(event.kind, event.detail, event.model_version) for event in day.bench.log.events]
    assert told == [("model", f"refused {NEXT}: worse: names 3 of 12", NEXT)]
    day.store.refused = {NEXT: "worse: names 4 of 12"}
    day.live(5.0)
    assert day.details()[1:] == [f"refused {NEXT}: worse: names 4 of 12"]


def test_a_reason_that_was_there_before_the_start_is_no_news():
    store = MemoryStore(State())
    store.refused = {NEXT: "old"}
    bench = Bench(["empty"], GLASS)
    started = start_model(store, Shelf(store).open)
    switch = Switch(store, bench.engine, Shelf(store).open, bench.log, clock=lambda: bench.now_s, started=started)
    switch.step()
    assert bench.log.events == []


def test_a_commit_that_the_disk_refuses_is_tried_again():
    day = Day()
    day.store.begin_trial(NEW)
    day.live(20.0)
    day.store.errors = [ReleaseError("state.json: No space left on device"), ReleaseError("still")]
    day.live(34.0)
    assert (day.runs(), day.store.state.phase) == (NEW, "committed")
    faults = [event.detail for event in day.bench.log.events if event.kind == "fault"]
    assert faults == ["state.json: No space left on device (trying again)", "still (trying again)"]
    assert day.details()[-1] == KEPT


def test_a_decision_that_somebody_else_took_meanwhile_is_not_taken_twice():
    day = Day()
    day.store.begin_trial(NEW)
    day.live(30.0)
    day.store.errors = [ReleaseError("busy")]
    day.live(3.0)
    day.store.roll_back("somebody asked for it")
    day.live(15.0)
    assert (day.runs(), day.store.state.reason) == (OLD, "somebody asked for it")
    assert [detail for detail in day.details() if detail.startswith("kept")] == []


def test_a_try_that_cannot_be_counted_is_not_begun():
    day = Day()
    day.store.begin_trial(NEW)
    day.store.errors = [ReleaseError("disk full")]
    day.live(2.0)
    assert (day.runs(), [release for release, _ in day.shelf.asked]) == (OLD, [OLD])
    assert (day.store.state.phase, day.store.state.reason) == ("rolled_back", "disk full")


# ------------------------------------------------------------------------------------------------ starting

TRIAL = State(phase="trial", release=NEW, current=OLD, tries_left=3, highest_seq=5)


def start(state: State, **models: Model | Exception) -> tuple[Started, MemoryStore, list[str | None]]:
    store = MemoryStore(state)
    shelf = Shelf(store)
    shelf.models.update({{"new": NEW, "old": OLD, "factory": None}[name]: found for name, found in models.items()})
    started = start_model(store, shelf.open)
    return started, store, [release for release, _ in shelf.asked]


def test_a_new_bin_starts_with_the_factory_model():
    started, _, asked = start(State())
    assert (started.release, started.model.version, started.fallback, started.notes) == (None, "1-factory", None, ())
    assert asked == [None]


def test_a_trial_that_a_restart_interrupted_begins_again_with_one_try_fewer():
    day = Day(TRIAL)
    assert (day.runs(), day.store.state.tries_left, day.started.fallback_release) == (NEW, 2, OLD)
    day.live(31.0)
    assert day.details() == ["on trial: nano, try 1 of 3", KEPT]
    assert day.store.state.phase == "committed"


def test_a_trial_after_a_restart_goes_back_to_a_model_that_is_open():
    day = Day(TRIAL, new=model(*[GLASS] * 3, NAN, version=NEW))
    day.live(5.0)
    assert (day.runs(), day.shelf.asked) == (OLD, [(NEW, 2), (OLD, 2)])


def test_when_the_tries_are_used_up_the_one_before_starts_and_the_reason_is_told():
    state = TRIAL
    for left in (2, 1, 0):
        _, store, asked = start(state)
        assert (store.state.tries_left, asked) == (left, [NEW, OLD])
        state = store.state
    started, store, asked = start(state)
    assert (started.release, asked, store.state.phase) == (OLD, [OLD], "rolled_back")
    why = "it was started 3 times and did not prove itself in any"
    assert [(note.kind, note.detail) for note in started.notes] == [("model", f"rolled back from {NEW}: {why}")]


def test_a_release_on_trial_that_cannot_be_opened_at_the_start_is_rolled_back():
    started, store, asked = start(TRIAL, new=BundleMismatch("torn"))
    assert (started.release, started.fallback, asked) == (OLD, None, [NEW, OLD])
    assert (store.state.phase, store.state.reason) == ("rolled_back", "torn")
    assert [note.detail for note in started.notes] == [
        f"model {NEW} cannot be used: torn",
        f"rolled back from {NEW}: torn",
    ]


def test_a_bin_whose_releases_are_all_torn_sorts_with_the_factory_model_and_says_so():
    torn: BundleError = BundleMismatch("torn")
    no_bin = ConfigError("max_frames")
    state = State(phase="committed", release=NEW, current=NEW, previous=OLD, highest_seq=7)
    started, _, asked = start(state, new=torn, old=no_bin)
    assert (started.release, asked) == (None, [NEW, OLD, None])
    assert [note.kind for note in started.notes] == ["fault", "fault"]


def test_a_bin_without_any_model_cannot_start():
    with pytest.raises(BundleMismatch, match="torn"):
        start(State(), factory=BundleMismatch("torn"))


def test_a_start_that_cannot_be_counted_leaves_the_release_on_trial_alone():
    store = MemoryStore(TRIAL)
    store.errors = [ReleaseError("read-only")]
    shelf = Shelf(store)
    started = start_model(store, shelf.open)
    assert (started.release, [release for release, _ in shelf.asked]) == (OLD, [OLD])
    assert [note.detail for note in started.notes] == ["read-only"]


def test_a_model_that_was_named_by_hand_is_never_changed():
    store = FixedStore()
    named = model(GLASS, version="3-named")
    bench = Bench(["empty"], GLASS)
    started = start_model(store, lambda release: named)
    switch = Switch(store, bench.engine, lambda release: named, bench.log, clock=lambda: bench.now_s, started=started)
    for _ in range(40):
        bench.step()
        switch.saw(Frame(RGB, bench.now_s, 0))
        switch.step()
    assert (started.model, bench.log.events) == (named, [])
    with pytest.raises(ReleaseError, match="by hand"):
        store.commit(NEW)
    with pytest.raises(ReleaseError, match="by hand"):
        store.roll_back("why")


def on_trial() -> Day:
    day = Day()
    day.store.begin_trial(NEW)
    day.live(5.0)
    assert day.store.state.tries_left == 2
    return day


def test_plain_stops_use_up_no_tries():
    day = on_trial()
    for _ in range(5):
        day.switch.stopped()
        assert (day.store.state.phase, day.store.state.tries_left) == ("trial", 3)
        day = Day(day.store.state)
        assert day.store.state.tries_left == 2
        day.live(5.0)


def test_a_stop_gives_no_try_back_where_something_has_failed_or_nothing_was_seen():
    day = on_trial()
    day = Day(day.store.state)  # it was killed: the try stays counted
    assert day.store.state.tries_left == 1
    day.switch.stopped()  # before its first frame
    assert day.store.state.tries_left == 1


def test_a_stop_in_which_the_disk_refuses_is_a_stop_all_the_same():
    day = on_trial()
    day.store.errors = [ReleaseError("models: the disk is full")]
    day.switch.stopped()
    assert day.bench.log.events[-1].detail == "models: the disk is full"
    assert day.store.state.tries_left == 2


def test_a_stop_right_after_the_verdict_tells_it():
    day = on_trial()
    while day.store.state.phase == "trial":
        day.step()
    day.switch.stopped()  # before another step
    assert day.details()[-1] == KEPT


def test_a_stop_without_a_trial_changes_nothing():
    day = Day()
    day.live(2.0)
    before = day.store.state
    day.switch.stopped()
    assert day.store.state == before
    assert FixedStore().give_back_try(NEW) == State()
