"""The query log while nothing can be written, without a key, at the end and after a fork."""

from __future__ import annotations

import pytest
from query_executions import run

from otel_ratelimit.core.delivery import MAX_MISTAKES
from otel_ratelimit.core.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    DataRejectedError,
    PartWrittenError,
)
from otel_ratelimit.queries import execution_intake as intake
from otel_ratelimit.queries import pending_rows
from otel_ratelimit.queries.key_secret import KEY_REPLACED


def failing():
    raise DatabaseError("away")


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


def test_a_batch_that_cannot_be_serialised_is_dropped_and_does_not_hold_up_the_rest(
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
