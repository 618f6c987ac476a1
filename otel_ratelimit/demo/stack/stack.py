"""All parts of the stack, started in the order of their dependencies and stopped in reverse."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from otel_ratelimit.demo.client_addresses import TRUSTED_PROXY, can_bind_other_addresses
from otel_ratelimit.demo.gunicorn_server import Server, Serving, clean_environment
from otel_ratelimit.demo.jobs_app import seed
from otel_ratelimit.demo.otlp_receiver import Receiver
from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.demo.received_telemetry import Telemetry
from otel_ratelimit.demo.stack.alertmanager import alertmanager
from otel_ratelimit.demo.stack.collector import Collector, CollectorAddresses
from otel_ratelimit.demo.stack.crowd_and_scheduler import crowd, scheduler
from otel_ratelimit.demo.stack.errors import StackError
from otel_ratelimit.demo.stack.ports import Ports
from otel_ratelimit.demo.stack.prometheus import PrometheusApi, Watching, prometheus
from otel_ratelimit.demo.stack.running_program import Program, RunningProgram
from otel_ratelimit.postgres.embedded import THROW_AWAY, EmbeddedPostgres
from otel_ratelimit.postgres.embedded.supervised_process import SupervisedProcess
from otel_ratelimit.postgres.migrate import upgrade

DATABASE: Final = "jobs"

Step: TypeAlias = Callable[[str], AbstractContextManager[Callable[[str], None]]]
"""Shows that a part is being started; the yielded function is called with the result."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run the stack."""

    ports: Ports
    workers: int = 1
    interval: str = "5s"
    """Between scrapes, and between evaluations of the rules."""
    hurry: int = 1
    """See `Watching`."""


class Stack:
    """The running parts.

    Attributes:
        settings: as given.
        database_url: of the job board.
        api_token: has read access to `/api/rate-limit/*`.
        traces: the spans that the collector passes on.
        prometheus: a client for its API.
        probes: requests that the application answered before it was called ready.
        programs: collector, Alertmanager and Prometheus.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self._folder = folder
        self._environ = clean_environment(os.environ)
        self._ends = ExitStack()
        self.api_token = secrets.token_urlsafe(24)
        self.database_url = ""
        self.traces = Telemetry()
        self.prometheus = PrometheusApi(settings.ports.prometheus)
        self.probes = 0
        self.programs: list[RunningProgram] = []
        self._server: Server | None = None
        self._serving: Serving | None = None
        self._scheduler: SupervisedProcess | None = None
        self._crowds: list[SupervisedProcess] = []

    def start(self, step: Step) -> None:
        """Start every part except the clients.

        Raises:
            RemediableError: a part cannot be started; `stop` ends the others.
        """
        ports = self.settings.ports
        with step("PostgreSQL") as done:
            self._start_postgres()
            done("embedded, with the job board's data")
        with step("Collector") as done:
            receiver = Receiver(self.traces)
            self._ends.callback(receiver.close)
            addresses = CollectorAddresses(
                ports.otlp_grpc, ports.otlp, ports.exporter, ports.telemetry, ports.health
            )
            self._start(
                lambda folder: Collector(
                    addresses, folder, receiver.endpoint, settings={"OTELCOL_SPAN_METRICS_INTERVAL": "2s"}
                ).program(self._environ)
            )
            done(f"OTLP on http://{LOOPBACK}:{ports.otlp}")
        with step("Application") as done:
            self._start_application()
            done(f"http://{LOOPBACK}:{ports.application}, {self.settings.workers} worker(s)")
        with step("Alertmanager") as done:
            self._start(lambda folder: alertmanager(ports.alertmanager, folder, self._environ))
            done(f"http://{LOOPBACK}:{ports.alertmanager}")
        with step("Prometheus") as done:
            watching = Watching(
                port=ports.prometheus,
                exporter_port=ports.exporter,
                telemetry_port=ports.telemetry,
                alertmanager_port=ports.alertmanager,
                interval=self.settings.interval,
                hurry=self.settings.hurry,
            )
            self._start(lambda folder: prometheus(watching, folder, self._environ))
            done(f"http://{LOOPBACK}:{ports.prometheus}")

    def crowd(self, who: str, seconds: float) -> SupervisedProcess:
        """Start clients for so many seconds: `visitors`, `abusers` or `everyone`."""
        if self._serving is None:
            raise RuntimeError("the stack has not been started")
        process = crowd(who, self._serving, seconds)
        self._ends.callback(process.stop)
        self._crowds.append(process)
        return process

    def check(self) -> None:
        """Check that all parts are still running.

        Raises:
            RemediableError: a part has ended.
        """
        for program in self.programs:
            program.check()
        if self._server is not None:
            self._server.check()
        if self._scheduler is not None and self._scheduler.exit_status is not None:
            raise StackError(
                f"the scheduler ended; its last lines:\n{self._scheduler.last_lines()}",
                "the lines above say why",
            )
        for clients in self._crowds:
            # Reading the status also reaps clients that have exited.
            if clients.exit_status:
                raise StackError(
                    f"the clients ended too early; their last lines:\n{clients.last_lines()}",
                    "the lines above say why",
                )
        self._crowds = [clients for clients in self._crowds if clients.exit_status is None]

    def stop_application(self) -> None:
        """Stop it; it sends its last telemetry first."""
        if self._server is not None:
            self._server.stop()
        self._server = None

    def stop(self) -> None:
        """Stop every part; may be called twice."""
        self._ends.close()

    def _start_postgres(self) -> None:
        postgres = EmbeddedPostgres(
            self._folder / "data", self._folder, environ=os.environ, settings=THROW_AWAY
        )
        self._ends.callback(postgres.stop)
        postgres.start()
        postgres.create_database(DATABASE, seed.load)
        self.database_url = postgres.dsn(DATABASE)
        upgrade(self.database_url)

    def _start_application(self) -> None:
        ports = self.settings.ports
        self._serving = Serving(
            port=ports.application,
            workers=self.settings.workers,
            database_url=self.database_url,
            otlp_endpoint=f"http://{LOOPBACK}:{ports.otlp}",
            scratch=self._folder,
            api_token=self.api_token,
            # The collector decides which traces are kept, and may be restarted meanwhile.
            spans_kept=1.0,
            export_timeout_seconds=40,
            trusted_proxies="" if can_bind_other_addresses() else TRUSTED_PROXY,
        )
        self._server = Server(self._serving, os.environ)
        self._ends.callback(self.stop_application)
        self.probes = self._server.wait_until_ready()
        self._scheduler = scheduler(self._serving, os.environ)
        self._ends.callback(self._scheduler.stop)

    def _start(self, program_in: Callable[[Path], Program]) -> None:
        folder = self._folder / f"part-{len(self.programs)}"
        folder.mkdir()
        program = RunningProgram(program_in(folder))
        self.programs.append(program)
        self._ends.callback(program.stop)
        program.wait_until_ready()


@contextmanager
def silently(_name: str) -> Iterator[Callable[[str], None]]:
    """A `Step` that prints nothing."""
    yield lambda _what: None
