"""One program on one bin over a real sshd: what it is handed, what it answers, and every way in which that fails."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from loopback import Sshd, Wire, free_port, running_sshd
from signed import make_key

from trainer.errors import LinkError, LinkLost, Unreachable
from trainer.link import Access, Answer, Host, bin_host, open_link, parse_host

DEADLINE_S = 60.0

# Ends when nobody listens any more, so that no test leaves it behind.
FOR_EVER = "import sys, time\nwhile True: sys.stdout.write('.'); sys.stdout.flush(); time.sleep(0.01)"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("ssh") / "sshd") as started:
        yield started


@pytest.fixture
def access(sshd: Sshd, tmp_path: Path) -> Access:
    return Access((sshd.client_key,), sshd.known_hosts(tmp_path / "known_hosts"), has_agent=False)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def at(port: int) -> Host:
    return parse_host(f"127.0.0.1:{port}")


def ask(host: Host, access: Access, code: str, data: bytes = b"", deadline_s: float = DEADLINE_S) -> Answer:
    async def once() -> Answer:
        async with open_link(host, access) as link:
            return await link.run(python(code), data=data, deadline_s=deadline_s)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("pi.local", Host("pi.local", "pi.local")),
        ("anna@pi.local:2222", Host("anna@pi.local:2222", "pi.local", 2222, "anna")),
        ("[fe80::1]:22", Host("[fe80::1]:22", "fe80::1", 22)),
    ],
)
def test_a_host_is_named_as_for_ssh(text: str, host: Host) -> None:
    assert parse_host(text) == host


def test_a_bin_is_visited_as_its_own_user() -> None:
    assert bin_host("pi.local", "/bin/w") == Host("pi.local", "pi.local", None, "wastebin", "/bin/w")
    assert bin_host("anna@pi.local").user == "anna"


@pytest.mark.parametrize("text", ["", "-oProxyCommand=x", "pi:port", "pi:99999", "a:b@pi", "pi/x", "pi?x", "pi#x"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(LinkError, match=r"^host '.*': expected \[user@\]address\[:port\], such as pi@bin-3\.local$"):
        parse_host(text)


def test_a_program_is_handed_bytes_and_answers_with_bytes(sshd: Sshd, access: Access) -> None:
    data = bytes(range(256)) * 4096
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1]); sys.exit(3)"
    assert ask(at(sshd.port), access, code, data) == Answer(3, data[::-1], "")


def test_arguments_arrive_as_they_are(sshd: Sshd, access: Access) -> None:
    words = ["a b", "$HOME", "'", "`id`", "ä;\n"]

    async def once() -> Answer:
        async with open_link(at(sshd.port), access) as link:
            code = "import sys; sys.stdout.buffer.write(repr(sys.argv[1:]).encode())"
            return await link.run([*python(code), *words], deadline_s=DEADLINE_S)

    assert asyncio.run(once()).out.decode() == repr(words)


def test_of_what_it_complains_the_sentence_counts(sshd: Sshd, access: Access) -> None:
    code = "import sys; sys.stderr.write('warning: dust\\nerror: the disk is full; free some\\n'); sys.exit(1)"
    assert ask(at(sshd.port), access, code) == Answer(1, b"", "the disk is full; free some")


def test_a_program_that_has_read_enough_is_heard_all_the_same(sshd: Sshd, access: Access) -> None:
    code = "import sys; sys.stdin.buffer.read(10); sys.stderr.write('error: not signed\\n'); sys.exit(1)"
    assert ask(at(sshd.port), access, code, bytes(20_000_000)) == Answer(1, b"", "not signed")


def test_it_is_told_how_much_is_on_its_way_and_what_comes_back(sshd: Sshd, access: Access) -> None:
    sent: list[int] = []
    out: list[bytes] = []

    async def once() -> Answer:
        async with open_link(at(sshd.port), access) as link:
            code = "import sys; sys.stdout.buffer.write(b'%d\\n' % len(sys.stdin.buffer.read()))"
            return await link.run(
                python(code), data=bytes(100_000), on_sent=sent.append, on_out=out.append, deadline_s=DEADLINE_S
            )

    assert asyncio.run(once()) == Answer(0, b"", "")
    assert (sent, b"".join(out)) == ([32768, 65536, 98304, 100_000], b"100000\n")


def test_a_machine_that_nobody_vouched_for_is_not_talked_to(sshd: Sshd, access: Access, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    access.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {other}")
    with pytest.raises(LinkError, match=r"its host key is not the one that .*known_hosts names, or none is named; "):
        ask(at(sshd.port), access, "")


def test_no_known_hosts_means_nobody_is_known_and_ssh_config_cannot_say_otherwise(
    sshd: Sshd, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  UserKnownHostsFile none\n")
    access.known_hosts.unlink()
    with pytest.raises(LinkError) as caught:
        ask(at(sshd.port), access, "")
    assert not isinstance(caught.value, Unreachable)
    assert str(caught.value).endswith(f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> {access.known_hosts}")


def test_a_key_that_is_not_let_in_is_one_sentence(sshd: Sshd, access: Access, tmp_path: Path) -> None:
    stranger = Access((make_key(tmp_path / "stranger"),), access.known_hosts, has_agent=False)
    with pytest.raises(LinkError, match=r"^127\.0\.0\.1:\d+: lets none of our keys in; add one .*--identity$"):
        ask(at(sshd.port), stranger, "")


def test_a_file_that_is_no_key_is_one_sentence(sshd: Sshd, access: Access, tmp_path: Path) -> None:
    (tmp_path / "no-key").write_text("hello\n")
    with pytest.raises(LinkError, match=r"a key or a line of ~/\.ssh/config is no use \(.*\); expected a private key"):
        ask(at(sshd.port), Access((tmp_path / "no-key",), access.known_hosts, has_agent=False), "")


def test_a_bin_that_is_off_is_unreachable(access: Access) -> None:
    with pytest.raises(Unreachable, match=r"cannot be reached \(.*\); is it on, and in this network\?$"):
        ask(at(free_port()), access, "")


def test_a_bin_that_never_greets_is_unreachable(access: Access) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        hurried = Access(access.identities, access.known_hosts, has_agent=False, connect_s=0.2)
        with pytest.raises(Unreachable, match=r"no answer in 0\.2 s; is it on, and in this network\?$"):
            ask(at(silent.getsockname()[1]), hurried, "")


@pytest.mark.parametrize("size", [0, 10_000_000])
def test_a_link_that_is_cut_is_lost(sshd: Sshd, access: Access, size: int) -> None:
    wire = Wire(sshd.port)
    sshd.known_hosts(access.known_hosts, wire.port)

    async def once() -> None:
        async with open_link(at(wire.port), access) as link:
            await link.run(python(FOR_EVER), on_out=lambda _: wire.cut(), data=bytes(size), deadline_s=DEADLINE_S)

    with pytest.raises(
        LinkLost, match=r"the link was lost \(.+\); the bin goes on by itself, run the same command again"
    ):
        asyncio.run(once())


def test_an_end_without_a_status_is_no_answer(sshd: Sshd, tmp_path: Path) -> None:
    """The link is cut between the last output and the status, by a server that says no more."""
    server_key = make_key(tmp_path / "server")

    async def once() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(server_key)],
            authorized_client_keys=f"{sshd.client_key}.pub",
            process_factory=lambda process: process.close(),
            encoding=None,
        )
        port = server.get_port()
        (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {server_key.with_suffix('.pub').read_text()}")
        async with server, open_link(at(port), Access((sshd.client_key,), tmp_path / "known", has_agent=False)) as link:
            await link.run(["wastebin"], deadline_s=DEADLINE_S)

    with pytest.raises(LinkLost, match=r"the link was lost \(no exit status came\)"):
        asyncio.run(once())


def test_a_program_that_is_killed_has_no_status_of_its_own(sshd: Sshd, access: Access) -> None:
    assert ask(at(sshd.port), access, "import os; os.kill(os.getpid(), 9)") == Answer(-1, b"", "")


def test_a_program_that_never_ends_is_not_waited_for(sshd: Sshd, access: Access) -> None:
    with pytest.raises(LinkLost, match=r"no answer in 0\.5 s; run the same command again$"):
        ask(at(sshd.port), access, FOR_EVER, deadline_s=0.5)
