"""What a machine is, as values and two hands: run a program, look whether a path may be written.

    this_machine -> Machine -> doctor

Never changes anything. Tests describe machines that they do not have; this file alone asks the real one.
"""

import grp
import os
import platform
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Machine", "Ran", "run_child", "this_machine"]

CHILD_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a child process ended: exit status (negative: the signal that killed it) and all that it printed."""

    returncode: int
    output: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of a machine; tests describe one that they do not have.

    Attributes:
        bits: width of a pointer of this Python, 32 or 64.
        arch: as `uname -m` says.
        python: version of this Python.
        root: where `dev`, `sys`, `proc` and `etc` are.
        groups: names of this process's groups.
        is_root: whether groups do not matter.
        wall_s: wall-clock seconds since 1970.
        run: starts a program and waits for it.
        free_bytes: room for data beside a path that exists.
        can_write: whether this process may read and write a path that exists.
    """

    bits: int
    arch: str
    python: tuple[int, int, int]
    root: Path
    groups: frozenset[str]
    is_root: bool
    wall_s: float
    run: Callable[[Sequence[str]], Ran]
    free_bytes: Callable[[Path], int]
    can_write: Callable[[Path], bool]

    @property
    def is_pi(self) -> bool:
        """Whether the firmware says so."""
        try:
            return "Raspberry Pi" in (self.root / "proc/device-tree/model").read_text(
                encoding="utf-8", errors="replace"
            )
        except OSError:
            return False


def run_child(command: Sequence[str], *, timeout_s: float = CHILD_TIMEOUT_S) -> Ran:
    """Run a program to its end; 127 when there is none, 124 when it took longer than `timeout_s`."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        return Ran(127, f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return Ran(124, f"no answer in {timeout_s:g} s")
    return Ran(done.returncode, done.stdout)


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        bits=struct.calcsize("P") * 8,
        arch=platform.machine(),
        python=sys.version_info[:3],
        root=Path("/"),
        groups=frozenset(_group_names()),
        is_root=os.geteuid() == 0,
        wall_s=time.time(),
        run=run_child,
        free_bytes=lambda path: shutil.disk_usage(path).free,
        can_write=lambda path: os.access(path, os.R_OK | os.W_OK),
    )


def _group_names() -> Iterator[str]:
    for number in os.getgroups():
        try:
            yield grp.getgrgid(number).gr_name
        except KeyError:
            yield str(number)
