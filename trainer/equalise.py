"""Cross-layer equalisation: channels of one tensor brought to a similar size, so that 256 steps serve all of them.

Graph + peaks per channel -> equalise -> the same network, other numbers

A channel that a layer makes k times larger and the next layer reads with weights k times smaller changes nothing
(Nagel et al. 2019, arXiv 1906.04721), and what its own weight scale takes up costs nothing either. Here a channel only
grows: until its peak in calibration meets the tensor's largest. ReLU6 ends at 6, so its end grows along (`Node.tops`),
beyond the tensor's range; there the INT8 range's own end cuts, at the channel's calibrated peak. A channel that reaches
6 stays as it is, so no value that calibration saw is cut anywhere else than before. Tensors that are added share their
factors; the picture, the outputs and what a sigmoid or a product reads keep theirs.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trainer.graph import INPUT, Array, Graph, Node

__all__ = ["equalise"]

_TIED = {"add", "maxpool", "avgpool", "mean", "flatten"}
_LARGEST_FACTOR = 64.0
"""A channel that is almost always 0 would otherwise drown the others' weights in the next layer."""


def equalise(graph: Graph, peaks: Mapping[str, Tensor], strength: float) -> Graph:
    """The same network with channels of more equal size.

    Args:
        peaks: the largest magnitude in each channel of each tensor, float32 [C] (`Histograms.peaks`).
        strength: where an ordinary layer reads: 0 leaves channels as they are, 1 makes all peaks equal, between them
            its weights and their readers share the burden. Where only depthwise layers read, which have a scale per
            channel themselves, it is 1.

    Returns:
        Answers as `graph` does, but for the rounding of float32.
    """
    makers = {node.output: node for node in graph.nodes}
    params = dict(graph.params)
    tops: dict[str, tuple[float, ...]] = {}
    for tensors in _groups(graph):
        readers = [node for node in graph.nodes if node.weight and node.inputs[0] in tensors]
        whole = strength if any(_mixes(graph, node) for node in readers) else 1.0
        if not readers or not whole:
            continue
        sizes = [peaks[name] / peaks[name].max() for name in tensors if makers[name].op not in {"mean", "flatten"}]
        size = torch.stack(sizes).amax(0)
        factor = torch.where(size > 0, size, 1.0).pow(-whole).clamp_max(_LARGEST_FACTOR).numpy()
        for name in tensors:
            node = makers[name]
            if node.weight:
                params[node.weight] = _times(params[node.weight], factor)
                params[node.bias] = params[node.bias] * factor
            if node.act == "relu6":
                tops[name] = tuple((factor * 6.0).tolist())
        for node in readers:
            params[node.weight] = _inputs_over(params[node.weight], factor, node.groups)
    nodes = tuple(replace(node, tops=tops.get(node.output, ())) for node in graph.nodes)
    return replace(graph, nodes=nodes, params=params)


def _groups(graph: Graph) -> list[list[str]]:
    """Tensors that share their factors, without those that cannot have any."""
    parent = {INPUT: INPUT}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    fixed = {INPUT, *graph.outputs.values()}
    for node in graph.nodes:
        parent[node.output] = node.output
        if node.op in _TIED:
            for name in node.inputs:
                parent[root(name)] = root(node.output)
        elif not node.weight:
            fixed.update((node.output, *node.inputs))
    groups: dict[str, list[str]] = {}
    for name in parent:
        groups.setdefault(root(name), []).append(name)
    still = {root(name) for name in fixed}
    return [names for top, names in groups.items() if top not in still]


def _mixes(graph: Graph, node: Node) -> bool:
    return bool(node.groups != graph.params[node.weight].shape[0])


def _times(weight: Array, factor: Array) -> Array:
    return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))


def _inputs_over(weight: Array, factor: Array, groups: int) -> Array:
    """Weights [O, I/groups, ...] over one factor per input channel; a flattened channel is several inputs in a row."""
    each = np.repeat(factor, weight.shape[1] * groups // len(factor)).reshape(groups, 1, -1)
    by_group = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return (by_group / each[..., None]).reshape(weight.shape)
