"""The client of a Flask request: address, headers and user, each read only if the key needs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, TypeAlias

from flask import Request, has_request_context, request
from flask.globals import request_ctx
from werkzeug.local import LocalProxy

UserReader: TypeAlias = Callable[[Request], object]
"""Returns the verified user of a request, as the application names it; None, False or empty for nobody."""

_SESSION_USER_KEYS: Final = ("_user_id", "user_id")
"""Keys of the signed session under which Flask-Login and Flask's tutorial keep the user."""
_PROXY_FIX_MARK: Final = "werkzeug.proxy_fix.orig"


class FlaskClientSource:
    """One request as the identifier sees it (`identity.ClientSource`)."""

    __slots__ = ("_read_user", "_request")

    def __init__(self, request: Request, read_user: UserReader) -> None:
        self._request = request
        self._read_user = read_user

    @property
    def peer(self) -> str:
        """The address at the other end of the connection; empty for a Unix socket."""
        return self._request.environ.get("REMOTE_ADDR") or ""

    @property
    def proxied(self) -> bool:
        """Whether werkzeug's ProxyFix has already put the client's address in place of the peer's."""
        environ = self._request.environ
        original = environ.get(_PROXY_FIX_MARK)
        # If it reads other headers only (`x_for=0`), or found none, the address is still the peer's.
        return original is not None and original.get("REMOTE_ADDR") != environ.get("REMOTE_ADDR")

    def header(self, name: str) -> str | None:
        """All values of the header, joined by commas."""
        return self._request.environ.get(_environ_name(name))

    def user(self) -> object:
        """The verified user, if the request has one."""
        return self._read_user(self._request)

    def evaluate(self, path: str) -> object:
        """Call the application's `module:function` within the request's context."""
        return _without_proxy(load_function(path)())


@lru_cache(maxsize=256)
def load_function(path: str) -> Callable[[], object]:
    """The function that `module:function` names.

    Raises:
        ImportError: no such module.
        AttributeError: the module has no such function.
        TypeError: the object cannot be called.
    """
    module, _, name = path.partition(":")
    function: Any = import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    if not callable(function):
        raise TypeError(f"{path} is not a function")
    return function  # type: ignore[no-any-return]  # any callable will do


def current_user_agent() -> str | None:
    """`User-Agent` of the current request; None outside of a request."""
    if not has_request_context():
        return None
    agent: str | None = request.environ.get("HTTP_USER_AGENT")
    return agent


def user_reader(spec: str) -> UserReader:
    """The reader for `[identity] user`: `auto`, `none`, `header:NAME`, `session:KEY`, `module:function`.

    `auto` trusts only what the application or the server has verified: the signed session's user or
    `REMOTE_USER`. A header is trusted only if the policy names one.
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
    return lambda _request: _without_proxy(load_function(spec)())


def _verified_user(request: Request) -> object:
    user = _from_session(request, _SESSION_USER_KEYS)
    return request.environ.get("REMOTE_USER") if user is None else user


def _from_session(request: Request, keys: tuple[str, ...]) -> object:
    # Without a cookie there is no session: most API traffic ends here.
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
            user = session.get(key)
            if not _is_nobody(user):
                return user
    finally:
        session.accessed = accessed
    return None


def _is_nobody(value: object) -> bool:
    # Neither `==` nor truth value: an application's object may define both in any way.
    return value is None or value is False or (isinstance(value, str | bytes) and not value)


def _without_proxy(answer: object) -> object:
    """The object behind a `LocalProxy` such as Flask-Login's `current_user`."""
    if isinstance(answer, LocalProxy):
        return answer._get_current_object()  # noqa: SLF001 - werkzeug's documented way
    return answer


@lru_cache(maxsize=64)
def _environ_name(header: str) -> str:
    """The key of a request header in a WSGI environment (PEP 3333)."""
    name = header.upper().replace("-", "_")
    return name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"
