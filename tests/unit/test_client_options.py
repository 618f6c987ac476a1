"""Options for the store's client: ours, the operator's over them, and what is refused before the start."""

from __future__ import annotations

import json

import flask
import pytest
import redis

from otel_ratelimit import RateLimit
from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.core.settings import Settings, settings_from
from otel_ratelimit.storage.client_options import option_problems, storage_options
from otel_ratelimit.storage.store_from_uri import redact_uri, validate_uri

SECRET = "topsecrettopsecret"
REMOTE = [
    f"{family}{suffix}"
    for family in ("redis", "valkey")
    for suffix in (
        *("://h:1", "s://h:1", "+unix:///s"),
        *("+cluster://h:1", "s+cluster://h:1", "+sentinel://h:1/m", "s+sentinel://h:1/m"),
    )
]
every_uri = pytest.mark.parametrize("uri", REMOTE)


def started(uri="redis://127.0.0.1:1", **arguments):
    RateLimit(flask.Flask("app"), storage_uri=uri, **{"environ": {}, **arguments}).close()


# Written options


@pytest.mark.parametrize(
    "written",
    [
        f'{{"password": "{SECRET}"',
        f"{{'password': '{SECRET}'}}",
        f"password={SECRET}",
        f"'{SECRET}'",
        f'"{SECRET}"',
        f'["{SECRET}"]',
        *("{", "nul", "null", "12", "true"),
    ],
)
def test_what_is_no_json_object_is_refused_without_showing_it(written):
    with pytest.raises(SettingsError, match="OTEL_RATELIMIT_STORAGE_OPTIONS: is not") as caught:
        settings_from({"OTEL_RATELIMIT_STORAGE_OPTIONS": written})
    assert "write a JSON object" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("given", [[("db", 1)], "db=1", 7, {1: 2}])
def test_an_argument_that_is_no_mapping_by_name_is_refused(given):
    with pytest.raises(SettingsError, match="is not an object of options by name"):
        settings_from({}, {"storage_options": given})


def test_the_variable_is_read_and_the_argument_wins():
    environ = {"OTEL_RATELIMIT_STORAGE_OPTIONS": '{"db": 1}'}
    assert settings_from(environ).storage_options == {"db": 1}
    assert settings_from(environ, {"storage_options": {"db": 2}}).storage_options == {"db": 2}
    assert settings_from({}).storage_options == {}


def test_no_option_is_shown():
    assert SECRET not in repr(Settings(storage_options={"password": SECRET}))
    assert "'***'" not in repr(Settings())


# Ours and theirs


@every_uri
def test_short_time_outs_are_set_and_can_be_overridden(uri):
    assert storage_options(uri)["socket_timeout"] == 0.25
    assert storage_options(uri)["socket_connect_timeout"] == 0.25
    given = storage_options(uri, {"socket_timeout": 1.5, "client_name": "shop"})
    assert (given["socket_timeout"], given["client_name"]) == (1.5, "shop")
    assert given["socket_connect_timeout"] == 0.25


@pytest.mark.parametrize("scheme", ["redis+sentinel", "valkeys+sentinel"])
def test_sentinels_keep_their_time_outs_beside_a_password_of_their_own(scheme):
    uri = f"{scheme}://h:1/m"
    sentinels = storage_options(uri, {"sentinel_kwargs": {"password": "p", "socket_timeout": 1}})[
        "sentinel_kwargs"
    ]
    assert sentinels == {
        "socket_timeout": 1,
        "socket_connect_timeout": 0.25,
        "retry": None,
        "password": "p",
    }


def test_sentinels_by_tls_trust_the_same_certificates_unless_told_otherwise():
    given = {"ssl_ca_certs": "/ca.pem", "sentinel_kwargs": {"ssl_cert_reqs": "none"}}
    of_tls = storage_options("rediss+sentinel://h:1/m", given)["sentinel_kwargs"]
    assert (of_tls["ssl_ca_certs"], of_tls["ssl_cert_reqs"]) == ("/ca.pem", "none")
    assert "ssl_ca_certs" not in storage_options("redis+sentinel://h:1/m", given)["sentinel_kwargs"]


@pytest.mark.parametrize("scheme", ["redis+cluster", "valkeys+cluster"])
def test_a_password_is_decoded_where_limits_leaves_it_as_it_is_written(scheme):
    options = storage_options(f"{scheme}://us%40er:p%2Fw%25@a:1,b:2")
    assert (options["username"], options["password"]) == ("us@er", "p/w%")
    assert storage_options(f"{scheme}://:a@h:1", {"password": "b"})["password"] == "b"


# Refused options


@every_uri
@pytest.mark.parametrize(
    ("name", "near"), [("socket_timout", "socket_timeout"), ("ssl_ca_cert", "ssl_ca_certs")]
)
def test_a_misspelt_option_is_named_with_its_neighbour(uri, name, near):
    (problem,) = option_problems(uri, {name: SECRET})
    assert problem.where == "OTEL_RATELIMIT_STORAGE_OPTIONS"
    assert name in problem.what
    assert problem.instead == f"did you mean {near}?"


@every_uri
def test_usual_options_are_taken(uri):
    usual = {
        "username": "u",
        "password": SECRET,
        "client_name": "shop",
        "health_check_interval": 30,
        "max_connections": 50,
        "socket_timeout": 0.5,
        "socket_connect_timeout": None,
        "socket_keepalive": True,
        "ssl_ca_certs": __file__,
        "ssl_cert_reqs": "required",
        "protocol": 3,
    }
    if "+cluster" in uri:
        del usual["health_check_interval"]  # the clients drop it without a word
    assert option_problems(uri, usual) == []


def test_what_a_cluster_would_ignore_is_refused():
    assert len(option_problems("redis+cluster://h:1", {"db": 1, "nonsense": 2})) == 2


@every_uri
@pytest.mark.parametrize("name", ["key_prefix", "host", "port", "startup_nodes", "wrap_exceptions", "url"])
def test_options_that_would_undo_something_are_refused_with_what_to_set(uri, name):
    (problem,) = option_problems(uri, {name: SECRET})
    assert f"{name} cannot be set here" in problem.what
    assert problem.instead


@pytest.mark.parametrize("name", ["socket_timeout", "max_connections", "health_check_interval"])
@pytest.mark.parametrize("value", ["0.5", True, [1], {}])
def test_what_must_be_a_number_is_one(name, value):
    (problem,) = option_problems("redis://h:1", {name: value})
    assert f"{name} is not a number" in problem.what


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there_is_said_at_start(name):
    (problem,) = option_problems("rediss+cluster://h:1", {name: "/nowhere/ca.pem"})
    assert name in problem.what


def test_options_of_sentinels_are_looked_at_too():
    given = {"sentinel_kwargs": {"pasword": SECRET, "ssl_ca_certs": "/nowhere", "socket_timeout": "1"}}
    problems = option_problems("redis+sentinel://h:1/m", given)
    assert [problem.what.partition(" ")[0] for problem in problems] == [
        "sentinel_kwargs.pasword",
        "the",
        "sentinel_kwargs.socket_timeout",
    ]
    assert len(option_problems("redis+sentinel://h:1/m", {"sentinel_kwargs": SECRET})) == 1
    assert len(option_problems("redis://h:1", {"sentinel_kwargs": {}})) == 1


@pytest.mark.parametrize("uri", ["bounded-memory://", "memory://"])
def test_a_store_without_a_client_takes_none(uri):
    (problem,) = option_problems(uri, {"capacity": "1GB"})
    assert "takes no options" in problem.what


def test_memcached_has_options_of_its_own():
    assert option_problems("memcached://h:1", {"timeout": 1, "max_pool_size": 4, "no_delay": True}) == []
    assert len(option_problems("memcached://h:1", {"socket_timeout": 1})) == 1
    assert storage_options("memcached://h:1", {"timeout": 1}) == {"timeout": 1, "connect_timeout": 0.25}


@pytest.mark.parametrize(
    "uri", ["redis://127.0.0.1:1", "valkeys://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/m"]
)
@pytest.mark.parametrize(
    "options",
    [
        {"nonsense": SECRET},
        {"ssl_ca_certs": f"/{SECRET}"},
        {"socket_timeout": SECRET},
        {"uri": SECRET},
        {"db": SECRET},
    ],
)
def test_an_application_with_wrong_options_does_not_start_and_shows_no_value(uri, options):
    with pytest.raises(SettingsError) as caught:
        started(uri, environ={"OTEL_RATELIMIT_STORAGE_OPTIONS": json.dumps(options)})
    assert next(iter(options)) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["rediss://127.0.0.1:1", "valkeys://127.0.0.1:1", "rediss+sentinel://127.0.0.1:1/m"]
)
def test_a_value_that_the_client_refuses_stops_the_start_and_is_not_shown(uri):
    with pytest.raises(SettingsError, match="the client refuses") as caught:
        started(uri, storage_options={"ssl_cert_reqs": SECRET})
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)


def test_an_object_of_python_that_is_given_as_text_stops_the_start():
    with pytest.raises(SettingsError, match="the client refuses connection_pool") as caught:
        started(storage_options={"connection_pool": SECRET})
    assert SECRET not in str(caught.value)


def test_objects_of_python_can_be_given_by_argument():
    pool = redis.ConnectionPool(host="127.0.0.1", port=1)
    started(storage_options={"connection_pool": pool})


def test_what_flask_limiter_prints_of_its_configuration_holds_no_secret():
    rate_limit = RateLimit(
        flask.Flask("app"),
        storage_uri="redis://127.0.0.1:1",
        storage_options={"password": SECRET},
        environ={},
    )
    assert SECRET not in repr(rate_limit.limiter._storage_options)
    rate_limit.close()


# Schemes


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "rediss+cluster://a:1,b:2",
            "valkeys+cluster://a:1",
            "rediss+sentinel://a:1/m",
            "valkeys+sentinel://a:1/m",
        ),
    ],
)
def test_tls_in_a_cluster_and_through_sentinel_are_known_schemes(uri):
    assert validate_uri(uri) == []
    assert redact_uri(uri.replace("://", "://u:p@")) == uri.replace("://", "://***@")


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("rediss+cluster://a", "has a host without a port"),
        ("valkeys+sentinel://a:1", "does not say which master"),
        ("rediss+cluster://", "names no host"),
        ("rediss+unix:///s", "names no known store"),
    ],
)
def test_what_they_lack_is_named(uri, what):
    (problem,) = validate_uri(uri)
    assert what in problem.what
