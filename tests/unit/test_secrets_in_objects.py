"""Objects of ours hold no secret that can be read off them: not in a repr, not in a traceback's variables."""

from __future__ import annotations

import copy
import gc
import pickle
from functools import partial
from pathlib import Path
from types import CellType, FunctionType, MethodType

import flask
import pytest
from shown import outcome_of, ways_to_show

from otel_ratelimit import RateLimit
from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.core.secret import HiddenEnvironment, HiddenValues, Secret, SecretKey
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.policy.identity import Identifier, TrustedProxies
from otel_ratelimit.policy.identity.address_masking import address_keeper
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.embedded.database import EmbeddedDatabase
from otel_ratelimit.postgres.embedded.server import EmbeddedPostgres
from otel_ratelimit.queries.execution_key import ExecutionKeys
from otel_ratelimit.telemetry.logs import ShownAddresses

CANARY = "Zq7Canary-0123456789abcdef0123456789abcdef"
VARIABLES = {
    "OTEL_RATELIMIT_HASH_KEY": CANARY,
    "OTEL_RATELIMIT_API_TOKEN": CANARY + "r",
    "OTEL_RATELIMIT_ADMIN_TOKEN": CANARY + "a",
    "OTEL_RATELIMIT_DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/x",
    "OTEL_RATELIMIT_SMTP_URL": f"smtp://u:{CANARY}@127.0.0.1:1",
    "OTHER_PASSWORD": CANARY,
}
ARGUMENTS = {
    name.removeprefix("OTEL_RATELIMIT_").lower(): value
    for name, value in VARIABLES.items()
    if name.startswith("OTEL_RATELIMIT_")
}
POLICY = parse_policy('version = 1\n[analytics]\nclient_addresses = "hashed"\n', "test.toml")


SILENT = (Secret, SecretKey, HiddenValues, type)


def readable(root):
    """Where, from `root` on, objects of ours hold the canary as text or bytes, or have a repr with it."""
    found, seen, waiting = [], set(), [("root", root)]
    while waiting:
        path, held = waiting.pop()
        if id(held) in seen or isinstance(held, SILENT):
            continue
        seen.add(id(held))
        is_ours = type(held).__module__.startswith("otel_ratelimit")
        if (is_ours or isinstance(held, str | bytes)) and CANARY in repr(held):
            found.append(path)
        waiting += [(f"{path}.{name}", value) for name, value in held_by(held, is_ours=is_ours)]
    return found


def held_by(held, *, is_ours):
    if is_ours:
        slots = [name for kind in type(held).__mro__ for name in getattr(kind, "__slots__", ())]
        yield from ((name, getattr(held, name, None)) for name in slots)
        yield from getattr(held, "__dict__", {}).items()
    elif isinstance(held, dict):
        yield from held.items()
    elif isinstance(held, list | tuple | set | frozenset):
        yield from enumerate(held)
    elif isinstance(held, FunctionType):
        yield from enumerate(held.__closure__ or ())
    elif isinstance(held, CellType | MethodType | partial):
        yield from enumerate(gc.get_referents(held))


@pytest.mark.parametrize("given", ["variables", "arguments"])
def test_nothing_that_a_rate_limit_holds_shows_a_secret(given):
    environ = VARIABLES if given == "variables" else {"OTHER_PASSWORD": CANARY}
    arguments = ARGUMENTS if given == "arguments" else {}
    app = flask.Flask("shop")
    app.add_url_rule("/", "index", lambda: "x")
    rate_limit = RateLimit(app, policy=POLICY, environ=environ, **arguments)
    try:
        app.test_client().get("/")
        assert CANARY not in repr(vars(rate_limit))
        assert readable(rate_limit) == []
        assert readable(app.extensions) == []
    finally:
        rate_limit.close(timeout=0.2)


@pytest.mark.parametrize(
    "make",
    [
        lambda key: Identifier(TrustedProxies.parse(""), hash_key=key),
        lambda key: Identifier(TrustedProxies.parse(""), hash_key=key * 9),
        lambda key: ShownAddresses("hashed", key),
        lambda key: address_keeper("hashed", key),
        lambda key: PostgresAnalyticsWriter(Database("postgresql://127.0.0.1:1/x"), str, "hashed", key),
        ExecutionKeys,
        lambda key: ExecutionKeys(key * 9),
        lambda key: EmbeddedDatabase("embedded:", str, {"PASSWORD": key.decode()}),
        lambda key: EmbeddedPostgres(Path("/x"), Path("/y"), environ={"PASSWORD": key.decode()}),
    ],
)
def test_what_is_made_with_a_key_does_not_show_it(make):
    assert readable(make(CANARY.encode())) == []


@pytest.mark.parametrize("given", ["variables", "arguments"])
def test_a_traceback_with_variables_of_a_setting_that_is_wrong_shows_no_secret(given):
    def wrong():
        if given == "variables":
            return RateLimit(flask.Flask("x"), environ={**VARIABLES, "OTEL_RATELIMIT_SHADOW": "maybe"})
        return RateLimit(flask.Flask("x"), environ={}, **{**ARGUMENTS, "query_sample_rate": 7.0})

    said = outcome_of(wrong, (SettingsError,))
    assert said
    assert not [text for text in said if CANARY in text]


def test_likewise_where_it_is_found_out_later(monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    uri = f"nonsense://u:{CANARY}@host"
    said = outcome_of(lambda: RateLimit(flask.Flask("x"), storage_uri=uri), (SettingsError,))
    assert not [text for text in said if CANARY in text]


def test_a_key_is_as_silent_as_a_secret():
    key = SecretKey(CANARY.encode())
    assert key.reveal() == CANARY.encode()
    assert not [text for text in ways_to_show(key) if CANARY in text]
    assert (repr(key), str(key), repr(SecretKey())) == ("SecretKey(***)", "SecretKey(***)", "SecretKey()")
    assert key == SecretKey.of(key) == SecretKey.of(CANARY.encode()) == CANARY.encode()
    assert key != SecretKey(b"other")
    assert key != CANARY
    assert (bool(key), bool(SecretKey()), {key: 1}[SecretKey(CANARY.encode())]) == (True, False, 1)
    assert copy.deepcopy([key, copy.copy(key)]) == [key, key]
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_an_environment_is_as_it_becomes_and_shows_no_value():
    environ = {"A": "1"}
    hidden = HiddenEnvironment(environ)
    environ["PASSWORD"] = CANARY
    assert dict(hidden) == environ
    assert (hidden["PASSWORD"], hidden.get("B"), len(hidden), "A" in hidden) == (CANARY, None, 2, True)
    assert not [text for text in ways_to_show(hidden) if CANARY in text]
    with pytest.raises(TypeError):
        pickle.dumps(hidden)
