"""What cached strings with a TTL take in a cache engine, by arithmetic alone.

From an empty engine on, `used_memory` of INFO, which is what `maxmemory` bounds, grows by `entry_bytes` of
every entry and `table_bytes` of their number. Both follow the layout in the engines' sources and are held
against running engines in tests/integration/test_cache_memory.py. `MEMORY USAGE` leaves out what belongs to
an entry in the table of expiries, so it is no measure of a key.

Redis 7.0 (object.c, sds.c, db.c, dict.c): the key's string, the object, the value's string unless it is so
short that it lies in the object, and one dictionary entry each in the tables of keys and of expiries. The
tables have a power of two of slots, at least as many as keys.

Valkey 9.1 (object.c, sds.c, hashtable.c): object, expiry and key are one piece, the value as well if all
of it is at most 128 bytes. Entries lie in buckets of 64 bytes with seven places; there is a power of two of
buckets, doubled when their places would be full, and a bucket that overflows gets further ones as children.
How many do follows from keys' falling into buckets at random: loads have a Poisson distribution.

Allocators:
jemalloc         as the engines are built with it, and so in their official images (deps/Makefile); sizes are
                 8 bytes apart
jemalloc-shared  the shared library of Linux distributions such as Debian; small sizes are 16 bytes apart
libc             glibc's malloc, which may give 16 bytes more than it was asked for where the remainder is too
                 small to be of use. That depends on what was freed before: an entry takes up to 7 % more than
                 this module says where the value has about 110 bytes, and hardly any more elsewhere

Other versions lay entries out in other ways: Valkey before 9.1 takes only 64 bytes as one piece.

Assumed of the tables: that they have settled. While one grows, the old and the new one both exist, half as
much again as the new one, until each old slot was moved: one by each command, more when the engine is idle.
They shrink only when almost empty, so what counts is the largest number of keys there was. And an engine
near `maxmemory` does not double a table that would not fit, up to 1.618 keys a place (server.c,
HASHTABLE_MAX_LOAD_FACTOR); it then takes less than this says.
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
"""One of keys, one of expiries."""

# Of Redis, in object.h and dict.h.
_REDIS_EMBEDDED_VALUE_BYTES: Final = 44
_REDIS_DICT_ENTRY_BYTES: Final = 24
_REDIS_FEWEST_SLOTS: Final = 4

# Of Valkey, in object.c and hashtable.c.
_VALKEY_ONE_PIECE_BYTES: Final = 128
_VALKEY_BUCKET_BYTES: Final = 64
_VALKEY_PLACES: Final = 7

_LOADS: Final = np.arange(_VALKEY_PLACES + 1, 41)
"""Keys of one bucket that are too many for it; more than 40 do not occur where 7 are the most on average."""
_CHILDREN: Final = -(-(_LOADS - _VALKEY_PLACES) // (_VALKEY_PLACES - 1))
"""Further buckets that each takes: a bucket with a child has one place less."""
_FACTORIALS: Final = np.array([float(factorial(load)) for load in _LOADS.tolist()])


def entry_bytes(
    engine: Engine, key_bytes: int, value_bytes: NDArray[np.integer], *, allocator: Allocator = "jemalloc"
) -> NDArray[np.float64]:
    """Memory of one entry with a TTL, for each length of value; the tables' slots are not in it.

    Args:
        engine: which one.
        key_bytes: length of the key.
        value_bytes: lengths of values that are not integers in decimal, which take less.
        allocator: what the engine takes its memory from, see `allocator_of`.

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
    """Memory of the two tables with this number of keys, each with a TTL, when no growth is under way.

    Raises:
        ValueError: a number is negative.
    """
    # A day has many seconds and few different numbers.
    numbers, place = np.unique(_counted("keys", np.asarray(keys)), return_inverse=True)
    of_one = _redis_table if engine == "redis" else _valkey_table
    both = np.where(numbers > 0, _TABLES * of_one(np.maximum(numbers, 1), allocator), 0.0)
    return both[place].reshape(keys.shape) if isinstance(keys, np.ndarray) else float(both[0])


def allocator_of(mem_allocator: str, malloc_stats: str) -> Allocator:
    """The allocator of an engine, by `mem_allocator` of INFO and what MEMORY MALLOC-STATS says.

    Raises:
        ValueError: it is one that is not known here.
    """
    name = mem_allocator.partition("-")[0]
    if name == "libc":
        return "libc"
    if name == "jemalloc":
        return "jemalloc-shared" if "Quantum size: 16" in malloc_stats else "jemalloc"
    raise ValueError(f"the allocator {mem_allocator!r}; sizes are known of jemalloc and libc")


def _redis_entry(key: _Sizes, values: _Sizes, allocator: Allocator) -> _Sizes:
    apart = _given(np.asarray(_OBJECT_BYTES), allocator) + _given(_string(values), allocator)
    within = _given(_OBJECT_BYTES + _short_string(values), allocator)
    value = np.where(values <= _REDIS_EMBEDDED_VALUE_BYTES, within, apart)
    entries = _TABLES * _given(np.asarray(_REDIS_DICT_ENTRY_BYTES), allocator)
    return np.asarray(_given(key, allocator) + value + entries)


def _valkey_entry(key: _Sizes, values: _Sizes, allocator: Allocator) -> _Sizes:
    header = _OBJECT_BYTES - _WORD_BYTES + 1 + key  # a value within needs no pointer
    before_expiry = header + _short_string(values)
    whole = before_expiry + _WORD_BYTES
    # SET adds the expiry afterwards, and looks at the limit only if the piece has no place for it.
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
    """A string of that length with its header and final NUL (sds.c: sdsReqType)."""
    header = np.select([length < 1 << 5, length < 1 << 8, length < 1 << 16], [1, 3, 5], 9)
    return np.asarray(header + length + 1)


def _short_string(length: _Sizes) -> _Sizes:
    """The same within an object, where the header is always that of up to 255 bytes."""
    return np.asarray(3 + length + 1)


def _given(asked: _Sizes, allocator: Allocator) -> _Sizes:
    """Bytes that the allocator gives, and the engine counts, for so many asked for."""
    if allocator == "libc":
        # glibc, malloc.c: chunks are multiples of 16, and 8 bytes of each are its own.
        return np.maximum((asked + 23) // 16 * 16 - 8, 24)
    # jemalloc(3), size classes: four between one power of two and the next, as far as the quantum allows.
    quantum = 16 if allocator == "jemalloc-shared" else 8
    spacing = np.maximum(_power_of_two(asked) // 8, quantum)
    return np.asarray(-(-asked // spacing) * spacing)


def _power_of_two(least: _Sizes) -> _Sizes:
    """The lowest that is not below."""
    _, exponents = np.frexp(np.asarray(least - 1, dtype=np.float64))
    return np.left_shift(np.int64(1), exponents.astype(np.int64))


def _counted(what: str, numbers: NDArray[np.integer]) -> _Sizes:
    if np.any(numbers < 0):
        raise ValueError(f"{what} has {np.min(numbers)}; lengths and numbers are 0 or more")
    return numbers.astype(np.int64)
