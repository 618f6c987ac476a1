"""Limits that an application declares on our limiter, and what they stand in place of.

A decorator takes the place of the policy's default tier only on a request to which its limit was
really applied: a limit for `POST` says nothing of `GET`, and a text that is not a limit says
nothing at all. Flask-Limiter resolves the limits of a request in its `LimitManager`; here each of
them notes on the request that it was applied, and the ways around a limit that the policy closes
are closed for decorators too: `HEAD` counts as `GET`, a key that cannot be had is the client's,
and a cost cannot give anything back.
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

from otel_ratelimit.policy.identity.answers import UnusableAnswerError, client_text

_logger = logging.getLogger(__name__)

_STANDS_IN: Final = "otel_ratelimit.declared_limit_applied"
_BLUEPRINT_CHECKED: Final = "otel_ratelimit.blueprint_limits_checked"
_MARK: Final = "__wrapper-limiter-instance"
"""What Flask-Limiter's decorator leaves on the function that checks; `functools.wraps` hands it on."""

_METHOD: Final = "method"
_MAX_REPORTS: Final = 100
_MAX_KEY: Final = 128
_PLAIN_TYPES: Final = frozenset({float, IPv4Address, IPv6Address})
"""Types of keys whose text is their value, besides those that stand for a client in the policy too."""


def stands_in(environ: Mapping[str, object]) -> bool:
    """Whether a declared limit was applied to this request that overrides the default tier."""
    return _STANDS_IN in environ


class DeclaredLimit(RuntimeLimit):
    """One declared limit, as it is checked for a request."""

    @property
    def method_exempt(self) -> bool:
        """Whether the limit says nothing of the request's method."""
        return not _names(self.methods, flask.request.method)

    @property
    def deduction_amount(self) -> int:
        """What the request takes; asked by Flask-Limiter right before it counts.

        A request that takes nothing is not limited, so the limit then stands in for no other. Nor does
        a limit that names `GET` for `HEAD`: it counts it, and the default tier does too.
        """
        cost = max(0, self.cost() if callable(self.cost) else self.cost)
        if cost and self.override_defaults and _overrides(self.methods, flask.request.method):
            flask.request.environ[_STANDS_IN] = True
        return cost

    def scope_for(self, endpoint: str, method: str | None) -> str:
        """The counter's scope: that of `GET` for `HEAD`, also where each method has its own."""
        return super().scope_for(endpoint, "GET" if method == "HEAD" else method)


class DeclaredLimits(LimitManager):
    """The limits declared on one limiter.

    Args:
        replaced: the manager whose place this one takes, right after it was made.
        client_key: the policy's key of the current request, for limits whose own key cannot be had.
    """

    def __init__(self, replaced: LimitManager, client_key: Callable[[], str]) -> None:
        self.__dict__.update(replaced.__dict__)
        self._client_key = client_key
        self._reports = _ReportedOnce()
        self._logger = self._reports  # type: ignore[assignment]  # only its `error` is used

    def add_decorated_limit(self, route: str, limit: Limit | None, override: bool = False) -> None:
        """Note a limit of a function; one that cannot be read is reported now, not at a request."""
        super().add_decorated_limit(route, limit, override)
        if not override:  # a `with` block says the same at every request
            self._report_unreadable(f"function {route}", limit)

    def add_blueprint_limit(self, blueprint: str, limit: Limit | None) -> None:
        """Note a limit of a blueprint; one that cannot be read is reported now."""
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

        Before the view, those of the blueprint, unless a limit on the view itself is checked when it
        is entered. A limit inside the view (a `with` block, a function that it calls) may never be
        reached, so it does not put the blueprint's off, as it does in Flask-Limiter from the second
        request on.
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
                # They put the blueprint's limits off, and say nothing of this method: so those hold
                # beside the default ones, which hold in Flask-Limiter too.
                beside = self.blueprint_limits(app, blueprint)
                for limit in beside:
                    limit.override_defaults = False
                declared += beside
        return general, declared

    def exemption_scope(self, app: Flask, endpoint: str | None, blueprint: str | None) -> ExemptionScope:
        """What the endpoint is exempt from; a view without a name can only be so by its blueprint."""
        if not name_of(app.view_functions.get(endpoint or "")):
            endpoint = None
        return super().exemption_scope(app, endpoint, blueprint if blueprint in app.blueprints else None)

    def decorated_limits(self, callable_name: str) -> list[RuntimeLimit]:
        """The limits of one function that can be read."""
        return [self._as_declared(limit) for limit in super().decorated_limits(callable_name)]

    def blueprint_limits(self, app: Flask, blueprint: str) -> list[RuntimeLimit]:
        """The limits of one blueprint that can be read."""
        return [self._as_declared(limit) for limit in super().blueprint_limits(app, blueprint)]

    def may_stand_in(self, app: Flask, endpoint: str, method: str) -> bool:
        """Whether limits are declared for this route and method that override the default tier.

        Whether one of them is applied is known only when a request has come to it.
        """
        return any(
            limit.override_defaults and _overrides(limit.methods, method)
            for _, limit in self.declared_for(app, endpoint, method)
        )

    def stands_ready(self, app: Flask, endpoint: str, method: str) -> bool:
        """Whether one of them can be applied to a request that comes now.

        A limit on the method of a class is known to Flask-Limiter only once it was reached, and the
        default tier holds until then: here too, or ours would let more through.
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
        """What is declared for this route: on the view, on its method, or on its blueprint; with where."""
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
        """The declared key; where it fails or is no key, the client's, so that the request is counted."""
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
    """What is wrong with declared limits: each sentence once, since it would come with every request."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def error(self, sentence: str) -> None:
        """Report a limit that cannot be read; the limit manager calls this in place of a logger."""
        self.say(f"{sentence}; the default tier applies in its place")

    def say(self, sentence: str) -> None:
        """Log the sentence, unless it was logged before."""
        if sentence not in self._said and len(self._said) < _MAX_REPORTS:
            self._said.add(sentence)
            _logger.error("%s", sentence)


def limits_of(manager: LimitManager, app: Flask, endpoint: str, method: str) -> Iterator[tuple[str, Limit]]:
    """What a limit manager has for a route: on the view, on its method, or on its blueprint; with where."""
    for where, function in _functions(app, endpoint, method):
        if _checks(function):
            # Its public methods parse the limits, and may call the application for them.
            for limit in manager._decorated_limits.get(name_of(function), ()):  # noqa: SLF001 - as just said
                yield where, limit
    blueprint = blueprint_of(app, endpoint)
    if blueprint is not None:
        declared = manager._blueprint_limits  # noqa: SLF001 - likewise
        names = {*blueprint.split("."), app.blueprints[blueprint].name}
        for name in sorted(names & set(declared)):
            for limit in declared[name]:
                yield "blueprint", limit


def blueprint_of(app: Flask, endpoint: str) -> str | None:
    """The blueprint of an endpoint, as it is registered."""
    name = endpoint.rpartition(".")[0]
    return name if name in app.blueprints else None


def name_of(function: object) -> str:
    """Flask-Limiter's name of a function; empty for what has none, such as a `functools.partial`."""
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
    """Whether Flask-Limiter's decorator is around this function, and not only around one of the same name."""
    return getattr(function, _MARK, None) is not None


def _names(methods: Iterable[str] | None, method: str) -> bool:
    """Whether limits for these methods are for this one too; `GET` includes `HEAD`."""
    if not methods:
        return True
    method = method.lower()
    return method in methods or (method == "head" and "get" in methods)


def _overrides(methods: Iterable[str] | None, method: str) -> bool:
    """Whether limits for these methods stand in place of the default one for this method."""
    return not methods or method.lower() in methods


def _key_text(key: object) -> str:
    """The key as text that is the same in each request of a client; empty when there is none.

    Raises:
        UnusableAnswerError: it is of a type that is not a key.
        ValueError: it is a number too large to be written.
    """
    if type(key) in _PLAIN_TYPES:
        return str(key)
    if isinstance(key, tuple):
        if any(part is None for part in key):
            raise UnusableAnswerError("a tuple in which something is missing")
        return str(tuple(map(_key_text, key)))
    return client_text(key)


def _bounded(text: str) -> str:
    """The text, hashed where it is long, or could be taken for two parts of a counter's name."""
    if len(text) <= _MAX_KEY and text.isprintable() and "/" not in text:
        return text
    return "hashed-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _title(function: object) -> str:
    return name_of(function) or type(function).__name__
