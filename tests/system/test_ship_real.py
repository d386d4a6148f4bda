"""The whole way with real parts: OpenSSH's sshd, the deploy key's one command, the store, a bin that runs."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from bundles import replace_file
from loopback import Sshd, Wire, program, running_sshd
from signed import FIRST, sign, signed_bundle, tar_of, tree
from sim_bin import WASTEBIN, wait_for, wait_until_sorting, write_config

from device.durable import hold
from device.releases import ReleaseStore
from trainer.keys import Keys, init_keys
from trainer.link import Access, Answer, Host, bin_host, open_link
from trainer.ship import Outcome, Parcel, open_parcel, ship_to
from trainer.sign import sign_bundle

T0 = 1_790_000_000
DEADLINE_S = 180.0


@dataclass(frozen=True, slots=True)
class Site:
    """One bin that has a committed release, and the trainer who ships to it.

    Attributes:
        folder: holds `bin.toml`, `models`, `keys` and the bundles.
        old: the release that has proved itself.
    """

    folder: Path
    sshd: Sshd
    keys: Keys
    store: ReleaseStore
    old: str

    @property
    def host(self) -> Host:
        return bin_host(f"root@127.0.0.1:{self.sshd.port}")

    def access(self, *ports: int) -> Access:
        known_hosts = self.sshd.known_hosts(self.folder / "known", *ports)
        return Access((self.sshd.client_key,), known_hosts, has_agent=False)

    def bundle(self, sequence: int) -> Path:
        """A signed bundle that a test may damage."""
        return signed_bundle(self.folder / f"bundle-{sequence}", self.keys.signing, sequence).path

    def ship(self, parcel: Parcel, wire: Wire | None = None, cut_at: str = "") -> Outcome:
        """Ship over this wire, and cut it when that stage is reached."""

        def tell(stage: str, share: float | None = None) -> None:
            if wire is not None and stage == cut_at:
                wire.cut()

        host = self.host if wire is None else replace(self.host, port=wire.port)
        access = self.access() if wire is None else self.access(wire.port)
        return asyncio.run(ship_to(host, access, parcel, tell))

    def models(self) -> dict[str, bytes | str]:
        """All of the store, once nobody works on it any more; a program may outlive its link, or only begin then."""
        wait_for(lambda: not self.sshd.has_visitors and not self._is_worked_on, "the end of every visit")
        return tree(self.store.root)

    @property
    def _is_worked_on(self) -> bool:
        """Whether a process was started with this bin's configuration."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended meanwhile
                if bytes(self.folder / "bin.toml") in path.read_bytes():
                    return True
        return False


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from _site(tmp_path)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site for tests that change nothing."""
    yield from _site(tmp_path_factory.mktemp("lasting"))


def _site(folder: Path) -> Iterator[Site]:
    keys = init_keys(folder / "keys", "anna@laptop")
    config = write_config(folder)
    wastebin = program(folder / "wastebin", *WASTEBIN)
    with running_sshd(folder / "sshd", f"{wastebin} models remote --config {config}") as sshd:
        store = ReleaseStore(folder / "models", keys.allowed_signers)
        site = Site(folder, sshd, keys, store, "")
        parcel = open_parcel(site.bundle(T0))
        assert site.ship(parcel).result == "waiting"
        store.commit(parcel.release)  # in the place of a bin that runs
        yield replace(site, old=parcel.release)


def test_the_deploy_key_delivers_models_and_opens_no_shell(lasting: Site) -> None:
    async def ask(*words: str) -> Answer:
        async with open_link(lasting.host, lasting.access()) as link:
            return await link.run(words, deadline_s=DEADLINE_S)

    answer = asyncio.run(ask("sh", "-c", "id"))
    assert (answer.status, answer.out) == (2, b"")
    assert answer.complaint.startswith("models remote: 'sh -c id' is not allowed with this key")
    state = json.loads(asyncio.run(ask("wastebin", "models", "status", "--json")).out)
    assert (state["phase"], state["serving"], state["service"]) == ("committed", lasting.old, False)


def _unsigned(site: Site, path: Path) -> None:
    (path / "manifest.json.sig").unlink()


def _wrong_key(site: Site, path: Path) -> None:
    sign(path / "manifest.json", site.keys.deploy)


def _wrong_namespace(site: Site, path: Path) -> None:
    sign(path / "manifest.json", site.keys.signing, "git")


def _other_manifest(site: Site, path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace("mean-colour", "mean-odours"))


def _flipped_byte(site: Site, path: Path) -> None:
    data = bytearray((path / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "model.onnx").write_bytes(data)


def _other_model(site: Site, path: Path) -> None:
    """Its hash is in the manifest, but the manifest is not the one that was signed."""
    replace_file(path, "model.onnx", b"other")


def _extra_file(site: Site, path: Path) -> None:
    (path / "run.sh").write_text("#!/bin/sh\n")


def _missing_file(site: Site, path: Path) -> None:
    (path / "golden.npz").unlink()


@pytest.mark.parametrize(
    ("damage", "sequence", "says"),
    [
        (_unsigned, T0 + 1, "sign the bundle before it is shipped"),
        (_wrong_key, T0 + 2, "not signed by a key that "),
        (_wrong_namespace, T0 + 3, "the signature does not fit, "),
        (_other_manifest, T0 + 4, "the signature does not fit, "),
        (_flipped_byte, T0 + 5, "the copy is damaged, ship the bundle again"),
        (_other_model, T0 + 6, "the signature does not fit, "),
        (_extra_file, T0 + 7, "'run.sh' is not listed in manifest.json"),
        (_missing_file, T0 + 8, "golden.npz: missing, but manifest.json lists it"),
        (None, T0 - 1, f"sequence {T0 - 1} is older than {T0}, which ran here"),
    ],
)
def test_what_is_not_as_it_was_signed_is_refused_and_changes_nothing(
    lasting: Site, damage: object, sequence: int, says: str
) -> None:
    path = lasting.bundle(sequence)
    release = open_parcel(path).release
    if callable(damage):
        damage(lasting, path)
    names = [name for name in FIRST if (path / name).exists()]
    names += sorted(entry.name for entry in path.iterdir() if entry.name not in FIRST)
    before = lasting.models()
    outcome = lasting.ship(Parcel(release, tar_of(path, names)))
    assert (outcome.result, says in outcome.detail) == ("refused", True), outcome.detail
    assert lasting.models() == before


def test_of_two_trainers_at_once_one_is_told_to_wait(lasting: Site) -> None:
    parcel = open_parcel(lasting.bundle(T0 + 20))
    before = lasting.models()
    with hold(lasting.store.root / "incoming", wait=False):  # the other one is in the middle of it
        outcome = lasting.ship(parcel)
    assert outcome.result == "refused"
    assert outcome.detail.endswith("another upload is running; try again when it has ended")
    assert lasting.models() == before


def test_a_link_that_is_cut_leaves_the_bin_unchanged_or_finished_and_another_run_ends_it(site: Site) -> None:
    parcel = open_parcel(site.bundle(T0 + 1))
    before = site.models()
    whole = Wire(site.sshd.port)
    # The first run over a whole wire ends when the bundle is in: it shows where the bytes of the parcel lie.
    assert site.ship(parcel, whole, cut_at="probing").result == "lost"
    finished = site.models()
    name = f"releases/{parcel.release}"
    assert {entry for entry in finished if entry not in before} == {
        name, *(f"{name}/{path.name}" for path in (site.folder / f"bundle-{T0 + 1}").iterdir()),
    }  # fmt: skip
    end = whole.sent
    sequence = T0 + 1
    for number in (0, 1, end - len(parcel.data), end - len(parcel.data) // 2, end - 1):
        sequence += 1
        parcel = open_parcel(site.bundle(sequence))
        before = site.models()
        assert site.ship(parcel, Wire(site.sshd.port, cut_after=number)).result in ("offline", "lost")
        after = site.models()
        assert after == before or f"releases/{parcel.release}/manifest.json" in after
        assert site.store.read_state().serving == site.old
    # No bin runs: it is tried when one starts. A cut after that changes nothing either.
    wire = Wire(site.sshd.port)
    assert site.ship(parcel, wire, cut_at="on trial").result in ("lost", "waiting")
    wire.cut()
    outcome = site.ship(parcel)
    assert (outcome.result, outcome.sent_bytes) == ("waiting", 0)
    assert outcome.detail == f"{parcel.release}: no wastebin is running; it is tried when one starts"
    state = site.store.read_state()
    assert (state.phase, state.release, state.current) == ("trial", parcel.release, site.old)


@pytest.mark.slow
def test_a_running_bin_goes_on_when_the_link_is_cut_and_the_model_is_live(site: Site) -> None:
    bundle = site.bundle(T0 + 1)
    (bundle / "manifest.json.sig").unlink()
    sign_bundle(bundle, site.keys)
    parcel = open_parcel(bundle)
    words = [sys.executable, *WASTEBIN, "run", "--pins", "mock", "--json", "--config", str(site.folder / "bin.toml")]
    bin_ = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "HOME": str(site.folder)})
    try:
        wait_until_sorting(bin_)
        assert site.ship(parcel, Wire(site.sshd.port), cut_at="on trial").result == "lost"
        outcome = site.ship(parcel)
        assert (outcome.result in ("live", "already"), outcome.sent_bytes) == (True, 0), outcome.detail
        assert outcome.live_since == site.store.read_state().changed_at
        again = site.ship(parcel)
        assert (again.result, again.sent_bytes, again.live_since) == ("already", 0, outcome.live_since)
        assert (site.store.root / "current").resolve().name == parcel.release
    finally:
        bin_.terminate()
        bin_.communicate(timeout=DEADLINE_S)
