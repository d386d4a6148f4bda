"""The wheel in an empty environment: what a Pi gets. It must sort there, and bring no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # Build from what git would hand out, so that a file that was never added is missed here too.
    listed = _run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ".", cwd=source)
    (made,) = folder.glob("wastebin-*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device")
    _run(sys.executable, "-m", "venv", folder, cwd=folder)
    pip = (folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=folder)
    return folder


def test_the_engine_imports_and_loads_no_torch(environment: Path) -> None:
    code = "import device.engine, device.run, sys; print([m for m in ('torch', 'trainer', 'PIL') if m in sys.modules])"
    assert _run(environment / "bin" / "python", "-c", code, cwd=environment) == "[]\n"
    installed = json.loads(_run(environment / "bin" / "pip", "list", "--format=json", cwd=environment))
    assert {row["name"] for row in installed} & {"torch", "torchvision", "timm", "onnx"} == set()


def test_the_wheel_carries_the_factory_bundle_and_sorts_with_it(environment: Path, tmp_path: Path) -> None:
    wastebin = environment / "bin" / "wastebin"
    assert "is sound" in _run(wastebin, "verify", cwd=tmp_path)
    lines = _run(wastebin, "simulate", "--visits", "6", "--seed", "5", "--json", cwd=tmp_path).splitlines()
    tally = json.loads(lines[-1])
    assert tally["visits"] == 6
    assert tally["decided"] >= 1


def test_the_reference_builds_are_in_the_wheel(environment: Path, tmp_path: Path) -> None:
    code = "from importlib import resources; print(sorted(f.name for f in resources.files('device.builds').iterdir()))"
    names = _run(environment / "bin" / "python", "-c", code, cwd=tmp_path)
    assert all(build in names for build in ("leds.toml", "flaps.toml", "diverter.toml"))
