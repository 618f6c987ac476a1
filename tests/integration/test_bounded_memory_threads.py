"""To the unit, whatever the threads do to each other."""

import sys
import threading
import time

import pytest
from limits import RateLimitItemPerDay, RateLimitItemPerSecond
from limits.strategies import STRATEGIES
from variants import quick_first

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage

THREADS = 16
CLIENT = "i" + 32 * "a"


@pytest.fixture
def interrupting_often():
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def allowed_by_all(hits, hit):
    """How many of 16 times `hits` calls of `hit` were allowed."""
    allowed = []
    start = threading.Barrier(THREADS)

    def run():
        start.wait()
        allowed.append(sum(hit() for _ in range(hits)))

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == THREADS
    return sum(allowed)


def window(amount, seconds, strategy, *, shadow=False):
    return Window(f"a|ep|{seconds}|{strategy}|", amount, seconds, strategy, shadow, "", "")


often = pytest.mark.usefixtures("interrupting_often")


@pytest.mark.untraced
@often
@pytest.mark.parametrize("strategy", quick_first(Strategy))
def test_16_threads_are_allowed_exactly_the_limit(strategy):
    counters = BoundedMemoryStorage().counters
    windows = [window(20_000, 86_400, strategy), window(30_000, 3 * 86_400, strategy)]

    allowed = allowed_by_all(4_000, lambda: counters.take(windows, CLIENT, 1, 1_700_000_000.0).allowed)

    assert allowed == 20_000
    assert [s.used for s in counters.peek(windows, CLIENT, 0, 1_700_000_000.0).states] == [20_000, 20_000]


@pytest.mark.full
@pytest.mark.untraced
def test_16_threads_of_100_000_hits_are_allowed_exactly_the_limit():
    counters = BoundedMemoryStorage().counters
    windows = [window(1_234_567, 86_400, Strategy.FIXED_WINDOW)]

    allowed = allowed_by_all(100_000, lambda: counters.take(windows, CLIENT, 1, 1_700_000_000.0).allowed)

    assert allowed == 1_234_567


@often
@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_16_threads_are_allowed_exactly_the_limit_through_limits(name):
    strategy = STRATEGIES[name](BoundedMemoryStorage(clock=lambda: 1_700_000_000.0))
    item = RateLimitItemPerDay(10_000)

    assert allowed_by_all(2_000, lambda: strategy.hit(item, "a", "b")) == 10_000


@often
@pytest.mark.parametrize("name", quick_first(["moving-window", "fixed-window"]))
def test_no_window_of_a_second_lets_more_through_while_counters_expire_and_are_swept(name):
    storage = BoundedMemoryStorage(cleanup_interval=0.01)
    strategy = STRATEGIES[name](storage)
    item = RateLimitItemPerSecond(50)
    moments = []
    deadline = time.monotonic() + 2.2

    def run():
        while time.monotonic() < deadline:
            if strategy.hit(item, "a"):
                moments.append(time.time())

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Three windows at least have begun in 2.2 s, and four at most.
    assert 150 <= len(moments) <= 200
    assert storage.sweeper.last is not None


@often
def test_threads_that_add_and_remove_keys_leave_an_exact_sum():
    now = [1_700_000_000.0]
    storage = BoundedMemoryStorage(capacity="2MB", clock=lambda: now[0])
    counters = storage.counters
    windows = [window(5, 1, Strategy.FIXED_WINDOW), window(9, 2, Strategy.MOVING_WINDOW)]
    numbers = iter(range(10**9))

    def hit():
        n = next(numbers)
        if n % 2000 == 0:
            now[0] += 1
            storage.sweeper.sweep()
        if n % 7 == 0:
            counters.clear(windows, f"i{n - 70:032x}")
        return counters.take(windows, f"i{n:032x}", 1, now[0]).allowed

    allowed_by_all(2_000, hit)

    assert counters.budget.used == sum(table.weigh() for table in counters.tables())
    assert counters.snapshot().keys == sum(
        len(shard)
        for table in counters.tables()
        for shard in {id(s): s for s in table.shards.values()}.values()
    )
