"""The rules in tests/conftest.py hold: a clean environment, and under CI=true nothing is skipped."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"


def run_pytest(folder: Path, test: str, ci: str | None) -> tuple[int, str]:
    """Run one made-up test file under our conftest, in a process of its own."""
    (folder / "tests").mkdir()
    shutil.copy(CONFTEST, folder / "tests")
    (folder / "tests" / "test_made_up.py").write_text(f"import os\nimport pytest\n\n\n{test}\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    environment = kept | ({} if ci is None else {"CI": ci}) | {"WASTEBIN_DEBUG": "1", "GPIOZERO_PIN_FACTORY": "mock"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


SKIPPED = "@pytest.mark.skip(reason='later')\ndef test_it(): pass"
XFAILED = "@pytest.mark.xfail\ndef test_it(): raise ValueError"
XPASSED = "@pytest.mark.xfail\ndef test_it(): pass"
MODULE = "pytest.importorskip('no_such_module')"


@pytest.mark.parametrize(
    ("test", "kind"),
    [(SKIPPED, "skipped"), (XFAILED, "xfailed"), (XPASSED, "xpassed"), (MODULE, "skipped")],
    ids=["skip", "xfail", "xpass", "module"],
)
def test_what_is_not_proven_fails_the_run_under_ci(tmp_path: Path, test: str, kind: str) -> None:
    status, said = run_pytest(tmp_path, test, ci="true")
    assert status != 0
    assert "CI=true: a test that is skipped proves nothing" in said
    assert any(line.startswith("tests/test_made_up.py") and line.endswith(f": {kind}") for line in said.splitlines())


def test_at_a_desk_a_test_may_be_skipped(tmp_path: Path) -> None:
    status, said = run_pytest(tmp_path, SKIPPED + "\n\n\ndef test_other(): pass", ci=None)
    assert (status, "proves nothing" in said) == (0, False)


def test_tests_see_none_of_our_variables(tmp_path: Path) -> None:
    test = "def test_it(): assert [n for n in os.environ if n.startswith(('WASTEBIN_', 'GPIOZERO_'))] == []"
    assert run_pytest(tmp_path, test, ci="true")[0] == 0


def test_one_thread_a_library_and_no_state_in_a_home() -> None:
    assert (os.environ["OMP_NUM_THREADS"], cv2.getNumThreads()) == ("1", 1)
    assert Path(os.environ["XDG_STATE_HOME"]).is_dir()
    assert not Path(os.environ["XDG_STATE_HOME"]).is_relative_to(Path.home() / ".local")
