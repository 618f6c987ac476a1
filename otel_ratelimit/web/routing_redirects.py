"""Finds the target of a redirect that werkzeug's routing answers: `/jobs` to `/jobs/`, `//jobs` to `/jobs`.

The redirect counts for its target route. So a client with an old link does not use up the limits of requests
that match no route, and a flood of redirects is limited like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from flask import Flask, Request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect, Rule

_logger = logging.getLogger(__name__)

_MAX_REDIRECTS: Final = 4
"""One for double slashes, one for a missing slash, one for defaults or an alias; more would be a loop."""


def redirect_target(app: Flask, request: Request) -> tuple[Rule, Mapping[str, Any]] | None:
    """The route that the client will reach, with its arguments; None if it is not this application's."""
    exception = request.routing_exception
    for _ in range(_MAX_REDIRECTS):
        if not isinstance(exception, RequestRedirect):
            return None
        adapter = app.create_url_adapter(request)
        if adapter is None:
            return None
        target = urlsplit(exception.new_url)
        root = adapter.script_name.rstrip("/")
        if target.netloc != adapter.get_host(None) or not target.path.startswith(f"{root}/"):
            return None
        path = unquote(target.path[len(root) :])
        try:
            return adapter.match(path, method=request.method, return_rule=True)
        except HTTPException as raised:
            exception = raised
        except Exception:
            _logger.debug("a URL converter of the application failed", exc_info=True)
            return None
    return None
