"""`RateLimit`: rate limits for Flask applications; joins them to what stands behind their limits."""

from __future__ import annotations

import logging
import os
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from flask import Flask
from flask_limiter import Limiter
from opentelemetry.metrics import MeterProvider

from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.decision import DecisionSink
from otel_ratelimit.core.lifecycle import EXIT_SECONDS
from otel_ratelimit.core.secret import HiddenEnvironment, HiddenValues
from otel_ratelimit.core.settings import settings_from
from otel_ratelimit.core.waiting import LateLock
from otel_ratelimit.policy import Policy, PolicyResolver
from otel_ratelimit.runtime.analytics import Analytics
from otel_ratelimit.runtime.attachment import (
    EXTENSION,
    attached,
    deregister,
    leave_own_limiters_alone,
    offer_api,
    owners_of,
    register,
    users_of,
)
from otel_ratelimit.runtime.close_once import CloseOnce
from otel_ratelimit.runtime.http_api import api_services, warn_of_hidden_routes
from otel_ratelimit.runtime.late_attachment import LateAttachment
from otel_ratelimit.runtime.parts import Given, Parts, open_parts
from otel_ratelimit.runtime.policy_reload import PolicyReloader, apply_reload
from otel_ratelimit.runtime.queries import Queries
from otel_ratelimit.runtime.storage import StoreInUse
from otel_ratelimit.runtime.worker_processes import ExportersOfProcess, warn_of_separate_counts
from otel_ratelimit.storage.default_store import MeasuredStore, default_store
from otel_ratelimit.telemetry.logs import RefusalLog
from otel_ratelimit.web.api import ApiServices
from otel_ratelimit.web.app_set import AppSet
from otel_ratelimit.web.enforcement import Enforcement
from otel_ratelimit.web.first_request import WsgiEntry, awaited_by, entry_of
from otel_ratelimit.web.flask_limiter_internals import inert_limiter
from otel_ratelimit.web.hook_placement import AttachedHooks
from otel_ratelimit.web.request_hooks import RequestHooks
from otel_ratelimit.web.route_plans import RoutePlans

_logger = logging.getLogger(__name__)

_in_use: Final[weakref.WeakSet[RateLimit]] = weakref.WeakSet()
"""Read by tests, which reset counters, and for functions that are called outside of an application."""
_CLOSED: Final = "this RateLimit is closed; make another"


class RateLimit:
    """Rate limits for Flask applications, from one policy file.

    Arguments that are not given are read from the environment (`OTEL_RATELIMIT_*`). One object can serve
    several applications: they share the store, not the counters.

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
        is_environ_of_process = environ is None
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
        self.closed = False
        self._closing = CloseOnce()
        self._changing = LateLock()  # held while an application is given its limits or loses them
        # An application holds its hooks, and they hold it; from here it is not kept alive.
        self._apps = AppSet()
        self._api_authorize = api_authorize
        asked = self.settings.api_before_hooks
        # An application's own check may count on what its hooks have done.
        self._api_before_hooks = api_authorize is None if asked is None else asked
        self._parts: Parts | None = None
        if not self.settings.enabled:
            self._inert_limiter = inert_limiter()
            return
        self._exporters = ExportersOfProcess(self._environ)
        self._parts = parts = open_parts(
            self.settings,
            Given(
                policy=policy,
                sinks=sinks,
                meter_provider=meter_provider,
                environ=self._environ,
                is_environ_of_process=is_environ_of_process,
                clock=clock,
                unnamed_service=self._apps.name,
            ),
        )
        self._late = LateAttachment(self, shadow=parts.policy.shadow)
        file = parts.policy.file
        self._reloader = (
            None
            if file is None
            else PolicyReloader(file, parts.worker, partial(apply_reload, parts, self._apps))
        )
        parts.end_with(self)
        _in_use.add(self)
        if app is not None:
            try:
                self.init_app(app)
            except BaseException:
                self.close()
                raise

    def init_app(self, app: Flask) -> None:
        """Give `app` its limits; what an earlier `RateLimit` gave it is taken away first.

        Raises:
            RuntimeError: after `close`.
        """
        parts = self._parts
        if parts is None:
            return
        if self.closed:
            raise RuntimeError(_CLOSED)
        enforcement = parts.enforcement(app)
        others = [each for each in owners_of(app) if isinstance(each, RateLimit) and each is not self]
        for other in others:
            other.detach(app)
        stand_in = self._late.make_way(app)
        if app.extensions.get(EXTENSION) is self:
            self.detach(app)
        parts.telemetry.policy.in_force(enforcement.plans.resolver.policy_hash)
        with self._changing:
            self._attach(app, parts, enforcement, entry_of(stand_in))
        if stand_in is not None:
            self._late.done(app, stand_in)
        # Only now, because closing takes a moment, in which the application already serves.
        for other in others:
            other.close_if_unused()
        self._start_listening(parts)

    def _attach(self, app: Flask, parts: Parts, enforcement: Enforcement, entry: WsgiEntry | None) -> None:
        if self.closed:  # by another thread, meanwhile
            raise RuntimeError(_CLOSED)
        hooks = RequestHooks(app, enforcement, parts.tools(time.perf_counter))
        first_served = offer_api(app, hooks, is_served_ahead=self._api_before_hooks)
        on_first_request = partial(self._at_first_request, app, parts)
        placed = AttachedHooks(app, hooks, on_first_request, first_served, entry)
        register(app, self, placed, self.limiter)
        self._apps.add(app)
        placed.take_entry()

    def await_app(self, app: Flask, entry: WsgiEntry | None = None, exporters_in: int | None = None) -> None:
        """Give `app` its limits at its first request: until then it may be half-built, and is not called.

        Args:
            app: the application.
            entry: what stands in its `wsgi_app` already.
            exporters_in: the process in which OpenTelemetry was set up; None for this one.
        """
        parts = self._parts
        if parts is None:
            return
        self._exporters.warn(exporters_in)
        self._late.add(app, entry)
        resolver = PolicyResolver(parts.policy.policy, namespace="", shadow=parts.policy.shadow)
        parts.telemetry.policy.in_force(resolver.policy_hash)
        self._start_listening(parts)

    def detach(self, app: Flask) -> None:
        """Take away from `app` what `init_app` gave it; the API's routes stay and answer 404."""
        if self._parts is None:
            return
        # A second thread waits here: it may give the application other limits when this returns.
        with self._changing:
            self._late.discard(app)
            if app not in self._apps:
                return
            self._apps.discard(app)
            attached(app).remove()
            deregister(app, self._parts.storage.limiter)

    def close_if_unused(self) -> None:
        """Close, unless an application has its limits from here or waits for them."""
        if self._parts is not None and not (self.closed or len(self._apps) or len(self._late.waiting)):
            self.close()

    def close(self, timeout: float = EXIT_SECONDS) -> bool:
        """Detach from every application, write what is left and stop the background thread.

        Limits that were declared on `limiter` are no longer checked, unless the application has another
        `RateLimit`. Several threads may call this at once: one closes, and the others wait for it.

        Args:
            timeout: how long to wait for the database, seconds.

        Returns:
            Whether all was written, by this call or by the one that closed it; False if another thread is
            still closing it at the end of `timeout`. The rest is counted as dropped, and logged.
        """
        parts = self._parts
        return parts is None or self._closing.run(partial(self._close, parts), timeout)

    def _close(self, parts: Parts, timeout: float) -> bool:
        with self._changing:
            self.closed = True  # nothing is attached from now on
        try:
            for app in [*self._apps, *self._late.waiting]:
                self.detach(app)
            if self._reloader is not None:
                self._reloader.close()
        finally:
            is_written = parts.close(timeout)
        return is_written

    @property
    def limiter(self) -> Limiter:
        """A Flask-Limiter on the same storage, for decorators and exemptions in the application."""
        return self._inert_limiter if self._parts is None else self._parts.storage.limiter

    @property
    def policy(self) -> Policy:
        """The policy in force; raises `RuntimeError` if limits are off."""
        return self._opened().policy.policy

    @property
    def shadow(self) -> bool:
        """Whether limits are only observed; raises `RuntimeError` if limits are off."""
        return self._opened().policy.shadow

    @property
    def analytics(self) -> Analytics | None:
        """The recorder of decisions; None where analytics are off."""
        return None if self._parts is None else self._parts.recording.analytics

    @property
    def queries(self) -> Queries | None:
        """The recorder of queries; None where analytics are off."""
        return None if self._parts is None else self._parts.recording.queries

    @property
    def refusal_log(self) -> RefusalLog | None:
        """The writer of refused requests to the log; None where limits are off."""
        return None if self._parts is None else self._parts.recording.refusal_log

    @property
    def store_in_use(self) -> StoreInUse:
        """How full the store is that the applications share."""
        parts = self._opened()
        return StoreInUse(parts.storage, parts.policy.policy.memory, lambda: users_of(self._apps))

    def plans(self, app: Flask) -> RoutePlans:
        """The plans of the policy in force for the routes of `app`."""
        return self._opened().enforcement(app).plans

    def api_services(self, app: Flask) -> ApiServices:
        """The services behind the HTTP API of `app`."""
        return api_services(app, self._opened(), self._api_authorize, self.store_in_use.keys_by_user)

    def _opened(self) -> Parts:
        if self._parts is None:
            raise RuntimeError("rate limits are switched off by OTEL_RATELIMIT_ENABLED or enabled=False")
        return self._parts

    def _start_listening(self, parts: Parts) -> None:
        if parts.recording.queries is not None:
            parts.recording.queries.claim()
        if self._reloader is not None:
            self._reloader.listen()

    def _at_first_request(self, app: Flask, parts: Parts, environ: Mapping[str, object]) -> None:
        """Take the steps that only a process which serves requests can take."""
        leave_own_limiters_alone(app, self.limiter)
        parts.worker.ensure_started()
        parts.telemetry.buckets.keep()
        self._exporters.warn()
        warn_of_hidden_routes(app)
        queries = parts.recording.queries
        if queries is not None and not queries.claim():
            _logger.warning("queries are recorded for another RateLimit of this process, not for this one")
        if parts.storage.local and environ.get("wsgi.multiprocess"):
            warn_of_separate_counts(sys.argv, self._environ)


def rate_limits_in_use() -> list[RateLimit]:
    """Every `RateLimit` of this process that is neither closed nor switched off."""
    return [rate_limit for rate_limit in list(_in_use) if not rate_limit.closed]


def rate_limit_of(app: Flask) -> RateLimit | None:
    """The `RateLimit` of `app`; one that waits for the first request is attached now."""
    awaiting = awaited_by(app)
    if isinstance(awaiting, RateLimit):
        awaiting.init_app(app)
    found = app.extensions.get(EXTENSION)
    return found if isinstance(found, RateLimit) else None


def _store_here() -> MeasuredStore:
    # Imported late, because that module imports this one.
    from otel_ratelimit.runtime.application_here import current_rate_limit

    return current_rate_limit().store_in_use


default_store.found_by(_store_here)
