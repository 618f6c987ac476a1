"""Hosts are named with their addresses, so that libpq has no name to resolve."""

from __future__ import annotations

import socket

import pytest

from otel_ratelimit.core.errors import DatabaseUnreachableError
from otel_ratelimit.postgres.host_addresses import with_addresses

KNOWN = {"one.example": ["192.0.2.1"], "two.example": ["2001:db8::2", "192.0.2.2"]}


@pytest.fixture(autouse=True)
def resolver(monkeypatch):
    def getaddrinfo(host, _port, **_options):
        if host not in KNOWN:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, socket.SOCK_STREAM, 0, "", (address, 0)) for address in KNOWN[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({"host": "one.example"}, ("one.example", "192.0.2.1", "")),
        ({"host": "one.example", "port": "6000"}, ("one.example", "192.0.2.1", "6000")),
        ({"host": "two.example"}, ("two.example,two.example", "2001:db8::2,192.0.2.2", ",")),
        (
            {"host": "two.example,one.example", "port": "1,2"},
            ("two.example,two.example,one.example", "2001:db8::2,192.0.2.2,192.0.2.1", "1,1,2"),
        ),
        ({"host": "/run/pg,one.example,::1"}, ("/run/pg,one.example,::1", ",192.0.2.1,::1", ",,")),
    ],
)
def test_each_host_is_named_once_for_each_of_its_addresses(given, places):
    found = with_addresses({**given, "dbname": "d"}, {}, 1.0)
    assert (found["host"], found["hostaddr"], found["port"]) == places
    assert found["dbname"] == "d"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"host": "/run/postgresql"},
        {"host": "@abstract"},
        {"host": "192.0.2.9"},
        {"host": "::1"},
        {"host": "nobody.example", "hostaddr": "192.0.2.9"},
        {"host": "one.example,two.example", "port": "1,2,3"},
    ],
)
def test_where_there_is_nothing_to_resolve_nothing_is_changed(given):
    assert with_addresses(given, {}, 1.0) == given


def test_a_host_of_the_environment_is_resolved_as_well():
    found = with_addresses({}, {"PGHOST": "one.example", "PGPORT": "6000"}, 1.0)
    assert (found["host"], found["hostaddr"], found["port"]) == ("one.example", "192.0.2.1", "6000")
    assert with_addresses({}, {"PGHOST": "one.example", "PGHOSTADDR": "192.0.2.9"}, 1.0) == {}


def test_a_name_that_nobody_knows_is_said_with_the_place():
    with pytest.raises(
        DatabaseUnreachableError, match=r'd at nobody\.example, port 5432, as user u: .*"nobody'
    ):
        with_addresses({"host": "nobody.example", "dbname": "d", "user": "u"}, {}, 1.0)


def test_a_name_that_is_none_is_refused_and_not_waited_for(monkeypatch):
    def getaddrinfo(host, *_, **__):
        return host.encode("idna")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(DatabaseUnreachableError, match="cannot be resolved"):
        with_addresses({"host": "a" * 70 + ".example"}, {}, 30.0)
