"""The command line: what went wrong is one sentence on stderr, and nothing but results goes to stdout."""

import zipfile
from pathlib import Path

import pytest
from conftest import Drawn

from trainer.cli import app, run_app
from trainer.errors import DatasetError

COMMANDS = [
    "build", "data", "views", "teach", "distill", "quantize", "evaluate", "probe", "report", "pack", "bench",
    "ship", "distill-and-ship", "pull", "provision", "upgrade",
]  # fmt: skip


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_these_are_the_commands() -> None:
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert [name.replace("_", "-") for name in names] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: trainer {command} ")
    assert f"Example: trainer {command} " in text


def test_no_command_shows_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app([]) == 2
    captured = capsys.readouterr()
    assert all(f"  {command} " in captured.out + captured.err for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dats"], "No such command 'dats'"),
        (["data"], "Missing argument"),
        (["distill", "--epochs", "3"], "No such option: --epochs"),
        (["pack"], "Missing argument 'out'"),
    ],
)
def test_a_wrong_command_line_is_said_with_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(arguments) == 2
    assert says in said(capsys)


def test_a_missing_source_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["data", str(tmp_path / "no.zip"), "--run", str(tmp_path / "run")]) == 1
    assert said(capsys) == (
        f"error: {tmp_path / 'no.zip'}: no such folder or archive; give a folder of class folders or a zip of them\n"
    )


def test_a_zip_that_leads_out_of_itself_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../glass/1.png", b"")
    assert run_app(["data", str(tmp_path / "bad.zip"), "--run", str(tmp_path / "run")]) == 1
    text = said(capsys)
    assert text.startswith(f"error: {tmp_path / 'bad.zip'}: the name '../glass/1.png' leads out of the archive; ")
    assert text.count("\n") == 1


@pytest.mark.parametrize("count", [0, 2])
def test_a_class_with_too_few_pictures_is_one_sentence(
    drawn: Drawn, tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few" / "paper").mkdir(parents=True)
    for name in ("glass", "metal"):
        (tmp_path / "few" / name).symlink_to(drawn.pictures / name)
    for number in range(count):
        (tmp_path / "few" / "paper" / f"{number}.png").write_bytes(
            (drawn.pictures / "paper" / f"{number:02d}.png").read_bytes()
        )
    rest = ["--run", str(tmp_path / "run"), "--recipe", str(drawn.recipe_path)]
    assert run_app(["data", str(tmp_path / "few"), *rest]) == 1
    assert said(capsys).splitlines()[-1] == (
        f"error: label 'paper' has {count} pictures, expected at least 10; "
        "add a source that has it, or take it out of the recipe's data.labels"
    )
    # A step that failed is not done, and the next one says which one is missing.
    assert run_app(["distill", *rest]) == 1
    assert said(capsys) == (
        f"error: {tmp_path / 'run' / 'data'}: this step has not been finished; "
        f"run: trainer data --run {tmp_path / 'run'}\n"
    )


@pytest.mark.parametrize(
    ("step", "missing"), [("distill", "data"), ("quantize", "data"), ("evaluate", "data"), ("pack", "evaluate")]
)
def test_a_step_before_its_time_names_the_one_to_run(
    step: str, missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = [step, *(["out"] if step == "pack" else []), "--run", str(run)]
    assert run_app(arguments) == 1
    assert said(capsys) == (
        f"error: {run / missing}: this step has not been finished; run: trainer {missing} --run {run}\n"
    )


def test_every_problem_of_a_recipe_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.toml"
    path.write_text('name = "my"\nnet = 7\nsize_px = "large"\ndata.labels = ["a", "b"]\ntrain.epochs = 1\n')
    assert run_app(["distill", "--recipe", str(path)]) == 1
    assert said(capsys).splitlines() == [
        f"error: {path}.net is 7, expected a text",
        f"error: {path}.size_px is 'large', expected a whole number",
        f"error: {path}.train has no 'pictures_per_epoch'; expected a whole number",
    ]


def test_debug_shows_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASTEBIN_DEBUG", "1")
    with pytest.raises(DatasetError):
        run_app(["data", str(tmp_path / "no.zip"), "--run", str(tmp_path / "run")])
