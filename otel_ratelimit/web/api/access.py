"""Access to the API: bearer tokens (RFC 6750), or the application's own check in their place.

A token is compared with every configured one, in constant time and to the end, so that the time of an answer
does not show whether or where it was found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from flask import Response, request
from flask_httpauth import HTTPTokenAuth
from werkzeug.exceptions import HTTPException

from otel_ratelimit.core.secret import Secret
from otel_ratelimit.web.api.problems import ProblemError, problem_response
from otel_ratelimit.web.api.services import Access, ApiServices

_logger = logging.getLogger(__name__)

SCHEME: Final = "Bearer"
REALM: Final = "otel-ratelimit"
_CHALLENGE: Final = f'{SCHEME} realm="{REALM}"'
_READ_VARIABLE: Final = "OTEL_RATELIMIT_API_TOKEN"
_ADMIN_VARIABLE: Final = "OTEL_RATELIMIT_ADMIN_TOKEN"


class _Tokens(HTTPTokenAuth):  # type: ignore[misc]  # mypy cannot see it
    """A header that cannot be read counts as no token."""

    def get_auth(self) -> Any:
        """The client's credentials, if they are of this scheme."""
        scheme = request.headers.get("Authorization", "").partition(" ")[0]
        # Werkzeug raises ValueError for `Basic` with characters outside ASCII; only this scheme is wanted.
        return super().get_auth() if scheme.lower() == SCHEME.lower() else None


class AccessCheck:
    """Lets a request through to a view, or refuses it.

    Args:
        current: the services in force for the current request.
    """

    def __init__(self, current: Callable[[], ApiServices | None]) -> None:
        self._current = current
        self._tokens = _Tokens(SCHEME, realm=REALM)
        self._tokens.verify_token(self._role_of)
        self._tokens.get_user_roles(_may)
        self._tokens.error_handler(self._refused)

    def check(self, services: ApiServices, access: Access, view: Callable[[], Response]) -> Response:
        """The answer of `view` if the current request has this access, else 401 or 403."""
        if services.authorize is not None:
            if _application_allows(services.authorize, access):
                return view()
            detail = f"The application does not allow {_deed(access)}."
            return problem_response(ProblemError(HTTPStatus.FORBIDDEN, detail))
        guarded: Callable[[], Response] = self._tokens.login_required(role=access)(view)
        return guarded()

    def _role_of(self, token: str) -> Access | None:
        services = self._current()
        if services is None:
            return None
        admin = _is_one_of(token, services.admin_tokens)
        reader = _is_one_of(token, services.read_tokens)
        return "admin" if admin else "read" if reader else None

    def _refused(self, status: int) -> Response:
        services = self._current()
        if status == HTTPStatus.FORBIDDEN:
            detail = "This needs the administrator's token."
            if services is not None and not services.admin_tokens:
                detail += f" None is configured: set {_ADMIN_VARIABLE}."
            challenge = f'{_CHALLENGE}, error="insufficient_scope"'
            problem = ProblemError(HTTPStatus.FORBIDDEN, detail, headers={"WWW-Authenticate": challenge})
            return problem_response(problem)
        detail = "Send a valid token as Authorization: Bearer TOKEN."
        if services is not None and not (services.read_tokens or services.admin_tokens):
            detail = f"No token is configured, so nobody has access: set {_READ_VARIABLE}."
        problem = ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": _CHALLENGE})
        return problem_response(problem)


def _is_one_of(token: str, known: tuple[Secret, ...]) -> bool:
    found = False
    for candidate in known:
        found |= candidate.matches(token)
    return found


def _may(role: Access) -> list[str]:
    return ["read", "admin"] if role == "admin" else [role]


def _application_allows(authorize: Callable[[str], Any], access: Access) -> bool:
    try:
        answer = authorize(access)
    except HTTPException:
        # An application refuses with `abort`.
        return False
    except Exception:
        _logger.exception("the authorize function of the rate-limit API raised an exception; access refused")
        return False
    if not isinstance(answer, bool):
        # A coroutine, or a response that refuses, would count as true.
        _logger.error(
            "the authorize function of the rate-limit API returned %s instead of True or False;"
            " access refused",
            type(answer).__name__,
        )
        return False
    return answer


def _deed(access: Access) -> str:
    return "this change" if access == "admin" else "reading this"
