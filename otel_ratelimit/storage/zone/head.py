"""The head of a zone: what it is, and its figures.

A zone is used only if its fingerprint is ours: made by the same layout, on the same platform, with the same
kind of lock.
"""

from __future__ import annotations

import hashlib
import platform
import secrets
import sys
from mmap import mmap
from typing import Final

from otel_ratelimit.storage.zone.layout import VERSION, WORD_BYTES, Layout
from otel_ratelimit.storage.zone.lock import LockKind

MAGIC: Final = b"otelrlzn"
_FINGERPRINT_AT: Final = 8
_FINGERPRINT_BYTES: Final = 32
_SIZE_AT: Final = 40
_SECRET_AT: Final = 48
_SECRET_BYTES: Final = 32
CREATED_AT: Final = 80
IDENTITY_AT: Final = 88
LOCK_AT: Final = 128

# Figures; every one is a word.
USED_AT: Final = 256
"""Slots in use, expired ones included until they are removed."""
OVERFLOW_USED_AT: Final = 264
"""The same of the overflow buckets."""
OVERFLOWS_AT: Final = 272
"""Hits that were counted in an overflow bucket."""
RECOVERIES_AT: Final = 280
"""How many times a process died while it held the lock."""
TABLES_AT: Final = 288
"""Entries of the part `tables` that were ever in use."""
HAND_AT: Final = 296
"""The next page that a full zone is searched in for expired counters."""
LAST_SWEEP_AT: Final = 304
"""When the last sweep began: Unix time in microseconds."""
REPORTER_AT: Final = 312
"""The row (plus 1) of the process that reports the zone's gauges."""
REPORTED_AT: Final = 320
"""When it did so last: Unix time in microseconds."""
SWEEPS_AT: Final = 328
"""How many sweeps there were."""
REMOVED_AT: Final = 336
"""Expired counters that they removed."""
FREED_AT: Final = 344
"""Bytes that they freed."""
RECLAIMED_AT: Final = 352
"""When the last search of a full zone began: Unix time in microseconds."""
SWEPT_AT: Final = 360
"""When the last sweep ended: Unix time in microseconds."""
SWEEP_MICROSECONDS_AT: Final = 368
"""How long the last sweep took."""
LONGEST_PAUSE_AT: Final = 376
"""The longest time for which a step of a sweep held up requests: microseconds."""
KINDS_AT: Final = 512
"""Counters of each kind of client."""


def fingerprint(size: int, lock: LockKind) -> bytes:
    """32 bytes that differ for zones of another form."""
    parts = (
        VERSION,
        size,
        lock,
        sys.byteorder,
        platform.machine(),
        platform.system(),
        platform.libc_ver()[0],
    )
    return hashlib.blake2s(repr(parts).encode()).digest()


def write_head(memory: mmap, layout: Layout, lock: LockKind, now: float) -> None:
    """Make an empty zone of zeroed memory; the lock is made by its own class."""
    memory[_FINGERPRINT_AT : _FINGERPRINT_AT + _FINGERPRINT_BYTES] = fingerprint(layout.size, lock)
    memory[_SIZE_AT : _SIZE_AT + WORD_BYTES] = layout.size.to_bytes(WORD_BYTES, sys.byteorder)
    memory[_SECRET_AT : _SECRET_AT + _SECRET_BYTES] = secrets.token_bytes(_SECRET_BYTES)
    memory[CREATED_AT : CREATED_AT + WORD_BYTES] = int(now * 1e6).to_bytes(WORD_BYTES, sys.byteorder)
    memory[IDENTITY_AT : IDENTITY_AT + WORD_BYTES] = secrets.token_bytes(WORD_BYTES)
    memory[: len(MAGIC)] = MAGIC


def unusable(memory: mmap, size: int, lock: LockKind) -> str:
    """Why the zone in `memory` cannot be used; empty if it can."""
    if memory[: len(MAGIC)] != MAGIC:
        return "it is not a zone of otel-ratelimit"
    if memory[_FINGERPRINT_AT : _FINGERPRINT_AT + _FINGERPRINT_BYTES] == fingerprint(size, lock):
        return ""
    found = int.from_bytes(memory[_SIZE_AT : _SIZE_AT + WORD_BYTES], sys.byteorder)
    if found != size:
        return f"it is a zone of {found} bytes, not of {size}"
    return "it was made by another version of otel-ratelimit, or on another platform"


def secret_of(memory: mmap) -> bytes:
    """The zone's secret, which all its processes use for keyed hashes."""
    return bytes(memory[_SECRET_AT : _SECRET_AT + _SECRET_BYTES])


def identity_of(memory: mmap) -> str:
    """A random name of the zone, by which its gauges are told from those of other zones."""
    return bytes(memory[IDENTITY_AT : IDENTITY_AT + WORD_BYTES]).hex()
