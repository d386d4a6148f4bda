"""What a person sees of a rollout: a line for each bin while it runs, a table at its end, a sentence for each trouble.

    Tell (stage, share) -> FleetView -> stderr;  Outcome ... -> outcome_table, reasons, verdict

On a terminal the lines stand still and change; elsewhere each new stage is a line of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from trainer.link import Host
from trainer.ship import Outcome, Tell

__all__ = ["FleetView", "outcome_table", "reasons", "verdict"]


class FleetView:
    """A line for each bin."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def watch(self, hosts: Sequence[Host]) -> Iterator[Mapping[str, Tell]]:
        """What each host's progress is told to, by its name."""
        if not self._console.is_terminal:
            yield {host.name: _Plain(self._console, host.name) for host in hosts}
            return
        columns = (
            TextColumn("{task.fields[host]}"),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            tasks = {host.name: progress.add_task("", host=host.name, total=None, start=False) for host in hosts}
            yield {name: partial(_show, progress, task) for name, task in tasks.items()}


class _Plain:
    """Stages as lines, each once."""

    def __init__(self, console: Console, host: str) -> None:
        self._console = console
        self._host = host
        self._stage = ""

    def __call__(self, stage: str, share: float | None = None) -> None:  # noqa: ARG002 - a terminal shows it
        if stage != self._stage:
            self._stage = stage
            self._console.print(f"{self._host}: {stage}", soft_wrap=True)


def _show(progress: Progress, task: TaskID, stage: str, share: float | None = None) -> None:
    if not progress.tasks[task].started:
        progress.start_task(task)
    progress.update(task, description=stage, total=None if share is None else 1.0, completed=share or 0.0)


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """One row a bin."""
    table = Table("host", "result", "took", "sent", title="shipped")
    for outcome in outcomes:
        took = f"{outcome.took_s:.1f} s" if outcome.took_s else ""
        sent = f"{outcome.sent_bytes / 1000:,.0f} kB" if outcome.sent_bytes else ""
        table.add_row(outcome.host, outcome.result, took, sent)
    return table


def reasons(outcomes: Sequence[Outcome]) -> list[str]:
    """What each bin has to say, a sentence each; too long for a table."""
    said = [(outcome.host, outcome.detail) for outcome in outcomes if outcome.detail]
    return [detail if detail.startswith(f"{host}:") else f"{host}: {detail}" for host, detail in said]


def verdict(outcomes: Sequence[Outcome]) -> str:
    """The whole rollout in one sentence."""
    live = [outcome for outcome in outcomes if outcome.is_live]
    since = max((outcome.live_since for outcome in live), default="")
    clock = f", live since {since[11:19]} UTC" if since else ""
    left = len(outcomes) - len(live)
    return f"shipped to {len(live)} of {len(outcomes)}{clock}" + (
        f"; {left} left: run it again with --resume" if left else ""
    )
