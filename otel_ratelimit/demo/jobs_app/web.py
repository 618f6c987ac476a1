"""Code that the routes share: the signed-in user, reading input, JSON errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

from flask import Flask, abort, jsonify, request, session
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

MAX_ROWS = 100
_Kind = TypeVar("_Kind", str, int, bool, list[Any])


def current_user_id() -> int:
    """The signed-in user; answers 401 if nobody is."""
    user_id = session.get("user_id")
    if user_id is None:
        abort(401, "Sign in first: POST /login with email and password.")
    return int(user_id)


def body() -> dict[str, Any]:
    """The request's JSON object; answers 400 if it is anything else."""
    value = request.get_json(force=True, silent=True)
    if not isinstance(value, dict):
        abort(400, "The body must be a JSON object.")
    return value


def field(values: dict[str, Any], name: str, kind: type[_Kind], default: _Kind | None = None) -> _Kind:
    """One field of a body; answers 422 if it is missing or of another type."""
    value = values.get(name, default)
    if value is None:
        abort(422, f"{name} is missing.")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        abort(422, f"{name} must be a {kind.__name__}.")
    if isinstance(value, str) and not _is_storable(value):
        abort(422, f"{name} holds characters that cannot be stored.")
    return value


def page() -> tuple[int, int]:
    """`limit` and `offset` of a list, kept within reason."""
    limit = request.args.get("limit", 20, type=int)
    offset = request.args.get("offset", 0, type=int)
    return max(1, min(limit, MAX_ROWS)), max(0, min(offset, 100_000))


def not_found(what: str) -> NoReturn:
    """Answer 404."""
    abort(404, f"No such {what}.")


def _is_storable(text: str) -> bool:
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def register_errors(app: Flask) -> None:
    """Every error as JSON, the unexpected ones without their details."""

    @app.errorhandler(HTTPException)
    def expected(error: HTTPException) -> ResponseReturnValue:
        if error.code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            return error.get_response()  # the refusal says when to retry
        response = jsonify(error=error.name, message=error.description)
        return response, error.code or 500

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> ResponseReturnValue:
        app.logger.error("unexpected error", exc_info=error)
        return jsonify(error="Internal Server Error", message="Something went wrong on our side."), 500
