"""Show a running bin to a person at a terminal, calmly.

    Status, Frame -> View -> rich.live.Live

Only draws what it is given: it must never decide, wait or read a clock, and the engine never waits for it. Where stdout
is no terminal `device.lines` prints instead. The camera's picture is drawn with half blocks: two pixels a character.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from rich import box
from rich.align import Align
from rich.color import Color
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from device.camera.frame import Frame, Rgb
from device.drive import Phase
from device.gate import TrayState
from device.status import Decided, State, Status

__all__ = ["Picture", "View"]


@dataclass(frozen=True, slots=True)
class _Size:
    """How much room there is, in characters; the picture keeps a camera's 4:3."""

    width: int
    height: int
    picture_columns: int
    picture_lines: int
    bar_columns: int
    decisions: int


LARGE = _Size(width=96, height=29, picture_columns=40, picture_lines=15, bar_columns=26, decisions=5)
SMALL = _Size(width=80, height=24, picture_columns=32, picture_lines=12, bar_columns=24, decisions=3)

INK, QUIET, FAINT, ACCENT, WARN = "grey89", "grey62", "grey35", "#5fd7af", "#ffaf5f"

STEPS = (
    (State.LEARNING, "learn"),
    (State.WATCHING, "watch"),
    (State.VOTING, "vote"),
    (State.WAITING_CLEAR, "wait"),
    (State.MOVING, "move"),
    (State.CHECKING, "check"),
)

SENTENCES = {
    State.LEARNING: "Learning what the empty tray looks like.",
    State.WATCHING: "Watching the tray.",
    State.VOTING: "Looking at an item.",
    State.WAITING_CLEAR: "Decided; waiting until nothing moves.",
    State.MOVING: "Moving.",
    State.HELD: "The lid is open; nothing moves until it is shut.",
    State.CHECKING: "Looking whether the tray is empty again.",
    State.ALARM: "The item is stuck. Take it out by hand.",
}

TRAY_WORDS = {
    TrayState.LEARNING: "light changed, learning",
    TrayState.EMPTY: "empty",
    TrayState.MOVING: "something moves",
    TrayState.ITEM: "an item lies still",
    TrayState.BLOCKED: "a hand, or something too large",
}


class Picture:
    """A camera picture as characters, with the item's box drawn in.

    Args:
        rgb: uint8 [H, W, 3]; read only.
        item_box: x, y, w, h in px of `rgb`, or None.
        columns, lines: room for it, in characters.
    """

    def __init__(self, rgb: Rgb, item_box: tuple[int, int, int, int] | None, columns: int, lines: int) -> None:
        width_px, height_px = columns, 2 * lines
        small = cv2.resize(rgb, (width_px, height_px), interpolation=cv2.INTER_AREA)
        # Three bits less per colour: a tenth of the styles to make, and sensor noise does not flicker.
        self._rgb = np.asarray(small, np.uint8) & np.uint8(0xF8)
        if item_box is not None:
            scale_x, scale_y = width_px / rgb.shape[1], height_px / rgb.shape[0]
            x, y, w, h = item_box
            left, top = max(0, math.floor(x * scale_x)), max(0, math.floor(y * scale_y))
            right = min(width_px - 1, math.ceil((x + w) * scale_x) - 1)
            bottom = min(height_px - 1, math.ceil((y + h) * scale_y) - 1)
            cv2.rectangle(self._rgb, (left, top), (right, bottom), (0x58, 0xD8, 0xA8), 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for upper, lower in zip(self._rgb[::2].tolist(), self._rgb[1::2].tolist(), strict=True):
            for above, below in zip(upper, lower, strict=True):
                yield Segment("▀", _half_block(*above, *below))
            yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self._rgb.shape[1], self._rgb.shape[1])


class View:
    """The whole screen; give it to `rich.live.Live` and feed it.

    Args:
        source: what the frames come from, by name: `simulator`, `picamera2`, `usb:0`.
        pins: what the outputs are, by name: `mock pins`, `lgpio`.
        bins: names, in the site's order.
    """

    def __init__(self, source: str, pins: str, bins: Sequence[str]) -> None:
        self._heading = f"{source}, {pins}"
        self._bins = tuple(bins)
        self._status: Status | None = None
        self._frame: Frame | None = None
        self._fault: str | None = None
        self._decisions: deque[Decided] = deque(maxlen=LARGE.decisions)

    def frame(self, status: Status, frame: Frame) -> None:
        """Take the newest state in; drawn when the screen is next refreshed."""
        self._status, self._frame = status, frame
        if status.decided is not None:
            self._decisions.appendleft(status.decided)

    def fault(self, sentence: str | None) -> None:
        """Show what is wrong until it is None again."""
        self._fault = sentence

    def farewell(self) -> str:
        """One line for when the view is gone: what this run did."""
        counts = self._status.counts if self._status is not None else {}
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        return f"{sum(counts.values())} sorted: {each}" if each else "Nothing was seen."

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fits = console.width >= LARGE.width and console.height >= LARGE.height
        size = LARGE if fits else SMALL
        status, frame = self._status, self._frame
        subtitle = None
        if status is None or frame is None:
            body: RenderableType = Align.center(Text(self._fault or "Waiting for the first frame.", style=QUIET))
        else:
            body = self._body(status, frame, size)
            subtitle = _figures(status)
        is_wrong = self._fault is not None or (status is not None and status.state is State.ALARM)
        yield Panel(
            body,
            title=self._title(),
            subtitle=subtitle,
            border_style=WARN if is_wrong else FAINT,
            box=box.ROUNDED,
            width=size.width,
            padding=(0, 1),
        )

    def _body(self, status: Status, frame: Frame, size: _Size) -> Group:
        top = Table.grid(padding=(0, 1))
        top.add_column(width=size.picture_columns)
        top.add_column()
        picture = Picture(frame.rgb, status.box, size.picture_columns, size.picture_lines)
        tray = Text(f"Tray: {TRAY_WORDS[status.tray]}.", style=QUIET)
        words = Group(_steps(status.state), Text(), _sentence(status), tray, Text(), *_vote(status, size.bar_columns))
        top.add_row(picture, Padding(words, (0, 0, 0, 1)))
        return Group(
            top,
            Rule(style=FAINT),
            _bin_row(self._bins, status),
            Rule(style=FAINT),
            _decision_table(list(self._decisions)[: size.decisions], size.decisions),
            self._last_line(status),
        )

    def _title(self) -> Text:
        return Text.assemble((" wastebin ", f"bold {ACCENT}"), (f"· {self._heading} ", QUIET))

    def _last_line(self, status: Status) -> Text:
        if self._fault is not None:
            return Text(self._fault, style=WARN, no_wrap=True, overflow="ellipsis")
        said = [f"{name} {_level(value)}" for name, value in status.outputs.items() if value]
        if status.jams:
            said.append("one jam" if status.jams == 1 else f"{status.jams} jams")
        said.append("contamination: not known, it needs corrections")
        return Text(" · ".join(said), style=FAINT, no_wrap=True, overflow="ellipsis")


@lru_cache(maxsize=8192)
def _half_block(*rgb_rgb: int) -> Style:
    """Upper pixel as ink, lower pixel as ground."""
    return Style(color=Color.from_rgb(*rgb_rgb[:3]), bgcolor=Color.from_rgb(*rgb_rgb[3:]))


def _steps(state: State) -> Text:
    text = Text(no_wrap=True)
    for step, word in STEPS:
        if text:
            text.append(" · ", FAINT)
        text.append(word, f"bold black on {ACCENT}" if step is state else QUIET)
    return text


def _sentence(status: Status) -> Text:
    if status.state is State.MOVING and status.last is not None:
        return Text.assemble(("Moving: ", INK), (status.last.bin, f"bold {ACCENT}"), (f" ({status.phase})", QUIET))
    if status.state is State.VOTING:
        frames = "one frame" if status.vote_frames == 1 else f"{status.vote_frames} frames"
        return Text.assemble((SENTENCES[State.VOTING], INK), (f"  {frames} so far", QUIET))
    return Text(SENTENCES[status.state], style=WARN if status.state is State.ALARM else INK)


def _vote(status: Status, columns: int) -> Iterable[Text]:
    """Bars of the running vote; of the last decision, dimmed, when none runs."""
    is_running = bool(status.vote)
    probs: Mapping[str, float] = status.vote or (status.last.probs if status.last is not None else {})
    best = max(probs, key=probs.__getitem__, default=None)
    for label, prob in probs.items():
        colour = (ACCENT if label == best else QUIET) if is_running else (QUIET if label == best else FAINT)
        yield Text.assemble(
            (f"{label:<10}", colour if label == best else FAINT),
            (_bar(prob, columns), colour),
            (f"{prob:5.0%}", colour),
        )


def _bar(share: float, columns: int) -> str:
    """A bar of `columns` characters, drawn to an eighth of one."""
    eighths = round(min(max(share, 0.0), 1.0) * columns * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(columns)


def _bin_row(bins: Sequence[str], status: Status) -> Table:
    table = Table.grid(expand=True)
    going = status.last.bin if status.last is not None and status.phase is not Phase.PARKED else None
    for _ in bins:
        table.add_column(justify="center", ratio=1)
    table.add_row(*(Text(name, style=f"bold {ACCENT}" if name == going else INK) for name in bins))
    table.add_row(*(Text(status.phase if name == going else "·", ACCENT if name == going else FAINT) for name in bins))
    table.add_row(*(Text(str(status.counts.get(name, 0)), style=f"bold {INK}") for name in bins))
    return table


def _level(value: float) -> str:
    """What a pin that does something is told, in words; LED levels end at 1, pulses in µs begin far above."""
    return f"{value:.0f} µs" if value > 1 else "on"


def _decision_table(newest_first: Sequence[Decided], lines: int) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), header_style=FAINT, show_edge=False)
    for heading, justify in (("no", "right"), ("material", "left"), ("sure", "right"), ("goes to", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("frames", justify="right")
    table.add_column("ms", justify="right")
    for row, decided in enumerate(newest_first):
        style = INK if row == 0 else QUIET
        to_bin = decided.bin if decided.reason is None else f"{decided.bin}, {decided.reason}"
        table.add_row(
            str(decided.event),
            decided.label,
            f"{decided.prob:.0%}",
            to_bin,
            str(decided.frames),
            f"{decided.decision_ms:.0f}",
            style=style,
        )
    for _ in range(lines - len(newest_first)):
        table.add_row(*[""] * 6)
    return table


def _figures(status: Status) -> Text:
    classify = "" if status.classify_ms is None else f" · classify {status.classify_ms:.0f} ms"
    return Text(f" {status.fps:.0f} frames/s{classify} · model {status.model} ", style=FAINT)
