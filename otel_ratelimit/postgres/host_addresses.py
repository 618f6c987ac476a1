"""Addresses of the database's hosts, asked for with a deadline.

An asynchronous connection of psycopg2 lets libpq resolve the host's name while the interpreter is locked:
with a name server that does not answer the whole process would stand still, for half a minute with three of
them. So the name is resolved here, and libpq given `hostaddr` with it (PostgreSQL's documentation, "Parameter
Key Words"); `host` stays, for the certificate's sake.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from otel_ratelimit.core.deadline import seconds_left
from otel_ratelimit.core.dns import addresses_of
from otel_ratelimit.core.secret import HiddenValues
from otel_ratelimit.postgres.error_translation import connection_error


def with_addresses(given: Mapping[str, str], environ: Mapping[str, str], seconds: float) -> HiddenValues[str]:
    """Libpq's keywords `given`, with `hostaddr` where a host is named; all the addresses of several hosts.

    Args:
        given: as `parse_dsn` has them.
        environ: where libpq looks for what is not given.
        seconds: how long to wait for the name server.

    Raises:
        DatabaseUnreachableError: a name has no address, or the name server did not answer in time.
    """
    hosts = (given.get("host") or environ.get("PGHOST", "")).split(",")
    ports = (given.get("port") or environ.get("PGPORT", "")).split(",")
    are_resolved = given.get("hostaddr") or environ.get("PGHOSTADDR")
    del environ  # a traceback with the variables of each frame would show all of it
    if are_resolved or not any(map(_is_name, hosts)):
        return HiddenValues(given)
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        return HiddenValues(given)  # which libpq refuses, and says why
    places = [
        (host, address, port)
        for host, port in zip(hosts, ports, strict=True)
        for address in (_resolved(host, given, seconds) if _is_name(host) else [_literal(host)])
    ]
    names, addresses, their_ports = (",".join(column) for column in zip(*places, strict=True))
    return HiddenValues({**given, "host": names, "hostaddr": addresses, "port": their_ports})


def _is_name(host: str) -> bool:
    return bool(host) and not host.startswith(("/", "@")) and not _literal(host)


def _literal(host: str) -> str:
    """`host` if it is an address; empty, which leaves it to libpq, for a socket's folder."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ""
    return host


def _resolved(host: str, given: Mapping[str, str], seconds: float) -> list[str]:
    try:
        return addresses_of(host, seconds_left(seconds))
    except OSError as error:
        reason = f'host name "{host}" cannot be resolved: {error.strerror or error}'
        raise connection_error(given, reason) from error
