"""Which processes are workers of a server, in real trees of processes."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from components import MissingError
from forks import Child, gate, in_child

from otel_ratelimit.storage.zone.process_tree import (
    ProcessIdentity,
    is_forked_worker,
    lives,
    own_identity,
    pid_namespace,
    read_stat,
    server_identity,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this system")

REPORT = """
import json
from forks import in_child
from otel_ratelimit.storage.zone.process_tree import is_forked_worker, own_identity, server_identity

def me(): return [own_identity().pid, own_identity().start]
def server(): found = server_identity(); return found and [found.pid, found.start]
"""


def test_a_forked_child_is_a_worker_of_its_parent():
    assert in_child(is_forked_worker)
    assert in_child(server_identity) == own_identity()
    assert own_identity().start > 0


def test_a_program_that_was_started_is_no_worker(program_output):
    assert program_output(REPORT + "print(json.dumps(is_forked_worker()))") is False


def test_a_program_that_a_worker_starts_is_no_worker_and_its_children_are_its_own(program_output):
    ask = REPORT + "print(json.dumps([is_forked_worker(), me(), in_child(server)]))"
    is_worker, itself, server_of_child = in_child(lambda: program_output(ask))
    assert is_worker is False
    assert server_of_child == itself


def test_a_worker_of_a_worker_belongs_to_the_nearer_one():
    def worker():
        return own_identity(), in_child(server_identity)

    nearer, found = in_child(worker)
    assert found == nearer


def test_a_daemon_is_no_worker_and_its_children_are_its_workers():
    reader, writer = os.pipe()

    def become_a_daemon():
        os.setsid()
        parent = os.getpid()
        Child(lambda: (wait_for_new_parent(parent), os.write(writer, report())))

    def report():
        server_of_child = in_child(server_identity)
        return f"{is_forked_worker()} {server_of_child == own_identity()}".encode()

    Child(become_a_daemon).result()
    os.close(writer)
    assert os.read(reader, 100) == b"False True"
    os.close(reader)


def wait_for_new_parent(parent):
    while os.getppid() == parent:
        os.sched_yield()


def test_a_child_in_a_session_of_its_own_is_no_worker():
    assert in_child(lambda: (os.setsid(), is_forked_worker())[1]) is False


@pytest.mark.parametrize("name", ["a) S 1 (b", ")", "((", "x 1 2 3"])
def test_a_server_may_have_any_name(name):
    def server():
        Path("/proc/self/comm").write_text(name, encoding="ascii")
        return own_identity(), in_child(server_identity)

    itself, found = in_child(server)
    assert found == itself
    assert itself.start > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_worker_that_dropped_its_privileges_finds_its_server():
    def worker():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        assert not os.access(f"/proc/{os.getppid()}/environ", os.R_OK)
        return server_identity(), pid_namespace()

    assert in_child(worker) == (own_identity(), pid_namespace())
    assert pid_namespace() > 0


def test_process_1_of_a_container_may_be_a_server(in_namespaces):
    ask = REPORT + "print(json.dumps([is_forked_worker(), me(), in_child(server)]))"
    is_worker, itself, server_of_child = in_namespaces("-mpf --mount-proc", "true", ask)
    assert (is_worker, itself[0], server_of_child) == (False, 1, itself)


def test_numbers_of_another_namespace_are_not_believed(in_namespaces):
    ask = REPORT + "print(json.dumps([own_identity().start, in_child(is_forked_worker)]))"
    assert in_namespaces("-pf", "true", ask) == [0, False]


def test_each_container_has_its_own_namespace(in_namespaces):
    ask = (
        REPORT + "from otel_ratelimit.storage.zone.process_tree import pid_namespace\nprint(pid_namespace())"
    )
    there = in_namespaces("-mpf --mount-proc", "true", ask)
    assert there > 0
    assert there != pid_namespace()


def test_a_server_that_the_system_hides_is_not_guessed(in_namespaces):
    if os.geteuid() != 0:
        raise MissingError("another user", "run the tests as root")
    ask = f"""{REPORT}
import os
def dropped(): os.setgroups([]); os.setgid(65534); os.setuid(65534); return is_forked_worker()
print(json.dumps([in_child(is_forked_worker), in_child(dropped)]))"""
    assert in_namespaces("-mpf --mount-proc", "mount -o remount,hidepid=2 /proc", ask) == [True, False]


@pytest.mark.parametrize("missing", ["self", "own stat", "stat of the server"])
def test_nothing_is_guessed_where_proc_is_incomplete(tmp_path, missing):
    def worker():
        for pid in (os.getpid(), os.getppid()):
            (tmp_path / str(pid)).mkdir()
            shutil.copy(f"/proc/{pid}/stat", tmp_path / str(pid) / "stat")
        (tmp_path / "self").symlink_to(str(os.getpid()))
        complete = is_forked_worker(tmp_path)
        taken = {"self": "self", "own stat": f"{os.getpid()}/stat"}.get(missing, f"{os.getppid()}/stat")
        (tmp_path / taken).unlink()
        return complete, is_forked_worker(tmp_path)

    assert in_child(worker) == (True, False)


def test_a_process_lives_until_it_has_ended():
    with gate() as (wait, open_gate):
        child = Child(wait)
        itself = ProcessIdentity(child.pid, read_stat(child.pid).start)
        assert lives(itself)
        assert lives(ProcessIdentity(child.pid, 0))
        assert not lives(ProcessIdentity(child.pid, itself.start + 1))
        open_gate()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not lives(itself)  # a zombie
    child.end()
    assert not lives(itself)
    assert lives(own_identity())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_lives():
    itself = own_identity()
    assert in_child(lambda: (os.setuid(65534), lives(itself))[1])
    assert not in_child(lambda: (os.setuid(65534), lives(ProcessIdentity(itself.pid, itself.start + 1)))[1])


def test_a_worker_whose_server_was_killed_belongs_to_it_no_more():
    reader, writer = os.pipe()

    def server():
        os.setsid()
        parent = os.getpid()
        Child(lambda: (wait_for_new_parent(parent), os.write(writer, str(is_forked_worker()).encode())))
        os.kill(os.getpid(), signal.SIGKILL)

    assert Child(server).end() == -signal.SIGKILL
    os.close(writer)
    assert os.read(reader, 100) == b"False"
    os.close(reader)
