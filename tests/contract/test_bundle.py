"""A bundle that is not exactly what its manifest says is refused, in one sentence that names file and field."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import HASH, LABELS, golden, make_bundle, manifest, network, read_manifest, replace_file, rewrite

import device
from device.bundle import MANIFEST, Licences, Score, load_bundle, write_bundle
from device.classify import open_classifier
from device.errors import BundleError, BundleMismatch, BundleNotFound, BundleUnsupported

Place = tuple[str | int, ...]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "b").path


def open_bundle(path: Path) -> None:
    """All that a bin does before it trusts a bundle."""
    open_classifier(load_bundle(path))


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    return str(caught.value)


# The way there and back


def test_what_is_written_is_what_is_loaded(tmp_path: Path) -> None:
    written = make_bundle(tmp_path / "b")
    loaded = load_bundle(tmp_path / "b")
    assert loaded == written
    files = loaded.manifest.files
    assert {name: entry.size for name, entry in files.items()} == {
        name: (tmp_path / "b" / name).stat().st_size for name in ("model.onnx", "float.onnx", "golden.npz")
    }
    assert loaded.manifest == type(loaded.manifest)(**{**fields_of(manifest()), "files": files})
    assert (loaded.name, loaded.labels, loaded.size_px, loaded.temperature) == ("mean-colour", LABELS, 16, 1.5)
    assert loaded.version == f"1790000000-{loaded.sha256[:12]}"
    assert (loaded.model.name, loaded.golden.name) == ("model.onnx", "golden.npz")
    assert loaded.float_model == tmp_path / "b" / "float.onnx"
    assert (loaded.decision, loaded.costs) == (manifest().decision, manifest().costs)
    open_bundle(tmp_path / "b")


def fields_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_the_version_names_the_manifests_bytes(folder: Path) -> None:
    before = load_bundle(folder).version
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + b"\n")
    assert load_bundle(folder).version != before


def test_a_row_of_numbers_is_one_line_and_a_text_stays_as_it_is(tmp_path: Path) -> None:
    made = replace(manifest(), licences=Licences(("list: [ 1, 2 ]",), ("ImageNet: Apache-2.0",)))
    write_bundle(tmp_path / "b", made, {"model.onnx": network(), "golden.npz": golden()}, "")
    lines = (tmp_path / "b" / MANIFEST).read_text().splitlines()
    assert lines[lines.index('  "means": [') + 1] == "   [-1.0,1.0,-1.0],"
    assert '   "list: [ 1, 2 ]"' in lines


def test_optional_parts_may_be_absent(folder: Path) -> None:
    def leave_out(table: dict[str, Any]) -> None:
        table["out_of_distribution"] = table["metrics"]["teacher"] = None
        del table["files"]["float.onnx"]

    rewrite(folder, leave_out)
    (folder / "float.onnx").unlink()
    (folder / "card.md").unlink()
    open_bundle(folder)
    assert load_bundle(folder).float_model is None


def test_a_signature_may_lie_beside(folder: Path) -> None:
    (folder / "manifest.json.sig").write_text("-----BEGIN SSH SIGNATURE-----")
    open_bundle(folder)


def test_a_bundle_is_never_written_over_anything(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleMismatch, match="not empty, and a bundle never changes; give a new folder"):
        make_bundle(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleMismatch, match=r"file: no folder can be made there .*; give a new folder"):
        make_bundle(tmp_path / "file")


def test_a_wrong_manifest_is_not_even_written_without_a_word(tmp_path: Path) -> None:
    with pytest.raises(BundleMismatch, match=r"files is \['model.onnx'\], expected model.onnx, golden.npz and perhaps"):
        write_bundle(tmp_path / "b", manifest(), {"model.onnx": network()}, "")


# Every field of the manifest, damaged in turn


def nodes(tree: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every place of a JSON tree but the top."""
    if at:
        yield at, tree
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from nodes(value, (*at, key))
    if isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from nodes(value, (*at, index))


def parent_of(table: Any, at: Place) -> Any:
    for key in at[:-1]:
        table = table[key]
    return table


def put(value: Any) -> Callable[[Any, Place], None]:
    def change(table: Any, at: Place) -> None:
        parent_of(table, at)[at[-1]] = value

    return change


def delete(table: Any, at: Place) -> None:
    del parent_of(table, at)[at[-1]]


def rename(table: Any, at: Place) -> None:
    parent = parent_of(table, at)
    parent[f"{at[-1]}x"] = parent.pop(at[-1])


WRONG_TYPES: dict[type, list[Any]] = {
    bool: [None, 1, "true", [], {}],
    int: [None, True, "7", 7.5, [7], {}],
    float: [None, True, "0.5", [0.5], {}],
    str: [None, True, 7, ["text"], {}],
    list: [7, "text", {}],
    dict: [7, "text", []],
}
OPTIONAL = [("out_of_distribution",), ("out_of_distribution", "strange"), ("metrics", "teacher")]
IMPOSSIBLE: dict[type, list[Any]] = {
    bool: [],
    int: [-(10**9), 10**30, 10**400, float("nan"), float("inf")],
    float: [-1e9, 1e30, 10**400, float("nan"), float("-inf")],
    str: ["", " ", "\x00", "two\nlines"],
    list: [[]],
    dict: [{}],
}


def damages(table: dict[str, Any], kind: str) -> Iterator[tuple[Place, str, Callable[[Any, Place], None]]]:
    for at, value in nodes(table):
        if kind == "deleted":
            yield at, kind, delete
        elif kind == "renamed" and isinstance(at[-1], str):
            yield at, kind, rename
        elif kind == "of a wrong type":
            yield from ((at, repr(wrong), put(wrong)) for wrong in WRONG_TYPES[type(value)])
            if isinstance(value, (list, dict)) and at not in OPTIONAL:
                yield at, "None", put(None)
        elif kind == "impossible":
            yield from ((at, repr(wrong)[:40], put(wrong)) for wrong in IMPOSSIBLE[type(value)])


@pytest.mark.parametrize("kind", ["deleted", "renamed", "of a wrong type", "impossible"])
def test_no_field_can_be_damaged_unseen(folder: Path, kind: str) -> None:
    sound = (folder / MANIFEST).read_text()
    tried, unseen, unclear = 0, [], []
    for at, what, change in damages(json.loads(sound), kind):
        table = json.loads(sound)
        change(table, at)
        (folder / MANIFEST).write_text(json.dumps(table))
        tried += 1
        try:
            open_bundle(folder)
        except BundleError as error:
            text = str(error)
            names_all = all(str(key) in text for key in at if isinstance(key, str))
            if "\n" in text or str(folder) not in text or "expected" not in text or not names_all:
                unclear.append((at, what, text))
        else:
            unseen.append((at, what))
    assert (unseen, unclear) == ([], [])
    assert tried >= {"deleted": 100, "renamed": 80, "of a wrong type": 400, "impossible": 300}[kind]


def test_no_table_takes_a_key_that_it_does_not_know(folder: Path) -> None:
    sound = (folder / MANIFEST).read_text()
    tables = [(), *(at for at, value in nodes(json.loads(sound)) if isinstance(value, dict))]
    unseen = []
    for at in tables:
        table = json.loads(sound)
        parent_of(table, (*at, "surprise"))["surprise"] = 7
        (folder / MANIFEST).write_text(json.dumps(table))
        try:
            open_bundle(folder)
        except BundleMismatch as error:
            unseen += [] if "surprise" in str(error) else [at]
        else:
            unseen.append(at)
    assert (unseen, len(tables)) == ([], 25)


TIME = "the time that sequence names"
NAMES = "two or more names, sorted, none twice"
SHAPE = "[1, 3, 16, 16], as input.resize and input.layout say"


@pytest.mark.parametrize(
    ("field", "value", "observed", "expected"),
    [
        ("temperature", 99.0, "99.0", "0.05 to 20"),
        ("temperature", "1", "'1'", "a number"),
        ("features", 10**30, str(10**30), "a whole number"),
        ("name", "../nano", "'../nano'", "small letters, digits and dashes"),
        ("created_at", "2026-09-21", "'2026-09-21'", f"2026-09-21T14:13:20Z, {TIME}"),
        ("sequence", 2**39, str(2**39), "UTC seconds at packing"),
        ("labels", ["metal", "glass", "paper"], "['metal', 'glass', 'paper']", NAMES),
        ("input.colour", "BGR", "'BGR'", "RGB"),
        ("input.std", [64.0, 64.0, 63.0], "[64.0, 64.0, 63.0]", "three times 64, as input.scale says"),
        ("input.mean", [0.0, 0.0, 0.0], "[0.0, 0.0, 0.0]", "three times 127, as input.zero_point says"),
        ("input.shape", [1, 16, 16, 3], "[1, 16, 16, 3]", SHAPE),
        ("decision.max_frames", 1, "1", "min_frames to 1000"),
        ("out_of_distribution.means", [[0.0, 2.0, 0.0]], "[3]", "3 rows of 3, as labels and features say"),
        ("out_of_distribution.means", [[0.0, 2.0, 0.0]] * 3, "'the same for two labels'", "each its own"),
        ("out_of_distribution.strange", [[0.0, 2.0]], "[2]", "one row or more of 3, as features says"),
        ("out_of_distribution.lowest", 1.6, "1.6", "-1.5 to 1.5"),
        ("metrics.int8.trashnet.pictures", 31, "31", "30, as metrics.float32 has"),
    ],
)
def test_the_sentence_says_file_field_observed_expected_and_next_step(
    folder: Path, field: str, value: Any, observed: str, expected: str
) -> None:
    rewrite(folder, lambda table: put(value)(table, tuple(field.split("."))))
    with pytest.raises(BundleMismatch) as caught:
        load_bundle(folder)
    first = str(caught.value).removesuffix("; pack the bundle again with: trainer pack").split("; ")[0]
    assert first == f"{folder / MANIFEST}.{field} is {observed}, expected {expected}"


def test_a_near_miss_gets_a_hint_and_all_problems_come_at_once(folder: Path) -> None:
    def damage(table: dict[str, Any]) -> None:
        table["temprature"] = table.pop("temperature")
        table["features"] = "three"

    rewrite(folder, damage)
    where = folder / MANIFEST
    assert refusal(folder) == (
        f"{where} has an unknown key 'temprature'; did you mean 'temperature'?; "
        f"{where}.features is 'three', expected a whole number; "
        f"{where} has no 'temperature'; expected a number; pack the bundle again with: trainer pack"
    )


def test_figures_of_a_label_that_is_not_there_are_refused(folder: Path) -> None:
    def damage(table: dict[str, Any]) -> None:
        for kind in ("int8", "float32", "teacher"):
            table["metrics"][kind]["trashnet"]["recall"]["plastic"] = 1.0

    rewrite(folder, damage)
    assert "metrics.int8.trashnet.recall is 'plastic', expected one of ['glass', 'metal', 'paper']" in refusal(folder)


def test_what_is_measured_of_one_file_is_measured_of_the_other() -> None:
    """The walk above damages one place at a time; this pins what it leans on."""
    metrics = manifest().metrics
    assert (
        metrics.int8
        == metrics.float32
        == {"trashnet": Score(30, 0.9, 0.88, {"glass": 0.8, "metal": 1.0, "paper": 0.9})}
    )
    assert metrics.split_sha256 == HASH


# Other versions


@pytest.mark.parametrize("schema", [2, 99])
def test_a_newer_schema_asks_for_a_newer_wastebin(folder: Path, schema: int) -> None:
    rewrite(folder, lambda table: table.update(schema=schema, new_field={}))
    with pytest.raises(BundleUnsupported) as caught:
        load_bundle(folder)
    assert str(caught.value) == (
        f"{folder / MANIFEST}.schema is {schema}, expected 1, as wastebin {device.__version__} reads; upgrade wastebin"
    )


@pytest.mark.parametrize("schema", [0, -1])
def test_a_schema_that_never_was_is_refused(folder: Path, schema: int) -> None:
    rewrite(folder, lambda table: table.update(schema=schema))
    assert f"schema is {schema}, expected 1" in refusal(folder)


@pytest.mark.parametrize(("minimum", "below"), [("8.0.0", "9.0.0"), ("0.0.0", device.__version__), ("0.0.1", "0.0.1")])
def test_a_bundle_for_another_wastebin_is_refused(folder: Path, minimum: str, below: str) -> None:
    rewrite(folder, lambda table: table.update(wastebin={"minimum": minimum, "below": below}))
    with pytest.raises(BundleUnsupported) as caught:
        load_bundle(folder)
    assert str(caught.value) == (
        f"{folder / MANIFEST}.wastebin is {minimum} up to, not including, {below}, expected a range that holds "
        f"{device.__version__}; install a fitting wastebin, or another bundle"
    )


# Files


@pytest.mark.parametrize("name", ["model.onnx", "float.onnx", "golden.npz"])
def test_one_flipped_bit_shows(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    text = refusal(folder)
    assert text.startswith(f"{folder / name}: SHA-256 ")
    assert text.endswith("...; the copy is damaged, ship the bundle again")


@pytest.mark.parametrize("name", ["model.onnx", "float.onnx", "golden.npz"])
@pytest.mark.parametrize("keep", [0, -1])
def test_a_file_that_was_cut_off_shows(folder: Path, name: str, keep: int) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:keep])
    assert refusal(folder) == (
        f"{folder / name}: {len(data[:keep])} bytes, but manifest.json says {len(data)}; "
        "the copy is damaged, ship the bundle again"
    )


@pytest.mark.parametrize("name", ["model.onnx", "float.onnx", "golden.npz"])
def test_a_missing_file_shows(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleNotFound) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"{folder / name}: missing, but manifest.json lists it; ship the bundle again"


def test_a_folder_in_a_files_place_is_a_missing_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    assert refusal(folder) == f"{folder / 'model.onnx'}: missing, but manifest.json lists it; ship the bundle again"


@pytest.mark.parametrize("name", ["notes.txt", "model.onnx.part", ".hidden", "manifest.json.bak"])
def test_a_file_that_nobody_listed_shows(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    sentence = "not listed, expected only the files of manifest.json; remove it, or ship again"
    assert refusal(folder) == f"{folder / name}: {sentence}"


# The manifest as a file


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff\xfe\x00", b"{", b"nonsense", b"9" * 5000, b"[" * 100_000, b'{"schema": 1, "schema": 1}', b"\x00" * 64],
    ids=["empty", "not UTF-8", "cut off", "nonsense", "5000 digits", "deep", "key twice", "zeros"],
)
def test_a_manifest_that_is_no_json_is_one_sentence(folder: Path, raw: bytes) -> None:
    (folder / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleMismatch) as caught:
        load_bundle(folder)
    text = str(caught.value)
    assert text.startswith(f"{folder / MANIFEST}: {len(raw)} bytes that are not JSON (")
    assert text.endswith("), expected a manifest; the copy is damaged, ship the bundle again")
    assert "\n" not in text


@pytest.mark.parametrize("raw", [b"[]", b"null", b"7", b'"text"'])
def test_a_manifest_that_is_no_table_is_one_sentence(folder: Path, raw: bytes) -> None:
    (folder / MANIFEST).write_bytes(raw)
    assert refusal(folder).startswith(f"{folder / MANIFEST} is {json.loads(raw)!r}, expected a table; ")


def test_a_key_that_would_break_the_line_is_quoted(folder: Path) -> None:
    rewrite(folder, lambda table: table["files"].update({"a\nb": 7}))
    assert ".files.'a\\nb' is 7, expected a table; " in refusal(folder)


def test_no_bundle_there_is_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BundleNotFound) as caught:
            load_bundle(path)
        assert str(caught.value) == f"{path}: no manifest.json there; name the folder of a bundle, such as models/nano"


def test_a_path_that_the_system_refuses_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(BundleNotFound) as caught:
        load_bundle(path)
    assert str(caught.value) == (
        f"{path / MANIFEST}: cannot be read (File name too long); check the path and its permissions"
    )


def test_the_helper_that_damages_behind_the_hashes_does_so(folder: Path) -> None:
    """The tests of what a network answers lean on it."""
    replace_file(folder, "golden.npz", b"other bytes")
    assert read_manifest(folder)["files"]["golden.npz"]["size"] == 11
    load_bundle(folder)
