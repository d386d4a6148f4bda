"""The page: by itself, complete, honest about what is missing, and the same as its JSON and its card."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from bundles import network
from made_runs import RECIPE, probes, seeded, write_probes, write_run, write_teacher

from device.errors import UsageError
from trainer.cli import run_app
from trainer.errors import RecipeError, StageMissing, TrainerError
from trainer.findings import read_findings
from trainer.report import Report, make_report, parse_also, run_card
from trainer.timing import Timed, time_files

SIZE = f"{len(network(size_px=32)):,} bytes"


def ticking() -> Callable[[], float]:
    """A clock on which every reading is a millisecond after the one before."""
    ticks = count()
    return lambda: next(ticks) / 1000


def plain(text: str) -> str:
    """With every dash as it is typed."""
    return text.replace("\N{EN DASH}", "-").replace("\N{MINUS SIGN}", "-")


class Reader(HTMLParser):
    """Tags, links, text and table rows of a page; unclosed tags are noticed."""

    VOID = ("meta", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images = 0
        self.rows: list[list[str]] = []
        self.notes: list[str] = []
        self._kinds: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.tags.append(tag)
        self.images += tag == "img"
        self.ids += [names["id"] or ""] if "id" in names else []
        self.links += [names[name] or "" for name in ("src", "href", "xlink:href") if name in names]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if names.get("class") == "note":
            self.notes.append("")
        if tag not in self.VOID:
            self.open.append(tag)
            self._kinds.append(names.get("class") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._kinds.pop()

    def handle_data(self, data: str) -> None:
        data = plain(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        if "note" in self._kinds:
            self.notes[-1] += data

    def row(self, start: str) -> list[str]:
        (found,) = [row for row in self.rows if row and row[0].startswith(start)]
        return found


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """Errs once on lab in INT8, twice in float; everything was probed."""
    run = write_run(
        tmp_path / "main", tmp_path / "pictures", int8_wrong=[0], float_wrong=[0, 1], teacher=str(tmp_path / "teacher")
    )
    digests = [sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / "pictures").rglob("*.png"))]
    write_probes(run, probes(digests[:2]))
    (tmp_path / "teacher").mkdir()
    write_teacher(tmp_path / "teacher")
    return run


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Not even evaluated."""
    run = write_run(tmp_path / "bare", tmp_path / "pictures")
    shutil.rmtree(run / "evaluate")
    return run


def arm_folder(top: Path, run: Path) -> Path:
    digest = sha256((run / "quantize" / "model.onnx").read_bytes()).hexdigest()
    folder = top / "arm"
    folder.mkdir()
    files = {
        "int8": {"sha256": digest, "instructions": {"cortex-a72": 38_000_000, "cortex-a76": 22_900_000}},
        "float32": {"sha256": "0" * 64, "instructions": {"cortex-a72": 82_700_000, "cortex-a76": 82_700_000}},
    }
    (folder / "tiny.json").write_text(json.dumps({"files": files, "ratios": {"int8 / float32, cortex-a72": 0.459}}))
    same = {"cortex-a72": {"same_label": 17}}
    (folder / "tiny-same.json").write_text(json.dumps({"model_sha256": digest, "pictures": 17, "processors": same}))
    return folder


def report_of(run: Path, top: Path, *also: tuple[Path, Any]) -> Report:
    return make_report(run, RECIPE, also, arm=top / "arm", clock=ticking())


def test_the_page_needs_nothing_but_itself(main: Path, tmp_path: Path) -> None:
    report = report_of(main, tmp_path)
    page = Reader(report.page)
    assert page.open == []
    assert {"script", "link", "iframe", "object"} & set(page.tags) == set()
    assert [link[:22] for link in page.links if link[:1] != "#"] == ["data:image/jpeg;base64"] * 2
    assert {link[1:] for link in page.links if link[:1] == "#"} == set(page.ids)
    assert not re.search(r"url\(|@import|https?://", report.page)
    assert len(report.page) < 3_000_000
    assert "prefers-color-scheme:dark" in report.page


def test_the_table_has_the_briefs_rows_ours_and_what_was_not_run(main: Path, tmp_path: Path) -> None:
    page = Reader(report_of(main, tmp_path).page)
    table = page.rows[1:]  # below the head
    names = [row[0] for row in table]
    assert names[:13] == [
        "The brief says: teacher, Inception-ResNet-v2",
        "The brief says: student CNN",
        "The brief says: student CNN, INT8",
        f"teacher: lite0 + lite18,500,000 parameters, {tmp_path / 'teacher'}",
        "lite0, in that teacher",
        "lite1, in that teacher",
        "Inception-ResNet-v2, the brief's teacher",
        f"nano, float123,456 parameters, {main}",
        "nano, INT8",
        "cnn4, the brief's student",
        "base",
        "MobileNetV2",
        "EfficientNet-B0",
    ]
    assert table[0] == ["The brief says: teacher, Inception-ResNet-v2", "217 MB", "85 %", "", "", "", "", ""]
    assert [row[1] for row in table if row[0] in ("base", "MobileNetV2", "EfficientNet-B0")] == ["not run"] * 3
    assert table[3][1:5] == ["34.0 MB", "91.7 %(64.6-98.5), n = 12", "0.915", ""]
    # Right on 11 of 12; organic and the field have columns of their own; a turn of the clock is a millisecond.
    assert table[8] == ["nano, INT8", SIZE, "91.7 %(64.6-98.5), n = 12", "0.915", "100.0 %(43.9-100.0), n = 3",
                        "65.0 %(32.5-82.5), n = 20", "1.00", "1.00"]  # fmt: skip
    assert table[7][2:8] == ["83.3 %(55.2-95.3), n = 12", "0.832", "100.0 %(43.9-100.0), n = 3", "", "1.00", ""]


def test_the_json_says_the_same(main: Path, tmp_path: Path) -> None:
    report = report_of(main, tmp_path)
    data = json.loads(report.data)
    assert (data["name"], data["leading"], data["labels"]) == ("tiny", "lab", ["glass", "metal", "paper"])
    int8 = next(row for row in data["models"] if row["kind"] == "int8")
    assert (int8["leading"]["pictures"], int8["leading"]["accuracy"]) == (12, pytest.approx(11 / 12, abs=1e-4))
    assert [(row["source"], row["kind"], row["overall"]["pictures"]) for row in data["confused"]] == [
        ("lab", "teacher", 12), ("lab", "int8", 12), ("organic", "int8", 3), ("lab", "float", 12),
        ("organic", "float", 3), ("phone", "int8", 20),
    ]  # fmt: skip
    tables = {(row["source"], row["kind"]): row["table"] for row in data["confused"]}
    assert tables["lab", "int8"] == [[3, 1, 0], [0, 4, 0], [0, 0, 4]]
    assert tables["lab", "float"] == [[3, 1, 0], [0, 3, 1], [0, 0, 4]]
    assert [(row["source"], row["is_field"], sorted(row["shares"])) for row in data["sources"]] == [
        ("lab", False, ["float", "int8", "teacher"]), ("organic", False, ["float", "int8"]), ("phone", True, ["int8"]),
    ]  # fmt: skip
    assert data["not_named"]["hands"]["pictures"] == 2
    assert data["probes"] == probes([row["sha256"] for row in data["probes"]["mistakes"]])
    assert (data["near_copies"], data["left_out"], data["splits"]) == (3, 1, {"val": 17, "tune": 2})


def test_every_chapter_shows_what_was_probed(main: Path, tmp_path: Path) -> None:
    page = Reader(report_of(main, tmp_path).page)
    assert page.ids == [
        "models", "front", "field", "labels", "calibration", "sorting", "robustness", "shortcuts", "mistakes",
        "ingredients", "training", "made", "missing",
    ]  # fmt: skip
    assert page.images == 2
    text = report_of(main, tmp_path).page
    for words in (
        "expected calibration error 0.043", "Temperature 0.9, fitted on tune", ">95.5 %<", ">rotation, degrees<",
        "default: 6.0 % at 72 %", "95 % bound 9.0 %", "on tune, 0.95: contamination 1.0 %",
        "2 residual and 15 recyclable pictures",
        "<b>not metal</b> named <b>metal</b>", "97 % sure, lab", "background alone", "The teacher&#x27;s loss per pass",
    ):  # fmt: skip
        assert words in text, words
    assert ["phone", "not measured", "not measured", "65.0 % (43.3-81.9), n = 20", "0.650"] in page.rows
    assert ["phone", "65.0 % (32.5-82.5), n = 20", "0.610", "70.0 %", "80.0 %"] in page.rows
    assert ["lite1", "2", "31", "0.625"] in page.rows
    # Precision, recall, F1 of teacher, float, INT8 on lab.
    (glass,) = [row for row in page.rows if row[:2] == ["glass", "4"]]
    assert glass == [
        "glass", "4", "1.00", "1.00", "1.00", "1.00", "0.75", "0.86", "1.00", "0.75", "0.86",
    ]  # fmt: skip


def test_what_was_not_measured_is_said_with_what_brings_it(bare: Path, tmp_path: Path) -> None:
    report = report_of(bare, tmp_path)
    page = Reader(report.page)
    assert [gap["brings"] for gap in json.loads(report.data)["missing"]] == [
        f"trainer evaluate --run {bare}", f"trainer probe --run {bare}", f"trainer probe --run {bare} --field ZIP",
        f"trainer teach --run {bare}", "--also RUN:RECIPE", "--also RUN:RECIPE", "make arm-count", "", "", "",
    ]  # fmt: skip
    assert f"Not measured yet. It comes with: trainer probe --run {bare}" in page.notes
    assert page.row("nano, INT8")[1:3] == [SIZE, "not measured"]
    assert page.row("our teacher")[1] == "not run"
    # Nothing of the brief's is passed off as ours.
    assert [row[0] for row in page.rows if "63.4 %" in row] == [
        "The brief says: student CNN", "The brief says: student CNN, INT8",
    ]  # fmt: skip
    assert "What was not measured" in report.card


def test_counted_instructions_are_the_cost_when_there_are_any(main: Path, tmp_path: Path) -> None:
    arm_folder(tmp_path, main)
    report = report_of(main, tmp_path)
    page = Reader(report.page)
    assert "million instructions of one inference, emulated cortex-a72" in report.page
    assert ["nano, INT8", "this file", "38.0 million", "22.9 million"] in page.rows
    assert ["nano, float", "another file of that name", "82.7 million", "82.7 million"] in page.rows
    assert ["int8 / float32, cortex-a72", "0.46"] in page.rows
    assert "name the same label on 17 of 17 pictures" in report.page


def test_answers_of_another_file_prove_nothing_about_this_one(main: Path, tmp_path: Path) -> None:
    folder = arm_folder(tmp_path, main)
    (folder / "tiny-same.json").write_text('{"model_sha256": "00", "pictures": 17, "processors": {}}')
    assert json.loads(report_of(main, tmp_path).data)["same"] is None


def test_other_runs_bring_their_rows_ingredients_and_spread(main: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    teacher = str(tmp_path / "teacher")
    control = write_run(tmp_path / "control", pictures, int8_wrong=[0, 1, 2, 3], loss=2.0)
    again = write_run(tmp_path / "again", pictures, teacher=teacher)
    cnn4 = write_run(tmp_path / "cnn4", pictures, net="cnn4", int8_wrong=range(6))
    loose = replace(RECIPE, name="cnn4", net="cnn4", data=replace(RECIPE.data, same_object=1.0))
    report = report_of(main, tmp_path, (control, RECIPE), (again, seeded(2)), (cnn4, loose))
    page = Reader(report.page)
    assert page.row("cnn4, the brief's student, INT8")[2] == "50.0 %(25.4-74.6), n = 12"
    assert page.row("tinytaught by")[1:] == ["lab", "12", "4", "1", "-75 %", "0", "3", "0.25"]
    assert page.row("accuracy, lab")[1:] == ["0.958 ± 0.059", "2"]
    assert page.row("this run") == ["this run", "2", "75", "2", "0.500", "75.0 %"]
    assert page.row("control") == ["control", "2", "75", "2", "1.000", "75.0 %"]
    assert "Of each recipe the first seed; 1 more trainings are in the JSON." in report.page


def test_many_differences_are_folded_away(main: Path, tmp_path: Path) -> None:
    control = write_run(tmp_path / "control", tmp_path / "pictures", int8_wrong=[0, 1, 2, 3])
    train = replace(RECIPE.train, epochs=31, batch=7, peak_lr=0.5, average=0.5, weight_decay=0.5, label_smoothing=0.5)
    page = report_of(main, tmp_path, (control, replace(RECIPE, train=train))).page
    assert "<summary>7 differences</summary>train.epochs: " in page


def test_a_split_that_keeps_near_copies_apart_from_nothing_is_marked(main: Path, tmp_path: Path) -> None:
    body = json.loads((main / "data" / "stage.json").read_text())
    body["result"]["near_copy_groups"] = 0
    (main / "data" / "stage.json").write_text(json.dumps(body))
    ungrouped = replace(RECIPE, data=replace(RECIPE.data, same_object=1.0))
    page = make_report(main, ungrouped, arm=tmp_path, clock=ticking()).page
    assert Reader(page).row("nano, INT8")[0] == "nano, INT8not grouped: near-copies of training pictures are in val"
    assert "not grouped" not in report_of(main, tmp_path).page


def test_names_from_outside_are_shown_and_never_obeyed(main: Path, tmp_path: Path) -> None:
    found = probes()
    found["field"][0]["source"] = "<script>alert(1)</script>"
    write_probes(main, found)
    page = report_of(main, tmp_path).page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "MIT, drawn &lt;b&gt;here&lt;/b&gt;" in page


def test_mistakes_without_their_pictures_are_listed_and_the_page_says_why(main: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "pictures")
    page = Reader(report_of(main, tmp_path).page)
    assert page.images == 0
    (said,) = [text for text in page.notes if text.startswith("Without pictures: ")]
    assert str(tmp_path / "pictures") in said
    assert "not metal" in report_of(main, tmp_path).page


def test_the_card_holds_the_same_figures_and_licences(main: Path, tmp_path: Path) -> None:
    arm_folder(tmp_path, main)
    lines = plain(report_of(main, tmp_path).card).splitlines()
    assert "Emulated cortex-a72 names the same label as here on 17 of 17 pictures of *val*." in lines
    for line in (
        "# tiny",
        "Names glass, metal, paper in a picture of one item, 32 x 32 pixels.",
        "| lab | 91.7 % (64.6-98.5), n = 12 | 83.3 % (55.2-95.3), n = 12 | 0.915 | "
        "glass 0.75, metal 1.00, paper 1.00 |",
        "| phone | 65.0 % (43.3-81.9), n = 20 | 0.650 | glass 0.71, metal 0.57, paper 0.67 |",
        "`hands`, known only not to be a label: 50.0 % (9.5-90.5), n = 2 not named so.",
        "- expected calibration error 0.043",
        "- answering the surest 90 % only: 95.5 % right",
        "- with 40 % residual and unknown things, by default (`accept_prob` 0.8): contamination 6.0 % (95 % bound "
        "9.0 %) at diversion 72.0 %",
        "- with 40 % residual and unknown things, as strict as diverts 70 % on *tune* (`accept_prob` 0.95): "
        "contamination 1.0 % (95 % bound 7.0 %) at diversion 72.0 %",
        "- background alone, lab: 33.3 % named as the item that is gone",
        "- Milliseconds on a Raspberry Pi: none was at hand.",
        "- lab: MIT, drawn <b>here</b>",
        "- teacher: lite0 + lite1",
        "- recipe `tiny`: 2 epochs, 2 minutes of training",
    ):
        assert line in lines, line
    ours = [line for line in plain(run_card(main, RECIPE)).splitlines() if line.startswith("| lab ")]
    assert ours == [line for line in lines if line.startswith("| lab ")]


def test_a_card_names_the_run_that_taught_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    taught = write_run(tmp_path / "taught", tmp_path / "pictures", teacher=str(tmp_path / "before"))
    card = run_card(taught, RECIPE)
    assert "- teacher: the student of run before" in card.splitlines()
    assert str(tmp_path) not in card


def test_files_take_turns_and_only_int8_is_timed_as_arm_computes(main: Path) -> None:
    path = main / "quantize" / "model.onnx"
    found = time_files({"a int8": path, "a float": path}, 3, ticking())
    assert found == {
        "a int8": Timed(pytest.approx(1.0), pytest.approx(1.0)),
        "a float": Timed(pytest.approx(1.0), None),
    }


def test_a_damaged_file_is_one_sentence(main: Path, tmp_path: Path) -> None:
    (main / "quantize" / "model.onnx").write_bytes(b"no network")
    with pytest.raises(TrainerError, match=r"model\.onnx: onnxruntime cannot load it .*; quantise again"):
        report_of(main, tmp_path)
    (main / "evaluate" / "probes.json").write_text("{")
    with pytest.raises(
        StageMissing, match=r"probes\.json: no JSON that can be read .*make it again with: trainer probe"
    ):
        read_findings(main, RECIPE, tmp_path)


def test_probes_of_another_version_are_one_sentence(main: Path, tmp_path: Path) -> None:
    found = probes()
    del found["calibration"]["ece"]
    write_probes(main, found)
    with pytest.raises(StageMissing, match=r"have no 'ece', so another version wrote them; measure again"):
        report_of(main, tmp_path)


def test_a_run_that_is_not_there_or_not_the_recipes_is_refused(main: Path, tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match=r"nowhere: no such run; make one with: trainer data --run "):
        read_findings(tmp_path / "nowhere", RECIPE, tmp_path)
    with pytest.raises(
        StageMissing, match=r"its student is a nano of glass, metal, paper, but recipe tiny asks for a l"
    ):
        read_findings(main, replace(RECIPE, net="lite0"), tmp_path)


def test_a_run_to_compare_with_has_a_recipe() -> None:
    path, recipe = parse_also("runs/a:b:nano")
    assert (path, recipe.name) == (Path("runs/a:b"), "nano")
    for text in ("runs/a", ":nano"):
        with pytest.raises(UsageError, match=f"--also {text}: expected RUN:RECIPE"):
            parse_also(text)
    with pytest.raises(RecipeError):
        parse_also("runs/a:nothing-of-that-name")


def test_the_command_writes_what_it_is_asked_for(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'name = "tiny"\nnet = "nano"\nsize_px = 32\n[data]\nlabels = ["glass", "metal", "paper"]\n'
    (tmp_path / "tiny.toml").write_text(f"{text}[train]\nepochs = 2\npictures_per_epoch = 12\n")
    outs = [tmp_path / name for name in ("page.html", "data.json", "card.md")]
    rest = ["--run", str(bare), "--recipe", str(tmp_path / "tiny.toml"), "--also", f"{bare}:{tmp_path / 'tiny.toml'}"]
    assert run_app(["report", "--out", str(outs[0]), "--json", str(outs[1]), "--card", str(outs[2]), *rest]) == 0
    assert outs[0].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(outs[1].read_text())["name"] == "tiny"
    assert outs[2].read_text(encoding="utf-8").startswith("# tiny\n")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"{outs[0]}: {outs[0].stat().st_size:,} bytes\n")
    assert run_app(["report", "--out", str(outs[0]), "--run", str(bare), "--also", "x"]) == 2
    assert capsys.readouterr().err.startswith("error: --also x: expected RUN:RECIPE")
