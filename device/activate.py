"""Ask for a release to be used, and follow what becomes of it; the running bin does the rest.

    wastebin models activate -> activate: verify, offline probe, trial state -> (the bin tries it) -> follow -> the end

No socket: the state on disk is what both sides look at, so that a link which is cut here, or a bin which is switched
off there, changes nothing about how it ends. It must never put a release on trial that the offline probe refused, nor
one that would not be looked at, because a person has named another model.
"""

from collections.abc import Callable, Iterator

from device.config_types import Config
from device.errors import BundleRefused, ReleaseError
from device.release_state import State, told
from device.releases import ReleaseStore

__all__ = ["activate", "follow"]

POLL_S = 0.5

Probe = Callable[[ReleaseStore, str, Config], object]
"""Tries a release beside the running bin; raises BundleRefused, see `device.probation`."""


def activate(store: ReleaseStore, release: str, config: Config, probe: Probe) -> State:
    """Put a release on trial, unless it serves already.

    Args:
        store: holds it.
        release: its name.
        config: of this bin.
        probe: the last word before it comes near an item.

    Returns:
        The state from which the running bin, or the next start of one, goes on.

    Raises:
        BundleError: it is not what was signed, or no good on this device; in the latter case the reason is kept.
        ReleaseError: no such release, another one is on trial, it is older than what ran here, or the configuration
            names a model, so that nothing else is used.
    """
    if config.model.path is not None:
        raise ReleaseError(
            f"{config.file}: [model].path names {config.model.path}, expected nothing there, "
            "or no other model will be used; remove that line"
        )
    store.check_trial(release)
    if release == store.read_state().serving:
        return store.read_state()
    try:
        probe(store, release, config)
    except BundleRefused as exc:
        store.refuse(release, str(exc))
        raise
    return store.begin_trial(release)


def follow(
    read_state: Callable[[], State],
    release: str,
    *,
    wait_s: float,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> Iterator[State]:
    """The states that a release goes through until it is committed, each once.

    Args:
        read_state: see `ReleaseStore.read_state`.
        release: the one that was activated.
        wait_s: seconds after which the end is no longer waited for.
        clock: monotonic seconds.
        pause: sleeps that many seconds.

    Raises:
        ReleaseError: it was rolled back, or something else came instead, or the end did not come in time.
    """
    end_s = clock() + wait_s
    last = None
    while True:
        state = read_state()
        if state != last:
            yield state
            last = state
        if state.phase != "trial" or state.release != release:
            break
        if clock() >= end_s:
            raise ReleaseError(
                f"{release}: still on trial after {wait_s:g} s, {state.tries_left} tries left; it goes on without "
                "you, see `wastebin models status`"
            )
        pause(POLL_S)
    if state.serving != release:
        raise ReleaseError(f"{release}: not in use, since {told(state)}")
