"""Serves the API before the application's hooks, which may ask for a login or a CSRF token.

The API has its own authentication, so a guard of the application's pages is only in its way. The
application's `url_value_preprocessor` and `before_request` functions are not run. Its `after_request`
functions are, since they add headers (security, CORS); one that fails, or answers something else, is ignored.

Requests are recognised by their path and matched against routes of our own, wherever the blueprint is
registered. A route of the application below the same prefix stays the application's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flask import Flask, Response
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect, Rule

from otel_ratelimit.web.api.blueprint import OTHER_ENDPOINT, URL_PREFIX, ApiRoute, ApiRoutes, CurrentServices
from otel_ratelimit.web.route_plans import KNOWN_METHODS, OWN_ENDPOINTS
from otel_ratelimit.web.routing_redirects import redirect_target

_logger = logging.getLogger(__name__)


class _Matched(NamedTuple):
    route: ApiRoute
    arguments: dict[str, str]


class ApiBeforeHooks:
    """The API of one application, served before its hooks.

    Args:
        app: the application.
        check: our own `before_request`: decides, and returns the response that refuses.
        finish: our own `after_request`: headers and sinks.
        current: the services in force; asked within each request.
    """

    def __init__(
        self,
        app: Flask,
        check: Callable[[], Response | None],
        finish: Callable[[Response], Response],
        current: CurrentServices,
    ) -> None:
        self._app = app
        self._check = check
        self._finish_request = finish
        self._routes = ApiRoutes(current)

    def may_serve(self, path: str) -> bool:
        """Whether this path may be one of the API's."""
        return path.startswith(URL_PREFIX)

    def serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes] | None:
        """Answer a request for the API; None for one that is the application's."""
        matched = self._match(environ)
        if matched is None:
            return None
        context = self._app.request_context(environ)
        try:
            try:
                context.push()
            except Exception:
                # The API needs no session.
                _logger.debug(
                    "the application's session could not be opened for a request of the API", exc_info=True
                )
            response = self._answer(matched)
            return response(environ, start_response)
        finally:
            try:
                context.pop(None)
            except Exception:
                # A teardown function may rely on the hooks before it, which did not run.
                _logger.debug(
                    "a teardown function of the application failed after a request of the API", exc_info=True
                )

    def _match(self, environ: dict[str, Any]) -> _Matched | None:
        path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
        rest = path.removeprefix(URL_PREFIX)
        method = environ.get("REQUEST_METHOD", "")
        if (rest and not rest.startswith("/")) or method not in KNOWN_METHODS:
            return None
        route, arguments = self._routes.find(rest, method)
        return None if self._is_the_applications(environ, route.rule) else _Matched(route, arguments)

    def _is_the_applications(self, environ: dict[str, Any], ours: Rule) -> bool:
        """Whether the application has its own route there; one that catches every path does not count."""
        app = self._app
        asked = app.request_class(environ)
        try:
            adapter = app.create_url_adapter(asked)
        except HTTPException:
            # A host that the application does not trust (`TRUSTED_HOSTS`).
            return True
        try:
            rule = adapter.match(return_rule=True)[0] if adapter is not None else None
        except RequestRedirect as redirect:
            asked.routing_exception = redirect
            target = redirect_target(app, asked)
            rule = target[0] if target is not None else None
        except HTTPException:
            return False
        except Exception:
            _logger.debug("a URL converter of the application failed", exc_info=True)
            return False
        if rule is None or rule.endpoint.startswith(OWN_ENDPOINTS):
            return False
        return ours.endpoint == OTHER_ENDPOINT or rule.rule.startswith(f"{URL_PREFIX}/")

    def _answer(self, matched: _Matched) -> Response:
        current = request_ctx.request
        current.url_rule, current.view_args = matched.route.rule, matched.arguments
        current.routing_exception = None
        self._open_span()
        response = self._check() or matched.route.view(**matched.arguments)
        return self._finish(response)

    def _open_span(self) -> None:
        """Call the hook with which OpenTelemetry's Flask instrumentation begins the span, if it is there."""
        opens_span = getattr(self._app, "_before_request", None)
        if opens_span is None or opens_span not in self._app.before_request_funcs.get(None, ()):
            return
        try:
            opens_span()
        except Exception:
            # Telemetry never costs a response.
            _logger.exception("the span of a request could not be opened")

    def _finish(self, response: Response) -> Response:
        """Run the application's `after_request` functions and our own; the answer stays what it is."""
        app = self._app
        status = response.status_code
        is_finished = False
        for function in reversed(app.after_request_funcs.get(None, [])):
            is_finished = is_finished or function == self._finish_request
            try:
                changed = app.ensure_sync(function)(response)
            except Exception:
                # It may rely on a hook before it, which did not run.
                _logger.debug("an after_request function failed at a request of the API", exc_info=True)
                continue
            if isinstance(changed, Response) and changed.status_code == status:
                response = changed
        response.status_code = status
        return response if is_finished else self._finish_request(response)
