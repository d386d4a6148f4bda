"""Figures of a bin: today and this week by the local day, shares from answers and landings, the last items."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from bin_fakes import SITE

from device.event_reader import add_correction, answer_spot_check
from device.events import Event, EventLog
from device.figures import LastItem, read_figures, read_last, uncertain_first

LABELS = ("glass", "paper", "trash")
HERE = timezone(timedelta(hours=2))
NOW = datetime(2026, 3, 18, 9, 0, tzinfo=HERE)  # a Wednesday


class Book:
    """Writes decisions at wall-clock times of our choosing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ago_s = 0.0
        self.log = EventLog(path, wall=lambda: NOW.timestamp() - self.ago_s, mono=lambda: 1.0, boot_id="boot")

    def decide(
        self, label: str, bin_name: str, hours_ago: float = 1.0, *, landed: str | None = None, **more: object
    ) -> int:
        self.ago_s = 3600 * hours_ago
        number = self.log.add(Event("decision", label=label, bin=bin_name, **{"prob": 0.9, "accepted": True, **more}))  # type: ignore[arg-type]
        if landed is not None:
            self.log.add(Event("landed", bin=landed, about=number))
        return number

    def ask(self, number: int, truth: str | None = None) -> None:
        self.log.add(Event("asked", prob=0.5, about=number))
        self.log.flush()
        if truth is not None:
            answer_spot_check(self.path, number, truth, LABELS, wall_s=NOW.timestamp())


@pytest.fixture
def book(tmp_path: Path):  # type: ignore[no-untyped-def]
    book = Book(tmp_path / "events.db")
    yield book
    book.log.close()


def test_a_day_begins_at_local_midnight_and_a_week_on_monday(book: Book):
    book.decide("glass", "Glass", hours_ago=8.9)  # 00:06 here, yesterday in UTC
    book.decide("glass", "Glass", hours_ago=9.1)  # 23:54, yesterday
    book.decide("paper", "Paper", hours_ago=56.9)  # Monday 00:06
    book.decide("paper", "Paper", hours_ago=57.1)  # Sunday 23:54
    book.log.flush()
    found = read_figures(book.path, SITE, now=NOW)
    assert [(each.name, each.is_residual, each.today, each.week) for each in found.bins] == [
        ("Glass", False, 1, 2),
        ("Paper", False, 0, 1),
        ("Rest", True, 0, 0),
    ]
    assert found.accuracy.decisions == 4


def test_shares_come_from_answers_and_say_on_how_many_they_rest(book: Book):
    for truth in ("glass", "glass", "paper", "trash"):
        book.ask(book.decide("glass", "Glass"), truth)
    book.ask(book.decide("paper", "Rest", accepted=False), "paper")
    book.ask(book.decide("paper", "Paper"))  # nobody answered
    found = read_figures(book.path, SITE, now=NOW)
    glass, paper, rest = (each.contamination for each in found.bins)
    assert (glass.value, glass.n) == (0.5, 4)
    assert (paper.value, paper.low, paper.high, paper.n) == (None, 0.0, 1.0, 0)
    assert (rest.value, rest.n) == (1.0, 1)
    assert (found.contamination.value, found.contamination.n) == (0.5, 4)
    # Recyclable were two of glass, two of paper; the glass went home, the paper did not.
    assert (found.diversion.value, found.diversion.n) == (0.5, 4)
    accuracy = found.accuracy
    assert (accuracy.right, accuracy.n, accuracy.asked, accuracy.decisions) == (pytest.approx(3 / 5), 5, 6, 6)


def test_corrections_are_counted_apart_and_change_no_share(book: Book):
    book.ask(book.decide("glass", "Glass"), "glass")
    book.ask(book.decide("glass", "Glass"), "paper")  # asked: its correction is no report of its own
    numbers = [book.decide("glass", "Glass") for _ in range(3)]
    book.log.flush()
    for number in numbers:
        add_correction(book.path, number, "paper", LABELS, wall_s=NOW.timestamp())
    found = read_figures(book.path, SITE, now=NOW)
    assert (found.accuracy.right, found.accuracy.n, found.accuracy.corrections) == (0.5, 2, 3)
    assert found.contamination.value == 0.5


def test_an_item_is_where_a_beam_saw_it_fall(book: Book):
    book.ask(book.decide("glass", "Glass", landed="Paper"), "glass")
    book.ask(book.decide("glass", "Glass", landed="Glass"), "glass")
    book.decide("paper", "Paper", landed="Paper")
    book.decide("paper", "Paper")
    book.log.flush()
    found = read_figures(book.path, SITE, now=NOW)
    assert [each.contamination.value for each in found.bins] == [0.0, 1.0, None]
    assert found.diversion.value == 0.5
    accuracy = found.accuracy
    assert (accuracy.landed, accuracy.landed_elsewhere, accuracy.n) == (3, 1, 1)
    assert accuracy.right == pytest.approx(0.75)


def test_what_is_long_ago_says_nothing_about_now(book: Book):
    book.ask(book.decide("glass", "Glass", hours_ago=29 * 24), "paper")
    found = read_figures(book.path, SITE, now=NOW)
    assert (found.accuracy.decisions, found.accuracy.n, found.contamination.n) == (0, 0, 0)


def test_the_last_items_carry_what_is_known_of_them(book: Book):
    first = book.decide("glass", "Glass", landed="Paper")
    book.log.add(Event("wrong", about=first))
    second = book.decide("paper", "Rest", accepted=False, prob=0.4)
    third = book.decide("paper", "Paper", prob=0.85)
    book.ask(third)
    add_correction(book.path, second, "trash", LABELS, wall_s=NOW.timestamp())
    items = read_last(book.path)
    assert [(i.event.id, i.correction, i.landed, i.is_wrong, i.spot_check is not None) for i in items] == [
        (third, None, None, False, True),
        (second, "trash", None, False, False),
        (first, None, "Paper", True, False),
    ]
    assert [item.event.id for item in uncertain_first(items)] == [first, second, third]
    assert [item.event.id for item in read_last(book.path, limit=1)] == [third]


def test_a_bin_that_decided_nothing_has_no_last_items(book: Book):
    book.log.add(Event("start"))
    book.log.flush()
    nothing: list[LastItem] = []
    assert read_last(book.path) == nothing
    assert read_figures(book.path, SITE, now=NOW).accuracy.right is None
