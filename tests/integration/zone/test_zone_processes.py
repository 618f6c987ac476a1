"""Which processes share a zone, what each has decided, and which one reports the gauges."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import pytest
from forks import Child, gate, in_child

from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.storage.zone import processes
from otel_ratelimit.storage.zone.layout import MAX_PROCESSES
from otel_ratelimit.storage.zone.mapping import anonymous
from otel_ratelimit.storage.zone.opened import Zone, prepare
from otel_ratelimit.storage.zone.process_row import LEASE_SECONDS, ProcessRow
from otel_ratelimit.storage.zone.processes import UNSEEN_SECONDS, ProcessTable, SharingProcess

SIZE = 1_000_000
START = 1_700_000_000.0
ALLOWED, BLOCKED = DecisionKind.ALLOWED, DecisionKind.BLOCKED


class Clock:
    now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def memory():
    memory = anonymous(SIZE)
    prepare(memory, SIZE, "mutex", START)
    return memory


@pytest.fixture
def row(memory, clock):
    return ProcessRow(Zone(memory, SIZE), clock)


@pytest.fixture
def another_row(memory, clock):
    """Makes further rows, as other RateLimits of this process on the same zone do."""
    return lambda: ProcessRow(Zone(memory, SIZE), clock)


def none_but(**decided):
    return {kind: decided.get(kind.value, 0) for kind in DecisionKind}


def test_a_process_is_listed_with_what_it_decided(row, clock):
    row.begin()
    clock.now += 5
    row.write({ALLOWED: 7, BLOCKED: 2})
    (listed,) = row.sharing().living
    assert listed == SharingProcess(os.getpid(), START, START + 5, none_but(allowed=7, blocked=2))


def test_totals_replace_those_written_before(row):
    row.write({ALLOWED: 7})
    row.write({ALLOWED: 9, DecisionKind.ERROR: 1})
    assert row.sharing().living[0].decisions == none_but(allowed=9, error=1)


def test_each_process_has_its_row_and_counts_from_zero_after_a_fork(row):
    row.write({ALLOWED: 100})

    def serve():
        row.write({ALLOWED: 3})
        return [(each.pid, each.decisions[ALLOWED]) for each in row.sharing().living]

    child = Child(serve)
    assert child.result() == [(os.getpid(), 100), (child.pid, 3)]


def test_a_process_forked_in_c_counts_from_zero_in_a_row_of_its_own(row):
    # uWSGI forks so: Python's hooks do not run, and its objects still hold what the parent counted.
    row.write({ALLOWED: 100})
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        try:
            row.write({ALLOWED: 103})
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    found = row.sharing()
    assert [(each.pid, each.decisions[ALLOWED]) for each in found.living] == [(os.getpid(), 100)]
    assert (found.ended, found.ended_decisions[ALLOWED]) == (1, 3)


def test_what_a_killed_process_had_decided_stays_in_the_totals(row):
    with gate() as (wait, _):
        child = Child(lambda: (row.write({ALLOWED: 5, BLOCKED: 1}), wait()))
        while len(row.sharing().living) < 1:
            time.sleep(0.001)
        os.kill(child.pid, signal.SIGKILL)
        child.end()
    found = row.sharing()
    assert found.living == ()
    assert (found.ended, found.ended_decisions) == (1, none_but(allowed=5, blocked=1))


def test_three_hundred_workers_one_after_the_other_need_no_more_rows(row, memory):
    row.begin()
    zone = Zone(memory, SIZE)
    table = ProcessTable(zone)
    for number in range(300):
        table.claim(START)
        # A process that never was: its number is above the kernel's maximum.
        write_pid(zone, table, (1 << 30) + number)
    found = row.sharing()
    assert (len(found.living), found.ended, found.is_full) == (1, 300, False)


def write_pid(zone, table, pid):
    *_, last = table.rows()
    at = zone.layout.processes_at + table.number_of(last.token) * processes.PROCESS_BYTES
    zone.words[(at >> 3) + 1] = pid


def test_a_table_full_of_living_processes_says_that_one_is_missing(row, memory, clock, caplog):
    table = ProcessTable(Zone(memory, SIZE))
    while table.claim(START) is not None:
        pass
    row.begin()
    row.write({ALLOWED: 1})
    found = row.sharing()
    assert found.is_full
    assert found.living[0].decisions == none_but()
    assert caplog.text.count(f"{MAX_PROCESSES - 1} processes share it") == 1
    assert not row.reports_gauges()


def test_two_stores_of_one_process_are_listed_as_one(row, another_row):
    other = another_row()
    row.write({ALLOWED: 1})
    other.write({ALLOWED: 2, BLOCKED: 4})
    found = row.sharing()
    assert [each.decisions for each in found.living] == [none_but(allowed=3, blocked=4)]
    other.close()
    found = row.sharing()
    assert (found.ended, found.ended_decisions) == (0, none_but(allowed=2, blocked=4))
    assert [each.decisions for each in found.living] == [none_but(allowed=1)]
    row.close()
    assert (row.sharing().living, row.sharing().ended) == ((), 1)


def test_a_closed_row_is_not_claimed_again(row):
    row.write({ALLOWED: 1})
    row.close()
    row.write({ALLOWED: 2})
    assert row.sharing().living == ()
    assert row.sharing().ended_decisions[ALLOWED] == 1


def test_a_process_in_another_container_is_alive_for_as_long_as_it_is_seen(row, clock, monkeypatch):
    row.write({ALLOWED: 4})
    monkeypatch.setattr(processes, "pid_namespace", lambda: 1)
    clock.now += UNSEEN_SECONDS - 1
    assert row.sharing().living
    clock.now += 2
    assert not row.sharing().living
    # It was idle only: what it had decided is counted once.
    row.write({ALLOWED: 6})
    found = row.sharing()
    assert (found.living[0].decisions[ALLOWED], found.ended_decisions[ALLOWED]) == (2, 4)


# --- the lease on the gauges ---


def test_one_process_reports_the_gauges_and_the_others_do_not(row):
    assert row.reports_gauges()
    assert in_child(row.reports_gauges) is False
    assert row.reports_gauges()


def test_of_two_stores_in_one_process_one_reports(row, another_row):
    assert [row.reports_gauges(), another_row().reports_gauges(), row.reports_gauges()] == [True, False, True]


def test_another_process_reports_when_the_holder_is_dead(row):
    assert in_child(row.reports_gauges)
    assert row.reports_gauges()


def test_another_process_reports_when_the_holder_has_closed(row, another_row):
    assert row.reports_gauges()
    other = another_row()
    row.close()
    assert other.reports_gauges()


def test_another_process_reports_when_the_holder_has_not_collected_for_long(row, another_row, clock):
    other = another_row()
    assert row.reports_gauges()
    clock.now += LEASE_SECONDS - 1
    assert not other.reports_gauges()
    assert row.reports_gauges()
    clock.now += LEASE_SECONDS - 1
    assert not other.reports_gauges()
    clock.now += 2
    assert other.reports_gauges()
    assert not row.reports_gauges()


def test_a_lock_that_cannot_be_had_costs_the_row_nothing(row, memory, clock):
    row.write({ALLOWED: 1})
    with gate() as (wait, _):
        reader, writer = os.pipe()
        holder = Zone(memory, SIZE)

        def stop_with_the_lock():
            with holder.locked():
                os.write(writer, b"1")
                os.kill(os.getpid(), signal.SIGSTOP)
                wait()

        child = Child(stop_with_the_lock)
        os.read(reader, 1)
        os.waitpid(child.pid, os.WUNTRACED)
        row.write({ALLOWED: 2})
        assert not row.reports_gauges()
        os.kill(child.pid, signal.SIGKILL)
        child.end()
    row.write({ALLOWED: 3})
    assert row.sharing().living[0].decisions[ALLOWED] == 3
    os.close(reader)
    os.close(writer)
