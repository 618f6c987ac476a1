"""The same numbers as `limits`' own memory store, through `limits`' own strategies, at the same moments.

Moments at which a unit is exactly one window old are left out: there the two differ on purpose.
"""

from types import SimpleNamespace

import limits.storage.memory
import limits.strategies
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import STRATEGIES

from otel_ratelimit.core.errors import SettingsError, StorageUnavailableError
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage

EVERY_STRATEGY = pytest.mark.parametrize("name", sorted(STRATEGIES))
START = 1_700_000_000.1


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def clock():
    """One clock for both stores and the strategies; the peer's timer threads stay asleep."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.storage.memory, "time", SimpleNamespace(time=clock))
        patch.setattr(limits.strategies, "time", SimpleNamespace(time=clock))
        patch.setattr(MemoryStorage, "_MemoryStorage__schedule_expiry", lambda _self: None)
        yield clock


ITEMS = [RateLimitItemPerMinute(3), RateLimitItemPerSecond(2, 20)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hit", "hit", "hit", "test", "stats", "clear"]),
        st.sampled_from(ITEMS),
        st.sampled_from(["a", "\ud800" * 300]),
        st.sampled_from([1, 1, 2, 3]),
        st.one_of(st.just(0.0), st.floats(0.01, 40.0).map(lambda seconds: seconds + 0.000_123)),
    ),
    min_size=10,
    max_size=40,
)


@pytest.mark.untraced
@EVERY_STRATEGY
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
def test_every_answer_equals_that_of_limits_memory_store(name, clock, steps):
    clock.now = START
    theirs = STRATEGIES[name](MemoryStorage())
    ours = STRATEGIES[name](BoundedMemoryStorage(clock=clock))
    for step, item, who, cost, pause in steps:
        clock.now += pause
        if step == "stats":
            expected, found = theirs.get_window_stats(item, who), ours.get_window_stats(item, who)
            assert found.remaining == expected.remaining
            if name == "moving-window" and found.remaining == item.amount:
                continue  # of an empty window theirs reports a unit that has long expired
            assert found.reset_time == pytest.approx(expected.reset_time, abs=1e-5)
        elif step == "clear":
            theirs.clear(item, who)
            ours.clear(item, who)
        else:
            expected = getattr(theirs, step)(item, who, cost=cost)
            assert getattr(ours, step)(item, who, cost=cost) == expected


@pytest.mark.parametrize("who", ["a", "b/c", "x" * 1_000_000, "\0", "\0😀", "\ud800"])
@EVERY_STRATEGY
def test_a_window_starts_again_for_keys_of_any_length_and_content(name, who, clock):
    clock.now = START
    strategy = STRATEGIES[name](BoundedMemoryStorage(clock=clock))
    item = RateLimitItemPerMinute(2)

    first = [strategy.hit(item, who) for _ in range(3)]
    clock.now += 120
    second = [strategy.hit(item, who) for _ in range(3)]

    assert first == second == [True, True, False]


@EVERY_STRATEGY
def test_a_cost_above_the_limit_is_refused_by_both(name, clock):
    clock.now = START
    item = RateLimitItemPerMinute(5)

    for storage in (MemoryStorage(), BoundedMemoryStorage(clock=clock)):
        assert STRATEGIES[name](storage).hit(item, "a", cost=6) is False


@EVERY_STRATEGY
def test_a_hit_that_costs_nothing_counts_nothing(name):
    storage = BoundedMemoryStorage()
    strategy = STRATEGIES[name](storage)

    assert strategy.hit(RateLimitItemPerMinute(5), "a", cost=0)
    assert storage.snapshot().keys == 0


def test_a_negative_amount_gives_units_back_but_never_more_than_were_taken():
    storage = BoundedMemoryStorage()
    storage.incr("k", 60, 5)

    assert storage.incr("k", 60, -2) == 3
    assert storage.incr("k", 60, -9) == 0
    assert storage.incr("k", 60) == 1
    assert storage.incr("unknown", 60, -1) == 0
    assert storage.acquire_entry("m", 5, 60, -1)
    assert storage.acquire_sliding_window_entry("s", 5, 60, -1)
    assert storage.get_moving_window("m", 5, 60)[1] == 0
    assert storage.get_sliding_window("s", 60)[2] == 0


def test_fixed_windows_of_different_lengths_expire_each_at_its_time():
    clock = Clock()
    storage = BoundedMemoryStorage(clock=clock)
    storage.incr("short", 1)
    storage.incr("long", 3600)
    clock.now += 1

    storage.sweeper.sweep()

    assert storage.get("short") == 0
    assert storage.get_expiry("short") == clock.now
    assert storage.get("long") == 1
    assert storage.get_expiry("long") == START + 3600


def test_reset_forgets_everything_and_says_how_much():
    storage = BoundedMemoryStorage()
    storage.incr("a", 60)
    storage.acquire_entry("b", 5, 60)
    storage.acquire_sliding_window_entry("c", 5, 60)

    assert storage.reset() == 3

    assert storage.get("a") == 0
    assert storage.snapshot().keys == 0
    assert storage.snapshot().size_bytes == 0
    assert storage.incr("a", 60) == 1


def test_counters_of_limits_are_reported_as_flask_limiters():
    storage = BoundedMemoryStorage()
    storage.incr("a", 60)
    storage.acquire_entry("b", 5, 60)

    assert storage.snapshot().by_endpoint == {"(flask-limiter)": 2}
    assert storage.snapshot().by_client_kind == {"other": 2}
    assert storage.check()


@EVERY_STRATEGY
def test_a_full_store_counts_new_keys_in_a_bucket_per_limit(name):
    storage = BoundedMemoryStorage(capacity="1MB")
    strategy = STRATEGIES[name](storage)
    mine, other = RateLimitItemPerMinute(3, 5), RateLimitItemPerMinute(2, 5)
    told = []
    storage.on_overflow(told.append)
    for _ in range(3):
        strategy.hit(mine, "a live counter")
    n = 0
    while not told:
        strategy.hit(mine, f"flood {n}")
        n += 1

    shared = [strategy.hit(mine, f"new {n}") for n in range(4)]
    others = [strategy.hit(other, f"new {n}") for n in range(4)]

    assert not strategy.hit(mine, "a live counter")
    assert shared == [True, True, False, False]
    assert others == [True, True, False, False]
    assert strategy.get_window_stats(mine, "yet another").remaining == 0
    assert set(told) == {"3/5/minute", "2/5/minute"}
    assert storage.snapshot().overflows == 9


def test_the_scheme_takes_its_options_from_the_uri_and_from_arguments():
    storage = storage_from_string("bounded-memory://?capacity=2MB&cleanup_interval=7")
    by_argument = storage_from_string("bounded-memory://", capacity="3MB", cleanup_interval=5)

    assert isinstance(storage, BoundedMemoryStorage)
    assert storage.snapshot().capacity_bytes == 2_000_000
    assert storage.sweeper.interval == 7.0
    assert by_argument.snapshot().capacity_bytes == 3_000_000
    assert by_argument.sweeper.interval == 5.0
    assert storage_from_string("bounded-memory://").snapshot().capacity_bytes == 50_000_000


@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        ("bounded-memory://?capasity=2MB", {}, "unknown option 'capasity'; known are capacity and cleanup"),
        ("bounded-memory://", {"size": 3}, "unknown option 'size'"),
        ("bounded-memory://localhost", {}, "names a host or a path"),
        ("bounded-memory://?capacity=much", {}, "'much' is not a size"),
        ("bounded-memory://?cleanup_interval=never", {}, "not a positive number of seconds"),
    ],
)
def test_an_option_that_is_wrong_is_refused_in_plain_words(uri, options, message):
    with pytest.raises(SettingsError, match=message):
        storage_from_string(uri, **options)


@pytest.mark.parametrize("method", ["incr", "acquire_entry", "acquire_sliding_window_entry"])
@pytest.mark.parametrize("wrap", [False, True])
def test_a_store_too_full_for_a_table_raises_what_the_caller_asked_for(method, wrap):
    storage = BoundedMemoryStorage(wrap_exceptions=wrap)
    storage.counters.budget.used = storage.counters.budget.capacity

    with pytest.raises(limits.errors.StorageError if wrap else StorageUnavailableError):
        getattr(storage, method)("key", 5, 60)
