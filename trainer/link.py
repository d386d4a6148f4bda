"""Link: one program on one bin, over ssh.

    parse_host, Access -> open_link -> Link.run(words, stdin) -> Answer(status, out, complaint)

It knows ssh and nothing of models. It must never talk to a machine whose host key nobody vouched for: `known_hosts` is
handed over by name, since a line in `~/.ssh/config` would otherwise switch the check off (asyncssh takes
`UserKnownHostsFile none` for that). All waiting has an end: to connect, to answer, and for a peer that fell silent.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncssh

from trainer.errors import LinkError, LinkLost, Unreachable

__all__ = ["WASTEBIN", "Access", "Answer", "Host", "Link", "bin_host", "open_link", "parse_host"]

WASTEBIN: Final = "/opt/wastebin/bin/wastebin"
"""Where the program is on a bin that was provisioned."""

_USER: Final = "wastebin"
"""Who takes models in there: the user of the service, so that all files are its own."""

_CHUNK_BYTES: Final = 32 * 1024
_KEEPALIVE_S: Final = 5.0
_SILENCES: Final = 3
"""So many keepalives without an answer, and the peer is gone."""


@dataclass(frozen=True, slots=True)
class Host:
    """One bin, as a person names it.

    Attributes:
        name: `[user@]address[:port]`, what is shown.
        address: host name, address, or an alias of `~/.ssh/config`.
        port, user: None leaves them to `~/.ssh/config` and ssh's defaults.
        wastebin: the program's path there.
    """

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    wastebin: str = WASTEBIN

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Access:
    """How bins are reached.

    Attributes:
        identities: private keys that are offered after the agent's; with none, ssh's own in `~/.ssh`.
        known_hosts: whose host keys count.
        has_agent: whether the keys of an ssh-agent are offered as well.
        connect_s: how long to wait for a bin to let us in.
    """

    identities: tuple[Path, ...] = ()
    known_hosts: Path = field(default_factory=lambda: Path.home() / ".ssh" / "known_hosts")
    has_agent: bool = True
    connect_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program on a bin said.

    Attributes:
        status: its exit status; -1 where a signal ended it.
        out: its stdout, empty where somebody took it piece by piece.
        complaint: its stderr; of the lines that begin with `error: `, the last one.
    """

    status: int
    out: bytes
    complaint: str


def parse_host(text: str, wastebin: str = WASTEBIN) -> Host:
    """Read `[user@]address[:port]`; an IPv6 address stands in brackets.

    Raises:
        LinkError: it is something else.
    """
    try:
        parts = urlsplit(f"ssh://{text}")
        address, port, user = parts.hostname, parts.port, parts.username
    except ValueError:
        address = None
    if address is None or parts.path or parts.query or parts.fragment or parts.password or text.startswith("-"):
        raise LinkError(f"host {text!r}: expected [user@]address[:port], such as pi@bin-3.local")
    return Host(text, address, port, user, wastebin)


def bin_host(text: str, wastebin: str = WASTEBIN) -> Host:
    """Read `[user@]address[:port]` of a bin that was provisioned; without a user it is the bin's own.

    Raises:
        LinkError: it is something else.
    """
    host = parse_host(text, wastebin)
    return replace(host, user=host.user or _USER)


class Link:
    """An open connection to one bin; see `open_link`."""

    def __init__(self, host: Host, connection: asyncssh.SSHClientConnection) -> None:
        self.host = host
        self._connection = connection

    async def run(
        self,
        words: Sequence[str],
        *,
        deadline_s: float,
        data: bytes = b"",
        on_sent: Callable[[int], None] | None = None,
        on_out: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """Run a program there and wait for its end.

        A program may refuse before it has read all of `data`: then the rest is not sent, and its answer counts.

        Args:
            words: program and arguments; quoted here.
            data: what it reads on stdin.
            on_sent: told how many bytes are on their way, as that grows.
            on_out: handed its stdout as it comes.

        Raises:
            LinkLost: the link was cut, or there was no answer in `deadline_s`; the bin may have done what was asked.
        """
        out: list[bytes] = []
        try:
            async with asyncio.timeout(deadline_s):
                process = await self._connection.create_process(shlex.join(words), encoding=None)
                _, _, errors = await asyncio.gather(
                    _feed(process.stdin, data, on_sent),
                    _drink(process.stdout, on_out or out.append),
                    process.stderr.read(),
                )
                await process.wait_closed()
        except TimeoutError as error:
            raise LinkLost(f"{self.host}: no answer in {deadline_s:g} s; run the same command again") from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(str(error)) from error
        if process.exit_status is None:
            raise self._lost("no exit status came")
        return Answer(process.exit_status, b"".join(out), _complaint(errors.decode("utf-8", "replace")))

    def _lost(self, why: str) -> LinkLost:
        return LinkLost(
            f"{self.host}: the link was lost ({why or 'closed'}); the bin goes on by itself, run the same command again"
        )


@asynccontextmanager
async def open_link(host: Host, access: Access) -> AsyncIterator[Link]:
    """Connect to a bin, and leave it again.

    Raises:
        LinkError: its host key is not known, or none of our keys is let in.
        Unreachable: nobody answers.
    """
    connection = await _connect(host, access)
    try:
        yield Link(host, connection)
    finally:
        # No farewell: everything that was asked has been answered, and a peer that is gone would be waited for.
        connection.abort()
        await connection.wait_closed()


async def _connect(host: Host, access: Access) -> asyncssh.SSHClientConnection:
    options: dict[str, Any] = {
        "known_hosts": str(access.known_hosts) if access.known_hosts.is_file() else b"",
        "keepalive_interval": _KEEPALIVE_S,
        "keepalive_count_max": _SILENCES,
    }
    if access.identities:
        options["client_keys"] = [str(path) for path in access.identities]
    if not access.has_agent:
        options["agent_path"] = None
    if host.port is not None:
        options["port"] = host.port
    if host.user is not None:
        options["username"] = host.user
    try:
        async with asyncio.timeout(access.connect_s):
            return await asyncssh.connect(host.address, **options)
    except asyncssh.HostKeyNotVerifiable as error:
        raise LinkError(
            f"{host}: its host key is not the one that {access.known_hosts} names, or none is named; compare it at the "
            f"bin with `ssh-keygen -lf`, then add it: ssh-keyscan {_scan_words(host)} >> {access.known_hosts}"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise LinkError(
            f"{host}: lets none of our keys in; add one to its authorized_keys, or name one that is with --identity"
        ) from error
    except (asyncssh.KeyImportError, asyncssh.ConfigParseError) as error:
        raise LinkError(
            f"{host}: a key or a line of ~/.ssh/config is no use ({error}); expected a private key, "
            "one with a passphrase in the agent: ssh-add"
        ) from error
    except TimeoutError as error:
        raise Unreachable(f"{host}: no answer in {access.connect_s:g} s; is it on, and in this network?") from error
    except (asyncssh.Error, OSError) as error:
        raise Unreachable(f"{host}: cannot be reached ({error}); is it on, and in this network?") from error


def _scan_words(host: Host) -> str:
    return host.address if host.port is None else f"-p {host.port} {host.address}"


async def _feed(stdin: asyncssh.SSHWriter[bytes], data: bytes, on_sent: Callable[[int], None] | None) -> None:
    try:
        for start in range(0, len(data), _CHUNK_BYTES):
            stdin.write(data[start : start + _CHUNK_BYTES])
            await stdin.drain()
            if on_sent is not None:
                on_sent(min(start + _CHUNK_BYTES, len(data)))
        stdin.write_eof()
    except BrokenPipeError:
        pass  # it has read enough; what it answers says why


async def _drink(stdout: asyncssh.SSHReader[bytes], sink: Callable[[bytes], None]) -> None:
    while piece := await stdout.read(_CHUNK_BYTES):
        sink(piece)


def _complaint(errors: str) -> str:
    lines = errors.strip().splitlines()
    sentences = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (sentences or lines or [""])[-1]
