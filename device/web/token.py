"""Who may use the dashboard: one token of 128 bits, told once; only its scrypt hash stays.

    `wastebin dashboard token` -> TokenStore.make -> dashboard.json (hash, salt, secret) -> the token, printed once
    login -> TokenStore.admits -> a session: expiry and nonce, signed with the secret

Sessions are signed, not stored, so that a bin that starts again knows its people still; a new token has a new secret
and ends every session. It must never write the token anywhere, nor spend scrypt on what cannot be a token.
RELIABILITY.md E; scrypt with 16 MiB as RFC 7914 proposes for logins.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from device.durable import Files, replace_file
from device.errors import DashboardError
from device.event_store import iso_utc
from device.fields import build

__all__ = ["SESSION_S", "TokenStore", "dashboard_path"]

SESSION_S: Final = 30 * 24 * 3600
SCHEMA: Final = 1
N, R, P = 2**14, 8, 1
_SHAPE: Final = re.compile(r"[a-z2-7]{26}")


def dashboard_path(events_path: Path) -> Path:
    """Where a bin keeps what it knows of its token: beside its events."""
    return events_path.with_name("dashboard.json")


@dataclass(frozen=True, slots=True)
class _Key:
    """What is kept of a token; all texts but `made_at` are hexadecimal."""

    schema: int
    salt: str
    scrypt: str
    secret: str
    made_at: str


class TokenStore:
    """The token of one bin; safe to use while another process makes a new one.

    Args:
        path: of the file, see `dashboard_path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._key: _Key | None = None

    @property
    def exists(self) -> bool:
        """Whether a token was made.

        Raises:
            DashboardError: the file is damaged.
        """
        return self._read() is not None

    def make(self, *, wall_s: float) -> str:
        """Make a token, in place of any before it, and give it: 26 letters and digits in groups.

        Raises:
            DashboardError: it cannot be written.
        """
        raw = secrets.token_bytes(16)
        token = base64.b32encode(raw).decode().rstrip("=").lower()
        salt = secrets.token_bytes(16)
        key = _Key(SCHEMA, salt.hex(), _hash(token, salt).hex(), secrets.token_hex(32), iso_utc(wall_s))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            umask = os.umask(0o077)  # nobody else may read it, not even for a moment
            try:
                replace_file(Files(), self.path, json.dumps(asdict(key), indent=1).encode())
            finally:
                os.umask(umask)
            if os.geteuid() == 0:  # the bin is another user, and must read what root has made for it
                owner = self.path.parent.stat()
                os.chown(self.path, owner.st_uid, owner.st_gid)
            Files().sync(self.path.parent)
        except OSError as error:
            raise DashboardError(
                f"{self.path}: the token was not kept ({error.strerror}); run it as the user of the bin: "
                "sudo -u wastebin wastebin dashboard token"
            ) from error
        return "-".join(token[at : at + 5] for at in range(0, 26, 5))

    def admits(self, token: str) -> bool:
        """Whether this is the token; takes some 50 ms and 16 MiB when it could be.

        Raises:
            DashboardError: the file is damaged.
        """
        plain = re.sub(r"[\s-]", "", token).lower()
        key = self._read()
        if key is None or not _SHAPE.fullmatch(plain):
            return False
        return hmac.compare_digest(_hash(plain, bytes.fromhex(key.salt)), bytes.fromhex(key.scrypt))

    def open_session(self, *, wall_s: float) -> str:
        """A session for somebody who brought the token.

        Raises:
            DashboardError: there is no token.
        """
        key = self._read()
        if key is None:
            raise DashboardError("no token was made yet; run: wastebin dashboard token", 401)
        text = f"{int(wall_s) + SESSION_S}.{secrets.token_hex(16)}"
        return f"{text}.{_sign(key, text)}"

    def knows(self, session: str, *, wall_s: float) -> bool:
        """Whether this session was opened here, with the present token, and is not over.

        Raises:
            DashboardError: the file is damaged.
        """
        key = self._read()
        text, _, sign = session.rpartition(".")
        expiry = text.partition(".")[0]
        if key is None or not sign.isascii() or not hmac.compare_digest(_sign(key, text), sign):
            return False
        return expiry.isascii() and expiry.isdigit() and int(expiry) > wall_s

    def _read(self) -> _Key | None:
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._stamp:
                self._key = _parse(self.path, self.path.read_bytes())
                self._stamp = stamp
        except FileNotFoundError:
            self._stamp = self._key = None
        except OSError as error:
            raise DashboardError(
                f"{self.path}: cannot be read ({error.strerror}); give it to the user of the bin", 503
            ) from error
        return self._key


def _parse(path: Path, data: bytes) -> _Key:
    problems: list[str] = []
    try:
        key = build(_Key, json.loads(data), str(path), problems)
        if key is not None:
            for text in (key.salt, key.scrypt, key.secret):
                bytes.fromhex(text)
    except (ValueError, RecursionError):
        key = None
    if key is None or key.schema != SCHEMA:
        what = "; ".join(problems) or f"{path}: damaged"
        raise DashboardError(f"{what}; make another token: wastebin dashboard reset", 503)
    return key


def _hash(token: str, salt: bytes) -> bytes:
    return hashlib.scrypt(token.encode(), salt=salt, n=N, r=R, p=P, dklen=32)


def _sign(key: _Key, text: str) -> str:
    return hmac.new(bytes.fromhex(key.secret), text.encode(), hashlib.sha256).hexdigest()
