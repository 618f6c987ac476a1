"""The addresses of a host, asked for with a deadline: the system's resolver keeps none.

With three name servers that do not answer it takes half a minute (resolv.conf(5), `timeout`, `attempts`).
"""

from __future__ import annotations

import queue
import socket
import threading


def addresses_of(host: str, seconds: float) -> list[str]:
    """The addresses of `host` in the resolver's order, at least one; an address is its own.

    A thread that waits for the resolver longer than we do ends by itself.

    Args:
        host: a name or an address.
        seconds: how long to wait.

    Raises:
        OSError: there is none; `TimeoutError` where the name server did not answer in time.
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
        raise TimeoutError(f"the name server gave no answer within {seconds:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer
