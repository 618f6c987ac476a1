"""The parts of an enabled `RateLimit`: opened together, closed together."""

from __future__ import annotations

import logging
import secrets
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import Flask, request
from flask.globals import app_ctx
from opentelemetry.metrics import Meter, MeterProvider, get_meter, get_meter_provider
from opentelemetry.trace import get_tracer_provider

from otel_ratelimit.core import names
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.decision import DecisionSink
from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.core.lifecycle import at_exit, share_of_the_rest
from otel_ratelimit.core.secret import SecretKey
from otel_ratelimit.core.settings import Settings, unknown_variables
from otel_ratelimit.core.version import __version__
from otel_ratelimit.policy import Policy, PolicyResolver
from otel_ratelimit.policy.identity import HEADER_WITHOUT_TRUST, Identifier, TrustedProxies
from otel_ratelimit.runtime.attachment import attached, attached_or_none
from otel_ratelimit.runtime.neighbours import warn_of_neighbours
from otel_ratelimit.runtime.policy_in_force import PolicyInForce
from otel_ratelimit.runtime.recording import Recording, RecordingContext, open_recording
from otel_ratelimit.runtime.storage import OpenedStorage, join_storage, limiter_options, open_limiter
from otel_ratelimit.runtime.worker_processes import warn_of_uwsgi
from otel_ratelimit.storage import validate_uri
from otel_ratelimit.storage.key_namespace import UNNAMED_SERVICE_WARNING, Service, key_namespace, service_of
from otel_ratelimit.storage.key_namespace import key_prefix as key_prefix_of
from otel_ratelimit.telemetry import DecisionTelemetry, HistogramBuckets, PolicyTelemetry
from otel_ratelimit.telemetry.logs import open_output
from otel_ratelimit.telemetry.logs.output import LogOutput
from otel_ratelimit.telemetry.logs.start_logger import START
from otel_ratelimit.web.client_source import FlaskClientSource, user_reader
from otel_ratelimit.web.current_decision import current_decision, let_through
from otel_ratelimit.web.enforcement import Enforcement, Tools
from otel_ratelimit.web.response_headers import HeaderWriter
from otel_ratelimit.web.route_plans import RoutePlans

_logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Arguments of a `RateLimit` for which the environment has no variable."""

    policy: Policy | Path | str | None
    sinks: Sequence[DecisionSink]
    meter_provider: MeterProvider | None
    environ: Mapping[str, str]
    is_environ_of_process: bool
    clock: Clock
    unnamed_service: Callable[[], str]
    """Name of the service where OpenTelemetry has none."""

    def service(self) -> Service:
        """The service that counts, by what OpenTelemetry or the environment says."""
        if self.meter_provider is not None:
            return service_of(self.environ, (self.meter_provider,))
        # The providers of the process say nothing about another environment than its own.
        providers = (get_meter_provider(), get_tracer_provider()) if self.is_environ_of_process else ()
        return service_of(self.environ, providers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Instruments of one `RateLimit` for requests and policy."""

    decisions: DecisionTelemetry
    policy: PolicyTelemetry
    buckets: HistogramBuckets

    def close(self) -> None:
        """Report what is left, and no policy from now on."""
        self.decisions.close()
        self.policy.retire()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that stands behind the applications of one `RateLimit`; the policy alone changes."""

    settings: Settings
    clock: Clock
    policy: PolicyInForce
    trusted: TrustedProxies
    hash_key: SecretKey
    key_prefix: str
    worker: BackgroundWorker
    storage: OpenedStorage
    telemetry: Telemetry
    recording: Recording
    sinks: tuple[DecisionSink, ...]
    log_output: LogOutput

    def enforcement(self, app: Flask) -> Enforcement:
        """The parts of the hooks that follow from the policy in force for `app`."""
        policy = self.policy.policy
        namespace = key_namespace(self.key_prefix, app.import_name)
        resolver = PolicyResolver(policy, namespace=namespace, shadow=self.policy.shadow)
        return Enforcement(
            plans=RoutePlans(app, resolver, self.storage.limiter),
            identifier=Identifier(
                self.trusted,
                ipv6_prefix=policy.identity.ipv6_prefix,
                hash_key=self.hash_key,
                user_from=policy.identity.user,
            ),
            read_user=user_reader(policy.identity.user),
            headers=HeaderWriter(policy.responses.style),
        )

    def tools(self, timer: Callable[[], float]) -> Tools:
        """The parts of an application's hooks that the policy does not change."""
        return Tools(
            limiter=self.storage.limiter,
            store=self.storage.store,
            sinks=self.sinks,
            refusal_sinks=(self.recording.refusal_log,),
            clock=self.clock,
            timer=timer,
            retry_seconds=self.storage.retry_seconds,
            shadow=self.policy.shadow,
        )

    def end_with(self, owner: object) -> None:
        """Let the background thread write the rest, and end, if `owner` is collected without a `close`."""
        seconds = self.policy.policy.analytics.flush_interval + 2 * FLUSH_SECONDS
        weakref.finalize(owner, _end, weakref.ref(self.worker), seconds).atexit = False

    def close(self, timeout: float) -> bool:
        """Stop the background thread, write what is left, and report nothing from now on.

        Args:
            timeout: how long to wait for the thread and the database, seconds.

        Returns:
            Whether all was written.
        """
        self.storage.limiter.close()
        # Taken last to first, each one also where one before it has raised.
        with ExitStack() as steps:
            steps.callback(self.log_output.close)
            steps.callback(self.storage.close)
            steps.callback(self.telemetry.close)
            with within(timeout):
                try:
                    with within(share_of_the_rest()):
                        self.worker.close()
                finally:
                    is_written = self.recording.close()
        return is_written


def open_parts(settings: Settings, given: Given) -> Parts:
    """Put the parts together; what was opened is closed again where that fails.

    Raises:
        PolicyError: the policy file is missing or not valid.
        SettingsError: a setting is not valid.
    """
    with ExitStack() as opened:
        log_output = open_output(settings.log_level, settings.log_format)
        opened.callback(log_output.close)
        for sentence in unknown_variables(given.environ):
            _logger.warning("%s", sentence)
        _refuse(validate_uri(settings.storage_uri))
        trusted = TrustedProxies.parse(settings.trusted_proxies, settings.trusted_hops, settings.proxy_header)
        if settings.proxy_header and not trusted:
            _logger.warning("%s", HEADER_WITHOUT_TRUST)
        policy = PolicyInForce(settings, given.policy)
        worker = BackgroundWorker()
        opened.callback(worker.close)
        meter = get_meter(names.METER, __version__, given.meter_provider)
        buckets = HistogramBuckets(given.meter_provider, given.environ)
        buckets.keep()
        service = given.service()
        prefix = key_prefix_of(settings.key_prefix, service)
        storage = _open_storage(settings, policy, worker, meter, given.clock, prefix)
        opened.callback(storage.close)
        _refuse(storage.unable(policy.policy.strategies))
        telemetry = _open_telemetry(meter, buckets, given.clock)
        opened.callback(telemetry.close)
        recording = open_recording(
            RecordingContext(
                settings=settings,
                policy=policy.policy.analytics,
                worker=worker,
                meter=meter,
                service=given.unnamed_service,
                clock=given.clock,
                environ=given.environ,
            )
        )
        opened.callback(recording.close)
        # Where another RateLimit of this process has the gauge, this one is flushed all the same.
        worker.every(FLUSH_SECONDS, "decision counts", telemetry.decisions.flush, start=False)
        at_exit(telemetry.decisions.flush)
        warn_of_uwsgi(sys.modules.get("uwsgi"))
        warn_of_neighbours()
        _log_what_is_in_force(settings, policy)
        if not (storage.local or settings.key_prefix or service.name):
            _logger.warning(UNNAMED_SERVICE_WARNING)
        recorders = (recording.analytics,) if recording.analytics is not None else ()
        parts = Parts(
            settings=settings,
            clock=given.clock,
            policy=policy,
            trusted=trusted,
            hash_key=_hash_key(settings, storage),
            key_prefix=prefix,
            worker=worker,
            storage=storage,
            telemetry=telemetry,
            recording=recording,
            sinks=(telemetry.decisions, *recorders, *given.sinks),
            log_output=log_output,
        )
        opened.pop_all()
        return parts


def _end(worker: weakref.ref[BackgroundWorker], seconds: float) -> None:
    alive = worker()
    if alive is not None:
        alive.end_in(seconds)


def _refuse(problems: Iterable[Problem]) -> None:
    found = list(problems)
    if found:
        raise SettingsError(found)


def _open_storage(
    settings: Settings,
    policy: PolicyInForce,
    worker: BackgroundWorker,
    meter: Meter,
    clock: Clock,
    prefix: str,
) -> OpenedStorage:
    uri, options, memory = settings.storage_uri, settings.storage_options, policy.policy.memory
    limiter = open_limiter(
        _key_of_current_request(policy),
        uri,
        limiter_options(uri, options, memory, worker, clock),
        options,
        current=current_decision,
    )
    limiter.lets_through = let_through
    limiter.has_limits = lambda app: attached_or_none(app) is not None
    storage = join_storage(limiter, uri, memory, clock, meter, given=options)
    if not storage.local:  # counters of one process are its own, and longer keys would cost memory
        limiter.key_namespace = lambda: key_namespace(prefix, app_ctx.app.import_name)
    return storage


def _key_of_current_request(policy: PolicyInForce) -> Callable[[], str]:
    """Default key of limits declared with decorators: the policy's, so that both mean one client."""

    def key_of_current_request() -> str:
        enforcement = attached(app_ctx.app).hooks.enforcement
        source = FlaskClientSource(request, enforcement.read_user)
        return enforcement.identifier.identify(policy.policy.key_spec, source).key

    return key_of_current_request


def _hash_key(settings: Settings, storage: OpenedStorage) -> SecretKey:
    """The secret of client keys: the one set, else a random one where no other process counts along."""
    if settings.hash_key:
        return SecretKey(settings.hash_key.reveal().encode())
    return SecretKey(secrets.token_bytes(32) if storage.local else b"")


def _open_telemetry(meter: Meter, buckets: HistogramBuckets, clock: Clock) -> Telemetry:
    decisions = DecisionTelemetry(meter, clock)
    return Telemetry(
        decisions=decisions,
        policy=PolicyTelemetry(meter, before_collection=decisions.flush),
        buckets=buckets,
    )


def _log_what_is_in_force(settings: Settings, policy: PolicyInForce) -> None:
    START.log(
        # Python shows warnings where nobody has set logging up: that nothing is blocked must be seen.
        logging.WARNING if policy.shadow else logging.INFO,
        "rate limits %s: %s, counters in %s",
        "are only observed (shadow)" if policy.shadow else "are enforced",
        policy,
        settings.storage_uri,
    )
