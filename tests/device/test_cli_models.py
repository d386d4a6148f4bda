"""`wastebin models`: what goes to stdout, what to stderr, and with which exit status."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import LABELS
from signed import make_key, signed_bundle, signer_line, tar_of
from stores import flip, prove

from device.bundle import Bundle
from device.cli import run_app
from device.cli_models import refuse_root
from device.errors import BundleMismatch, ReleaseError
from device.events import EventLog
from device.intake import patient_reader
from device.release_state import State
from device.releases import ReleaseStore

Captured = pytest.CaptureFixture[str]
Send = Callable[[bytes], None]
T0 = 1_790_000_000
BINS_OF_THREE = f"""
[[bin]]
name = "Recycling"
takes = {json.dumps(LABELS)}
[[bin]]
name = "Rest"
residual = true
[outputs]
build = "leds"
[[outputs.led]]
bin = "Recycling"
pin_bcm = 5
[[outputs.led]]
bin = "Rest"
pin_bcm = 6
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A bin of the test's own: everything it writes lies in the test's folder."""
    path = tmp_path / "bin.toml"
    path.write_text('[models]\nstore = "models"\nsigners = "allowed_signers"\n[events]\npath = "events.db"\n')
    return str(path)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    key = make_key(tmp_path / "key")
    (tmp_path / "allowed_signers").write_text(signer_line(key))
    return key


@pytest.fixture
def bundle(tmp_path: Path, key: Path) -> Bundle:
    return signed_bundle(tmp_path / "bundle", key, T0)


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "models", tmp_path / "allowed_signers")


def models(config: str, *words: str) -> int:
    return run_app(["models", *words, "--config", config])


def lines(capsys: Captured) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Send]:
    """Puts bytes onto stdin."""
    with ExitStack() as stack:

        def put(data: bytes) -> None:
            (tmp_path / "stdin").write_bytes(data)
            monkeypatch.setattr("sys.stdin", stack.enter_context((tmp_path / "stdin").open("rb")))

        yield put


def test_an_upload_is_taken_in_and_a_second_one_is_told(
    config: str, bundle: Bundle, send: Send, capsys: Captured
) -> None:
    for already in (False, True):
        send(tar_of(bundle.path))
        assert models(config, "receive", "--json") == 0
        assert lines(capsys) == [{"release": bundle.version, "already": already}]
    send(tar_of(bundle.path))
    assert models(config, "receive") == 0
    assert capsys.readouterr() == (f"{bundle.version}: already here\n", "")


def test_an_upload_that_is_cut_is_exit_1_and_one_sentence(
    config: str, bundle: Bundle, send: Send, capsys: Captured
) -> None:
    send(tar_of(bundle.path)[:5000])
    assert models(config, "receive", "--json") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: upload: the tar ends within ")


def test_what_is_there_is_listed_told_and_checked(
    config: str, bundle: Bundle, store: ReleaseStore, capsys: Captured
) -> None:
    assert models(config, "list") == 0
    assert models(config, "install", str(bundle.path)) == 0
    assert capsys.readouterr() == (f"{bundle.version}: taken in\n", "")
    assert models(config, "verify", bundle.version) == 0
    assert capsys.readouterr() == (f"{bundle.version}: signed and whole\n", "")
    assert models(config, "list", "--json") == 0
    told = {"name": "mean-colour", "created_at": "2026-09-21T14:13:20Z", "role": "", "problem": ""}
    assert lines(capsys) == [{"release": bundle.version, **told}]
    store.begin_trial(bundle.version)
    assert models(config, "list") == 0
    assert capsys.readouterr().out == f"{bundle.version}  trial     mean-colour   2026-09-21T14:13:20Z\n"
    assert models(config, "verify", "1790000000-000000000000", "--json") == 1
    assert "no such release" in capsys.readouterr().err


def test_the_status_names_what_runs_and_whether_anything_does(
    config: str, bundle: Bundle, store: ReleaseStore, tmp_path: Path, capsys: Captured
) -> None:
    assert models(config, "status", "--json") == 0
    (first,) = lines(capsys)
    assert State(**{name: first.pop(name) for name in State.__dataclass_fields__}) == State()  # type: ignore[arg-type]
    assert first == {"serving": None, "way_back": None, "service": False}
    models(config, "install", str(bundle.path))
    store.begin_trial(bundle.version)
    capsys.readouterr()
    with EventLog(tmp_path / "events.db"):
        assert models(config, "status", "--json") == 0
    (second,) = lines(capsys)
    assert (second["phase"], second["serving"], second["tries_left"], second["service"]) == (
        "trial", bundle.version, 3, True,
    )  # fmt: skip
    assert models(config, "status") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"in use:   {bundle.version}, no bin is running", "way back: the factory model"]
    assert told[2].startswith(f"last:     {bundle.version} is on trial, 3 tries left, ")


def test_a_person_goes_back(config: str, bundle: Bundle, store: ReleaseStore, capsys: Captured) -> None:
    assert models(config, "rollback") == 1
    assert "nothing is behind it" in capsys.readouterr().err
    models(config, "install", str(bundle.path))
    store.begin_trial(bundle.version)
    store.commit(bundle.version)
    capsys.readouterr()
    assert models(config, "rollback") == 0
    assert capsys.readouterr().out == (
        f"the factory model is in use; {bundle.version} was rolled back: a person asked for it\n"
    )
    assert store.read_state().serving is None


def test_a_release_is_tried_when_a_bin_runs_and_a_waiting_caller_is_told_that_none_does(
    config: str, bundle: Bundle, store: ReleaseStore, capsys: Captured
) -> None:
    models(config, "install", str(bundle.path))
    capsys.readouterr()
    assert models(config, "activate", bundle.version, "--json") == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["phase"] for line in out.splitlines()] == ["trial"]
    assert err == f"{bundle.version}: no wastebin is running; it is tried when one starts\n"
    assert models(config, "activate", bundle.version, "--json", "--wait", "5") == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["phase"] for line in out.splitlines()] == ["trial"]
    assert err == f"error: {bundle.version}: no wastebin is running; it is tried when one starts\n"
    store.commit(bundle.version)
    assert models(config, "activate", bundle.version, "--json", "--wait", "5") == 0
    assert [line["phase"] for line in lines(capsys)] == ["committed"]


def test_a_key_for_shipping_runs_what_it_may(
    config: str, bundle: Bundle, send: Send, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "/opt/wastebin/bin/wastebin models receive --json")
    send(tar_of(bundle.path))
    assert models(config, "remote") == 0
    assert lines(capsys) == [{"release": bundle.version, "already": False}]
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", f"wastebin models verify {bundle.version[:-1]}x")
    assert models(config, "remote") == 1
    assert "no name of a release" in capsys.readouterr().err
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "wastebin models receive --bogus")
    assert models(config, "remote") == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sh", "wastebin models install /etc", None])
def test_a_key_for_shipping_runs_nothing_else(
    config: str, command: str | None, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("SSH_ORIGINAL_COMMAND", raising=False)
    if command is not None:
        monkeypatch.setenv("SSH_ORIGINAL_COMMAND", command)
    assert models(config, "remote") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: models remote: {command or ''!r} is not allowed with this key, expected ")


def test_root_does_not_write_into_the_store_of_another_user(tmp_path: Path) -> None:
    refuse = [tmp_path / "state", tmp_path / "state" / "models"]
    refuse[0].mkdir()
    if os.geteuid() == 0:
        refuse_root(refuse[1])
        os.chown(refuse[0], 65534, -1)
    for root in refuse:
        with pytest.raises(ReleaseError, match=r"state: belongs to .+, not to root; use: sudo -u .+ wastebin"):
            refuse_root(root)


def test_a_sender_that_says_nothing_for_long_has_gone() -> None:
    reading, writing = os.pipe()
    try:
        read = patient_reader(reading, 0.0)
        os.write(writing, b"1234")
        assert read(3) == b"123"
        assert read(3) == b"4"
        with pytest.raises(BundleMismatch, match="nothing came for 0 s; the link is dead"):
            read(3)
    finally:
        os.close(writing)
        assert read(3) == b""
        os.close(reading)


def test_a_bin_needs_a_place_only_for_the_materials_of_the_model_that_serves(
    config: str, bundle: Bundle, store: ReleaseStore, tmp_path: Path, capsys: Captured
):
    Path(config).write_text(Path(config).read_text() + BINS_OF_THREE)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((40, 40, 3), 90, np.uint8))
    ask = ["classify", str(tmp_path / "grey.png"), "--config", config]

    assert run_app(ask) == 1
    assert "material 'organic' of the model has no bin" in capsys.readouterr().err
    release = prove(store, bundle)
    assert run_app(ask) == 0
    assert capsys.readouterr().out

    # A bin that finds its release damaged goes back to another by itself; it must come so far.
    flip(store.path_of(release) / "manifest.json", 5)
    assert run_app(["run", "--config", config, "--camera", "sim:seed=1", "--pins", "mock", "--for", "1"]) == 1
    assert "no bin for cardboard, organic, plastic, trash" in capsys.readouterr().err
