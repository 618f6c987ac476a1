"""Heads of zones for tests of the memory alone: a version, and how often it was prepared."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable

SIZE = 64 * 1024
_HEAD = struct.Struct("<8sQ")
COUNTER = 64
"""Where tests count, behind the head."""


def prepare_as(version: bytes) -> Callable[[mmap.mmap], None]:
    def prepare(memory: mmap.mmap) -> None:
        _, times = _HEAD.unpack_from(memory)
        _HEAD.pack_into(memory, 0, version, times + 1)

    return prepare


def check_for(version: bytes) -> Callable[[mmap.mmap], str]:
    def check(memory: mmap.mmap) -> str:
        found, times = _HEAD.unpack_from(memory)
        if times != 1:
            return f"it was prepared {times} times"
        found = found.rstrip(b"\0")
        return (
            "" if found == version else f"it has version {found.decode()}, and {version.decode()} is needed"
        )

    return check


prepare, check = prepare_as(b"1"), check_for(b"1")


def add_one(memory: mmap.mmap) -> int:
    """Only for processes that take turns."""
    memory[COUNTER] += 1
    return memory[COUNTER]
