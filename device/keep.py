"""Keep the picture of an item once a person has said what it was.

    Watcher.frame (a decision and its frame) -> crops in memory -> a correction in the database -> looks.keep_look

Correcting an item is the consent to keep its picture: until then it lies in memory only, the newest few, and is gone
with the process. It must never write a picture that nobody corrected, unless the configuration asks for those of items
that the bin could not name (`unsure`), and never make the loop wait: the loop cuts out a
crop, everything else happens in a thread.
"""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from device.camera.frame import Frame, Rgb
from device.engine import Records
from device.errors import EventsError, ItemsError, UsageError
from device.event_reader import read_corrections
from device.events import Event
from device.looks import CORRECTED, keep_look, looks_folder, remove_picture
from device.region import cut_square
from device.status import Status
from device.unsure import forget_unsure, keep_unsure, unsure_folder

__all__ = ["MOST_BYTES", "Keeper"]

MOST_BYTES: Final = 16 * 2**20
"""What remembered crops may take up: about the last sixty items, or nine that fill the whole picture."""

POLL_S: Final = 2.0


class Keeper:
    """A watcher that remembers what was decided, and keeps what is corrected.

    Args:
        events_path: the database; the pictures go beside it.
        margin: of a crop, as the gate cuts it, so that a model sees the picture that it saw then.
        log: is told what goes wrong.
        most_bytes: that remembered crops may take up; the oldest go first.
        keep_unsure: how many pictures of items that could not be named are kept without a correction; see `unsure`.
    """

    def __init__(
        self, events_path: Path, margin: float, log: Records, most_bytes: int = MOST_BYTES, *, keep_unsure: int = 0
    ) -> None:
        self._events_path = events_path
        self._margin = margin
        self._log = log
        self._most_bytes = most_bytes
        self._keep_unsure = keep_unsure
        self._changed = threading.Condition()
        # What follows is shared and only touched while holding `_changed`.
        self._crops: OrderedDict[int, Rgb] = OrderedDict()
        self._unsure: list[int] = []
        self._is_closing = False
        # Only the thread's.
        self._kept: dict[int, Path] = {}
        self._told: str | None = None
        self._thread = threading.Thread(target=self._run, name="keep-looks", daemon=True)

    def start(self) -> None:
        """Look for corrections from now on."""
        self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """Look once more, for what was corrected a moment ago, and stop."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def frame(self, status: Status, frame: Frame) -> None:
        """Remember the picture of an item that was decided on this very frame."""
        if status.decided is None or status.box is None:
            return
        crop = cut_square(frame.rgb, status.box, self._margin)
        with self._changed:
            self._crops[status.decided.event] = crop
            if self._keep_unsure and not status.decided.accepted:
                self._unsure.append(status.decided.event)
            while sum(each.nbytes for each in self._crops.values()) > self._most_bytes:
                self._crops.popitem(last=False)

    def fault(self, sentence: str | None) -> None:
        """Nothing to do with pictures."""

    def crop(self, event: int) -> Rgb | None:
        """The picture of a decision, while it is remembered; uint8 [H, W, 3], not to be written to."""
        with self._changed:
            return self._crops.get(event)

    def look(self) -> None:
        """Keep what was corrected since; the last word counts, so that a picture may move to another label, or go."""
        with self._changed:
            crops = dict(self._crops)
            unsure, self._unsure = self._unsure, []
        if not crops:
            return
        folder = looks_folder(self._events_path)
        try:
            for event in unsure:
                if event in crops:
                    keep_unsure(unsure_folder(self._events_path), event, crops[event], self._keep_unsure)
            corrected = {each.event_id: each.label for each in read_corrections(self._events_path, first=min(crops))}
            for event in [event for event in self._kept if event >= min(crops) and event not in corrected]:
                remove_picture(self._kept[event])
                del self._kept[event]
            for event, label in corrected.items():
                before = self._kept.get(event)
                if event not in crops or (before is not None and before.parent.name == label):
                    continue
                path = keep_look(folder, label, f"{CORRECTED}{event}", crops[event])
                if before is not None:
                    remove_picture(before)
                forget_unsure(unsure_folder(self._events_path), event)
                self._kept[event] = path
        except (EventsError, ItemsError, UsageError) as error:
            self._tell(str(error))
        else:
            self._told = None

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:  # the same trouble every two seconds is one event
            self._log.add(Event("fault", sentence))
        self._told = sentence

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._changed:
                is_last = self._changed.wait_for(lambda: self._is_closing, POLL_S)
            self.look()
