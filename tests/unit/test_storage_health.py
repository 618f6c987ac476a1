import pytest

from otel_ratelimit.core.counter_store import StorageSnapshot
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.health import (
    check_memory_health,
    effective_thresholds,
    get_active_keys,
    get_key_distribution,
    get_storage_size,
)

MB = 1_000_000


class Store:
    """A store of any size one likes."""

    def __init__(self, size, capacity=50 * MB):
        self.size, self.capacity = size, capacity

    def snapshot(self):
        return StorageSnapshot("any", self.size, self.capacity, 7, 0, {"users": 5, "x": 2}, {"ip": 7})


def test_size_keys_and_distribution_are_those_of_the_snapshot():
    store = Store(12 * MB)

    assert get_storage_size(store) == 12 * MB
    assert get_active_keys(store) == 7
    assert get_key_distribution(store) == ({"users": 5, "x": 2}, {"ip": 7}, {})


@pytest.mark.parametrize(
    ("size", "status"), [(0, "ok"), (39_999_999, "ok"), (40 * MB, "warning"), (50 * MB, "critical")]
)
def test_the_status_follows_the_size(size, status):
    health = check_memory_health(Store(size, capacity=None))

    assert health.status == status
    assert health.size_bytes == size
    assert health.capacity_bytes is None


def test_the_message_says_size_capacity_and_thresholds():
    health = check_memory_health(Store(41 * MB))

    assert health.message == (
        "counters take 41.0 MB of 50.0 MB (82.0 %), 7 keys; warning from 40.0 MB, critical from 43.2 MB"
    )
    assert health.used_ratio == pytest.approx(0.82)


@pytest.mark.parametrize("capacity", [1 * MB, 10 * MB, 50 * MB, 200 * MB, None])
def test_warning_comes_before_critical_and_critical_can_be_reached(capacity):
    warning, critical = effective_thresholds(capacity, 40 * MB, 50 * MB)

    assert 0 < warning < critical
    assert capacity is None or critical < 0.98 * capacity


@pytest.mark.untraced
@pytest.mark.parametrize("capacity", [1 * MB, 3 * MB, 8 * MB])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_full_store_is_critical(capacity, strategy):
    counters = BoundedMemoryStore(capacity)
    windows = [Window(f"a|b|{s}|{strategy}|", 9, s, strategy, False, "", "") for s in (60, 3600)]
    n = 0
    while not counters.overflows:
        counters.take(windows, f"i{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}", 1, 1_700_000_000.0)
        n += 1

    assert check_memory_health(counters).status == "critical"
