"""Secrets: a type that cannot print itself, and settings of which none is shown however it is written."""

from __future__ import annotations

import base64
import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shown import outcome_of, ways_to_show

from otel_ratelimit.core.errors import DatabaseError, SettingsError
from otel_ratelimit.core.secret import HiddenValues, Redactor, Secret, passwords_among
from otel_ratelimit.core.settings import Settings, settings_from
from otel_ratelimit.core.smtp_url import SmtpServer
from otel_ratelimit.core.storage_uri import redact_uri, secrets_in, storage_uri
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.connection_string import dsn, keywords
from otel_ratelimit.postgres.error_translation import connection_error
from otel_ratelimit.reports.mail import smtp_errors
from otel_ratelimit.storage import validate_uri
from otel_ratelimit.storage.server_errors import without_echo

CANARY = "Zq7Canary"


def shows(texts):
    """Those of `texts` in which the canary can be read; hosts are turned into lower case."""
    return [text for text in texts if CANARY.lower() in text.lower()]


# The type


def test_a_secret_is_revealed_and_not_shown():
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    assert not shows(ways_to_show(secret))
    assert (str(secret), repr(secret), f"{secret:>5}") == ("***", "Secret(***)", "  ***")
    assert (str(Secret()), repr(Secret()), bool(Secret()), bool(secret)) == ("", "Secret()", False, True)


def test_what_may_be_seen_of_it_is():
    assert str(Secret("redis://:pw@host", shown="redis://***@host")) == "redis://***@host"


def test_a_secret_equals_its_text_and_no_other():
    assert Secret("a") == Secret("a") == "a"
    assert Secret("ü\ud800") == "ü\ud800"
    assert Secret("a") != Secret("b")
    assert Secret("a") != "b"
    assert Secret("a") != 1
    assert {Secret("a"): 1}["a"] == 1
    assert Secret.of("a") == Secret.of(Secret("a")) == "a"


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *both: compared.append(both) or True)
    assert Secret("ü").matches("other")
    assert compared == [(b"other", "ü".encode())]


@pytest.mark.parametrize("value", [Secret(CANARY), HiddenValues({"password": CANARY})])
@pytest.mark.parametrize(
    "serialise",
    [
        pickle.dumps,
        lambda value: pickle.dumps({"within": [value]}),
        json.dumps,
        lambda value: value.__getstate__(),
        lambda value: value.__reduce_ex__(2),
    ],
)
def test_it_is_written_nowhere(value, serialise):
    with pytest.raises(TypeError) as refused:
        serialise(value)
    assert not shows([str(refused.value)])


@pytest.mark.parametrize("value", [Secret(CANARY), HiddenValues({"password": CANARY})])
def test_a_copy_is_as_silent_as_the_original(value):
    assert copy.copy(value) == copy.deepcopy(value) == value
    assert not hasattr(value, "__dict__")


def test_hidden_values_are_a_mapping_that_shows_its_names():
    options = HiddenValues({"password": CANARY, "db": 1})
    assert dict(options) == options == {"password": CANARY, "db": 1}
    assert {**options}["db"] == len(options) - 1 == 1
    assert repr(options) == "{'password': '***', 'db': '***'}"
    assert not shows(ways_to_show(options))


def test_what_others_say_is_shown_without_secrets_the_longest_first():
    redact = Redactor(["abc", "", "abcdef"])
    assert redact("say abcdef, abc, ab") == "say ***, ***, ab"
    assert Redactor()("as it is") == "as it is"
    assert not shows(ways_to_show(Redactor([CANARY])))


def test_passwords_are_found_at_any_depth_of_options():
    options = {"password": "a", "db": 1, "ssl_ca_certs": "/ca", "sentinel_kwargs": {"PASSWORD": "b"}}
    assert list(passwords_among(options)) == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("unknown command 'AUTH', with args beginning with: 'pw' 'x'", "unknown command 'AUTH', with args"),
        ("unknown command `HELLO`, with args beginning with: `3`, `pw`,\nmore", "unknown command `HELLO`"),
        ("WRONGPASS invalid", "WRONGPASS invalid"),
    ],
)
def test_a_server_that_repeats_a_command_is_quoted_without_its_arguments(said, left):
    assert without_echo(said).startswith(left)
    assert "pw" not in without_echo(said)
    assert "more" not in without_echo(said)


@pytest.mark.parametrize(
    ("uri", "hidden"),
    [
        ("redis://host:1/0", []),
        ("redis://:p%40w@host", ["redis://:p%40w@host", "p%40w", "p@w"]),
        ("redis://user:a:b@host", ["redis://user:a:b@host", "a:b", "a:b"]),
        ("redis://alone@host", ["redis://alone@host", "alone", "alone"]),
        ("redis://h?db=1&password=x%20y", ["redis://h?db=1&password=x%20y", "", "", "x y"]),
    ],
)
def test_what_must_not_be_seen_of_a_uri(uri, hidden):
    assert list(secrets_in(uri)) == list(secrets_in(Secret(uri))) == hidden


@pytest.mark.parametrize("echo", [CANARY, f"\0me\0{CANARY}"], ids=["as it is", "as AUTH PLAIN"])
@pytest.mark.parametrize("cut_off", range(-2, 30, 4))
def test_a_mail_server_that_repeats_a_login_where_its_reply_is_cut_off(echo, cut_off):
    sent = echo if echo == CANARY else base64.b64encode(echo.encode()).decode()
    server = SmtpServer(host="mail", port=587, user="me", password=CANARY)
    padding = "x" * (smtp_errors._MAX_SAID - len("535 ") - cut_off)
    for reply in (f"{padding}{sent}", f"{padding}{sent}".encode()):
        said = smtp_errors.reply_line((535, reply), server)
        assert sent[:4] not in said
        assert len(said) <= smtp_errors._MAX_SAID + len("...")


# Settings


def test_settings_show_where_the_store_is_and_no_more():
    settings = Settings(storage_uri=f"redis://me:{CANARY}@host:6379/0", storage_options={"password": CANARY})
    assert "storage_uri=Secret(redis://***@host:6379/0)" in repr(settings)
    assert "storage_options={'password': '***'}" in repr(settings)
    assert "storage_uri=Secret(bounded-memory://)" in repr(Settings())


STRANGE = st.text(alphabet="ab1@:/?#[]%&=+ '\"\\,;.ü{}$~", max_size=4)
ENCODED = st.text(alphabet="ab1%:@", max_size=3).map(
    lambda text: text.replace("%", "%2F").replace("@", "%40")
)


def passwords(around=STRANGE | ENCODED):
    return st.tuples(around, st.just(CANARY), around).map("".join)


# Without a host behind it, what follows an @ is the host.
UNAMBIGUOUS = passwords(st.text(alphabet="ab1:?#%&=+ü", max_size=3))
STORAGE = [
    *("redis://:{}@host:6379/0", "redis://user:{}@host", "rediss://u:{}@[::1]:1", "valkey://{}@host:1"),
    *("redis+sentinel://:{}@a:1,b:2/m", "valkeys+cluster://u:{}@a:1,b:2", "redis+unix://:{}@/run/r.sock"),
    *("redis://host?password={}", "redis://host/0?db=1&password={}&x=y", "memcached://u:{}@h:1"),
    *("redis:{}@host", "redis//:{}@host", "redis:/u:{}@host", ":{}@host", "{}", "reddis://:{}@host:1"),
    *("REDIS://:{}@host", "mongodb://u:{}@host", "user:{}@redis://host", "redis://u:{}@host:port"),
]
DATABASE = [
    *("postgresql://u:{}@h/db", "postgres://u:{}@h:5432/db?sslmode=require", "postgresql://h/db?password={}"),
    *("postgresql://h/db?user=u&password={}&x=y", "postgresql+psycopg2://u:{}@h/db", "postgresql:/u:{}@h/db"),
    *("host=h user=u password={} dbname=d", "host=h password='{}'", "host=h password = {}", "password={}"),
    *("host=h pasword={}", "{}", "mysql://u:{}@h/db", "host=h sslpassword={} password=other"),
]
MAIL = [
    *("smtp://me:{}@mail", "smtps://me:{}@mail:465", "smtp://me:{}@mail?starttls=never", "smtp:me:{}@mail"),
    *("smtp://:{}@mail", "http://me:{}@mail", "{}", "smtp://me:{}@mail?ca=/a", "smtp://me:{}@mail:x/y"),
]


def outcome(deed):
    """All that can be read of what `deed` answers, or of the error that it raises."""
    return outcome_of(deed, raises=(SettingsError, DatabaseError))


def from_environment(name, text):
    return outcome(lambda: settings_from({f"OTEL_RATELIMIT_{name}": text}))


@given(st.sampled_from(STORAGE), passwords())
def test_no_password_of_a_store_is_shown(form, password):
    uri = form.format(password)
    assert shows([uri])
    assert not shows(from_environment("STORAGE_URI", uri))
    assert not shows(ways_to_show(storage_uri(uri)))
    assert not shows([redact_uri(uri), *map(str, validate_uri(uri)), *map(repr, validate_uri(uri))])


@given(UNAMBIGUOUS)
def test_no_password_is_shown_where_the_host_was_forgotten(password):
    assert not shows([redact_uri(f"redis://:{password}"), *map(str, validate_uri(f"redis://:{password}"))])
    assert not shows(from_environment("SMTP_URL", f"smtp://me:{password}"))


@given(st.sampled_from(DATABASE), passwords())
def test_no_password_of_a_database_is_shown(form, password):
    url = Secret(form.format(password))
    assert not shows(from_environment("DATABASE_URL", url.reveal()))
    assert not shows(outcome(lambda: dsn(url)))
    assert not shows(outcome(lambda: keywords(dsn(url))))
    assert not shows(outcome(lambda: repr(vars(Database(url)))))
    assert not shows(outcome(lambda: connection_error(keywords(dsn(url)), "Connection refused")))


@given(st.sampled_from(MAIL), passwords())
def test_no_password_of_a_mail_server_is_shown(form, password):
    url = Secret(form.format(password))
    assert not shows(from_environment("SMTP_URL", url.reveal()))
    assert not shows(outcome(lambda: SmtpServer.parse(url)))


@given(
    st.sampled_from(["API_TOKEN", "ADMIN_TOKEN", "HASH_KEY"]),
    st.sampled_from(["{}", "{},{}", "0123456789abcdef,{}", "Bearer {}"]),
    passwords(),
)
def test_no_token_and_no_key_is_shown(name, form, token):
    text = form.format(token, token)
    assert not shows(from_environment(name, text))
    in_both = {f"OTEL_RATELIMIT_{name}": text, "OTEL_RATELIMIT_API_TOKEN": token}
    assert not shows(outcome(lambda: settings_from(in_both)))


@given(
    st.sampled_from(
        ['{{"password": {}}}', '{{"sentinel_kwargs": {{"password": {}}}}}', '{{"password": {}', "[{}]", "{}"]
    ),
    passwords(),
)
def test_no_option_of_a_client_is_shown(form, password):
    assert not shows(from_environment("STORAGE_OPTIONS", form.format(json.dumps(password))))
    assert not shows(from_environment("STORAGE_OPTIONS", form.format(password)))


@given(passwords())
def test_an_argument_is_as_silent_as_a_variable(password):
    arguments = {
        "storage_uri": f"redis://:{password}@host",
        "database_url": f"postgresql://u:{password}@h/db",
        "smtp_url": f"smtp://me:{password}@mail",
        "hash_key": password * 2,
        "api_token": password,
        "admin_token": password * 3,
        "storage_options": {"password": password, "sentinel_kwargs": {"password": password}},
    }
    assert not shows(ways_to_show(Settings(**arguments)))
    assert not shows(outcome(lambda: settings_from({}, arguments)))
