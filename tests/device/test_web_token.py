"""The token is told once and kept as a hash; sessions end with it."""

import json
from pathlib import Path

import pytest

from device.errors import DashboardError
from device.web.logins import Logins
from device.web.token import SESSION_S, TokenStore

NOW_S = 1_800_000_000.0


@pytest.fixture
def tokens(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "state" / "dashboard.json")


def test_there_is_none_until_one_is_made(tokens: TokenStore):
    assert not tokens.exists
    assert not tokens.admits("aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a")
    assert not tokens.knows("1.2.3", wall_s=NOW_S)
    with pytest.raises(DashboardError, match="wastebin dashboard token"):
        tokens.open_session(wall_s=NOW_S)


def test_the_token_opens_and_nothing_else_does(tokens: TokenStore):
    token = tokens.make(wall_s=NOW_S)
    assert len(token.replace("-", "")) == 26  # 128 bits in letters and digits
    assert tokens.admits(token)
    assert tokens.admits(f"  {token.upper().replace('-', ' ')}\n")
    other = ("b" if token[0] == "a" else "a") + token[1:]
    assert [tokens.admits(each) for each in ("", other, token[:-1], token + "a", "é" * 26, "a" * 5000)] == [False] * 6


def test_the_token_itself_is_not_on_the_disk(tokens: TokenStore):
    token = tokens.make(wall_s=NOW_S)
    text = tokens.path.read_text()
    assert token not in text
    assert token.replace("-", "") not in text
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tokens.path.parent.iterdir()] == ["dashboard.json"]


def test_a_session_lasts_a_month_and_survives_a_restart(tokens: TokenStore):
    tokens.make(wall_s=NOW_S)
    session = tokens.open_session(wall_s=NOW_S)
    again = TokenStore(tokens.path)
    assert again.knows(session, wall_s=NOW_S + SESSION_S - 1)
    assert not again.knows(session, wall_s=NOW_S + SESSION_S)


def test_a_session_cannot_be_made_up_or_lengthened(tokens: TokenStore):
    tokens.make(wall_s=NOW_S)
    expiry, nonce, sign = tokens.open_session(wall_s=NOW_S).split(".")
    forged = (
        f"{int(expiry) + 9}.{nonce}.{sign}", f"{expiry}.{nonce}.{'0' * 64}", f"{expiry}.{nonce}.", f"{expiry}.{nonce}",
        "", ".", "..", f"{expiry}.{nonce}.é", f"٣.{nonce}.{sign}",
    )  # fmt: skip
    assert [tokens.knows(each, wall_s=NOW_S) for each in forged] == [False] * len(forged)


def test_another_token_ends_every_session_at_once_also_in_a_running_bin(tokens: TokenStore):
    first = tokens.make(wall_s=NOW_S)
    running = TokenStore(tokens.path)
    session = running.open_session(wall_s=NOW_S)
    assert running.knows(session, wall_s=NOW_S)
    second = tokens.make(wall_s=NOW_S)
    assert (running.knows(session, wall_s=NOW_S), running.admits(first), running.admits(second)) == (False, False, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema": 1}',
        b"\xff",
        b"[" * 9000,
        b'{"schema":1,"salt":"x","scrypt":"","secret":"","made_at":""}',
    ],
)
def test_a_damaged_file_opens_for_nobody_and_says_what_to_do(tokens: TokenStore, data: bytes):
    tokens.path.parent.mkdir()
    tokens.path.write_bytes(data)
    with pytest.raises(DashboardError, match="wastebin dashboard reset"):
        tokens.admits("aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a")


def test_a_file_of_a_later_version_is_not_guessed_at(tokens: TokenStore):
    tokens.make(wall_s=NOW_S)
    tokens.path.write_text(json.dumps({**json.loads(tokens.path.read_text()), "schema": 2}))
    with pytest.raises(DashboardError, match="wastebin dashboard reset"):
        assert tokens.exists


def test_a_thousand_tries_a_minute_are_a_few(tokens: TokenStore):
    logins = Logins()
    allowed = sum(logins.wait_s("192.0.2.1", 1000 + 60 * n / 1000) == 0 for n in range(1000))
    assert allowed <= 5 + 5
    assert logins.wait_s("192.0.2.2", 1060) == 0  # somebody else may still


def test_a_thousand_addresses_together_are_limited_too_and_remembered_in_bounds():
    logins = Logins()
    allowed = sum(logins.wait_s(f"2001:db8::{n:x}", 1000 + 60 * n / 1000) == 0 for n in range(1000))
    assert allowed <= 20 + 20
    assert len(logins._by_address) <= 512


def test_who_waits_as_long_as_told_may_try_again():
    logins = Logins()
    now_s = 1000.0
    while (wait_s := logins.wait_s("192.0.2.1", now_s)) == 0:
        pass
    assert logins.wait_s("192.0.2.1", now_s + wait_s) == 0
