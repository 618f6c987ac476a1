"""The hooks that check a request: facts → plan → identity → store → Decision → response, sinks.

    before_request   decide; refuse with 429 or 503, before any hook of the application
    after_request    headers; one Decision to every sink
    failed           the same Decision after an exception; a refused request stays refused
    escaped          the same if the exception leaves the application, a `BaseException` for instance

Each request has exactly one Decision, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flask import Flask, Request, Response, request
from flask.globals import request_ctx
from flask_limiter import Limiter
from werkzeug.exceptions import HTTPException

from otel_ratelimit.core.decision import REFUSING, Decision, DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.names import OTHER_METHOD
from otel_ratelimit.core.route_plan import RoutePlan
from otel_ratelimit.policy.decide import decide, exempted
from otel_ratelimit.web.client_source import FlaskClientSource
from otel_ratelimit.web.current_decision import DECISION_KEY
from otel_ratelimit.web.declared_limits import stands_in
from otel_ratelimit.web.enforcement import Enforcement, Tools
from otel_ratelimit.web.error_handlers import REFUSED_KEY, Refusals, complete_declared_refusal
from otel_ratelimit.web.fault_logger import FaultLogger
from otel_ratelimit.web.flask_limiter_decisions import Observed, observe, other_limiters
from otel_ratelimit.web.policy_limiter import UNDECIDED
from otel_ratelimit.web.refusal_errors import LimitsUnavailableError, QuotaExceededError, RefusalError
from otel_ratelimit.web.response_headers import usable_headers

_RECORDED_KEY: Final = "otel_ratelimit.recorded"
"""Key in the WSGI environment of a request whose Decision has gone to the sinks."""
_KEY_PREFIX: Final = "otel_ratelimit."
"""All keys of ours in a WSGI environment begin with it."""
_BODY_HEADERS: Final = frozenset(
    {"content-type", "content-length", "content-encoding", "content-language", "content-range", "etag"}
)
"""Headers that describe the body they came with."""


class RequestHooks:
    """The hooks of one application."""

    def __init__(self, app: Flask, enforcement: Enforcement, tools: Tools) -> None:
        self._app = app
        self.enforcement = enforcement
        self._tools = tools
        self._fault_logger = FaultLogger()
        self.refusals = Refusals(app, self._fault_logger)

    def before_request(self) -> Response | None:
        """Decide on the request; the response that refuses it, or None to go on."""
        if DECISION_KEY in request.environ:
            _forget_former(request.environ)
        return self._enforce_policy() or self._check_declared_limits()

    def _enforce_policy(self) -> Response | None:
        refusal = self._judge(_current_request())
        return self.refusals.handle(refusal) if refusal is not None else None

    def _judge(self, current: Request, plan: RoutePlan | None = None) -> RefusalError | None:
        """Decide by `plan`, or by the one for the request; returns the error that refuses it."""
        try:
            decision = self._decide(current, plan)
        except Exception:
            # A fault of ours must cause neither a 500 nor an unlimited request.
            self._fault_logger.exception("the check of a request")
            current.environ[DECISION_KEY] = self._undecided()
            return None if self._tools.shadow else LimitsUnavailableError(1.0)
        current.environ[DECISION_KEY] = decision
        return self._refusal(decision)

    def after_request(self, response: Response) -> Response:
        """Finish the decision, tell the sinks, and write the headers."""
        environ = request.environ
        if DECISION_KEY not in environ:
            # A `url_value_preprocessor` that aborts runs before every hook, ours too.
            response = self._enforce_policy() or response
        if UNDECIDED in environ:
            # The view, whose decorators would have decided, was not reached.
            refusal = self._enforce_default_tier()
            response = response if refusal is None else self.refusals.handle(refusal)
        decision = environ[DECISION_KEY]
        for_headers: Decision | None = decision
        limiter = self._tools.limiter
        others = other_limiters(self._app, limiter)
        declared = limiter.checked(environ)
        if declared:
            response = self._complete(environ, response)
        if declared or others:
            decision, for_headers = self._observe(decision, others, declared=declared)
            environ[DECISION_KEY] = decision
        self._record(environ, decision)
        self.enforcement.headers.write(response, for_headers)
        return response

    def failed(self, error: Exception, handle: Callable[[Exception], Response]) -> Response:
        """The response after an exception; `handle` is the application's handling of it, which may raise too.

        A refused request stays refused: a failure afterwards (a session that cannot be opened or saved, a
        hook) does not turn it into a 500.
        """
        environ = request.environ
        early = self._enforce_unmatched() if DECISION_KEY not in environ else None
        if UNDECIDED in environ:
            refusal = self._enforce_default_tier()
            early = early if refusal is None else self.refusals.handle(refusal)
        try:
            response = handle(error)
        except Exception:
            if REFUSED_KEY not in environ:
                raise
            self._fault_logger.exception("answering a refused request")
            response = Response()
        finally:
            self._record(environ, environ[DECISION_KEY])
        refused: RefusalError | None = environ.get(REFUSED_KEY)
        if refused is None:
            return response
        return self._refused(early or refused.problem(), environ, response)

    def escaped(self, environ: dict[str, Any], error: BaseException) -> Response | None:
        """Record the request whose exception leaves the application; the response in its place if one is due.

        Called when the request's context no longer exists.
        """
        if DECISION_KEY not in environ or (UNDECIDED in environ and not stands_in(environ)):
            self._decide_unserved(environ)
        self._record(environ, environ[DECISION_KEY])
        refused: RefusalError | None = environ.get(REFUSED_KEY)
        if refused is None or not isinstance(error, Exception):
            return None
        self._fault_logger.failed("answering a refused request", error)
        return self._refused(refused.problem(), environ, Response())

    def _enforce_unmatched(self) -> Response | None:
        """Decide on a request whose session could not be opened; its route has not been found by then."""
        if request.url_rule is None and request.routing_exception is None:
            try:
                request_ctx.match_request()
            except Exception:
                # A converter may need the session.
                self._fault_logger.exception("finding the route of a request without a session")
        return self._enforce_policy()

    def _decide_unserved(self, environ: dict[str, Any]) -> None:
        """Decide on a request that ended before it had a context to be decided in."""
        bare = Request(environ)
        try:
            rule, arguments = self._app.url_map.bind_to_environ(environ).match(return_rule=True)
            bare.url_rule, bare.view_args = rule, dict(arguments)
        except HTTPException as error:
            bare.routing_exception = error
        except Exception:
            # A converter may need the session.
            self._fault_logger.exception("finding the route of a request without a session")
        try:
            decision = self._decide(bare)
            if environ.pop(UNDECIDED, None) is not None:
                decision = self._decide(bare, decision.plan.otherwise)
        except Exception:
            # The exception that is being raised is the one that matters.
            self._fault_logger.exception("the check of a request")
            decision = self._undecided()
        environ[DECISION_KEY] = decision
        refusal = self._refusal(decision)
        if refusal is not None:
            environ[REFUSED_KEY] = refusal

    def _refused(self, response: Response, environ: dict[str, Any], instead_of: Response) -> Response:
        """Add the application's headers to a refusal that replaces its response."""
        writer, decision = self.enforcement.headers, environ[DECISION_KEY]
        own = dict(writer.headers(decision))
        taken = {name.lower() for name in (*response.headers.keys(), *own)} | _BODY_HEADERS
        try:
            for name, value in usable_headers(instead_of):
                if name.lower() not in taken:
                    response.headers.add(name, value)
        except Exception:
            # The application's headers may be of any kind.
            self._fault_logger.exception("taking over the headers of a response")
        writer.write(response, decision)
        return response

    def _decide(self, current: Request, plan: RoutePlan | None = None) -> Decision:
        enforcement, tools = self.enforcement, self._tools
        if plan is None:
            plan = enforcement.plans.find(current)
        if plan.exempt:
            if plan.otherwise is None:
                return exempted(plan, tools.clock())
            if tools.limiter.declared.stands_ready(self._app, plan.endpoint, current.method):
                current.environ[UNDECIDED] = self._check_default_tier
                return exempted(plan, tools.clock())
            plan = plan.otherwise
        source = FlaskClientSource(current, enforcement.read_user)
        identity = enforcement.identifier.identify(plan.key, source)
        windows = plan.windows
        resolver = enforcement.plans.resolver
        if resolver.has_clients:
            override = resolver.client(identity)
            if override is not None:
                if override.exempt:
                    return exempted(plan, tools.clock(), identity)
                windows = enforcement.plans.windows_for(plan, override)
        return decide(plan, windows, identity, tools.store, clock=tools.clock, timer=tools.timer)

    def _undecided(self) -> Decision:
        plan = self.enforcement.plans.resolver.unmatched(OTHER_METHOD)
        return Decision(
            DecisionKind.ERROR,
            plan,
            plan.windows,
            (),
            None,
            -1,
            self._tools.clock(),
            0.0,
            error_type="internal",
        )

    def _refusal(self, decision: Decision) -> RefusalError | None:
        if decision.kind is DecisionKind.BLOCKED:
            return QuotaExceededError.from_policy(decision)
        if decision.kind is DecisionKind.ERROR and self._fails_closed(decision):
            return LimitsUnavailableError(self._tools.retry_seconds())
        return None

    def _enforce_default_tier(self) -> RefusalError | None:
        """Decide by the default tier, unless a declared limit that replaces it was applied."""
        environ = request.environ
        if environ.pop(UNDECIDED, None) is None or stands_in(environ):
            return None
        decision: Decision = environ[DECISION_KEY]
        return self._judge(_current_request(), decision.plan.otherwise)

    def _check_default_tier(self) -> None:
        """The same inside a view's decorator, where a refusal is raised."""
        refusal = self._enforce_default_tier()
        if refusal is not None:
            raise refusal

    def _fails_closed(self, decision: Decision) -> bool:
        return decision.fails_closed and not self._tools.shadow

    def _check_declared_limits(self) -> Response | None:
        try:
            self._tools.limiter.before_request()
        except (QuotaExceededError, LimitsUnavailableError) as refusal:
            return self.refusals.handle(refusal)
        except StorageUnavailableError as error:
            return self.storage_failed(error)
        return None

    def storage_failed(self, error: StorageUnavailableError) -> Response:
        """The 503 for a limit that the application declared and that could not be checked."""
        environ = request.environ
        decision = environ.get(DECISION_KEY)
        if decision is not None:
            environ[DECISION_KEY] = decision._replace(kind=DecisionKind.ERROR, error_type=error.error_type)
        return self.refusals.handle(LimitsUnavailableError(self._tools.retry_seconds()))

    def _complete(self, environ: Mapping[str, Any], response: Response) -> Response:
        """Deduct what `deduct_when` says; the view has run, so a fault of it must not cost the response."""
        try:
            response = self._tools.limiter.after_request(response)
            complete_declared_refusal(environ, response)
        except Exception:
            # The application's own function may fail, or the store.
            self._fault_logger.exception("the deduction of a limit that depends on the response")
        return response

    def _observe(self, decision: Decision, others: Sequence[Limiter], *, declared: bool) -> Observed:
        ours = self._tools.limiter if declared else None
        try:
            observed = observe(ours, others, decision, shadow=self._tools.shadow)
            if observed.decision.kind is DecisionKind.BLOCKED and observed.decision.identity is None:
                # The policy exempts a route that the application limits itself: find out who was limited.
                known = observed.decision._replace(identity=self._identify(observed.decision))
                observed = observed._replace(decision=known)
        except Exception:
            # Observation must not cost the response.
            self._fault_logger.exception("the observation of the application's limiter")
            return Observed(decision, decision)
        return observed

    def _identify(self, decision: Decision) -> Identity:
        enforcement = self.enforcement
        source = FlaskClientSource(_current_request(), enforcement.read_user)
        return enforcement.identifier.identify(decision.plan.key, source)

    def _record(self, environ: dict[str, Any], decision: Decision) -> None:
        if _RECORDED_KEY in environ:
            return
        environ[_RECORDED_KEY] = True
        tools = self._tools
        sinks = tools.sinks
        if decision.kind in REFUSING:
            sinks = (*sinks, *tools.refusal_sinks)
        for sink in sinks:
            try:
                sink(decision)
            except Exception:
                # Telemetry never costs a response.
                self._fault_logger.exception("the sink %s", type(sink).__name__)


def _current_request() -> Request:
    current: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's documented way
    return current


def _forget_former(environ: dict[str, Any]) -> None:
    """Start again where an environment is served again: middleware may try one application after another."""
    for key in [key for key in environ if key.startswith(_KEY_PREFIX)]:
        del environ[key]
