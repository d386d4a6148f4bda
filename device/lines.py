"""Say in lines what a running bin does: for journals, pipes and machines.

    Status -> Lines (text) or JsonLines -> stdout

One line per decision, and one per fault; `JsonLines` also says each change of state. Must write nothing else.
"""

import json
from typing import TextIO

from device.camera.frame import Frame
from device.status import Decided, State, Status

__all__ = ["JsonLines", "Lines", "decision_fields"]


def decision_fields(decided: Decided) -> dict[str, object]:
    """What a JSON line says of a decision; probabilities and familiarity to four places, milliseconds to one."""
    familiarity = decided.familiarity
    return {
        "event": decided.event,
        "label": decided.label,
        "prob": round(decided.prob, 4),
        "probs": {label: round(prob, 4) for label, prob in decided.probs.items()},
        "accepted": decided.accepted,
        "reason": decided.reason,
        "familiarity": None if familiarity is None else round(familiarity, 4),
        "bin": decided.bin,
        "frames": decided.frames,
        "decision_ms": round(decided.decision_ms, 1),
    }


class Lines:
    """One plain line per decision, alarm and fault."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._state: State | None = None

    def frame(self, status: Status, frame: Frame) -> None:  # noqa: ARG002
        """Say what was decided on this frame, if anything."""
        decided = status.decided
        if decided is not None:
            doubt = "" if decided.reason is None else f", {decided.reason}"
            self._say(
                f"{decided.event:>5}  {decided.label:<10} {decided.prob:4.0%}  -> {decided.bin}{doubt}"
                f"  ({decided.frames} frames, {decided.decision_ms:.0f} ms)"
            )
        if status.state is State.ALARM and self._state is not State.ALARM:
            self._say("alarm  the item is stuck; take it out by hand")
        self._state = status.state

    def fault(self, sentence: str | None) -> None:
        """Say what is wrong, or that it is over."""
        self._say("fault  over" if sentence is None else f"fault  {sentence}")

    def _say(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


class JsonLines:
    """The same for machines: `{"kind": "decision" | "status" | "fault", ...}`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._state: State | None = None

    def frame(self, status: Status, frame: Frame) -> None:  # noqa: ARG002
        """Say a change of state and a decision."""
        if status.decided is not None:
            self._say({"kind": "decision", **decision_fields(status.decided), "model": status.model})
        if status.state is not self._state:
            self._state = status.state
            self._say(
                {
                    "kind": "status",
                    "state": status.state,
                    "tray": status.tray,
                    "at_s": round(status.at_s, 3),
                    "counts": status.counts,
                    "jams": status.jams,
                    "fps": round(status.fps, 1),
                }
            )

    def fault(self, sentence: str | None) -> None:
        """Say what is wrong; `detail` is null when it is over."""
        self._say({"kind": "fault", "detail": sentence})

    def _say(self, fields: dict[str, object]) -> None:
        self._out.write(json.dumps(fields) + "\n")
        self._out.flush()
