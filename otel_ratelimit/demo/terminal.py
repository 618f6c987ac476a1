"""Output of the demo: its steps, the traffic as it runs, and the results.

On a terminal, lines have colours and are updated in place; elsewhere they are plain, with at most 80 columns.
With `--json` they go to standard error, and the results to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from otel_ratelimit.core import names
from otel_ratelimit.demo.client_reports import ClientReport
from otel_ratelimit.demo.commands_to_try import commands_to_try
from otel_ratelimit.demo.received_telemetry import Telemetry
from otel_ratelimit.demo.results import DemoResults, decisions_by_tier
from otel_ratelimit.demo.results_tables import result_sections, tier_table
from otel_ratelimit.reports.rendering.terminal_tables import print_summary

Show: TypeAlias = Callable[[Telemetry, ClientReport], None]

PLAIN_LINE_EVERY_SECONDS: Final = 5.0
WIDTH: Final = 80
_SHOWN_HEADERS: Final = ("Retry-After", "RateLimit")


class Screen:
    """Prints for the user of the demo."""

    def __init__(self, *, as_json: bool, tiers: Mapping[str, str]) -> None:
        self._as_json = as_json
        self._tiers = tiers
        self._console = Console(stderr=as_json, highlight=False)
        self._console.width = min(self._console.width, 100) if self._console.is_terminal else WIDTH

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(Text(text))

    def say_unbroken(self, lines: Iterable[str]) -> None:
        """Print lines without wrapping, because users copy or search them."""
        for line in lines:
            self._console.print(Text(line), soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """One step of the start: a spinner while it runs, then its result and how long it took."""
        begun = time.monotonic()
        results: list[str] = []
        with self._console.status(f"{name} ..."):
            yield results.append
        for text in results:
            took = f"{time.monotonic() - begun:.1f} s"
            self._console.print(Text.assemble((f"{name:<13}", "bold"), f"{text} ", (f"({took})", "dim")))

    @contextmanager
    def live(self, duration: float) -> Iterator[Show]:
        """The traffic as it runs; call the yielded function to show the latest state."""
        if not self._console.is_terminal:
            yield _PlainProgress(self._console, duration)
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as live:

            def show(telemetry: Telemetry, clients: ClientReport) -> None:
                live.update(self._frame(telemetry, clients, duration), refresh=True)

            yield show

    def show_results(self, results: DemoResults) -> None:
        """Print the results."""
        if self._as_json:
            sys.stdout.write(json.dumps(results.to_json(), indent=2) + "\n")
            sys.stdout.flush()
            return
        for title, body in result_sections(results, self._tiers):
            self._console.print()
            self._console.print(Text(title, style="bold underline"))
            self._console.print(body)
        if results.cache is not None:
            self._console.print()
            title = "Would a cache pay? The nightly report, for these seconds as if they were a day"
            self._console.print(Text(title, style="bold underline"))
            print_summary(results.cache, self._console)

    def show_what_to_try(self, port: int, dsn: str, token: str) -> None:
        """Print commands for another terminal."""
        self._console.print()
        self._console.print(Text("The demo is still running: try it yourself", style="bold underline"))
        # Not wrapped, because users copy them.
        self._console.print(commands_to_try(port, dsn, token), soft_wrap=True)

    def _frame(self, telemetry: Telemetry, clients: ClientReport, duration: float) -> Group:
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text("Traffic", style="bold"),
            ProgressBar(total=duration, completed=min(clients.elapsed, duration), width=20),
            f"{min(clients.elapsed, duration):.0f} of {duration:.0f} s",
            f"{_rate(clients):.0f} requests/s",
            Text(f"{clients.answered - clients.limited} let through", style="green"),
            Text(f"{clients.limited} limited", style="red"),
        )
        tiers = decisions_by_tier(telemetry.points(names.REQUESTS))
        return Group(head, Text(), tier_table(tiers, self._tiers), Text(), _latest_refusal(clients))


class _PlainProgress:
    """A line every few seconds, for output that is not a terminal."""

    def __init__(self, console: Console, duration: float) -> None:
        self._console = console
        self._duration = duration
        self._next = 0.0

    def __call__(self, _telemetry: Telemetry, clients: ClientReport) -> None:
        if clients.elapsed < self._next or not clients.answered:
            return
        self._next = clients.elapsed + PLAIN_LINE_EVERY_SECONDS
        self._console.print(
            f"{'Traffic':<13}{min(clients.elapsed, self._duration):.0f} of {self._duration:.0f} s,"
            f" {_rate(clients):.0f} requests/s, {clients.answered - clients.limited} let through,"
            f" {clients.limited} limited"
        )


def _rate(clients: ClientReport) -> float:
    return clients.answered / clients.elapsed if clients.elapsed else 0.0


def _latest_refusal(clients: ClientReport) -> Text:
    refusal = clients.refusal
    if refusal is None:
        return Text("No client has been limited yet.", style="dim")
    text = Text("Latest refusal  ", style="bold")
    text.append(f"{refusal.persona} at {refusal.address}: {refusal.request}\n", style="default not bold")
    text.append(f"{'':16}{refusal.status}", style="red not bold")
    for name, value in refusal.headers:
        if name in _SHOWN_HEADERS:
            text.append(f"\n{'':16}{name}: {value}", style="default not bold")
    return text
