"""Addresses of the database's hosts, asked for with a deadline.

An asynchronous connection of psycopg2 lets libpq resolve the host's name while the interpreter is locked:
with a name server that does not answer the whole process would stand still, for half a minute with three of
them. So the name is resolved here, and libpq given `hostaddr` with it (PostgreSQL's documentation, "Parameter
Key Words"); `host` stays, for the certificate's sake.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Mapping

from otel_ratelimit.postgres.refusals import no_connection


def with_addresses(given: Mapping[str, str], environ: Mapping[str, str], seconds: float) -> dict[str, str]:
    """Libpq's keywords `given`, with `hostaddr` where a host is named; all the addresses of several hosts.

    Args:
        given: as `parse_dsn` has them.
        environ: where libpq looks for what is not given.
        seconds: how long to wait for the name server.

    Raises:
        DatabaseUnreachableError: a name has no address, or the name server did not answer in time.
    """
    hosts = (given.get("host") or environ.get("PGHOST", "")).split(",")
    if given.get("hostaddr") or environ.get("PGHOSTADDR") or not any(map(_is_name, hosts)):
        return dict(given)
    ports = (given.get("port") or environ.get("PGPORT", "")).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        return dict(given)  # which libpq refuses, and says why
    places = [
        (host, address, port)
        for host, port in zip(hosts, ports, strict=True)
        for address in (_resolved(host, given, seconds) if _is_name(host) else [_literal(host)])
    ]
    names, addresses, their_ports = (",".join(column) for column in zip(*places, strict=True))
    return {**given, "host": names, "hostaddr": addresses, "port": their_ports}


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
    """Addresses in the resolver's order.

    The resolver has no deadline of its own; a thread that waits for it longer than we do ends by itself.
    """
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name at all
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))
        else:
            addresses = list(dict.fromkeys(str(place[4][0]) for place in found))
            answers.put(addresses or OSError("it has no address"))

    try:
        threading.Thread(target=ask, name="otel-ratelimit-resolver", daemon=True).start()
    except RuntimeError:  # no more threads, or the interpreter is going down
        ask()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        reason = f'host name "{host}" cannot be resolved: the name server gave no answer within {seconds:g} s'
        raise no_connection(given, reason) from None
    if isinstance(answer, OSError):
        reason = f'host name "{host}" cannot be resolved: {answer.strerror or answer}'
        raise no_connection(given, reason) from answer
    return answer
