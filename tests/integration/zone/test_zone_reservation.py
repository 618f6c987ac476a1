"""Memory that a process reserves before it forks: one child prepares it, and the others use it."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forks import Child, at_once, gate, in_child
from zone_heads import COUNTER, SIZE, add_one, check, check_for, prepare

from otel_ratelimit.core.deadline import within
from otel_ratelimit.storage.zone.reservation import RESERVED_BYTES, Reservation, reserve_memory

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

CROWD = 12


@pytest.fixture
def reservation():
    made = Reservation(2 * SIZE)
    yield made
    made.close()


def test_one_of_the_children_that_come_at_once_prepares_it(reservation):
    def use(index):
        used = reservation.use(SIZE, prepare, check)
        used.memory[COUNTER + index] = 1
        return used.is_new

    made = at_once([lambda index=index: use(index) for index in range(CROWD)])
    assert made.count(True) == 1
    used = reservation.use(SIZE, prepare, check)
    assert used.is_new is False
    assert used.memory[COUNTER : COUNTER + CROWD] == b"\1" * CROWD


def in_the_middle(reservation, wait):
    """A child that has begun to prepare the memory, and waits then."""
    reader, writer = os.pipe()

    def begin(memory):
        memory[0] = 0xFF  # no head
        os.write(writer, b"1")
        wait()

    child = Child(lambda: reservation.use(SIZE, begin, check))
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    os.close(writer)
    return child


def prepare_all(memory):
    memory[0:16] = bytes(16)
    prepare(memory)


def test_a_child_that_is_killed_halfway_neither_locks_it_nor_leaves_half_a_head(reservation):
    child = in_the_middle(reservation, signal.pause)
    os.kill(child.pid, signal.SIGKILL)
    child.end()
    used = in_child(lambda: reservation.use(SIZE, prepare_all, check).is_new)
    assert used is True
    assert reservation.use(SIZE, prepare_all, check).is_new is False


def test_a_child_that_stops_halfway_holds_nobody_up(reservation):
    with gate() as (wait, open_gate):
        child = in_the_middle(reservation, wait)

        def attempt():
            with within(0.05):
                return reservation.use(SIZE, prepare_all, check)

        assert in_child(attempt) is None
        open_gate()
    child.end()


def test_too_little_memory_is_not_used(reservation):
    assert reservation.use(2 * SIZE + 1, prepare, check) is None


def test_memory_prepared_for_something_else_is_not_used(reservation, caplog):
    caplog.set_level(logging.INFO)
    in_child(lambda: reservation.use(SIZE, prepare, check).is_new)
    assert reservation.use(SIZE, prepare, check_for(b"2")) is None
    [said] = caplog.messages
    assert said == (
        "memory that the server reserved cannot be used: it has version 1, and 2 is needed;"
        " the workers share a file"
    )


def test_a_server_that_closed_all_descriptors_makes_it_unusable(reservation):
    def attempt():
        os.closerange(3, 256)
        os._exit(7 if reservation.use(SIZE, prepare, check) is None else 8)

    assert Child(attempt).end() == 7


def test_a_file_that_has_its_number_now_is_left_alone(reservation):
    def attempt():
        number = reservation._descriptor
        other = os.open("/dev/null", os.O_RDWR)
        os.dup2(other, number)
        used = reservation.use(SIZE, prepare, check)
        os.fstat(number)  # it is still open
        return used

    assert in_child(attempt) is None


def test_memory_outlives_the_reservation(reservation):
    memory = reservation.use(SIZE, prepare, check).memory
    reservation.close()
    in_child(lambda: add_one(memory))
    assert add_one(memory) == 2


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_stays_open_but_that_of_its_user():
    before = open_descriptors()
    for _ in range(3):
        os.close(Reservation(SIZE).use(SIZE, prepare, check).lock_file)
    assert open_descriptors() == before


def test_memory_is_reserved_once_and_is_large():
    made = reserve_memory()
    assert len(made._memory) == RESERVED_BYTES
    made.close()


PROGRAM = """
import resource
from otel_ratelimit.storage.zone.reservation import reserve_memory
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = {limit}
resource.setrlimit(resource.{kind}, (limit, limit))
made = reserve_memory()
print(used, 0 if made is None else len(made._memory))
"""


def used_and_reserved(kind, limit):
    """In a process of its own, because the address space of the tests' process may be large already."""
    program = PROGRAM.format(kind=kind, limit=limit)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


def test_a_limit_of_address_space_is_shared_with_the_application():
    assert used_and_reserved("RLIMIT_AS", 1024 * 2**20)[1] == 128 * 2**20


def test_less_is_reserved_where_the_system_refuses_much():
    left = 4 * 2**20
    used, reserved = used_and_reserved("RLIMIT_AS", f"used + {left}")
    assert (used + left) / 8 > left, "it asks for more than is left"
    assert 2**20 <= reserved <= left


def test_nothing_is_reserved_where_no_file_can_be_opened():
    assert used_and_reserved("RLIMIT_NOFILE", 0)[1] == 0
