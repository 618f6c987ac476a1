import logging
import re

from otel_ratelimit.core import names
from otel_ratelimit.core.counter_store import CleanupReport, StorageSnapshot
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.memory_log import MemoryHealthLog

MB = 1_000_000


class Store:
    """A store of any size one likes."""

    def __init__(self, size, capacity=50 * MB):
        self.size, self.capacity = size, capacity

    def snapshot(self):
        return StorageSnapshot("any", self.size, self.capacity, 7, 0, {"users": 5, "x": 2}, {"ip": 7})


def test_the_lines_have_the_documented_logger_wherever_the_code_is(caplog):
    caplog.set_level(logging.INFO)

    MemoryHealthLog(Store(10 * MB)).start()

    assert [record.name for record in caplog.records] == ["otel_ratelimit.storage.health"]


def lines(caplog):
    return [(record.levelname, record.getMessage().split(":")[0]) for record in caplog.records]


def test_each_threshold_crossed_is_logged_once_up_and_down(caplog):
    caplog.set_level(logging.INFO)
    store = Store(10 * MB, capacity=None)
    log = MemoryHealthLog(store)

    for size in (39, 41, 45, 41, 51, 60, 52, 44, 45, 30, 10):
        store.size = size * MB
        log.check()

    assert lines(caplog) == [
        ("WARNING", "counter store is warning"),
        ("CRITICAL", "counter store is critical"),
        ("INFO", "counter store is warning"),
        ("INFO", "counter store is ok"),
    ]


def test_a_size_that_trembles_about_a_threshold_does_not_flood_the_log(caplog):
    caplog.set_level(logging.INFO)
    store = Store(0, capacity=None)
    log = MemoryHealthLog(store)

    for n in range(1000):
        store.size = 40 * MB + (-1) ** n * 1000
        log.check()

    assert len(caplog.records) == 1


def test_the_size_is_logged_at_start_and_after_each_cleanup(caplog):
    caplog.set_level(logging.INFO)
    log = MemoryHealthLog(Store(10 * MB))

    log.start()
    log.cleaned(CleanupReport(3, 400, 0.1, 0.0001))

    assert lines(caplog) == [
        ("INFO", "counter store"),
        ("INFO", "cleanup removed 3 expired counters, 400 bytes, in 100.0 ms"),
    ]


def test_each_line_says_bytes_percent_keys_and_how_they_spread_in_words_and_in_fields(caplog):
    caplog.set_level(logging.INFO)
    log = MemoryHealthLog(Store(41 * MB))

    log.start()
    log.cleaned(CleanupReport(3, 400, 0.1, 0.0001))

    assert len(caplog.records) == 3  # the crossing of the threshold too
    for record in caplog.records:
        message = record.getMessage()
        assert "counters take 41.0 MB of 50.0 MB (82.0 %), 7 keys" in message
        assert message.endswith("keys by endpoint: users 5, x 2; by kind of client: ip 7")
        fields = vars(record)
        assert fields[names.STORAGE_SIZE] == 41 * MB
        assert fields[names.STORAGE_USED_PERCENT] == 82.0
        assert fields[names.STORAGE_KEYS] == 7
        assert fields[names.STORAGE_KEYS_BY_ENDPOINT] == {"users": 5, "x": 2}
        assert fields[names.STORAGE_KEYS_BY_CLIENT_KIND] == {"ip": 7}
    assert vars(caplog.records[-1])[names.CLEANUP_REMOVED_KEYS] == 3


def test_the_line_after_a_cleanup_has_the_level_of_the_state_while_it_lasts(caplog):
    caplog.set_level(logging.INFO)
    store = Store(10 * MB, capacity=None)
    log = MemoryHealthLog(store)
    report = CleanupReport(3, 400, 0.1, 0.0001)

    for size in (10, 41, 41, 51, 51, 10, 10):
        store.size = size * MB
        log.cleaned(report)

    cleanups = [level for level, text in lines(caplog) if text.startswith("cleanup")]
    assert cleanups == ["INFO", "INFO", "WARNING", "INFO", "CRITICAL", "INFO", "INFO"]


def test_many_endpoints_are_summed_up_in_words(caplog):
    caplog.set_level(logging.INFO)
    store = Store(10 * MB)
    spread = {f"e{n}": 100 - n for n in range(9)}
    store.snapshot = lambda: StorageSnapshot("any", store.size, None, 864, 0, spread, {"ip": 864})

    MemoryHealthLog(store).start()

    [record] = caplog.records
    assert "keys by endpoint: e0 100, e1 99, e2 98, e3 97, e4 96, 4 more 374; by kind" in record.getMessage()
    assert vars(record)[names.STORAGE_KEYS_BY_ENDPOINT] == spread


def test_a_small_store_is_told_in_bytes_and_an_empty_one_has_no_spread(caplog):
    caplog.set_level(logging.INFO)
    MemoryHealthLog(BoundedMemoryStore(1 * MB)).start()

    assert re.search(r"counters take \d+ bytes of 1\.0 MB \(\d\.\d %\), 0 keys", caplog.messages[0])
    assert "by endpoint" not in caplog.messages[0]


def test_an_overflow_reports_a_full_store_at_once_and_only_once(caplog):
    store = Store(10 * MB)
    log = MemoryHealthLog(store)
    store.size = 49 * MB

    for _ in range(100):
        log.overflowed("prefix")

    assert lines(caplog) == [("CRITICAL", "counter store is critical")]
