"""A bundle is signed once, with a key that bins know; else nothing is left beside it."""

from pathlib import Path

import pytest
from bundles import make_bundle

from device.bundle import load_bundle
from device.errors import BundleMismatch
from device.signature import check_signature
from trainer.errors import KeysError
from trainer.keys import Keys, init_keys
from trainer.sign import sign_bundle


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return init_keys(tmp_path / "keys", "anna")


def test_a_signed_bundle_is_one_that_a_bin_trusts(tmp_path: Path, keys: Keys) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    signature = sign_bundle(bundle.path, keys)
    assert signature == bundle.path / "manifest.json.sig"
    manifest = (bundle.path / "manifest.json").read_bytes()
    assert check_signature(manifest, signature.read_bytes(), keys.allowed_signers, "it") == "anna"
    assert load_bundle(bundle.path) == bundle


def test_a_signature_that_is_there_is_left_to_the_bins(tmp_path: Path, keys: Keys) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle.path / "manifest.json.sig").write_text("somebody else's")
    assert sign_bundle(bundle.path, keys).read_text() == "somebody else's"


def test_a_damaged_bundle_is_not_signed(tmp_path: Path, keys: Keys) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    bundle.model.write_bytes(bundle.model.read_bytes()[:-1])
    with pytest.raises(BundleMismatch):
        sign_bundle(bundle.path, keys)
    assert not (bundle.path / "manifest.json.sig").exists()


def test_without_a_key_it_says_how_to_make_one(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(KeysError) as caught:
        sign_bundle(bundle.path, Keys(tmp_path / "none"))
    folder = tmp_path / "none"
    assert (
        str(caught.value)
        == f"{folder / 'signing'}: no key to sign with; make one with: trainer keys init --keys {folder}"
    )


def test_a_file_that_is_no_key_is_one_sentence(tmp_path: Path, keys: Keys) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    keys.signing.write_text("no key\n")
    with pytest.raises(KeysError, match=r"signing: does not sign \(.*\); expected a private key of ssh-keygen"):
        sign_bundle(bundle.path, keys)
    assert not (bundle.path / "manifest.json.sig").exists()


def test_a_key_that_bins_would_not_know_does_not_sign(tmp_path: Path, keys: Keys) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    keys.allowed_signers.write_bytes(init_keys(tmp_path / "others", "bert").allowed_signers.read_bytes())
    with pytest.raises(KeysError, match=r"not signed by a key that .*allowed_signers names; .*signing\)$"):
        sign_bundle(bundle.path, keys)
    assert not (bundle.path / "manifest.json.sig").exists()
