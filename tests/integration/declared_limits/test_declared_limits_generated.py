"""Generated decorators: ours never lets through more requests than stock Flask-Limiter."""

from __future__ import annotations

from dataclasses import dataclass

import flask
import pytest
from declared import METHODS, allowed, ours
from flask.views import MethodView
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from hypothesis import given, settings
from hypothesis import strategies as st


def stock(app, default):
    return Limiter(get_remote_address, app=app, default_limits=[default], storage_uri="memory://")


# --- generated: never more than stock, and as much where nothing gets around it ---


@dataclass(frozen=True)
class Decorator:
    amount: int
    methods: tuple[str, ...] | None
    per_method: bool
    override: bool
    exempt: tuple[str, ...]
    """Methods that `exempt_when` exempts."""
    cost: int
    shared: bool
    called: bool
    readable: bool

    def on(self, limiter):
        text = f"{self.amount} per {'minute' if self.readable else 'minuet'}"
        options = {
            "methods": list(self.methods) if self.methods else None,
            "per_method": self.per_method,
            "override_defaults": self.override,
            "cost": lambda: self.cost,
        }
        if self.exempt:
            options["exempt_when"] = lambda: flask.request.method in self.exempt
        value = (lambda: text) if self.called else text
        if self.shared:
            return limiter.shared_limit(value, scope=f"shared-{self.amount}", **options)
        return limiter.limit(value, **options)

    @property
    def gets_around_stock(self):
        """Whether stock lets requests through that this limit and the default should hold."""
        return bool(self.exempt or self.cost == 0 or self.methods or self.per_method or not self.override)


some_methods = st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True).map(tuple)
decorators = st.builds(
    Decorator,
    amount=st.integers(1, 9),
    methods=st.none() | some_methods,
    per_method=st.booleans(),
    override=st.booleans(),
    exempt=st.just(()) | some_methods,
    cost=st.sampled_from([1, 1, 1, 2, 0]),
    shared=st.booleans(),
    called=st.booleans(),
    readable=st.sampled_from([True, True, True, False]),
)
# Another window than the decorators have: equal limits share one counter in stock, and count twice.
defaults = st.integers(1, 8).map("{} per 2 minutes".format)
declarations = st.fixed_dictionaries(
    {
        "view": st.lists(decorators, max_size=3),
        "blueprint": st.lists(decorators, max_size=2),
        "kind": st.sampled_from(["function", "class", "method", "undecorated twin"]),
        "default": defaults,
        "requests": st.lists(st.sampled_from(METHODS), min_size=1, max_size=24),
    }
)


def declared_app(make_limiter, declaration):
    app = flask.Flask("declared")
    limiter = make_limiter(app, declaration["default"])
    blueprint = flask.Blueprint("shop", __name__)
    limits = [decorator.on(limiter) for decorator in declaration["view"]]

    def decorate(function):
        for limit in reversed(limits):
            function = limit(function)
        return function

    if declaration["kind"] in {"class", "method"}:
        on_class = declaration["kind"] == "class"

        class Things(MethodView):
            decorators = list(reversed(limits)) if on_class else []

            def get(self):
                return "ok"

            def post(self):
                return "ok"

            put = post
            if not on_class:
                get = decorate(get)

        blueprint.add_url_rule("/thing", view_func=Things.as_view("thing"))
    else:

        def thing():
            return "ok"

        view = decorate(thing)
        if declaration["kind"] == "undecorated twin":
            view = thing
        blueprint.add_url_rule("/thing", "thing", view, methods=["GET", "POST", "PUT"])
    for decorator in declaration["blueprint"]:
        decorator.on(limiter)(blueprint)
    app.register_blueprint(blueprint)
    return app


def counted(make_limiter, declaration, requests):
    app = declared_app(make_limiter, declaration)
    try:
        return allowed(app, requests)
    finally:
        rate_limit = app.extensions.get("otel_ratelimit")
        if rate_limit is not None:
            rate_limit.close()


@pytest.mark.untraced
@settings(max_examples=60, deadline=None)
@given(declaration=declarations, alone=st.sampled_from(METHODS))
def test_never_more_is_allowed_than_by_stock(declaration, alone):
    if declaration["kind"] == "method":
        # Stock counts a blueprint's limits twice at the first request, and never after it.
        declaration["blueprint"].clear()
    for requests in (declaration["requests"], [alone] * len(declaration["requests"])):
        mine = counted(ours, declaration, requests)
        theirs = counted(stock, declaration, requests)
        assert sum(mine.values()) <= sum(theirs.values())


plain = st.builds(
    Decorator,
    amount=st.integers(1, 9),
    methods=st.none(),
    per_method=st.just(False),
    override=st.just(True),
    exempt=st.just(()),
    cost=st.sampled_from([1, 2]),
    shared=st.booleans(),
    called=st.booleans(),
    readable=st.sampled_from([True, True, False]),
)


@settings(max_examples=40, deadline=None)
@given(
    declaration=st.fixed_dictionaries(
        {
            "view": st.lists(plain, max_size=3),
            "blueprint": st.lists(plain, max_size=2),
            "kind": st.sampled_from(["function", "class"]),
            "default": defaults,
            "requests": st.lists(st.sampled_from(METHODS), min_size=1, max_size=24),
        }
    )
)
def test_as_much_is_allowed_as_by_stock_where_nothing_gets_around_it(declaration):
    requests = declaration["requests"]
    assert counted(ours, declaration, requests) == counted(stock, declaration, requests)
