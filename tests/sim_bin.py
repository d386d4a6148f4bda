"""A bin on this machine for tests that need the real program: simulated camera, mock pins, a process of its own."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["WASTEBIN", "wait_for", "wait_until_sorting", "write_config"]

WASTEBIN = ("-c", "from device.cli import main; main()")
"""After a Python's own path: the program, from the checkout."""

DEADLINE_S = 180.0

_CONFIG = """
camera.source = "sim:seed=1"
models.store = "models"
models.signers = "keys/allowed_signers"
events.path = "events.db"
"""


def write_config(folder: Path) -> Path:
    """The configuration of a bin that keeps everything in this folder: `models`, `keys/allowed_signers`, events."""
    path = folder / "bin.toml"
    path.write_text(_CONFIG)
    return path


def wait_until_sorting(process: "subprocess.Popen[str]") -> None:
    """Until `wastebin run --json` says so; its stdout, and its stderr if that is a pipe, are read."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("state") == "watching":
            return
    raise AssertionError(f"the bin ended: {process.stderr.read() if process.stderr else 'see above'}")


def wait_for(until: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Ask ten times a second until it is so."""
    end_s = time.monotonic() + deadline_s
    while not until():
        assert time.monotonic() < end_s, f"{what}: not in {deadline_s:g} s"
        time.sleep(0.1)
