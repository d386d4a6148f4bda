"""What systemd hears, read from a real socket."""

import socket
from pathlib import Path

import pytest

from device.notify import Notifier, open_notifier


def listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.setblocking(False)
    return listener


def test_a_message_arrives_as_it_was_sent(tmp_path: Path) -> None:
    with listen(str(tmp_path / "notify")) as listener:
        Notifier(str(tmp_path / "notify")).send("STATUS=schön")
        assert listener.recv(100) == "STATUS=schön".encode()


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    with listen("\0wastebin-test-notify") as listener:
        Notifier("@wastebin-test-notify").send("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_nobody_who_listens_is_no_error(tmp_path: Path) -> None:
    Notifier().send("READY=1")
    Notifier(str(tmp_path / "nobody")).send("READY=1")


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    with listen(str(tmp_path / "notify")) as listener:
        for _ in range(2000):
            Notifier(str(tmp_path / "notify")).send("WATCHDOG=1")
        assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "notifier"),
    [
        ({}, Notifier()),
        ({"NOTIFY_SOCKET": ""}, Notifier()),
        ({"NOTIFY_SOCKET": "/run/n"}, Notifier("/run/n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "10000000"}, Notifier("@n", 10.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, Notifier("@n", 10.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "8"}, Notifier("@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "0"}, Notifier("@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "soon"}, Notifier("@n")),
    ],
)
def test_the_manager_is_found_in_the_environment(environ: dict[str, str], notifier: Notifier) -> None:
    assert open_notifier(environ, pid=7) == notifier
