from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import QuantizeError
from trainer.export import export_float, trace, with_int8_input


class Tiny(nn.Module):
    """Each kind of layer that students are made of, and the ways torch code spells them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.wise = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.Hardtanh(0, 6))
        self.point = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.pools = nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2))
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(8, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(F.pad(x, (0, 1, 0, 1)))
        x = F.relu(x + self.point(self.wise(x)))
        features = torch.flatten(self.mean(self.pools(x)), 1)
        return self.head(self.drop(torch.clamp(self.hidden(features), min=0))), features


@pytest.fixture(scope="module")
def net() -> Tiny:
    torch.manual_seed(0)
    net = Tiny()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return net.eval()


@pytest.fixture(scope="module")
def path(net: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "float.onnx"
    export_float(net, 32, path)
    return path


def test_the_file_computes_what_torch_computes(net: Tiny, path: Path) -> None:
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = net(x)
    session = ort.InferenceSession(path)
    got = session.run(["logits", "features"], {"pixels": x.numpy()})
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("pixels", [1, 3, 32, 32])]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("logits", [1, 3]), ("features", [1, 8])]


def test_the_file_holds_no_batch_norm_no_metadata_and_an_old_enough_version(path: Path) -> None:
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert sorted({node.op_type for node in model.graph.node}) == [
        *("Add", "AveragePool", "Clip", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool", "Relu")
    ]
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert (list(model.metadata_props), list(model.graph.value_info), model.doc_string) == ([], [], "")


def test_the_float_file_with_int8_pixels_gives_the_same_answers(path: Path, tmp_path: Path) -> None:
    behind = tmp_path / "float.onnx"
    with_int8_input(path, behind, input_scale=1 / 128, input_zero_point=-1)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), np.uint8)
    normalised = ((pixels.astype(np.float32) - 127) / 128).astype(np.float32)
    expected = ort.InferenceSession(path).run(["logits"], {"pixels": normalised})[0]
    got = ort.InferenceSession(behind).run(["logits"], {"pixels": (pixels ^ 0x80).view(np.int8)})[0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_leaves_the_network_and_its_frozen_parts_as_they_were() -> None:
    net = Tiny().train()
    net.stem.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trace(net, 32)
    assert (net.training, net.stem.training, net.head.training) == (True, False, True)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Gated(nn.Module):
    """SiLU and squeeze-and-excite, as EfficientNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.SiLU(), nn.Conv2d(8, 8, 1))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        features = (x * torch.sigmoid(self.gate(x))).mean((2, 3))
        return self.head(features), features


def test_gates_and_swishes_are_written_as_sigmoids_and_products(tmp_path: Path) -> None:
    net = Gated().eval()
    export_float(net, 32, tmp_path / "float.onnx")
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = net(x)
    got = ort.InferenceSession(tmp_path / "float.onnx").run(["logits", "features"], {"pixels": x.numpy()})
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "float.onnx")).graph.node]
    assert (kinds.count("Sigmoid"), kinds.count("Mul")) == (3, 3)


class Wrong(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.conv(x)
        if self.kind == "op":
            x = F.hardswish(x)
        elif self.kind == "number":
            x = x + 1.0
        elif self.kind == "times":
            x = x * 2.0
        elif self.kind == "pool":
            x = F.adaptive_avg_pool2d(x, 2)
        elif self.kind == "branch" and x.mean() > 0:
            x = F.relu(x)
        elif self.kind == "edge":
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        features = x.mean((2, 3))
        return (features,) if self.kind == "outputs" else (features, features)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("op", r"node 'hardswish' \(aten.hardswish\)"),
        ("number", "adds a number"),
        ("times", "multiplies by a number"),
        ("pool", r"pools to \[2, 2\], expected 1x1"),
        ("branch", "keep branches that depend on pixel values out of forward"),
        ("edge", "pads by reflect|aten.reflection_pad2d"),
        ("outputs", "returns 1 tensors"),
    ],
)
def test_refuses_in_a_sentence_what_cannot_be_written(kind, sentence) -> None:
    with pytest.raises(QuantizeError, match=sentence) as caught:
        trace(Wrong(kind), 32)
    assert str(caught.value).startswith("Wrong: ")
