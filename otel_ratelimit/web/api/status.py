"""`/status`: whether a client would be limited on a route now (GET), and clearing of its counters (DELETE).

The answer comes from the same parts that decide requests, in the same order: route, plan, identity, override,
store. The request is only described, and the store is asked with `peek` instead of `take`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final, NamedTuple

from flask import Request, current_app, request
from werkzeug.exceptions import HTTPException

from otel_ratelimit.core.counter_store import Taken, WindowState
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import ClientOverride, KeySpec, RoutePlan, Window
from otel_ratelimit.policy.decide import judge
from otel_ratelimit.web.api.problems import ParameterError, bad_parameters
from otel_ratelimit.web.api.services import ApiServices
from otel_ratelimit.web.api.status_models import (
    ClientAnswer,
    ResetAnswer,
    RouteAnswer,
    StatusAnswer,
    StatusParameters,
    WindowAnswer,
)
from otel_ratelimit.web.enforcement import Enforcement

_logger = logging.getLogger(__name__)

_NO_WINDOWS: Final[tuple[Window, ...]] = ()


class _Governed(NamedTuple):
    """The plan and the client of the described request."""

    plan: RoutePlan
    identity: Identity | None
    """None where the route is exempt."""
    override: ClientOverride | None
    windows: tuple[Window, ...]


class DescribedClient:
    """The client of the described request (`identity.ClientSource`).

    Args:
        asked: the description.
        header_name: the header that the route counts by; empty if it counts by something else.
    """

    proxied = True
    """The description has no forwarding header, so there must be no warning about one."""

    def __init__(self, asked: StatusParameters, header_name: str) -> None:
        self._asked = asked
        self._header_name = header_name

    @property
    def peer(self) -> str:
        """The given address; empty without one."""
        return "" if self._asked.ip is None else str(self._asked.ip)

    def header(self, name: str) -> str | None:
        """The given key, for the header that the route counts by."""
        return self._asked.key if name == self._header_name else None

    def user(self) -> str | None:
        """The given user."""
        return self._asked.user

    def evaluate(self, _path: str) -> object:
        """The given key, in place of the result of the application's function."""
        return self._asked.key


def status(services: ApiServices, asked: StatusParameters) -> StatusAnswer:
    """Whether the next such request would be limited.

    Raises:
        ProblemError: the client is not described well enough for this route.
        StorageUnavailableError: the store did not answer.
    """
    governed = _governed(services.enforcement(), asked)
    now = services.clock()
    taken = Taken(True, ())
    if governed.windows and governed.identity is not None:
        taken = services.store.peek(governed.windows, governed.identity.key, governed.plan.cost, now)
    kind = judge(governed.windows, taken)[0] if governed.windows else DecisionKind.EXEMPT
    limits = [_window(*pair) for pair in zip(governed.windows, taken.states, strict=True)]
    limited = kind is DecisionKind.BLOCKED
    return StatusAnswer(
        at=datetime.fromtimestamp(now, UTC),
        limited=limited,
        decision=kind,
        retry_after=max((w.retry_after for w in limits if not w.shadow), default=0.0) if limited else 0.0,
        route=_route(governed.plan, governed.override),
        client=_client(governed, asked),
        limits=limits,
    )


def reset(services: ApiServices, asked: StatusParameters) -> ResetAnswer:
    """Clear the client's counters on the route.

    Raises:
        ProblemError: the client is not described well enough for this route.
        StorageUnavailableError: the store did not answer.
    """
    governed = _governed(services.enforcement(), asked)
    cleared = 0
    if governed.windows and governed.identity is not None:
        cleared = services.store.clear(governed.windows, governed.identity.key)
    plan = governed.plan
    _logger.info("the API cleared %d counters of a client at %s %s", cleared, plan.method, plan.route)
    return ResetAnswer(
        cleared=cleared, route=_route(plan, governed.override), client=_client(governed, asked)
    )


def _governed(enforcement: Enforcement, asked: StatusParameters) -> _Governed:
    plan = _plan(enforcement, asked)
    # Whether a decorator's limit would apply is not known here; this is the plan if it does not.
    plan = plan.otherwise or plan
    if plan.exempt:
        return _Governed(plan, None, None, _NO_WINDOWS)
    _require_address(plan, asked)
    header_name = plan.key.argument if plan.key.kind == "header" else ""
    identity = enforcement.identifier.identify(plan.key, DescribedClient(asked, header_name))
    override = enforcement.plans.resolver.client(identity)
    if override is None:
        return _Governed(plan, identity, None, plan.windows)
    windows = _NO_WINDOWS if override.exempt else enforcement.plans.windows_for(plan, override)
    return _Governed(plan, identity, override, windows)


def _plan(enforcement: Enforcement, asked: StatusParameters) -> RoutePlan:
    return enforcement.plans.find(_described(asked))


def _described(asked: StatusParameters) -> Request:
    """The described request, with the route that the application would choose.

    It has no route if the application answers 404, 405 or a redirect.
    """
    described = Request({**request.environ, "REQUEST_METHOD": asked.method})
    adapter = current_app.create_url_adapter(request)
    if adapter is None:
        return described
    try:
        rule, arguments = adapter.match(asked.path, method=asked.method, return_rule=True)
    except HTTPException as error:
        described.routing_exception = error
    else:
        described.url_rule, described.view_args = rule, dict(arguments)
    return described


def _require_address(plan: RoutePlan, asked: StatusParameters) -> None:
    if asked.ip is None and _counts_by_address(plan.key, asked):
        what = f"is missing, and {plan.method} {plan.route} would count this client by its address"
        alternative = {"user": ", or user=alice", "header": ", or key=4f1c", "function": ", or key=4f1c"}
        instead = f"for instance ip=192.0.2.7{alternative.get(plan.key.kind, '')}"
        raise bad_parameters([ParameterError(parameter="ip", what=what, instead=instead)])


def _counts_by_address(key: KeySpec, asked: StatusParameters) -> bool:
    if key.kind == "user":
        return asked.user is None
    if key.kind in {"header", "function"}:
        return asked.key is None
    return True


def _route(plan: RoutePlan, override: ClientOverride | None) -> RouteAnswer:
    return RouteAnswer(
        route=plan.route,
        endpoint=plan.endpoint,
        method=plan.method,
        tier=plan.tier,
        rule=plan.source,
        key=str(plan.key),
        cost=plan.cost,
        exempt=plan.exempt or (override is not None and override.exempt),
    )


def _client(governed: _Governed, asked: StatusParameters) -> ClientAnswer | None:
    identity, override = governed.identity, governed.override
    if identity is None:
        return None
    unused = []
    if asked.user is not None and identity.user is None:
        unused.append("user")
    if asked.key is not None and identity.kind not in {"header", "function"}:
        unused.append("key")
    return ClientAnswer(
        counted_by=identity.kind,
        address=identity.address,
        user=identity.user,
        override=None if override is None else override.source,
        unused_parameters=unused,
    )


def _window(window: Window, state: WindowState) -> WindowAnswer:
    return WindowAnswer(
        limit=window.text,
        name=window.name,
        amount=window.amount,
        window_seconds=window.seconds,
        strategy=window.strategy,
        shadow=window.shadow,
        used=state.used,
        remaining=state.remaining,
        reset_after=state.reset_after,
        retry_after=state.retry_after,
    )
