"""A few bins first, then the rest; no further once one speaks against it; nobody is asked twice."""

import asyncio
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback import Sshd, Wire, program, running_sshd
from rich.console import Console
from signed import signed_bundle

from trainer.cli import run_app
from trainer.errors import LinkError, ShipError
from trainer.fleet import Fleet, Report, load_fleet, make_fleet, roll_out
from trainer.keys import Keys, init_keys
from trainer.link import WASTEBIN, Host, bin_host
from trainer.ship import Outcome, Result
from trainer.ship_view import outcome_table, reasons, verdict

FAKE = Path(__file__).resolve().parents[1] / "fake_bin.py"
T0 = 1_790_000_000
MANY = 20


def bins(count: int) -> list[Host]:
    return [bin_host(f"bin-{number}.local") for number in range(count)]


def rolled_out(fleet: Fleet, **results: Result) -> tuple[list[str], list[Outcome], list[Outcome]]:
    """Who was asked in which order, the outcomes, and those that were noted; bins not named have it live."""
    asked: list[str] = []
    noted: list[Outcome] = []

    async def ship_one(host: Host) -> Outcome:
        asked.append(host.name)
        await asyncio.sleep(0)  # lets others begin that may
        return Outcome(host.name, results.get(host.name.partition(".")[0].replace("-", "_"), "live"))

    outcomes = asyncio.run(roll_out(fleet, ship_one, noted.append))
    return asked, outcomes, noted


def test_the_first_is_the_canary_and_the_others_follow() -> None:
    fleet = make_fleet(bins(4), at_once=2)
    asked, outcomes, noted = rolled_out(fleet)
    assert asked == [host.name for host in fleet.hosts]
    assert outcomes == noted == [Outcome(host.name, "live") for host in fleet.hosts]


def test_named_canaries_come_first() -> None:
    hosts = bins(4)
    fleet = make_fleet(hosts, [hosts[2], hosts[1]])
    assert (fleet.hosts, fleet.canaries) == ((hosts[2], hosts[1], hosts[0], hosts[3]), 2)


@pytest.mark.parametrize("result", ["waiting", "offline", "lost", "refused", "rolled back", "failed"])
def test_nothing_goes_further_than_a_canary_that_does_not_have_it(result: Result) -> None:
    asked, outcomes, _ = rolled_out(make_fleet(bins(20)), bin_0=result)
    assert asked == ["bin-0.local"]
    assert [outcome.result for outcome in outcomes] == [result] + ["untouched"] * 19


@pytest.mark.parametrize("result", ["refused", "rolled back", "failed"])
def test_one_that_speaks_against_it_keeps_those_that_were_not_asked(result: Result) -> None:
    asked, outcomes, noted = rolled_out(make_fleet(bins(20), at_once=4), bin_1=result)
    # Three others were asked at the same time as the one that speaks against it.
    assert asked == [f"bin-{number}.local" for number in range(5)]
    assert [outcome.result for outcome in outcomes] == ["live", result, "live", "live", "live"] + ["untouched"] * 15
    assert sorted(outcome.host for outcome in noted) == sorted(asked)


@pytest.mark.parametrize("result", ["waiting", "offline", "lost"])
def test_one_that_is_only_off_does_not(result: Result) -> None:
    asked, outcomes, _ = rolled_out(make_fleet(bins(20), at_once=4), bin_1=result, bin_7=result)
    assert len(asked) == 20
    assert [outcome.result for outcome in outcomes].count("live") == 18


def test_no_more_are_asked_at_once_than_are_allowed() -> None:
    busy, most = 0, 0

    async def ship_one(host: Host) -> Outcome:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        return Outcome(host.name, "live")

    asyncio.run(roll_out(make_fleet(bins(20), at_once=3), ship_one, lambda outcome: None))
    assert most == 3


@pytest.mark.parametrize(
    ("hosts", "says"),
    [([], "no host is given; name one with --host, or a file of them with --fleet"),
     (["a", "b", "a"], "host 'a' is given twice; name each once")],
)  # fmt: skip
def test_a_fleet_of_nobody_or_of_twins_is_refused(hosts: list[str], says: str) -> None:
    with pytest.raises(ShipError, match=f"^{says}$"):
        make_fleet([bin_host(name) for name in hosts])


def test_a_fleets_file_says_who_is_first_and_who_may_come_in(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(
        'at_once = 3\nidentity = "deploy"\nknown_hosts = "/etc/known"\n[[host]]\naddress = "a.local"\n'
        '[[host]]\naddress = "pi@b.local:23"\ncanary = true\nwastebin = "/usr/bin/wastebin"\n'
    )
    canary = Host("pi@b.local:23", "b.local", 23, "pi", "/usr/bin/wastebin")
    other = Host("a.local", "a.local", None, "wastebin", WASTEBIN)
    assert load_fleet(path) == Fleet((canary, other), 1, 3, tmp_path / "deploy", Path("/etc/known"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[host]", r"fleet\.toml: cannot be read as TOML \(.*\); expected \[\[host\]\] tables with an address"),
        ("at_once = 2", r"fleet\.toml has no 'host'; expected a list, each a table"),
        ("host = []", r"^no host is given"),
        ('[[host]]\nadress = "a"', r"has an unknown key 'adress'; did you mean 'address'\?; .* has no 'address'"),
        ('at_once = 0\n[[host]]\naddress = "a"', r"fleet\.toml\.at_once is 0, expected 1 or more"),
        ('[[host]]\naddress = "a"\n[[host]]\naddress = "a"', r"host 'a' is given twice; name each once"),
        ('[[host]]\naddress = "-x"', r"host '-x': expected \[user@\]address\[:port\]"),
    ],
)
def test_a_fleets_file_that_is_wrong_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "fleet.toml").write_text(text)
    with pytest.raises((ShipError, LinkError), match=says):
        load_fleet(tmp_path / "fleet.toml")


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"release": "2-b", "hosts": []}', '{"release": "1-a", "hosts": [1]}']
)
def test_there_is_nothing_to_resume(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "nano.ship.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ShipError, match=r"nano\.ship\.json: nothing of 1-a to go on with .*; ship it without --resume"):
        Report(tmp_path / "nano", "1-a").load()


def test_the_end_is_a_table_and_a_sentence() -> None:
    outcomes = [
        Outcome("a", "live", "", "2026-11-23T14:02:11.000+00:00", 1_234_567, 41.26),
        Outcome("b", "already", "", "2026-11-23T13:00:00.000+00:00", 0, 0.5),
        Outcome("c", "rolled back", "no frame was named in 30 s", "", 1_234_567, 12.0),
        Outcome("d", "untouched"),
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(outcome_table(outcomes))
    rows = [re.split(r"\s{2,}|│", line.strip("│ ")) for line in console.export_text().splitlines()]
    flat = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["a", "live", "41.3 s", "1,235 kB"] in flat
    assert ["c", "rolled back", "12.0 s", "1,235 kB"] in flat
    assert reasons(outcomes) == ["c: no frame was named in 30 s"]
    assert reasons([Outcome("a", "offline", "a: cannot be reached")]) == ["a: cannot be reached"]
    assert verdict(outcomes) == "shipped to 2 of 4, live since 14:02:11 UTC; 2 left: run it again with --resume"
    assert verdict(outcomes[:1]) == "shipped to 1 of 1, live since 14:02:11 UTC"
    assert verdict(outcomes[3:]) == "shipped to 0 of 1; 1 left: run it again with --resume"


@dataclass(frozen=True, slots=True)
class Town:
    """Twenty fake bins behind a real sshd, each at the end of its own wire; bin 0 is the canary.

    Attributes:
        folder: holds a folder for each bin, `fleet.toml`, `keys` and the bundle `nano`.
        names: of the bins, in order.
        wires: of those that are on.
    """

    folder: Path
    sshd: Sshd
    names: list[str]
    wires: dict[int, Wire]

    def ship(self, *more: str) -> int:
        words = [str(self.folder / "nano"), "--fleet", str(self.folder / "fleet.toml")]
        return run_app(["ship", *words, "--keys", str(self.folder / "keys"), *more])

    def switch_off(self, number: int) -> None:
        self.wires.pop(number).cut()

    def switch_on(self, number: int) -> None:
        self.wires[number] = Wire(self.sshd.port, port=int(self.names[number].rpartition(":")[2]))

    def think(self, verdict: str, *numbers: int) -> None:
        for number in numbers:
            (self.folder / str(number) / "verdict").write_text(verdict)

    def asked(self) -> list[int]:
        """Which bins were asked anything since the last look."""
        found = [number for number in range(MANY) if (self.folder / str(number) / "asked").exists()]
        for number in found:
            (self.folder / str(number) / "asked").unlink()
        return found

    def live(self) -> list[int]:
        return [
            number
            for number in range(MANY)
            if json.loads((self.folder / str(number) / "state.json").read_text())["phase"] == "committed"
        ]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("ssh") / "sshd") as started:
        yield started


@pytest.fixture
def town(sshd: Sshd, tmp_path: Path) -> Iterator[Town]:
    signed_bundle(tmp_path / "nano", init_keys(tmp_path / "keys", "anna").signing, T0)
    wires = {number: Wire(sshd.port) for number in range(MANY)}
    known = sshd.known_hosts(tmp_path / "known", *(wire.port for wire in wires.values()))
    text = f'known_hosts = "{known.name}"\nidentity = "{sshd.client_key}"\n'
    idle = {"phase": "idle", "release": None, "current": None, "reason": "", "changed_at": ""}
    for number, wire in wires.items():
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps(idle))
        wastebin = program(folder / "wastebin", "-I", "-S", str(FAKE), str(folder))
        text += f'[[host]]\naddress = "root@127.0.0.1:{wire.port}"\nwastebin = "{wastebin}"\n'
    (tmp_path / "fleet.toml").write_text(text)
    made = Town(tmp_path, sshd, [f"root@127.0.0.1:{wire.port}" for wire in wires.values()], wires)
    made.think("good", *range(MANY))
    yield made
    for wire in made.wires.values():
        wire.cut()


def test_twenty_bins_two_of_them_off_and_on_again(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    town.think("bad", 0)
    assert town.ship() == 1
    assert (town.asked(), town.live()) == ([0], [])
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "error: shipped to 0 of 20; 20 left: run it again with --resume"
    assert f"{town.names[0]}: no frame was named in 30 s" in said.splitlines()

    town.think("good", 0)
    for number in (7, 13):
        town.switch_off(number)
    assert town.ship("--resume") == 1
    there = [number for number in range(MANY) if number not in (7, 13)]
    assert (town.asked(), town.live()) == (there, there)
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: shipped to 18 of 20, live since 14:02:11 UTC; 2 left: ")
    assert sorted(line for line in said.splitlines() if line.endswith(": offline")) == sorted(
        f"{town.names[number]}: offline" for number in (7, 13)
    )

    for number in (7, 13):
        town.switch_on(number)
    assert town.ship("--resume") == 0
    assert (town.asked(), town.live()) == ([7, 13], list(range(MANY)))
    assert capsys.readouterr().err.splitlines()[-1] == "shipped to 20 of 20, live since 14:02:11 UTC"
    report = json.loads((town.folder / "nano.ship.json").read_text())
    assert sorted(entry["host"] for entry in report["hosts"]) == sorted(town.names)
    assert {entry["result"] for entry in report["hosts"]} == {"live"}

    # Without --resume everybody is asked, and has it already.
    assert town.ship() == 0
    assert town.asked() == list(range(MANY))


def test_a_bundle_is_signed_on_its_way(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    (town.folder / "nano" / "manifest.json.sig").unlink()
    known = str(town.folder / "known")
    host = ["--host", town.names[3]]
    words = ["--identity", str(town.sshd.client_key), "--known-hosts", known, "--keys", str(town.folder / "keys")]
    assert run_app(["ship", str(town.folder / "nano"), *host, *words]) == 1
    assert (town.folder / "nano" / "manifest.json.sig").is_file()
    # Without a fleet's file the program is where `trainer provision` puts it, which is nowhere here.
    assert "/opt/wastebin/bin/wastebin ended with status 127" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no host is given; name one with --host, or a file of them with --fleet"),
        (["--host", "a", "--fleet", "b"], "use just one of --host and --fleet"),
        (["--host", "a/b"], "host 'a/b': expected [user@]address[:port], such as pi@bin-3.local"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["ship", str(tmp_path / "nano"), "--keys", str(tmp_path), *words]) == 1
    assert capsys.readouterr().err == f"error: {says}\n"


def test_the_command_makes_keys_and_says_where_they_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert run_app(["keys", "init", "--name", "anna@laptop", "--keys", str(folder)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, [line.split(": ")[0] for line in captured.err.splitlines()]) == (
        "", [str(folder / name) for name in ("signing", "deploy", "allowed_signers", "authorized_keys")],
    )  # fmt: skip
    assert Keys(folder).signing.is_file()
