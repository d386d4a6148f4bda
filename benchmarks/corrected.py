"""Is an item that somebody corrected named right the next time, however it lies?

    items -> day one -> what is named wrong is corrected -> a lesson -> day two, the same items lying otherwise

All of the bin does it: the gate cuts out, frames vote, a correction keeps the picture, and the lesson is made of
nothing else. Day two is played twice, by the bundle alone and with the lesson, under the same hands and lamps. What
nobody had corrected is counted apart: that is what learning may break.

Things are our drawings, in shapes that no model was trained on, and photographs where some are named.

Run: python -m benchmarks.corrected [--items PHOTOGRAPHS] [--bins N] [--out benchmarks/corrected.json]
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device.config import load_config
from device.config_types import Config
from device.drive import open_drive
from device.engine import Engine
from device.event_reader import add_correction
from device.events import EventLog
from device.gate import Gate
from device.keep import Keeper
from device.learnt import LearntStore, learnt_folder
from device.looks import looks_folder
from device.model import Model, bundle_rule, open_model
from device.outputs import default_outputs
from device.simulator.camera import SimulatedCamera
from device.simulator.items import Items, load_items
from device.simulator.visits import Habits, script
from device.site_model import dress
from device.teach import Teacher

__all__ = ["Outcome", "play"]

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("base", "nano")
ITEMS = 80
"""Different things that come to one bin."""

ALONE = Habits(others=0.0)


@dataclass(slots=True)
class Outcome:
    """What became of the items on day two, over all bins.

    Attributes:
        corrected, others: items that were corrected on day one, and those that were not.
        before, after: of the corrected, how many are named right without and with the lesson.
        others_before, others_after: the same of the others.
        refused: bins that learnt nothing of their corrections.
    """

    corrected: int = 0
    before: int = 0
    after: int = 0
    others: int = 0
    others_before: int = 0
    others_after: int = 0
    refused: int = 0

    def add(self, first: dict[str, bool], alone: dict[str, bool], learnt: dict[str, bool]) -> None:
        """Count one bin's things: name -> right on day one, and on day two without and with the lesson."""
        for name in first.keys() & alone.keys() & learnt.keys():
            if first[name]:
                self.others += 1
                self.others_before += alone[name]
                self.others_after += learnt[name]
            else:
                self.corrected += 1
                self.before += alone[name]
                self.after += learnt[name]

    def text(self) -> str:
        """For people."""
        return (
            f"of {self.corrected} corrected items {_share(self.before, self.corrected)} right before, "
            f"{_share(self.after, self.corrected)} after; of {self.others} others "
            f"{_share(self.others_before, self.others)} and {_share(self.others_after, self.others)}"
        )


@dataclass(frozen=True, slots=True)
class _Bin:
    """One simulated bin, and the things that its people have."""

    config: Config
    model: Model
    pack: Items
    seed: int
    events_path: Path

    def day(self, number: int, model: Model, *, is_corrected: bool = False) -> dict[str, bool]:
        """Play a day on which each thing comes once; its name -> whether the bin named it right.

        Args:
            is_corrected: somebody says of each that was named wrong what it was.
        """
        visits = script(self.pack, len(self.pack), 2 * self.seed + number, ALONE)
        camera = SimulatedCamera(self.pack, visits, seed=self.seed)
        outputs = default_outputs([bin_.name for bin_ in self.config.site.bins])
        right: dict[str, bool] = {}
        with (
            camera,
            EventLog(self.events_path) as log,
            open_drive(outputs, pins="mock", clock=lambda: engine.now_s, on_open=camera.flap_moved) as drive,
        ):
            engine = Engine(Gate(self.config.gate), model, self.config.site, drive, log)
            keeper = Keeper(self.events_path, self.config.gate.margin, log)
            while (frame := camera.read()) is not None:
                status = engine.step(frame)
                keeper.frame(status, frame)
                if status.decided is None or camera.visit is None:
                    continue
                item = camera.visit.items[0]
                right.setdefault(item.name, status.decided.label == item.label)
                if is_corrected and status.decided.label != item.label:
                    log.flush()  # who corrects it looks into the file
                    add_correction(self.events_path, status.decided.event, item.label, model.labels, wall_s=time.time())
                    keeper.look()
        return right

    def learn(self) -> Model:
        """The model with what the corrections teach; as it is where they are refused."""
        store = LearntStore(learnt_folder(self.events_path))
        taught = Teacher(looks_folder(self.events_path), store, self.config.site, wall=time.time).teach(self.model)
        return self.model if taught.name is None else dress(self.model, store.read(taught.name)[1])


def play(model: Model, config: Config, items: Path | None, bins: int, most: int = ITEMS) -> Outcome:
    """Play both days in so many bins, each with things and a room of its own.

    Args:
        items: photographs, class folders or a zip of them; None for drawings.
        most: things of one bin.
    """
    out = Outcome()
    for seed in range(bins):
        pack = load_items(items, model.labels, seed)
        known = [item for item in pack.packed if item.label in model.labels]
        rows = np.random.default_rng(seed).permutation(len(known))[:most]
        things = Items(pack.source, [known[row] for row in rows])
        with tempfile.TemporaryDirectory(prefix="wastebin-") as folder:
            bin_ = _Bin(config, model, things, seed, Path(folder) / "events.db")
            first = bin_.day(0, model, is_corrected=True)
            has_corrections = not all(first.values())
            learnt = bin_.learn() if has_corrections else model
            out.refused += has_corrections and learnt is model
            out.add(first, alone=bin_.day(1, model), learnt=bin_.day(1, learnt))
        print(f"{model.name}, bin {seed + 1} of {bins}: {out.text()}", file=sys.stderr)
    return out


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def main() -> None:
    """Play, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=Path, help="photographs in class folders, or a zip of them")
    parser.add_argument("--bins", type=int, default=3, help="simulated bins, each with things of its own")
    parser.add_argument("--out", type=Path, help="where to write the figures, JSON")
    args = parser.parse_args()
    config = load_config(None)
    told: dict[str, Any] = {"bins": args.bins}
    for name in MODELS:
        model = open_model(ROOT / "models" / name, bundle_rule)
        told[name] = {"version": model.version}
        for what, items in {"drawings": None, "photographs": args.items}.items():
            if what == "drawings" or items is not None:
                out = play(model, config, items, args.bins)
                told[name][what] = asdict(out)
                print(f"{name}, {what}: {out.text()}")
    if args.out:
        args.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
