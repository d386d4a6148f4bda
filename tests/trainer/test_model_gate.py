"""The gate lets a model pass that is as good, and refuses one that is worse, loses a material or unlearns."""

from trainer.dataset import Record
from trainer.gate import judge

OWN = frozenset({"pi.local"})


def _records(count: int, target: str, source: str = "lab") -> list[Record]:
    return [
        Record(f"{source}{target}{number}", f"{number}.jpg", source, target, split="val") for number in range(count)
    ]


def _named(records: list[Record], wrong: set[int]) -> list[str]:
    """Right but for these places."""
    return ["other" if place in wrong else record.target for place, record in enumerate(records)]


def test_a_model_that_differs_by_chance_passes() -> None:
    records = _records(100, "glass")
    verdict = judge(records, _named(records, {1, 2, 3, 4}), {"current": _named(records, {5})}, OWN)
    assert verdict.reasons == ()
    assert verdict.compared[0].sentences() == ["5 of 100 pictures changed: 96 right now, 99 before (current)"]


def test_a_model_that_is_worse_on_the_same_pictures_is_refused_with_the_counts() -> None:
    records = _records(60, "glass") + _records(60, "paper")
    wrong = {0, 1, 2, 3, 60, 61, 62, 63}
    verdict = judge(records, _named(records, wrong), {"the one before": _named(records, {4})}, OWN)
    assert verdict.reasons == (
        "worse than the one before: wrong on 8 pictures that it names right, right on 1 that it does not (p = 0.039); "
        "train longer, or on more pictures",
    )


def test_a_model_that_loses_one_material_is_refused_though_it_gains_as_much_elsewhere() -> None:
    records = _records(50, "glass") + _records(8, "trash")
    verdict = judge(records, _named(records, set(range(50, 58))), {"current": _named(records, set(range(10)))}, OWN)
    assert verdict.reasons == (
        "loses trash: names 0 of 8 right, current 8; look at its pictures with: trainer data --audit",
    )


def test_few_pictures_of_a_material_do_not_condemn() -> None:
    records = _records(50, "glass") + _records(3, "trash")
    assert judge(records, _named(records, {50, 51, 52}), {"current": _named(records, set())}, OWN).reasons == ()


def test_a_model_that_unlearns_corrections_is_refused_and_they_are_counted_apart() -> None:
    records = _records(40, "glass") + _records(5, "metal", "pi.local")
    verdict = judge(records, _named(records, {40, 41}), {"current": _named(records, {44})}, OWN)
    assert verdict.reasons == (
        "breaks corrections: 2 that current names right are wrong now, 1 that it does not are right; pull the "
        "corrections and train on them too",
    )
    assert verdict.compared[0].sentences() == [
        "of your 5 corrections kept out of training 3 are right now (4 before, current)",
        "0 of 40 others changed: 40 right now, 40 before (current)",
    ]


def test_every_reference_is_asked() -> None:
    records = _records(30, "glass")
    named = _named(records, set(range(9)))
    verdict = judge(records, named, {"current": named, "the best shipped": _named(records, set())}, OWN)
    assert [bool(one.reasons) for one in verdict.compared] == [False, True]
