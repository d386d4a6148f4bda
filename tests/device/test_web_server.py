"""A running bin in a network with somebody hostile: he is refused, nothing is written, and sorting goes on."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback import free_port

from device.event_reader import read_events
from device.web.app import make_app
from device.web.scene import Scene
from device.web.server import BACKLOG, LOOPBACK, MOST_CONNECTIONS, Server
from device.web.streams import Streams
from device.web.token import TokenStore, dashboard_path

DEADLINE_S = 120.0
COMMAND = (sys.executable, "-c", "from device.cli import main; main()")
OURS = {"x-wastebin": "1"}


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end_s
        threading.Event().wait(0.05)


@dataclass
class Running:
    """A bin in a process of its own, with its dashboard."""

    folder: Path
    port: int
    process: "subprocess.Popen[str]"

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> int:
        """The status of one request on a connection of its own; 0 where it was just cut off."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="host" in (headers or {}))
            for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            return connection.getresponse().status
        except (ConnectionError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def session(self) -> str:
        """A cookie without a login, since those are limited."""
        tokens = TokenStore(dashboard_path(self.folder / "events.db"))
        return f"wastebin={tokens.open_session(wall_s=time.time())}"

    def files(self) -> list[str]:
        """What lies there but for the record of events, which goes on."""
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if not path.name.startswith("events.db")
        )

    def decisions(self) -> int:
        return len(read_events(self.folder / "events.db", kind="decision"))

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def start(folder: Path, **environ: str) -> Running:
    port = free_port()
    config = folder / "bin.toml"
    config.write_text(f'camera.source = "sim:seed=2"\nevents.path = "events.db"\n[dashboard]\nport = {port}\n')
    TokenStore(dashboard_path(folder / "events.db")).make(wall_s=time.time())
    process = subprocess.Popen(
        [*COMMAND, "run", "--pins", "mock", "--config", str(config)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ},
    )  # fmt: skip
    bin_ = Running(folder, port, process)
    wait_until(lambda: process.poll() is not None or bin_.ask("GET", "/") == 200)
    return bin_


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    bin_ = start(tmp_path_factory.mktemp("hostile"))
    yield bin_
    bin_.process.terminate()
    assert bin_.process.communicate(timeout=60)[1] == ""
    assert bin_.process.returncode == 0


def test_a_service_starts_again_when_its_dashboard_says_so(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        bin_ = start(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert bin_.ask("POST", "/api/restart", OURS) == 401
        assert bin_.ask("POST", "/api/restart", {**OURS, "cookie": bin_.session()}) == 200
        # An end in good order, after which systemd starts it again (`Restart=always`).
        assert (bin_.process.communicate(timeout=60)[1], bin_.process.returncode) == ("", 0)
    assert read_events(tmp_path / "events.db")[-1].detail == "asked to start again, in the dashboard"


def test_a_hostile_client_is_refused_writes_nothing_and_sorting_goes_on(running: Running):
    wait_until(lambda: running.decisions() >= 1)
    cookie = {"cookie": running.session()}
    before, decided = running.files(), running.decisions()
    token = json.dumps({"token": "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a"}).encode()
    label = b'{"label": "glass"}'
    everything = ("/api/items", "/api/figures", "/api/health", "/api/model", "/api/live", "/live.mjpeg")

    assert {running.ask("GET", path) for path in (*everything, "/api/items/1/picture.jpg")} == {401}
    assert {running.ask("POST", path, OURS, label) for path in ("/api/items/1/was", "/api/photo")} == {401}
    assert {running.ask("GET", path, {**cookie, "host": "evil.example"}) for path in everything} == {403}
    forged = {**cookie, **OURS, "origin": "http://evil.example"}
    assert running.ask("POST", "/api/items/1/was", forged, label) == 403
    assert running.ask("POST", "/api/items/1/was", {**cookie, "content-type": "text/plain"}, label) == 403
    assert running.ask("POST", "/api/model/revoke", {**cookie, **OURS, "sec-fetch-site": "cross-site"}) == 403
    for path in (
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/run.py",
        "/..%5c..%5cetc",
        "/api/items/..%2f1/was",
    ):
        assert running.ask("GET", path, cookie) in (400, 404, 405), path
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (10_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + b"\0" * 64
    assert running.ask("POST", "/api/photo", {**cookie, **OURS}, bomb) == 400
    assert running.ask("POST", "/api/photo", {**cookie, **OURS, "content-length": str(9 * 2**20)}, b"x") == 413
    logins = Counter(running.ask("POST", "/api/login", OURS, token) for _ in range(300))
    assert set(logins) <= {401, 429}
    assert logins[401] <= 15

    wait_until(lambda: running.decisions() >= decided + 2)
    assert running.files() == before


def test_fifty_viewers_are_four_and_the_rest_are_told_so(running: Running):
    ask = f"GET /live.mjpeg HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {running.session()}\r\n\r\n".encode()
    watching: list[socket.socket] = []
    codes: Counter[int] = Counter()
    for _ in range(50):
        viewer = socket.create_connection((LOOPBACK, running.port), timeout=30)
        viewer.sendall(ask)
        watching.append(viewer)
        codes[int(viewer.recv(12).split()[1])] += 1
    assert codes == {200: 4, 429: 46}
    decided = running.decisions()
    wait_until(lambda: running.decisions() > decided)
    for viewer in watching:
        viewer.close()
    wait_until(lambda: running.ask("GET", "/") == 200)


def test_connections_that_say_nothing_do_not_use_up_the_bins_files(running: Running):
    before, decided = running.open_files(), running.decisions()
    silent, most = [], 0
    try:
        for _ in range(300):
            each = socket.socket()
            silent.append(each)
            each.settimeout(5)
            each.connect_ex((LOOPBACK, running.port))
            most = max(most, running.open_files())
        # One turned away still holds its file until the loop comes round to closing it.
        assert most <= before + MOST_CONNECTIONS + 4 * BACKLOG
        wait_until(lambda: running.open_files() <= before + MOST_CONNECTIONS + 4)
        wait_until(lambda: running.decisions() > decided)
    finally:
        for each in silent:
            each.close()
    wait_until(lambda: running.ask("GET", "/") == 200)


def test_nonsense_in_place_of_http_is_cut_off(running: Running):
    for nonsense in (b"\x16\x03\x01\x02\0\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 200_000, b"\0" * 70_000):
        with socket.create_connection((LOOPBACK, running.port), timeout=30) as rude:
            try:
                rude.sendall(nonsense)
                answer = rude.recv(12)
            except ConnectionError:
                continue
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert running.ask("GET", "/") == 200


class Said:
    def __init__(self) -> None:
        self.sentences: list[str] = []


def server(tokens: TokenStore, host: Callable[[], str], port: int, said: Said) -> Server:
    streams = Streams(Scene())
    app, _ = make_app(tokens, streams, [], {}, ())
    return Server(app, host, port, begin_streams=lambda: None, end_streams=lambda: None, say=said.sentences.append)


def test_it_listens_where_it_is_told_as_soon_as_it_is_told(tmp_path: Path):
    tokens, said = TokenStore(tmp_path / "dashboard.json"), Said()
    served = server(tokens, lambda: "127.0.0.2" if tokens.exists else LOOPBACK, 0, said)
    served.start()
    wait_until(lambda: served.address is not None and served.address[0] == LOOPBACK)
    tokens.make(wall_s=time.time())
    wait_until(lambda: served.address is not None and served.address[0] == "127.0.0.2")
    served.close(10)
    assert (served.address, said.sentences) == (None, [])


def test_a_port_that_is_taken_is_a_sentence_told_once_and_another_try_later(tmp_path: Path):
    said = Said()
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        served = server(TokenStore(tmp_path / "dashboard.json"), lambda: LOOPBACK, port, said)
        served.start()
        wait_until(lambda: bool(said.sentences))
        served.close(10)
    assert len(said.sentences) == 1
    assert f"port {port}" in said.sentences[0]
