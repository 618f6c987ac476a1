"""Queries that run again and again in one request: which are a pattern, and which are not."""

from __future__ import annotations

import pytest
from query_executions import SHOP, run

from otel_ratelimit.queries.request_queries import RequestQueries


def test_savepoints_are_no_pattern(make, tables, listener, served):
    log = make()
    served.request = RequestQueries("/nested")
    run(log, range(9), statement="SAVEPOINT s")
    log.flush()
    assert tables.batches[-1].repeats == ()
    assert listener.suspects == []


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
