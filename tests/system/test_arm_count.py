"""Arm instructions: the arithmetic of the gate, and the emulator itself, which must be there wherever tests run."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from bundles import make_bundle
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks import arm_same
from benchmarks.arm_count import (
    Network,
    bundle_networks,
    count_all,
    count_and_settle,
    main,
    ratios,
    settle,
    with_float_input,
)
from benchmarks.arm_emulator import CACHE, Emulator, open_emulator
from benchmarks.arm_same import compare, reference
from device.bundle import load_bundle
from device.errors import WastebinError
from device.preprocess import preprocess

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "arm"
BUNDLES = sorted(path.parent.name for path in (ROOT / "models").glob("*/manifest.json"))
PI_4, PI_5 = "cortex-a72", "cortex-a76"


# The gate


def body(int8: int, sha256: str = "of the file") -> dict[str, Any]:
    return {"name": "tiny", "files": {"int8": {"sha256": sha256, "instructions": {PI_4: int8, PI_5: 500}}}}


@pytest.mark.parametrize(("counted", "problems"), [(1_040, 0), (1_050, 0), (1_051, 1), (1_060, 1)])
def test_four_percent_more_passes_and_six_percent_fails(tmp_path: Path, counted: int, problems: int) -> None:
    assert settle(tmp_path / "tiny.json", body(1_000)) == []
    assert len(settle(tmp_path / "tiny.json", body(counted))) == problems


def test_the_sentence_says_what_has_risen_and_what_to_do(tmp_path: Path) -> None:
    settle(tmp_path / "tiny.json", body(1_000_000))
    assert settle(tmp_path / "tiny.json", body(1_060_000)) == [
        "tiny.json: int8 takes 1,060,000 instructions on cortex-a72, +6.0% against the recorded 1,000,000, at most +5% "
        "is allowed; make it cheaper, or accept it with: make arm-count UPDATE=1"
    ]


def test_four_percent_again_and_again_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    assert settle(path, body(1_000)) == []
    assert [len(settle(path, body(counted))) for counted in (1_040, 1_081)] == [0, 1]
    assert json.loads(path.read_text()) == body(1_000)


def test_what_became_cheaper_is_the_new_bound(tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    settle(path, body(1_000))
    assert settle(path, body(900, "of a new file")) == []
    assert json.loads(path.read_text()) == body(900, "of a new file")
    assert len(settle(path, body(1_000))) == 1


def test_a_dearer_file_is_accepted_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    settle(path, body(1_000))
    assert settle(path, body(2_000), update=True) == []
    assert json.loads(path.read_text()) == body(2_000)


def test_a_dearer_file_within_the_bound_is_not_taken_over_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path / "tiny.json", body(1_000))
    settle(tmp_path / "tiny.json", body(1_010))
    assert capsys.readouterr().out == ""
    settle(tmp_path / "tiny.json", body(1_010, "of a new file"))
    assert "make arm-count UPDATE=1" in capsys.readouterr().out


def test_ratios_are_what_the_table_asks_for() -> None:
    counts = {"int8": {PI_4: 40, PI_5: 20}, "float32": {PI_4: 100, PI_5: 80}}
    assert ratios(counts, {"float32": {PI_4: 300}}) == {
        "int8 / float32, cortex-a72": 0.4,
        "int8 / float32, cortex-a76": 0.25,
        "cnn4 float32 at 224 px / int8, cortex-a72": 7.5,
    }


# What is counted, and how often


@dataclass
class FakeCounter:
    """Counts bytes instead of instructions."""

    key: str = "one emulator"
    qemu: str = "7.2"
    onnxruntime: str = "1.27.0"
    times: float = 1.0
    asked: list[str] = field(default_factory=list)

    def count(self, model: Path, cpu: str) -> int:
        self.asked.append(cpu)
        return round(len(model.read_bytes()) * self.times * (2 if cpu == PI_4 else 1))


def test_what_was_counted_is_not_counted_again(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"12345")
    network = Network("tiny", "int8", file, "-")
    first, second, other = FakeCounter(), FakeCounter(), FakeCounter("another emulator")
    counts = {"tiny": {"int8": {PI_4: 10, PI_5: 5}}}
    assert [count_all([network], counter, tmp_path / "cache") for counter in (first, second, other)] == [counts] * 3
    assert [sorted(counter.asked) for counter in (first, second, other)] == [[PI_4, PI_5], [], [PI_4, PI_5]]
    file.write_bytes(b"123456")
    assert count_all([network], second, tmp_path / "cache") == {"tiny": {"int8": {PI_4: 12, PI_5: 6}}}


def test_each_bundle_has_a_record_with_versions_hashes_counts_and_ratios(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny")
    start = tmp_path / "cnn4.onnx"
    start.write_bytes(b"x" * 5 * bundle.model.stat().st_size)
    networks = bundle_networks(tmp_path / "models", tmp_path / "cache")
    networks.append(Network("cnn4", "float32", start, "-", (PI_4,)))
    records = tmp_path / "records"
    assert count_and_settle(networks, FakeCounter(), tmp_path / "cache", records, update=False) == []
    assert sorted(path.name for path in records.iterdir()) == ["cnn4.json", "tiny.json"]
    written = json.loads((records / "tiny.json").read_text())
    hashes = {kind: file["sha256"] for kind, file in written["files"].items()}
    assert hashes == {
        "int8": bundle.manifest.files["model.onnx"].sha256,
        "float32": bundle.manifest.files["float.onnx"].sha256,
    }
    size = bundle.model.stat().st_size
    assert written["files"]["int8"]["instructions"] == {PI_4: 2 * size, PI_5: size}
    assert written["ratios"]["cnn4 float32 at 224 px / int8, cortex-a72"] == 5.0
    assert {key: written[key] for key in ("name", "onnxruntime", "qemu", "threads", "inferences")} == {
        "name": "tiny",
        "onnxruntime": "1.27.0",
        "qemu": "7.2",
        "threads": 1,
        "inferences": 12,
    }


@pytest.mark.slow
def test_the_program_counts_bundles_and_cnn4_and_fails_when_they_are_dearer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny")
    found = []
    for key, times, more in (("a", 1.0, []), ("b", 1.06, []), ("b", 1.06, ["--update"]), ("b", 1.06, [])):
        status = main(
            ["--models", str(tmp_path / "models"), *more],
            open_counter=lambda cache, say: FakeCounter(key, times=times),  # noqa: B023
            cache=tmp_path / "cache",
            records=tmp_path / "records",
        )
        found.append((status, capsys.readouterr().err.count("error: ")))
    assert found == [(0, 0), (1, 5), (0, 0), (0, 0)]  # two files on two processors, and cnn4
    (start,) = (tmp_path / "cache" / "models").glob("cnn4-*.onnx")
    learned = [math.prod(constant.dims) for constant in onnx.load(start).graph.initializer]
    assert sum(learned) == 390_918 - 960  # the batch norms are folded into the convolutions
    written = json.loads((tmp_path / "records" / "tiny.json").read_text())
    assert written["files"]["int8"]["instructions"][PI_5] == round(1.06 * bundle.model.stat().st_size)


def test_a_folder_without_bundles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WastebinError, match="no bundles in it"):
        bundle_networks(tmp_path, tmp_path / "cache")


def test_the_float_file_is_counted_without_its_int8_input_and_computes_the_same() -> None:
    bundle = load_bundle(ROOT / "models" / "nano")
    assert bundle.float_model is not None
    data = bundle.float_model.read_bytes()
    bare = with_float_input(data, bundle.float_model)
    spec = bundle.manifest.input
    pixels = np.random.default_rng(1).integers(-128, 128, spec.shape, np.int8)
    numbers = (pixels.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)
    (given,) = ort.InferenceSession(data).run(["logits"], {spec.name: pixels})
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(bare, options)
    (made,) = session.run(["logits"], {session.get_inputs()[0].name: numbers})
    assert np.array_equal(given, made)
    assert with_float_input(bare, bundle.float_model) == bare


def test_a_float_file_that_uses_its_bytes_otherwise_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    with pytest.raises(WastebinError, match=r"f\.onnx: its int8 input goes to Cast"):
        with_float_input(helper.make_model(graph).SerializeToString(), Path("f.onnx"))


# What is recorded of the bundles that ship


def test_there_are_bundles() -> None:
    assert "nano" in BUNDLES


@pytest.mark.parametrize("name", BUNDLES)
def test_the_record_is_of_the_files_that_ship(name: str) -> None:
    files = load_bundle(ROOT / "models" / name).manifest.files
    recorded = json.loads((RECORDS / f"{name}.json").read_text())["files"]
    assert {kind: row["sha256"] for kind, row in recorded.items()} == {
        "int8": files["model.onnx"].sha256,
        **({"float32": files["float.onnx"].sha256} if "float.onnx" in files else {}),
    }


def test_nano_is_as_cheap_as_was_asked_for() -> None:
    found = json.loads((RECORDS / "nano.json").read_text())["ratios"]
    assert found["int8 / float32, cortex-a72"] <= 0.70
    assert found["int8 / float32, cortex-a76"] <= 0.45
    assert found["cnn4 float32 at 224 px / int8, cortex-a72"] >= 5


@pytest.mark.parametrize("name", BUNDLES)
def test_arm_named_every_val_picture_as_the_figures_do(name: str) -> None:
    manifest = load_bundle(ROOT / "models" / name).manifest
    recorded = json.loads((RECORDS / f"{name}-same.json").read_text())
    assert recorded["model_sha256"] == manifest.files["model.onnx"].sha256
    assert recorded["pictures"] >= sum(score.pictures for score in manifest.metrics.int8.values())
    everyone = dict.fromkeys((PI_4, PI_5), recorded["pictures"])
    assert {cpu: row["same_label"] for cpu, row in recorded["processors"].items()} == everyone


# The emulator


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    """Fetched the first time; kept beside the sources after that."""
    return open_emulator(CACHE, print)


def convolution(path: Path, channels: int) -> Path:
    """One 3x3 convolution of 32 x 32 pixels in float."""
    shape = [1, channels, 32, 32]
    weight = np.random.default_rng(2).normal(size=(channels, channels, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.slow
def test_a_count_repeats_and_grows_with_the_network(emulator: Emulator, tmp_path: Path) -> None:
    small, wide = convolution(tmp_path / "small.onnx", 16), convolution(tmp_path / "wide.onnx", 32)
    with ThreadPoolExecutor(2) as pool:
        first, second, twice = pool.map(lambda model: emulator.count(model, PI_4), (small, small, wide))
    assert abs(first - second) < first / 100
    multiplications = 32 * 32 * 16 * 16 * 9
    assert multiplications / 8 < first < multiplications  # four at once, and what goes with it
    assert 3 * first < twice < 5 * first


@pytest.mark.slow
def test_layers_add_up_to_the_whole(emulator: Emulator, tmp_path: Path) -> None:
    model = convolution(tmp_path / "small.onnx", 16)
    (layer,) = emulator.layers(model, PI_4)
    assert (layer.op, layer.result) == ("Conv", "float [1, 16, 32, 32]")
    whole = emulator.count(model, PI_4)
    assert whole / 2 < layer.instructions < whole


@pytest.mark.slow
def test_nano_still_costs_what_is_recorded(emulator: Emulator) -> None:
    recorded = json.loads((RECORDS / "nano.json").read_text())["files"]["int8"]["instructions"]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda cpu: emulator.count(ROOT / "models" / "nano" / "model.onnx", cpu), recorded)
    assert {cpu: now <= 1.05 * recorded[cpu] for cpu, now in zip(recorded, found, strict=True)} == {
        PI_4: True,
        PI_5: True,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLES)
def test_arm_answers_the_golden_pictures_as_the_figures_do(emulator: Emulator, name: str) -> None:
    bundle = load_bundle(ROOT / "models" / name)
    with np.load(bundle.golden) as arrays:
        pixels = np.concatenate([preprocess(rgb, bundle.manifest.input) for rgb in arrays["rgb"]])
    assert compare(bundle.model, pixels, emulator) == {
        cpu: {"same_label": len(pixels), "same_logits": len(pixels), "largest_difference": 0.0} for cpu in (PI_4, PI_5)
    }


@pytest.mark.slow
def test_a_network_that_does_not_run_there_is_named(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"no network")
    with pytest.raises(
        WastebinError, match=r"none\.onnx on emulated cortex-a72: failed with status 1 \(.*INVALID_PROTOBUF"
    ):
        emulator.count(tmp_path / "none.onnx", PI_4)


# Answers that differ


@dataclass
class FakeArm:
    """Answers as this machine does, but for one logit of one picture on one processor."""

    by: float

    def answers(self, model: Path, pixels: NDArray[np.int8], cpu: str) -> NDArray[np.float32]:
        logits = reference(model, pixels)
        logits[-1, -1] += self.by if cpu == PI_5 else 0
        return logits


@pytest.mark.parametrize(("by", "labels"), [(0.25, 3), (1000.0, 2)])
def test_another_logit_and_another_label_are_both_noticed(tmp_path: Path, by: float, labels: int) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    pixels = np.full((3, *bundle.manifest.input.shape[1:]), -127, np.int8)
    pixels[:, 0] = 127  # red
    assert compare(bundle.model, pixels, FakeArm(by)) == {
        PI_4: {"same_label": 3, "same_logits": 3, "largest_difference": 0.0},
        PI_5: {"same_label": labels, "same_logits": 2, "largest_difference": pytest.approx(by, rel=1e-3)},
    }


def test_many_pictures_are_asked_about_in_parts_and_none_is_left_out(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    pixels = np.random.default_rng(1).integers(-128, 128, (130, *bundle.manifest.input.shape[1:]), np.int8)
    asked: list[int] = []

    class Counting(FakeArm):
        def answers(self, model: Path, pixels: NDArray[np.int8], cpu: str) -> NDArray[np.float32]:
            asked.append(len(pixels))
            return super().answers(model, pixels, cpu)

    everyone = {"same_label": 130, "same_logits": 130, "largest_difference": 0.0}
    assert compare(bundle.model, pixels, Counting(by=0.0)) == {PI_4: everyone, PI_5: everyone}
    assert sum(asked) == 260
    assert max(asked) <= 64


@pytest.mark.parametrize(
    ("name", "said"), [("wrong.npz", "holds uint8 (2, 3), expected int8 (N, 3,"), ("none.npz", "cannot be read")]
)
def test_what_is_no_file_of_pictures_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    np.savez(tmp_path / "wrong.npz", pixels=np.zeros((2, 3), np.uint8))
    assert arm_same.main(["compare", "--bundle", str(ROOT / "models" / "nano"), str(tmp_path / name)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {tmp_path / name}: {said}")
