"""Every execution is counted once, whatever other threads count and however many texts there are."""

from __future__ import annotations

import threading

import pytest

from otel_ratelimit.queries import execution_totals as module
from otel_ratelimit.queries import pending_totals
from otel_ratelimit.queries.execution_totals import OTHER, ExecutionTotals
from otel_ratelimit.queries.fingerprint import TemplateCache, hash_query
from otel_ratelimit.queries.pending_totals import PendingTotals, table_writes
from otel_ratelimit.queries.records import TemplateTotal


@pytest.fixture
def totals():
    return ExecutionTotals()


def count(totals, statement, database):
    """Count like the intake."""
    try:
        totals.steps[statement, database]()
    except KeyError:
        totals.count_unknown(statement, database)


def counted(found):
    by_template = {}
    for total in found:
        place = (total.template.text, total.database)
        before = by_template.get(place, (0, 0, 0))
        new = (total.n, total.failed, total.dropped)
        by_template[place] = tuple(a + b for a, b in zip(before, new, strict=True))
    return by_template


def test_executions_are_counted_by_template_and_database(totals):
    for number in range(5):
        count(totals, f"SELECT {number}", "shop")
        count(totals, "UPDATE a SET x = 1", "shop")
        count(totals, "UPDATE a SET x = 1", "archive")
    totals.failed("UPDATE a SET x = 1", "shop")
    totals.dropped("SELECT 3", "shop")
    found = totals.drain(125.0, hash_query)
    assert {total.minute for total in found} == {120}
    assert counted(found) == {
        ("select ?", "shop"): (5, 0, 1),
        ("update a set x = ?", "shop"): (5, 1, 0),
        ("update a set x = ?", "archive"): (5, 0, 0),
    }
    assert totals.drain(126.0, hash_query) == []
    totals.failed("SELECT 3", "shop")
    assert counted(totals.drain(127.0, hash_query)) == {("select ?", "shop"): (0, 1, 0)}


def test_a_text_that_comes_again_is_known_and_one_that_does_not_takes_no_room(totals):
    for _ in range(3):
        count(totals, "SELECT x FROM a", "shop")
    for number in range(100):
        count(totals, f"SELECT {number}", "shop")
    totals.drain(0.0, hash_query)
    assert list(totals._known) == [("SELECT x FROM a", "shop")]
    count(totals, "SELECT x FROM a", "shop")
    assert not totals._new


def test_known_texts_that_are_forgotten_lose_no_count(totals, monkeypatch):
    monkeypatch.setattr(module, "MAX_KNOWN", 3)
    expected = 0
    for round_ in range(20):
        for number in range(10):
            for _ in range(2):
                count(totals, f"SELECT c{number} FROM t{round_ % 3}", "shop")
                expected += 1
        found = totals.drain(0.0, hash_query)
        expected -= sum(total.n for total in found)
        assert len(totals._known) <= 3
    expected -= sum(total.n for total in totals.drain(0.0, hash_query))
    assert expected == 0


def test_a_thread_that_steps_a_counter_just_dropped_is_counted_the_next_time(totals, monkeypatch):
    count(totals, "SELECT a", "shop")
    count(totals, "SELECT a", "shop")
    totals.drain(0.0, hash_query)
    step = totals.steps["SELECT a", "shop"]
    monkeypatch.setattr(module, "MAX_KNOWN", 0)
    totals.drain(0.0, hash_query)
    assert totals.steps == {}
    step()
    assert counted(totals.drain(0.0, hash_query)) == {("select a", "shop"): (1, 0, 0)}


def test_what_finds_no_room_is_counted_as_such(totals, monkeypatch):
    monkeypatch.setattr(module, "MAX_NEW", 10)
    for number in range(25):
        count(totals, f"SELECT {number}", "shop")
    assert counted(totals.drain(0.0, hash_query)) == {
        ("select ?", "shop"): (10, 0, 0),
        (OTHER.text, ""): (15, 0, 0),
    }


def test_threads_and_a_drain_at_the_same_time_count_to_the_unit(totals):
    threads, each = 16, 5_000
    stop = threading.Event()
    found: list[TemplateTotal] = []
    cache = TemplateCache()

    def work(number):
        for index in range(each):
            count(totals, f"SELECT c{index % 50} FROM t", "shop")
            if index % 100 == 0:
                count(totals, f"SELECT {number * each + index}", "shop")

    def drain():
        while not stop.is_set():
            found.extend(totals.drain(0.0, cache))

    drainer = threading.Thread(target=drain)
    drainer.start()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    drainer.join()
    for _ in range(2):  # counters that were forgotten are read once more
        found.extend(totals.drain(0.0, cache))
    by_template = counted(found)
    assert sum(n for n, _, _ in by_template.values()) == threads * (each + each // 100)
    assert by_template["select c7 from t", "shop"] == (threads * each // 50, 0, 0)


def test_a_forked_child_begins_at_nothing(totals):
    count(totals, "SELECT 1", "shop")
    totals.failed("SELECT 1", "shop")
    totals.reset_after_fork()
    assert totals.drain(0.0, hash_query) == []


def test_writes_are_counted_by_table_without_those_that_failed():
    update = hash_query("UPDATE a SET x = b.x FROM b")
    found = table_writes(
        [
            TemplateTotal(60, update, "shop", 10, 3, 0),
            TemplateTotal(60, hash_query("UPDATE a SET y = 1"), "shop", 1, 0, 0),
            TemplateTotal(60, hash_query("SELECT x FROM c"), "shop", 5, 0, 0),
            TemplateTotal(60, hash_query("DELETE FROM d"), "shop", 2, 2, 0),
        ]
    )
    assert {(write.table, write.operation, write.n) for write in found} == {("a", "update", 8)}, (
        "b is only read"
    )


def test_totals_that_wait_are_summed_and_bounded(monkeypatch):
    pending = PendingTotals()
    select, other = hash_query("SELECT 1"), hash_query("SELECT a")
    pending.add([TemplateTotal(60, select, "shop", 2, 1, 0), TemplateTotal(60, select, "shop", 3, 0, 1)])
    assert pending.take(10) == (TemplateTotal(60, select, "shop", 5, 1, 1),)
    assert pending.take(10) == ()
    monkeypatch.setattr(pending_totals, "_MAX_TEMPLATES", 2)
    pending.add([TemplateTotal(minute, select, "shop", 1, 0, 0) for minute in (60, 120, 180, 240)])
    pending.add([TemplateTotal(240, other, "shop", 7, 0, 0)])
    found = pending.take(100_000)
    assert sum(total.n for total in found) == 11
    assert len(found) <= 3


def test_a_handler_of_a_signal_that_comes_within_does_not_wait_for_itself():
    totals = ExecutionTotals()
    with totals._lock:
        totals.failed("SELECT 1", "shop")
        totals.dropped("SELECT 1", "shop")
    [total] = totals.drain(60.0, hash_query)
    assert (total.n, total.failed, total.dropped) == (0, 1, 1)


TEXT = "SELECT x FROM a"


def by_minute(found):
    return sorted((total.minute, total.n, total.failed) for total in found)


def test_what_began_earlier_counts_in_its_minute_and_once(totals):
    for _ in range(3):
        count(totals, TEXT, "shop")
    for started in (61.0, 119.9, 7_200.0):
        totals.started_at(TEXT, "shop", started, has_failed=started == 61.0)
        count(totals, TEXT, "shop")
    totals.failed(TEXT, "shop")

    assert by_minute(totals.drain(20_000.0, hash_query)) == [(60, 2, 1), (7_200, 1, 0), (19_980, 3, 0)]
    count(totals, TEXT, "shop")
    assert by_minute(totals.drain(20_060.0, hash_query)) == [(20_040, 1, 0)]


def test_what_is_reported_before_a_drain_and_counted_after_it_keeps_its_minute(totals):
    totals.started_at(TEXT, "shop", 61.0, has_failed=False)
    assert totals.drain(20_000.0, hash_query) == []
    count(totals, TEXT, "shop")
    assert by_minute(totals.drain(20_001.0, hash_query)) == [(60, 1, 0)]


def test_what_is_never_counted_takes_nothing_of_what_comes_later(totals):
    totals.started_at(TEXT, "shop", 61.0, has_failed=True)
    for now in (20_000.0, 20_001.0):
        assert totals.drain(now, hash_query) == []
    count(totals, TEXT, "shop")
    assert by_minute(totals.drain(20_002.0, hash_query)) == [(19_980, 1, 0)]


def test_minutes_that_find_no_room_count_now_and_none_is_lost(totals, monkeypatch):
    monkeypatch.setattr(module, "MAX_NEW", 5)
    for minute in range(5):
        totals.started_at(TEXT, "shop", 60.0 * minute, has_failed=False)
        count(totals, TEXT, "shop")
    totals.started_at(TEXT, "shop", 600.0, has_failed=False)
    count(totals, TEXT, "shop")

    found = totals.drain(20_000.0, hash_query)

    assert sum(total.n for total in found) == 6
    assert {total.minute for total in found} == {0, 60, 120, 180, 240, 19_980}
