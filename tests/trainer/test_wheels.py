"""Which wheels go to which machine; pip itself is run by the tests of the booted Debian."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from trainer.errors import ProvisionError
from trainer.wheels import Target, Wheels, checkout, constraints_for, fetch_wheels, pack_wheels, release_name

ROOT = Path(__file__).resolve().parents[2]
TARGET = Target("aarch64", "3.11", "2.19")


def test_every_platform_up_to_the_machines_own_is_named_and_none_beyond() -> None:
    assert TARGET.platforms == (
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
    )


def test_this_is_a_checkout() -> None:
    assert checkout() == ROOT


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkout whose wheel can be built by nobody."""
    root = tmp_path / "source"
    (root / "device").mkdir(parents=True)
    (root / "constraints.txt").write_text("numpy==2.4.6\n")
    (root / "device" / "__init__.py").write_text("")
    (root / "pyproject.toml").write_text("[build-system]\nrequires = []\nbuild-backend = 'nothing'\n")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def test_what_cannot_be_built_is_one_sentence_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=r"pip .*wheel.*: (?i:error)"):
        fetch_wheels(source, TARGET, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_was_fetched_before_is_found_by_what_it_is_made_from(source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = release_name(source, TARGET)
    (cache / first).mkdir(parents=True)
    assert fetch_wheels(source, TARGET, cache) == Wheels(first, cache / first)
    others = {release_name(source, Target("x86_64", "3.11", "2.19"))}
    others.add(release_name(source, Target("aarch64", "3.11", "2.19", has_old_numpy=True)))
    (source / "device" / "new.py").write_text("")
    others.add(release_name(source, TARGET))
    assert len(others | {first}) == 4
    # What git ignores is in no wheel.
    (source / ".gitignore").write_text("*.pyc\n")
    before = release_name(source, TARGET)
    (source / "device" / "x.pyc").write_text("")
    assert release_name(source, TARGET) == before


def test_wheels_travel_as_a_flat_tar(tmp_path: Path) -> None:
    (tmp_path / "b.whl").write_bytes(b"b")
    (tmp_path / "constraints.txt").write_bytes(b"c")
    with tarfile.open(fileobj=io.BytesIO(pack_wheels(Wheels("x", tmp_path)))) as archive:
        assert archive.getnames() == ["b.whl", "constraints.txt"]


def test_older_numpy_and_opencv_go_where_apts_picamera2_needs_them() -> None:
    bookworm = Target("aarch64", "3.11", "2.36", has_old_numpy=True)
    old = constraints_for("click==1\nnumpy==2.4.6\nopencv-python-headless==5.0\n", bookworm)
    assert old == "click==1\nnumpy==1.26.4\nopencv-python-headless==4.11.0.86\n"
    assert constraints_for("numpy==2.4.6\n", TARGET) == "numpy==2.4.6\n"
