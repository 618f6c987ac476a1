"""HTTP requests to programs on loopback, for small answers."""

from __future__ import annotations

import http.client
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.demo.stack.errors import StackError

TIMEOUT_SECONDS = 10.0


def ask(port: int, path: str, parameters: dict[str, str] | None = None) -> Any:
    """The JSON of the answer.

    Raises:
        StackError: there is no answer, or it is an error.
    """
    target = f"{path}?{urlencode(parameters)}" if parameters else path
    try:
        status, body = get(port, target)
    except OSError as error:
        raise StackError(
            f"port {port} does not answer {path}: {error}", "check whether the program still runs"
        ) from error
    if status != HTTPStatus.OK:
        raise StackError(f"the answer to {target} is {status}: {body[:500]}", "see the program's log")
    return json.loads(body)


def get(port: int, target: str, timeout: float = TIMEOUT_SECONDS) -> tuple[int, str]:
    """Status and body; raises OSError if there is no answer."""
    # Not urllib's opener: it would ask a proxy for loopback addresses too.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()
