"""Teach: pretrained networks -> teachers that know these materials, and their answer to every view.

    views/ -> frozen stages (once) -> maps -> probe -> tune the last stages -> teach/<net>/teacher.pt  answers.npy

Full fine-tuning on few pictures destroys the features that carry to other rooms. So the last layer is fitted first,
then the last stages are tuned gently, their weights averaged over steps (Kumar et al. 2022, LP-FT; Izmailov et al.
2018, SWA), and several networks are averaged. The frozen stages are run once per view, and training starts from what
they gave: several times cheaper. It must never see *val* before the last line, which only measures.
"""

import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from device.preprocess import fit
from trainer.checkpoint import read_checkpoint, save_checkpoint
from trainer.data import Dataset, open_dataset
from trainer.draws import normalise
from trainer.errors import StageMissing, TrainerError
from trainer.losses import allowed_loss
from trainer.machine import Machine, open_machine
from trainer.nets import IMAGENET, Net
from trainer.progress import console, track
from trainer.recipe import Recipe, Teach
from trainer.score import confusion, score
from trainer.stage import Stage, write_atomic
from trainer.taught import folder_of
from trainer.teachers import build_teacher
from trainer.views import Views, make_views
from trainer.witness import Witness, open_witness

__all__ = ["teach"]

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]

_MAP_BATCH = 64
_SPENT = ("maps.npy", "maps.txt", "last.pt")
"""Gigabytes that only an unfinished network needs."""


def teach(run: Path, recipe: Recipe, weights: Path | None = None) -> None:
    """Tune the recipe's teachers on a run's views, and keep their mean answer to each view.

    Args:
        weights: a file in place of the published weights; for a recipe with one teacher.

    Raises:
        StageMissing: the recipe names no teacher.
        TrainerError: weights cannot be had, the GPU is too small, or a loss is no number.
    """
    with open_machine() as machine:
        if machine.world > 1:
            raise TrainerError(
                f"torchrun started {machine.world} processes, but one tunes the teachers; run: trainer teach"
            )
        with machine.within_memory(recipe.teach.batch, "teach.batch"):
            _teach(run, recipe, weights, machine)


def _teach(run: Path, recipe: Recipe, weights: Path | None, machine: Machine) -> None:
    rule = recipe.teach
    if not rule.nets:
        raise StageMissing(f"recipe {recipe.name}: teach.nets is empty; name the networks that teach")
    if weights is not None and len(rule.nets) > 1:
        raise TrainerError(f"--weights is for one network, but recipe {recipe.name} has {', '.join(rule.nets)}")
    dataset, views = open_dataset(run), make_views(run, recipe)
    # Each network is a step of its own: another beside it does not train it again.
    tuning = asdict(replace(rule, nets=()))
    del tuning["witness"]
    shared = {
        "views": views.fingerprint, "teach": tuning, "seed": recipe.train.seed,
        "weights": [str(weights), weights.stat().st_size] if weights and weights.is_file() else str(weights),
    }  # fmt: skip
    stage = Stage(run, "teach", {**shared, "nets": rule.nets, "witness": rule.witness})
    if stage.is_done:
        console.print("teach: unchanged")
        return
    stage.begin()
    logits: dict[str, F32] = {}
    history: dict[str, list[dict[str, float]]] = {}
    params = size = 0
    for name in rule.nets:
        torch.manual_seed(recipe.train.seed)  # of the new last layer
        net = build_teacher(name, len(recipe.data.labels), weights or IMAGENET)
        own = Stage(run, f"teach/{folder_of(name)}", {**shared, "net": name})
        history[name] = _tune(machine.place(net), views, recipe, own, machine)
        logits[name] = answers(net, dataset, views.pixels.shape[1], machine)
        params += sum(weight.numel() for weight in net.parameters())
        size += (stage.path / folder_of(name) / "teacher.pt").stat().st_size
        right = _right(dataset, logits[name], recipe.data.labels, "tune")
        console.print(f"teach: {name} right on tune {right:.1%}")
    mean = np.mean([_log_softmax(rows) for rows in logits.values()], axis=0)
    said = [np.load(stage.path / folder_of(name) / "views.npy").astype(np.float32) for name in logits]
    opinion = np.mean([_log_softmax(rows) for rows in said], axis=0)
    usual: list[float] = []
    if rule.witness:
        witness = machine.place(open_witness(recipe.data.labels))
        own = Stage(run, "teach/witness", {"views": views.fingerprint, "labels": recipe.data.labels})
        usual = _hear(witness, views, own, machine)
        opinion += rule.witness * np.load(own.path / "views.npy").astype(np.float32)
        mean += rule.witness * answers(witness, dataset, views.pixels.shape[1], machine)
    np.save(stage.path / "answers.npy", opinion.astype(np.float16))
    np.save(stage.path / "pictures.npy", mean)
    stage.finish(
        {
            "nets": list(rule.nets), "labels": list(recipe.data.labels), "size_px": views.pixels.shape[1],
            "params": params, "bytes": size, "history": history, "witness": rule.witness, "usual": usual,
            "tune": _right(dataset, mean, recipe.data.labels, "tune"),
            **_measure(dataset, mean, recipe.data.labels),
            "each": {name: _measure(dataset, rows, recipe.data.labels)["val"] for name, rows in logits.items()},
        }
    )  # fmt: skip


def _tune(net: Net, views: Views, recipe: Recipe, stage: Stage, machine: Machine) -> list[dict[str, float]]:
    """Probe, then tune; leaves `net` with the averaged weights, which are also kept."""
    rule, folder, name = recipe.teach, stage.path, stage.path.name
    if stage.is_done:
        net.load_state_dict(read_checkpoint(folder / "teacher.pt")["net"])
        net.eval()
        return list(stage.result["history"])
    if not stage.is_begun:
        for left in _SPENT:
            (folder / left).unlink(missing_ok=True)  # another recipe's: it would pass for this one's
        stage.begin()
    net.eval().requires_grad_(False)
    cut = min(rule.frozen_stages, len(net.stages))
    maps = _maps(net, cut, views, folder, machine) if cut else views.pixels
    tail = _Tail(net, cut)
    history = _train_tail(tail, maps, views, recipe, folder, machine=machine)
    tail.eval()
    kept = np.zeros((len(views), len(recipe.data.labels)), np.float16)
    with torch.inference_mode():
        for start in track(range(0, len(views), 256), f"{name}: answers to views"):
            some = np.arange(start, min(start + 256, len(views)))
            kept[some] = tail(_rows(maps, some, machine)).cpu().numpy()
    np.save(folder / "views.npy", kept)
    save_checkpoint({"net": net.state_dict()}, folder / "teacher.pt")
    stage.finish({"history": history})
    for spent in _SPENT:
        (folder / spent).unlink(missing_ok=True)
    return history


def _hear(witness: Witness, views: Views, stage: Stage, machine: Machine) -> list[float]:
    """The witness's evidence on every view, kept; returns what is usual, which it takes off from now on."""
    if not stage.is_done:
        stage.begin()
        kept = np.zeros((len(views), len(witness.classes)), np.float32)
        with torch.inference_mode(), machine.answering():
            for start in track(range(0, len(views), _MAP_BATCH), "witness: answers to views"):
                pixels = torch.from_numpy(np.array(views.pixels[start : start + _MAP_BATCH]))
                kept[start : start + _MAP_BATCH] = witness(normalise(pixels.to(machine.device))).cpu().numpy()
        usual = kept.mean(axis=0)
        np.save(stage.path / "views.npy", (kept - usual).astype(np.float16))
        stage.finish({"usual": usual.tolist()})
    witness.usual.copy_(torch.tensor(stage.result["usual"]))
    return list(stage.result["usual"])


class _Tail(nn.Module):
    """What is tuned: the stages after the frozen ones, and the last layer; the whole network when none is frozen."""

    def __init__(self, net: Net, cut: int) -> None:
        super().__init__()
        self.body: nn.Module = net.stages[cut:] if cut else net
        self.head = net.head
        self._is_whole = cut == 0

    def features(self, maps: Tensor) -> Tensor:
        """float32 [N, C, h, w] (pixels when nothing is frozen, pooled [N, C] when all is) -> [N, F]."""
        if self._is_whole:
            return self.body(maps)[1]  # type: ignore[no-any-return]
        return maps if maps.ndim == 2 else self.body(maps).mean((2, 3))

    def forward(self, maps: Tensor) -> Tensor:
        """The same -> logits [N, K]."""
        return self.head(self.features(maps))  # type: ignore[no-any-return]


def _maps(net: Net, cut: int, views: Views, folder: Path, machine: Machine) -> F16:
    """What the frozen stages make of every view: float16 [N, h, w, C], on the disk; goes on where it was cut off."""

    def run(start: int) -> F32:
        pixels = torch.from_numpy(np.array(views.pixels[start : start + _MAP_BATCH]))
        with torch.inference_mode(), machine.answering():
            batch = normalise(pixels.to(machine.device))
            # A network that is frozen whole, and one without a shape of stages (timm's), gives pooled features.
            out = net(batch)[1] if cut == len(net.stages) else net.stages[:cut](batch).permute(0, 2, 3, 1)
        return np.asarray(out.float().cpu().numpy())

    path, note = folder / "maps.npy", folder / "maps.txt"
    made = int(note.read_text(encoding="utf-8")) if note.is_file() and path.is_file() else 0
    shape = (len(views), *run(0).shape[1:])
    maps: np.memmap[Any, np.dtype[np.float16]] = open_memmap(
        path, mode="r+" if made else "w+", dtype=np.float16, shape=shape
    )
    for start in track(range(made, len(views), _MAP_BATCH), f"{folder.name}: frozen stages"):
        maps[start : start + _MAP_BATCH] = run(start)
        if start // _MAP_BATCH % 20 == 19:
            maps.flush()
            write_atomic(note, str(start + _MAP_BATCH).encode())
    maps.flush()
    write_atomic(note, str(len(views)).encode())
    return maps


def _rows(maps: NDArray[Any], rows: NDArray[np.int64], machine: Machine) -> Tensor:
    if maps.dtype == np.uint8:
        return normalise(torch.from_numpy(np.array(maps[rows])).to(machine.device))
    some = torch.from_numpy(maps[rows].astype(np.float32)).to(machine.device)
    return some if some.ndim == 2 else some.permute(0, 3, 1, 2)


def _train_tail(
    tail: _Tail, maps: NDArray[Any], views: Views, recipe: Recipe, folder: Path, *, machine: Machine
) -> list[dict[str, float]]:
    rule, last, name = recipe.teach, folder / "last.pt", folder.name
    steps = -(-len(views) // rule.batch)
    if last.is_file():
        body = read_checkpoint(last, machine.device)
        tail.load_state_dict(body["tail"])
    else:
        body = None
        _probe(tail, maps, views, recipe, machine)
    tail.requires_grad_(True)
    average = AveragedModel(tail, multi_avg_fn=get_ema_multi_avg_fn(rule.average), use_buffers=True)  # type: ignore[no-untyped-call]
    optimizer = _optimizer(tail, rule)
    history: list[dict[str, float]] = []
    if body is not None:
        average.load_state_dict(body["average"])
        optimizer.load_state_dict(body["optimizer"])
        history = body["history"]
        console.print(f"teach: {name} goes on after pass {len(history)}")
    while len(history) < rule.passes:
        number, start_s = len(history), time.monotonic()
        tail.train()
        total = 0.0
        order = np.random.default_rng([recipe.train.seed, number]).permutation(len(views))
        for step in track(range(steps), f"{name}: pass {number + 1} of {rule.passes}"):
            _set_rates(optimizer, rule, (number + step / steps) / rule.passes)
            rows = np.sort(order[step * rule.batch : (step + 1) * rule.batch])
            rng = np.random.default_rng([recipe.train.seed, number, step])
            with machine.autocast():
                own = _loss(tail, _rows(maps, rows, machine), _allowed(views, rows, machine), rule, rng)
            loss = machine.backward(own, 1.0, tail)
            if not torch.isfinite(loss):
                raise TrainerError(
                    f"{name}: the loss of pass {number + 1}, batch {step + 1} is {loss.item()}; lower teach.peak_lr"
                )
            machine.step(optimizer)
            average.update_parameters(tail)
            total += loss.item()
        history.append({"loss": total / steps, "seconds": time.monotonic() - start_s})
        save_checkpoint(
            {
                "tail": tail.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
                "history": history,
            },
            last,
        )  # fmt: skip
        left_min = history[-1]["seconds"] * (rule.passes - number - 1) / 60
        console.print(
            f"teach: {name} pass {number + 1}/{rule.passes}  loss {total / steps:.4f}  about {left_min:.0f} min left"
        )
    tail.load_state_dict(average.module.state_dict())
    return history


def _allowed(views: Views, rows: NDArray[np.int64], machine: Machine) -> Tensor:
    return torch.from_numpy(views.allowed[rows].astype(np.float32)).to(machine.device)


def _probe(tail: _Tail, maps: NDArray[Any], views: Views, recipe: Recipe, machine: Machine) -> None:
    """Fit the last layer alone, on features that are computed once."""
    rule = recipe.teach
    starts = range(0, len(views), 256)
    with torch.inference_mode(), machine.answering():
        rows = [
            tail.features(_rows(maps, np.arange(start, min(start + 256, len(views))), machine)).float()
            for start in track(starts, "features for the probe")
        ]
    features = torch.cat(rows).clone()  # out of inference mode
    tail.head.requires_grad_(True)
    optimizer = torch.optim.AdamW(tail.head.parameters(), lr=rule.probe_lr, weight_decay=rule.weight_decay)
    for number in range(rule.probe_passes):
        order = np.random.default_rng([recipe.train.seed, number, 2]).permutation(len(views))
        for start in range(0, len(views), rule.batch):
            some = order[start : start + rule.batch]
            loss = allowed_loss(tail.head(features[some]), _allowed(views, some, machine), rule.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _optimizer(tail: _Tail, rule: Teach) -> torch.optim.Optimizer:
    """The last layer first, at a rate of its own."""
    head = list(tail.head.parameters())
    body = [weight for weight in tail.parameters() if all(weight is not own for own in head)]
    groups = [
        {"params": head, "weight_decay": rule.weight_decay},
        {"params": [weight for weight in body if weight.ndim > 1], "weight_decay": rule.weight_decay},
        {"params": [weight for weight in body if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rule.peak_lr)


def _set_rates(optimizer: torch.optim.Optimizer, rule: Teach, progress: float) -> None:
    """`progress` is 0..1 of the tuning: rates rise for a tenth of it, then fall as a cosine does."""
    up = 0.1
    part = progress / up if progress < up else 0.5 * (1 + math.cos(math.pi * (progress - up) / (1 - up)))
    for number, group in enumerate(optimizer.param_groups):
        group["lr"] = rule.peak_lr * part * (3 if number == 0 else 1)


def _loss(tail: _Tail, maps: Tensor, allowed: Tensor, rule: Teach, rng: np.random.Generator) -> Tensor:
    """The loss of a batch; its maps mixed with another order of themselves (Verma et al. 2019, manifold mixup)."""
    if rule.mixup == 0 or not tail.training:
        return allowed_loss(tail(maps).float(), allowed, rule.label_smoothing)
    share = float(rng.beta(rule.mixup, rule.mixup))
    other = torch.from_numpy(rng.permutation(len(maps)))
    logits = tail(share * maps + (1 - share) * maps[other]).float()
    first = allowed_loss(logits, allowed, rule.label_smoothing)
    return share * first + (1 - share) * allowed_loss(logits, allowed[other], rule.label_smoothing)


def answers(net: Net | Witness, dataset: Dataset, size_px: int, machine: Machine) -> F32:
    """What a network says of the pictures of *tune* and *val*, float32 [N, K]; zeros for those of *train*."""
    rows = [index for index, record in enumerate(dataset.records) if record.split in ("tune", "val")]
    net.eval()
    out: list[Tensor] = []
    with torch.inference_mode(), machine.answering():
        for start in range(0, len(rows), _MAP_BATCH):
            pixels = np.stack([fit(dataset.pixels[row], size_px) for row in rows[start : start + _MAP_BATCH]])
            said = net(normalise(torch.from_numpy(pixels).to(machine.device)))
            out.append((said if isinstance(said, Tensor) else said[0]).float().cpu())
    found = torch.cat(out).numpy()
    whole = np.zeros((len(dataset.records), found.shape[1]), np.float32)
    whole[rows] = found
    return whole


def _log_softmax(logits: F32) -> F32:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), dtype=np.float32)


def _right(dataset: Dataset, logits: F32, labels: tuple[str, ...], split: str) -> float:
    rows = dataset.indices(split)
    return float(np.mean([dataset.records[row].allowed(labels)[logits[row].argmax()] for row in rows]))


def _measure(dataset: Dataset, logits: F32, labels: tuple[str, ...]) -> dict[str, Any]:
    """Figures on *val* by source, as `evaluate` gives them for a student."""
    tables: dict[str, Any] = {}
    for source in dict.fromkeys(record.source for record in dataset.records):
        rows = [
            row for row in dataset.indices("val")
            if dataset.records[row].source == source and dataset.records[row].target in labels
        ]  # fmt: skip
        if rows:
            truth = [labels.index(dataset.records[row].target) for row in rows]
            tables[source] = confusion(truth, [int(logits[row].argmax()) for row in rows], len(labels))
    return {
        "val": {source: asdict(score(table, labels)) for source, table in tables.items()},
        "confusion": {source: table.tolist() for source, table in tables.items()},
    }
