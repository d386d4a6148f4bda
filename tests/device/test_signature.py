"""A manifest counts when a key that the bin trusts has signed these very bytes for wastebin, and in no other case."""

from pathlib import Path

import pytest
from signed import make_key, sign, signer_line

from device.errors import BundleUntrusted
from device.signature import check_signature

BYTES = b'{"a": "manifest"}\n'


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key")


@pytest.fixture
def allowed(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "allowed_signers"
    path.write_text(f"# who may\n{signer_line(make_key(tmp_path / 'former'), 'former@desk')}{signer_line(key)}")
    return path


def signature_of(tmp_path: Path, key: Path, data: bytes = BYTES, namespace: str = "wastebin-bundle") -> bytes:
    (tmp_path / "signed").write_bytes(data)
    return sign(tmp_path / "signed", key, namespace)


def refusal(data: bytes, signature: bytes, allowed: Path) -> str:
    with pytest.raises(BundleUntrusted) as caught:
        check_signature(data, signature, allowed, "upload")
    return str(caught.value)


def test_a_manifest_signed_by_a_trusted_key_is_told_by_its_signer(tmp_path: Path, key: Path, allowed: Path) -> None:
    assert check_signature(BYTES, signature_of(tmp_path, key), allowed, "upload") == "trainer@desk"


def test_each_of_several_names_of_a_key_will_do(tmp_path: Path, key: Path, allowed: Path) -> None:
    allowed.write_text(signer_line(key, "*@desk,trainer", 'namespaces="wastebin-bundle,git"'))
    assert check_signature(BYTES, signature_of(tmp_path, key), allowed, "upload") == "*@desk"


@pytest.mark.parametrize("data", [BYTES + b" ", BYTES[:-1], BYTES.replace(b"a", b"b", 1), b""])
def test_other_bytes_than_the_signed_ones_are_refused(tmp_path: Path, key: Path, allowed: Path, data: bytes) -> None:
    assert refusal(data, signature_of(tmp_path, key), allowed) == (
        "upload: the signature does not fit, expected one by trainer@desk over these very bytes in the namespace "
        "wastebin-bundle; sign and ship the bundle again"
    )


def test_a_signature_made_for_something_else_is_refused(tmp_path: Path, key: Path, allowed: Path) -> None:
    assert "the signature does not fit" in refusal(BYTES, signature_of(tmp_path, key, namespace="git"), allowed)


def test_a_key_that_is_trusted_for_something_else_only_is_refused(tmp_path: Path, key: Path, allowed: Path) -> None:
    allowed.write_text(signer_line(key, options='namespaces="git"'))
    refusal(BYTES, signature_of(tmp_path, key), allowed)


def test_a_key_whose_time_is_over_is_refused(tmp_path: Path, key: Path, allowed: Path) -> None:
    allowed.write_text(signer_line(key, options='valid-before="20200101"'))
    refusal(BYTES, signature_of(tmp_path, key), allowed)


def test_a_strangers_signature_is_refused(tmp_path: Path, allowed: Path) -> None:
    assert refusal(BYTES, signature_of(tmp_path, make_key(tmp_path / "stranger")), allowed) == (
        f"upload: not signed by a key that {allowed} names; sign it with one of those, or add its key there"
    )


@pytest.mark.parametrize("signature", [b"", b"\xff" * 300, b"-----BEGIN SSH SIGNATURE-----\n"])
def test_what_is_no_signature_is_refused(allowed: Path, signature: bytes) -> None:
    assert "not signed by a key" in refusal(BYTES, signature, allowed)


@pytest.mark.parametrize("at", range(0, 290, 29))
def test_a_flipped_bit_of_the_signature_is_refused(tmp_path: Path, key: Path, allowed: Path, at: int) -> None:
    signature = bytearray(signature_of(tmp_path, key))
    signature[at] ^= 1
    refusal(BYTES, bytes(signature), allowed)


def test_without_trusted_keys_nothing_is_trusted(tmp_path: Path, key: Path) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.touch()
    assert refusal(BYTES, signature_of(tmp_path, key), missing) == (
        f"{missing}: no such file, expected the keys that may sign bundles for this bin; "
        "make a key with `trainer keys init` and put its public half there"
    )
    assert "not signed by a key" in refusal(BYTES, signature_of(tmp_path, key), empty)


def test_without_ssh_keygen_nothing_is_trusted(
    tmp_path: Path, key: Path, allowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = signature_of(tmp_path, key)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(BYTES, signature, allowed) == (
        "upload: ssh-keygen cannot check the signature ([Errno 2] No such file or directory: 'ssh-keygen'); "
        "install it with: apt install openssh-client"
    )
