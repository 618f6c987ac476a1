"""Where Flask-Limiter and the policy meet.

`PolicyLimiter` is a real `flask_limiter.Limiter` on our storage: its decorators, exemptions,
`shared_limit`, `cost`, `deduct_when` and `current_limits` work as documented there. What the
policy governs does not walk Flask-Limiter's own path, which costs about as much as everything
else together; only what the application declared on the limiter does.

An application's own limiter is left as it is, and observed through its public `current_limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import flask
from flask import Flask, Response
from flask_limiter import ExemptionScope, Limiter, RateLimitExceeded, RequestLimit
from flask_limiter.util import get_qualified_name
from limits import RateLimitItem, WindowStats
from limits import parse as parse_limit

from otel_ratelimit.errors import StorageUnavailableError
from otel_ratelimit.events import Decision, Outcome, RoutePlan, Strategy, Window, WindowState
from otel_ratelimit.names import APPLICATION_TIER

EXTENSION: Final = "limiter"
"""Flask-Limiter's place in `app.extensions`: a set of limiters."""

_CHECKED: Final = "otel_ratelimit.declared_limits_checked"

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
        storage_uri: str,
        storage_options: dict[str, Any],
        refuse: Refusal,
        current: Callable[[], Decision | None],
    ) -> None:
        super().__init__(
            key_func,
            storage_uri=storage_uri,
            storage_options=storage_options,
            strategy="fixed-window",
            on_breach=refuse,
        )
        self._current = current
        hooks = _CapturedHooks()
        super().init_app(hooks)  # type: ignore[arg-type]  # all that it uses of an application
        self._hooks = hooks

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
        blueprint = endpoint.rpartition(".")[0] or None
        if blueprint not in app.blueprints:
            blueprint = None
        # Flask-Limiter asks every view for its name.
        named = endpoint if _name_of(app, endpoint) else None
        scope = self.limit_manager.exemption_scope(app, named, blueprint)
        return bool(scope & ExemptionScope.DEFAULT)

    def overrides_defaults(self, app: Flask, endpoint: str) -> bool:
        """Whether a decorator on this endpoint's view stands in place of the default limits."""
        declared = self.limit_manager._decorated_limits.get(_name_of(app, endpoint), ())
        return any(limit.override_defaults is not False for limit in declared)

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

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        flask.request.environ[_CHECKED] = True
        try:
            super()._check_request_limit(callable_name=callable_name, in_middleware=in_middleware)
        except RateLimitExceeded:
            raise
        except Exception as error:
            raise StorageUnavailableError(type(error).__name__) from error

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


def _name_of(app: Flask, endpoint: str) -> str:
    """What Flask-Limiter calls the view; empty for one without a name, such as a `partial`."""
    view = app.view_functions.get(endpoint)
    if view is None:
        return ""
    try:
        return get_qualified_name(view)
    except AttributeError:
        return ""


def other_limiters(app: Flask, ours: Limiter) -> list[Limiter]:
    """The limiters that the application set up itself."""
    return [limiter for limiter in app.extensions.get(EXTENSION, ()) if limiter is not ours]


def observe(limiters: Iterable[Limiter], decision: Decision) -> Decision:
    """The one decision on a request that the policy and the application's own limits both saw.

    A refusal by either is a refusal. Where the policy had nothing to say, the application's limits
    speak. No storage call is made for it.
    """
    if decision.outcome is Outcome.BLOCKED:
        return decision
    evaluated: list[RequestLimit] = []
    for limiter in limiters:
        own = Limiter.current_limits.fget  # type: ignore[attr-defined]  # a property
        evaluated.extend(own(limiter))
    if not evaluated:
        return decision
    breached = [index for index, limit in enumerate(evaluated) if limit.breached]
    if not breached and decision.outcome is not Outcome.EXEMPT:
        return decision
    windows = tuple(_window(limit) for limit in evaluated)
    states = tuple(
        WindowState(w.amount, 0, 0.0, 0.0) if limit.breached else WindowState(0, w.amount, 0.0, 0.0)
        for w, limit in zip(windows, evaluated, strict=True)
    )
    outcome = Outcome.BLOCKED if breached else Outcome.ALLOWED
    plan = _application_plan(decision.plan, windows)
    return decision._replace(
        outcome=outcome, plan=plan, windows=windows, states=states, tightest=breached[0] if breached else -1
    )


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
        name=text.replace(" per 1 ", "-per-").replace(" ", "-"),
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
