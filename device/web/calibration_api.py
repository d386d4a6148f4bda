"""The calibration page: each step alone, again, undone; what it found, in words.

    GET /api/calibration (polled) and a few POSTs -> Calibrating

Inputs are checked here for their kind, and by the steps for their sense.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from device.calibration import apply, load_calibration
from device.errors import DashboardError
from device.outputs import HARD_LIMITS_US, LedOutputs
from device.web.answers import Ask, Bytes, Handler, text
from device.web.calibrating import Calibrating
from device.web.desk import Desk
from device.web.scene import encode_jpeg

__all__ = ["calibration_api"]


def calibration_api(desk: Desk, calibrating: Calibrating) -> dict[tuple[str, str], Handler]:
    """Handlers by method and path."""

    def show(ask: Ask) -> object:  # noqa: ARG001
        from device.calibrate.session import STEPS

        outputs = desk.config.outputs
        session = calibrating.session
        if session is None:
            found, note = load_calibration(desk.config.events_path.parent)
        else:
            found, note = session.calibration, session.note
        results = {} if session is None else session.results
        question = calibrating.question
        return {
            "open": session is not None,
            "busy": calibrating.busy,
            "question": None if question is None else asdict(question),
            "error": calibrating.error or note,
            "saved": calibrating.is_saved,
            "picture": calibrating.picture() is not None,
            "labels": list(desk.labels),
            "flaps": [] if isinstance(outputs, LedOutputs) else [each.name for each in desk.site.bins],
            "pulse_us": HARD_LIMITS_US,
            "size": desk.config.camera.size_px,
            "region": apply(desk.lender.config, found).camera.region,
            "steps": [
                {
                    **asdict(step),
                    "done": asdict(found.done[step.name]) if step.name in found.done else None,
                    "result": results[step.name].fields() if step.name in results else None,
                }
                for step in STEPS
            ],
        }

    def begin(ask: Ask) -> object:
        calibrating.open()
        return show(ask)

    def end(ask: Ask) -> object:
        calibrating.close()
        return show(ask)

    def save(ask: Ask) -> object:
        calibrating.save()
        return show(ask)

    def run(ask: Ask) -> object:
        calibrating.run(_step(ask), _inputs(_step(ask), ask.table))
        return show(ask)

    def undo(ask: Ask) -> object:
        calibrating.undo(_step(ask))
        return show(ask)

    def answer(ask: Ask) -> object:
        value = ask.table.get("value")
        if not isinstance(value, bool | int):
            raise DashboardError("value: expected yes, no or a whole number")
        calibrating.answer(value)
        return show(ask)

    def picture(ask: Ask) -> object:  # noqa: ARG001
        rgb = calibrating.picture()
        if rgb is None:
            raise DashboardError("no step has looked at anything yet", 404)
        return Bytes(encode_jpeg(rgb), "image/jpeg")

    return {
        ("GET", "/api/calibration"): show,
        ("GET", "/api/calibration/picture.jpg"): picture,
        ("POST", "/api/calibration/open"): begin,
        ("POST", "/api/calibration/close"): end,
        ("POST", "/api/calibration/save"): save,
        ("POST", "/api/calibration/answer"): answer,
        ("POST", "/api/calibration/steps/{step}/run"): run,
        ("POST", "/api/calibration/steps/{step}/undo"): undo,
    }


def _step(ask: Ask) -> str:
    from device.calibrate.session import STEPS

    if ask.path["step"] not in {step.name for step in STEPS}:
        raise DashboardError(f"there is no step {ask.path['step'][:40]!r}", 404)
    return ask.path["step"]


def _inputs(step: str, table: Mapping[str, object]) -> dict[str, Any]:
    """What the page may tell a step."""
    if step == "looks":
        return {"label": text(table, "label", 60)}
    if step == "flaps" and "flap" in table:
        return {"flap": text(table, "flap", 60)}
    if step == "region" and "region" in table:
        return {"region": _box(table["region"])}
    return {}


def _box(drawn: object) -> tuple[int, ...]:
    if not isinstance(drawn, list) or len(drawn) != 4 or not all(type(each) is int for each in drawn):
        raise DashboardError("region: expected [x, y, width, height], whole numbers")
    return tuple(drawn)
