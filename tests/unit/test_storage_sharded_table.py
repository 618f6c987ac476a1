import gc
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ratelimit.storage.counter_keys import CLIENT_KEYS, KINDS, TEXT_KEYS, CounterKeys
from otel_ratelimit.storage.memory_budget import MemoryBudget
from otel_ratelimit.storage.sharded_table import MAX_SHARD_KEYS, Accounts, ShardedTable
from otel_ratelimit.storage.strategies import FIXED_WINDOW, MOVING_WINDOW, SLIDING_WINDOW_COUNTER

keys = CounterKeys(b"secret")


def new_table(rules=FIXED_WINDOW, form=CLIENT_KEYS):
    return ShardedTable(
        "app|users|60|fixed-window|", rules, form, 60, Accounts(MemoryBudget(50_000_000), [0] * KINDS)
    )


@settings(max_examples=40)
@given(
    rules=st.sampled_from([FIXED_WINDOW, SLIDING_WINDOW_COUNTER, MOVING_WINDOW]),
    form=st.sampled_from([CLIENT_KEYS, TEXT_KEYS]),
    steps=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2999)), max_size=30),
)
def test_the_ledger_holds_what_the_table_weighs_whatever_is_done_to_it(rules, form, steps):
    table = new_table(rules, form)
    make = keys.of_client if form is CLIENT_KEYS else keys.of_text
    now = 1000.0
    for kind, n in steps:
        now += 1
        if kind == 0:
            for i in range(n):
                table.put(make(f"i{i:032x}"), rules.add(None, 60, 1, now))
        elif kind == 1:
            key = make(f"i{n:032x}")
            table.put(key, rules.add(table.get(key), 60, 1 + n % 7, now))
        elif kind == 2:
            table.remove(make(f"i{n:032x}"))
        elif kind == 3:
            for index in list(table.depths):
                table.sweep(index, now + n)
        else:
            table.shrink()
        assert table.budget.used == table.weigh()
        assert table.keys == sum(len(table.shards[index]) for index in table.depths) == sum(table.kinds)


def test_nothing_is_lost_when_shards_split_and_none_grows_beyond_its_bound():
    table = new_table()
    for n in range(50_000):
        table.put(keys.of_client(f"u{n:032x}"), complex(n, 1))

    assert all(table.get(keys.of_client(f"u{n:032x}")) == complex(n, 1) for n in range(50_000))
    assert max(len(table.shards[index]) for index in table.depths) <= MAX_SHARD_KEYS


def test_no_single_insertion_costs_more_than_the_table_foretold():
    for form, make in ((CLIENT_KEYS, keys.of_client), (TEXT_KEYS, keys.of_text)):
        table = new_table(form=form)
        for n in range(60_000):
            before, foretold = table.budget.used, table.growth
            table.put(make(f"i{random.Random(n).getrandbits(128):032x}"), 1j)
            assert table.budget.used - before <= foretold


def test_keys_that_all_lead_to_one_shard_do_not_blow_up_the_directory():
    table = new_table()
    for n in range(5_000):
        table.put(keys.of_client(f"i{n:012x}".ljust(33, "0")), 1j)

    assert table.keys == 5_000
    assert len(table.shards) <= 128
    assert table.budget.used == table.weigh()


def test_a_shard_that_has_become_sparse_is_packed_and_the_ledger_says_so():
    table = new_table()
    for n in range(MAX_SHARD_KEYS):
        table.put(n, complex(2001.0 if n else 2050.0, 1))
    full = table.shards[0].__sizeof__()

    assert table.sweep(0, 2001.0) == (MAX_SHARD_KEYS - 1, True)

    assert table.shards[0].__sizeof__() < full / 10
    assert table.budget.used == table.weigh()
    assert table.get(0) == complex(2050.0, 1)


def test_an_empty_table_takes_no_more_than_a_new_one():
    table = new_table()
    fresh = table.weigh()
    for n in range(20_000):
        table.put(keys.of_client(f"u{n:032x}"), complex(1000.0, 1))
    for index in list(table.depths):
        table.sweep(index, 2000.0)

    table.shrink()

    assert table.weigh() == fresh == table.budget.used


def test_the_garbage_collector_need_not_visit_the_counters():
    for rules in (FIXED_WINDOW, SLIDING_WINDOW_COUNTER, MOVING_WINDOW):
        table = new_table(rules)
        for n in range(2000):
            table.put(keys.of_client(f"u{n:032x}"), rules.add(None, 60, 1, 1000.0))

        assert not any(gc.is_tracked(shard) for shard in table.shards.values())


def test_an_endpoint_is_the_scope_up_to_the_first_colon_decoded():
    def endpoint(name):
        return ShardedTable(
            name, FIXED_WINDOW, CLIENT_KEYS, 60, Accounts(MemoryBudget(10**6), [0] * KINDS)
        ).endpoint

    assert endpoint("app|users.list|60|fixed-window|") == "users.list"
    assert endpoint("app|users.list:GET|60|fixed-window|") == "users.list"
    assert endpoint("app|a%7Cb%3Ac:x|60|fixed-window|") == "a|b:c"
    assert endpoint("app|:unmatched|60|fixed-window|") == ":unmatched"
    assert endpoint("free text") == "free text"
