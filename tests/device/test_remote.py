"""A key for shipping opens the few commands that shipping needs, and nothing else."""

from pathlib import Path

import pytest

from device.errors import UsageError
from device.remote import allowed_words

CONFIG = Path("/etc/wastebin/config.toml")
NAME = "1790000000-0123456789ab"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/opt/wastebin/bin/wastebin models receive --json", ["models", "receive", "--json"]),
        ("wastebin models status", ["models", "status"]),
        ("wastebin models list --json", ["models", "list", "--json"]),
        (f"wastebin models activate {NAME} --wait 120.5", ["models", "activate", NAME, "--wait", "120.5"]),
        (f"wastebin models verify '{NAME}'", ["models", "verify", NAME]),
        ("wastebin models rollback", ["models", "rollback"]),
        ("wastebin export", ["export"]),
    ],
)
def test_what_shipping_needs_is_allowed_with_the_bins_own_configuration(command: str, words: list[str]) -> None:
    assert allowed_words(command, CONFIG) == [*words, "--config", str(CONFIG)]
    assert allowed_words(command, None) == words


@pytest.mark.parametrize(
    "command",
    [
        "",
        "wastebin",
        "wastebin models",
        "wastebin run",
        "wastebin demo",
        "wastebin verify",
        "wastebin models remote",
        "wastebin models install /etc",
        "models receive",
        "sh -c 'wastebin models receive'",
        "bash",
        "scp -t /etc",
        "wastebin models receive; reboot",
        "wastebin models receive && reboot",
        "wastebin models receive | sh",
        "wastebin models receive $(reboot)",
        "wastebin models receive `reboot`",
        "wastebin models receive\nreboot",
        "wastebin models receive > /etc/passwd",
        "wastebin models verify ../../etc",
        "wastebin models verify /etc",
        "wastebin models verify -h",
        "wastebin models status --config /tmp/mine.toml",
        "wastebin models status --config=/tmp/mine.toml",
        "wastebin models status --config mine.toml",
        "wastebin export --model x",
        "wastebin export ''",
        "wastebin export 'unfinished",
        "/tmp/mine models receive",
    ],
)
def test_anything_else_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match=r"is not allowed with this key, expected wastebin models activate\|list\|"):
        allowed_words(command, CONFIG)
