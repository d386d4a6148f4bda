"""What a person sees of the store: each release with its part in it.

    ReleaseStore -> list_releases -> `wastebin models list`

It must never fail for a release that is damaged: that one is what the list is looked at for.
"""

from dataclasses import dataclass

from device.bundle import load_bundle
from device.errors import BundleError
from device.releases import ReleaseStore

__all__ = ["Release", "list_releases"]


@dataclass(frozen=True, slots=True)
class Release:
    """One release for people.

    Attributes:
        release: its name.
        name, created_at: of the bundle; empty when it cannot be read.
        role: `current`, `trial`, `previous`, or empty.
        problem: why it cannot run, or was refused or rolled back before; empty when there is nothing.
    """

    release: str
    name: str
    created_at: str
    role: str
    problem: str


def list_releases(store: ReleaseStore) -> list[Release]:
    """All releases, the newest first."""
    state = store.read_state()
    roles = {state.way_back: "previous", state.serving: "trial" if state.phase == "trial" else "current"}
    listed = []
    for release in reversed(store.releases()):
        try:
            bundle = load_bundle(store.path_of(release))
        except BundleError as exc:
            listed.append(Release(release, "", "", roles.get(release, ""), str(exc)))
        else:
            problem = store.refusal(release) or ""
            listed.append(Release(release, bundle.name, bundle.manifest.created_at, roles.get(release, ""), problem))
    return listed
