"""A client for the HTTP API of a running application, with the standard library only.

Redirects are not followed: the token would be sent wherever they point.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from otel_ratelimit.core.errors import RemediableError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.web.api import URL_PREFIX
from otel_ratelimit.web.api.problems import ProblemAnswer

TIMEOUT_SECONDS: Final = 40.0
"""Longer than analytics may take: seven statements, each with the time limit of the database."""
MAX_BYTES: Final = 50_000_000
_EXAMPLE: Final = "for instance http://127.0.0.1:8000"
_DETAIL_CHARACTERS: Final = 500
_LOCATION_CHARACTERS: Final = 200

Answer = TypeVar("Answer", bound=BaseModel)


class ApiUnavailableError(RemediableError):
    """The API answered that it cannot serve this request now (503)."""


class Target(NamedTuple):
    """The application that is asked."""

    secure: bool
    host: str
    port: int | None
    root: str
    """The path the application is below; empty for none."""

    @classmethod
    def parse(cls, url: str) -> Target:
        """Parse a URL.

        Raises:
            ValueError: it cannot be used; the message says what would be right.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its message may show a part of a password
            raise ValueError(f"it has no valid host and port; write {_EXAMPLE}") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"it is not a http or https URL; write {_EXAMPLE}")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"it holds more than scheme, host, port and path; write {_EXAMPLE}")
        if not url.isprintable() or " " in url:
            raise ValueError(f"it holds a space or a control character; write {_EXAMPLE}")
        root = parts.path.rstrip("/").removesuffix(URL_PREFIX)
        return cls(parts.scheme == "https", parts.hostname, port, root)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{'https' if self.secure else 'http'}://{host}{port}{self.root}"


class _Reply(NamedTuple):
    """A response."""

    status: int
    kind: str
    """Its media type."""
    body: bytes
    location: str
    """The target of a redirect; empty for other responses."""


class ApiClient:
    """The API of one application.

    Args:
        target: the application.
        token: a token with read access.
        timeout_seconds: how long to wait for the connection, and for each piece of the answer.
    """

    def __init__(self, target: Target, token: str | Secret, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._target = target
        self._token = Secret.of(token)
        self._timeout_seconds = timeout_seconds

    def get(self, path: str, model: type[Answer], parameters: Mapping[str, str] | None = None) -> Answer:
        """Request `path`, below the API's prefix.

        Raises:
            ApiUnavailableError: 503.
            RemediableError: no connection, refused, or not an answer of this API.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        reply = self._request(f"{self._target.root}{URL_PREFIX}{path}{query}")
        if reply.location:
            raise self._redirected(reply)
        if reply.status != HTTPStatus.OK:
            raise self._refusal(reply, parameters or {})
        try:
            return model.model_validate_json(reply.body)
        except ValidationError:
            raise self._not_ours() from None

    def _request(self, path: str) -> _Reply:
        target = self._target
        kind = http.client.HTTPSConnection if target.secure else http.client.HTTPConnection
        connection = kind(target.host, target.port, timeout=self._timeout_seconds)
        try:
            connection.request("GET", path, headers=self._headers())
            response = connection.getresponse()
            body = response.read(MAX_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            remedy = "check that the application runs there, or give another URL with --url"
            # Not `from error`: the frames of http.client hold the token.
            raise RemediableError(f"no answer from {target}: {reason}", remedy) from None
        finally:
            connection.close()
        redirects = HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST
        location = response.headers.get("Location", "") if redirects else ""
        return _Reply(response.status, response.headers.get_content_type(), body, location)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.reveal()}", "Accept": "application/json"}

    def _redirected(self, reply: _Reply) -> RemediableError:
        """The error for a redirect: the token would be sent wherever it points."""
        location = reply.location[:_LOCATION_CHARACTERS]
        what = f"{self._target} answers {reply.status}, a redirect to {location}, which is not followed"
        if not self._target.secure and location.startswith("https://"):
            return RemediableError(what, "use TLS: give the https URL with --url")
        return RemediableError(
            what,
            "if the application sends this (a login, a set-up page), start it without"
            " OTEL_RATELIMIT_API_BEFORE_HOOKS=false; if a proxy does, give the URL behind it with --url",
        )

    def _refusal(self, reply: _Reply, asked: Mapping[str, str]) -> RemediableError:
        status, detail = reply.status, _detail(reply.body)
        if reply.kind != "application/problem+json" or detail is None:
            return self._not_ours()
        what = f"{self._target} answers {status}: {detail}"
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return RemediableError(
                what, "give the application's OTEL_RATELIMIT_API_TOKEN, in that variable or with --token"
            )
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return ApiUnavailableError(detail, "see the application's log")
        if status == HTTPStatus.NOT_FOUND and "service" in asked:
            remedy = "give the name of a recorded service with --service, or leave it out"
            return RemediableError(what, remedy, exit_status=RemediableError.WRONG_USE)
        return RemediableError(what, "see the application's log")

    def _not_ours(self) -> RemediableError:
        return RemediableError(
            f"the answer of {self._target} is not from the API of otel-ratelimit",
            "check the URL; the application must run otel-ratelimit, in this version or a similar one",
        )


def _detail(body: bytes) -> str | None:
    try:
        return ProblemAnswer.model_validate(json.loads(body)).detail[:_DETAIL_CHARACTERS]
    except ValueError:
        return None
