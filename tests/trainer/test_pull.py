"""What bins were taught comes into a folder that `trainer data` reads: once, and under its latest label."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import photograph, save
from loopback import Sshd, free_port, program, running_sshd
from sim_bin import WASTEBIN

from device.pictures import find_pictures
from trainer.cli import run_app
from trainer.errors import DatasetError
from trainer.pull import Pulled, unpack


def tar_of(*files: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files:
            header = tarfile.TarInfo(name)
            header.size, header.type = len(data), kind
            tar.addfile(header, io.BytesIO(data))
    stream.seek(0)
    return stream


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def told(label: str, data: bytes | None, event: int, at: str) -> dict[str, object]:
    sha256 = None if data is None else digest(data)
    return {"name": None, "sha256": sha256, "label": label, "event": event, "decision": {"at": at}}


def lines(*of: dict[str, object]) -> tuple[str, bytes]:
    return "provenance.jsonl", "".join(f"{json.dumps(line)}\n" for line in of).encode()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pictures_come_once_and_move_with_their_label(tmp_path: Path) -> None:
    folder = tmp_path / "pi"
    first = [told("glass", b"A", 1, "noon"), told("glass", None, 2, "noon")]
    tar = tar_of(("looks/glass/event-1.png", b"A"), ("looks/metal/l.png", b"B"), lines(*first))
    assert unpack(tar, folder, "pi") == Pulled("pi", folder, pictures=2, new=2, moved=0, corrections=1)
    assert {name for name in tree(folder) if name.endswith(".png")} == {
        f"glass/{digest(b'A')}.png", f"metal/{digest(b'B')}.png",
    }  # fmt: skip
    again = told("paper", b"A", 1, "noon")
    tar = tar_of(("looks/paper/event-1.png", b"A"), ("looks/metal/l.png", b"B"), lines(again))
    assert unpack(tar, folder, "pi") == Pulled("pi", folder, pictures=2, new=0, moved=1, corrections=0)
    # What the bin says now of a picture replaces what it said; what it no longer says is kept.
    assert tree(folder) == {
        f"paper/{digest(b'A')}.png": b"A",
        f"metal/{digest(b'B')}.png": b"B",
        "provenance.jsonl": lines(again, first[1])[1],
    }


def test_what_a_bin_was_unsure_of_lies_beside_until_somebody_says_what_it_is(tmp_path: Path) -> None:
    folder, aside = tmp_path / "out" / "pi", tmp_path / "out-unsure" / "pi"
    nobody = {**told("", b"A", 1, "noon"), "label": None}
    pulled = unpack(tar_of(("unsure/event-1.png", b"A"), lines(nobody)), folder, "pi")
    assert pulled == Pulled("pi", folder, pictures=0, new=0, moved=0, corrections=0, unsure=1)
    assert pulled.sentence.endswith(f"; 1 of items it was unsure of, in {aside}")
    assert tree(tmp_path / "out-unsure") == {f"pi/{digest(b'A')}.png": b"A"}
    tar = tar_of(("looks/glass/event-1.png", b"A"), ("unsure/event-2.png", b"A"), lines(told("glass", b"A", 1, "noon")))
    assert unpack(tar, folder, "pi").unsure == 0
    assert tree(tmp_path / "out-unsure") == {}
    # And what was labelled once stays so, whatever the bin still has of it.
    unpack(tar_of(("unsure/event-2.png", b"A"), lines(nobody)), folder, "pi")
    assert tree(tmp_path / "out-unsure") == {}


def test_what_a_bin_has_lost_is_kept(tmp_path: Path) -> None:
    unpack(tar_of(("looks/glass/event-1.png", b"A"), lines(told("glass", b"A", 1, "noon"))), tmp_path, "pi")
    before = tree(tmp_path)
    # A new card: event 1 is another one now.
    unpack(tar_of(("looks/metal/event-1.png", b"C"), lines(told("metal", b"C", 1, "dusk"))), tmp_path, "pi")
    after = tree(tmp_path)
    assert {name: after[name] for name in before if name.endswith(".png")} == {f"glass/{digest(b'A')}.png": b"A"}
    assert len(after["provenance.jsonl"].splitlines()) == 2


@pytest.mark.parametrize(
    ("tar", "says"),
    [
        (tar_of(("looks/../../x.png", b"A")), r"sent 'looks/\.\./\.\./x\.png', expected looks/<label>/<picture>\.png"),
        (tar_of(("/looks/glass/x.png", b"A")), r"sent '/looks/glass/x\.png', expected"),
        (tar_of(("looks/glass/x.sh", b"A")), r"sent 'looks/glass/x\.sh', expected"),
        (tar_of(("looks/glass/x.png", b""), kind=tarfile.SYMTYPE), "sent .*, which is no plain file"),
        (tar_of(("looks/glass/x.png", b"A"), ("provenance.jsonl", b"{")), r"its provenance\.jsonl cannot be read"),
        (tar_of(("looks/glass/x.png", b"A")), r"sent no provenance\.jsonl, which comes last; pull again"),
        (io.BytesIO(b"hello" * 200), r"what it sent is no tar"),
        (io.BytesIO(tar_of(("looks/glass/x.png", bytes(9999))).getvalue()[:4000]), r"what it sent is no tar"),
    ],
)  # fmt: skip
def test_a_tar_of_something_else_changes_nothing(tmp_path: Path, tar: io.BytesIO, says: str) -> None:
    tar.seek(0)
    with pytest.raises(DatasetError, match=rf"^pi: {says}"):
        unpack(tar, tmp_path / "out" / "pi", "pi")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A bin with the program of this project behind the deploy key's one command."""
    folder = tmp_path_factory.mktemp("ssh")
    wastebin = program(folder / "wastebin", *WASTEBIN)
    (folder / "bin.toml").write_text('events.path = "state/events.db"\n')
    with running_sshd(folder / "sshd", f"{wastebin} models remote --config {folder / 'bin.toml'}") as started:
        yield started


def test_pictures_of_a_real_bin_are_data(sshd: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looks = sshd.client_key.parents[1] / "state" / "looks"
    for number in range(3):
        for label in ("glass", "paper"):
            save(looks / label / f"look-{number}.png", photograph(label, number))
    here, nobody = f"root@127.0.0.1:{sshd.port}", f"127.0.0.1:{free_port()}"
    known_hosts = sshd.known_hosts(tmp_path / "known")
    out = tmp_path / "pulled"
    words = ["--identity", str(sshd.client_key), "--known-hosts", str(known_hosts), "--keys", str(tmp_path)]
    assert run_app(["pull", str(out), "--host", nobody, "--host", here, *words]) == 1
    said = capsys.readouterr().err.splitlines()
    folder = out / f"root-127.0.0.1-{sshd.port}"
    assert said[0] == (
        f"{here}: 6 labelled pictures, 6 of them new, 0 under another label than before; "
        f"0 corrections without a picture; in {folder}"
    )
    assert said[1].startswith(f"error: {nobody}: cannot be reached (")
    assert sorted({ref.label for ref in find_pictures(out)} - {None}, key=str) == ["glass", "paper"]
    assert run_app(["pull", str(out), "--host", here, *words]) == 0
    assert ", 0 of them new, " in capsys.readouterr().err
    assert len(list(find_pictures(out))) == 6
