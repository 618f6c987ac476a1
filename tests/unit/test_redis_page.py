"""The examples of docs/how-to/redis.md are settings that are taken, and its tables are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from otel_ratelimit.core.settings import settings_from
from otel_ratelimit.storage import server_errors
from otel_ratelimit.storage.client_options import option_problems
from otel_ratelimit.storage.key_namespace import key_namespace, key_prefix, service_of
from otel_ratelimit.storage.store_from_uri import _SCHEMES, validate_uri

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/redis.md").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs/runbooks/RateLimitStorageErrors.md").read_text(encoding="utf-8")
OPTIONS = "OTEL_RATELIMIT_STORAGE_OPTIONS"


def exported(block):
    words = shlex.split(block, comments=True)
    return dict(word.split("=", 1) for word in words if word.startswith("OTEL_"))


BLOCKS = [exported(block) for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
WITH_OPTIONS = [block for block in BLOCKS if OPTIONS in block]


def test_the_page_has_an_example_for_each_way():
    schemes = {block["OTEL_RATELIMIT_STORAGE_URI"].partition(":")[0] for block in WITH_OPTIONS}
    assert schemes >= {"rediss", "rediss+cluster", "redis+sentinel", "rediss+sentinel", "valkey"}


@pytest.mark.parametrize("block", WITH_OPTIONS, ids=lambda block: block["OTEL_RATELIMIT_STORAGE_URI"])
def test_an_example_with_options_is_taken(block, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda _path: True)
    settings = settings_from(block)
    assert settings.storage_options
    assert validate_uri(settings.storage_uri) == []
    assert option_problems(settings.storage_uri, settings.storage_options) == []


@pytest.mark.parametrize("uri", re.findall(r"`((?:redis|valkey|memcached)[a-z+]*://[^`…]+)`", PAGE))
def test_every_uri_of_the_page_is_one(uri):
    assert validate_uri(uri) == []


def test_every_remote_scheme_is_on_the_page_or_follows_from_one_that_is():
    written = set(re.findall(r"`?([a-z+]+)://", PAGE))
    families = {scheme.replace("valkey", "redis", 1) for scheme in written}
    assert {scheme.replace("valkey", "redis", 1) for scheme, family in _SCHEMES.items() if family} <= families


def test_the_example_of_a_key_is_what_the_example_of_a_service_gives():
    (block,) = [block for block in BLOCKS if "OTEL_RESOURCE_ATTRIBUTES" in block]
    namespace = key_namespace(key_prefix("", service_of(block)), "app")
    assert f"}}{namespace}|" in PAGE
    assert f"LIMITS:LIMITER/{namespace}/" in PAGE


def error_types():
    tables = (server_errors._STATES, server_errors._OF_ONE_REQUEST)
    words = {word for table in tables for word in table.values()}
    for pairs in (
        server_errors._TEXTS_OF_STATES,
        server_errors._TEXTS_OF_ONE_REQUEST,
        server_errors._UNANSWERED,
    ):
        words |= {word for _, word in pairs}
    return words


def test_the_runbook_says_what_to_do_about_every_type_of_error():
    assert {word for word in error_types() if f"`{word}`" not in RUNBOOK} == set()


def test_every_code_that_is_told_apart_is_on_the_page():
    codes = {*server_errors._STATES, "OOM", "WRONGTYPE"} - {"DENIED"}
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
