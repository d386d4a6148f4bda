"""The `[dashboard]` section of a configuration.

    TOML table -> parse_dashboard -> DashboardConfig, or every problem at once

Without the section nothing listens. It must never read a token: that is the bin's own, see `device.web.token`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from device.errors import ConfigError
from device.fields import build

__all__ = ["DashboardConfig", "parse_dashboard"]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})")


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    """Where the dashboard is served.

    Attributes:
        host: address to listen on once there is a token; until then it is 127.0.0.1, whatever stands here.
        port: TCP port.
        hosts: names by which people call this bin, beside its addresses, `localhost` and its host name.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    hosts: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Where this machine's own browser finds it."""
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{name}]' if ':' in name.strip('[]') and name[0] != '[' else name}:{self.port}/"


def parse_dashboard(table: object, where: str) -> DashboardConfig:
    """Turn the `[dashboard]` table of a configuration into values.

    Args:
        table: as tomllib gives it.
        where: the file, for messages.

    Raises:
        ConfigError: with every problem found, each a sentence that starts with `where`.
    """
    problems: list[str] = []
    found = build(DashboardConfig, table if isinstance(table, Mapping) else {}, f"{where}: [dashboard]", problems)
    if not isinstance(table, Mapping):
        problems.append(f"{where}: [dashboard] is no table, expected host, port and hosts")
    if found is not None:
        try:
            ip_address(found.host)
        except ValueError:
            wanted = "an address such as 127.0.0.1 (this machine only) or 0.0.0.0 (everybody in the network)"
            problems.append(f"{where}: [dashboard].host is {found.host!r}, expected {wanted}")
        if not 1 <= found.port <= 65535:
            problems.append(f"{where}: [dashboard].port is {found.port}, expected 1 to 65535")
        problems += [
            f"{where}: [dashboard].hosts has {name!r}, expected a name without http:// and port, such as bin.example"
            for name in found.hosts
            if not _NAME.fullmatch(name)
        ]
    if problems or found is None:
        raise ConfigError(problems)
    return found
