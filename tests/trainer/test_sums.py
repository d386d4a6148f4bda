import numpy as np
import pytest

from trainer.graph import Graph, Node
from trainer.onnx_write import Affine
from trainer.sums import PARTS, without_ties

INT8 = np.arange(-128, 128, dtype=np.float32)


def chain(act: str = "none") -> Graph:
    """Two sums, the second of which adds to the first; the last part comes through a pool that keeps its scale."""
    nodes = (
        Node("conv", "a0", ("x",), weight="w", bias="b"),
        Node("conv", "a1", ("a0",), act=act, weight="w", bias="b"),
        Node("add", "a2", ("a0", "a1")),
        Node("conv", "a3", ("a2",), weight="w", bias="b"),
        Node("maxpool", "a4", ("a3",)),
        Node("add", "a5", ("a2", "a4")),
    )
    return Graph(nodes, {}, {"logits": "a5"}, (1, 2, 2))


def asked_for(seed: int) -> dict[str, Affine]:
    """Scales as calibration finds them: any float32, zero points of any kind."""
    rng = np.random.default_rng(seed)
    acts = {
        name: Affine(float(np.float32(rng.uniform(0.03, 0.2))), int(rng.integers(-128, 128)))
        for name in ("x", "a0", "a1", "a2", "a3", "a5")
    }
    acts["a4"] = acts["a3"]
    return acts


def before_rounding(first: Affine, second: Affine, total: Affine, fused: bool) -> np.ndarray:
    """Every sum of two int8 values, as a processor with or without fused multiply-add has it before it rounds."""
    ratios = [np.float32(part.scale) / np.float32(total.scale) for part in (first, second)]
    fixed = np.float32(total.zero_point) - (
        ratios[0] * np.float32(first.zero_point) + ratios[1] * np.float32(second.zero_point)
    )
    left, right = INT8[:, None], INT8[None, :]
    if fused:  # one rounding for product and sum: float64 holds both exactly
        part = (right.astype(np.float64) * ratios[1] + fixed).astype(np.float32)
        return (left.astype(np.float64) * ratios[0] + part).astype(np.float32)
    return left * ratios[0] + (right * ratios[1] + fixed)


def sums(acts: dict[str, Affine]) -> list[tuple[Affine, Affine, Affine]]:
    return [(acts["a0"], acts["a1"], acts["a2"]), (acts["a2"], acts["a4"], acts["a5"])]


def ways_to_round(parts: tuple[Affine, Affine, Affine]) -> list[np.ndarray]:
    """What processors make of all sums: with and without fused multiply-add, halves to the even one or up."""
    raw = [before_rounding(*parts, fused=fused) for fused in (False, True)]
    return [np.clip(rounded(sums), -128, 127) for sums in raw for rounded in (np.rint, lambda x: np.floor(x + 0.5))]


@pytest.mark.parametrize("seed", range(40))
def test_a_sum_is_the_same_however_a_processor_rounds(seed: int) -> None:
    for parts in sums(without_ties(chain(), asked_for(seed))):
        first, *others = ways_to_round(parts)
        for other in others:
            np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("seed", range(40))
def test_no_sum_comes_near_the_middle_of_two_integers(seed: int) -> None:
    for parts in sums(without_ties(chain(), asked_for(seed))):
        raw = before_rounding(*parts, fused=False).astype(np.float64)
        off = np.abs(raw - np.floor(raw) - 0.5).min()
        assert off > 0.25 / PARTS  # half a part, less what float32 rounds


def test_ratios_of_a_power_of_two_round_otherwise_on_other_processors() -> None:
    even = (Affine(0.05, 3), Affine(0.025, -7), Affine(0.1, 0))
    first, *others = ways_to_round(even)
    assert any((other != first).any() for other in others)  # what the tests above would see


def test_a_parts_scale_gets_a_trace_wider_and_all_else_stays() -> None:
    wider = []
    for seed in range(40):
        before, after = asked_for(seed), without_ties(chain(), asked_for(seed))
        assert after["x"] == before["x"]
        assert after["a5"] == before["a5"]
        assert after["a4"] == after["a3"]  # the pool's result has its input's scale
        assert {name: act.zero_point for name, act in after.items()} == {
            name: act.zero_point for name, act in before.items()
        }
        wider += [
            (after[name].scale - before[name].scale) / after[total].scale * PARTS
            for total, parts in (("a2", ("a0", "a1")), ("a5", ("a2", "a4")))
            for name in parts
        ]
    assert min(wider) > -1e-4  # float32
    assert max(wider) < 1


def test_the_range_of_a_relu6_never_passes_6() -> None:
    for seed in range(40):
        acts = asked_for(seed) | {"a1": Affine(float(np.float32(6 / 255)), -128)}
        made = without_ties(chain("relu6"), acts)["a1"].scale
        assert 0.9 * 6 / 255 < made <= 6 / 255


@pytest.mark.parametrize("act", ["none", "relu6"])
def test_a_part_that_hardly_counts_keeps_a_scale_above_zero(act: str) -> None:
    made = without_ties(chain(act), asked_for(3) | {"a1": Affine(1e-7, 0)})
    assert made["a1"].scale / made["a2"].scale == pytest.approx(1 / PARTS)
