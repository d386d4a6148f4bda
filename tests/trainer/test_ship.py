"""One bin over a real sshd: what it is sent, in which order it is asked, and what is made of its answers."""

import asyncio
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from loopback import Sshd, Wire, free_port, program, running_sshd
from signed import make_key, signed_bundle

from trainer.errors import ShipError
from trainer.link import Access, Host, parse_host
from trainer.ship import Outcome, Parcel, open_parcel, ship_to

FAKE = Path(__file__).resolve().parents[1] / "fake_bin.py"
T0 = 1_790_000_000
COMMITTED_AT = "2026-11-23T14:02:11.000+00:00"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("ssh") / "sshd") as started:
        yield started


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return signed_bundle(folder / "nano", make_key(folder / "key"), T0).path


@pytest.fixture(scope="module")
def parcel(bundle: Path) -> Parcel:
    return open_parcel(bundle)


@dataclass(frozen=True, slots=True)
class Bin:
    """A fake bin behind a real sshd."""

    folder: Path
    host: Host
    access: Access
    stages: list[tuple[str, float | None]]

    def ship(self, parcel: Parcel, host: Host | None = None) -> Outcome:
        """What comes out, less the time that it took."""

        def tell(stage: str, share: float | None = None) -> None:
            self.stages.append((stage, share))

        outcome = asyncio.run(ship_to(host or self.host, self.access, parcel, tell))
        return replace(outcome, took_s=0.0)

    @property
    def asked(self) -> list[str]:
        """What it was asked since the last look."""
        path = self.folder / "asked"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def thinks(self, verdict: str) -> None:
        (self.folder / "verdict").write_text(verdict)

    def knows(self, **state: object) -> None:
        begin = {"phase": "idle", "release": None, "current": None, "reason": "", "changed_at": COMMITTED_AT}
        (self.folder / "state.json").write_text(json.dumps({**begin, **state}))


@pytest.fixture
def bin_(sshd: Sshd, tmp_path: Path) -> Bin:
    folder = tmp_path / "bin"
    folder.mkdir()
    wastebin = program(folder / "wastebin", "-I", "-S", str(FAKE), str(folder))
    host = parse_host(f"127.0.0.1:{sshd.port}", str(wastebin))
    made = Bin(folder, host, Access((sshd.client_key,), sshd.known_hosts(tmp_path / "known"), has_agent=False), [])
    made.thinks("good")
    made.knows()
    return made


def test_a_parcel_holds_the_bundle_with_what_is_checked_first_in_front(bundle: Path, parcel: Parcel) -> None:
    with tarfile.open(fileobj=io.BytesIO(parcel.data)) as tar:
        members = tar.getmembers()
        content = {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    names = ["manifest.json", "manifest.json.sig", "card.md", "float.onnx", "golden.npz", "model.onnx"]
    assert list(content) == names
    assert content == {name: (bundle / name).read_bytes() for name in names}
    assert {(member.type, member.uid, member.mtime, member.uname) for member in members} == {(b"0", 0, 0, "")}
    assert open_parcel(bundle) == parcel


def test_an_unsigned_bundle_does_not_leave_the_house(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in bundle.iterdir():
        if path.suffix != ".sig":
            (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ShipError, match=r"manifest\.json\.sig: the bundle is not signed; no bin would take it"):
        open_parcel(copy)


def test_a_bin_that_likes_it_has_it_live(bin_: Bin, parcel: Parcel) -> None:
    size = len(parcel.data)
    assert bin_.ship(parcel) == Outcome(bin_.host.name, "live", "", COMMITTED_AT, size)
    assert bin_.asked == ["status", "receive", "activate"]
    assert [stage for stage, share in bin_.stages if share is None] == [
        "connecting", "asking", "probing", "on trial", "live",
    ]  # fmt: skip
    assert [share for stage, share in bin_.stages if stage in ("sending", "checking")] == [
        min(end, size) / size for end in range(32768, size + 32768, 32768)
    ]


def test_a_bin_that_has_it_is_not_sent_it_again(bin_: Bin, parcel: Parcel) -> None:
    bin_.knows(phase="committed", release=parcel.release, current=parcel.release)
    assert bin_.ship(parcel) == Outcome(bin_.host.name, "already", "", COMMITTED_AT)
    assert bin_.asked == ["status"]


def test_a_bin_that_went_back_to_it_has_it(bin_: Bin, parcel: Parcel) -> None:
    bin_.knows(phase="rolled_back", release="1799999999-0123456789ab", current=parcel.release, reason="bad")
    assert bin_.ship(parcel).result == "already"


def test_a_bin_that_is_trying_it_is_waited_for(bin_: Bin, parcel: Parcel) -> None:
    bin_.knows(phase="trial", release=parcel.release)
    assert bin_.ship(parcel) == Outcome(bin_.host.name, "live", "", COMMITTED_AT)
    assert bin_.asked == ["status", "activate"]


@pytest.mark.parametrize(
    ("verdict", "result", "detail"),
    [
        ("bad", "rolled back", "no frame was named in 30 s"),
        ("refuse", "refused", "{release}: 7 of 40 labelled pictures are worse; ship a better one"),
        ("off", "waiting", "{release}: no wastebin is running; it is tried when one starts"),
        ("full", "refused", "/var/lib/wastebin/models: 12 MiB free, expected 53 MiB; remove something else"),
    ],
)
def test_what_a_bin_has_against_it_is_handed_on(
    bin_: Bin, parcel: Parcel, verdict: str, result: str, detail: str
) -> None:
    bin_.thinks(verdict)
    outcome = bin_.ship(parcel)
    assert (outcome.result, outcome.detail) == (result, detail.format(release=parcel.release))
    assert (outcome.is_live, outcome.is_against, outcome.live_since) == (False, result != "waiting", "")


def test_a_bin_that_went_back_from_it_may_be_asked_again(bin_: Bin, parcel: Parcel) -> None:
    bin_.thinks("bad")
    assert bin_.ship(parcel).result == "rolled back"
    bin_.thinks("good")
    assert bin_.ship(parcel).result == "live"


def test_a_bin_that_is_off_is_offline(bin_: Bin, parcel: Parcel) -> None:
    outcome = bin_.ship(parcel, replace(bin_.host, port=free_port()))
    assert (outcome.result, outcome.is_against, outcome.sent_bytes) == ("offline", False, 0)


def test_a_bin_that_nobody_vouched_for_is_a_failure(bin_: Bin, parcel: Parcel) -> None:
    bin_.access.known_hosts.unlink()
    outcome = bin_.ship(parcel)
    assert (outcome.result, outcome.is_against) == ("failed", True)
    assert "its host key is not the one that" in outcome.detail


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 127", r"ended with status 127 \(without a word\); install it with: trainer provision --host 127"),
        ("echo error: old >&2; exit 2", r"ended with status 2 \(old\); install it with: trainer provision"),
        ("echo hello", r"said b'hello', expected a line of JSON; is it the wastebin of this project\?"),
        ("echo '[1]'", r"said b'\[1\]', expected a line of JSON"),
        ("true", r"said b'', expected a line of JSON"),
    ],
)
def test_something_else_in_the_programs_place_is_one_sentence(
    bin_: Bin, parcel: Parcel, script: str, says: str
) -> None:
    Path(bin_.host.wastebin).write_text(f"#!/bin/sh\n{script}\n")
    outcome = bin_.ship(parcel)
    assert outcome.result == "failed"
    with pytest.raises(ShipError, match=says):
        raise ShipError(outcome.detail)


def test_a_bin_that_took_something_else_in_is_a_failure(bin_: Bin, parcel: Parcel) -> None:
    outcome = bin_.ship(replace(parcel, release="1790000000-000000000000"))
    assert outcome.result == "failed"
    assert f"took '{parcel.release}' in, expected 1790000000-000000000000" in outcome.detail


def cut_points(end: int, size: int) -> list[int]:
    """Bytes of the whole connection after which it is cut: the first, and around those of a parcel that ends there."""
    begin = end - size
    return [0, 1, begin // 2, begin, begin + size // 2, end - 300, end - 1]


def test_a_link_that_is_cut_at_any_byte_is_mended_by_another_run(
    bin_: Bin, sshd: Sshd, parcel: Parcel, tmp_path: Path
) -> None:
    def wired(wire: Wire) -> Host:
        sshd.known_hosts(bin_.access.known_hosts, wire.port)
        return replace(bin_.host, port=wire.port)

    whole = Wire(sshd.port)
    at_stage: dict[str, int] = {}

    def tell(stage: str, share: float | None = None) -> None:
        at_stage.setdefault(stage, whole.sent)

    asyncio.run(ship_to(wired(whole), bin_.access, parcel, tell))
    for number in cut_points(at_stage["probing"], len(parcel.data)):
        bin_.knows()
        bin_.asked  # noqa: B018 - forgets what was asked before
        cut = bin_.ship(parcel, wired(Wire(sshd.port, cut_after=number)))
        assert (number, cut.result in ("offline", "lost"), cut.is_against) == (number, True, False)
        assert "activate" not in bin_.asked
        assert bin_.ship(parcel).result == "live"
