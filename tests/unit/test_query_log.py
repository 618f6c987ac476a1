"""From executions to batches: what is kept, when it is written, and what becomes of it while it cannot be."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from otel_ratelimit.core.delivery import MAX_MISTAKES
from otel_ratelimit.core.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    DataRejectedError,
    PartWrittenError,
)
from otel_ratelimit.queries import execution_intake as intake
from otel_ratelimit.queries import pending_rows, query_delivery
from otel_ratelimit.queries.collaborators import BackgroundThread, Caller, Clocks
from otel_ratelimit.queries.execution import FixedContext
from otel_ratelimit.queries.key_secret import KEY_REPLACED
from otel_ratelimit.queries.query_log import QueryLog
from otel_ratelimit.queries.request_queries import RequestQueries
from otel_ratelimit.queries.sampling import QuerySampler


class Tables:
    """A writer that can be made to fail."""

    def __init__(self):
        self.batches = []
        self.failure = None

    def write(self, batch):
        is_about_rows = isinstance(self.failure, DataRejectedError)
        if self.failure is not None and (batch.rows or not is_about_rows):
            raise self.failure
        self.batches.append(batch)

    def close(self):
        pass

    @property
    def rows(self):
        return [row for batch in self.batches for row in batch.rows]

    @property
    def executions(self):
        return sum(total.n for batch in self.batches for total in batch.totals)


class Listener:
    def __init__(self):
        self.counts = Counter()
        self.patterns = []
        self.suspects = []
        self.starts = []
        self.seconds = []

    def counted(self, new):
        self.counts.update(new._asdict())

    def repeated(self, repeats):
        self.patterns.append(repeats)

    def suspected(self, request):
        self.suspects.append(request)

    def captured(self, seconds):
        self.seconds.append(seconds)


class Clock:
    now = 6_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def tables():
    return Tables()


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def clock():
    return Clock()


class Served:
    """The request that the thread serves."""

    request = None


@pytest.fixture
def served():
    return Served()


class Timer:
    now = 50.0

    def __call__(self):
        self.now += 1e-6
        return self.now


@pytest.fixture
def timer():
    """Seconds on the clock of the thread that runs queries."""
    return Timer()


@pytest.fixture
def make(tables, listener, clock, served, timer):
    def make(rate=1.0, secret=lambda: b"secret", **options):
        log = QueryLog(
            tables,
            QuerySampler(rate, **options),
            secret,
            Caller(lambda: "one", lambda: served.request, lambda: 7),
            BackgroundThread(lambda: None, lambda: listener.starts.append(True)),
            listener,
            flush_interval=60.0,
            clocks=Clocks(clock, clock, timer),
        )
        log.tick()
        return log

    return make


def failing():
    raise DatabaseError("away")


SHOP = FixedContext(b"shop", "shop")


def run(log, numbers, size=None, *, statement="SELECT x FROM a WHERE id = %s", status="ok", started=6_000.0):
    for number in numbers:
        sent = f"{statement} {number}".encode()
        log.intake.executed(
            statement, sent, SHOP, 1_500_999, False, lambda result, _: (1, result), size, status, started
        )


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


def test_until_the_secret_is_known_executions_wait_and_are_keyed_then(make, tables, clock, monkeypatch):
    monkeypatch.setattr(intake, "MAX_UNKEYED", 5)
    answers = iter([DatabaseError("away"), DatabaseError("away"), b"the secret"])

    def secret():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    log = make(secret=secret)
    run(log, [1, 2, 2, 3, 4, 5, 6])
    log.tick()
    for _ in range(2):
        clock.now += 5.0
        log.tick()
    log.flush()
    assert len(tables.rows) == 5
    assert len({row.key for row in tables.rows}) == 4
    [total] = tables.batches[-1].totals
    assert (total.n, total.dropped) == (7, 2)


def test_a_secret_that_was_replaced_is_taken_within_a_minute_and_said_once(make, tables, clock, caplog):
    secrets = [b"the first"]
    log = make(secret=lambda: secrets[0])
    run(log, [1])
    log.flush()
    secrets[0] = b"the second"
    clock.now += 61.0
    for _ in range(3):
        log.tick()
    run(log, [1, 1])
    log.flush()
    [before, *after] = [row.key for row in tables.rows]
    assert len(set(after)) == 1
    assert before not in after
    assert [m for m in caplog.messages if "deleted or replaced" in m] == [KEY_REPLACED]


def test_while_the_secret_cannot_be_read_the_known_one_is_used(make, tables, clock):
    answers = [b"the first"]

    def secret():
        if not answers:
            raise DatabaseError("away")
        return answers.pop()

    log = make(secret=secret)
    for _ in range(3):
        run(log, [1])
        clock.now += 61.0
        log.flush()
    assert len({row.key for row in tables.rows}) == 1


def test_executions_whose_table_was_dropped_are_counted_as_dropped(make, tables, listener):
    write = tables.write

    def without_logs(batch):
        write(batch)
        if batch.rows:
            raise PartWrittenError(frozenset({"query_logs"}))

    tables.write = without_logs
    log = make()
    run(log, [1, 2, 3])
    log.flush()
    assert (listener.counts["dropped"], listener.counts["recorded"]) == (3, 0)
    totals = [total for batch in tables.batches for total in batch.totals]
    assert sum(total.n for total in totals) == sum(total.dropped for total in totals) == 3


def test_executions_are_recorded_where_another_table_was_dropped(make, tables, listener):
    log = make()
    tables.failure = PartWrittenError(frozenset({"table_writes", "query_totals"}))
    run(log, [1, 2, 3])
    log.flush()
    assert (listener.counts["dropped"], listener.counts["recorded"]) == (0, 3)


def test_a_full_queue_drops_and_counts(make, tables, listener, monkeypatch):
    monkeypatch.setattr(intake, "MAX_QUEUED", 10)
    log = make()
    run(log, range(15))
    log.flush()
    assert len(tables.rows) == 10
    assert [(total.n, total.dropped) for total in tables.batches[0].totals] == [(15, 5)]
    assert listener.counts == {"recorded": 10, "dropped": 5, "sampled_out": 0}


@pytest.fixture
def little_room(monkeypatch):
    monkeypatch.setattr(pending_rows, "MAX_PENDING", 30)


@pytest.mark.usefixtures("little_room")
def test_while_it_cannot_be_written_rows_wait_within_their_bound_and_totals_stay_exact(
    make, tables, listener, clock, caplog
):
    log = make()
    tables.failure = DatabaseUnreachableError("gone fishing")
    run(log, range(10))
    log.flush()
    for minute in range(5):
        run(log, range(10 * minute, 10 * minute + 10))
        clock.now += 60.0
        log.tick()
    assert "gone fishing" in caplog.text
    assert tables.rows == []
    tables.failure = None
    clock.now += 60.0
    log.tick()
    assert len(tables.rows) == 40
    assert tables.executions == 60
    assert sum(total.dropped for batch in tables.batches for total in batch.totals) == 20
    assert listener.counts == {"recorded": 40, "dropped": 20, "sampled_out": 0}
    assert "query logs are written again" in caplog.text


def test_rows_that_the_database_rejects_are_dropped_and_logged(make, tables, listener, caplog):
    log = make()
    tables.failure = DataRejectedError("out of range")
    run(log, range(3))
    log.flush()
    tables.failure = None
    run(log, [9])
    log.flush()
    assert len(tables.rows) == 1
    assert "3 executions in the query log dropped: the database rejected them" in caplog.text
    assert listener.counts["dropped"] == 3
    totals = [total for batch in tables.batches for total in batch.totals]
    assert (sum(total.n for total in totals), sum(total.dropped for total in totals)) == (4, 3)


def test_a_row_the_database_will_never_take_takes_no_other_with_it(make, tables, listener, caplog):
    log = make()
    write, bad = tables.write, []

    def picky(batch):
        bad[:] = bad or [next(row.key for row in batch.rows)]
        if any(row.key in bad for row in batch.rows):
            raise DataRejectedError("out of range")
        write(batch)

    tables.write = picky
    run(log, range(9))
    assert log.flush()
    assert len(tables.rows) == 8
    assert caplog.text.count("1 executions in the query log dropped") == 1
    assert (listener.counts["recorded"], listener.counts["dropped"]) == (8, 1)
    totals = [total for batch in tables.batches for total in batch.totals]
    assert (sum(total.n for total in totals), sum(total.dropped for total in totals)) == (9, 1)


def test_to_close_again_says_whether_all_was_written(make, tables):
    log = make()
    run(log, range(3))
    tables.failure = DatabaseUnreachableError("down")
    assert not log.close()
    tables.failure = None
    assert not log.close()


def test_a_batch_that_cannot_be_put_in_words_is_given_up_and_does_not_hold_up_the_rest(
    make, tables, listener, caplog
):
    log = make()
    tables.failure = TypeError("datetime is not JSON serializable: a secret")
    run(log, range(3))
    for _ in range(MAX_MISTAKES):
        assert "dropped: the database rejected" not in caplog.text
        log.flush()
    tables.failure = None
    run(log, [9])
    log.flush()
    assert len(tables.rows) == 1
    assert "3 executions in the query log dropped: the database rejected them" in caplog.text
    assert "TypeError" in caplog.text
    assert "secret" not in caplog.text
    assert listener.counts["dropped"] == 3


def test_an_internal_error_is_logged_once_without_values(make, tables, caplog):
    log = make()

    def broken(statement):
        raise KeyError(statement)

    log._template_of = log._delivery.rows._template_of = broken
    for _ in range(3):
        run(log, [1], statement="SELECT 'sekrit'")
        log.tick()
    assert log.flush() is False
    [said] = [record for record in caplog.records if "could not be processed" in record.getMessage()]
    assert "KeyError" in said.getMessage()
    assert "broken" in said.getMessage()
    assert "sekrit" not in caplog.text


def test_savepoints_are_no_pattern(make, tables, listener, served):
    log = make()
    served.request = RequestQueries("/nested")
    run(log, range(9), statement="SAVEPOINT s")
    log.flush()
    assert tables.batches[-1].repeats == ()
    assert listener.suspects == []


def test_the_end_writes_what_is_left_and_says_what_cannot_be(make, tables, listener, caplog):
    log = make()
    run(log, range(3))
    log.close()
    assert len(tables.rows) == 3
    log = make()
    tables.failure = DatabaseUnreachableError("gone fishing")
    run(log, range(4))
    log.close()
    assert "4 executions in the query log could not be written before the end" in caplog.text
    assert "gone fishing" in caplog.text
    assert listener.counts["dropped"] == 4


def test_a_forked_child_leaves_to_the_parent_what_is_the_parents(make, tables):
    log = make()
    run(log, range(3))
    log.reset_after_fork()
    run(log, [7])
    log.close()
    assert len(tables.rows) == 1
    assert tables.executions == 1


def test_a_template_that_runs_again_and_again_in_a_request_is_a_pattern(make, tables, listener, served):
    log = make()
    for number in range(3):
        served.request = RequestQueries("/list", number)
        for index in range(6 + number):
            statement = (
                "SELECT name FROM a WHERE id = %s" if number else f"SELECT name FROM a WHERE id = {index}"
            )
            run(log, [index], statement=statement)
        run(log, [0], statement="SELECT id FROM a")
    worst = served.request
    served.request = RequestQueries("/quiet")
    for index in range(5):
        run(log, [0], statement=f"SELECT c{index} FROM a")
    assert listener.suspects[-1] is worst
    assert len(listener.suspects) == 2, "at once only where it is one text"
    log.tick()
    assert listener.patterns == []
    log.tick()
    log.flush()
    [found] = tables.batches[-1].repeats
    assert (found.endpoint, found.requests, found.executions, found.most) == ("/list", 3, 21, 8)
    assert found.trace_id == f"{2:032x}"
    assert found.template.text == "select name from a where id = ?"
    assert listener.patterns == [found]


def test_a_request_that_still_runs_is_not_looked_at_yet(make, tables, served):
    log = make()
    served.request = RequestQueries("/long")
    run(log, range(5), statement="SELECT 1")
    for _ in range(5):
        log.tick()
        run(log, [0], statement="SELECT 1")
    log.tick()
    log.tick()
    log.flush()
    [found] = tables.batches[-1].repeats
    assert (found.most, found.trace_id) == (10, None)


def test_what_comes_in_while_it_flushes_does_not_count_as_not_written(make, tables, monkeypatch):
    log = make()
    write = tables.write

    def busy(batch):
        run(log, [2])
        write(batch)

    monkeypatch.setattr(tables, "write", busy)
    run(log, [1])
    assert log.flush() is True
    assert tables.executions == 1


def test_a_flush_is_not_whole_while_executions_wait_for_a_key(make, tables):
    log = make(secret=failing)
    run(log, [1])
    assert log.flush() is False
    assert tables.executions == 1, "they are counted all the same"


def test_a_flush_whose_time_is_over_leaves_the_rest_for_the_next(make, tables):
    log = make()
    run(log, range(3))
    assert log.flush(0.0) is False
    assert tables.batches == []
    assert log.flush() is True
    assert tables.executions == len(tables.rows) == 3


def test_after_the_end_nothing_is_written_and_nothing_is_asked(make, tables):
    log = make()
    assert log.close() is True
    run(log, [1])
    assert (log.flush(), log.close()) == (False, False)
    assert tables.batches == []


def executed(log, timer, pauses, *, statement="SELECT x FROM news WHERE id > %s", seconds=0.001):
    """An execution after each pause: seconds between the end of one and the beginning of the next."""
    for number, pause in enumerate(pauses):
        timer.now += pause + seconds
        log.intake.executed(
            *(statement, b"%d" % number, SHOP, int(seconds * 1e9), False, lambda *_: (1, 1), None),
        )


def patterns_of(log, tables):
    log.tick()
    log.tick()
    log.flush()
    return [(each.requests, each.executions, each.most) for batch in tables.batches for each in batch.repeats]


@pytest.mark.parametrize("pause", [0.1, 0.25, 1.0, 30.0])
@pytest.mark.parametrize("written_in", [False, True])
def test_a_request_that_polls_is_no_pattern(make, tables, listener, *, served, timer, pause, written_in):
    log = make()
    served.request = RequestQueries("/events")
    for number in range(6):
        statement = (
            f"SELECT x FROM news WHERE id > {number}" if written_in else "SELECT x FROM news WHERE id > %s"
        )
        executed(log, timer, [pause], statement=statement)
    assert patterns_of(log, tables) == []
    assert listener.suspects == []


def test_polls_of_two_queries_each_are_no_pattern(make, tables, served, timer):
    log = make()
    served.request = RequestQueries("/events")
    for _ in range(6):
        executed(log, timer, [1.0], statement="SELECT max(id) FROM news")
        executed(log, timer, [0.001], statement="SELECT x FROM readers")
    assert patterns_of(log, tables) == []


@pytest.mark.parametrize("seconds", [0.0001, 0.3, 5.0])
def test_slow_queries_one_after_the_other_are_a_pattern(make, tables, served, timer, seconds):
    log = make()
    served.request = RequestQueries("/list")
    executed(log, timer, [0.01] * 6, seconds=seconds)
    assert patterns_of(log, tables) == [(1, 6, 6)]


def test_a_slow_query_of_another_kind_between_them_is_no_pause(make, tables, served, timer):
    log = make()
    served.request = RequestQueries("/list")
    for _ in range(5):
        executed(log, timer, [0.001], statement="SELECT x FROM a WHERE id = %s")
        executed(log, timer, [0.001], statement="SELECT y FROM b WHERE id = %s", seconds=0.5)
    assert patterns_of(log, tables) == [(1, 5, 5)] * 2


def test_a_burst_after_a_pause_is_a_pattern_wherever_it_stands(make, tables, listener, served, timer):
    """A generator that waits and then runs a query for each row; what ran before does not count along."""
    log = make()
    served.request = RequestQueries("/stream")
    executed(log, timer, [1.0, 1.0, 1.0])
    executed(log, timer, [2.0] + [0.01] * 6)
    executed(log, timer, [1.0, 0.01, 0.01])
    assert listener.suspects == [served.request]
    assert patterns_of(log, tables) == [(1, 7, 7)]


def test_a_stream_with_a_burst_every_second_is_one_request_a_minute(
    make, tables, listener, *, served, timer, clock
):
    log = make()
    served.request = RequestQueries("/stream")
    for _ in range(3):
        executed(log, timer, [1.0] + [0.001] * 5)
    assert patterns_of(log, tables) == [(1, 18, 6)]
    assert listener.suspects == [served.request], "its span says so once"
    clock.now += 60.0
    executed(log, timer, [1.0] + [0.001] * 9)
    assert patterns_of(log, tables)[1:] == [(1, 10, 10)]


def test_a_request_tells_only_so_many_texts_apart():
    request = RequestQueries("/wide")
    news = [request.add(f"SELECT c{index}", 1_000, 10.0) for index in range(300)]
    assert news == [False] * 4 + [True] + [False] * 295
    assert len(request.burst.counts) == 256
    assert [request.executions(f"SELECT c{index}") for index in (0, 255, 256)] == [1, 1, 0]


def test_large_statements_wait_within_their_bound_and_are_counted(make, tables, monkeypatch):
    monkeypatch.setattr(intake, "MAX_LARGE_CHARACTERS", 10_000)
    log = make()
    for number in range(10):
        run(log, [number], statement=f"SELECT {'x' * 2_480} AS c{number}")
    run(log, [1])
    log.tick()
    run(log, [2], statement=f"SELECT {'x' * 2_480} AS c0")
    log.flush()
    assert len(tables.rows) == 4 + 1 + 1
    [batch] = tables.batches
    totals = {total.template.text: (total.n, total.dropped) for total in batch.totals}
    assert totals.pop("<other>") == (6, 6)
    assert sorted(totals.values()) == [(1, 0)] * 4 + [(2, 0)]
    assert tables.executions == 12


def test_what_waits_for_a_key_is_small_and_what_has_one_is_without_its_values(make, monkeypatch):
    log = make(secret=failing)
    run(log, ["y" * 3_000])
    assert len(log.intake.unkeyed) == 0
    log = make()
    run(log, ["a secret"])
    assert "a secret" not in str(log.intake.queue)


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

    for took in (intake.SLOW_NANOSECONDS - 1, intake.SLOW_NANOSECONDS):
        for _ in range(4_000):
            log.intake.executed("SELECT 1", b"SELECT 1", SHOP, took, False, answer, took)
    assert asked[intake.SLOW_NANOSECONDS, True] == 4_000
    # A quarter, within five standard deviations.
    assert abs(asked[intake.SLOW_NANOSECONDS - 1, True] - 1_000) < 5 * (4_000 * 0.25 * 0.75) ** 0.5


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
