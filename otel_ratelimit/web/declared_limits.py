"""Limits that an application declares on our limiter, and whether they replace the default tier.

A decorator replaces the policy's default tier only for requests to which its limit was really applied: a
limit for `POST` does not concern `GET`, and a text that is not a limit concerns no request. Flask-Limiter
resolves the limits of a request in its `LimitManager`; here each limit notes on the request that it was
applied. Ways around a limit are closed as in the policy: `HEAD` counts as `GET`, the client's own key is used
if the declared one is missing, and a negative cost counts as zero.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import flask
from flask import Flask
from flask_limiter import ExemptionScope, Limit
from flask_limiter._limits import RuntimeLimit
from flask_limiter._manager import LimitManager
from flask_limiter.util import get_qualified_name

from otel_ratelimit.policy.identity.application_answer import UnusableAnswerError, client_text
from otel_ratelimit.web.flask_limiter_internals import blueprint_limits, decorated_limits

_logger = logging.getLogger(__name__)

_STANDS_IN: Final = "otel_ratelimit.declared_limit_applied"
_BLUEPRINT_CHECKED: Final = "otel_ratelimit.blueprint_limits_checked"
_MARK: Final = "__wrapper-limiter-instance"
"""Attribute that Flask-Limiter's decorator sets on the function that checks; `functools.wraps` copies it."""

_METHOD: Final = "method"
_MAX_REPORTS: Final = 100
_MAX_KEY: Final = 128
_PLAIN_TYPES: Final = frozenset({float, IPv4Address, IPv6Address})
"""Further types of keys whose text is their value; the policy accepts other types too."""


def stands_in(environ: Mapping[str, object]) -> bool:
    """Whether a declared limit that overrides the default tier was applied to this request."""
    return _STANDS_IN in environ


class DeclaredLimit(RuntimeLimit):
    """One declared limit, as it is checked for a request."""

    @property
    def method_exempt(self) -> bool:
        """Whether the limit does not concern the request's method."""
        return not _names(self.methods, flask.request.method)

    @property
    def deduction_amount(self) -> int:
        """The cost of the request; Flask-Limiter asks for it right before it counts.

        A request with cost zero is not limited, so the limit does not replace the default tier. Nor does a
        limit for `GET` on a `HEAD` request: both count it.
        """
        cost = max(0, self.cost() if callable(self.cost) else self.cost)
        if cost and self.override_defaults and _overrides(self.methods, flask.request.method):
            flask.request.environ[_STANDS_IN] = True
        return cost

    def scope_for(self, endpoint: str, method: str | None) -> str:
        """The counter's scope: `HEAD` has that of `GET`, also if each method has its own."""
        return super().scope_for(endpoint, "GET" if method == "HEAD" else method)


class DeclaredLimits(LimitManager):
    """The limits declared on one limiter.

    Args:
        replaced: the manager that this one replaces, right after it was made.
        client_key: the policy's key of the current request, for limits whose own key is missing.
    """

    def __init__(self, replaced: LimitManager, client_key: Callable[[], str]) -> None:
        self.__dict__.update(replaced.__dict__)
        self._client_key = client_key
        self._reports = _ReportedOnce()
        self._logger = self._reports  # type: ignore[assignment]  # only `error` is called

    def add_decorated_limit(self, route: str, limit: Limit | None, override: bool = False) -> None:
        """Add a limit of a function; one that cannot be read is reported now, not at a request."""
        super().add_decorated_limit(route, limit, override)
        if not override:  # a `with` block adds its limit at every request
            self._report_unreadable(f"function {route}", limit)

    def add_blueprint_limit(self, blueprint: str, limit: Limit | None) -> None:
        """Add a limit of a blueprint; one that cannot be read is reported now."""
        super().add_blueprint_limit(blueprint, limit)
        self._report_unreadable(f"blueprint {blueprint}", limit)

    def resolve_limits(
        self,
        app: Flask,
        endpoint: str | None = None,
        blueprint: str | None = None,
        callable_name: str | None = None,
        in_middleware: bool = False,
        marked_for_limiting: bool = False,
    ) -> tuple[list[RuntimeLimit], ...]:
        """The limits to check now.

        Before the view, these are the limits of the blueprint, unless a limit on the view itself is checked
        when it is entered. A limit inside the view (a `with` block, a function that it calls) may never be
        reached, so it does not replace the blueprint's. In Flask-Limiter it does, from the second request on.
        """
        if not flask.has_request_context():  # Flask-Limiter's commands
            return super().resolve_limits(
                app, endpoint, blueprint, callable_name, in_middleware, marked_for_limiting
            )
        environ = flask.request.environ
        if in_middleware:
            marked_for_limiting = self.checked_by_view(app, endpoint, flask.request.method)
            if not marked_for_limiting:
                environ[_BLUEPRINT_CHECKED] = True
        elif _BLUEPRINT_CHECKED in environ:
            blueprint = None
        general, declared = super().resolve_limits(
            app, endpoint, blueprint, callable_name, in_middleware, marked_for_limiting
        )
        overriding = [limit for limit in declared if limit.override_defaults]
        if blueprint and overriding and not in_middleware and all(each.method_exempt for each in overriding):
            name = callable_name or name_of(app.view_functions.get(endpoint or ""))
            if any(limit.override_defaults for limit in self.decorated_limits(name)):
                # They override the blueprint's limits but do not concern this method. So the blueprint's
                # apply, beside the default ones, which apply in Flask-Limiter too.
                beside = self.blueprint_limits(app, blueprint)
                for limit in beside:
                    limit.override_defaults = False
                declared += beside
        return general, declared

    def exemption_scope(self, app: Flask, endpoint: str | None, blueprint: str | None) -> ExemptionScope:
        """The scope of an exemption; a view without a name can only be exempt by its blueprint."""
        if not name_of(app.view_functions.get(endpoint or "")):
            endpoint = None
        return super().exemption_scope(app, endpoint, blueprint if blueprint in app.blueprints else None)

    def decorated_limits(self, callable_name: str) -> list[RuntimeLimit]:
        """The limits of one function that can be read."""
        return [self._as_declared(limit) for limit in super().decorated_limits(callable_name)]

    def blueprint_limits(self, app: Flask, blueprint: str) -> list[RuntimeLimit]:
        """The limits of one blueprint that can be read."""
        return [self._as_declared(limit) for limit in super().blueprint_limits(app, blueprint)]

    def has_request_limits(self) -> bool:
        """Whether a limit was declared that is checked before the view."""
        return bool(self._blueprint_limits or self._application_limits or self._default_limits)

    def may_stand_in(self, app: Flask, endpoint: str, method: str) -> bool:
        """Whether limits are declared for this route and method that override the default tier.

        Whether one of them is applied is known only once a request reaches it.
        """
        return any(
            limit.override_defaults and _overrides(limit.methods, method)
            for _, limit in self.declared_for(app, endpoint, method)
        )

    def stands_ready(self, app: Flask, endpoint: str, method: str) -> bool:
        """Whether one of them can be applied to a request that arrives now.

        Flask-Limiter knows a limit on the method of a class only once it was reached. Until then the default
        tier applies; otherwise more requests would be let through.
        """
        reached = self._endpoint_hints.get(endpoint, ())
        names = {
            name_of(function) for where, function in _functions(app, endpoint, method) if where == _METHOD
        }
        return any(
            limit.override_defaults
            and _overrides(limit.methods, method)
            and (where != _METHOD or not names.isdisjoint(reached))
            for where, limit in self.declared_for(app, endpoint, method)
        )

    def declared_for(self, app: Flask, endpoint: str, method: str) -> Iterator[tuple[str, Limit]]:
        """The limits declared for this route, each with its place: `view`, `method` or `blueprint`."""
        return limits_of(self, app, endpoint, method)

    def checked_by_view(self, app: Flask, endpoint: str | None, method: str) -> bool:
        """Whether a limit is checked as soon as the view is entered."""
        return any(
            _checks(function) and name_of(function) in self._decorated_limits
            for _, function in _functions(app, endpoint or "", method)
        )

    def _as_declared(self, limit: RuntimeLimit) -> RuntimeLimit:
        declared = DeclaredLimit.__new__(DeclaredLimit)
        declared.__dict__.update(limit.__dict__)
        if limit.key_func is not self._client_key:
            declared.key_func = partial(self._usable_key, limit.key_func)
        return declared

    def _usable_key(self, key_func: Callable[[], object]) -> str:
        """The declared key; the client's own key if that fails or is unusable, so that the request counts."""
        try:
            key = key_func()
        except Exception as error:  # noqa: BLE001 - the application's own function
            self._reports.say(
                f"the key function {_title(key_func)} of a declared limit raised {type(error).__name__};"
                " the client's own key is used"
            )
            return self._client_key()
        try:
            text = _key_text(key)
        except (UnusableAnswerError, ValueError):
            self._reports.say(
                f"the key function {_title(key_func)} of a declared limit returned a"
                f" {type(key).__name__}, which is not a key; the client's own key is used"
            )
            return self._client_key()
        return _bounded(text) if text else self._client_key()

    def _report_unreadable(self, where: str, limit: Limit | None) -> None:
        if limit is not None and isinstance(limit.limit_provider, str):
            try:
                list(limit)
            except ValueError as problem:
                self._reports.error(f"failed to load ratelimit for {where}: {problem}")


class _ReportedOnce:
    """Logs what is wrong with declared limits, each sentence once: it would come with every request."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def error(self, sentence: str) -> None:
        """Report a limit that cannot be read; the limit manager calls this in place of a logger."""
        self.say(f"{sentence}; the default tier applies instead")

    def say(self, sentence: str) -> None:
        """Log the sentence, unless it was logged before."""
        if sentence not in self._said and len(self._said) < _MAX_REPORTS:
            self._said.add(sentence)
            _logger.error("%s", sentence)


def limits_of(manager: LimitManager, app: Flask, endpoint: str, method: str) -> Iterator[tuple[str, Limit]]:
    """The limits that a manager has for a route, each with its place: `view`, `method` or `blueprint`."""
    for where, function in _functions(app, endpoint, method):
        if _checks(function):
            for limit in decorated_limits(manager).get(name_of(function), ()):
                yield where, limit
    blueprint = blueprint_of(app, endpoint)
    if blueprint is not None:
        declared = blueprint_limits(manager)
        names = {*blueprint.split("."), app.blueprints[blueprint].name}
        for name in sorted(names & set(declared)):
            for limit in declared[name]:
                yield "blueprint", limit


def blueprint_of(app: Flask, endpoint: str) -> str | None:
    """The registered name of an endpoint's blueprint."""
    name = endpoint.rpartition(".")[0]
    return name if name in app.blueprints else None


def name_of(function: object) -> str:
    """Flask-Limiter's name of a function; empty for one without a name, such as a `functools.partial`."""
    try:
        return get_qualified_name(function)  # type: ignore[arg-type]
    except AttributeError:
        return ""


def _functions(app: Flask, endpoint: str, method: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The view, and for a class-based one the function that answers this method."""
    view = app.view_functions.get(endpoint)
    if view is None:
        return
    yield "view", view
    view_class = getattr(view, "view_class", None)
    if view_class is not None:
        answers = getattr(view_class, method.lower(), None)
        if answers is None and method == "HEAD":
            answers = getattr(view_class, "get", None)
        if answers is not None:
            yield _METHOD, answers


def _checks(function: Callable[..., Any]) -> bool:
    """Whether Flask-Limiter's decorator is around this very function, not around one with the same name."""
    return getattr(function, _MARK, None) is not None


def _names(methods: Iterable[str] | None, method: str) -> bool:
    """Whether limits for these methods concern this method; `GET` includes `HEAD`."""
    if not methods:
        return True
    method = method.lower()
    return method in methods or (method == "head" and "get" in methods)


def _overrides(methods: Iterable[str] | None, method: str) -> bool:
    """Whether limits for these methods override the default tier for this method."""
    return not methods or method.lower() in methods


def _key_text(key: object) -> str:
    """The key as text that is the same for each request of a client; empty if there is no key.

    Raises:
        UnusableAnswerError: its type cannot be a key.
        ValueError: it is a number that is too large to print.
    """
    if type(key) in _PLAIN_TYPES:
        return str(key)
    if isinstance(key, tuple):
        if any(part is None for part in key):
            raise UnusableAnswerError("a tuple that contains None")
        return str(tuple(map(_key_text, key)))
    return client_text(key)


def _bounded(text: str) -> str:
    """The text; hashed if it is long, or could look like two parts of a counter's name."""
    if len(text) <= _MAX_KEY and text.isprintable() and "/" not in text:
        return text
    return "hashed-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _title(function: object) -> str:
    return name_of(function) or type(function).__name__
