"""The whole way in one command: a measured model passes the gate and goes to a bin, over a real sshd."""

import getpass
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from conftest import Drawn
from loopback import Sshd, program, running_sshd

from device.bundle import load_bundle, write_bundle
from trainer.cli import app, run_app
from trainer.errors import GateError

FAKE = Path(__file__).resolve().parents[1] / "fake_bin.py"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("ssh") / "sshd") as started:
        yield started


@pytest.fixture(scope="module")
def measured(finished: Path, drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that needs only to be packed; not to be changed."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("measured") / "run"))
    rest = ["--run", str(run), "--recipe", str(drawn.recipe_path)]
    for step in ("quantize", "evaluate"):
        assert run_app([step, *rest]) == 0
    assert run_app(["pack", str(run.parent / "packed"), *rest]) == 0
    packed = load_bundle(run.parent / "packed")
    # Packed in the same second it would be the very same bundle, and nothing to compare with.
    sequence = packed.manifest.sequence - 1000
    created_at = datetime.fromtimestamp(sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = replace(packed.manifest, sequence=sequence, created_at=created_at)
    files = {name: (packed.path / name).read_bytes() for name in packed.manifest.files}
    write_bundle(run.parent / "bundle", before, files, "# tiny\n")
    return run


class Way:
    """A run, a bin that runs a model of its own, and the command between them."""

    def __init__(self, measured: Path, drawn: Drawn, sshd: Sshd, folder: Path) -> None:
        self.run = Path(shutil.copytree(measured, folder / "run"))
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copytree(measured.parent / "bundle", self.bin / "serving")
        (self.bin / "verdict").write_text("good")
        (self.bin / "state.json").write_text(
            json.dumps({"phase": "idle", "release": None, "current": None, "reason": "", "changed_at": ""})
        )
        wastebin = program(self.bin / "wastebin", "-I", "-S", str(FAKE), str(self.bin))
        known = sshd.known_hosts(folder / "known")
        fleet = folder / "fleet.toml"
        fleet.write_text(
            f'identity = "{sshd.client_key}"\nknown_hosts = "{known}"\n'
            f'[[host]]\naddress = "{getpass.getuser()}@127.0.0.1:{sshd.port}"\nwastebin = "{wastebin}"\n'
        )
        keys = folder / "keys"
        assert run_app(["keys", "init", "--keys", str(keys)]) == 0
        self.words = [
            "distill-and-ship", f"drawn={drawn.pictures}", "--recipe", str(drawn.recipe_path), "--run", str(self.run),
            "--fleet", str(fleet), "--keys", str(keys),
        ]  # fmt: skip

    def go(self, *more: str) -> int:
        return run_app([*self.words, *more])

    def go_bare(self) -> None:
        """As `go`, but an error stays one."""
        typer.main.get_command(app).main(self.words, standalone_mode=False)

    def asked(self) -> list[str]:
        found = (self.bin / "asked").read_text().split()
        (self.bin / "asked").unlink()
        return found


@pytest.fixture
def way(measured: Path, drawn: Drawn, sshd: Sshd, tmp_path: Path) -> Way:
    return Way(measured, drawn, sshd, tmp_path)


def test_photographs_end_as_a_model_that_is_live_and_the_same_command_does_nothing_twice(
    way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    assert way.go() == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    names = [line.split(": ")[1].split(" (")[0] for line in said.splitlines() if line.startswith("step ")]
    assert names == ["data", "distill", "quantize", "evaluate", "pack", "gate", "ship"]
    assert way.asked() == ["send", "status", "receive", "activate"]
    shipped = load_bundle(way.run / "packed" / "bundle")
    assert [path.name for path in (way.run / "shipped").iterdir()] == [shipped.version]
    assert re.search(r"\n0 of \d+ pictures changed: (\d+) right now, \1 before \(the tiny \S+ that runs now\)\n", said)
    assert "shipped to 1 of 1, live since 14:02:11 UTC" in said
    assert way.go() == 0
    again = capsys.readouterr().err
    assert "pack: unchanged" in again
    assert way.asked() == ["send"]


def test_a_model_that_the_gate_refuses_is_not_shipped_unless_forced(
    way: Way, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures are few: what the candidate says is bent in place of training a model that is really worse.
    def wrong(*_: object) -> list[str]:
        return next(turns)

    turns = iter([["glass"] * 40, ["paper"] * 40] * 3)
    monkeypatch.setattr("trainer.distill_and_ship.name_all", wrong)
    records = [*load_records(way.run)]
    monkeypatch.setattr("trainer.distill_and_ship.withheld", lambda *_: records)
    with pytest.raises(GateError):
        way.go_bare()
    capsys.readouterr()
    way.asked()
    assert way.go() == 1
    said = capsys.readouterr().err
    assert "gate: worse than the tiny " in said
    assert "not shipped, 2 reasons above; more and other pictures are the cure, --force ships it all the same" in said
    assert way.asked() == ["send"]
    assert way.go("--force") == 0
    assert "train longer, or on more pictures - overridden by --force" in capsys.readouterr().err
    assert way.asked() == ["send", "status", "receive", "activate"]


def load_records(run: Path) -> "Iterator[object]":
    from trainer.dataset import Record

    for number in range(40):
        yield Record(f"{number}", f"{number}.png", "drawn", "glass", split="val")
