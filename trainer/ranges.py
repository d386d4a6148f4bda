"""Ranges: which real numbers the 256 steps of an int8 tensor span.

Graph + calibration pictures -> Histograms -> range_of (a method's name) -> scales

A wide range makes coarse steps, a narrow one cuts off what is rare; which is worse only the network's answer tells, so
`quantize` tries the methods. Sources: percentile and entropy as in TensorRT (Migacz 2017, "8-bit Inference with
TensorRT"), squared error as in Banner et al. 2019 and Nagel et al. 2021, both for ranges that need not be symmetric. It
must never look at what the pictures show.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.errors import QuantizeError
from trainer.graph import INPUT, Graph, Node, TorchGraph
from trainer.onnx_write import Affine

__all__ = ["PASS_ON", "RANGES", "Histograms", "affine_for", "quantised_tensors"]

PERCENTILES: Mapping[str, float] = {"min-max": 100.0, "99.999 %": 99.999, "99.99 %": 99.99, "99.9 %": 99.9}
RANGES = (*PERCENTILES, "entropy", "squared error")
"""The methods, by the names that reports call them."""

PASS_ON = ("maxpool", "flatten")
"""Operators whose result has their input's scale."""

_BINS = 4096
_SMALLEST_SCALE = 1e-9
_LEAST_PROB = 1e-9
# How far an end of the range is drawn in, as shares of it; below a tenth nothing ever won.
_SHARES = np.linspace(1.0, 0.1, 91)

F64 = NDArray[np.float64]
Ends = tuple[float, float]


def affine_for(low: float, high: float) -> Affine:
    """The int8 scale for a range, widened to hold 0 exactly.

    Args:
        low, high: real numbers, low <= high. A low of 0 gives zero point -128.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255.0, _SMALLEST_SCALE)))
    return Affine(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def quantised_tensors(graph: Graph) -> dict[str, str]:
    """Tensor -> tensor whose scale it has, for all tensors that INT8 stores.

    Pools that pick and reshapes keep their input's scale. A linear layer that nothing reads gives float32 logits
    straight from the int32 sums: rounding them to 256 steps would only lose.
    """
    readers = graph.readers()
    owner = {INPUT: INPUT}
    for node in graph.nodes:
        if node.op in PASS_ON:
            owner[node.output] = owner[node.inputs[0]]
        elif node.op != "linear" or readers[node.output]:
            owner[node.output] = node.output
    return owner


class Histograms:
    """What values each tensor takes over the calibration pictures.

    Args:
        net: the float network.
        batches: float32 [n, C, H, W] each, normalised; gone through twice.

    Attributes:
        ends: least and largest value of each tensor, or 0 where that is beyond.
        counts: float64 [4096] between the ends; none for a tensor that is 0 everywhere.
        peaks: the largest magnitude in each channel of each tensor, float32 [C].
    """

    def __init__(self, net: TorchGraph, batches: Sequence[Tensor]) -> None:
        self.ends: dict[str, tuple[float, float]] = {}
        self.counts: dict[str, F64] = {}
        self.peaks: dict[str, Tensor] = {}
        self._graph = net.to_graph()
        with torch.no_grad():
            for batch in batches:
                net(batch, after=self._widen)
            for batch in batches:
                net(batch, after=self._count)

    def _widen(self, node: Node, value: Tensor) -> Tensor:
        low, high = self.ends.get(node.output, (0.0, 0.0))
        self.ends[node.output] = (min(low, float(value.min())), max(high, float(value.max())))
        peak = value.abs().amax((0, *range(2, value.dim())))
        self.peaks[node.output] = torch.maximum(peak, self.peaks.get(node.output, peak))
        return value

    def _count(self, node: Node, value: Tensor) -> Tensor:
        low, high = self.ends[node.output]
        if high > low:
            counts = torch.histc(value, _BINS, low, high).double().numpy()
            self.counts[node.output] = self.counts.get(node.output, np.zeros(_BINS)) + counts
        return value

    def range_of(self, tensor: str, method: str) -> tuple[float, float]:
        """The range that a method gives a tensor; an end that is 0 (after ReLU) stays 0.

        Args:
            method: one of `RANGES`. A percentile leaves out that share of the values at either end; `entropy` keeps
                what is left closest to what was there; `squared error` makes the rounding and cutting least.

        Raises:
            QuantizeError: no such method.
        """
        if method not in RANGES:
            raise QuantizeError(f"ranges {method!r}: unknown; the quantiser has {', '.join(RANGES)}")
        low, high = self.ends[tensor]
        if high <= low or method == "min-max":
            return low, high
        counts = self.counts[tensor]
        if method in PERCENTILES:
            return _percentile(counts, low, high, PERCENTILES[method])
        far = _divergence if method == "entropy" else _squared_error
        cost = partial(far, counts, (low, high))
        # One end after the other: each is nearly free of the other, and both at once would be 91 times as many.
        _, high = min(((low, high * float(share)) for share in _SHARES), key=cost)
        return min(((low * float(share), high) for share in _SHARES), key=cost) if low < 0.0 else (low, high)

    def scales(self, method: str, pixels: Affine) -> dict[str, Affine]:
        """A scale for every tensor that INT8 stores."""
        acts: dict[str, Affine] = {INPUT: pixels}
        for tensor, owner in quantised_tensors(self._graph).items():
            if tensor not in acts:
                acts[tensor] = acts[owner] if owner in acts else affine_for(*self.range_of(tensor, method))
        return acts


def _percentile(counts: F64, low: float, high: float, percentile: float) -> tuple[float, float]:
    below = np.cumsum(counts)
    cut = float(below[-1]) * (1.0 - percentile / 100.0)
    width = (high - low) / _BINS
    first = int(np.searchsorted(below, cut, side="right"))
    last = int(np.searchsorted(below, float(below[-1]) - cut))
    return (low + first * width if low < 0.0 else 0.0), low + (last + 1) * width


def _levels(ends: Ends, cut: Ends) -> tuple[F64, NDArray[np.int64], Affine]:
    """Middle of each bin, the level 0..255 that it is rounded to, and the scale."""
    low, high = ends
    middles = np.asarray(low + (np.arange(_BINS) + 0.5) * ((high - low) / _BINS), dtype=np.float64)
    affine = affine_for(*cut)
    return middles, np.clip(np.rint(middles / affine.scale) + affine.zero_point, -128, 127).astype(np.int64), affine


def _squared_error(counts: F64, ends: Ends, cut: Ends) -> float:
    middles, levels, affine = _levels(ends, cut)
    return float(np.sum(counts * (middles - (levels - affine.zero_point) * affine.scale) ** 2))


def _divergence(counts: F64, ends: Ends, cut: Ends) -> float:
    """Kullback-Leibler divergence of the cut histogram from what 256 levels can tell of it."""
    middles, levels, _ = _levels(ends, cut)
    if ends[0] == 0.0:  # after ReLU half the values are exactly 0, which every range holds: they say nothing
        counts = np.concatenate([counts[1:2], counts[1:]])
    inside = np.flatnonzero((middles >= cut[0]) & (middles <= cut[1]))
    begin, end = int(inside[0]), int(inside[-1]) + 1
    kept = counts[begin:end]
    wanted = kept.copy()
    wanted[0] += counts[:begin].sum()
    wanted[-1] += counts[end:].sum()
    places = levels[begin:end] - levels[begin]
    total = np.bincount(places, kept)
    taken = np.bincount(places, kept > 0)
    # What is left out is missing here, and put on the edge in `wanted`: that is what makes cutting cost something.
    told = np.where(kept > 0, (total / np.maximum(taken, 1))[places], 0.0)
    wanted, told = wanted / max(wanted.sum(), 1.0), told / max(told.sum(), 1.0)
    some = wanted > 0
    return float(np.sum(wanted[some] * np.log(wanted[some] / np.maximum(told[some], _LEAST_PROB))))
