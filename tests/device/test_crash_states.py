"""The power fails at any instruction of any step: the bin then runs the model of before or of after, never a third.

The store's own changes are recorded through its `Files`, and every tree that the rules of a disk allow after a cut is
opened with the store's own code, see `power_cut`. That the check can fail is shown by removing each sync in turn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from power_cut import Change, Disk, Recorder, Tree, write_tree
from signed import Unsynced, make_key, members_of, signed_bundle, signer_line, tar_of, tree

from device.release_state import State
from device.release_state import note_try as count_try
from device.releases import ReleaseStore

T0 = 1_790_000_000
DEBRIS = "models/incoming/"
HORIZON = 80
"""So many changes after a sync that is left out, its absence must have shown."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of the store between two steps: its state, what it holds, links, and reasons of refusals."""

    state: State
    releases: frozenset[str]
    links: Tree
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One public call: which changes of the log are its own, and what it turned into what."""

    name: str
    first: int
    last: int
    before: Picture
    after: Picture


@dataclass(frozen=True, slots=True)
class Story:
    """A life of a store: what it did to the disk, step by step.

    Attributes:
        shipped: release -> its files, as they were sent.
        tars: release -> the upload.
        allowed_signers: who signed them.
    """

    log: tuple[Change, ...]
    steps: tuple[Step, ...]
    shipped: dict[str, Tree]
    tars: dict[str, bytes]
    allowed_signers: str


def links_of(found: Tree) -> Tree:
    return {name: content for name, content in found.items() if name in ("models/current", "models/previous")}


def open_store(root: Path, files: Recorder | None = None) -> ReleaseStore:
    return ReleaseStore(
        root / "models",
        root.parent / "allowed_signers",
        files=files or Unsynced(),
        wall=lambda: 0.0,
        free_bytes=lambda path: 1 << 40,
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Some prove themselves, one is too slow, one never gets ready, one is refused at first, and a person goes back."""
    folder = tmp_path_factory.mktemp("story")
    key = make_key(folder / "key")
    (folder / "allowed_signers").write_text(signer_line(key))
    root = folder / "root"
    root.mkdir()
    files = Recorder(root)
    store = open_store(root, files)
    bundles = [signed_bundle(folder / str(number), key, T0 + number) for number in range(7)]
    names = [bundle.version for bundle in bundles]
    steps: list[Step] = []
    now = Picture(State(), frozenset(), {}, {})

    def do(name: str, step: Callable[[], object]) -> None:
        nonlocal now
        first = len(files.log)
        step()
        reasons = {name: reason for name in names if (reason := store.refusal(name)) is not None}
        after = Picture(store.read_state(), frozenset(store.releases()), links_of(tree(root)), reasons)
        steps.append(Step(name, first, len(files.log), now, after))
        now = after

    def take_in(number: int) -> None:
        do(f"install {number}", lambda: store.install(members_of(tar_of(bundles[number].path))))

    def begin(number: int) -> None:
        do(f"begin_trial {number}", lambda: store.begin_trial(names[number]))
        do(f"note_try {number}", store.note_try)

    for number in (0, 1, 2):
        take_in(number)
        begin(number)
        do(f"commit {number}", lambda number=number: store.commit(names[number]))
    take_in(3)
    begin(3)
    do("roll_back 3", lambda: store.roll_back("slow", names[3]))
    take_in(4)
    begin(4)
    do("note_try 4", store.note_try)
    do("note_try 4", store.note_try)
    do("tries of 4 are used up", store.note_try)
    take_in(5)
    begin(5)
    do("commit 5", lambda: store.commit(names[5]))
    take_in(6)
    do("refuse 6", lambda: store.refuse(names[6], "it answers NaN"))
    do("roll_back by a person", lambda: store.roll_back("asked for"))
    begin(6)
    do("commit 6", lambda: store.commit(names[6]))
    return Story(
        tuple(files.log),
        tuple(steps),
        {bundle.version: tree(bundle.path) for bundle in bundles},
        {bundle.version: tar_of(bundle.path) for bundle in bundles},
        signer_line(key),
    )


def crash_trees(story: Story, left_out: int | None = None, first: int = 0) -> Iterator[tuple[Step, bool, Tree]]:
    """Each step, whether it had returned, and each tree that a cut within it or after it may leave."""
    disk = Disk()
    for step in story.steps:
        seen: set[tuple[tuple[str, object], ...]] = set()
        for at in range(step.first, step.last):
            if at != left_out:
                disk.apply(story.log[at])
            is_over = at == step.last - 1
            if at < first:
                continue
            for found in disk.crash_trees(thorough=left_out is None):
                key = (("", is_over), *sorted(found.items(), key=lambda item: item[0]))
                if key not in seen:
                    seen.add(key)
                    yield step, is_over, found
        if first + HORIZON < step.last and left_out is not None:
            return


def whole_releases(story: Story, found: Tree) -> tuple[frozenset[str], list[str]]:
    """The releases that are there byte for byte, and those that are not."""
    prefix = "models/releases/"
    there: dict[str, Tree] = {}
    for name, content in found.items():
        if name.startswith(prefix):
            release, _, file = name.removeprefix(prefix).partition("/")
            there.setdefault(release, {}).update({file: content} if file else {})
    torn = [release for release, files in there.items() if story.shipped.get(release) != files]
    return frozenset(there) - frozenset(torn), torn


def opened(found: Tree) -> Tree:
    """The part of a tree that a start reads; releases are compared byte by byte, and debris is looked at by nobody."""
    return {name: content for name, content in found.items() if not name.startswith(("models/releases/", DEBRIS))}


def problem(step: Step, is_over: bool, found: Tree, whole: frozenset[str], folder: Path) -> str | None:
    """What is wrong with a tree, opened by the store itself; None when nothing is."""
    needed = step.after.releases if is_over else step.before.releases & step.after.releases
    if not needed <= whole:
        return f"lost: {sorted(needed - whole)}"
    write_tree(found, folder)
    store = open_store(folder)
    state = store.read_state()
    if state != step.after.state and (is_over or state != step.before.state):
        return f"a third state: {state}"
    if not {state.serving, state.way_back, state.current, state.previous} <= whole | {None}:
        return f"a state without its releases: {state}"
    for name in ("models/current", "models/previous"):
        target = links_of(found).get(name)
        if target != step.after.links.get(name) and (is_over or target != step.before.links.get(name)):
            return f"{name} points to {target}"
        if target is not None and str(target).rpartition("/")[2] not in whole:
            return f"{name} dangles"
    started = store.note_try()  # what the next start does first
    if replace(started, changed_at="", boot_id="") != replace(count_try(state), changed_at="", boot_id=""):
        return f"started as {started}"
    expected = {"models/current": started.serving, "models/previous": started.way_back}
    named = {name: f"releases/{release}" for name, release in expected.items() if release is not None}
    if links_of(tree(folder)) != named:
        return "links do not follow the state after a start"
    for release, reason in step.after.reasons.items():
        if (is_over or step.before.reasons.get(release) == reason) and store.refusal(release) != reason:
            return f"the reason why {release} was refused is lost"
    return None


class Check:
    """Judges each state once; most of them are the same whichever sync is left out."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self._folder = folder
        self._judged: dict[object, str | None] = {}

    def problems(self, left_out: int | None = None) -> Iterator[str | None]:
        """For each state what is wrong with it."""
        for step, is_over, found in crash_trees(self.story, left_out, left_out or 0):
            whole, torn = whole_releases(self.story, found)
            if torn:
                yield f"{step.name}: torn: {torn}"
                continue
            start = opened(found)
            key = (step.first, is_over, whole, *sorted(start.items(), key=lambda item: item[0]))
            if key not in self._judged:
                wrong = problem(step, is_over, start, whole, self._folder / str(len(self._judged)))
                self._judged[key] = f"{step.name}{' (returned)' if is_over else ''}: {wrong}" if wrong else None
            yield self._judged[key]


@pytest.fixture(scope="module")
def check(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Check:
    folder = tmp_path_factory.mktemp("states")
    return Check(story, folder)


def test_a_power_cut_at_any_instruction_leaves_no_bad_state(check: Check) -> None:
    found = list(check.problems())
    bad = [wrong for wrong in found if wrong]
    print(f"{len(found)} crash states of {len(check.story.log)} changes, {len(bad)} bad")
    assert bad == []
    assert len(found) > 2000


def test_each_sync_is_needed(check: Check) -> None:
    needless = []
    for at, change in enumerate(check.story.log):
        if change.kind == "sync" and not any(check.problems(at)):
            step = next(step for step in check.story.steps if step.first <= at < step.last)
            needless.append(f"{step.name}: {change.path}")
    assert needless == []


def test_after_a_power_cut_the_same_upload_succeeds(story: Story, tmp_path: Path) -> None:
    """Whatever half of it lies there."""
    (tmp_path / "allowed_signers").write_text(story.allowed_signers)
    found = [(step, tree) for step, _, tree in crash_trees(story) if step.name == "install 3"]
    assert len(found) > 300
    for number, (step, left) in enumerate(found[::25]):
        write_tree(left, tmp_path / str(number))
        store = open_store(tmp_path / str(number))
        (release,) = step.after.releases - step.before.releases
        assert store.install(members_of(story.tars[release])).release == release
        assert (frozenset(store.releases()), store.read_state()) == (step.after.releases, step.after.state)
        assert list((store.root / "incoming").iterdir()) == []
        assert tree(store.path_of(release)) == story.shipped[release]
