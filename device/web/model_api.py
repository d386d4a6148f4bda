"""The model page: what runs and how good it was in the lab, what this site has taught it, and the ways back.

    bundle's manifest, Learner, ReleaseStore -> JSON; a person -> learn, revoke, roll back

What may take seconds runs in a worker, and only one of it at a time. It must never change a model itself: the store
and the learner do, and the engine follows between two items.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict

from device.bundle import load_bundle
from device.errors import BundleError, DashboardError, LearntError
from device.learner import LearntView
from device.release_list import list_releases
from device.release_state import told
from device.web.answers import Ask, Handler
from device.web.desk import Desk

__all__ = ["model_api"]


def model_api(desk: Desk) -> dict[tuple[str, str], Handler]:
    """Handlers by method and path."""
    only_one = threading.Lock()
    card: dict[str, dict[str, object]] = {}

    def model(ask: Ask) -> object:  # noqa: ARG001
        version = desk.engine.model.version
        found = card.get(version) or _card(desk)
        if found.get("version") == version:  # else it is changing over at this moment
            card.clear()
            card[version] = found
        return {**found, "running": version, "learnt": _learnt(desk), "store": _releases(desk)}

    def learn(ask: Ask) -> object:  # noqa: ARG001
        return _alone(lambda: asdict(desk.learner.learn()))

    def revoke(ask: Ask) -> object:  # noqa: ARG001
        return _alone(lambda: asdict(desk.learner.revoke()))

    def roll_back(ask: Ask) -> object:  # noqa: ARG001
        store = desk.store
        if store is None:
            raise DashboardError("this bin was started with one model named; there is none to go back to", 409)
        return _alone(lambda: {"told": told(store.roll_back("asked for in the dashboard"))})

    def _alone(do: Callable[[], dict[str, object]]) -> dict[str, object]:
        if not only_one.acquire(blocking=False):
            raise DashboardError("the model is being changed already; wait for it", 409)
        try:
            return do()
        finally:
            only_one.release()

    return {
        ("GET", "/api/model"): model,
        ("POST", "/api/model/learn"): learn,
        ("POST", "/api/model/revoke"): revoke,
        ("POST", "/api/model/rollback"): roll_back,
    }


def _card(desk: Desk) -> dict[str, object]:
    try:
        bundle = load_bundle(desk.model_path())
    except BundleError as error:
        return {"name": desk.engine.model.name, "problem": str(error)}
    scores = {group: asdict(score) for group, score in bundle.manifest.metrics.int8.items()}
    return {
        "name": bundle.name,
        "version": bundle.version,
        "made_at": bundle.manifest.created_at,
        "labels": list(bundle.labels),
        "bytes": bundle.manifest.files["model.onnx"].size,
        "scores": scores,
    }


def _learnt(desk: Desk) -> dict[str, object]:
    try:
        return asdict(desk.learner.view())
    except LearntError as error:
        return {**asdict(LearntView()), "refused": str(error)}


def _releases(desk: Desk) -> dict[str, object] | None:
    if desk.store is None:
        return None
    state = desk.store.read_state()
    return {
        "serving": state.serving or "factory",
        "way_back": state.way_back or "factory",
        "can_roll_back": state.serving is not None,
        "told": told(state),
        "releases": [asdict(release) for release in list_releases(desk.store)],
    }
