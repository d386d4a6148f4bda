"""Two keys, made once and never replaced; what a bin needs of them stands in files of its own."""

import subprocess
from pathlib import Path

import pytest

from device.errors import BundleUntrusted
from device.signature import check_signature
from trainer.errors import KeysError
from trainer.keys import Keys, default_keys_folder, init_keys


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def public(private: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-y", "-f", private], check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split()[:2])


def test_a_trainer_gets_two_keys_and_what_a_bin_needs_of_them(tmp_path: Path) -> None:
    keys = init_keys(tmp_path / "deep" / "keys", "anna@laptop")
    assert sorted(content(keys.folder)) == [
        "allowed_signers", "authorized_keys", "deploy", "deploy.pub", "signing", "signing.pub",
    ]  # fmt: skip
    assert keys.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (keys.signing, keys.deploy)} == {0o600}
    assert keys.allowed_signers.read_text() == (
        f'anna@laptop namespaces="wastebin-bundle" {public(keys.signing)} wastebin signing anna@laptop\n'
    )
    assert keys.authorized_keys.read_text() == (
        'restrict,command="/opt/wastebin/bin/wastebin models remote --config /etc/wastebin/config.toml" '
        f"{public(keys.deploy)} wastebin deploy anna@laptop\n"
    )


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    keys = init_keys(tmp_path, "anna")
    before = content(tmp_path)
    assert init_keys(tmp_path, "somebody-else") == keys
    assert content(tmp_path) == before


@pytest.mark.parametrize("lost", ["deploy", "allowed_signers", "authorized_keys"])
def test_what_a_start_that_was_cut_off_left_out_is_made(tmp_path: Path, lost: str) -> None:
    keys = init_keys(tmp_path, "anna")
    before = content(tmp_path)
    (tmp_path / lost).unlink()
    init_keys(tmp_path, "anna")
    after = content(tmp_path)
    assert sorted(after) == sorted(before)
    # A new private key brings its new public half; nothing else may change.
    changed = {name for name in after if after[name] != before[name]}
    assert changed == ({"deploy", "deploy.pub"} if lost == "deploy" else set())
    assert public(keys.deploy) == " ".join((tmp_path / "deploy.pub").read_text().split()[:2])


def test_the_signing_key_vouches_for_bundles_and_for_nothing_else(tmp_path: Path) -> None:
    keys = init_keys(tmp_path, "anna")
    for namespace, key in (("wastebin-bundle", keys.signing), ("git", keys.signing), ("wastebin-bundle", keys.deploy)):
        signed = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key],
            input=b"text",
            capture_output=True,
            check=True,
        ).stdout
        if (namespace, key) == ("wastebin-bundle", keys.signing):
            assert check_signature(b"text", signed, keys.allowed_signers, "it") == "anna"
        else:
            with pytest.raises(BundleUntrusted):
                check_signature(b"text", signed, keys.allowed_signers, "it")


@pytest.mark.parametrize("name", ["", "anna laptop", 'a"b', "a\nb", "änna", "@", "a,b"])
def test_a_name_that_would_break_the_line_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeysError, match=r"^--name .*: expected letters, digits and @\.-_ only, such as anna@laptop$"):
        init_keys(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


def test_a_file_in_the_folders_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeysError, match=r"keys: keys cannot be made there \(File exists\); give another with --keys$"):
        init_keys(tmp_path / "keys", "anna")


def test_keys_lie_where_settings_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert Keys(default_keys_folder()).signing == tmp_path / "wastebin" / "signing"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/anna")
    assert default_keys_folder() == Path("/home/anna/.config/wastebin")
