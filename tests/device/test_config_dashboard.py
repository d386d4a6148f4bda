"""The section [dashboard] is read whole or refused with everything that is wrong with it."""

import pytest

from device.config_dashboard import DashboardConfig, parse_dashboard
from device.errors import ConfigError


def test_a_section_without_a_key_is_this_machine_only():
    assert parse_dashboard({}, "bin.toml") == DashboardConfig("127.0.0.1", 8080, ())


def test_every_key_is_read():
    table = {"host": "0.0.0.0", "port": 80, "hosts": ["bin.example", "kitchen"]}
    found = parse_dashboard(table, "bin.toml")
    assert found == DashboardConfig("0.0.0.0", 80, ("bin.example", "kitchen"))
    assert found.address == "http://127.0.0.1:80/"


@pytest.mark.parametrize(
    ("host", "address"),
    [("::", "http://[::1]:8080/"), ("192.0.2.4", "http://192.0.2.4:8080/"), ("fe80::1", "http://[fe80::1]:8080/")],
)
def test_the_address_can_be_typed_into_a_browser(host: str, address: str):
    assert DashboardConfig(host).address == address


def test_all_problems_are_told_at_once():
    table = {"host": "everywhere", "port": 0, "hosts": ["http://bin.example", ""]}
    with pytest.raises(ConfigError) as caught:
        parse_dashboard(table, "bin.toml")
    assert [problem.partition(" is ")[0].partition(" has ")[0] for problem in caught.value.problems] == [
        "bin.toml: [dashboard].host",
        "bin.toml: [dashboard].port",
        "bin.toml: [dashboard].hosts",
        "bin.toml: [dashboard].hosts",
    ]


@pytest.mark.parametrize("table", [[], 1, {"prot": 80}, {"port": "80"}, {"hosts": "bin"}])
def test_what_is_no_such_table_is_refused(table: object):
    with pytest.raises(ConfigError, match=r"bin\.toml: \[dashboard\]"):
        parse_dashboard(table, "bin.toml")
