"""What this bin knows about its models, as one value, and the only ways in which it may change.

    idle --begin_trial--> trial --commit--> committed --begin_trial--> trial ...
                            |  `--note_try (each start; none left) --.     (give_back_try: it was stopped on purpose)
                            `--roll_back (with the reason)-----------+--> rolled_back --begin_trial--> trial ...
    committed, rolled_back --roll_back (a person asks)--> rolled_back

Pure: no file and no clock; `device.releases` keeps it on disk. A release that is on trial is served, but nothing that
was good before it is given up until it is committed. The idea of states that can each be entered again after a power
cut is Mender's, the bounded number of tries RAUC's boot counter.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Final

from device.errors import ReleaseError
from device.fields import build

__all__ = [
    "PHASES",
    "RELEASE_NAME",
    "STATE_SCHEMA",
    "TRIES",
    "State",
    "begin_trial",
    "commit",
    "give_back_try",
    "note_try",
    "parse_state",
    "refuse_replay",
    "roll_back",
    "sequence_of",
    "state_from_links",
    "told",
]

STATE_SCHEMA: Final = 1
TRIES: Final = 3
PHASES: Final = ("idle", "trial", "committed", "rolled_back")
RELEASE_NAME: Final = re.compile(r"[1-9][0-9]{0,11}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class State:
    """Which model runs, which ran before, and how the last change went.

    A release is named by its folder, `<sequence>-<first 12 hexadecimal digits of the manifest's SHA-256>`; None is the
    factory model.

    Attributes:
        schema: of this file.
        phase: `idle` (nothing is known to have been tried), `trial`, `committed` or `rolled_back`.
        release: what `phase` speaks about: on trial, committed, or rolled back; None while idle.
        current: the newest release that proved itself.
        previous: the one that proved itself before it.
        tries_left: how often a release on trial may still be started.
        reason: why the release was rolled back, or why all this is only what the links say; empty otherwise.
        highest_seq: the highest sequence number that was ever committed here, 0 for none; what is older is a replay.
        changed_at: wall-clock time, ISO 8601 in UTC, for people only.
        boot_id: of the boot in which it changed.
    """

    schema: int = STATE_SCHEMA
    phase: str = "idle"
    release: str | None = None
    current: str | None = None
    previous: str | None = None
    tries_left: int = 0
    reason: str = ""
    highest_seq: int = 0
    changed_at: str = ""
    boot_id: str = ""

    @property
    def serving(self) -> str | None:
        """What the engine shall run now; None is the factory model. The symlink `current` says the same."""
        return self.release if self.phase == "trial" else self.current

    @property
    def way_back(self) -> str | None:
        """What runs after a roll-back; None is the factory model. The symlink `previous` says the same."""
        return self.current if self.phase == "trial" else self.previous


def sequence_of(release: str) -> int:
    """The sequence number in the name of a release."""
    return int(release.partition("-")[0])


def begin_trial(state: State, release: str, *, allow_downgrade: bool) -> State:
    """Put a release on trial; the same one again is no change.

    Args:
        allow_downgrade: what its signed manifest says.

    Raises:
        ReleaseError: another one is on trial, or this one is older than one that ran here.
    """
    if release == state.serving:
        return state
    if state.phase == "trial":
        raise ReleaseError(
            f"{release}: cannot be tried while {state.release} is on trial; "
            "wait for its end, see `wastebin models status`"
        )
    refuse_replay(state, release, allow_downgrade=allow_downgrade)
    return replace(state, phase="trial", release=release, tries_left=TRIES, reason="")


def refuse_replay(state: State, release: str, *, allow_downgrade: bool) -> None:
    """Refuse what is older than a release that proved itself here.

    Raises:
        ReleaseError: it is, and its signed manifest does not allow that.
    """
    if sequence_of(release) < state.highest_seq and not allow_downgrade:
        raise ReleaseError(
            f"{release}: sequence {sequence_of(release)} is older than {state.highest_seq}, which ran here; "
            "go back with `wastebin models rollback`, or pack the bundle again"
        )


def note_try(state: State) -> State:
    """Count one start of the release on trial, before it is loaded; with none left it is rolled back."""
    if state.phase != "trial":
        return state
    if state.tries_left < 1:
        return roll_back(state, f"it was started {TRIES} times and did not prove itself in any")
    return replace(state, tries_left=state.tries_left - 1)


def give_back_try(state: State, release: str) -> State:
    """The release on trial did well until a person stopped the bin: that start does not count."""
    if (state.phase, state.release) != ("trial", release):
        return state
    return replace(state, tries_left=min(state.tries_left + 1, TRIES))


def commit(state: State, release: str) -> State:
    """The release on trial has proved itself; the same again is no change.

    Raises:
        ReleaseError: it is not on trial (any more).
    """
    if state.phase == "committed" and state.release == release:
        return state
    if state.phase != "trial" or state.release != release:
        raise ReleaseError(f"{release}: cannot be committed, since {told(state)}; see `wastebin models status`")
    highest = max(state.highest_seq, sequence_of(release))
    return replace(state, phase="committed", current=release, previous=state.current, tries_left=0, highest_seq=highest)


def roll_back(state: State, reason: str) -> State:
    """Go back: from a trial to what ran before it, else from the current release to the previous one.

    Args:
        reason: one sentence, kept.

    Raises:
        ReleaseError: the factory model runs, and there is nothing behind it.
    """
    if state.phase == "trial":
        return replace(state, phase="rolled_back", tries_left=0, reason=reason)
    if state.current is None:
        raise ReleaseError("models: the factory model runs, and nothing is behind it; ship another bundle instead")
    return replace(
        state, phase="rolled_back", release=state.current, current=state.previous, previous=None, reason=reason
    )


def told(state: State) -> str:
    """The phase as half a sentence."""
    return {
        "idle": "the factory model runs and nothing was ever tried",
        "trial": f"{state.release} is on trial, {state.tries_left} tries left",
        "committed": f"{state.release} is committed",
        "rolled_back": f"{state.release} was rolled back: {state.reason}",
    }[state.phase]


def parse_state(raw: bytes) -> State | str:
    """Read the content of state.json; a text says what is wrong with it."""
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError):
        return f"{len(raw)} bytes that are not JSON"
    problems: list[str] = []
    state = build(State, table, "its content", problems)
    if state is None:
        return "; ".join(problems)
    names = [name for name in (state.release, state.current, state.previous) if name is not None]
    is_sound = (
        state.schema == STATE_SCHEMA
        and state.phase in PHASES
        and (state.release is None) == (state.phase == "idle")
        and (state.phase != "committed" or state.release == state.current)
        and 0 <= state.tries_left <= TRIES
        and all(map(RELEASE_NAME.fullmatch, names))
    )
    return state if is_sound else f"its values cannot be: {state}"


def state_from_links(current: str | None, previous: str | None, reason: str) -> State:
    """What can be known without state.json: that what the links name has run here."""
    highest = max((sequence_of(name) for name in (current, previous) if name is not None), default=0)
    return State(current=current, previous=previous, highest_seq=highest, reason=reason)
