"""A bundle comes in whole or not at all, from whom the bin trusts, and leaves nothing behind when it is refused."""

import errno
import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from bundles import rewrite
from signed import FIRST, Unsynced, make_key, members_of, sign, signed_bundle, tar_of, tree
from stores import T0, flip, install, new_store, open_store, prove, ten_bundles

from device.bundle import Bundle
from device.durable import hold
from device.errors import BundleError, BundleMismatch, BundleNotFound, BundleUntrusted, ReleaseError
from device.intake import read_folder
from device.release_state import State
from device.releases import Installed, ReleaseStore


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "trainer")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, key: Path) -> list[Bundle]:
    """Not to be changed by a test."""
    return ten_bundles(tmp_path_factory.mktemp("shipped"), key)


@pytest.fixture
def store(tmp_path: Path, key: Path) -> ReleaseStore:
    return new_store(tmp_path, key)


@pytest.fixture
def copy(tmp_path: Path, key: Path) -> Path:
    """A signed bundle that a test may damage."""
    return signed_bundle(tmp_path / "copy", key, T0 + 50).path


def test_an_upload_becomes_a_release_that_is_the_same_bytes(store: ReleaseStore, shipped: list[Bundle]) -> None:
    bundle = shipped[0]
    assert store.install(members_of(tar_of(bundle.path))) == Installed(bundle.version, already=False)
    assert tree(store.root / "releases" / bundle.version) == tree(bundle.path)
    assert sorted(tree(store.root)) == sorted(
        ["incoming", "refused", "releases", f"releases/{bundle.version}"]
        + [f"releases/{bundle.version}/{name}" for name in tree(bundle.path)]
    )
    assert store.read_state() == State()


def test_a_folder_is_taken_as_well(store: ReleaseStore, shipped: list[Bundle]) -> None:
    assert store.install(read_folder(shipped[0].path)) == Installed(shipped[0].version, already=False)
    assert tree(store.root / "releases" / shipped[0].version) == tree(shipped[0].path)


def test_what_is_there_is_not_taken_again(store: ReleaseStore, shipped: list[Bundle]) -> None:
    install(store, shipped[0])
    before = tree(store.root)
    head_only = members_of(tar_of(shipped[0].path, FIRST))
    assert store.install(head_only) == Installed(shipped[0].version, already=True)
    assert tree(store.root) == before


def test_a_release_that_is_damaged_is_taken_again(store: ReleaseStore, shipped: list[Bundle]) -> None:
    release = install(store, shipped[0])
    (store.path_of(release) / "model.onnx").write_bytes(b"torn")
    assert store.install(members_of(tar_of(shipped[0].path))) == Installed(release, already=False)
    assert tree(store.path_of(release)) == tree(shipped[0].path)


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        (lambda p: flip(p / "model.onnx", 100), (BundleMismatch, "model.onnx: SHA-256")),
        (lambda p: flip(p / "golden.npz", -1), (BundleMismatch, "golden.npz: SHA-256")),
        (lambda p: flip(p / "manifest.json", 20), (BundleUntrusted, "the signature does not fit")),
        (lambda p: flip(p / "manifest.json.sig", 60), (BundleUntrusted, "manifest.json: ")),
        (lambda p: (p / "model.onnx").write_bytes(b"short"), (BundleMismatch, "model.onnx has 5 bytes, but manifest")),
        (lambda p: (p / "evil.py").touch(), (BundleMismatch, "upload: 'evil.py' is not listed in manifest.json")),
        (lambda p: (p / "card.md").write_bytes(bytes(2 << 20)), (BundleMismatch, "card.md has 2097152 bytes")),
        (lambda p: (p / "model.onnx").unlink(), (BundleNotFound, "model.onnx: missing, but manifest.json lists it")),
        (lambda p: rewrite(p, lambda table: table.update(sequence=1)), (BundleUntrusted, "the signature does not fit")),
        (lambda p: (p / "manifest.json").write_bytes(bytes(5 << 20)), (BundleMismatch, "manifest.json has 5242880 b")),
        (lambda p: (p / "manifest.json.sig").write_bytes(bytes(1 << 20)), (BundleUntrusted, "sig has 1048576 bytes")),
    ],
)  # fmt: skip
def test_a_damaged_bundle_is_refused_and_the_store_stays_byte_for_byte(
    store: ReleaseStore,
    shipped: list[Bundle],
    copy: Path,
    damage: Callable[[Path], object],
    refusal: tuple[type[BundleError], str],
) -> None:
    prove(store, shipped[0])
    before = tree(store.root)
    damage(copy)
    error, sentence = refusal
    with pytest.raises(error, match=sentence):
        store.install(members_of(tar_of(copy)))
    assert tree(store.root) == before
    with pytest.raises(error):
        store.install(read_folder(copy))
    assert tree(store.root) == before


@pytest.mark.parametrize("namespace", ["git", "file"])
def test_a_signature_for_something_else_is_refused(store: ReleaseStore, copy: Path, key: Path, namespace: str) -> None:
    sign(copy / "manifest.json", key, namespace)
    with pytest.raises(BundleUntrusted):
        store.install(members_of(tar_of(copy)))


def test_a_strangers_bundle_is_refused_before_anything_is_written(store: ReleaseStore, copy: Path) -> None:
    sign(copy / "manifest.json", make_key(copy.parent / "stranger"))
    with pytest.raises(BundleUntrusted, match="not signed by a key that"):
        store.install(members_of(tar_of(copy, FIRST)))


@pytest.mark.parametrize("names", [["model.onnx"], ["manifest.json", "model.onnx"], ["manifest.json"], []])
def test_an_unsigned_upload_is_refused(store: ReleaseStore, shipped: list[Bundle], names: list[str]) -> None:
    expected = "expected manifest.json.sig" if names[:1] == ["manifest.json"] else "expected manifest.json at"
    with pytest.raises(BundleError, match=expected):
        store.install(members_of(tar_of(shipped[0].path, names)))


def test_an_unsigned_folder_is_refused(store: ReleaseStore, copy: Path) -> None:
    (copy / "manifest.json.sig").unlink()
    with pytest.raises(BundleNotFound, match=r"manifest.json.sig: missing, expected a signed bundle"):
        store.install(read_folder(copy))


def test_an_upload_that_ends_early_is_refused_at_every_length(store: ReleaseStore, shipped: list[Bundle]) -> None:
    prove(store, shipped[0])
    before = tree(store.root)
    data = tar_of(shipped[1].path).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    for size in (*range(0, len(data), 509), len(data) - 1, len(data), len(data) + 512, len(data) + 1023):
        with pytest.raises(BundleError, match="the link was cut"):
            store.install(members_of((data + bytes(1024))[:size]))
        assert tree(store.root) == before
    assert store.install(members_of(data + bytes(1024))) == Installed(shipped[1].version, already=False)


def test_a_file_that_comes_twice_is_refused(store: ReleaseStore, shipped: list[Bundle]) -> None:
    for name in ("model.onnx", "card.md"):
        with pytest.raises(BundleMismatch, match=f"{name} came twice"):
            store.install(members_of(tar_of(shipped[0].path, [*FIRST, name, name])))


@pytest.mark.parametrize("name", FIRST)
def test_a_second_manifest_or_signature_is_refused(store: ReleaseStore, shipped: list[Bundle], name: str) -> None:
    with pytest.raises(BundleMismatch, match=f"'{name}' is not listed"):
        store.install(members_of(tar_of(shipped[0].path, [*FIRST, name])))


def hostile(kind: bytes, name: str, *, size: int = 0, target: str = "") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, target
    return entry.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (hostile(tarfile.SYMTYPE, "model.onnx", target="/etc/passwd"), "'model.onnx' is no plain file"),
        (hostile(tarfile.LNKTYPE, "model.onnx", target="card.md"), "'model.onnx' is no plain file"),
        (hostile(tarfile.DIRTYPE, "model.onnx"), "is no plain file"),
        (hostile(tarfile.FIFOTYPE, "model.onnx"), "'model.onnx' is no plain file"),
        (hostile(tarfile.CHRTYPE, "model.onnx"), "'model.onnx' is no plain file"),
        (hostile(tarfile.GNUTYPE_SPARSE, "model.onnx"), "'model.onnx' is no plain file"),
        (hostile(tarfile.XHDTYPE, "model.onnx", size=1 << 32), "'model.onnx' is no plain file"),
        (hostile(tarfile.GNUTYPE_LONGNAME, "././@LongLink", size=1 << 32), "is no plain file"),
        (hostile(tarfile.REGTYPE, "../../evil"), "'../../evil' is not listed"),
        (hostile(tarfile.REGTYPE, "/etc/evil"), "'/etc/evil' is not listed"),
        (hostile(tarfile.REGTYPE, "./model.onnx"), "'./model.onnx' is not listed"),
        (hostile(tarfile.REGTYPE, "a" * 90 + "/" + "b" * 90), "is no plain file"),
        (hostile(tarfile.REGTYPE, "model.onnx", size=(1 << 33) - 1), "model.onnx has 8589934591 bytes, but"),
        (hostile(tarfile.REGTYPE, "model.onnx")[:148] + b"00000000" + bytes(356), "a header of the tar is damaged"),
        (b"\xff" * 512, "a header of the tar is damaged"),
    ],
)  # fmt: skip
def test_anything_but_plain_files_of_the_bundle_is_refused(
    store: ReleaseStore, shipped: list[Bundle], block: bytes, sentence: str
) -> None:
    install(store, shipped[0])
    before = tree(store.root.parent)
    head = tar_of(shipped[1].path, FIRST).rstrip(b"\0")
    data = head + bytes(-len(head) % 512) + block + bytes(4096)
    with pytest.raises(BundleMismatch, match=sentence):
        store.install(members_of(data))
    assert tree(store.root.parent) == before


def test_a_folder_with_a_link_in_it_is_refused(store: ReleaseStore, copy: Path) -> None:
    (copy / "model.onnx").rename(copy.parent / "elsewhere")
    (copy / "model.onnx").symlink_to(copy.parent / "elsewhere")
    with pytest.raises(BundleNotFound, match=r"model.onnx: cannot be read"):
        store.install(read_folder(copy))


def test_a_second_upload_is_told_that_one_is_running(store: ReleaseStore, shipped: list[Bundle]) -> None:
    install(store, shipped[0])
    before = tree(store.root)
    with hold(store.root / "incoming", wait=False), pytest.raises(ReleaseError, match="another upload is running"):
        install(store, shipped[1])
    assert tree(store.root) == before
    install(store, shipped[1])


def test_an_upload_needs_room_for_three_of_it_and_50_mib(
    tmp_path: Path, store: ReleaseStore, shipped: list[Bundle]
) -> None:
    needed = 3 * sum(entry.size for entry in shipped[0].manifest.files.values()) + (50 << 20)
    with pytest.raises(ReleaseError, match="49 MiB free, expected 50"):
        install(open_store(tmp_path, free_bytes=needed - 1 - (1 << 20)), shipped[0])
    with pytest.raises(ReleaseError, match="MiB free, expected"):
        install(open_store(tmp_path, free_bytes=needed - 1), shipped[0])
    install(open_store(tmp_path, free_bytes=needed), shipped[0])


class FullDisk(Unsynced):
    """Takes so many more bytes, and then none."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        data = b"".join(chunks)
        super().write(path, [data[: self.room_bytes]])
        self.room_bytes -= len(data)
        if self.room_bytes < 0:
            self.room_bytes = 0
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_disk_that_gets_full_leaves_the_store_as_it_was(
    tmp_path: Path, store: ReleaseStore, shipped: list[Bundle]
) -> None:
    prove(store, shipped[0])
    before = tree(store.root)
    size = sum(path.stat().st_size for path in shipped[1].path.iterdir())
    for room_bytes in (0, 100, size // 2, size - 1):
        with pytest.raises(ReleaseError, match="No space left on device; expected a disk with room"):
            install(open_store(tmp_path, FullDisk(room_bytes)), shipped[1])
        assert tree(store.root) == before
    release = install(open_store(tmp_path, FullDisk(size)), shipped[1])
    before = tree(store.root)
    for step in (lambda s: s.begin_trial(release), lambda s: s.roll_back("asked"), lambda s: s.refuse(release, "slow")):
        with pytest.raises(ReleaseError, match="No space left on device"):
            step(open_store(tmp_path, FullDisk(10)))
        assert tree(store.root) == before


def test_a_folder_that_may_not_be_made_is_told(tmp_path: Path, store: ReleaseStore, shipped: list[Bundle]) -> None:
    store.root.touch()
    with pytest.raises(ReleaseError, match=r"models: .*expected a disk with room, and a folder that this user may"):
        install(store, shipped[0])


def test_debris_of_a_power_cut_is_cleared_by_the_next_upload(store: ReleaseStore, shipped: list[Bundle]) -> None:
    install(store, shipped[0])
    (store.root / "incoming" / "half").mkdir()
    (store.root / "incoming" / "half" / "model.onnx").touch()
    install(store, shipped[1])
    assert list((store.root / "incoming").iterdir()) == []


def test_a_tar_by_gnu_tar_is_read(store: ReleaseStore, shipped: list[Bundle]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in tree(shipped[0].path):
            tar.add(shipped[0].path / name, name) if name in FIRST else None
        for name in tree(shipped[0].path):
            tar.add(shipped[0].path / name, name) if name not in FIRST else None
    assert store.install(members_of(stream.getvalue())).release == shipped[0].version
