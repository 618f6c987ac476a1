"""Many requests to a server, over many connections at once; and what was answered.

The server must answer each request with its worker's process number in the header `X-Worker`.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

TIMEOUT_SECONDS: Final = 30.0
RECONNECT_AFTER: Final = 20
"""Requests on one connection, so that no worker keeps all of them."""


@dataclass
class Answers:
    """How many answers there were; a request that got none is in `lost` alone."""

    by_client: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By client and status."""
    by_worker: Counter[tuple[int, int]] = field(default_factory=Counter)
    """By process and status."""
    lost: int = 0

    def status(self, status: int) -> int:
        return sum(number for (_, found), number in self.by_client.items() if found == status)

    def allowed_to(self, client: str) -> int:
        return self.by_client[client, 200]

    @property
    def workers(self) -> set[int]:
        return {worker for worker, _ in self.by_worker}

    def add(self, client: str, answer: tuple[int, int] | None) -> None:
        if answer is None:
            self.lost += 1
            return
        worker, status = answer
        self.by_client[client, status] += 1
        self.by_worker[worker, status] += 1


class Connection:
    """A client's connection, which is opened again where the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._sent = 0

    def ask(self, path: str, client: str) -> tuple[int, int] | None:
        """Process and status of the answer; None if there was none."""
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Client: {client}\r\n\r\n".encode()
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS)
                self._sent = 0
            self._socket.sendall(head)
            status, headers = self._read()
        except OSError:
            self.close()
            return None
        self._sent += 1
        if self._sent == RECONNECT_AFTER or b"connection: close" in headers:
            self.close()
        return int(_value(headers, b"x-worker")), status

    def _read(self) -> tuple[int, bytes]:
        assert self._socket is not None
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        headers = head.lower()
        rest = int(_value(headers, b"content-length")) - len(body)
        while rest > 0:
            rest -= len(self._more())
        return int(head.split(b" ", 2)[1]), headers

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionResetError
        return data

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _value(headers: bytes, name: bytes) -> bytes:
    return headers.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def send(
    port: int,
    path: str,
    number: int,
    clients: Sequence[str] = ("one",),
    connections: int = 8,
    seen: Callable[[Answers], object] = lambda _answers: None,
) -> Answers:
    """Send `number` requests in all, the clients in turn, and return what was answered.

    Args:
        port: of the server.
        path: of each request.
        number: of requests.
        clients: values of the header `X-Client`.
        connections: how many requests are under way at once.
        seen: called after each answer, by one thread at a time.
    """
    answers, lock = Answers(), threading.Lock()
    turns = itertools.islice(itertools.cycle(clients), number)

    def run() -> None:
        with contextlib.closing(Connection(port)) as connection:
            while True:
                with lock:
                    client = next(turns, None)
                if client is None:
                    return
                answer = connection.ask(path, client)
                with lock:
                    answers.add(client, answer)
                    seen(answers)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def ask_each(port: int, path: str, workers: int, client: str = "one", seconds: float = 60.0) -> Answers:
    """Send requests until so many workers have answered one."""
    answers, deadline = Answers(), time.monotonic() + seconds
    while len(answers.workers) < workers:
        assert time.monotonic() < deadline, f"{answers.workers} of {workers} workers answer"
        found = send(port, path, 2 * workers, [client], connections=2 * workers)
        for answer, times in found.by_worker.items():
            for _ in range(times):
                answers.add(client, answer)
        answers.lost += found.lost
    return answers
