"""Recipe: everything about a model that is chosen rather than measured, read from one TOML file.

    recipes/nano.toml -> load_recipe -> Recipe -> every step

Paths are no part of a recipe: the same recipe runs on another machine, over another copy of the pictures.
"""

import re
import tomllib
from dataclasses import dataclass, field, replace
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Any

from device.bundle import Budget
from device.fields import build
from trainer.errors import RecipeError

__all__ = [
    "Augment", "Data", "Drawings", "Finish", "Quantize", "Recipe", "Teach", "Teacher", "Train", "Views", "load_recipe",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Data:
    """Which pictures count as what.

    Attributes:
        labels: the model's labels, sorted; the order of its outputs.
        label_map: folder name -> label, `!label` (anything but that) or `-` (leave out).
            A key `source/folder` goes before a key `folder`.
        leave_out: sources that are not used at all.
        weight: source -> how many times as often as its share its pictures are drawn.
        licence: source -> one sentence for the bundle's card.
        same_object: cosine of centred features above which two pictures show the same object; 1 groups nothing.
        shares: how much of the pictures train, tune and val get; they add up to 1.
    """

    labels: tuple[str, ...]
    label_map: dict[str, str] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    weight: dict[str, float] = field(default_factory=dict)
    licence: dict[str, str] = field(default_factory=dict)
    same_object: float = 0.8
    shares: tuple[float, ...] = (0.7, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Train:
    """How long and how hard.

    Attributes:
        epochs: passes of `pictures_per_epoch` draws.
        pictures_per_epoch: photographs drawn per epoch, with the weights of `Data.weight`.
        batch: pictures per step.
        peak_lr: the one-cycle schedule's highest learning rate (AdamW).
        weight_decay: AdamW's.
        label_smoothing: share of the target spread over all labels, 0..1.
        frozen_stages: stages of the pretrained network that keep their weights; 4-5 times cheaper steps.
        average: decay per step of the running average of weights that is evaluated and shipped.
        seed: of the draws, the augmentation and the new layers.
    """

    epochs: int
    pictures_per_epoch: int
    batch: int = 48
    peak_lr: float = 2e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    frozen_stages: int = 3
    average: float = 0.998
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Augment:
    """How far a training picture strays from the photograph; every entry a probability, 0..1.

    Attributes:
        composite: an item with a clean outline is set into another bin, light and place.
        surface: of those, set on a corner of another training photograph instead of into a painted bin.
        rotate: turned by any angle.
        colour: brightness, contrast, saturation and a colour cast.
        grey: no colour at all.
        blur: out of focus or moving.
        noise: sensor noise.
        jpeg: compressed again.
    """

    composite: float = 0.35
    surface: float = 0.0
    rotate: float = 0.5
    colour: float = 0.8
    grey: float = 0.04
    blur: float = 0.2
    noise: float = 0.25
    jpeg: float = 0.2


@dataclass(frozen=True, slots=True)
class Finish:
    """Epochs after the last, on pictures that stray less: the network settles on what pictures really look like.

    (Touvron et al. 2019: what training shows and what use shows differ, and a short tail closes the gap.)

    Attributes:
        epochs: 0 for none.
        peak_lr: of a one-cycle schedule of their own, which starts from the averaged weights.
        stray: the probabilities of `Augment` are multiplied by it, 0..1; all but `composite`.
        composite: takes the place of `Augment.composite`, 0..1.
    """

    epochs: int = 0
    peak_lr: float = 6e-4
    stray: float = 0.4
    composite: float = 0.5


@dataclass(frozen=True, slots=True)
class Drawings:
    """The project's own drawings among the training pictures; never part of a reported accuracy.

    Attributes:
        per_epoch: drawings shown per epoch.
        per_label: different drawings made for each label.
    """

    per_epoch: int = 700
    per_label: int = 120


@dataclass(frozen=True, slots=True)
class Views:
    """Training pictures that are made once and kept, so that teacher and students share them (see `trainer.views`).

    Attributes:
        photographs: how many are made of photographs, with the weights of `Data.weight`; 0 makes pictures live instead.
        drawings: how many of drawings.
        size_px: side of them; a student's input is fitted from it.
        calm: share of them that strays only as far as `Finish` says, 0..1.
    """

    photographs: int = 0
    drawings: int = 0
    size_px: int = 224
    calm: float = 0.3


@dataclass(frozen=True, slots=True)
class Teach:
    """Teachers: pretrained networks, tuned so that the features that carry are not destroyed, then averaged.

    First the last layer alone (a probe), then the last stages, gently (Kumar et al. 2022, "Fine-Tuning can Distort
    Pretrained Features"). The first stages stay as they are, so their answer to each view is computed once.

    Attributes:
        nets: keys of `trainer.nets.NETS`, or `timm:NAME`.
        frozen_stages: stages that keep their weights.
        probe_passes: passes over the views with the last layer alone.
        passes: passes with every stage that is not frozen.
        batch: views per step.
        probe_lr: learning rate of the probe (AdamW).
        peak_lr: highest learning rate after it; the last layer's is three times that.
        weight_decay: AdamW's.
        label_smoothing: as in `Train`.
        mixup: parameter of the beta distribution that mixes two views' features before the tuned stages; 0 for none.
        average: decay per step of the running average of weights.
        witness: weight of the evidence of a network that was never tuned (`trainer.witness`); 0 for none.
    """

    nets: tuple[str, ...] = ()
    frozen_stages: int = 4
    probe_passes: int = 8
    passes: int = 3
    batch: int = 64
    probe_lr: float = 2e-3
    peak_lr: float = 3e-4
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mixup: float = 0.3
    average: float = 0.998
    witness: float = 0.0


@dataclass(frozen=True, slots=True)
class Teacher:
    """Distillation as in the brief (Hinton, Vinyals, Dean 2015).

    Attributes:
        temperature: T of both softmaxes; the loss carries T^2.
        alpha: weight of the teacher's part; 1 - alpha goes to the labels.
        start: the student starts from the weights of the teacher, or the other run's student, that is the same network.
        classes: weight of ImageNet's classes, learnt beside the materials (`trainer.classes`).
    """

    temperature: float = 2.0
    alpha: float = 0.7
    start: bool = False
    classes: float = 0.0


@dataclass(frozen=True, slots=True)
class Quantize:
    """INT8.

    Attributes:
        calibration_pictures: how many pictures of *tune* set the ranges.
        tail_epochs: epochs of quantisation-aware fine-tuning; 0 for none.
        tail_pictures: photographs per such epoch.
        tail_lr: its highest learning rate, in rounding steps of a layer's weights per training step.
        tail_teacher: weight of the student's own teacher in it, beside the float network; 0 for none.
    """

    calibration_pictures: int = 256
    tail_epochs: int = 2
    tail_pictures: int = 1500
    tail_lr: float = 0.005
    tail_teacher: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model's recipe.

    Attributes:
        name: of the bundle.
        net: a key of `trainer.nets.NETS`.
        size_px: side of the square input.
        weights: what the network starts from, `imagenet` or `none`; a file is named on the command line.
        budget: what it may cost, as multiples of the factory model on the same bin.
    """

    name: str
    net: str
    size_px: int
    data: Data
    train: Train
    augment: Augment = field(default_factory=Augment)
    finish: Finish = field(default_factory=Finish)
    drawings: Drawings = field(default_factory=Drawings)
    views: Views = field(default_factory=Views)
    teach: Teach = field(default_factory=Teach)
    teacher: Teacher = field(default_factory=Teacher)
    quantize: Quantize = field(default_factory=Quantize)
    weights: str = "imagenet"
    budget: Budget = field(default_factory=lambda: Budget(latency=1.5, memory=1.5))

    def at_finish(self) -> "Recipe":
        """The same with pictures that stray as little as `Finish` says."""
        calm = {name: getattr(self.augment, name) * self.finish.stray for name in _STRAYS}
        return replace(self, augment=replace(self.augment, composite=self.finish.composite, **calm))


_STRAYS = ("rotate", "colour", "grey", "blur", "noise", "jpeg")


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe that comes with the project by name, or any by its path.

    A recipe may begin with `like = "NAME"`: what it does not say is as in that recipe, key by key.

    Raises:
        RecipeError: no such recipe, no TOML, an unknown key, a missing one or a wrong type; all at once.
    """
    where, table = _read(name_or_path, ())
    problems: list[str] = []
    recipe = build(Recipe, table, where, problems)
    if recipe is not None:
        problems += _check(recipe, where)
    if recipe is None or problems:
        raise RecipeError(problems)
    return recipe


def _read(name_or_path: str, seen: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Where a recipe is, and its table with that of the recipe it is like below it."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        where = str(path)
        if not path.is_file():
            raise RecipeError([f"{where}: no such recipe file; give the path of a TOML file or a recipe's name"])
        raw = path.read_bytes()
    else:
        known = sorted(
            entry.name.removesuffix(".toml")
            for entry in resources.files("trainer.recipes").iterdir()
            if entry.name.endswith(".toml")
        )
        if name_or_path not in known:
            raise RecipeError([f"recipe {name_or_path!r}: unknown; the project has {', '.join(known)}"])
        where = f"{name_or_path}.toml"
        raw = resources.files("trainer.recipes").joinpath(where).read_bytes()
    try:
        table = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError([f"{where}: not valid TOML: {error}"]) from error
    model = table.pop("like", None)
    if model is None:
        return where, table
    if not isinstance(model, str) or model in (*seen, name_or_path):
        raise RecipeError([f"{where}.like is {model!r}, expected the name of another recipe, not in a circle"])
    return where, _over(table, _read(model, (*seen, name_or_path))[1])


def _over(table: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Two tables as one; where both say something, `table` counts."""
    both = {**below, **table}
    for key in set(table) & set(below):
        if isinstance(table[key], dict) and isinstance(below[key], dict):
            both[key] = _over(table[key], below[key])
    return both


_RANGES: dict[str, tuple[float, float]] = {
    "size_px": (32, 1024),
    "data.same_object": (-1, 1),
    "train.epochs": (1, 10_000),
    "train.pictures_per_epoch": (1, 10_000_000),
    "train.batch": (1, 10_000),
    "train.peak_lr": (1e-9, 10),
    "train.weight_decay": (0, 10),
    "train.label_smoothing": (0, 1),
    "train.frozen_stages": (0, 100),
    "train.average": (0, 1),
    "train.seed": (0, 2**32),
    **{f"augment.{name}": (0, 1) for name in Augment.__dataclass_fields__},
    "finish.epochs": (0, 10_000),
    "finish.peak_lr": (1e-9, 10),
    "finish.stray": (0, 1),
    "finish.composite": (0, 1),
    "drawings.per_epoch": (0, 10_000_000),
    "drawings.per_label": (1, 1_000_000),
    "views.photographs": (0, 100_000_000),
    "views.drawings": (0, 100_000_000),
    "views.size_px": (32, 1024),
    "views.calm": (0, 1),
    "teach.frozen_stages": (0, 100),
    "teach.probe_passes": (0, 10_000),
    "teach.passes": (1, 10_000),
    "teach.batch": (1, 10_000),
    "teach.probe_lr": (1e-9, 10),
    "teach.peak_lr": (1e-9, 10),
    "teach.weight_decay": (0, 10),
    "teach.label_smoothing": (0, 1),
    "teach.mixup": (0, 100),
    "teach.average": (0, 1),
    "teach.witness": (0, 10),
    "teacher.temperature": (0.01, 100),
    "teacher.alpha": (0, 1),
    "teacher.classes": (0, 10),
    "quantize.calibration_pictures": (1, 1_000_000),
    "quantize.tail_epochs": (0, 10_000),
    "quantize.tail_pictures": (1, 10_000_000),
    "quantize.tail_lr": (1e-9, 10),
    "quantize.tail_teacher": (0, 1000),
    "budget.latency": (0.01, 1000),
    "budget.memory": (0.01, 1000),
}
"""The least and the most of every number of a recipe."""


def _check(recipe: Recipe, where: str) -> list[str]:
    labels = recipe.data.labels
    problems = []
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", recipe.name):
        problems.append(f"{where}.name is {recipe.name!r}, expected small letters, digits and dashes")
    if len(labels) < 2 or list(labels) != sorted(set(labels)):
        problems.append(f"{where}.data.labels is {list(labels)}, expected two or more names, sorted, none twice")
    problems += [
        f"{where}.data.labels has {label!r}, expected a folder's name that does not begin with ! or -"
        for label in labels
        if not label.isprintable() or label.strip() != label or label[:1] in ("", "!", "-") or "/" in label
    ]
    for folder, target in recipe.data.label_map.items():
        if target != "-" and target.removeprefix("!") not in labels:
            problems.append(f"{where}.data.label_map.{folder} is {target!r}, expected a label, !label or -")
    for source, weight in recipe.data.weight.items():
        if not 0 < weight <= 1000:
            problems.append(f"{where}.data.weight.{source} is {weight}, expected more than 0, at most 1000")
    for field_name, (least, most) in _RANGES.items():
        value = attrgetter(field_name)(recipe)
        if not least <= value <= most:
            problems.append(f"{where}.{field_name} is {value}, expected {least:g} to {most:g}")
    shares = recipe.data.shares
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        problems.append(f"{where}.data.shares is {list(shares)}, expected three above 0 that add up to 1")
    if recipe.weights not in ("imagenet", "none"):
        problems.append(f"{where}.weights is {recipe.weights!r}, expected 'imagenet' or 'none'")
    if recipe.size_px % 32:
        problems.append(f"{where}.size_px is {recipe.size_px}, expected a multiple of 32")
    return problems
