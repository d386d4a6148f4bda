"""The step: what it says, a bin's own frames, and going on where it was cut off."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Drawn, photograph, save

from device.preprocess import fit
from trainer.cli import run_app
from trainer.errors import QuantizeError
from trainer.lessons import Lesson
from trainer.quantize import arm_session
from trainer.quantize_student import frames_of, tail_batches
from trainer.stage import Stage


def frames(top: Path, count: int = 5) -> Path:
    """A bin's frames: whole pictures of another shape, in no class folder."""
    for number in range(count):
        save(top / f"2026-11-0{number + 1}.png", photograph("glass", number))
    return top


def expected(*numbers: int) -> np.ndarray:
    return np.stack([fit(photograph("glass", number), 32) for number in numbers]).transpose(0, 3, 1, 2)


def test_frames_are_fitted_as_the_device_does_and_spread_over_the_folder(tmp_path: Path) -> None:
    folder = frames(tmp_path / "bin")
    assert np.array_equal(frames_of(folder, 32, most=8), expected(0, 1, 2, 3, 4))
    assert np.array_equal(frames_of(folder, 32, most=3), expected(0, 2, 4))
    with zipfile.ZipFile(tmp_path / "bin.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"bin/deeper/{path.name}")
    assert np.array_equal(frames_of(tmp_path / "bin.zip", 32, most=8), expected(0, 1, 2, 3, 4))


def test_a_damaged_frame_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = frames(tmp_path / "bin", count=3)
    whole = (folder / "2026-11-02.png").read_bytes()
    (folder / "2026-11-02.png").write_bytes(whole[:100])
    assert np.array_equal(frames_of(folder, 32, most=8), expected(0, 2))
    # Long lines are wrapped at any place.
    assert "".join(capsys.readouterr().err.split()).startswith(f"leftout:{folder / '2026-11-02.png'}:")


def test_a_folder_without_a_picture_that_can_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "bad" / "1.png", photograph("glass", 1))
    (tmp_path / "bad" / "1.png").write_bytes(b"no picture")
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    for name, says in (
        ("missing", f"--calibrate-with: {tmp_path / 'missing'}: no such file or folder"),
        ("empty", f"--calibrate-with: {tmp_path / 'empty'}: "),
        ("bad.zip", f"--calibrate-with: {tmp_path / 'bad.zip'}: "),
        ("bad", f"--calibrate-with: {tmp_path / 'bad'}: none of 1 pictures can be read; give a bin's own frames"),
    ):
        with pytest.raises(QuantizeError) as caught:
            frames_of(tmp_path / name, 32, most=8)
        assert str(caught.value).startswith(says)
        assert "\n" not in str(caught.value)


class Counted:
    """Lessons that say which epoch they are of."""

    origin = ("test",)
    per_epoch = 4

    def __init__(self, opinion: torch.Tensor | None) -> None:
        self._opinion = opinion

    def epoch(self, number: int) -> Iterator[Lesson]:
        for batch in range(2):
            pixels = torch.full((2, 4, 4, 3), 10 * number + batch, dtype=torch.uint8)
            pixels[..., 2] = 255
            yield Lesson([0, 1], pixels, torch.ones(2, 3), self._opinion)


def test_the_tail_goes_on_with_the_lessons_that_training_would_have_had_next() -> None:
    opinion = torch.tensor([[1.0, 2.0, 3.0]] * 2)
    batches = tail_batches(Counted(opinion), trained=5)
    shown = [(pixels.shape, pixels[0, :, 0, 0].tolist(), logits) for pixels, logits in batches(1)]
    assert [(shape, colour) for shape, colour, _ in shown] == [((2, 3, 4, 4), [60 + n, 60 + n, 255]) for n in (0, 1)]
    assert [None if logits is None else logits.tolist() for _, _, logits in shown] == [opinion.tolist()] * 2
    assert [logits for _, logits in tail_batches(Counted(None), trained=5)(0)] == [None, None]


def test_says_what_it_cost_and_calibrates_on_a_bins_own_frames(
    run: Path, drawn: Drawn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--run", str(run), "--recipe", str(drawn.recipe_path)]
    folder = frames(tmp_path / "bin")
    assert run_app(["quantize", *rest, "--calibrate-with", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == (
        f"error: --calibrate-with: {tmp_path / 'none'}: no such file or folder; check the path\n"
    )
    assert run_app(["quantize", *rest, "--calibrate-with", str(folder)]) == 0
    said = "".join(capsys.readouterr().err.split())
    _, result = Stage.result_of(run, "quantize")
    report = result["report"]
    wanted = [
        f"pictures of tune and 5 of {folder}",
        f"{report['file_bytes']:,} bytes for {report['params']:,} parameters",
        f"{report['tried'][report['ranges']]:.5f} {report['ranges']} (taken)",
        f"after bias correction: {report['error']:.5f}",
        f"after cross-layer equalisation: {report['equalised_error']:.5f}",
        f"after the tail: {report['tail_error']:.5f}",
        "stays in float on Arm: nothing widths that are no multiple of 8, slow on Arm: none",
        "layers that lose most",
        *(f"{layer['alone']:.5f}" for layer in report["layers"][:5]),
    ]
    assert [text for text in wanted if "".join(text.split()) not in said] == []
    assert result["frames"] == 5
    first = (run / "quantize" / "model.onnx").read_bytes()
    assert len(arm_session(run / "quantize" / "model.onnx").get_outputs()) == 2

    # The same frames again: nothing to do. Without them: another file.
    assert run_app(["quantize", *rest, "--calibrate-with", str(folder)]) == 0
    assert "quantize: unchanged" in capsys.readouterr().err
    assert run_app(["quantize", *rest]) == 0
    assert (run / "quantize" / "model.onnx").read_bytes() != first
    assert Stage.result_of(run, "quantize")[1]["frames"] == 0
