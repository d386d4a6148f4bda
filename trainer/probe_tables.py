"""Probe tables: what `trainer probe` found, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

__all__ = ["probe_tables"]


def probe_tables(found: Mapping[str, Any]) -> Iterator[Table | str]:
    """The figures of probes.json as tables and sentences."""
    yield _shortcuts(found)
    yield _robustness(found)
    if found["field"]:
        yield _field(found)
    coverage, calibration = found["coverage"], found["calibration"]
    yield (
        f"{coverage['source']}: expected calibration error {calibration['ece']:.3f}; accuracy of the surest half "
        f"{coverage['at_half']:.1%}, of the surest 90 % {coverage['at_90']:.1%}, of all "
        f"{coverage['points'][-1]['accuracy']:.1%}"
    )
    for key in ("diversion", "diversion_all"):
        if found[key]:
            yield _diversion(found[key])


def _shortcuts(found: Mapping[str, Any]) -> Table:
    table = Table("source", "picture", "pictures", "right", "95 %", "commonest label", title="shortcuts, val")
    for row in found["shortcuts"]:
        table.add_row(row["source"], row["name"], *_share(row), f"{row['commonest']:.1%}")
    return table


def _robustness(found: Mapping[str, Any]) -> Table:
    table = Table("change", "unit", "right at each strength", title="worse pictures, val")
    for row in found["robustness"]:
        points = "  ".join(f"{point['at']:g}: {point['accuracy']:.1%}" for point in row["points"])
        table.add_row(row["change"], row["unit"], points)
    return table


def _field(found: Mapping[str, Any]) -> Table:
    columns = ("source", "pictures", "right", "95 %", "macro-F1", "surest half", "the bin's half", "surest 90 %")
    table = Table(*columns, "contamination", "diversion", title="other people's photographs")
    for row in found["field"]:
        default = row["diversion_at_default"]
        sorted_ = (_bounded(default), f"{default['diversion']:.1%}") if default else ("-", "-")
        own = row["at_half_coverage_device"]
        halves = (
            f"{row['at_half_coverage']:.1%}",
            "-" if own is None else f"{own:.1%}",
            f"{row['at_90_coverage']:.1%}",
        )
        table.add_row(row["source"], *_share(row), f"{row['macro_f1']:.3f}", *halves, *sorted_)
    return table


def _diversion(curve: Mapping[str, Any]) -> Table:
    table = Table(
        *("accepted from", "contamination", "diversion"),
        title=f"{curve['stream']}: {curve['residual_share']:.0%} of visits residual or unknown "
        f"({curve['residual']} pictures; {curve['recyclable']} recyclable)",
    )
    for row in curve["points"]:
        table.add_row(f"{row['accept_prob']:g}", _bounded(row), f"{row['diversion']:.1%}")
    table.add_section()
    for row, whose in ((curve["at_default"], "the default"), (curve["at_strict"], "a strict site's")):
        table.add_row(f"{row['accept_prob']:g}, {whose}", _bounded(row), f"{row['diversion']:.1%}")
    return table


def _share(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row["pictures"]), f"{row['accuracy']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}"


def _bounded(row: Mapping[str, Any]) -> str:
    if row["contamination"] is None:
        return f"nothing sorted (95 % bound {row['contamination_high']:.1%})"
    return f"{row['contamination']:.1%} (95 % bound {row['contamination_high']:.1%})"
