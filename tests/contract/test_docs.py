"""What is written about the commands is true: in the README, in the help, in recipes and in the sentences of errors."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import device.cli
import device.errors
import trainer.cli
import trainer.errors
from device.errors import WastebinError

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUPS = {"wastebin": typer.main.get_command(device.cli.app), "trainer": typer.main.get_command(trainer.cli.app)}
COMMANDS = [(program, name) for program, group in GROUPS.items() for name in group.commands]  # type: ignore[attr-defined]

Words = tuple[str, ...]


def calls(line: str) -> Iterator[Words]:
    """Every call of our programs in a line of shell: program and arguments, up to a pipe, a redirection or a `&&`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    call: list[str] = []
    is_file = False
    for word in [*lexer, ";"]:
        if set(word) <= set("<>"):
            is_file = True
            continue
        if not set(word) <= set("|&;"):
            call += [] if is_file else [word]
            continue
        while call and (call[0] in ("sudo", "$") or re.fullmatch(r"[A-Z_]+=.*", call[0])):
            del call[0]
        if call and Path(call[0]).name in GROUPS:
            yield (Path(call[0]).name, *call[1:])
        call, is_file = [], False


def code_lines(markdown: str) -> Iterator[str]:
    """The lines inside fenced blocks, those that end in a backslash joined with the next."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", markdown, flags=re.DOTALL | re.MULTILINE):
        if not set(block) & set("─│▶▼"):  # a drawing
            yield from block.replace("\\\n", " ").splitlines()


def parse(call: Words) -> None:
    """Read a command line as the program would, and do nothing."""
    program, *arguments = call
    group = GROUPS[program]
    with group.make_context(program, list(arguments)) as context:
        name, command, rest = group.resolve_command(context, list(arguments))  # type: ignore[attr-defined]
        assert command is not None, f"{program} has no command {name}"
        command.make_context(name, rest, parent=context)


README_CALLS = [call for line in code_lines(README) for call in calls(line)]


def test_the_reader_of_shell_lines_reads_them() -> None:
    assert list(
        calls("$ sudo A=1 .venv/bin/wastebin events --csv > x.csv && trainer data 'a b' | head # wastebin no")
    ) == [
        ("wastebin", "events", "--csv"),
        ("trainer", "data", "a b"),
    ]
    assert list(calls("sudo systemctl enable --now wastebin; git clone <here> wastebin")) == []
    assert list(code_lines("text\n```sh\none \\\n  two\nthree\n```\nfour\n```\na ─▶ b\n```\n")) == [
        "one    two",
        "three",
    ]


@pytest.mark.parametrize(
    "line", ["trainer dats x", "wastebin run --camra sim", "trainer pack", "wastebin correct x glass"]
)
def test_a_line_that_does_not_parse_is_noticed(line: str) -> None:
    (call,) = calls(line)
    with pytest.raises(Exception, match=r"No such|Missing|valid integer"):
        parse(call)


def test_the_readme_shows_both_programs() -> None:
    shown = [call[0] for call in README_CALLS]
    assert shown.count("wastebin") >= 5
    assert shown.count("trainer") >= 5


@pytest.mark.parametrize("call", README_CALLS, ids=" ".join)
def test_every_line_of_the_readme_parses(call: Words) -> None:
    parse(call)


def test_these_are_the_commands() -> None:
    assert {"run", "demo", "classify", "simulate", "bench", "events", "correct", "doctor"} <= {
        name for program, name in COMMANDS if program == "wastebin"
    }
    assert [name for program, name in COMMANDS if program == "trainer"] == [
        "build", "data", "views", "teach", "distill", "quantize", "evaluate", "probe", "report", "pack", "bench",
        "ship", "distill-and-ship", "pull", "provision", "upgrade", "keys",
    ]  # fmt: skip


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_command_is_in_the_readme_and_its_help_has_an_example_that_parses(program: str, name: str) -> None:
    command = GROUPS[program].commands[name]  # type: ignore[attr-defined]
    first, *_ = command.help.splitlines()
    assert len(first) > 10
    assert any(call[:2] == (program, name) for call in README_CALLS), f"README.md shows no {program} {name}"
    (example,) = re.findall(r"^Example: (.*)$", command.help, flags=re.MULTILINE)
    (call,) = calls(example)
    assert call[:2] == (program, name)
    parse(call)


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_option_says_what_it_does(program: str, name: str) -> None:
    command = GROUPS[program].commands[name]  # type: ignore[attr-defined]
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


RECIPES = sorted((ROOT / "trainer" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_the_head_of_a_recipe_has_its_commands_and_they_parse(path: Path) -> None:
    found = [
        call
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"#\s+(Command:\s+)?trainer ", line)
        for call in calls(re.sub(r"^#\s+(Command:\s+)?", "", line))
    ]
    assert found
    for call in found:
        parse(call)
        assert path.stem in call, f"{' '.join(call)}: not of this recipe"


def sentences() -> Iterator[tuple[str, str]]:
    """Every text of the program with x in the place of what is filled in, and where it is."""
    for package in ("device", "trainer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
                    yield f"{path.name}:{node.lineno}", "".join(str(part) for part in parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.name}:{node.lineno}", node.value


def test_commands_that_sentences_advise_exist() -> None:
    advised, wrong = 0, []
    for place, text in sentences():
        for program, rest in re.findall(r"(?:run|with|see|try): (wastebin|trainer) ([a-z-][^;,()`\n]*)", text):
            advised += 1
            name, *options = rest.split()
            command = GROUPS[program].commands.get(name)  # type: ignore[attr-defined]
            if options and isinstance(command, typer.core.TyperGroup):
                command = command.commands.get(options[0])
            known = {"--help"} | {opt for parameter in (command.params if command else []) for opt in parameter.opts}
            if name not in ("x", "--help") and (command is None or {o for o in options if o.startswith("--")} - known):
                wrong.append((place, f"{program} {rest}"))
    assert wrong == []
    assert advised >= 5


def leaves(kind: type[WastebinError]) -> Iterator[type[WastebinError]]:
    for child in kind.__subclasses__():
        yield child
        yield from leaves(child)


def test_every_error_is_raised_by_some_test() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py")))
    expected = set(re.findall(r"\w+", " ".join(re.findall(r"raises\(([^)]*)\)", source))))
    ours = [kind for kind in leaves(WastebinError) if kind.__module__ in ("device.errors", "trainer.errors")]
    assert {kind.__name__ for kind in ours} == {*device.errors.__all__, *trainer.errors.__all__} - {"WastebinError"}
    assert [kind.__name__ for kind in ours if not {kind.__name__, *(c.__name__ for c in leaves(kind))} & expected] == []
