"""Objects that we add to an application are of the kinds that Flask itself adds.

Applications and extensions list routes, views, blueprints and hooks, and take for granted what Flask
makes: a set of methods, a function with a name.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import pickle

import flask
import pytest
from flask.cli import routes_command
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

POLICY = 'version = 1\n[tiers]\ndefault = "1000/minute"\n'


def make_app():
    app = flask.Flask("sample")

    @app.get("/plain/<int:number>")
    def plain(number):
        """A view with words."""
        return str(number)

    blueprint = flask.Blueprint("part", __name__, url_prefix="/part")
    blueprint.add_url_rule("/", "index", lambda: "ok", methods=["GET", "POST"])
    app.register_blueprint(blueprint)
    return app


@pytest.fixture
def bare():
    app = make_app()
    app.test_client().get("/plain/1")
    return app


@pytest.fixture(params=["before the first request", "after it"])
def app(request):
    app = make_app()
    RateLimit(app, policy=parse_policy(POLICY, "t.toml"), environ={})
    if request.param == "after it":
        assert app.test_client().get("/plain/1").status_code == 200
    return app


def kinds(value):
    """The types of an object's attributes; a set is told by what it holds."""
    return {
        name: (type(held), frozenset(map(type, held)) if isinstance(held, set | frozenset) else None)
        for name, held in vars(value).items()
    }


def test_every_rule_is_of_the_kind_that_flask_makes(app, bare):
    known = [kinds(rule) for rule in bare.url_map.iter_rules()]
    possible = {name: {each[name] for each in known if name in each} for name in known[0]}
    for rule in app.url_map.iter_rules():
        found = kinds(rule)
        assert set(found) == set(possible), rule
        for name in ("rule", "endpoint", "methods", "subdomain", "provide_automatic_options", "arguments"):
            types = {kind for kind, _ in possible[name]}
            assert found[name][0] in types, (rule, name)
        assert all(method == method.upper() for method in rule.methods)
        assert rule.endpoint in app.view_functions


def test_applications_that_list_their_routes_find_what_they_take_for_granted(app):
    listed = [
        {
            "rule": str(rule),
            "methods": sorted(rule.methods),
            "options": rule.methods.difference({"HEAD", "OPTIONS"}),
            "joined": ", ".join(rule.methods),
            "view": app.view_functions[rule.endpoint].__name__,
            "module": app.view_functions[rule.endpoint].__module__,
            "automatic": rule.provide_automatic_options,
        }
        for rule in app.url_map.iter_rules()
    ]
    assert len(listed) > 8
    json.dumps([{**each, "options": sorted(each["options"])} for each in listed])


def test_every_view_is_a_function_with_a_name_and_a_description(app):
    for endpoint, view in app.view_functions.items():
        assert inspect.isfunction(inspect.unwrap(view)) or inspect.ismethod(view), endpoint
        assert view.__name__, endpoint
        assert importlib.import_module(view.__module__), endpoint
        inspect.signature(view)
        inspect.getsource(view)
        if endpoint.startswith("_otel_ratelimit"):
            assert "<lambda>" not in view.__qualname__
            assert "---" not in inspect.getdoc(view), "would be read as YAML"


def test_links_to_all_routes_can_be_made(app):
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            arguments = dict.fromkeys(rule.arguments, 1)
            assert flask.url_for(rule.endpoint, **arguments).startswith("/")
    adapter = app.url_map.bind("example.org")
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<int:number>", "1").replace("<path:", "").replace(">", "")
        for method in rule.methods:
            adapter.match(path, method=method)


def test_flask_lists_the_routes(app):
    for options in ([], ["--sort", "methods"], ["--all-methods"]):
        result = app.test_cli_runner().invoke(routes_command, options)
        assert result.exit_code == 0, result.output
        assert "/api/rate-limit/metrics" in result.output


def test_blueprints_are_blueprints(app):
    for name, blueprint in app.blueprints.items():
        assert type(blueprint) is flask.Blueprint
        assert isinstance(name, str)
        assert importlib.import_module(blueprint.import_name)
        assert type(blueprint.cli) is type(flask.Blueprint("another", __name__).cli)


def test_hooks_and_handlers_stand_where_flask_keeps_them(app, bare):
    for name in (
        "before_request_funcs",
        "after_request_funcs",
        "teardown_request_funcs",
        "url_value_preprocessors",
        "url_default_functions",
        "template_context_processors",
    ):
        held = getattr(app, name)
        assert type(held) is type(getattr(bare, name))
        for scope, functions in held.items():
            assert scope is None or scope in app.blueprints
            assert type(functions) is list
            for function in functions:
                assert inspect.isroutine(function)
                assert function.__name__
                inspect.signature(function)
    for scope, by_code in app.error_handler_spec.items():
        assert scope is None or scope in app.blueprints
        for code, handlers in by_code.items():
            assert code is None or isinstance(code, int)
            for kind, handler in handlers.items():
                assert issubclass(kind, Exception)
                assert inspect.isroutine(handler)
    assert inspect.isroutine(app.full_dispatch_request)
    assert app.full_dispatch_request.__name__ == "full_dispatch_request"
    assert list(inspect.signature(app.full_dispatch_request).parameters) == list(
        inspect.signature(bare.full_dispatch_request).parameters
    )


def test_nothing_else_of_the_application_changes(app, bare):
    assert dict(app.config) == dict(bare.config)
    copy.deepcopy(app.config)
    pickle.dumps(dict(app.config))
    assert set(app.jinja_env.globals) == set(bare.jinja_env.globals)
    assert set(app.jinja_env.filters) == set(bare.jinja_env.filters)
    assert set(app.cli.commands) == set(bare.cli.commands)
    assert len(app.template_context_processors[None]) == len(bare.template_context_processors[None])
    assert set(app.shell_context_processors) == set(bare.shell_context_processors)
    assert set(app.make_shell_context()) == set(bare.make_shell_context())


def test_the_extensions_are_of_the_kind_that_others_look_for(app):
    other = flask.Flask("other")
    Limiter(get_remote_address, app=other, storage_uri="memory://")
    assert type(app.extensions["limiter"]) is type(other.extensions["limiter"])
    assert all(isinstance(limiter, Limiter) for limiter in app.extensions["limiter"])
    assert all(isinstance(name, str) for name in app.extensions)


@pytest.mark.parametrize("method", ["ODD", "PROPFIND"])
def test_a_method_that_flask_does_not_route_is_refused(app, method):
    # By Flask, or by the API where that is served ahead of it.
    assert app.test_client().open("/api/rate-limit/metrics", method=method).status_code in {401, 405}


def test_the_environment_of_a_request_can_be_shown():
    app = make_app()
    RateLimit(app, policy=parse_policy(POLICY, "t.toml"), environ={})
    seen = {}

    @app.get("/environ")
    def environ():
        seen.update({name: (type(name), repr(value)) for name, value in flask.request.environ.items()})
        return {"g": sorted(flask.g)}

    assert app.test_client().get("/environ").json == {"g": []}
    assert {kind for kind, _ in seen.values()} == {str}
