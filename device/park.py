"""Bring the outputs of a program that died to their safe state, at once: what systemd runs after a SIGKILL.

    python -m device.park CONFIG [--pins mock] -> read_outputs -> park_pins

A Pi's outputs keep their level when their program is gone, so every second counts until this one has started: it reads
of the configuration what is wired to the pins, and loads neither numpy nor OpenCV nor the library of the command line,
each of which costs a Pi longer than the parking. `wastebin park` is the same for people.
"""

import sys
import tomllib
from pathlib import Path

from device.drive import park_pins
from device.errors import ConfigError, WastebinError
from device.outputs import OutputsConfig, parse_outputs
from device.pins import PinsName

__all__ = ["main", "read_outputs"]


def read_outputs(path: Path) -> OutputsConfig:
    """What is wired to the pins, from a configuration whose other sections may be wrong.

    Raises:
        ConfigError: it cannot be read, or its `[outputs]` is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}; correct it, then run: wastebin doctor") from exc
    bins, table = document.get("bin"), document.get("outputs")
    if not isinstance(bins, list) or not isinstance(table, dict):
        # The bins that come along are known to the whole configuration only, and it says what is wrong.
        from device.config import load_config

        return load_config(path).outputs
    names = [str(row.get("name")) for row in bins if isinstance(row, dict)]
    return parse_outputs(table, str(path), names)


def main(arguments: list[str] | None = None) -> int:
    """Park, and give the exit status; arguments as on the command line."""
    # No ArgumentParser: nothing else in the bin uses it, so that each start after a boot would compile it.
    pins: PinsName
    match sys.argv[1:] if arguments is None else arguments:
        case [config] | [config, "--pins", "lgpio"]:
            pins = "lgpio"
        case [config, "--pins", "mock"]:
            pins = "mock"
        case _:
            sys.stderr.write("usage: python -m device.park CONFIG [--pins lgpio|mock]\n")
            return 2
    try:
        park_pins(read_outputs(Path(config)), pins)
    except WastebinError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
