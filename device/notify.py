"""Tell the service manager how the bin is: ready, alive, stopping.

    health -> Notifier.send -> datagram to $NOTIFY_SOCKET -> systemd (sd_notify(3), a protocol of one line)

Without systemd there is nobody to tell, and nothing happens. It must never block or end the bin: a message that does
not arrive is a watchdog that is not fed, and systemd acts on that by itself.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Notifier", "open_notifier"]


@dataclass(frozen=True, slots=True)
class Notifier:
    """The way to the service manager.

    Attributes:
        address: of its socket as systemd writes it, `@` for an abstract one; None where nobody listens.
        watchdog_s: it wants to hear `WATCHDOG=1` at least so often; None when it does not.
    """

    address: str | None = None
    watchdog_s: float | None = None

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager, which starts the bin again when it ends."""
        return self.address is not None

    def send(self, message: str) -> None:
        """Send one message, such as `READY=1`; assignments are separated by line ends."""
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender, suppress(OSError):
            sender.setblocking(False)
            sender.sendto(message.encode(), address)


def open_notifier(environ: Mapping[str, str], pid: int | None = None) -> Notifier:
    """Find the service manager in the environment that it gave this process (this one, if `pid` is None).

    A watchdog that was set up for another process is that one's to feed.
    """
    address = environ.get("NOTIFY_SOCKET") or None
    period_us = environ.get("WATCHDOG_USEC", "")
    owner = environ.get("WATCHDOG_PID", "")
    is_ours = owner in ("", str(os.getpid() if pid is None else pid))
    return Notifier(address, int(period_us) / 1e6 if period_us.isdecimal() and int(period_us) and is_ours else None)
