"""Groups of the same object are found and never cut; the shares are near 70 / 10 / 20 in every source and label."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from device.errors import UsageError
from trainer.dataset import SPLITS, Record
from trainer.split import SHARES, assign_fold, assign_splits, group_near_copies, parse_fold

F32 = NDArray[np.float32]


def rays(count: int, seed: int = 1) -> F32:
    return np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32)


def test_near_copies_share_a_group_and_others_do_not() -> None:
    features = rays(8)
    features[5] = features[2] + 0.1 * rays(1, 2)[0]
    features[7] = 3 * features[0]
    assert group_near_copies(features, 0.8).tolist() == [0, 1, 2, 3, 4, 2, 6, 0]


def test_a_copy_of_a_copy_belongs_to_the_same_group() -> None:
    # Each step turns by 30 degrees, cosine 0.87; the ends are at 60 degrees, cosine 0.5.
    first, second = np.eye(64, dtype=np.float32)[:2]
    turn = np.deg2rad([0, 30, 60])
    near = [np.cos(angle) * first + np.sin(angle) * second for angle in turn]
    away = -np.sum(near, axis=0) / 20  # so that the mean is nought and centring moves nothing
    spread = np.eye(64, dtype=np.float32)[2:22] * np.float32(5)
    far = [away + row * sign for row in spread[:10] for sign in (1, -1)]
    assert group_near_copies(np.stack([*near, *far]).astype(np.float32), 0.8).tolist()[:3] == [0, 0, 0]
    assert group_near_copies(np.stack([near[0], near[2], *far]).astype(np.float32), 0.8).tolist()[:2] == [0, 1]


def test_what_all_pictures_have_in_common_does_not_make_them_alike() -> None:
    common = np.full(128, 50, np.float32)
    assert group_near_copies(rays(6) + common, 0.8).tolist() == [0, 1, 2, 3, 4, 5]


def test_copies_are_found_across_the_blocks_that_are_compared() -> None:
    features = rays(2100)
    features[2099], features[1024] = features[3], features[1023]
    groups = group_near_copies(features, 0.8).tolist()
    assert (groups[2099], groups[1024]) == (3, 1023)
    assert sum(count > 1 for count in Counter(groups).values()) == 2


def test_a_picture_without_features_stands_alone() -> None:
    features = np.concatenate([rays(3), -rays(3), np.zeros((1, 128), np.float32)])
    assert group_near_copies(features, 0.8).tolist() == list(range(7))


def test_at_a_cosine_of_one_nothing_is_grouped_not_even_what_is_equal() -> None:
    features = np.repeat(rays(4), 5, axis=0)
    assert group_near_copies(features, 0.999).tolist() == [row // 5 * 5 for row in range(20)]
    assert group_near_copies(features, 1.0).tolist() == list(range(20))


def records_of(sizes: dict[tuple[str, str], int]) -> list[Record]:
    return [
        Record(f"{source}{target}{number}", "", source, target)
        for (source, target), size in sizes.items()
        for number in range(size)
    ]


SIZES = {("trashnet", "glass"): 300, ("trashnet", "trash"): 60, ("wild", "glass"): 30, ("wild", "!organic"): 110}


def groups_of(records: list[Record], seed: int = 3) -> NDArray[np.int64]:
    """A third of the pictures in groups of two to six of the same source and target."""
    rng = np.random.default_rng(seed)
    groups = np.arange(len(records))
    index = 0
    while index < len(records) - 6:
        size = int(rng.integers(2, 7)) if rng.random() < 0.15 else 1
        same = [i for i in range(index, index + size) if records[i].target == records[index].target]
        groups[same] = index
        index += size
    return groups


def test_shares_are_near_70_10_20_in_every_source_and_target() -> None:
    records = records_of(SIZES)
    made = assign_splits(records, groups_of(records), seed=1)
    count: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for record in made:
        count[record.source, record.target][record.split] += 1
    off = {
        (stratum, split): count[stratum][split] - SHARES[split] * size
        for stratum, size in SIZES.items()
        for split in SPLITS
    }
    assert {place: round(by, 1) for place, by in off.items() if abs(by) > max(2.0, 0.03 * SIZES[place[0]])} == {}


def test_other_shares_are_kept_to_as_well() -> None:
    records = records_of({("s", "glass"): 400, ("s", "metal"): 80})
    made = assign_splits(records, np.arange(480), 1, {"train": 0.75, "tune": 0.05, "val": 0.2})
    assert Counter((record.target, record.split) for record in made) == {
        (label, split): round(size * share)
        for label, size in (("glass", 400), ("metal", 80))
        for split, share in (("train", 0.75), ("tune", 0.05), ("val", 0.2))
    }


def test_no_group_is_cut() -> None:
    records = records_of(SIZES)
    groups = groups_of(records)
    made = assign_splits(records, groups, seed=1)
    sides: dict[int, set[str]] = defaultdict(set)
    for record in made:
        sides[record.group].add(record.split)
    assert [record.group for record in made] == groups.tolist()
    assert {group for group, splits in sides.items() if len(splits) > 1} == set()


def test_nothing_but_group_and_split_changes_and_the_order_stays() -> None:
    records = records_of({("s", "glass"): 20})
    made = assign_splits(records, np.arange(20), seed=1)
    assert [(r.sha256, r.source, r.target) for r in made] == [(r.sha256, r.source, r.target) for r in records]
    assert Counter(record.split for record in made) == {"train": 14, "tune": 2, "val": 4}


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    records = records_of(SIZES)
    groups = groups_of(records)

    def splits(seed: int) -> list[str]:
        return [record.split for record in assign_splits(records, groups, seed)]

    assert splits(1) == splits(1)
    assert splits(1) != splits(2)


@pytest.mark.parametrize("seed", range(5))
def test_the_fewest_pictures_that_are_allowed_reach_every_split(seed: int) -> None:
    made = assign_splits(records_of({("s", "glass"): 10, ("s", "metal"): 10}), np.arange(20), seed)
    assert Counter((record.target, record.split) for record in made) == {
        (label, split): count
        for label in ("glass", "metal")
        for split, count in (("train", 7), ("tune", 1), ("val", 2))
    }


def test_five_folds_have_each_picture_in_val_once_and_never_cut_a_group() -> None:
    records = records_of(SIZES)
    groups = groups_of(records)
    folds = [assign_fold(records, groups, 1, (number, 5)) for number in range(1, 6)]
    in_val = Counter(index for made in folds for index, record in enumerate(made) if record.split == "val")
    assert in_val == dict.fromkeys(range(len(records)), 1)
    for made in folds:
        assert [(r.sha256, r.source, r.target, r.group) for r in made] == [
            (r.sha256, r.source, r.target, group) for r, group in zip(records, groups, strict=True)
        ]
        assert len({(record.group, record.split) for record in made}) == len(set(groups))
        share = {split: count / len(made) for split, count in Counter(record.split for record in made).items()}
        assert share == {split: pytest.approx(wanted, abs=0.02) for split, wanted in SHARES.items()}


def test_a_fold_keeps_the_shares_of_train_to_tune() -> None:
    made = assign_fold(
        records_of({("s", "glass"): 400}), np.arange(400), 1, (2, 4), {"train": 0.4, "tune": 0.2, "val": 0.4}
    )
    assert Counter(record.split for record in made) == {"train": 200, "tune": 100, "val": 100}


def test_a_fold_is_written_as_part_of_a_number() -> None:
    assert parse_fold("2/5") == (2, 5)
    for text in ("0/5", "6/5", "1/1", "1/21", "2", "/5", "a/b", "-1/5"):
        with pytest.raises(
            UsageError, match=rf"^--fold {text}: expected a part and how many there are, 2 to 20; e.g. 1/5$"
        ):
            parse_fold(text)
