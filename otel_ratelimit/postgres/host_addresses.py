"""Resolves the host names of a database URL with a deadline.

An asynchronous connection of psycopg2 lets libpq resolve host names while it holds the GIL: a name server
that does not answer would stop the whole process, for half a minute if there are three. So names are
resolved here, and libpq gets `hostaddr` as well (PostgreSQL's documentation, "Parameter Key Words"); it
needs `host` to check the certificate.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from otel_ratelimit.core.deadline import seconds_left
from otel_ratelimit.core.dns import addresses_of
from otel_ratelimit.core.secret import HiddenValues
from otel_ratelimit.postgres.error_translation import connection_error


def with_addresses(given: Mapping[str, str], environ: Mapping[str, str], seconds: float) -> HiddenValues[str]:
    """The keywords of libpq with `hostaddr` for host names; each host gets all its addresses.

    Args:
        given: keywords, as `parse_dsn` returns them.
        environ: where libpq looks for other keywords.
        seconds: how long to wait for the name server.

    Raises:
        DatabaseUnreachableError: a name has no address, or the name server did not answer in time.
    """
    hosts = (given.get("host") or environ.get("PGHOST", "")).split(",")
    ports = (given.get("port") or environ.get("PGPORT", "")).split(",")
    are_resolved = given.get("hostaddr") or environ.get("PGHOSTADDR")
    del environ  # a traceback with the variables of each frame would show it
    if are_resolved or not any(map(_is_name, hosts)):
        return HiddenValues(given)
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        return HiddenValues(given)  # libpq raises an error that says why
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
    """`host` if it is an address; empty for the folder of a socket, which libpq handles."""
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
