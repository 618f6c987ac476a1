"""`make stack`: starts all parts, prints where to look, alternates calm and abuse, prints every alert."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from otel_ratelimit.core.errors import RemediableError
from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.demo.stack.alertmanager import HeldAlert, held_alerts
from otel_ratelimit.demo.stack.collector import built_program, configuration_folder
from otel_ratelimit.demo.stack.installed_programs import check_programs
from otel_ratelimit.demo.stack.ports import Ports, usual_ports
from otel_ratelimit.demo.stack.stack import Settings, Stack
from otel_ratelimit.demo.stop_signals import Stopped, stop_on_signals
from otel_ratelimit.demo.terminal import Screen
from otel_ratelimit.demo.workspace import clear_leftovers, workspace

LOOK_EVERY_SECONDS: Final = 1.0
DECISIONS: Final = "sum by (otel_ratelimit_decision) (rate(otel_ratelimit_requests_total[1m]))"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line; times in seconds."""

    duration: float
    """How long everything runs."""
    calm: float
    """Time before the abusers come for the first time."""
    abuse: float
    """How long the abusers stay."""
    every: float
    """Time from one visit of the abusers to the next."""
    workers: int


def run(options: Options) -> None:
    """Run until the time is over or the user stops it.

    Raises:
        RemediableError: a part cannot be started, or ended by itself.
    """
    built_program(os.environ, configuration_folder())
    check_programs()
    screen = Screen(as_json=False, tiers={})
    try:
        with ExitStack() as ends:
            ends.enter_context(stop_on_signals())
            try:
                _run(options, screen, ends)
                screen.say("The time is over. Stopping ...")
            except Stopped:
                screen.say("Stopping ...")
            except RemediableError:
                screen.say("A part failed. Stopping ...")
                raise
    except Stopped:  # while stopping for another reason
        pass


def _run(options: Options, screen: Screen, ends: ExitStack) -> None:
    parent = Path(tempfile.gettempdir()).resolve()
    for sentence in clear_leftovers(parent):
        screen.say(sentence)
    folder = ends.enter_context(workspace(parent))
    stack = Stack(Settings(usual_ports(), workers=options.workers), folder)
    ends.callback(stack.stop)
    stack.start(screen.step)
    screen.say_unbroken(where_to_look(stack))
    _watch(stack, options, screen.say_unbroken)


def where_to_look(stack: Stack) -> list[str]:
    """The addresses to open, one a line."""
    ports: Ports = stack.settings.ports
    at = f"http://{LOOPBACK}"
    graph = {"g0.expr": DECISIONS, "g0.tab": "0", "g0.range_input": "15m"}
    return [
        "",
        f"Alerts        {at}:{ports.prometheus}{stack.prometheus.alerts_page()}",
        f"Metrics       {at}:{ports.prometheus}/graph?{urlencode(graph)}",
        f"Alertmanager  amtool --alertmanager.url={at}:{ports.alertmanager} alert",
        f"Collector     {at}:{ports.exporter}/metrics, and its own metrics at {at}:{ports.telemetry}/metrics",
        f"Application   {at}:{ports.application}",
        f"API token     {stack.api_token}",
        f"Database      {stack.database_url}",
        "Dashboards    import dashboards/generated/*.json into a Grafana with this Prometheus and database",
        "",
        "Ctrl-C stops everything.",
        "",
    ]


def _watch(stack: Stack, options: Options, say: Callable[[Iterable[str]], None]) -> None:
    begun = time.monotonic()
    turns = _Turns(stack, options, say)
    news = AlertNews()
    while (elapsed := time.monotonic() - begun) < options.duration:
        stack.check()
        turns.take(elapsed)
        for line in news.since(held_alerts(stack.settings.ports.alertmanager)):
            say([_timed(line)])
        time.sleep(LOOK_EVERY_SECONDS)


def _timed(line: str) -> str:
    """The line with the local time."""
    return f"{datetime.now().astimezone():%H:%M:%S}  {line}"


class _Turns:
    """Visitors all the time, abusers from time to time."""

    def __init__(self, stack: Stack, options: Options, say: Callable[[Iterable[str]], None]) -> None:
        self._stack = stack
        self._options = options
        self._say = say
        self._abusing = False
        stack.crowd("visitors", options.duration)
        say([f"Visitors are active; abusers come after {options.calm:.0f} s, for {options.abuse:.0f} s."])

    def take(self, elapsed: float) -> None:
        """Start abusers when it is their time, and say when they have gone."""
        options = self._options
        is_time = elapsed >= options.calm and (elapsed - options.calm) % options.every < options.abuse
        if is_time and not self._abusing:
            self._stack.crowd("abusers", options.abuse)
        if is_time != self._abusing:
            self._say([_timed(f"abusers {'have come' if is_time else 'have gone'}")])
        self._abusing = is_time


_REPEATED_LABELS: Final = frozenset(
    {"alertname", "severity", "subject", "job", "deployment_environment_name"}
)
"""Labels that the line shows already, or that all alerts share."""


class AlertNews:
    """The changes among the alerts since the last call."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, str], ...], HeldAlert] = {}

    def since(self, held: list[HeldAlert]) -> list[str]:
        """A line for each alert that is new or resolved."""
        now = {tuple(sorted(alert.labels.items())): alert for alert in held}
        new = [f"FIRING    {_line(alert)}" for key, alert in now.items() if key not in self._known]
        gone = [f"resolved  {_line(alert)}" for key, alert in self._known.items() if key not in now]
        self._known = now
        return new + gone


def _line(alert: HeldAlert) -> str:
    muted = ["muted by another alert"] if alert.state == "suppressed" else []
    about = [value for label, value in sorted(alert.labels.items()) if label not in _REPEATED_LABELS]
    return f"{alert.name} ({', '.join([alert.severity, *muted, *about])}): {alert.summary}"
