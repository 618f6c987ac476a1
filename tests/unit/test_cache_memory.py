"""Sizes that can be added up by hand from the engines' structures."""

from __future__ import annotations

import numpy as np
import pytest

from otel_ratelimit.cache_advice.entry_memory import allocator_of, entry_bytes, table_bytes


def of_one(engine, key, value, allocator="jemalloc"):
    [size] = entry_bytes(engine, key, np.array([value]), allocator=allocator)
    return size


def test_a_redis_entry_is_key_object_value_and_two_dictionary_entries():
    # 1+24+1 in 32; 16; 3+100+1 in 112; 24 each
    assert of_one("redis", 24, 100) == 32 + 16 + 112 + 2 * 24


def test_a_short_value_lies_within_the_redis_object():
    assert of_one("redis", 24, 44) == 32 + 64 + 2 * 24  # 16+3+44+1
    assert of_one("redis", 24, 45) == 32 + 16 + 56 + 2 * 24  # 3+45+1


def test_distributions_have_coarser_small_sizes():
    assert of_one("redis", 24, 45, "jemalloc-shared") == 32 + 16 + 64 + 2 * 32


def test_a_valkey_entry_that_fits_in_128_bytes_is_one_piece():
    # object without pointer, expiry, key with the length of its header, value
    assert of_one("valkey", 24, 81) == 128 == 8 + 8 + (1 + 26) + (3 + 81 + 1)
    # object, expiry, key in 56; 3+82+1 in 96
    assert of_one("valkey", 24, 82) == 56 + 96


def test_glibc_keeps_8_bytes_of_every_16_byte_chunk():
    assert of_one("valkey", 24, 500, "libc") == 56 + 520  # 51 and 5+500+1


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (252, 256),  # 3+252+1
        (253, 320),
        (256, 320),  # 5+256+1
        (1018, 1024),
        (1019, 1280),
        (65_530, 65_536),
        (65_531, 81_920),
        (81_910, 81_920),  # 9+81,910+1
        (81_911, 98_304),
    ],
)
def test_sizes_step_where_header_and_size_class_say(value, given):
    assert of_one("redis", 24, value) == 32 + 16 + given + 2 * 24


def test_redis_tables_double_when_there_are_more_keys_than_slots():
    assert table_bytes("redis", np.array([0, 1, 4, 5, 8, 9, 65_536, 65_537])).tolist() == [
        2 * 8 * slots for slots in (0, 4, 4, 8, 8, 16, 65_536, 131_072)
    ]


def test_valkey_tables_double_when_their_places_are_full():
    few, full, doubled = table_bytes("valkey", np.array([7 * 2**9, 7 * 2**10 - 1, 7 * 2**10]))
    assert 2 * 64 * 2**10 < few < full < doubled
    # Less than half of full buckets have a child, hardly any of those that are half full.
    assert 1.35 < full / (2 * 64 * 2**10) < 1.45
    assert 1.0 < doubled / (2 * 64 * 2**11) < 1.04


def test_children_are_as_many_as_when_keys_are_thrown_at_random():
    buckets, keys = 2**12, 25_000
    loads = np.bincount(np.random.default_rng(1).integers(0, buckets, keys), minlength=buckets)
    children = np.ceil(np.maximum(loads - 7, 0) / 6).sum()
    assert table_bytes("valkey", keys) == pytest.approx(2 * 64 * (buckets + children), rel=0.01)


@pytest.mark.parametrize("engine", ["redis", "valkey"])
def test_one_number_of_keys_gives_one_size(engine):
    one = table_bytes(engine, 1000)
    assert isinstance(one, float)
    assert one == table_bytes(engine, np.array([1000]))[0]
    assert table_bytes(engine, 0) == 0


def test_nothing_is_negative():
    with pytest.raises(ValueError, match="value_bytes has -1"):
        entry_bytes("redis", 24, np.array([5, -1]))
    with pytest.raises(ValueError, match="key_bytes has -2"):
        entry_bytes("redis", -2, np.array([5]))
    with pytest.raises(ValueError, match="keys has -3"):
        table_bytes("redis", -3)


def test_allocators_are_told_apart_by_what_the_engine_says():
    assert allocator_of("jemalloc-5.3.0", "Page size: 4096\nQuantum size: 16\n") == "jemalloc-shared"
    assert allocator_of("jemalloc-5.3.0", "Page size: 4096\nQuantum size: 8\n") == "jemalloc"
    assert allocator_of("libc", "") == "libc"
    with pytest.raises(ValueError, match=r"tcmalloc-2\.9"):
        allocator_of("tcmalloc-2.9", "")
