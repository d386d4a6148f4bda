"""OpenSSH's own sshd on a loopback port, and a wire that can be cut at any byte: for tests that talk to a bin."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from signed import make_key

SSHD = "/usr/sbin/sshd"
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running sshd that lets one key in.

    Attributes:
        port: on 127.0.0.1.
        host_key: its public key, `type base64`.
        client_key: the private key that it lets in.
        pid: of the process that listens.
    """

    port: int
    host_key: str
    client_key: Path
    pid: int

    @property
    def has_visitors(self) -> bool:
        """Whether a connection is open; what was started over one that was cut may run on."""
        return bool(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().strip())

    def known_hosts(self, path: Path, *ports: int) -> Path:
        """Write a file that vouches for this sshd, also behind other ports."""
        path.write_text("".join(f"[127.0.0.1]:{port} {self.host_key}\n" for port in (self.port, *ports)))
        return path


def public_line(private: Path) -> str:
    """`type base64 comment`."""
    return private.with_name(private.name + ".pub").read_text().strip()


def free_port() -> int:
    """A port on which nobody listens.

    Not one of those that the kernel gives away by itself, or a connection might have it before it is listened on.
    """
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as made, contextlib.suppress(OSError):
            made.bind(("127.0.0.1", port))
            return port


@contextmanager
def running_sshd(folder: Path, forced: str | None = None) -> Iterator[Sshd]:
    """Start a sshd in a folder of its own.

    Args:
        forced: the one command that the key may run, as the deploy key's line on a bin says it.
    """
    folder.mkdir(parents=True)
    host_key, client_key = make_key(folder / "host"), make_key(folder / "client")
    options = "" if forced is None else f'restrict,command="{forced}" '
    (folder / "authorized_keys").write_text(f"{options}{public_line(client_key)}\n")
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPasswordAuthentication no\nMaxStartups 100\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it locks up its half without privileges
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        _wait_for(port, process)
        yield Sshd(port, " ".join(public_line(host_key).split()[:2]), client_key, process.pid)
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Until it listens: its greeting is the first thing that it says."""
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as made:
            made.settimeout(DEADLINE_S)
            if made.recv(4) == b"SSH-":
                return
    raise RuntimeError(f"sshd ended with status {process.returncode}")


def program(path: Path, *words: str, after: tuple[str, ...] = ()) -> Path:
    """An executable that runs Python with these words, its own arguments, and `after`."""
    quoted = " ".join(f"'{word}'" for word in (sys.executable, *words))
    path.write_text(f'#!/bin/sh\nexec {quoted} "$@" {" ".join(after)}\n')
    path.chmod(0o755)
    return path


class Wire:
    """A TCP proxy that is cut once so many bytes have gone up, or by hand.

    Attributes:
        port: where it listens.
        sent: bytes that have gone from client to server, over all connections.
    """

    def __init__(self, to_port: int, cut_after: int | None = None, port: int = 0) -> None:
        self._to_port = to_port
        self._cut_after = cut_after
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self.sent = 0
        self._pairs: list[socket.socket] = []
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Both ends find the other gone, now; nobody gets through any more."""
        self._is_cut = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._is_cut:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to_port))
            self._pairs += [near, far]
            threading.Thread(target=self._up, args=(near, far), daemon=True).start()
            threading.Thread(target=_pump, args=(far, near), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        left = self._cut_after
        while left is None or left > 0:
            try:
                data = near.recv(65536 if left is None else min(left, 65536))
                far.sendall(data)
            except OSError:
                data = b""
            if not data:
                break
            self.sent += len(data)
            left = None if left is None else left - len(data)
        else:
            self.cut()
        for end in (near, far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
