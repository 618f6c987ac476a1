"""A process that is killed at one of its writes into a zone, each of which is 8 bytes."""

from __future__ import annotations

import itertools
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from otel_ratelimit.storage.zone import journal as journal_module
from otel_ratelimit.storage.zone.journal import _SLOT_ENTRY, SLOT
from otel_ratelimit.storage.zone.store import ZoneStore

_FINISHED = 0


class _Writes:
    """The writes of this process, which is killed when `left` of them have been made."""

    def __init__(self, memory: Any, left: int) -> None:
        self.memory = memory
        self.left = left

    def write(self, at: int, data: bytes) -> None:
        for first in range(0, len(data), 8):
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            word = data[first : first + 8]
            self.memory[at + first : at + first + len(word)] = word

    def packing(self, form: struct.Struct) -> Callable[..., None]:
        """`form.pack_into`, word by word."""
        return lambda _memory, at, *values: self.write(at, form.pack(*values))


class _Counted:
    """The zone as words, floats or bytes."""

    def __init__(self, view: Any, writes: _Writes, format_: str) -> None:
        self._view, self._writes, self._format = view, writes, format_

    def __getitem__(self, index: Any) -> Any:
        return self._view[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self._writes.write(index.start, bytes(value))
        else:
            self._writes.write(index << 3, struct.pack(self._format, value))


def kill_after(counters: ZoneStore, writes: int) -> None:
    """From now on this process is killed instead of making more than so many writes into the zone."""
    zone = counters.zone
    counted = _Writes(zone.memory, writes)
    words = _Counted(zone.words, counted, "@Q")
    zone.words = counters._words = zone.journal._words = zone.tables._words = zone.holder._words = words
    zone.tables._times = _Counted(zone.times, counted, "@d")
    zone.tables._memory = _Counted(zone.memory, counted, "")
    zone.journal._write_entry = counted.packing(_SLOT_ENTRY)
    zone.journal.write_slot = counted.packing(SLOT)
    journal_module._WORD_ENTRIES = tuple(
        SimpleNamespace(pack_into=counted.packing(form), unpack_from=form.unpack_from)
        for form in journal_module._WORD_ENTRIES
    )


def deaths(counters: ZoneStore, operation: Callable[[], object]) -> Any:
    """Has a child do `operation` and die at the first write, at the second, and so on until none is left.

    Yields after each death; the zone is then put back to what it was before.
    """
    memory = counters.zone.memory
    before = memory[:]
    for writes in itertools.count():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                kill_after(counters, writes)
                operation()
                status = _FINISHED
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in {_FINISHED, -signal.SIGKILL}
        if status == _FINISHED:
            assert writes, "the operation writes nothing"
            return
        yield writes
        memory[:] = before
