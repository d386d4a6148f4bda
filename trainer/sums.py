"""Sums: scales with which every processor adds two int8 tensors to the very same integers.

scales that the ranges ask for -> without_ties -> the same, some of them a trace wider

onnxruntime adds in float32, (a - zero_a) * (scale_a / scale) + (b - zero_b) * (scale_b / scale) + zero, and rounds. A
value midway between two integers goes up on one processor and to the even one on another, and what is nearly midway
goes where its last bit says, which differs with fused multiply-add: of 125,440 sums 4 came out one step apart on
emulated Arm, and sixty layers later one picture in 150 had another label. With ratios that are whole numbers over an
odd one, every sum is as well, and none of those is midway: the nearest is off by half a part, many times what
float32 rounds.
"""

import math
from collections.abc import Mapping

import numpy as np

from trainer.graph import Graph
from trainer.onnx_write import Affine
from trainer.ranges import quantised_tensors

__all__ = ["PARTS", "without_ties"]

PARTS = 511
"""To one. Odd, and so few that float32, up to a ratio of 8, is off by less than half of what is left to the middle."""


def without_ties(graph: Graph, acts: Mapping[str, Affine]) -> dict[str, Affine]:
    """Scales close to these, with which no `add` gives what lies midway between two integers, or nearly so.

    A part's scale gets wider, so that nothing more is cut off: by less than a 511th of the sum's. That of a ReLU6 gets
    narrower, since its range must not pass 6. What two sums read fits the earlier one of them.
    """
    owner = quantised_tensors(graph)
    six = {node.output for node in graph.nodes if node.act == "relu6"}
    made = dict(acts)
    # From the last one back: a sum that another sum reads is fitted to that one before its own parts are.
    for node in reversed([node for node in graph.nodes if node.op == "add"]):
        total = made[node.output].scale
        for name in node.inputs:
            parts = made[name].scale / total * PARTS
            whole = max(1, math.floor(parts) if owner[name] in six else math.ceil(parts))
            for tensor in [tensor for tensor, own in owner.items() if own == owner[name]]:
                made[tensor] = Affine(float(np.float32(total * whole / PARTS)), made[tensor].zero_point)
    return made
