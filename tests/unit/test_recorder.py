"""When what was recorded is written, and what becomes of it while it cannot be."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest

from otel_ratelimit.analytics.recorder import Recorder
from otel_ratelimit.analytics.records import Violation
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.delivery import MAX_SPLITS
from otel_ratelimit.core.errors import (
    DatabaseError,
    DatabaseTimeoutError,
    DatabaseUnreachableError,
    DataRejectedError,
)
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan

VIOLATION = Violation(
    occurred_at=600.0,
    last_at=600.0,
    endpoint="/api/jobs",
    method="GET",
    client="192.0.2.7",
    user_id=None,
    tier="default",
    limit_text="10 per 1 minute",
    limit_value=10,
    limit_seconds=60,
    current_count=10,
    user_agent="curl",
    trace_id=None,
    shadow=False,
)


class Table:
    """A writer that can be told to fail, before or after it has written."""

    def __init__(self):
        self.batches = {}
        self.asked = 0
        self.failure = None
        self.answer_lost = False
        self.closed = False

    def write(self, batch):
        self.asked += 1
        failure = DatabaseError(self.failure) if isinstance(self.failure, str) else self.failure
        if failure is not None and not self.answer_lost:
            raise failure
        self.batches[batch.id] = batch
        if failure is not None:
            raise failure

    def close(self):
        self.closed = True

    @property
    def violations(self):
        return sum(batch.recorded for batch in self.batches.values())


class Listener:
    def __init__(self):
        self.written, self.lost = 0, 0

    def recorded(self, violations):
        self.written += violations

    def dropped(self, violations):
        self.lost += violations


class Now:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def woken():
    return []


@pytest.fixture
def recorder(table, listener, now, woken):
    return Recorder(
        table, listener, lambda: woken.append(1), batch_size=3, flush_interval=60.0, monotonic=now
    )


def violate(recorder, *clients):
    for client in clients:
        recorder.violated(replace(VIOLATION, client=client))


def test_a_full_batch_asks_once_for_the_background_thread_and_is_written_there(recorder, table, woken):
    violate(recorder, "a", "b")
    recorder.tick()
    assert (woken, table.asked) == ([], 0)
    violate(recorder, "c", "d")
    assert (woken, table.asked) == ([1], 0)
    recorder.tick()
    assert table.violations == 4
    violate(recorder, "e", "f", "g")
    assert woken == [1, 1]


def test_what_makes_no_batch_is_written_when_the_flush_interval_is_over(recorder, table, now):
    violate(recorder, "a")
    now.seconds += 59.9
    recorder.tick()
    assert table.asked == 0
    now.seconds += 0.2
    recorder.tick()
    assert table.violations == 1
    recorder.tick()
    assert table.asked == 1, "nothing to write, nothing asked of the database"


def test_a_batch_that_failed_comes_first_and_unchanged_and_is_tried_less_and_less_often(
    recorder, table, now, listener, caplog
):
    caplog.set_level(logging.WARNING)
    table.failure = "gone fishing"
    violate(recorder, "a", "b", "c")
    tries = []
    for _ in range(120):
        asked = table.asked
        recorder.tick()
        if table.asked > asked:
            tries.append(now.seconds - 1000.0)
        now.seconds += 1.0
    assert tries == [0.0, 1.0, 3.0, 8.0, 18.0, 48.0, 78.0, 108.0]
    assert recorder.state.failing == "gone fishing"
    assert recorder.state.pending == 3
    violate(recorder, "d")
    table.failure = None
    now.seconds += 60.0
    recorder.tick()
    assert [batch.recorded for batch in table.batches.values()] == [3, 1]
    assert listener.written == 4
    assert (recorder.state.pending, recorder.state.failing) == (0, "")
    assert [record.message for record in caplog.records] == [
        "analytics cannot be written and are kept in memory: gone fishing",
        "analytics are written again; nothing was lost",
    ]


def test_a_batch_whose_answer_was_lost_is_sent_again_under_the_same_id(recorder, table, now):
    table.failure, table.answer_lost = "the line went dead", True
    violate(recorder, "a", "b", "c")
    recorder.tick()
    table.failure = None
    now.seconds += 2.0
    recorder.tick()
    assert table.asked == 2
    assert table.violations == 3, "the table knows the id"
    assert recorder.state.recorded == 3


def test_at_the_end_everything_is_written_the_batch_that_failed_too(recorder, table, now):
    table.failure = "down"
    violate(recorder, "a", "b", "c")
    recorder.tick()
    violate(recorder, "d")
    table.failure = None
    recorder.close()
    assert table.violations == 4
    assert table.closed
    assert recorder.state.dropped == 0


def test_what_cannot_be_written_at_the_end_is_counted_and_said(recorder, table, listener, caplog):
    table.failure = DatabaseUnreachableError("down")
    violate(recorder, "a", "a", "b", "c")
    recorder.tick()
    violate(recorder, "d")
    recorder.close()
    assert listener.lost == 5
    assert recorder.state.dropped == 5
    said = "5 violations and the usage of 0 requests could not be written before the end: down"
    assert said in caplog.text
    assert "not known" not in caplog.text


def test_of_what_may_have_arrived_before_the_end_no_loss_is_claimed(recorder, table, listener, caplog):
    table.failure = DatabaseTimeoutError("no answer")
    violate(recorder, "a", "a", "b", "c")
    recorder.tick()
    table.failure = DatabaseUnreachableError("down")
    violate(recorder, "d")
    recorder.close()
    assert listener.lost == 5
    assert "not known whether 4 violations and the usage of 0 requests were written" in caplog.text
    assert "1 violations and the usage of 0 requests could not be written" in caplog.text


def test_usage_that_cannot_be_written_at_the_end_is_said(recorder, table, listener, caplog):
    table.failure = DatabaseUnreachableError("down")
    unlimited = RoutePlan("a", "GET", "/a", "default", True, KeySpec("ip"), (), 1, "closed", "")
    for _ in range(3):
        recorder.decided(Decision(DecisionKind.EXEMPT, unlimited, (), (), None, -1, 600.0, 0.001), None, None)
    recorder.close()
    assert "0 violations and the usage of 3 requests could not be written before the end: down" in caplog.text
    assert listener.lost == 0


def test_what_the_database_refuses_for_good_does_not_hold_up_what_comes_after(
    recorder, table, listener, now, caplog
):
    table.failure = DataRejectedError("invalid byte sequence")
    violate(recorder, "a", "b", "c")
    now.seconds += 60.0
    recorder.tick()
    assert "3 violations and the usage of 0 requests dropped" in caplog.text
    assert "invalid byte sequence" in caplog.text
    assert (listener.lost, recorder.state.dropped, recorder.state.pending) == (3, 3, 0)
    table.failure = None
    violate(recorder, "d")
    now.seconds += 60.0
    recorder.tick()
    assert (table.violations, listener.written) == (1, 1)
    assert "nothing was lost" not in caplog.text


def test_the_end_waits_for_a_write_that_is_under_way(table, listener, now):
    begun, go_on = threading.Event(), threading.Event()
    write = table.write

    def slowly(batch):
        begun.set()
        assert go_on.wait(10)
        write(batch)

    table.write = slowly
    recorder = Recorder(table, listener, lambda: None, batch_size=1, flush_interval=60.0, monotonic=now)
    violate(recorder, "a")
    thread = threading.Thread(target=recorder.tick)
    thread.start()
    assert begun.wait(10)
    violate(recorder, "b")
    closing = threading.Thread(target=recorder.close)
    closing.start()
    go_on.set()
    closing.join(10)
    thread.join(10)
    assert (listener.written, listener.lost) == (2, 0)


def test_a_forked_child_leaves_to_the_parent_what_the_parent_counted(recorder, table):
    violate(recorder, "a", "b")
    recorder.reset_after_fork()
    violate(recorder, "c")
    recorder.close()
    assert table.violations == 1


def test_a_bug_in_the_writer_loses_nothing_either(recorder, table, now):
    write = table.write

    def broken(_batch):
        raise TypeError("a mistake of ours")

    table.write = broken
    violate(recorder, "a", "b", "c")
    with pytest.raises(TypeError):  # the background thread logs it
        recorder.tick()
    table.write = write
    recorder.tick()
    assert table.violations == 3


class Picky(Table):
    """Refuses every batch with a row of `bad` clients in it, and counts how often it was asked."""

    def __init__(self, *bad):
        super().__init__()
        self.bad = set(bad)
        self.down = False

    def write(self, batch):
        if self.down:
            self.asked += 1
            raise DatabaseUnreachableError("down")
        self.failure = None
        if self.bad.intersection(violation.client for violation in batch.violations):
            self.failure = DataRejectedError("out of range")
        super().write(batch)

    @property
    def clients(self):
        return {row.client for batch in self.batches.values() for row in batch.violations}


def recorder_to(table, listener, now):
    return Recorder(table, listener, lambda: None, batch_size=20_000, flush_interval=60.0, monotonic=now)


def test_to_find_the_bad_rows_has_a_bound(listener, now):
    everyone = [f"c{n}" for n in range(5_000)]
    table = Picky(*everyone)
    recorder = recorder_to(table, listener, now)
    violate(recorder, *everyone)
    assert recorder.flush()
    assert (table.violations, listener.lost) == (0, 5_000)
    assert table.asked <= 2 * MAX_SPLITS + 1
    assert recorder.state.pending == 0


def test_an_outage_while_bad_rows_are_looked_for_loses_no_good_one(listener, now, caplog):
    table = Picky("c3")
    recorder = recorder_to(table, listener, now)
    violate(recorder, *(f"c{n}" for n in range(8)))
    write, calls = table.write, []

    def write_until_the_outage(batch):
        calls.append(batch)
        table.down = len(calls) > 3
        write(batch)

    table.write = write_until_the_outage
    assert not recorder.flush()
    assert recorder.state.pending == 8 - table.violations - listener.lost
    table.write, table.down = write, False
    now.seconds += 60.0
    recorder.tick()
    assert table.clients == {f"c{n}" for n in range(8) if n != 3}
    assert (listener.written, listener.lost, recorder.state.pending) == (7, 1, 0)
    assert caplog.text.count("1 violations and the usage of 0 requests dropped") == 1


def test_parts_that_are_left_at_the_end_are_counted_as_dropped(listener, now, caplog):
    table = Picky("c3")
    recorder = recorder_to(table, listener, now)
    violate(recorder, *(f"c{n}" for n in range(8)))
    write = table.write

    def refuse_once(batch):
        try:
            write(batch)
        finally:
            table.down = True

    table.write = refuse_once
    assert not recorder.close()
    assert (listener.written, listener.lost) == (0, 8)
    assert "8 violations and the usage of 0 requests could not be written before the end: down" in caplog.text


def test_each_part_is_written_once_under_an_id_of_its_own(listener, now):
    table = Picky("c1")
    recorder = recorder_to(table, listener, now)
    violate(recorder, "c0", "c1", "c2", "c3")
    recorder.flush()
    rows = [row.client for batch in table.batches.values() for row in batch.violations]
    assert sorted(rows) == ["c0", "c2", "c3"]


def test_to_close_again_says_that_not_all_was_written(recorder, table):
    table.failure = DatabaseUnreachableError("down")
    violate(recorder, "a")
    assert not recorder.close()
    table.failure = None
    assert not recorder.close()


def test_to_close_again_says_that_all_was_written(recorder):
    violate(recorder, "a")
    assert recorder.close()
    assert recorder.close()
