"""Where Flask-Limiter and the policy meet.

`PolicyLimiter` is a real `flask_limiter.Limiter` on our storage: its decorators, exemptions,
`shared_limit`, `cost`, `deduct_when` and `current_limits` work as documented there. What the
policy governs does not walk Flask-Limiter's own path, which costs about as much as everything
else together; only what the application declared on the limiter does.

An application's own limiter is left as it is, and observed through its public `current_limits`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import flask
from flask import Flask, Response
from flask_limiter import ExemptionScope, Limiter, RateLimitExceeded, RequestLimit
from limits import RateLimitItem, WindowStats
from limits import parse as parse_limit

from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.names import APPLICATION_TIER
from otel_ratelimit.core.route_plan import RoutePlan, Strategy, Window
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.storage import BoundedMemoryStorage
from otel_ratelimit.storage.server_errors import is_of_client
from otel_ratelimit.web.cors import is_preflight
from otel_ratelimit.web.declared_limits import DeclaredLimits, blueprint_of, name_of, stands_in
from otel_ratelimit.web.refusals import declared_refusal
from otel_ratelimit.web.responses import quota_name

_log = logging.getLogger(__name__)

EXTENSION: Final = "limiter"
"""Flask-Limiter's place in `app.extensions`: a set of limiters."""

_NAMELESS: Final = "<a view without a name>"
_CHECKED: Final = "otel_ratelimit.declared_limits_checked"
UNDECIDED: Final = "otel_ratelimit.default_tier_undecided"
"""Where a request's WSGI environment holds what checks the default tier, until it is known whether a
declared limit stands in its place. It raises what refuses the request."""

_SHORTEST_WAIT: Final = 0.001
"""Seconds: a limit that refused has some time to go, or it would not have."""

Refusal = Callable[[RequestLimit], Response]


@dataclass(slots=True)
class _CapturedHooks:
    """Stands in for the application while Flask-Limiter sets itself up.

    It is given no configuration: `RATELIMIT_*` belongs to the application's own limiter, and
    Flask-Limiter writes defaults into what it is given.
    """

    config: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    after: Callable[[Response], Response] | None = None

    def before_request(self, _hook: object) -> None:
        """`_check_request_limit`, which is called by name."""

    def after_request(self, hook: Callable[[Response], Response]) -> None:
        """Conditional deductions and headers."""
        self.after = hook

    def teardown_request(self, _hook: object) -> None:
        """Release of the limiter's context, which goes with the request's own anyway."""


class PolicyRequestLimit(RequestLimit):
    """`limiter.current_limit` for a limit that came from the policy file."""

    def __init__(self, extension: Limiter, item: RateLimitItem, stats: WindowStats, breached: bool) -> None:
        super().__init__(extension, item, [], breached, shared=False)
        self._window = stats


class PolicyLimiter(Limiter):
    """Flask-Limiter on our storage, without hooks of its own on the application."""

    def __init__(
        self,
        key_func: Callable[[], str],
        *,
        storage_uri: Secret,
        storage_options: Mapping[str, Any],
        refuse: Refusal,
        current: Callable[[], Decision | None],
    ) -> None:
        super().__init__(
            key_func,
            storage_uri=storage_uri.reveal(),
            storage_options=dict(storage_options),
            strategy="fixed-window",
            on_breach=self._refuse,
        )
        self._refusal = refuse
        self._current = current
        self.declared = DeclaredLimits(self.limit_manager, key_func)
        self.limit_manager = self.declared
        self.key_namespace: Callable[[], str] = lambda: ""
        """What the keys of declared limits begin with, for the current application; empty: nothing."""
        self.storage_failed: Callable[[Exception], StorageUnavailableError] = _unavailable
        """Told what the store raised where a declared limit was checked; answers what to raise instead."""
        self.lets_through: Callable[[StorageUnavailableError], bool] = lambda _failure: False
        """Asked whether a request is served though a declared limit could not be checked."""
        hooks = _CapturedHooks()
        super().init_app(hooks)  # type: ignore[arg-type]  # all that it uses of an application
        self._hooks = hooks
        self.in_process = isinstance(self.storage, BoundedMemoryStorage)
        # The store is open. `flask limiter config` prints both, and they may hold a password.
        self._storage_uri = str(storage_uri)
        self._storage_options = dict.fromkeys(storage_options, "***")

    def init_app(self, app: Flask) -> None:
        """Nothing to do: `RateLimit` attaches the hooks of both."""

    def has_request_limits(self) -> bool:
        """Whether something was declared that is checked before the view."""
        manager = self.limit_manager
        return bool(
            manager._blueprint_limits
            or manager._application_limits
            or manager._default_limits
            or self._meta_limits
        )

    def exempts(self, app: Flask, endpoint: str) -> bool:
        """Whether the application exempted this endpoint or its blueprint."""
        scope = self.declared.exemption_scope(app, endpoint, blueprint_of(app, endpoint))
        return bool(scope & ExemptionScope.DEFAULT)

    def may_stand_in(self, app: Flask, endpoint: str, method: str) -> bool:
        """Whether limits are declared for this route and method that override the default ones."""
        return self.declared.may_stand_in(app, endpoint, method)

    def before_request(self) -> None:
        """Check what was declared on the limiter; raises RateLimitExceeded."""
        if self.has_request_limits():
            self._check_request_limit()

    def after_request(self, response: Response) -> Response:
        """Deduct what depends on the response; to be called where something was checked."""
        return self._hooks.after(response) if self._hooks.after is not None else response

    def checked(self, environ: Mapping[str, object]) -> bool:
        """Whether something declared on the limiter was checked for the request of this environment."""
        return _CHECKED in environ

    @property
    def _key_prefix(self) -> str:
        return self.key_namespace()

    @_key_prefix.setter
    def _key_prefix(self, _from_configuration: str) -> None:
        """Flask-Limiter sets it once, and it differs with the application."""

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        environ = flask.request.environ
        if is_preflight(flask.request) and self._is_counted():
            # It has a bucket of its own, and is not to use up what the real request needs.
            return
        if self._is_undecided():
            return
        environ[_CHECKED] = True
        app, endpoint = flask.current_app, flask.request.endpoint
        if callable_name is None and not name_of(app.view_functions.get(endpoint or "")):
            callable_name = _NAMELESS  # Flask-Limiter would ask the view for the name that it has not
        try:
            super()._check_request_limit(callable_name=callable_name, in_middleware=in_middleware)
        except RateLimitExceeded as exceeded:
            decision = self._current()
            full_for = decision.full_for if decision is not None else 0.0
            raise declared_refusal(flask.request, exceeded, full_for) from exceeded
        except Exception as error:
            failure = self.storage_failed(error)
            ours = isinstance(error, StorageUnavailableError) or is_of_client(error)
            if not (ours and self.lets_through(failure)):
                raise failure from error
        if UNDECIDED not in environ or stands_in(environ):
            return
        if not in_middleware or not self.declared.checked_by_view(app, endpoint, flask.request.method):
            environ[UNDECIDED]()

    def _refuse(self, limit: RequestLimit) -> Response:
        # The same limit once more, as the headers will ask for it: its state is read once.
        for evaluated in self.context.view_rate_limits:
            if evaluated.breached and evaluated.key == limit.key:
                limit._window = evaluated.window
        return self._refusal(limit)

    def _is_undecided(self) -> bool:
        """Whether the store has failed for the current request, and it is let through all the same."""
        decision = self._current()
        return (
            decision is not None and decision.kind is DecisionKind.ERROR and decision.plan.on_error == "open"
        )

    def _is_counted(self) -> bool:
        """Whether the policy has counted the current request."""
        decision = self._current()
        return decision is not None and decision.kind is not DecisionKind.EXEMPT

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


def other_limiters(app: Flask, ours: Limiter) -> list[Limiter]:
    """The limiters that the application set up itself."""
    return [limiter for limiter in app.extensions.get(EXTENSION, ()) if limiter is not ours]


class Observed(NamedTuple):
    """What became of a request that the application's own limits saw too."""

    decision: Decision
    """For telemetry and records."""
    told: Decision | None
    """For the headers; None where they would have to guess."""


def observe(
    ours: PolicyLimiter | None, others: Sequence[Limiter], decision: Decision, *, shadow: bool
) -> Observed:
    """The one decision on a request that the policy and the application's own limits both saw.

    A refusal by either is a refusal. Where the policy had nothing to say, the application's limits
    speak. The store is asked for the state of a limit that refused, at most once; that of others is
    told only if it is known, or kept in this process.

    Args:
        ours: the limiter that `RateLimit` offers, if something declared on it was checked.
        others: the application's own limiters.
        decision: the policy's.
        shadow: whether this application is only observed; then nothing is told of its own limiters.
    """
    if decision.kind is DecisionKind.BLOCKED:
        return Observed(decision, decision)
    own = Limiter.current_limits.fget  # type: ignore[attr-defined]  # a property
    declared: list[RequestLimit] = list(own(ours)) if ours is not None else []
    evaluated = declared + [limit for limiter in others for limit in own(limiter)]
    if not evaluated:
        return Observed(decision, decision)
    breached = [index for index, limit in enumerate(evaluated) if limit.breached]
    if not breached and decision.kind is not DecisionKind.EXEMPT:
        return Observed(decision, decision)
    ask = breached or (range(len(declared)) if ours is not None and ours.in_process else ())
    known = {
        index: state
        for index in ask
        if (state := _state(evaluated[index], decision.at if index < len(declared) else time.time()))
    }
    windows = tuple(_window(limit) for limit in evaluated)
    states = tuple(known.get(index) or (_unknown(limit)) for index, limit in enumerate(evaluated))
    if breached:
        tightest = max(breached, key=lambda index: states[index].retry_after)
        told = len(known) == len(breached) and not (shadow and breached[0] >= len(declared))
    else:
        tightest = min(known, key=lambda index: states[index].remaining / windows[index].amount, default=-1)
        told = 0 < len(known) == len(evaluated)
    observed = decision._replace(
        kind=DecisionKind.BLOCKED if breached else DecisionKind.ALLOWED,
        plan=_application_plan(decision.plan, windows),
        windows=windows,
        states=states,
        tightest=tightest,
    )
    return Observed(observed, _with_full_windows(observed, decision) if told else None)


def _with_full_windows(observed: Decision, policy: Decision) -> Decision:
    """A refusal by the application's limits that also tells of the policy's windows without room.

    The policy has counted the request, and would refuse the next one: waiting for the limits that refused
    would not be enough.
    """
    if observed.kind is not DecisionKind.BLOCKED or not policy.full:
        return observed
    states = [policy.states[index] for index in policy.full]
    told = observed._replace(
        windows=(*observed.windows, *(policy.windows[index] for index in policy.full)),
        states=(*observed.states, *(state._replace(retry_after=state.reset_after) for state in states)),
    )
    return told._replace(
        tightest=max(range(len(told.states)), key=lambda index: told.states[index].retry_after)
    )


def _state(limit: RequestLimit, now: float) -> WindowState | None:
    """What is left of a limit, and until when; None where its storage does not say."""
    try:
        reset, remaining = limit.window
    except Exception:  # noqa: BLE001 - another's storage, with errors of its own
        _log.debug("the state of the limit %s is not known", limit.limit, exc_info=True)
        return None
    amount = limit.limit.amount
    # The check came a moment before the count.
    wait = min(max(reset - now, 0.0), float(limit.limit.get_expiry()))
    remaining = min(max(remaining, 0), amount)
    if not limit.breached:
        return WindowState(amount - remaining, remaining, wait, 0.0)
    return WindowState(amount - remaining, remaining, wait, max(wait, _SHORTEST_WAIT))


def _unknown(limit: RequestLimit) -> WindowState:
    amount = limit.limit.amount
    return WindowState(amount, 0, 0.0, 0.0) if limit.breached else WindowState(0, amount, 0.0, 0.0)


def _window(limit: RequestLimit) -> Window:
    item = limit.limit
    text = str(item)
    return Window(
        prefix="",
        amount=item.amount,
        seconds=item.get_expiry(),
        strategy=Strategy.FIXED_WINDOW,
        shadow=False,
        text=text,
        name=quota_name(text),
    )


def _application_plan(plan: RoutePlan, windows: Sequence[Window]) -> RoutePlan:
    return RoutePlan(
        endpoint=plan.endpoint,
        method=plan.method,
        route=plan.route,
        tier=APPLICATION_TIER,
        exempt=False,
        key=plan.key,
        windows=tuple(windows),
        cost=1,
        on_error=plan.on_error,
        source="the application's own limiter",
    )
