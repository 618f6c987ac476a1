"""A connection to an engine, fast enough for whole workloads: it sends many commands at a time, as bytes."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis

_READ_BYTES = 1 << 16


class Pipelined:
    """One connection, which the caller closes. An error reply is raised."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def replies(self, commands: list[bytes]) -> list[Any]:
        """The replies to all commands, in order."""
        self._socket.sendall(b"".join(commands))
        found: list[Any] = []
        while len(found) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                received = self._socket.recv(_READ_BYTES)
                if not received:
                    raise ConnectionError(f"closed after {len(found)} of {len(commands)} replies")
                self._reader.feed(received)
            elif isinstance(reply, hiredis.HiredisError):
                raise reply
            else:
                found.append(reply)
        return found

    def reply(self, *words: str | bytes | float) -> Any:
        """The reply to one command."""
        [found] = self.replies([command(*words)])
        return found

    def used_memory(self) -> int:
        """`used_memory` of INFO, bytes."""
        return int(self.info("memory")["used_memory"])

    def info(self, section: str) -> dict[str, str]:
        """The values of a section of INFO, by name."""
        lines = self.reply("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def command(*words: str | bytes | float) -> bytes:
    """The bytes of a command in the engines' protocol (RESP)."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        text = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(text), text))
    return b"".join(parts)
