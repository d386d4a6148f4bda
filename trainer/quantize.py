"""Quantise a trained network to INT8 for Arm, and measure what that costs.

float.onnx + calibration pictures -> ranges, bias correction, equalisation, (tail) -> model.onnx (S8S8 QDQ) + report

The float file is the specification and the teacher: of whatever is tried, that is kept which brings the logits closest
to its own. What is written is run by onnxruntime with the Arm arithmetic and compared with the simulation, so a file
that does not compute what was planned, or leaves a layer in float, is never handed on. It must never see validation
pictures: calibration comes from *tune*, or from a bin.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainer.equalise import equalise
from trainer.errors import QuantizeError
from trainer.fakequant import Simulation, correct_biases, int8_weights, normalise
from trainer.graph import Graph, TorchGraph
from trainer.onnx_read import read_graph
from trainer.onnx_write import Affine, write_int8
from trainer.ranges import RANGES, Histograms
from trainer.sums import without_ties
from trainer.tail import QatTail, fine_tune

__all__ = ["Agreement", "LayerLoss", "QatTail", "QuantizeReport", "arm_session", "fused_ops", "quantize"]

_BATCH = 16
_TRIAL_PICTURES = 128
"""Every squared error of the logits is over these, at most; none of them is one that biases were corrected on."""

_CORRECTION_PICTURES = 64
_LAYER_RUNS = 1000
"""Pictures times layers, for what each layer costs: a deep network shows fewer pictures."""

_STRENGTH = 0.5
"""Of the equalisation that is tried; see `equalise`."""

_FUSED = {"conv": "QLinearConv", "add": "QLinearAdd", "mean": "QLinearGlobalAveragePool", "linear": "QGemm"}
_FUSED |= {"avgpool": "QLinearAveragePool", "sigmoid": "QLinearSigmoid", "mul": "QLinearMul"}
_INT8_OPS = {
    *_FUSED.values(),
    "MaxPool",
    "NhwcMaxPool",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Transpose",
    "DequantizeLinear",
    "QuantizeLinear",
}


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """What one layer costs.

    Attributes:
        layer: for a person, with its kind and width.
        alone: mean squared error of the logits when this layer alone is INT8.
        sqnr_db: signal to noise of its result with every layer before it in INT8, decibels; about 30 is good.
    """

    layer: str
    alone: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two runs on the same pictures compare.

    Attributes:
        max_diff, mean_diff: of the logits, absolute.
        argmax_share: share of pictures with the same label, 0..1.
        kl: mean Kullback-Leibler divergence of the probabilities, first to second.
    """

    max_diff: float
    mean_diff: float
    argmax_share: float
    kl: float


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """What was made.

    Attributes:
        file_bytes, params: size of the file; number of weights and biases.
        ranges: the method that was taken, one of `RANGES`.
        tried: method -> mean squared logit error, with means corrected for the weights' rounding.
        error: the same after bias correction with the ranges that were taken, without equalisation.
        equalised_error: the same for the equalised network.
        equalised: whether that one was closer and is what goes on.
        tail_error: the same after the tail, None without one. A tail that comes no closer is dropped, since the float
            file is the specification.
        fused: operator -> count, in the graph that onnxruntime runs.
        float_ops: operators that stay in float, apart from the conversion of the outputs.
        odd_widths: layers whose width is no multiple of 8: slow on Arm.
        layers: the most costly first.
        parity: simulation against onnxruntime with the Arm arithmetic.
        loss: the float network against onnxruntime with the Arm arithmetic.
    """

    file_bytes: int
    params: int
    ranges: str
    tried: dict[str, float]
    error: float
    equalised_error: float
    equalised: bool
    tail_error: float | None
    fused: dict[str, int]
    float_ops: tuple[str, ...]
    odd_widths: tuple[str, ...]
    layers: tuple[LayerLoss, ...]
    parity: Agreement
    loss: Agreement


@dataclass(frozen=True, slots=True)
class _Trial:
    """A network that is calibrated one way.

    Attributes:
        teacher: the float network, in this trial's numbers.
        student: the same with corrected biases.
        error: mean squared logit error.
    """

    teacher: TorchGraph
    student: TorchGraph
    seen: Histograms
    acts: dict[str, Affine]
    error: float


def quantize(
    float_onnx: Path,
    out: Path,
    calibration: NDArray[np.uint8],
    *,
    input_scale: float,
    input_zero_point: int,
    ranges: Sequence[str] = RANGES,
    tail: QatTail | None = None,
    on_step: Callable[[str], None] | None = None,
) -> QuantizeReport:
    """Write the INT8 file of a float network.

    Args:
        float_onnx: from `export.export_float`; outputs `logits` and `features`.
        out: replaced when it exists.
        calibration: RGB pixels [N, 3, S, S], prepared as the device does; a few hundred, of every label.
        input_scale, input_zero_point: normalised = (pixel - 128 - zero_point) * scale; 1/128 and -1 for mean 127,
            deviation 128. Exact only where all channels share mean and deviation.
        ranges: methods to try; ("min-max",) leaves nothing out.
        tail: fine-tuning, or None.
        on_step: told what starts.

    Raises:
        QuantizeError: the network or the pictures do not fit, a layer stays in float, or the file does not compute what
            the simulation does.
    """
    say = on_step or (lambda _: None)
    graph = read_graph(float_onnx)
    _check_pictures(graph, calibration, float_onnx)
    pixels = Affine(float(np.float32(input_scale)), input_zero_point)
    batches = [normalise(calibration[at : at + _BATCH], pixels) for at in range(0, len(calibration), _BATCH)]
    calibrate = _Calibration(graph, batches, pixels, say)
    plain, tried = calibrate.plain(ranges)
    method = min(tried, key=tried.__getitem__)
    even = calibrate.equalised(plain, method)
    best = even if even.error < plain.error else plain
    tail_error = None
    if tail is not None:
        say(f"quantisation-aware training, {tail.epochs} epochs")
        best, tail_error = calibrate.tailed(best, tail)
    say("writing and checking")
    ready = best.student.to_graph()
    write_int8(ready, out, best.acts, int8_weights(ready, best.acts))
    fused = fused_ops(out)
    _check_fused(graph, fused, out)
    wanted = _logits(TorchGraph(graph), batches)
    simulated = _logits(Simulation(best.student, best.acts), batches)
    measured = _run(out, calibration)
    parity = _compare(simulated, measured)
    _check_parity(parity, _compare(wanted, simulated), float(wanted.std()), out)
    say("cost per layer")
    few = torch.cat(batches)[: max(1, min(32, _LAYER_RUNS // len(graph.nodes)))]
    return QuantizeReport(
        file_bytes=out.stat().st_size,
        params=sum(value.size for value in graph.params.values()),
        ranges=method,
        tried=tried,
        error=plain.error,
        equalised_error=even.error,
        equalised=even.error < plain.error,
        tail_error=tail_error,
        fused=dict(fused),
        float_ops=tuple(sorted(set(fused) - _INT8_OPS)),
        odd_widths=tuple(_odd_widths(graph)),
        layers=_layer_losses(ready, best.teacher, best.student, best.acts, few),
        parity=parity,
        loss=_compare(wanted, measured),
    )


class _Calibration:
    """The ways to calibrate one network, all judged on the same pictures."""

    def __init__(self, graph: Graph, batches: list[Tensor], pixels: Affine, say: Callable[[str], None]) -> None:
        self._graph, self._batches, self._pixels, self._say = graph, batches, pixels, say
        pictures = torch.cat(batches)
        corrected = torch.zeros(len(pictures), dtype=torch.bool)
        corrected[:: max(2, len(pictures) // _CORRECTION_PICTURES)] = True
        self._correction = pictures[corrected][:_CORRECTION_PICTURES]
        # Judged on others: biases fitted to a picture always look good on it.
        others = pictures[~corrected] if len(pictures) > 1 else pictures
        self._trial = list(torch.split(others[:: -(-len(others) // _TRIAL_PICTURES)], _BATCH))
        self._wanted = _logits(TorchGraph(graph), self._trial)

    def plain(self, ranges: Sequence[str]) -> tuple[_Trial, dict[str, float]]:
        """The network as it is, with the best of these ranges; and the error of each."""
        self._say(f"ranges of {sum(map(len, self._batches))} pictures")
        teacher, student = TorchGraph(self._graph), TorchGraph(self._graph)
        seen = Histograms(teacher, self._batches)
        # First the means that rounded weights shift: they would hide what the ranges do.
        correct_biases(teacher, student, seen.scales(ranges[0], self._pixels), self._correction)
        tried = {}
        for method in ranges:
            self._say(f"ranges by {method}")
            tried[method] = self._error(student, seen.scales(method, self._pixels))
        best = min(tried, key=tried.__getitem__)
        return self._corrected(teacher, student, seen, seen.scales(best, self._pixels)), tried

    def equalised(self, plain: _Trial, method: str) -> _Trial:
        """The same network with channels of more equal size."""
        self._say("cross-layer equalisation")
        graph = equalise(self._graph, plain.seen.peaks, _STRENGTH)
        teacher = TorchGraph(graph)
        seen = Histograms(teacher, self._batches)
        return self._corrected(teacher, TorchGraph(graph), seen, seen.scales(method, self._pixels))

    def tailed(self, trial: _Trial, tail: QatTail) -> tuple[_Trial, float]:
        """The trial after the tail, or as it was where that came no closer; and the error after the tail."""
        student = TorchGraph(trial.student.to_graph())
        acts = without_ties(self._graph, fine_tune(TorchGraph(self._graph), student, trial.acts, self._pixels, tail))
        error = self._error(student, acts)
        if error < trial.error:
            return replace(trial, student=student, acts=acts, error=error), error
        self._say(
            f"the training is dropped: logits came no closer (squared error {trial.error:.5f}, after it {error:.5f})"
        )
        return trial, error

    def _corrected(self, teacher: TorchGraph, student: TorchGraph, seen: Histograms, acts: dict[str, Affine]) -> _Trial:
        self._say("bias correction")
        acts = without_ties(self._graph, acts)
        correct_biases(teacher, student, acts, self._correction)
        return _Trial(teacher, student, seen, acts, self._error(student, acts))

    def _error(self, student: TorchGraph, acts: dict[str, Affine]) -> float:
        """Mean squared error, without what is common to all labels: softmax does not see it."""
        off = _logits(Simulation(student, acts), self._trial) - self._wanted
        return float((off - off.mean(1, keepdim=True)).square().mean())


def _check_pictures(graph: Graph, pictures: NDArray[np.uint8], where: Path) -> None:
    if "logits" not in graph.outputs:
        raise QuantizeError(f"{where}: outputs are {sorted(graph.outputs)}, expected 'logits'; export it again")
    if pictures.dtype != np.uint8 or pictures.shape[1:] != graph.input_shape or not len(pictures):
        raise QuantizeError(
            f"calibration pictures are {pictures.dtype} {list(pictures.shape)}, expected uint8 "
            f"[N, {', '.join(map(str, graph.input_shape))}] with N of 1 or more, as {where} reads them"
        )


def _logits(run: Callable[[Tensor], dict[str, Tensor]], batches: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.cat([run(batch)["logits"] for batch in batches])


def arm_session(path: Path, save_optimised: Path | None = None) -> ort.InferenceSession:
    """Open a file with the arithmetic of Arm on any machine: int8 kernels that do not saturate in between.

    Args:
        save_optimised: where onnxruntime writes the graph that it really runs.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # it warns that the saved graph is for this machine only; it is only looked at
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if save_optimised is not None:
        options.optimized_model_filepath = str(save_optimised)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's error classes are not public
        reason = " ".join(str(exc).split())
        raise QuantizeError(f"{path}: onnxruntime cannot load it ({reason}); quantise again: trainer quantize") from exc


def fused_ops(path: Path) -> Counter[str]:
    """Operators of the graph that onnxruntime makes of a file, with the Arm arithmetic."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        arm_session(path, optimised)
        return Counter(node.op_type for node in onnx.load(str(optimised)).graph.node)


def _check_fused(graph: Graph, fused: Counter[str], where: Path) -> None:
    expected = Counter(_FUSED[node.op] for node in graph.nodes if node.op in _FUSED)
    short = [f"{op} {fused[op]} of {count}" for op, count in sorted(expected.items()) if fused[op] < count]
    if short:
        left = ", ".join(sorted(set(fused) - _INT8_OPS))
        raise QuantizeError(
            f"{where}: onnxruntime {ort.__version__} runs only {', '.join(short)} in INT8 and leaves {left} in float; "
            "use the onnxruntime release that pyproject.toml names"
        )


def _run(path: Path, pictures: NDArray[np.uint8]) -> Tensor:
    session = arm_session(path)
    name = session.get_inputs()[0].name
    pixels = (pictures ^ 0x80).view(np.int8)
    rows: list[Any] = [session.run(["logits"], {name: picture[None]})[0] for picture in pixels]
    return torch.from_numpy(np.concatenate(rows))


def _check_parity(parity: Agreement, planned: Agreement, spread: float, where: Path) -> None:
    # Two right runs differ where a sum falls on the edge between two steps, and such a step sets others moving: as far
    # as rounding moves the logits at all (`planned`), never further. A wrong scale is off by the spread itself.
    limit = planned.mean_diff + 0.02 * spread
    if not parity.mean_diff <= limit:
        raise QuantizeError(
            f"{where}: logits differ from the simulation by {parity.mean_diff:.4f} on average, expected at most "
            f"{limit:.4f}; the file does not compute what was planned, do not ship it"
        )


def _compare(first: Tensor, second: Tensor) -> Agreement:
    off = (first - second).abs()
    kl = F.kl_div(F.log_softmax(second, 1), F.log_softmax(first, 1), reduction="batchmean", log_target=True)
    same = (first.argmax(1) == second.argmax(1)).float().mean()
    return Agreement(float(off.max()), float(off.mean()), float(same), float(kl))


def _odd_widths(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op == "conv" and graph.params[node.weight].shape[0] % 8:
            yield graph.describe(node)


def _layer_losses(
    graph: Graph, teacher: TorchGraph, student: TorchGraph, acts: dict[str, Affine], pictures: Tensor
) -> tuple[LayerLoss, ...]:
    real: dict[str, Tensor] = {}
    fake: dict[str, Tensor] = {}
    simulation = Simulation(student, acts)
    with torch.no_grad():
        few = pictures[:4]  # every tensor of both networks is kept
        teacher(few, after=lambda node, value: real.setdefault(node.output, value))
        student(
            few,
            simulation.weight,
            simulation.bias,
            lambda node, value: fake.setdefault(node.output, simulation.after(node, value)),
        )
        wanted = teacher(pictures)["logits"]
        losses = []
        for node in graph.nodes:
            if node.output not in acts and not node.weight:
                continue
            alone = Simulation(teacher, acts, only=node.output)(pictures)["logits"]
            noise = float((fake[node.output] - real[node.output]).square().mean())
            signal = float(real[node.output].square().mean())
            decibels = 10.0 * math.log10(max(signal, 1e-30) / max(noise, 1e-30))
            off = alone - wanted
            cost = float((off - off.mean(1, keepdim=True)).square().mean())
            losses.append(LayerLoss(graph.describe(node), cost, decibels))
    return tuple(sorted(losses, key=lambda loss: -loss.alone))
