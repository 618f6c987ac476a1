"""`RateLimit`: the one place where the parts are put together."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from flask import Flask, Response, current_app, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from opentelemetry.metrics import Meter, MeterProvider, get_meter, get_meter_provider
from opentelemetry.trace import get_tracer_provider

from otel_ratelimit.core import names
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.decision import DecisionSink
from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.core.lifecycle import EXIT_SECONDS, at_exit, share_of_the_rest
from otel_ratelimit.core.secret import HiddenEnvironment, HiddenValues, Secret, SecretKey
from otel_ratelimit.core.settings import settings_from, unknown_variables
from otel_ratelimit.core.version import __version__
from otel_ratelimit.core.waiting import LateLock
from otel_ratelimit.policy import Policy, PolicyFile, PolicyResolver, ReloadResult, builtin_policy
from otel_ratelimit.policy.identity import HEADER_WITHOUT_TRUST, Identifier, TrustedProxies
from otel_ratelimit.runtime.analytics import Analytics, open_analytics
from otel_ratelimit.runtime.application_here import application_here, owner_here
from otel_ratelimit.runtime.http_api import api_services, warn_of_hidden_routes
from otel_ratelimit.runtime.neighbours import warn_of_neighbours
from otel_ratelimit.runtime.policy_reload import PolicyReloader, warn_of_fresh_counters
from otel_ratelimit.runtime.queries import Queries, open_queries
from otel_ratelimit.runtime.refusal_log import open_refusal_log
from otel_ratelimit.runtime.storage import (
    OpenedStorage,
    StoreInUse,
    join_storage,
    limiter_options,
    open_limiter,
)
from otel_ratelimit.runtime.worker_processes import warn_of_prometheus, warn_of_separate_counts, warn_of_uwsgi
from otel_ratelimit.storage import validate_uri
from otel_ratelimit.storage.default_store import default_store
from otel_ratelimit.storage.key_namespace import UNNAMED_SERVICE_WARNING, key_namespace, service_of
from otel_ratelimit.storage.key_namespace import key_prefix as key_prefix_of
from otel_ratelimit.telemetry import DecisionTelemetry, HistogramBuckets, PolicyTelemetry
from otel_ratelimit.telemetry.logs import RefusalLog, open_output
from otel_ratelimit.telemetry.logs.start import START
from otel_ratelimit.web.api import BLUEPRINT_NAME, URL_PREFIX, ApiAhead, ApiServices, api_blueprint
from otel_ratelimit.web.app_set import AppSet
from otel_ratelimit.web.extension import (
    Enforcement,
    RequestHooks,
    Tools,
    current_decision,
    let_through,
    refuse_declared,
)
from otel_ratelimit.web.first_request import (
    Environ,
    FirstRequest,
    WsgiEntry,
    awaited_by,
    entry_of,
    make_way,
    match_again,
    stand_in_of,
)
from otel_ratelimit.web.flask_limiter_bridge import EXTENSION as LIMITER_EXTENSION
from otel_ratelimit.web.hooks import AttachedHooks
from otel_ratelimit.web.plans import RoutePlans
from otel_ratelimit.web.response_headers import HeaderWriter
from otel_ratelimit.web.responses import unavailable
from otel_ratelimit.web.source import FlaskClientSource, current_user_agent, user_reader

_log = logging.getLogger(__name__)

EXTENSION: Final = "otel_ratelimit"
"""Our place in `app.extensions`."""
_HOOKS: Final = "otel_ratelimit.hooks"

FLUSH_SECONDS: Final = 5.0

_in_use: Final[weakref.WeakSet[RateLimit]] = weakref.WeakSet()
"""Read by tests, which reset counters, and for functions that are called outside of an application."""

_NO_POLICY: Final = Problem(
    "OTEL_RATELIMIT_REQUIRED",
    "there is no policy file, so nothing would be limited",
    "name one with OTEL_RATELIMIT_POLICY, or enforce the built-in policy with OTEL_RATELIMIT_SHADOW=false",
)


class RateLimit:
    """Rate limits for Flask applications, from one policy file.

    What is not given is read from the environment (`OTEL_RATELIMIT_*`). One object can serve several
    applications: they share the store, not the counters.

    Args:
        app: the application, unless `init_app` is called later.
        policy: a policy file, or a policy already loaded.
        storage_uri: where counters live, as `limits` writes it.
        storage_options: options of the store's client, by name.
        key_prefix: what the keys of counters begin with, instead of the service's name.
        shadow: True never blocks; False enforces even the built-in policy.
        trusted_proxies: comma-separated CIDRs whose forwarding header is believed.
        trusted_hops: how many proxies stand in front, whatever their addresses are.
        proxy_header: the header that the proxies write; no other is read.
        hash_key: secret for keyed hashes of clients.
        database_url: PostgreSQL for analytics; none, no analytics.
        api_token: comma-separated bearer tokens that may read `/api/rate-limit/*`.
        admin_token: likewise, that may also change.
        api_before_hooks: whether `/api/rate-limit/*` is served ahead of the application's `before_request`
            functions. Not given: unless there is an `api_authorize`, which may count on them.
        api_authorize: the application's own check in place of tokens: called within the request with `read`
            or `admin`, answers whether that is allowed.
        query_sample_rate: share of different executions kept in the query log, 0 to 1.
        log_level: from which level on the plugin's log lines are made: `debug` to `critical`, or `off`. Not
            given: `info` where nobody has set logging up, else what the application has chosen.
        log_format: of lines on standard error, `text` or `json`.
        smtp_url: mail server for the nightly report; checked here, and used where the report is made.
        enabled: False does nothing at all.
        required: True: a policy file must be there, and limits cannot be switched off.
        sinks: called with every Decision, on the request's thread.
        meter_provider: instead of the global one.
        environ: instead of the process's environment.
        clock: instead of `time.time`.

    Raises:
        PolicyError: the policy file is missing or not valid; with every problem.
        SettingsError: a variable or argument is not valid; with every problem.
    """

    def __init__(  # noqa: PLR0913 - every setting is an argument, by name
        self,
        app: Flask | None = None,
        *,
        policy: Policy | Path | str | None = None,
        storage_uri: str | None = None,
        storage_options: Mapping[str, object] | None = None,
        key_prefix: str | None = None,
        shadow: bool | None = None,
        trusted_proxies: str | None = None,
        trusted_hops: int | None = None,
        proxy_header: str | None = None,
        hash_key: str | None = None,
        database_url: str | None = None,
        api_token: str | None = None,
        admin_token: str | None = None,
        api_before_hooks: bool | None = None,
        query_sample_rate: float | None = None,
        log_level: str | None = None,
        log_format: str | None = None,
        smtp_url: str | None = None,
        api_authorize: Callable[[str], bool] | None = None,
        enabled: bool | None = None,
        required: bool | None = None,
        sinks: Sequence[DecisionSink] = (),
        meter_provider: MeterProvider | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock = unix_time,
    ) -> None:
        is_of_process = environ is None
        self._environ = HiddenEnvironment(os.environ if environ is None else environ)
        given = HiddenValues(
            {
                "policy": None if isinstance(policy, Policy) else policy,
                "storage_uri": storage_uri,
                "storage_options": storage_options,
                "key_prefix": key_prefix,
                "shadow": shadow,
                "trusted_proxies": trusted_proxies,
                "trusted_hops": trusted_hops,
                "proxy_header": proxy_header,
                "hash_key": hash_key,
                "database_url": database_url,
                "api_token": api_token,
                "admin_token": admin_token,
                "api_before_hooks": api_before_hooks,
                "query_sample_rate": query_sample_rate,
                "log_level": log_level,
                "log_format": log_format,
                "smtp_url": smtp_url,
                "enabled": enabled,
                "required": required,
            }
        )
        # A traceback with the variables of each frame must not show them.
        del environ, storage_uri, storage_options, hash_key, database_url, api_token, admin_token, smtp_url
        self.settings = settings_from(self._environ, given)
        # An application holds its hooks, and they hold it; from here neither is kept alive.
        self._apps, self._awaited, self._unattached = AppSet(), AppSet(), AppSet()
        self._attaching = LateLock()
        self._clock = clock
        self.closed = False
        self._all_was_written = True
        if not self.settings.enabled:
            self._inert_limiter = Limiter(get_remote_address, enabled=False)
            return
        self._log_output = open_output(self.settings.log_level, self.settings.log_format)
        for sentence in unknown_variables(self._environ):
            _log.warning("%s", sentence)
        problems = validate_uri(self.settings.storage_uri)
        if problems:
            raise SettingsError(problems)
        self._trusted = TrustedProxies.parse(
            self.settings.trusted_proxies, self.settings.trusted_hops, self.settings.proxy_header
        )
        if self.settings.proxy_header and not self._trusted:
            _log.warning("%s", HEADER_WITHOUT_TRUST)
        self._choose_policy(policy)
        self._worker = BackgroundWorker()
        meter = get_meter(names.METER, __version__, meter_provider)
        self._buckets = HistogramBuckets(meter_provider, self._environ)
        self._buckets.keep()
        # A provider that is there for the whole process says nothing of another environment than its own.
        everywhere = (get_meter_provider(), get_tracer_provider()) if is_of_process else ()
        providers = (meter_provider,) if meter_provider is not None else everywhere
        self._service = service_of(self._environ, providers)
        self._key_prefix = key_prefix_of(self.settings.key_prefix, self._service)
        self._storage = self._open_storage(meter)
        problems = self._storage.unable(self._policy.strategies)
        if problems:
            raise SettingsError(problems)
        self._hash_key = self._choose_hash_key()
        self._decision_telemetry = DecisionTelemetry(meter, self._clock)
        self._policy_telemetry = PolicyTelemetry(meter, before_collection=self._decision_telemetry.flush)
        self._open_recording(meter)
        recorders: tuple[DecisionSink, ...] = (self._analytics,) if self._analytics is not None else ()
        self._sinks: tuple[DecisionSink, ...] = (self._decision_telemetry, *recorders, *sinks)
        self._api_authorize = api_authorize
        # Where another RateLimit of this process has the gauge, this one is flushed all the same.
        self._worker.every(FLUSH_SECONDS, "decision counts", self._decision_telemetry.flush, start=False)
        at_exit(self._decision_telemetry.flush)
        self._reloader = (
            PolicyReloader(self._policy_file, self._worker, self._apply) if self._policy_file else None
        )
        self._exporters_in: int | None = os.getpid()
        warn_of_uwsgi(sys.modules.get("uwsgi"))
        warn_of_neighbours()
        self._say_what_is_in_force()
        _in_use.add(self)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give `app` its limits; what an earlier `RateLimit` gave it is taken away first.

        Raises:
            RuntimeError: after `close`.
        """
        if not self.settings.enabled:
            return
        if self.closed:
            raise RuntimeError("this RateLimit is closed; make another")
        enforcement = self._enforcement(app)
        others = self._others_of(app)
        for other in others:
            other.detach(app)
        stand_in = make_way(app, self)
        if app.extensions.get(EXTENSION) is self:
            self.detach(app)
        self._policy_telemetry.in_force(enforcement.plans.resolver.policy_hash)
        tools = Tools(
            limiter=self._storage.limiter,
            store=self._storage.store,
            sinks=self._sinks,
            refusal_sinks=(self._refusal_log,),
            clock=self._clock,
            timer=time.perf_counter,
            retry_seconds=self._storage.retry_seconds,
            shadow=self.shadow,
        )
        hooks = RequestHooks(app, enforcement, tools)
        self._offer_api(app)
        attached = AttachedHooks(
            app,
            hooks,
            lambda environ: self._at_first_request(app, environ),
            ApiAhead(app, hooks.before_request, hooks.after_request, _api_services)
            if self._api_before_hooks
            else None,
            entry_of(stand_in),
        )
        app.extensions[EXTENSION] = self
        app.extensions[_HOOKS] = attached
        self._apps.add(app)
        limiters: set[Limiter] = app.extensions.setdefault(LIMITER_EXTENSION, set())
        if not limiters:
            limiters.add(self.limiter)
        attached.take_entry()
        if stand_in is not None:
            self._awaited.discard(app)
            stand_in.remove(app)
        # Only now: to close takes a moment, in which the application serves.
        for other in others:
            other.close_if_unused()
        if self._queries is not None:
            self._queries.claim()
        if self._reloader is not None:
            self._reloader.listen()

    def _others_of(self, app: Flask) -> list[RateLimit]:
        """Those that `app` has its limits from, or would have had."""
        found = (awaited_by(app), app.extensions.get(EXTENSION))
        return [each for each in found if isinstance(each, RateLimit) and each is not self]

    def await_app(self, app: Flask, entry: WsgiEntry | None = None, exporters_in: int | None = None) -> None:
        """Give `app` its limits at its first request: until then it may be half-built, and is not called.

        Args:
            app: the application.
            entry: what stands in its `wsgi_app` already.
            exporters_in: the process in which OpenTelemetry was set up, if it need not be this one.
        """
        if not self.settings.enabled:
            return
        self._exporters_in = exporters_in or self._exporters_in
        self._warn_of_prometheus()
        self._awaited.add(app)
        FirstRequest(app, self._attach_late, owner=self, entry=entry or WsgiEntry(app))
        if self._queries is not None:
            self._queries.claim()
        resolver = PolicyResolver(self._policy, namespace="", shadow=self.shadow)
        self._policy_telemetry.in_force(resolver.policy_hash)
        if self._reloader is not None:
            self._reloader.listen()

    def _attach_late(self, app: Flask, environ: Environ) -> Response | None:
        """What `await_app` has put off; the response that refuses the request where it cannot be done."""
        with self._attaching:
            stand_in = stand_in_of(app, self)
            try:
                if not self.closed and not isinstance(app.extensions.get(EXTENSION), RateLimit):
                    self.init_app(app)
                    match_again(environ, URL_PREFIX)
            except Exception:  # noqa: BLE001 - a fault of ours is neither a 500 nor a free pass
                return self._not_attached(app, entry_of(stand_in))
        attached = app.extensions.get(_HOOKS)
        if isinstance(attached, AttachedHooks):
            attached.place(environ)
        return None

    def _not_attached(self, app: Flask, entry: WsgiEntry | None) -> Response | None:
        if app not in self._unattached:
            self._unattached.add(app)
            consequence = "serves without limits (shadow)" if self.shadow else "answers 503"
            _log.exception(
                "rate limits could not be attached to a %s; it %s", type(app).__name__, consequence
            )
        if self.shadow:
            return None
        if awaited_by(app) is None:
            self.await_app(app, entry)
        return unavailable(1.0)

    def _offer_api(self, app: Flask) -> None:
        """Routes cannot be taken back; those of an application that was given up answer 404."""
        if BLUEPRINT_NAME in app.blueprints:
            return
        try:
            # Past the methods of a subclass, which may not expect the call.
            api_blueprint(_api_services).register(app, {})
        except AssertionError:  # Flask's, after the first request
            if not self._api_before_hooks:
                _log.warning("%s is not offered: the application has served requests already", URL_PREFIX)

    def api_services(self, app: Flask) -> ApiServices:
        """What the HTTP API of `app` is joined to."""
        return api_services(
            self.settings,
            self._storage,
            self._policy.memory,
            self._analytics,
            self._api_authorize,
            clock=self._clock,
            enforcement=lambda: _attached(app).hooks.enforcement,
            keys_by_user=self.store_in_use.keys_by_user,
        )

    def detach(self, app: Flask) -> None:
        """Take away from `app` what `init_app` gave it; the API's routes stay and answer 404."""
        stand_in = stand_in_of(app, self)
        if stand_in is not None:
            self._awaited.discard(app)
            stand_in.remove(app)
            if stand_in.entry is not None:
                stand_in.entry.remove()
        if app not in self._apps:
            return
        self._apps.discard(app)
        _attached(app).remove()
        del app.extensions[_HOOKS], app.extensions[EXTENSION]
        limiters: set[Limiter] = app.extensions.get(LIMITER_EXTENSION, set())
        limiters.discard(self.limiter)
        if not limiters:
            app.extensions.pop(LIMITER_EXTENSION, None)

    def close_if_unused(self) -> None:
        """Close, unless an application has its limits from here, or will have."""
        if not (self.closed or len(self._apps) or len(self._awaited)):
            self.close()

    def close(self, timeout: float = EXIT_SECONDS) -> bool:
        """Detach from every application, write what is left and stop the background thread.

        Args:
            timeout: how long to wait for the database, seconds.

        Returns:
            Whether all was written, by this call or the one that closed it; what was not is counted as
            dropped, and said.
        """
        if not self.settings.enabled or self.closed:
            return self._all_was_written
        for app in [*self._apps, *self._awaited]:
            self.detach(app)
        if self._reloader is not None:
            self._reloader.close()
        self._all_was_written = self._stop_recording(timeout)
        self._decision_telemetry.flush()
        self._policy_telemetry.retire()
        self._storage.telemetry.retire()
        self._log_output.close()
        self.closed = True
        return self._all_was_written

    def _stop_recording(self, timeout: float) -> bool:
        is_written = True
        with within(timeout):
            with within(share_of_the_rest()):
                self._worker.close()
            self._refusal_log.close()
            if self._queries is not None:
                with within(share_of_the_rest()):
                    is_written = self._queries.close()
            if self._analytics is not None:
                is_written &= self._analytics.close()
        return is_written

    @property
    def limiter(self) -> Limiter:
        """A Flask-Limiter on the same storage, for decorators and exemptions in the application."""
        return self._storage.limiter if self.settings.enabled else self._inert_limiter

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def plans(self, app: Flask) -> RoutePlans:
        """What the policy in force says of each route of `app`."""
        return self._enforcement(app).plans

    def _choose_policy(self, given: Policy | Path | str | None) -> None:
        self._policy_file = None if isinstance(given, Policy) else self._find_policy_file()
        if isinstance(given, Policy):
            self._policy = given
        else:
            self._policy = self._policy_file.policy if self._policy_file else builtin_policy()
        # Nobody wrote a policy: then the built-in one only observes, unless told to enforce.
        self._unasked = given is None and self._policy_file is None
        self.shadow = self._unasked if self.settings.shadow is None else self.settings.shadow
        if self.settings.required and self.shadow and self.settings.shadow is None:
            raise SettingsError([_NO_POLICY])

    def _open_recording(self, meter: Meter) -> None:
        self._analytics = open_analytics(
            self.settings,
            self._policy.analytics,
            self._worker,
            meter,
            clock=self._clock,
            user_agent=current_user_agent,
            service=self._apps.name,
            environ=self._environ,
        )
        self._queries = (
            open_queries(
                self._analytics.database,
                self.settings,
                self._policy.analytics,
                self._worker,
                meter,
                self._analytics.service,
            )
            if self._analytics is not None
            else None
        )
        database = self._analytics.database if self._analytics is not None else None
        self._refusal_log = open_refusal_log(self.settings, self._policy.analytics, database, self._worker)

    @property
    def refusal_log(self) -> RefusalLog | None:
        """What writes refused requests to the log; None where limits are off."""
        return self._refusal_log if self.settings.enabled else None

    def _find_policy_file(self) -> PolicyFile | None:
        path = self.settings.policy_file()
        return PolicyFile(path) if path is not None else None

    def _choose_hash_key(self) -> SecretKey:
        """The secret of client keys: the one set, else a random one where no other process counts along."""
        if self.settings.hash_key:
            return SecretKey(self.settings.hash_key.reveal().encode())
        return SecretKey(secrets.token_bytes(32) if self._storage.local else b"")

    def _open_storage(self, meter: Meter) -> OpenedStorage:
        uri, given, memory = self.settings.storage_uri, self.settings.storage_options, self._policy.memory
        limiter = open_limiter(
            self._key_of_current_request,
            uri,
            limiter_options(uri, given, memory, self._worker, self._clock),
            given,
            refuse=refuse_declared,
            current=current_decision,
        )
        limiter.lets_through = let_through
        opened = join_storage(limiter, uri, memory, self._clock, meter, given=given)
        if not opened.local:  # counters of one process are its own, and longer keys would cost memory
            prefix = self._key_prefix
            limiter.key_namespace = lambda: key_namespace(prefix, current_app.import_name)
        return opened

    @property
    def analytics(self) -> Analytics | None:
        """What records decisions; None where analytics are off."""
        return self._analytics if self.settings.enabled else None

    @property
    def queries(self) -> Queries | None:
        """What records queries; None where analytics are off."""
        return self._queries if self.settings.enabled else None

    @property
    def store_in_use(self) -> StoreInUse:
        """How full the store is that the applications share."""
        return StoreInUse(self._storage, self._policy.memory, self._users)

    def _users(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for app in self._apps:
            found |= _attached(app).hooks.enforcement.identifier.users()
        return found

    def _key_of_current_request(self) -> str:
        """Default key of limits declared with decorators: the policy's, so that both mean one client."""
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's documented way
        enforcement = _attached(app).hooks.enforcement
        source = FlaskClientSource(request, enforcement.read_user)
        return enforcement.identifier.identify(self._policy.key_spec, source).key

    def _key_namespace(self, app: Flask) -> str:
        """What the keys of the application's counters begin with."""
        return key_namespace(self._key_prefix, app.import_name)

    def _enforcement(self, app: Flask) -> Enforcement:
        resolver = PolicyResolver(self._policy, namespace=self._key_namespace(app), shadow=self.shadow)
        identity = self._policy.identity
        return Enforcement(
            plans=RoutePlans(app, resolver, self._storage.limiter),
            identifier=Identifier(
                self._trusted,
                ipv6_prefix=identity.ipv6_prefix,
                hash_key=self._hash_key,
                user_from=identity.user,
            ),
            read_user=user_reader(identity.user),
            headers=HeaderWriter(self._policy.responses.style),
        )

    def _apply(self, result: ReloadResult) -> None:
        """Put a reloaded policy in force; counters stay where route, window and strategy do."""
        if self._policy_file is None or result.outcome != "reloaded":
            self._policy_telemetry.reloaded(result.outcome)
            return
        problems = self._storage.unable(self._policy_file.policy.strategies)
        if problems:
            _log.error("the changed policy is refused: %s", "; ".join(map(str, problems)))
            self._policy_telemetry.reloaded("refused")
            return
        self._policy_telemetry.reloaded(result.outcome)
        for table in ("memory", "analytics"):
            if getattr(self._policy_file.policy, table) != getattr(self._policy, table):
                _log.warning("the changed [%s] table comes into force at the next start", table)
        self._policy = self._policy_file.policy
        for app in list(self._apps):
            hooks = _attached(app).hooks
            former, hooks.enforcement = hooks.enforcement.plans, self._enforcement(app)
            warn_of_fresh_counters(former.governing(), hooks.enforcement.plans.governing())
        self._policy_telemetry.in_force(result.policy_hash)

    @property
    def _api_before_hooks(self) -> bool:
        """Whether the API is served ahead of the application's hooks: its own check may count on them."""
        asked = self.settings.api_before_hooks
        return self._api_authorize is None if asked is None else asked

    def _at_first_request(self, app: Flask, environ: Mapping[str, object]) -> None:
        """What can be known, or may be started, only where requests are served."""
        limiters: set[Limiter] = app.extensions.get(LIMITER_EXTENSION, set())
        if len(limiters) > 1:
            # The application made its own since; its place is not ours to share.
            limiters.discard(self.limiter)
        self._worker.ensure_started()
        self._buckets.keep()
        self._warn_of_prometheus()
        warn_of_hidden_routes(app)
        if self._queries is not None and not self._queries.claim():
            _log.warning("queries are recorded for another RateLimit of this process, and for this one not")
        if self._storage.local and environ.get("wsgi.multiprocess"):
            warn_of_separate_counts(sys.argv, self._environ)

    def _warn_of_prometheus(self) -> None:
        if self._exporters_in not in {None, os.getpid()}:
            self._exporters_in = None  # once
            warn_of_prometheus(self._environ)

    def _say_what_is_in_force(self) -> None:
        if self._policy_file is not None:
            where = f"policy {self._policy_file.path}"
        else:
            where = "no policy file, so the built-in policy" if self._unasked else "the policy given"
        START.log(
            # Python shows warnings where nobody has set logging up: that nothing is blocked must be seen.
            logging.WARNING if self.shadow else logging.INFO,
            "rate limits %s: %s, counters in %s",
            "are only observed (shadow)" if self.shadow else "are enforced",
            where,
            self.settings.storage_uri,
        )
        if not (self._storage.local or self.settings.key_prefix or self._service.name):
            _log.warning(UNNAMED_SERVICE_WARNING)


def rate_limits_in_use() -> list[RateLimit]:
    """Every `RateLimit` of this process that is neither closed nor switched off."""
    return [rate_limit for rate_limit in list(_in_use) if not rate_limit.closed]


def _api_services() -> ApiServices | None:
    """Those of the current application, if it still has its limits."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's documented way
    rate_limit = app.extensions.get(EXTENSION)
    return rate_limit.api_services(app) if isinstance(rate_limit, RateLimit) else None


def rate_limit_of(app: Flask) -> RateLimit | None:
    """The one that `app` has, or will have at its first request, attached from now on."""
    awaiting = awaited_by(app)
    if isinstance(awaiting, RateLimit):
        awaiting.init_app(app)
    found = app.extensions.get(EXTENSION)
    return found if isinstance(found, RateLimit) else None


def current_rate_limit() -> RateLimit:
    """That of the current application, else the only one of this process.

    Raises:
        RuntimeError: there is none, or more than one could be meant; with what to do.
    """
    return owner_here(rate_limit_of, rate_limits_in_use)


def database_url_here() -> Secret | None:
    """Where the current application's analytics are; None outside of one, or where it has none."""
    app = application_here()
    rate_limit = None if app is None else rate_limit_of(app)
    return None if rate_limit is None else rate_limit.settings.database_url or None


default_store.found_by(lambda: current_rate_limit().store_in_use)


def _attached(app: Flask) -> AttachedHooks:
    attached: AttachedHooks = app.extensions[_HOOKS]
    return attached
