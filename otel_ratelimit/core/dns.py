"""The addresses of a host, asked for with a deadline: the system's resolver keeps none.

With three name servers that do not answer it takes half a minute (resolv.conf(5), `timeout`, `attempts`).
"""

from __future__ import annotations

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
    answers: list[list[str] | OSError] = []
    # Not a queue: gevent and eventlet need not patch those, and one that is not patched blocks all greenlets.
    answered = threading.Event()

    def ask() -> None:
        answers.append(look_up())
        answered.set()

    def look_up() -> list[str] | OSError:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name at all
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
