"""What may be set in the dashboard: a few values that go over those of the configuration.

    a form -> parse_settings (the configuration's own checks) -> settings.json, settings.last-good.json
    load_settings -> apply_settings -> Config, at the next start

The configuration itself lies where the service may not write, beside the keys that it trusts; so these have a file of
their own in the bin's state folder. A file that is damaged is not used: the last good copy is, and the bin starts. None
leaves what the configuration or the bundle says.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Final

from device.config_types import Config, DecideConfig
from device.durable import Files, replace_file
from device.errors import ConfigError, DashboardError
from device.fields import build
from device.gate import GateRule

__all__ = ["RANGES", "Settings", "apply_settings", "load_settings", "parse_settings", "save_settings"]

FILE: Final = "settings.json"
LAST_GOOD: Final = "settings.last-good.json"

RANGES: Final = {
    "accept_prob": (0.0, 1.0),
    "contamination": (0.0, 1e6),
    "missed": (0.0, 1e6),
    "settle_s": (0.05, 10.0),
    "spot_check_rate": (0.0, 1.0),
}
"""What the page says of each; the configuration's own classes have the last word."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Values that go over the configuration's.

    Attributes:
        accept_prob: lowest pooled probability of one bin that counts as sure, 0..1.
        contamination, missed: what a mistake costs here; only the ratio counts.
        settle_s: so long a thing must lie still before it is looked at.
        spot_check_rate: share of all decisions that people are asked about.
    """

    accept_prob: float | None = None
    contamination: float | None = None
    missed: float | None = None
    settle_s: float | None = None
    spot_check_rate: float | None = None


def parse_settings(table: object, config: Config, where: str = "settings") -> Settings:
    """Check what somebody wants, together with the configuration that it goes over.

    Raises:
        ConfigError: with every problem.
    """
    problems: list[str] = []
    settings = build(Settings, table, where, problems)
    if settings is not None:
        for name, (low, high) in RANGES.items():
            value = getattr(settings, name)
            if value is not None and not low <= value <= high:
                problems.append(f"{where}.{name} is {value:g}, expected {low:g} to {high:g}")
        if not problems:
            try:
                apply_settings(config, settings)
            except ConfigError as error:
                problems += [f"{where}: {problem}" for problem in error.problems]
    if settings is None or problems:
        raise ConfigError(problems)
    return settings


def apply_settings(config: Config, settings: Settings) -> Config:
    """The configuration with what was set.

    Raises:
        ConfigError: together they contradict each other.
    """
    decide: DecideConfig = config.decide
    gate: GateRule = config.gate
    if settings.accept_prob is not None:
        decide = replace(decide, accept_prob=settings.accept_prob)
    if settings.settle_s is not None:
        gate = replace(gate, settle_s=settings.settle_s)
    costs = {name: value for name in ("contamination", "missed") if (value := getattr(settings, name)) is not None}
    site = replace(config.site, costs=replace(config.site.costs, **costs))
    rate = config.spot_check_rate if settings.spot_check_rate is None else settings.spot_check_rate
    return replace(config, decide=decide, gate=gate, site=site, spot_check_rate=rate, **costs)


def load_settings(config: Config) -> tuple[Settings, str | None]:
    """What was set, or the last good copy of it and a sentence that says so."""
    folder = config.events_path.parent
    note: str | None = None
    for name in (FILE, LAST_GOOD):
        path = folder / name
        try:
            return parse_settings(json.loads(path.read_bytes()), config, str(path)), note
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            note = note or f"{path}: not used ({error}); the last good settings are, set them again in the dashboard"
    return Settings(), note


def save_settings(config: Config, settings: Settings) -> None:
    """Keep what was set; what was good before stays as the last good copy.

    Raises:
        DashboardError: it cannot be written.
    """
    folder, files = config.events_path.parent, Files()
    before, note = load_settings(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if note is None and (folder / FILE).exists():
            replace_file(files, folder / LAST_GOOD, _text(before))
        replace_file(files, folder / FILE, _text(settings))
        files.sync(folder)
    except OSError as error:
        raise DashboardError(f"{folder / FILE}: was not kept ({error.strerror}); see: wastebin doctor", 409) from error


def _text(settings: Settings) -> bytes:
    return json.dumps(asdict(settings), indent=1).encode()
