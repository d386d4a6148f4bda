"""A recipe is read whole or refused with every problem at once."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from device.bundle import Budget
from trainer.errors import RecipeError
from trainer.recipe import (
    Augment,
    Data,
    Drawings,
    Finish,
    Quantize,
    Recipe,
    Teach,
    Teacher,
    Train,
    Views,
    load_recipe,
)

LEAST = """
name = "small"
net = "nano"
size_px = 96
data.labels = ["glass", "metal"]
train.epochs = 2
train.pictures_per_epoch = 10
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(LEAST)
    return tmp_path / "small.toml"


def problems(path: Path, text: str | bytes) -> list[str]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert all("\n" not in problem for problem in caught.value.problems)
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


def with_value(key: str, value: str) -> str:
    """The least recipe with one more key, or another value of one that it has."""
    kept = [line for line in LEAST.splitlines() if not line.startswith(f"{key} =")]
    top = [line for line in [*kept, f"{key} = {value}"] if line]
    return "\n".join(top) + "\n"


def test_the_least_recipe_takes_every_default(path: Path) -> None:
    assert load_recipe(str(path)) == Recipe(
        "small",
        "nano",
        96,
        Data(("glass", "metal")),
        Train(2, 10),
        Augment(),
        Finish(),
        Drawings(),
        Views(),
        Teach(),
        Teacher(),
        Quantize(),
        "imagenet",
    )


def test_every_part_can_be_set(path: Path) -> None:
    path.write_text(
        LEAST
        + """
data.label_map = { bottle = "glass", hand = "!metal", rest = "-" }
data.weight = { wild = 0.5 }
augment.grey = 0.5
teacher.alpha = 0.25
quantize.tail_epochs = 0
"""
    )
    made = load_recipe(str(path))
    assert made.data == Data(
        ("glass", "metal"), {"bottle": "glass", "hand": "!metal", "rest": "-"}, weight={"wild": 0.5}
    )
    assert (made.augment, made.teacher) == (Augment(grey=0.5), Teacher(alpha=0.25))
    assert made.quantize == Quantize(tail_epochs=0)


def test_the_finish_strays_less_and_is_set_into_bins_as_often_as_it_says(path: Path) -> None:
    path.write_text(LEAST + "augment.noise = 0.5\nfinish.epochs = 1\nfinish.stray = 0.5\nfinish.composite = 0.7\n")
    made = load_recipe(str(path))
    assert made.at_finish().augment == Augment(
        composite=0.7, rotate=0.25, colour=0.4, grey=0.02, blur=0.1, noise=0.25, jpeg=0.1
    )
    assert replace(made.at_finish(), augment=made.augment) == made


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("name", '"Small One"', "name is 'Small One', expected small letters, digits and dashes"),
        ("name", "7", "name is 7, expected a text"),
        ("size_px", "100", "size_px is 100, expected a multiple of 32"),
        ("size_px", "0", "size_px is 0, expected 32 to 1024"),
        ("size_px", "96.0", "size_px is 96.0, expected a whole number"),
        ("data.labels", '["glass"]', "data.labels is ['glass'], expected two or more names, sorted, none twice"),
        (
            "data.labels",
            '["metal", "glass"]',
            "data.labels is ['metal', 'glass'], expected two or more names, sorted, none twice",
        ),
        (
            "data.labels",
            '["a", "a"]',
            "data.labels is ['a', 'a'], expected two or more names, sorted, none twice",
        ),
        (
            "data.labels",
            '["!glass", "metal"]',
            "data.labels has '!glass', expected a folder's name that does not begin with ! or -",
        ),
        (
            "data.labels",
            '["", "metal"]',
            "data.labels has '', expected a folder's name that does not begin with ! or -",
        ),
        ("data.label_map", "{ tin = 'steel' }", "data.label_map.tin is 'steel', expected a label, !label or -"),
        ("data.weight", "{ wild = 0 }", "data.weight.wild is 0.0, expected more than 0, at most 1000"),
        ("data.shares", "[0.8, 0.2]", "data.shares is [0.8, 0.2], expected three above 0 that add up to 1"),
        ("data.shares", "[0.8, 0.0, 0.2]", "data.shares is [0.8, 0.0, 0.2], expected three above 0 that add up to 1"),
        ("data.shares", "[0.7, 0.2, 0.2]", "data.shares is [0.7, 0.2, 0.2], expected three above 0 that add up to 1"),
        ("weights", '"coco"', "weights is 'coco', expected 'imagenet' or 'none'"),
        ("train.epochs", "0", "train.epochs is 0, expected 1 to 10000"),
        ("train.epochs", "-3", "train.epochs is -3, expected 1 to 10000"),
        ("train.pictures_per_epoch", "0", "train.pictures_per_epoch is 0, expected 1 to 1e+07"),
        ("train.batch", "0", "train.batch is 0, expected 1 to 10000"),
        ("train.peak_lr", "0", "train.peak_lr is 0.0, expected 1e-09 to 10"),
        ("train.label_smoothing", "1.5", "train.label_smoothing is 1.5, expected 0 to 1"),
        ("train.average", "1.1", "train.average is 1.1, expected 0 to 1"),
        ("train.seed", "-1", f"train.seed is -1, expected 0 to {2**32:g}"),
        ("augment.noise", "1.01", "augment.noise is 1.01, expected 0 to 1"),
        ("augment.noise", "nan", "augment.noise is nan, expected a number"),
        ("finish.stray", "2", "finish.stray is 2.0, expected 0 to 1"),
        ("finish.composite", "-1", "finish.composite is -1.0, expected 0 to 1"),
        ("drawings.per_label", "0", "drawings.per_label is 0, expected 1 to 1e+06"),
        ("teacher.temperature", "0", "teacher.temperature is 0.0, expected 0.01 to 100"),
        ("teacher.alpha", "-0.1", "teacher.alpha is -0.1, expected 0 to 1"),
        ("quantize.calibration_pictures", "0", "quantize.calibration_pictures is 0, expected 1 to 1e+06"),
        ("train.epoch", "5", "train has an unknown key 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(path: Path, key: str, value: str, problem: str) -> None:
    assert f"{path}.{problem}" in problems(path, with_value(key, value))


def test_every_number_of_a_recipe_has_its_range(path: Path) -> None:
    numbers = []
    for section, kind in (
        ("train", Train),
        ("augment", Augment),
        ("finish", Finish),
        ("drawings", Drawings),
        ("views", Views),
        ("teach", Teach),
        ("teacher", Teacher),
        ("quantize", Quantize),
    ):
        numbers += [f"{section}.{entry.name}" for entry in fields(kind) if entry.type in (int, float)]
    numbers += ["size_px", "data.same_object"]
    unbounded = [
        key for key in numbers
        if not any(re.search(rf"\.{key} is -", text) for text in problems(path, with_value(key, "-1000000")))
    ]  # fmt: skip
    assert (unbounded, len(numbers)) == ([], 48)


def test_all_problems_come_at_once(path: Path) -> None:
    text = with_value("size_px", "1000") + "augment.grey = 2\ncolour = 1\n"
    assert problems(path, text) == [
        f"{path} has an unknown key 'colour'; known here: "
        "name, net, size_px, data, train, augment, finish, drawings, views, teach, teacher, "
        "quantize, weights, budget"
    ]
    assert problems(path, text.replace("colour = 1\n", "")) == [
        f"{path}.augment.grey is 2.0, expected 0 to 1",
        f"{path}.size_px is 1000, expected a multiple of 32",
    ]


def test_a_missing_part_is_said(path: Path) -> None:
    assert problems(path, 'name = "small"\n') == [
        f"{path} has no 'net'; expected a text",
        f"{path} has no 'size_px'; expected a whole number",
        f"{path} has no 'data'; expected a table",
        f"{path} has no 'train'; expected a table",
    ]


@pytest.mark.parametrize("raw", [b"name = ", b"[data", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_no_toml_is_one_sentence(path: Path, raw: bytes) -> None:
    (problem,) = problems(path, raw)
    assert problem.startswith(f"{path}: not valid TOML: ")


def test_an_unknown_recipe_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("nanno")
    assert caught.value.problems == [
        "recipe 'nanno': unknown; the project has base, brief, carry, cnn4, efficientnet-b0, mobilenet-v2, nano, "
        "nano-live, trashnet"
    ]
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "my.toml"))
    assert caught.value.problems == [
        f"{tmp_path / 'my.toml'}: no such recipe file; give the path of a TOML file or a recipe's name"
    ]


def test_a_budget_is_whole_and_has_its_range(path: Path) -> None:
    text = LEAST + "budget.latency = -3\nbudget.memory = 2\n"
    assert problems(path, text) == [f"{path}.budget.latency is -3.0, expected 0.01 to 1000"]
    path.write_text(LEAST + "budget.latency = 15\nbudget.memory = 2\n")
    assert load_recipe(str(path)).budget == Budget(15, 2)
    path.write_text(LEAST)
    assert load_recipe(str(path)).budget == Budget(1.5, 1.5)
