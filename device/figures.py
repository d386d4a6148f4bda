"""What a bin has done today, this week and lately, for people: counts, contamination, diversion, accuracy, last items.

    event_reader -> read_figures, read_last -> dashboard

Counts are what was decided; shares are estimated from spot checks that people answered and from landings, with their
interval, and are None while there are none: see `field_accuracy` on why corrections are no part of them.
- **contamination** of a bin: of what went into it, the share that does not belong there;
- **diversion**: of what could be recycled, the share that went where it belongs.
An item went where a beam saw it fall, and where it was sent if none did. A day begins at midnight of the bin's place, a
week on Monday. It must never show a share without its interval.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from device.event_reader import (
    SpotCheck,
    read_corrections,
    read_events,
    read_landings,
    read_spot_checks,
    read_wrongs,
    select_rows,
)
from device.event_store import Event, iso_utc
from device.field_accuracy import Answer, FieldAccuracy, Share, estimate, share
from device.route import Site, home_bin

__all__ = ["LATELY_DAYS", "BinFigures", "Figures", "LastItem", "read_figures", "read_last", "uncertain_first"]

LATELY_DAYS: Final = 28
"""What shares are estimated from: a week has too few answers to say anything."""


@dataclass(frozen=True, slots=True)
class BinFigures:
    """One bin.

    Attributes:
        today, week: decisions that sent something there, since midnight and since Monday.
        contamination: lately; of the residual bin it says what could have been recycled.
    """

    name: str
    is_residual: bool
    today: int
    week: int
    contamination: Share


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them at one moment.

    Attributes:
        bins: in the order of the site.
        contamination: of all bins but the residual one together, lately.
        diversion: lately.
        accuracy: lately; labels, and landings where there are beams.
    """

    bins: tuple[BinFigures, ...]
    contamination: Share
    diversion: Share
    accuracy: FieldAccuracy


@dataclass(frozen=True, slots=True)
class LastItem:
    """One decision and what is known of it since.

    Attributes:
        event: the decision.
        correction: what people say it was; None while nobody has.
        landed: the bin where a beam saw it fall first; None without.
        is_wrong: somebody pressed "wrong" at the machine and nobody has said yet what it was.
        spot_check: the question about it; None where it was not drawn.
    """

    event: Event
    correction: str | None
    landed: str | None
    is_wrong: bool
    spot_check: SpotCheck | None


@dataclass(frozen=True, slots=True)
class _Answered:
    """One answered spot check."""

    decided: str
    truth: str
    sent: str
    went: str
    rate: float
    day: str

    def yes_if(self, is_right: bool) -> Answer:
        return Answer(is_right, self.day, self.rate)


def read_figures(path: Path, site: Site, *, now: datetime) -> Figures:
    """Count and estimate.

    Args:
        path: the database; a bin may be writing to it.
        site: whose bins these are.
        now: with the time zone of the bin's place.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today = _count(path, midnight)
    week = _count(path, midnight - timedelta(days=now.weekday()))
    since = iso_utc((now - timedelta(days=LATELY_DAYS)).timestamp())
    answered = _answered(path, since, now)
    residual = site.residual.name

    def contamination(of: Iterable[_Answered]) -> Share:
        return share([each.yes_if(home_bin(each.truth, site).name != each.went) for each in of])

    recyclable = [each for each in answered if not home_bin(each.truth, site).is_residual]
    return Figures(
        bins=tuple(
            BinFigures(
                bin_.name,
                bin_.is_residual,
                today.get(bin_.name, 0),
                week.get(bin_.name, 0),
                contamination(each for each in answered if each.went == bin_.name),
            )
            for bin_ in site.bins
        ),
        contamination=contamination(each for each in answered if each.went != residual),
        diversion=share([each.yes_if(home_bin(each.truth, site).name == each.went) for each in recyclable]),
        accuracy=_accuracy(path, since, answered),
    )


def read_last(path: Path, limit: int = 50) -> list[LastItem]:
    """The newest decisions, newest first.

    Raises:
        EventsError: there is no database, or it cannot be read.
    """
    events = read_events(path, limit, "decision")
    if not events:
        return []
    first = events[0].id or 0
    corrections = {each.event_id: each.label for each in read_corrections(path, first)}
    landings = {each.event_id: each.bin for each in reversed(read_landings(path, first))}
    wrongs = set(read_wrongs(path, first))
    checks = {each.event_id: each for each in read_spot_checks(path, first)}
    return [
        LastItem(event, corrections.get(number), landings.get(number), number in wrongs, checks.get(number))
        for event in reversed(events)
        if (number := event.id or 0)
    ]


def uncertain_first(items: Iterable[LastItem]) -> list[LastItem]:
    """Those of which a person's word is worth most: marked wrong, then not accepted, then the least probable."""
    return sorted(items, key=lambda item: (not item.is_wrong, bool(item.event.accepted), item.event.prob or 0.0))


def _count(path: Path, since: datetime) -> dict[str, int]:
    query = "SELECT bin, count(*) FROM events WHERE kind = 'decision' AND at >= ? GROUP BY bin"
    return dict(select_rows(path, query, [iso_utc(since.timestamp())]))


def _answered(path: Path, since: str, now: datetime) -> list[_Answered]:
    # Of several beams the first counts: SQLite takes `bin` from the row of the least `at`.
    query = (
        "SELECT d.label, s.label, d.bin, coalesce(l.bin, d.bin), s.rate, s.answered_at FROM spot_checks AS s "
        "JOIN events AS d ON d.id = s.event_id "
        "LEFT JOIN (SELECT event_id, bin, min(at) FROM landings GROUP BY event_id) AS l ON l.event_id = d.id "
        "WHERE d.at >= ? AND s.label IS NOT NULL"
    )
    return [
        _Answered(
            decided, truth, sent, went, rate, datetime.fromisoformat(at).astimezone(now.tzinfo).date().isoformat()
        )
        for decided, truth, sent, went, rate, at in select_rows(path, query, [since])
    ]


def _accuracy(path: Path, since: str, answered: list[_Answered]) -> FieldAccuracy:
    decisions, asked, corrections = select_rows(
        path,
        "SELECT count(*), count(s.event_id), count(c.event_id) - count(c.event_id AND s.label IS NOT NULL OR NULL) "
        "FROM events AS d LEFT JOIN spot_checks AS s ON s.event_id = d.id "
        "LEFT JOIN corrections AS c ON c.event_id = d.id WHERE d.kind = 'decision' AND d.at >= ?",
        [since],
    )[0]
    landed, elsewhere = select_rows(
        path,
        "SELECT count(*), coalesce(sum(l.bin != d.bin), 0) "
        "FROM (SELECT event_id, bin, min(at) FROM landings GROUP BY event_id) AS l "
        "JOIN events AS d ON d.id = l.event_id WHERE d.at >= ?",
        [since],
    )[0]
    # What fell elsewhere is wrong already, whatever it was.
    answers = [each.yes_if(each.decided == each.truth) for each in answered if each.went == each.sent]
    return estimate(
        answers, decisions=decisions, asked=asked, landed=landed, landed_elsewhere=elsewhere, corrections=corrections
    )
