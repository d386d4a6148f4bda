"""What a network computes is checked against pictures with known answers, before the first item."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import (
    GOLDEN_RGB,
    LABELS,
    SIZE_PX,
    WEIGHTS,
    expected_logits,
    golden,
    make_bundle,
    network,
    replace_file,
    rewrite,
)
from onnx import TensorProto, helper

from device.bundle import load_bundle
from device.classify import Classifier, open_classifier
from device.errors import BundleMismatch


def refusal(path: Path) -> str:
    with pytest.raises(BundleMismatch) as caught:
        open_classifier(load_bundle(path))
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b").path


TRUE = np.stack([expected_logits(picture) for picture in GOLDEN_RGB])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_sound_bundle_answers_its_golden_pictures(tmp_path: Path, layout: str) -> None:
    classifier = open_classifier(make_bundle(tmp_path / "b", layout=layout))
    answers = np.stack([classifier.classify(picture).logits for picture in GOLDEN_RGB])
    np.testing.assert_allclose(answers, TRUE, atol=1e-4)


# The device computes something else than the trainer did


def test_golden_pictures_with_swapped_colours_are_noticed(folder: Path) -> None:
    replace_file(folder, "golden.npz", golden(np.ascontiguousarray(GOLDEN_RGB[..., ::-1]), TRUE))
    off = np.abs(expected_logits(np.ascontiguousarray(GOLDEN_RGB[0, ..., ::-1])) - TRUE[0]).max()
    text = refusal(folder)
    assert text.startswith(
        f"{folder / 'golden.npz'}: picture 0 gives logits that are {off:.3f} off, at most 0.05 is forgiven; "
    )
    assert "this machine does not compute what the trainer did" in text


def test_a_network_with_swapped_colours_is_noticed(folder: Path) -> None:
    replace_file(folder, "model.onnx", network(weights=np.ascontiguousarray(WEIGHTS[::-1])))
    assert "golden.npz: picture 0 gives logits that are" in refusal(folder)


def test_a_network_with_swapped_labels_is_noticed(folder: Path) -> None:
    replace_file(folder, "model.onnx", network(weights=np.ascontiguousarray(WEIGHTS[:, ::-1])))
    assert "golden.npz: picture 0 gives logits that are" in refusal(folder)


def test_only_the_last_picture_off_is_noticed(folder: Path) -> None:
    replace_file(folder, "golden.npz", golden(logits=TRUE + np.float32([[0.0], [0.1]])))
    assert "golden.npz: picture 1 gives logits that are 0.100 off, at most 0.05 is forgiven" in refusal(folder)


def test_a_difference_within_the_tolerance_is_forgiven(folder: Path) -> None:
    replace_file(folder, "golden.npz", golden(logits=TRUE + np.float32(0.04)))
    open_classifier(load_bundle(folder))


def test_an_expected_nan_is_no_match(folder: Path) -> None:
    replace_file(folder, "golden.npz", golden(logits=np.full_like(TRUE, np.nan)))
    assert "picture 0 gives logits that are nan off" in refusal(folder)


# The network is not what the manifest promises


SOUND = "features tensor(float)[1, 3], logits tensor(float)[1, 3], pixels tensor(int8)[1, 3, 16, 16]"


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (network(weights=WEIGHTS[:, :2]), SOUND.replace("logits tensor(float)[1, 3]", "logits tensor(float)[1, 2]")),
        (network(size_px=SIZE_PX * 2), SOUND.replace("16, 16", "32, 32")),
        (network(layout="NHWC"), SOUND.replace("[1, 3, 16, 16]", "[1, 16, 16, 3]")),
        (
            network(input_name="image"),
            "features tensor(float)[1, 3], image tensor(int8)[1, 3, 16, 16], logits tensor(float)[1, 3]",
        ),
    ],
    ids=["too few labels", "another size", "another layout", "another name"],
)  # fmt: skip
def test_inputs_and_outputs_are_the_manifests(folder: Path, model: bytes, found: str) -> None:
    replace_file(folder, "model.onnx", model)
    assert refusal(folder) == (
        f"{folder / 'model.onnx'}: has {found}, but the manifest promises {SOUND}; pack the bundle again"
    )


def test_a_network_that_takes_floats_is_refused(folder: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["logits"]),
        ],
        "float",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, SIZE_PX, SIZE_PX])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    replace_file(folder, "model.onnx", model.SerializeToString())
    assert "has logits tensor(float)[1, 3], pixels tensor(float)[1, 3, 16, 16], but the manifest promises" in refusal(
        folder
    )


@pytest.mark.parametrize("data", [b"no network", b"\x00" * 100], ids=["text", "zeros"])
def test_a_file_that_is_no_network_is_refused(folder: Path, data: bytes) -> None:
    replace_file(folder, "model.onnx", data)
    text = refusal(folder)
    assert text.startswith(f"{folder / 'model.onnx'}: onnxruntime 1.")
    assert text.endswith("; ship the bundle again, or pack it with this version")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (network(bias=float("nan")), "the network's logits are nan, nan, nan, expected finite numbers; "),
        (network(bias=float("inf")), "the network's logits are inf, inf, inf, expected finite numbers; "),
        (network(log_features=True), "the network's features are nan, "),
        (network(breaks=True), "stopped in mid-network ("),
    ],
    ids=["NaN", "infinity", "NaN features", "stops"],
)
def test_answers_that_are_no_numbers_are_refused(folder: Path, model: bytes, says: str) -> None:
    replace_file(folder, "model.onnx", model)
    text = refusal(folder)
    assert text.startswith(f"{folder / 'model.onnx'}: {says}")
    assert text.endswith("; go back to the bundle before, or ship this one again")


# golden.npz as a file


def saved(array: Any) -> bytes:
    stream = BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def with_flipped_byte(data: bytes) -> bytes:
    at = len(data) // 4
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def only(**arrays: Any) -> bytes:
    stream = BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"PK\x03\x04 and no more",
        golden()[:-30],
        with_flipped_byte(only(rgb=GOLDEN_RGB, logits=TRUE)),
        saved(TRUE),
        saved(np.array([{}], dtype=object)),
        only(rgb=GOLDEN_RGB),
        only(logits=TRUE),
        only(rgb=np.array([None]), logits=TRUE),
    ],
    ids=[
        "a byte",
        "a zip's start",
        "cut off",
        "a byte flipped",
        "one array",
        "a pickle",
        "no logits",
        "no rgb",
        "objects",
    ],
)
def test_golden_pictures_that_cannot_be_read_are_refused(folder: Path, data: bytes) -> None:
    replace_file(folder, "golden.npz", data)
    text = refusal(folder)
    assert text.startswith(f"{folder / 'golden.npz'}: cannot be read (")
    assert text.endswith("), expected arrays rgb and logits; pack the bundle again")


@pytest.mark.parametrize(
    ("rgb", "logits"),
    [
        (GOLDEN_RGB[:1], TRUE[:1]),
        (GOLDEN_RGB, TRUE[:, :2]),
        (GOLDEN_RGB.astype(np.float32), TRUE),
        (GOLDEN_RGB[0], TRUE),
        (GOLDEN_RGB[..., :2], TRUE),
        (GOLDEN_RGB[:, :0], TRUE),
        (GOLDEN_RGB, TRUE.astype("U8")),
    ],
    ids=["too few", "too few labels", "float pictures", "one picture", "two colours", "no rows", "logits as text"],
)
def test_golden_pictures_of_another_shape_are_refused(folder: Path, rgb: Any, logits: Any) -> None:
    replace_file(folder, "golden.npz", golden(rgb, logits))
    assert refusal(folder) == (
        f"{folder / 'golden.npz'}: holds {rgb.dtype} pictures {rgb.shape} and {logits.dtype} logits {logits.shape}, "
        f"expected uint8 (2, height, width, 3) and float32 (2, {len(LABELS)}); pack the bundle again"
    )


def test_another_count_than_the_manifests_is_refused(folder: Path) -> None:
    rewrite(folder, lambda table: table["golden"].update(pictures=3))
    assert "expected uint8 (3, height, width, 3) and float32 (3, 3); pack the bundle again" in refusal(folder)


def test_a_missing_float_file_is_said(folder: Path) -> None:
    (folder / "float.onnx").unlink()
    rewrite(folder, lambda table: table["files"].pop("float.onnx"))
    bundle = load_bundle(folder)
    with pytest.raises(BundleMismatch, match=r"has no float.onnx, expected one to compare with; take another bundle"):
        Classifier(bundle, use_float=True)
