"""Name photographs that lie in files: the bin's judgement without its camera.

    files, folders, zips -> find_pictures -> classify -> decide (one frame) -> route -> Named

A picture counts as one frame, decided at once by the same rule and costs as in the bin. One bad file never stops the
rest: it comes out as the error that it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from device.config_types import Config
from device.decide import Reason, Vote
from device.errors import ItemsError, PictureError
from device.pictures import decode_picture, find_pictures
from device.route import choose_bin, rule_at
from device.run import load_model

__all__ = ["Named", "name_pictures"]


@dataclass(frozen=True, slots=True)
class Named:
    """What one picture was taken for.

    Attributes:
        path: `x.zip!/class/f.jpg` inside an archive.
        label: the likeliest material, also when it was not accepted.
        probs: calibrated, per label, 0..1.
        bin: where this bin would send it.
        accepted, reason, familiarity: see `decide.Decision`.
        ms: preprocessing and inference.
    """

    path: str
    label: str
    prob: float
    probs: dict[str, float]
    bin: str
    accepted: bool
    reason: Reason | None
    familiarity: float | None
    ms: float

    def fields(self) -> dict[str, object]:
        """What a JSON line says; probabilities and familiarity to six places."""
        return {
            "path": self.path,
            "label": self.label,
            "prob": round(self.prob, 6),
            "probs": {label: round(prob, 6) for label, prob in self.probs.items()},
            "bin": self.bin,
            "accepted": self.accepted,
            "reason": self.reason,
            "familiarity": None if self.familiarity is None else round(self.familiarity, 6),
            "ms": round(self.ms, 3),
        }


def name_pictures(
    paths: Iterable[Path], config: Config, model_path: Path | None = None
) -> Iterator[Named | PictureError | ItemsError]:
    """Name every picture; a file, folder or archive that cannot be read comes out as its error.

    Raises:
        BundleError: the model cannot be used.
    """
    model, bundle = load_model(config, model_path)
    site = config.site_for(contamination=bundle.costs.contamination, missed=bundle.costs.missed)
    rule = replace(rule_at(model.rule, site, model.labels), min_frames=1, max_frames=1)
    for path in paths:
        pictures = find_pictures(path)
        while True:
            try:
                picture = next(pictures)
                rgb = decode_picture(picture.read(), picture.name)
            except StopIteration:
                break
            except PictureError as error:
                yield error
                continue
            except ItemsError as error:
                yield error
                break
            prediction = model.classifier.classify(rgb)
            vote = Vote(rule, model.labels)
            decision = vote.add(prediction)
            if decision is None:
                continue
            to_bin = choose_bin(decision, site).name
            yield Named(
                picture.name,
                decision.label,
                decision.prob,
                decision.probs,
                to_bin,
                decision.accepted,
                decision.reason,
                decision.familiarity,
                prediction.ms,
            )
