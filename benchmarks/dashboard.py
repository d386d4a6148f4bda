"""What four people who watch cost the loop, and how soon the page can be used.

    python -m benchmarks.dashboard [--rounds 5] -> benchmarks/dashboard.json

Runs with no viewer and with four (each with the live pictures and the status) take turns, and medians are compared. The
loop's cost is the CPU time of the thread that sorts, for each frame: what others do on this machine hardly enters it.
Fails when four viewers make a frame dearer than `MOST`, or the page needs longer than `INTERACTIVE_S` on loopback; the
latter only means something while nothing else runs, so the load stands beside it.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from device.bundle import factory_bundle_path
from device.camera.frame import Frame
from device.config import load_config
from device.config_dashboard import DashboardConfig
from device.outputs import default_outputs
from device.run import Plan, run_bin
from device.status import Status
from device.web.token import TokenStore, dashboard_path

MOST = 1.25
SECONDS = 20.0
VIEWERS = 4
WARM_FRAMES = 45
INTERACTIVE_S = 1.0
TRIES = 7
OUT = Path(__file__).with_name("dashboard.json")


class Watch:
    """Notes what each frame has cost the thread that sorts."""

    def __init__(self) -> None:
        self.cpu_s: list[float] = []
        self.late_s: list[float] = []
        self.before_s: float | None = None
        self.process_s = 0.0

    def frame(self, status: Status, frame: Frame) -> None:  # noqa: ARG002
        """Take what was used since the frame before."""
        now_s = time.thread_time()
        if self.before_s is not None:
            self.cpu_s.append(now_s - self.before_s)
            self.late_s.append(time.monotonic() - frame.captured_s)
        if len(self.cpu_s) == WARM_FRAMES:
            self.process_s = time.process_time()
        self.before_s = now_s

    def fault(self, sentence: str | None) -> None:
        """Say it."""
        print(sentence, file=sys.stderr)

    def figures(self) -> dict[str, float]:
        """All of them, without the first frames."""
        cpu = sorted(self.cpu_s[WARM_FRAMES:])
        late = sorted(self.late_s[WARM_FRAMES:])
        status = Path("/proc/self/status").read_text()
        return {
            "frames": len(cpu),
            "loop_cpu_ms_per_frame": 1e3 * sum(cpu) / len(cpu),
            "loop_cpu_ms_p95": 1e3 * cpu[int(0.95 * len(cpu))],
            "late_ms_p95": 1e3 * late[int(0.95 * len(late))],
            "process_cpu_ms_per_frame": 1e3 * (time.process_time() - self.process_s) / len(cpu),
            "memory_mb": int(status.partition("VmRSS:")[2].split()[0]) / 1024,
            "peak_memory_mb": int(status.partition("VmHWM:")[2].split()[0]) / 1024,
        }


def child(folder: Path, port: int, for_s: float) -> None:
    """One bin for so long, its figures on stdout."""
    config = load_config(None, environ={"HOME": str(folder)})
    config = replace(
        config,
        events_path=folder / "events.db",
        outputs=default_outputs([bin_.name for bin_ in config.site.bins]),
        dashboard=DashboardConfig(port=port),
    )
    watch = Watch()
    run_bin(Plan(config, "sim:seed=1", "mock", factory_bundle_path(), None, for_s), watch)
    print(json.dumps(watch.figures()))


def look_on(port: int, path: str, cookie: str, read: list[int]) -> None:
    """One connection that reads until the bin closes it."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: wastebin={cookie}\r\n\r\n".encode())
        while data := stream.recv(65536):
            read.append(len(data))


def wait_for(port: int, bin_: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Until it listens."""
    while bin_.poll() is None:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"the bin ended with {bin_.returncode} before it served its dashboard")


def measure(viewers: int) -> dict[str, float]:
    """One run with so many viewers."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        folder = Path(name)
        tokens = TokenStore(dashboard_path(folder / "events.db"))
        tokens.make(wall_s=time.time())
        cookie = tokens.open_session(wall_s=time.time())
        bin_ = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dashboard", "--child", name, str(port), str(SECONDS)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        wait_for(port, bin_)
        read: list[list[int]] = []
        threads = []
        for path in ("/live.mjpeg", "/api/live") * viewers:
            read.append([])
            threads.append(threading.Thread(target=look_on, args=(port, path, cookie, read[-1]), daemon=True))
            threads[-1].start()
        out = bin_.communicate()[0]
        for thread in threads:
            thread.join(5)
        # A viewer who was shown nothing would cost nothing.
        assert all(sum(each) > 20_000 for each in read), [sum(each) for each in read]
        return dict(json.loads(out.splitlines()[-1]))


def interactive_s() -> dict[str, float]:
    """Seconds from the address to a page with which something can be done, on loopback; and its bytes."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, socket.socket() as free, ExitStack() as stack:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        folder = Path(name)
        tokens = TokenStore(dashboard_path(folder / "events.db"))
        tokens.make(wall_s=time.time())
        bin_ = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dashboard", "--child", name, str(port), "600"], stdout=subprocess.DEVNULL
        )
        stack.callback(bin_.wait)
        stack.callback(bin_.terminate)
        wait_for(port, bin_)
        playwright = stack.enter_context(sync_playwright())
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        taken, size = [], 0
        for _ in range(TRIES):
            context = chromium.new_context()
            address = f"http://127.0.0.1:{port}/"
            cookie = tokens.open_session(wall_s=time.time())
            context.add_cookies([{"name": "wastebin", "value": cookie, "url": address}])
            page = context.new_page()
            sizes: list[int] = []
            page.on(
                "response",
                lambda response, sizes=sizes: sizes.append(int(response.headers.get("content-length", "0"))),
            )
            start_s = time.monotonic()
            page.goto(f"{address}#items")
            page.wait_for_selector("#page-items h1")
            taken.append(time.monotonic() - start_s)
            for each in ("live", "photo", "figures", "health", "model", "guide", "more"):
                page.goto(f"{address}#{each}")
                page.wait_for_selector(f"#page-{each}:not(:empty)")
            size = sum(sizes)
            context.close()
        chromium.close()
    return {
        "interactive_s": round(statistics.median(taken), 3),
        "interactive_load": round(os.getloadavg()[0], 1),
        "interactive_nice": os.nice(0),
        "bytes_of_all_pages": size,
    }


def main() -> None:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=3)
    arguments = parser.parse_args()
    if arguments.child:
        child(Path(arguments.child[0]), int(arguments.child[1]), float(arguments.child[2]))
        return
    page = interactive_s()
    print(page, flush=True)
    runs: dict[int, list[dict[str, float]]] = {0: [], VIEWERS: []}
    for turn in range(arguments.rounds):
        for viewers in (0, VIEWERS) if turn % 2 == 0 else (VIEWERS, 0):
            runs[viewers].append(measure(viewers))
            print(viewers, runs[viewers][-1], flush=True)
    medians = {
        viewers: {key: round(statistics.median(run[key] for run in each), 3) for key in each[0]}
        for viewers, each in runs.items()
    }
    keys = ("loop_cpu_ms_per_frame", "loop_cpu_ms_p95", "late_ms_p95", "process_cpu_ms_per_frame")
    ratios = {key: round(medians[VIEWERS][key] / medians[0][key], 3) for key in keys}
    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}",
        "rounds": arguments.rounds,
        "seconds": SECONDS,
        "no_viewer": medians[0],
        "four_viewers": medians[VIEWERS],
        "ratio": ratios,
        **page,
    }
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    broken = [f"{key} is {ratios[key]} times as much" for key in keys[:2] if ratios[key] > MOST]
    broken += [f"interactive after {page['interactive_s']} s"] if page["interactive_s"] > INTERACTIVE_S else []
    sys.exit("; ".join(broken) or 0)


if __name__ == "__main__":
    main()
