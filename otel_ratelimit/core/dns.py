"""Looks up the addresses of a host with a deadline, which the system's resolver does not have.

The resolver takes half a minute where three name servers do not answer (resolv.conf(5), `timeout`,
`attempts`).
"""

from __future__ import annotations

import socket
import threading


def addresses_of(host: str, seconds: float) -> list[str]:
    """The addresses of `host` in the resolver's order, at least one; that of an address is the address.

    A thread waits for the resolver; where that takes longer than `seconds`, the thread ends later.

    Args:
        host: a name or an address.
        seconds: how long to wait.

    Raises:
        OSError: the host has no address; `TimeoutError` where the name server did not answer in time.
    """
    answers: list[list[str] | OSError] = []
    # Not a queue: gevent and eventlet may leave queues unpatched, and an unpatched one blocks all greenlets.
    answered = threading.Event()

    def ask() -> None:
        answers.append(look_up())
        answered.set()

    def look_up() -> list[str] | OSError:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: not a host name
            return error if isinstance(error, OSError) else OSError(str(error))
        return list(dict.fromkeys(str(place[4][0]) for place in found)) or OSError("it has no address")

    try:
        threading.Thread(target=ask, name="otel-ratelimit-resolver", daemon=True).start()
    except RuntimeError:  # no more threads, or the interpreter is going down
        ask()
    if not answered.wait(seconds):
        raise TimeoutError(f"the name server gave no answer within {round(seconds, 1):g} s")
    answer = answers[0]
    if isinstance(answer, OSError):
        raise answer
    return answer
