"""One run of the demo from start to end; whatever happens, everything is stopped in reverse order."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from otel_ratelimit.core import names
from otel_ratelimit.demo.analytics_api import ask
from otel_ratelimit.demo.cache_report import report_on
from otel_ratelimit.demo.client_addresses import TRUSTED_PROXY, can_bind_other_addresses
from otel_ratelimit.demo.client_reports import ReportReader
from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.gunicorn_server import (
    APPLICATION,
    EXPORT_INTERVAL_MS,
    POLICY,
    Server,
    Serving,
    clean_environment,
)
from otel_ratelimit.demo.jobs_app import seed
from otel_ratelimit.demo.otlp_receiver import Receiver
from otel_ratelimit.demo.ports import LOOPBACK, choose_port
from otel_ratelimit.demo.received_telemetry import Telemetry
from otel_ratelimit.demo.repeated_queries import look
from otel_ratelimit.demo.results import DemoResults, reconcile, summarise
from otel_ratelimit.demo.stop_signals import Stopped, stop_on_signals
from otel_ratelimit.demo.terminal import Screen
from otel_ratelimit.demo.workspace import clear_leftovers, locked, workspace
from otel_ratelimit.policy import load_policy
from otel_ratelimit.postgres.embedded import THROW_AWAY, EmbeddedPostgres
from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess
from otel_ratelimit.postgres.migrate import upgrade

DATABASE: Final = "jobs"
LOOK_EVERY_SECONDS: Final = 0.5
LEFTOVER_PATIENCE_SECONDS: Final = 12.0
LAST_EXPORT_TIMEOUT_SECONDS: Final = 6.0
FINISH_TIMEOUT_SECONDS: Final = 30.0
"""How long the clients may take to finish after the traffic has ended."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line."""

    port: int
    duration: float
    once: bool
    as_json: bool
    keep_data: Path | None
    workers: int


def run(options: Options, environ: Mapping[str, str]) -> bool:
    """Run the demo until it ends or is stopped; whether its results were shown.

    Raises:
        DemoError: something could not be started, or ended by itself.
    """
    screen = Screen(as_json=options.as_json, tiers=_tiers())
    demo = None
    try:
        with ExitStack() as stack:
            stack.enter_context(stop_on_signals())
            demo = _Demo(options, environ, screen, stack)
            try:
                demo.run()
            except Stopped:
                screen.say("Stopping ...")
    except Stopped:  # while stopping for another reason
        pass
    return demo is not None and demo.has_results


class _Demo:
    def __init__(
        self, options: Options, environ: Mapping[str, str], screen: Screen, stack: ExitStack
    ) -> None:
        self._options = options
        self._environ = environ
        self._screen = screen
        self._stack = stack
        self._telemetry = Telemetry()
        self._api_token = secrets.token_urlsafe(24)
        self.has_results = False
        """Whether the results were shown."""

    def run(self) -> None:
        parent = Path(tempfile.gettempdir()).resolve()
        leftovers = clear_leftovers(parent)
        for sentence in leftovers:
            self._screen.say(sentence)
        # The server of a demo that was killed a moment ago may still be ending.
        port = choose_port(self._options.port, LEFTOVER_PATIENCE_SECONDS if leftovers else 0.0)
        begun = datetime.now(UTC).replace(second=0, microsecond=0)
        scratch = self._stack.enter_context(workspace(parent))
        postgres = self._start_postgres(scratch)
        server, probes = self._start_server(port, postgres.dsn(DATABASE), scratch)
        results = self._run_traffic(port, server, probes, scratch)
        blocked = results.reconciliation.blocked
        stored = ask(port, self._api_token, postgres.dsn(DATABASE), blocked)
        results = replace(
            results,
            stored=stored,
            queries=look(postgres.dsn(DATABASE), begun),
            cache=report_on(postgres.dsn(DATABASE), begun, load_policy(POLICY).cache),
        )
        self._screen.show_results(results)
        self.has_results = True
        if not self._options.once:
            self._screen.show_what_to_try(port, postgres.dsn(DATABASE), self._api_token)
            while True:
                server.check()
                time.sleep(LOOK_EVERY_SECONDS)

    def _start_postgres(self, scratch: Path) -> EmbeddedPostgres:
        keep = self._options.keep_data
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(locked(keep))
        postgres = EmbeddedPostgres(
            (keep or scratch) / "data", scratch, environ=self._environ, settings={} if keep else THROW_AWAY
        )
        with self._screen.step("PostgreSQL") as done:
            self._stack.callback(postgres.stop)
            postgres.start()
            if postgres.stopped_stale_server is not None:
                self._screen.say(
                    "stopped a PostgreSQL that a killed demo had left running:"
                    f" {postgres.stopped_stale_server}"
                )
            is_new = postgres.create_database(DATABASE, seed.load)
            filled = f"{seed.JOBS} jobs, {seed.USERS} users" if is_new else f"the data in {keep}"
            done(f"{postgres.version()}, embedded; {filled}")
        return postgres

    def _start_server(self, port: int, database_url: str, scratch: Path) -> tuple[Server, int]:
        receiver = Receiver(self._telemetry)
        self._stack.callback(receiver.close)
        upgrade(database_url)
        serving = Serving(
            port=port,
            workers=self._options.workers,
            database_url=database_url,
            otlp_endpoint=receiver.endpoint,
            scratch=scratch,
            api_token=self._api_token,
            trusted_proxies="" if can_bind_other_addresses() else TRUSTED_PROXY,
        )
        with self._screen.step("Application") as done:
            server = Server(serving, self._environ)
            self._stack.callback(server.stop)
            probes = server.wait_until_ready()
            done(f"http://{LOOPBACK}:{port}")
        self._screen.say(f"{'':<13}opentelemetry-instrument gunicorn {APPLICATION}")
        return server, probes

    def _run_traffic(self, port: int, server: Server, probes: int, scratch: Path) -> DemoResults:
        options = self._options
        traffic = SupervisedProcess(
            Launch(
                command=[
                    sys.executable,
                    "-m",
                    "otel_ratelimit.demo.traffic",
                    f"http://{LOOPBACK}:{port}",
                    f"--duration={options.duration}",
                ],
                log=scratch / "traffic.log",
                env=clean_environment(self._environ),
                cwd=scratch,
                read_output=True,
            )
        )
        self._stack.callback(traffic.stop)
        reader = ReportReader(traffic.output)
        deadline = time.monotonic() + options.duration + FINISH_TIMEOUT_SECONDS
        with self._screen.live(options.duration) as show:
            while traffic.wait(LOOK_EVERY_SECONDS) is None:
                server.check()
                show(self._telemetry, reader.latest)
                if time.monotonic() > deadline:
                    break
            reader.join(timeout=5.0)
            self._wait_for_last_export(server, reader, probes)
            show(self._telemetry, reader.latest)
        if not reader.latest.finished:
            raise DemoError(
                f"the clients ended too early:\n{traffic.last_lines()}", "the lines above say why"
            )
        return summarise(self._telemetry, reader.latest, probes=probes, workers=options.workers)

    def _wait_for_last_export(self, server: Server, reader: ReportReader, probes: int) -> None:
        deadline = time.monotonic() + LAST_EXPORT_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            server.check()
            if reconcile(self._telemetry.points(names.REQUESTS), reader.latest, probes).agrees:
                # Wait for spans and gauges of the same second.
                time.sleep(EXPORT_INTERVAL_MS / 1000)
                return
            time.sleep(0.1)


def _tiers() -> dict[str, str]:
    """The limits of each tier, as in the policy file."""
    tiers: dict[str, str] = tomllib.loads(POLICY.read_text(encoding="utf-8"))["tiers"]
    return tiers
