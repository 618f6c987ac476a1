"""What a Flask request says of the client, read only as far as the key needs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, TypeAlias

from flask import Request, has_request_context, request
from flask.globals import request_ctx

UserReader: TypeAlias = Callable[[Request], str | None]
"""Answers the verified user of a request, or None when it has none."""

_SESSION_USER_KEYS: Final = ("_user_id", "user_id")
"""Where Flask-Login and Flask's own tutorial keep the user, in a session that is signed."""
_PROXY_FIX_MARK: Final = "werkzeug.proxy_fix.orig"


class FlaskClientSource:
    """One request as the identifier sees it (`identity.ClientSource`)."""

    __slots__ = ("_read_user", "_request")

    def __init__(self, request: Request, read_user: UserReader) -> None:
        self._request = request
        self._read_user = read_user

    @property
    def peer(self) -> str:
        """Address of the other end of the connection; empty for a Unix socket."""
        return self._request.environ.get("REMOTE_ADDR") or ""

    @property
    def proxied(self) -> bool:
        """Whether werkzeug's ProxyFix has already put the client's address in place of the peer's."""
        return _PROXY_FIX_MARK in self._request.environ

    def header(self, name: str) -> str | None:
        """All values of the header, joined by commas."""
        return self._request.environ.get(_environ_name(name))

    def user(self) -> str | None:
        """The verified user, if the request has one."""
        return self._read_user(self._request)

    def evaluate(self, path: str) -> object:
        """Call the application's `module:function` within the request's context."""
        return load_function(path)()


@lru_cache(maxsize=256)
def load_function(path: str) -> Callable[[], object]:
    """The function that `module:function` names.

    Raises:
        ImportError: no such module.
        AttributeError: the module has no such function.
        TypeError: it cannot be called.
    """
    module, _, name = path.partition(":")
    function: Any = import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    if not callable(function):
        raise TypeError(f"{path} is not a function")
    return function  # type: ignore[no-any-return]  # any callable will do


def current_user_agent() -> str | None:
    """`User-Agent` of the current request; None for one that has gone already."""
    if not has_request_context():
        return None
    agent: str | None = request.environ.get("HTTP_USER_AGENT")
    return agent


def user_reader(spec: str) -> UserReader:
    """How `[identity] user` is read: `auto`, `none`, `header:NAME`, `session:KEY`, `module:function`.

    `auto` believes only what the application or the server has verified: the signed session's user
    or `REMOTE_USER`. A header is believed only where the policy names one.
    """
    kind, _, argument = spec.partition(":")
    if spec == "auto":
        return _verified_user
    if spec == "none":
        return lambda _request: None
    if kind == "header":
        variable = _environ_name(argument)
        return lambda request: request.environ.get(variable) or None
    if kind == "session":
        return lambda request: _from_session(request, (argument,))
    return lambda _request: _as_user(load_function(spec)())


def _verified_user(request: Request) -> str | None:
    return _from_session(request, _SESSION_USER_KEYS) or request.environ.get("REMOTE_USER") or None


def _from_session(request: Request, keys: tuple[str, ...]) -> str | None:
    # No cookie, no session: most API traffic ends here.
    if "HTTP_COOKIE" not in request.environ:
        return None
    # Reading through the proxy would mark the session as accessed, and every response would then
    # say `Vary: Cookie`.
    session: Any = getattr(request_ctx, "_session", None)
    if session is None:
        session = request_ctx.session
    accessed = session.accessed
    try:
        for key in keys:
            user = _as_user(session.get(key))
            if user:
                return user
    finally:
        session.accessed = accessed
    return None


def _as_user(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


@lru_cache(maxsize=64)
def _environ_name(header: str) -> str:
    """Where WSGI (PEP 3333) keeps a request header."""
    return "HTTP_" + header.upper().replace("-", "_")
