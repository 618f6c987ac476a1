"""From executions to batches: which executions are kept, and when they are written."""

from __future__ import annotations

import threading
from collections import Counter

from query_executions import SHOP, run

from otel_ratelimit.queries import execution_intake as intake
from otel_ratelimit.queries import query_delivery
from otel_ratelimit.queries.request_queries import RequestQueries
from otel_ratelimit.queries.sampling import SLOW_NANOSECONDS


def test_an_execution_becomes_a_row_with_all_that_is_known_of_it(make, tables, served):
    log = make()
    served.request = RequestQueries("/jobs/<id>", 9)
    run(log, [7], size=40)
    assert log.flush()
    [batch] = tables.batches
    [row] = batch.rows
    assert batch.process == "one"
    assert (row.ts, row.n, row.sample_rate, row.tier, row.duration_us) == (6_000.0, 1, 1.0, "cold", 1_500)
    assert (row.rows, row.result_bytes, row.endpoint, row.trace_id) == (
        *(1, 40, "/jobs/<id>"),
        f"{9:032x}",
    )
    assert (row.database, row.in_txn, row.status, row.buckets) == ("shop", False, "ok", None)
    assert row.template.text == "select x from a where id = ?"
    assert len(row.key) == 16
    [total] = batch.totals
    assert (total.minute, total.n, total.failed, total.dropped) == (6_000, 1, 0, 0)


def test_what_is_written_waits_for_the_interval_or_for_a_full_batch(make, tables, clock, monkeypatch):
    log = make()
    run(log, [1])
    log.tick()
    assert tables.batches == []
    clock.now += 60.0
    log.tick()
    assert len(tables.rows) == 1
    monkeypatch.setattr(query_delivery, "BATCH_ROWS", 10)
    run(log, range(25))
    log.tick()
    assert [len(batch.rows) for batch in tables.batches] == [1, 10, 10, 5]


def test_a_rate_keeps_its_share_of_the_keys_and_totals_count_all(make, tables, listener):
    log = make(rate=0.1)
    run(log, [number % 2_000 for number in range(6_000)])
    log.flush()
    kept = len(tables.rows)
    assert 400 < kept < 800
    assert kept % 3 == 0, "a key is kept with all its executions or not at all"
    assert tables.executions == 6_000
    assert listener.counts == {"recorded": kept, "sampled_out": 6_000 - kept, "dropped": 0}
    assert {row.sample_rate for row in tables.rows} == {0.1}


def test_hot_keys_become_one_row_a_window_with_their_seconds(make, tables, clock):
    log = make(rate=0.0, hot_keys=1)
    run(log, [7] * 20)
    log.tick()
    assert tables.rows == []
    clock.now = 6_060.0
    log.tick()
    for second in (0, 0, 0, 2):
        run(log, [7], started=6_060.5 + second, size=10 + second)
    run(log, [7], status="57014", started=6_061.0)
    run(log, [8], started=6_061.0)
    clock.now = 6_120.0
    log.tick()
    log.flush()
    rows = sorted(tables.rows, key=lambda row: row.n)
    assert [(row.tier, row.n, row.status, row.sample_rate) for row in rows] == [
        ("hot", 1, "57014", 1.0),
        ("hot", 4, "ok", 1.0),
    ]
    assert (rows[1].ts, rows[1].buckets, rows[1].result_bytes) == (6_060.0, (3, 0, 1), 12)
    assert (rows[0].ts, rows[0].buckets) == (6_061.0, None)


def test_hot_keys_are_written_when_writing_is_due_and_not_only_at_the_edge(make, tables, clock):
    log = make(rate=0.0, hot_keys=1, window_seconds=3_600)
    run(log, [7] * 20)
    clock.now = 7_200.0
    log.tick()
    run(log, [7] * 3, started=7_201.0)
    clock.now += 60.0
    log.tick()
    run(log, [7], started=7_262.0)
    log.flush()
    assert [(row.n, row.ts) for row in tables.rows] == [(3, 7_201.0), (1, 7_262.0)]


def test_a_hot_key_that_began_long_ago_has_a_row_of_its_own(make, tables, clock):
    log = make(rate=0.0, hot_keys=1)
    run(log, [7] * 20)
    clock.now = 6_060.0
    log.tick()
    run(log, [7, 7], started=6_061.0)
    for started in (1.0, 6_060.0 + 3e6, 6_061e3):
        run(log, [7], started=started)
    log.flush()
    assert sorted((row.tier, row.n) for row in tables.rows) == [("hot", 1)] * 3 + [("hot", 2)]
    assert max(len(row.buckets or ()) for row in tables.rows) == 1


def test_many_templates_are_written_in_several_batches(make, tables, monkeypatch):
    monkeypatch.setattr(query_delivery, "BATCH_TOTALS", 10)
    log = make(rate=0.0)
    for number in range(25):
        run(log, [1], statement=f"SELECT c{number} FROM a")
    log.flush()
    assert [len(batch.totals) for batch in tables.batches] == [10, 10, 5]
    assert tables.executions == 25


def test_the_capture_of_one_execution_in_so_many_is_timed(make, listener):
    log = make()
    assert not log.intake.has_executions
    run(log, range(intake.START_AFTER + intake.DURATION_SAMPLE * 2 + 1))
    assert len(listener.seconds) == 3
    assert all(0 < seconds < 1 for seconds in listener.seconds)
    assert log.intake.has_executions


def test_the_size_is_asked_for_by_chance_and_always_where_it_took_long(make):
    log = make()
    asked = Counter()

    def answer(took, is_measured):
        asked[took, is_measured] += 1
        return 1, 40 if is_measured else None

    for took in (SLOW_NANOSECONDS - 1, SLOW_NANOSECONDS):
        for _ in range(4_000):
            log.intake.executed("SELECT 1", b"SELECT 1", SHOP, took, False, answer, took)
    assert asked[SLOW_NANOSECONDS, True] == 4_000
    # A quarter, within five standard deviations.
    assert abs(asked[SLOW_NANOSECONDS - 1, True] - 1_000) < 5 * (4_000 * 0.25 * 0.75) ** 0.5


def test_where_no_request_starts_it_the_queries_do_and_again_after_a_fork(make, listener):
    log = make()
    run(log, range(intake.START_AFTER - 1))
    assert listener.starts == []
    run(log, [0])
    assert len(listener.starts) == 1
    log.reset_after_fork()
    run(log, range(intake.START_AFTER))
    assert len(listener.starts) == 2


def test_threads_that_execute_during_a_tick_lose_nothing(make, tables, listener, clock):
    log = make(rate=0.5)
    stop = threading.Event()

    def work_up():
        while not stop.is_set():
            log.tick()

    worker = threading.Thread(target=work_up)
    worker.start()
    threads = [threading.Thread(target=run, args=(log, range(2_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    worker.join()
    log.close()
    log.tick()
    assert tables.executions == 8_000
    assert listener.counts == {
        "recorded": len(tables.rows),
        "sampled_out": 8_000 - len(tables.rows),
        "dropped": 0,
    }
