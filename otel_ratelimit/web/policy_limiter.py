"""`PolicyLimiter`: a real `flask_limiter.Limiter` on our storage.

Its decorators, exemptions, `shared_limit`, `cost`, `deduct_when` and `current_limits` work as Flask-Limiter
documents them. Only limits that the application declared on it take Flask-Limiter's own path. The policy's
limits do not: that path costs about as much as everything else together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import flask
from flask import Flask, Response
from flask.globals import app_ctx
from flask_limiter import ExemptionScope, Limiter, RateLimitExceeded, RequestLimit
from limits import RateLimitItem, WindowStats
from limits import parse as parse_limit

from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.storage import BoundedMemoryStorage
from otel_ratelimit.storage.server_errors import is_of_client
from otel_ratelimit.web.app_set import AppSet
from otel_ratelimit.web.declared_limits import DeclaredLimits, blueprint_of, name_of, stands_in
from otel_ratelimit.web.flask_limiter_internals import one_null_handler
from otel_ratelimit.web.lasting_limiter import LastingLimiter
from otel_ratelimit.web.preflights import is_counted_by_policy_alone
from otel_ratelimit.web.refusal_errors import QuotaExceededError, declared_refusal

_NAMELESS: Final = "<a view without a name>"
_CHECKED: Final = "otel_ratelimit.declared_limits_checked"
_RESET_TIME: Final = "otel_ratelimit.declared_limit_reset_time"
"""Key in a request's WSGI environment: Unix time at which the declared limit that refuses has room."""
UNDECIDED: Final = "otel_ratelimit.default_tier_undecided"
"""Key in a request's WSGI environment: a function that checks the default tier and raises an error to refuse
the request. It is there until it is known whether a declared limit replaces that tier."""


@dataclass(slots=True)
class _CapturedHooks:
    """Takes the application's place while Flask-Limiter is initialised.

    Its configuration is empty: `RATELIMIT_*` belongs to the application's own limiter, and Flask-Limiter
    writes defaults into the configuration.
    """

    config: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    after: Callable[[Response], Response] | None = None

    def before_request(self, _hook: object) -> None:
        """Ignore `_check_request_limit`, which is called by name."""

    def after_request(self, hook: Callable[[Response], Response]) -> None:
        """Keep the hook for conditional deductions and headers."""
        self.after = hook

    def teardown_request(self, _hook: object) -> None:
        """Ignore the release of the limiter's context, which ends with the request's own."""


class PolicyRequestLimit(RequestLimit):
    """`limiter.current_limit` for a limit that came from the policy file."""

    def __init__(self, extension: Limiter, item: RateLimitItem, stats: WindowStats, breached: bool) -> None:
        super().__init__(extension, item, [], breached, shared=False)
        self._window = stats


class PolicyLimiter(LastingLimiter):
    """Flask-Limiter on our storage, without hooks of its own on the application."""

    def __init__(
        self,
        key_func: Callable[[], str],
        *,
        storage_uri: Secret,
        storage_options: Mapping[str, Any],
        current: Callable[[], Decision | None],
    ) -> None:
        with one_null_handler():
            super().__init__(
                key_func,
                storage_uri=storage_uri.reveal(),
                storage_options=dict(storage_options),
                strategy="fixed-window",
                on_breach=self._note_breach,
            )
        self._current = current
        self.declared = DeclaredLimits(self.limit_manager, key_func)
        self.limit_manager = self.declared
        self.key_namespace: Callable[[], str] = lambda: ""
        """Returns the prefix of the keys of declared limits for the current application; may be empty."""
        self.storage_failed: Callable[[Exception], StorageUnavailableError] = _unavailable
        """Called with the store's error at the check of a declared limit; returns the error to raise."""
        self.lets_through: Callable[[StorageUnavailableError], bool] = lambda _failure: False
        """Whether a request is served although a declared limit could not be checked."""
        self.has_limits: Callable[[Flask], bool] = lambda _app: True
        """Whether a `RateLimit` limits this application now, the owner of this limiter or another one."""
        self._released = AppSet()
        self._is_closed = False
        hooks = _CapturedHooks()
        super().init_app(hooks)  # type: ignore[arg-type]  # Flask-Limiter uses nothing else of an application
        self._hooks = hooks
        self.in_process = isinstance(self.storage, BoundedMemoryStorage)
        # The store is open now. `flask limiter config` prints both, and they may contain a password.
        self._storage_uri = str(storage_uri)
        self._storage_options = dict.fromkeys(storage_options, "***")

    def init_app(self, app: Flask) -> None:
        """Do nothing: `RateLimit` attaches the hooks of both."""

    def release(self, app: Flask) -> None:
        """Let the requests of `app` through from now on, unless another `RateLimit` limits it."""
        self._released.add(app)

    def close(self) -> None:
        """Do for every application what `release` does for one."""
        self._is_closed = True

    def exempts(self, app: Flask, endpoint: str) -> bool:
        """Whether the application exempted this endpoint or its blueprint."""
        scope = self.declared.exemption_scope(app, endpoint, blueprint_of(app, endpoint))
        return bool(scope & ExemptionScope.DEFAULT)

    def may_stand_in(self, app: Flask, endpoint: str, method: str) -> bool:
        """Whether limits are declared for this route and method that override the default ones."""
        return self.declared.may_stand_in(app, endpoint, method)

    def before_request(self) -> None:
        """Check the limits that were declared on the limiter; raises RateLimitExceeded."""
        if self.declared.has_request_limits() or self._meta_limits:
            self._check_request_limit()

    def after_request(self, response: Response) -> Response:
        """Deduct what depends on the response; called if a declared limit was checked."""
        return self._hooks.after(response) if self._hooks.after is not None else response

    def checked(self, environ: Mapping[str, object]) -> bool:
        """Whether a declared limit was checked for the request of this environment."""
        return _CHECKED in environ

    @property
    def _key_prefix(self) -> str:
        return self.key_namespace()

    @_key_prefix.setter
    def _key_prefix(self, _from_configuration: str) -> None:
        """Ignore the value: Flask-Limiter sets it once, and it differs by application."""

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        if self._is_unchecked():
            return
        environ = flask.request.environ
        environ[_CHECKED] = True
        app, endpoint = flask.current_app, flask.request.endpoint
        if callable_name is None and not name_of(app.view_functions.get(endpoint or "")):
            callable_name = _NAMELESS  # Flask-Limiter would fail on a view without a name
        try:
            super()._check_request_limit(callable_name=callable_name, in_middleware=in_middleware)
        except RateLimitExceeded as exceeded:
            raise self._declared_refusal(exceeded) from exceeded
        except Exception as error:
            if self._lets_all_through():
                return  # limits were taken away from the application while it served this request
            failure = self.storage_failed(error)
            ours = isinstance(error, StorageUnavailableError) or is_of_client(error)
            if not (ours and self.lets_through(failure)):
                raise failure from error
        if UNDECIDED not in environ or stands_in(environ):
            return
        if not in_middleware or not self.declared.checked_by_view(app, endpoint, flask.request.method):
            environ[UNDECIDED]()

    def _note_breach(self, limit: RequestLimit) -> None:
        """Note until when a declared limit refuses; Flask-Limiter's `on_breach`."""
        # The headers will ask the limit that was evaluated, so its state is read once for both.
        for evaluated in self.context.view_rate_limits:
            if evaluated.breached and evaluated.key == limit.key:
                flask.request.environ[_RESET_TIME] = evaluated.window.reset_time

    def _declared_refusal(self, exceeded: RateLimitExceeded) -> QuotaExceededError:
        decision = self._current()
        wait = float(exceeded.limit.limit.get_expiry())
        reset_time = flask.request.environ.pop(_RESET_TIME, None)
        if decision is None:
            return declared_refusal(flask.request, exceeded, wait, 0.0)
        if reset_time is not None:
            wait = reset_time - decision.at
        return declared_refusal(flask.request, exceeded, wait, decision.full_for)

    def _is_unchecked(self) -> bool:
        """Whether declared limits are not checked for the current request."""
        decision = self._current()
        if decision is None:
            return self._lets_all_through()
        if is_counted_by_policy_alone(flask.request.environ, decision):
            return True
        # The store has failed for the request, which is let through in spite of that.
        return decision.kind is DecisionKind.ERROR and decision.plan.on_error == "open"

    def _lets_all_through(self) -> bool:
        """Whether the current application had limits and has none any more."""
        app = app_ctx.app
        return (self._is_closed or app in self._released) and not self.has_limits(app)

    @property
    def current_limits(self) -> list[RequestLimit]:
        """Limits evaluated for this request, the policy's and the declared ones."""
        declared = list(super().current_limits)
        return self._from_policy() + declared

    @property
    def current_limit(self) -> RequestLimit | None:
        """The limit that matters most for this request."""
        declared = super().current_limit
        if declared is not None and declared.breached:
            return declared
        decision = self._current()
        if decision is None or decision.tightest < 0:
            return declared
        return self._from_policy()[decision.tightest]

    def _from_policy(self) -> list[RequestLimit]:
        decision = self._current()
        if decision is None:
            return []
        return [
            PolicyRequestLimit(
                self,
                parse_limit(window.text),
                WindowStats(decision.at + state.reset_after, state.remaining),
                state.exceeded and not window.shadow,
            )
            for window, state in zip(decision.windows, decision.states, strict=True)
        ]


def _unavailable(error: Exception) -> StorageUnavailableError:
    return StorageUnavailableError(type(error).__name__)
