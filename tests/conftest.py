"""Rules for every test: a clean environment, one thread a library, and under CI=true nothing may be skipped."""

import os
import sys
from pathlib import Path

# pytest puts this folder on the path, where `device` and `trainer` are folders of tests: they would hide the packages
# from an editable install, whose finder comes last. A real package further down the path goes before both.
sys.path.append(str(Path(__file__).resolve().parent.parent))

# Before the first import of torch or OpenCV; child processes inherit it, so that they compute the same bits.
os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import pytest

_OURS = ("WASTEBIN_", "GPIOZERO_")
_SYSTEMD = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@pytest.fixture(scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where state goes that a test gave no place for: never into somebody's home."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, state_home: Path) -> None:
    for name in list(os.environ):
        if name.startswith(_OURS) or name in _SYSTEMD:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(state_home))
    cv2.setNumThreads(1)


def _not_run(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("CI") != "true":
        return []
    return [
        f"{report.nodeid}: {kind}"
        for kind in ("skipped", "xfailed", "xpassed")
        for report in reporter.stats.get(kind, [])
    ]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and _not_run(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := _not_run(config):
        terminalreporter.section("CI=true: a test that is skipped proves nothing", red=True)
        for row in rows:
            terminalreporter.line(row)
