"""Memory that cached strings with a TTL take in a cache engine, by arithmetic alone.

Starting from an empty engine, `used_memory` of INFO, which `maxmemory` limits, grows by `entry_bytes` for
every entry and by `table_bytes` for their number. Both follow the layout in the engines' sources, and
tests/integration/test_cache_memory.py compares them with running engines. `MEMORY USAGE` leaves out the part
of an entry in the table of expiries, so it does not measure a key.

Redis 7.0 (object.c, sds.c, db.c, dict.c): the key's string, the object, the value's string unless it is short
enough to be inside the object, and one dictionary entry each in the tables of keys and of expiries. The
number of slots of the tables is a power of two, and at least the number of keys.

Valkey 9.1 (object.c, sds.c, hashtable.c): object, expiry and key are one piece, with the value if the whole
piece has at most 128 bytes. Entries are in buckets of 64 bytes with seven places. The number of buckets is a
power of two, and doubles when the places would be full; a bucket that overflows gets further buckets as
children. Keys fall into buckets at random, so loads have a Poisson distribution, which gives the number of
children.

Allocators:
jemalloc         as the engines are built with it, and so in their official images (deps/Makefile); sizes are
                 8 bytes apart
jemalloc-shared  the shared library of Linux distributions such as Debian; small sizes are 16 bytes apart
libc             glibc's malloc, which may give 16 bytes more than it was asked for where the remainder is too
                 small to be of use. That depends on what was freed before: an entry takes up to 7 % more than
                 this module says where the value has about 110 bytes, and hardly any more elsewhere

Other versions lay entries out in other ways: Valkey before 9.1 takes only 64 bytes as one piece.

The tables are assumed not to be growing. While a table grows, the old and the new table both exist, one and a
half times the new one together, until every old slot was moved: one with each command, more when the engine
is idle. Tables shrink only when they are almost empty, so the largest number of keys so far is what counts.
An engine near `maxmemory` does not double a table that would not fit, up to 1.618 keys a place (server.c,
HASHTABLE_MAX_LOAD_FACTOR); then it takes less than this says.
"""

from __future__ import annotations

from math import factorial
from typing import Final, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from otel_ratelimit.core.cache_assumptions import Allocator, Engine

_Sizes: TypeAlias = NDArray[np.int64]

_WORD_BYTES: Final = 8
_OBJECT_BYTES: Final = 16
_TABLES: Final = 2
"""One table of keys, and one of expiries."""

# Redis, object.h and dict.h.
_REDIS_EMBEDDED_VALUE_BYTES: Final = 44
_REDIS_DICT_ENTRY_BYTES: Final = 24
_REDIS_FEWEST_SLOTS: Final = 4

# Valkey, object.c and hashtable.c.
_VALKEY_ONE_PIECE_BYTES: Final = 128
_VALKEY_BUCKET_BYTES: Final = 64
_VALKEY_PLACES: Final = 7

_LOADS: Final = np.arange(_VALKEY_PLACES + 1, 41)
"""Numbers of keys that overflow a bucket; with an average of at most 7, more than 40 do not occur."""
_CHILDREN: Final = -(-(_LOADS - _VALKEY_PLACES) // (_VALKEY_PLACES - 1))
"""Children that a bucket with so many keys has; a bucket with a child has one place less."""
_FACTORIALS: Final = np.array([float(factorial(load)) for load in _LOADS.tolist()])


def entry_bytes(
    engine: Engine, key_bytes: int, value_bytes: NDArray[np.integer], *, allocator: Allocator = "jemalloc"
) -> NDArray[np.float64]:
    """Memory of one entry with a TTL, for each length of value, without the slots of the tables.

    Args:
        engine: the cache engine.
        key_bytes: length of the key.
        value_bytes: lengths of values; decimal integers take less than this says.
        allocator: memory allocator of the engine, see `allocator_of`.

    Raises:
        ValueError: a length is negative.
    """
    values = _counted("value_bytes", value_bytes)
    key = _string(_counted("key_bytes", np.asarray(key_bytes)))
    of_one = _redis_entry if engine == "redis" else _valkey_entry
    return of_one(key, values, allocator).astype(np.float64)


@overload
def table_bytes(engine: Engine, keys: int, *, allocator: Allocator = "jemalloc") -> float: ...
@overload
def table_bytes(
    engine: Engine, keys: NDArray[np.integer], *, allocator: Allocator = "jemalloc"
) -> NDArray[np.float64]: ...
def table_bytes(
    engine: Engine, keys: int | NDArray[np.integer], *, allocator: Allocator = "jemalloc"
) -> float | NDArray[np.float64]:
    """Memory of both tables with this number of keys that have a TTL, while no table grows.

    Raises:
        ValueError: a number is negative.
    """
    # A day has many seconds, but few different numbers of keys.
    numbers, place = np.unique(_counted("keys", np.asarray(keys)), return_inverse=True)
    of_one = _redis_table if engine == "redis" else _valkey_table
    both = np.where(numbers > 0, _TABLES * of_one(np.maximum(numbers, 1), allocator), 0.0)
    return both[place].reshape(keys.shape) if isinstance(keys, np.ndarray) else float(both[0])


def allocator_of(mem_allocator: str, malloc_stats: str) -> Allocator:
    """The allocator of an engine, from `mem_allocator` of INFO and the output of MEMORY MALLOC-STATS.

    Raises:
        ValueError: the allocator is neither jemalloc nor libc.
    """
    name = mem_allocator.partition("-")[0]
    if name == "libc":
        return "libc"
    if name == "jemalloc":
        return "jemalloc-shared" if "Quantum size: 16" in malloc_stats else "jemalloc"
    raise ValueError(f"the allocator {mem_allocator!r} is not supported; use an engine with jemalloc or libc")


def _redis_entry(key: _Sizes, values: _Sizes, allocator: Allocator) -> _Sizes:
    apart = _given(np.asarray(_OBJECT_BYTES), allocator) + _given(_string(values), allocator)
    within = _given(_OBJECT_BYTES + _short_string(values), allocator)
    value = np.where(values <= _REDIS_EMBEDDED_VALUE_BYTES, within, apart)
    entries = _TABLES * _given(np.asarray(_REDIS_DICT_ENTRY_BYTES), allocator)
    return np.asarray(_given(key, allocator) + value + entries)


def _valkey_entry(key: _Sizes, values: _Sizes, allocator: Allocator) -> _Sizes:
    header = _OBJECT_BYTES - _WORD_BYTES + 1 + key  # a value inside the piece needs no pointer
    before_expiry = header + _short_string(values)
    whole = before_expiry + _WORD_BYTES
    # SET adds the expiry afterwards, and checks the limit only if the piece has no place for it.
    has_place = (before_expiry <= _VALKEY_ONE_PIECE_BYTES) & (_given(before_expiry, allocator) >= whole)
    apart = _given(header + 2 * _WORD_BYTES, allocator) + _given(_string(values), allocator)
    return np.where((whole <= _VALKEY_ONE_PIECE_BYTES) | has_place, _given(whole, allocator), apart)


def _redis_table(keys: _Sizes, allocator: Allocator) -> NDArray[np.float64]:
    slots = np.maximum(_power_of_two(keys), _REDIS_FEWEST_SLOTS)
    return _given(slots * _WORD_BYTES, allocator).astype(np.float64)


def _valkey_table(keys: _Sizes, allocator: Allocator) -> NDArray[np.float64]:
    buckets = _power_of_two(keys // _VALKEY_PLACES + 1)
    load = (keys / buckets)[..., np.newaxis]
    share = np.exp(-load) * load**_LOADS / _FACTORIALS
    children = buckets * (share @ _CHILDREN)
    one = _given(np.asarray(_VALKEY_BUCKET_BYTES), allocator)
    return np.asarray(_given(buckets * _VALKEY_BUCKET_BYTES, allocator) + children * one)


def _string(length: _Sizes) -> _Sizes:
    """Bytes of a string of that length with its header and final NUL (sds.c: sdsReqType)."""
    header = np.select([length < 1 << 5, length < 1 << 8, length < 1 << 16], [1, 3, 5], 9)
    return np.asarray(header + length + 1)


def _short_string(length: _Sizes) -> _Sizes:
    """The same inside an object, where the header is always that for up to 255 bytes."""
    return np.asarray(3 + length + 1)


def _given(asked: _Sizes, allocator: Allocator) -> _Sizes:
    """Bytes that the allocator returns, and the engine counts, for a request of so many bytes."""
    if allocator == "libc":
        # glibc, malloc.c: chunks are multiples of 16 bytes, and malloc uses 8 bytes of each.
        return np.maximum((asked + 23) // 16 * 16 - 8, 24)
    # jemalloc(3): four size classes between one power of two and the next, but no closer than the quantum.
    quantum = 16 if allocator == "jemalloc-shared" else 8
    spacing = np.maximum(_power_of_two(asked) // 8, quantum)
    return np.asarray(-(-asked // spacing) * spacing)


def _power_of_two(least: _Sizes) -> _Sizes:
    """The lowest power of two that is not below `least`."""
    _, exponents = np.frexp(np.asarray(least - 1, dtype=np.float64))
    return np.left_shift(np.int64(1), exponents.astype(np.int64))


def _counted(what: str, numbers: NDArray[np.integer]) -> _Sizes:
    if np.any(numbers < 0):
        raise ValueError(f"{what} has {np.min(numbers)}; it must be 0 or more")
    return numbers.astype(np.int64)
