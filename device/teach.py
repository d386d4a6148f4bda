"""Teach: the labelled pictures of this bin -> what the model in use learns from them, or why it does not.

    looks/<label>/*.png -> the model's features and logits -> learn -> cross-validation, golden pictures -> LearntStore

Features belong to one bundle: another one looks at the same pictures again. It must never use what names the left-out
looks worse than the bundle alone, what changes a golden picture's name, or a material that has no bin here.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera.frame import Rgb
from device.errors import LearntError, PictureError
from device.event_store import iso_utc
from device.learn import Learnt, Looked, group_same
from device.learnt import LearntStore, Version
from device.lesson import Lesson, learn
from device.looks import Look, find_looks
from device.model import Model
from device.pictures import read_picture
from device.route import Site, homeless
from device.site_model import bare_model

__all__ = ["VIEWS", "Taught", "Teacher", "home_features", "looks_here", "made_of", "thumb_of", "views_of"]

THUMB_PX: Final = 16
VIEWS: Final = 3


@dataclass(frozen=True, slots=True)
class Taught:
    """How a lesson ended.

    Attributes:
        sentence: for people.
        name: of the version that is in use from now on; None where the looks were refused.
        lesson: its figures.
        unreadable: looks that were passed over, a sentence each.
    """

    sentence: str
    name: str | None
    lesson: Lesson
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    features: NDArray[np.float32]  # [VIEWS, F]
    logits: NDArray[np.float32]  # [VIEWS, K]
    thumb: NDArray[np.float32]


def looks_here(folder: Path, site: Site) -> tuple[list[Look], list[str]]:
    """The labelled pictures of materials that have a bin here, and the materials that have none.

    Raises:
        ItemsError: the folder may not be listed.
    """
    found = find_looks(folder)
    lost = homeless(sorted({look.label for look in found}), site)
    return [look for look in found if look.label not in lost], lost


def made_of(looks: Sequence[Look]) -> str:
    """Tells one set of looks from another: a short hash of their names, sizes and times."""
    told = hashlib.sha256()
    for look in looks:
        try:
            found = look.path.stat()
        except OSError:  # taken away meanwhile: the next set has another hash
            continue
        told.update(f"{look.name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return told.hexdigest()[:16]


class Teacher:
    """Learns from the looks of one bin; remembers what a model said of each, so that only new ones cost time.

    Args:
        looks: folder of the labelled pictures.
        store: keeps what is learnt.
        site: its bins say which materials may be new.
        wall: wall-clock seconds since 1970, for people only.
        rest: called after each picture that a model was asked about; lets others have the CPU.
    """

    def __init__(
        self,
        looks: Path,
        store: LearntStore,
        site: Site,
        *,
        wall: Callable[[], float],
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._looks = looks
        self._store = store
        self._site = site
        self._wall = wall
        self._rest = rest
        self._bundle = ""
        self._answers: dict[tuple[str, int, int], _Answer] = {}

    def teach(self, model: Model) -> Taught:
        """Look at all pictures, learn, judge, and keep what is better.

        Raises:
            LearntError: there is nothing to learn from, or the disk refused.
            ItemsError: the folder of looks may not be listed.
            BundleError: the model cannot answer.
        """
        model = bare_model(model)
        found, lost = looks_here(self._looks, self._site)
        without = "" if not lost else f"; left out {', '.join(lost)}: add it to the takes of a [[bin]]"
        if not found:
            raise LearntError(
                f"{self._looks}: no labelled pictures to learn from, expected a few{without or '; correct some items'}"
            )
        stamp = made_of(found)
        looked, unreadable = self._ask(model, found)
        lesson = learn(looked, model.labels, home_features(model))
        refusal = lesson.refusal or _golden_changed(model, lesson.learnt)
        if refusal:
            self._store.refuse(model.version, stamp, refusal, lesson.suspicious)
            return Taught(f"nothing learnt: {refusal}{without}", None, lesson, unreadable)
        version = Version(
            bundle=model.version,
            at=iso_utc(self._wall()),
            looks=lesson.counts,
            made_of=stamp,
            judged=lesson.judged,
            right_before=lesson.right_before,
            right_after=lesson.right_after,
            suspicious=lesson.suspicious,
        )
        name = self._store.put(version, lesson.learnt)
        return Taught(f"{lesson.sentence}{without}", name, lesson, unreadable)

    def _ask(self, model: Model, looks: Sequence[Look]) -> tuple[Looked, tuple[str, ...]]:
        if self._bundle != model.version:
            self._bundle, self._answers = model.version, {}
        unreadable: list[str] = []
        seen: list[tuple[Look, _Answer]] = []
        answers: dict[tuple[str, int, int], _Answer] = {}
        for look in looks:
            try:
                stat = look.path.stat()
                key = (look.name, stat.st_size, stat.st_mtime_ns)
                answers[key] = self._answers.get(key) or self._answer(model, look.path)
            except (PictureError, OSError) as error:
                unreadable.append(str(error))
                continue
            seen.append((look, answers[key]))
        self._answers = answers
        if not seen:
            raise LearntError(f"{self._looks}: not one picture can be used; show the bin some again")
        logits = np.concatenate([answer.logits for _, answer in seen])
        # A look comes first of its views, and is the one that is judged.
        looked = Looked(
            names=tuple(look.name for look, _ in seen for _ in range(VIEWS)),
            labels=tuple(look.label for look, _ in seen for _ in range(VIEWS)),
            features=np.concatenate([answer.features for _, answer in seen]),
            log_odds=np.asarray(logits / model.rule.temperature, np.float32),
            groups=np.repeat(group_same(np.stack([answer.thumb for _, answer in seen])), VIEWS),
            shown=np.repeat([not look.is_correction for look, _ in seen], VIEWS),
        )
        return looked, tuple(unreadable)

    def _answer(self, model: Model, path: Path) -> _Answer:
        rgb = read_picture(path)
        said = []
        for view in views_of(rgb):
            said.append(model.classifier.classify(view))
            self._rest()
        return _Answer(
            np.stack([each.features for each in said]), np.stack([each.logits for each in said]), thumb_of(rgb)
        )


def views_of(rgb: Rgb) -> tuple[Rgb, ...]:
    """A look as it is, mirrored, and from closer by: one thing that lies there in `VIEWS` ways, with one look's weight.

    Five looks then gain 0.9 points more, on other people's pictures on the web.
    """
    height, width = rgb.shape[:2]
    closer = rgb[height // 10 : height - height // 10, width // 10 : width - width // 10]
    return rgb, np.ascontiguousarray(rgb[:, ::-1]), np.ascontiguousarray(closer)


def thumb_of(rgb: Rgb) -> NDArray[np.float32]:
    """A tiny picture without brightness and contrast, float32 [T * T * 3] of length 1: frames of one still item share
    it.
    """
    small = cv2.resize(rgb, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def home_features(model: Model) -> NDArray[np.float32]:
    """The features of pictures that a model grew up with, float32 [H, F].

    A bundle that brings none has its golden pictures stand for them: a weaker bound.

    Raises:
        LearntError: the bundle brings features that are no use.
    """
    pictures, home = _golden(model)
    if home is None:
        return np.stack([model.classifier.classify(rgb).features for rgb in pictures])
    if home.ndim != 2 or len(home) == 0 or not np.isfinite(home).all():
        raise LearntError(
            f"{model.golden}: features of home are {home.shape}, expected finite rows; ship another bundle"
        )
    return home


def _golden(model: Model) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    if model.golden is None:
        raise LearntError(f"{model.version}: has no golden pictures, expected some to judge by; ship another bundle")
    with np.load(model.golden, allow_pickle=False) as arrays:
        return arrays["rgb"], arrays["home"].astype(np.float32) if "home" in arrays else None


def _golden_changed(model: Model, learnt: Learnt) -> str:
    """Why this must not be used although the looks agree with it; empty when all golden pictures keep their names."""
    pictures, _ = _golden(model)
    changed: Counter[tuple[str, str]] = Counter()
    for said in map(model.classifier.classify, pictures):
        log_odds, _ = learnt.answer(said.features, said.logits / np.float32(model.rule.temperature))
        after = learnt.labels[int(log_odds.argmax())]
        if after != said.label:
            changed[said.label, after] += 1
    if not changed:
        return ""
    (before, after), _ = changed.most_common(1)[0]
    return (
        f"{changed.total()} of {len(pictures)} golden pictures would get another name, such as {after} for {before}, "
        f"expected none; look again at the pictures of {after}"
    )
