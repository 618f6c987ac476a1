"""Many processes that open the same file at once, and processes that are killed while they make one."""

import fcntl
import os
import signal
import time

import pytest
from forks import Child, at_once, gate, in_child
from zone_heads import COUNTER, SIZE, check, check_for, prepare, prepare_as

from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.storage.zone.creation_lock import only_maker
from otel_ratelimit.storage.zone.mapping import open_file
from otel_ratelimit.storage.zone.zone_files import lock_path, named_path, temporary_path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

CROWD = 12


@pytest.fixture
def path(tmp_path):
    return named_path(tmp_path, "shop")


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def sign(path, index):
    """Open the file, and leave a sign in it."""
    opened = open_file(path, SIZE, prepare, check)
    opened.memory[COUNTER + index] = 1
    return opened.is_new


def assert_one_file_for_all(path, made):
    assert made.count(True) == 1
    memory = open_file(path, SIZE, prepare, check).memory
    assert memory[COUNTER : COUNTER + len(made)] == b"\1" * len(made)
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("round_", range(5))
def test_all_processes_that_start_at_once_get_the_same_file(path, round_):
    made = at_once([lambda index=index: sign(path, index) for index in range(CROWD)])
    assert_one_file_for_all(path, made)


@pytest.mark.parametrize("round_", range(5))
def test_all_processes_that_replace_a_file_at_once_get_the_same_new_one(path, round_, capfd):
    open_file(path, SIZE, prepare_as(b"0"), check_for(b"0"))
    made = at_once([lambda index=index: sign(path, index) for index in range(CROWD)])
    assert_one_file_for_all(path, made)


def stopped_while_making(path):
    """A child that has made a file under a temporary name, holds the lock and goes no further."""
    reader, writer = os.pipe()

    def stop(memory):
        prepare(memory)
        os.write(writer, b"1")
        signal.pause()

    child = Child(lambda: open_file(path, SIZE, stop, check))
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    return child


def test_what_a_killed_process_left_is_removed_by_the_next_one(path):
    child = stopped_while_making(path)
    assert len(names(path.parent)) == 2
    os.kill(child.pid, signal.SIGKILL)
    assert child.end() == -signal.SIGKILL
    assert open_file(path, SIZE, prepare, check).is_new
    assert names(path.parent) == [path.name]


def test_a_process_waits_for_the_one_that_makes_the_file(path):
    """Two files that are made at the same time need twice the room."""
    maker = stopped_while_making(path)
    before = names(path.parent)
    assert lock_path(path.parent).name in before
    with within(0.05), pytest.raises(ZoneMemoryError, match="locked it for too long"):
        sign(path, 1)
    assert names(path.parent) == before
    waiting = Child(lambda: sign(path, 1))
    os.kill(maker.pid, signal.SIGKILL)
    maker.end()
    assert waiting.result() is True


def make_and_remove(path):
    sign(path, 1)
    path.unlink(missing_ok=True)


def test_processes_killed_at_any_moment_spoil_nothing(path):
    for pause in range(40):
        with gate() as (wait, open_gate):
            children = [
                Child(lambda wait=wait: (wait(), [make_and_remove(path) for _ in range(1000)]))
                for _ in range(2)
            ]
            open_gate()
            time.sleep(pause / 4000)
            for child in children:
                os.kill(child.pid, signal.SIGKILL)
        for child in children:
            child.end()
        opened = open_file(path, SIZE, prepare, check)
        assert check(opened.memory) == ""
    path.unlink()
    open_file(path, SIZE, prepare, check)
    assert names(path.parent) == [path.name]


def test_one_process_at_a_time_holds_the_lock(tmp_path):
    inside = tmp_path / "inside"

    def enter():
        for _ in range(50):
            with only_maker(tmp_path):
                inside.mkdir()
                inside.rmdir()

    at_once([enter] * 4)
    assert names(tmp_path) == []


def test_a_lock_on_a_file_that_has_just_been_removed_is_no_lock(tmp_path, monkeypatch):
    path, locks = lock_path(tmp_path), []

    def lock_too_late(descriptor, operation):
        if not locks:  # its holder goes, and another process makes the next file
            path.unlink()
            path.touch(0o600)
        locks.append(operation)
        flock(descriptor, operation)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with only_maker(tmp_path):
        assert len(locks) == 2
        with pytest.raises(ZoneMemoryError), only_maker(tmp_path, seconds=0):
            pass


def test_a_file_is_never_missing_while_it_is_replaced(path):
    versions = [b"0", b"1"] * 150
    open_file(path, SIZE, prepare_as(b"1"), check_for(b"1"))
    with gate() as (wait, open_gate):

        def watch():
            wait()
            while bytes(open_file(path.parent / "end", 16, lambda _: None, lambda _: "").memory[:1]) != b"1":
                path.stat()

        end = open_file(path.parent / "end", 16, lambda _: None, lambda _: "").memory
        watcher = Child(watch)
        open_gate()
        for version in versions:
            assert open_file(path, SIZE, prepare_as(version), check_for(version)).is_new
        end[:1] = b"1"
        watcher.result()


def test_the_lock_is_free_although_a_child_was_forked_while_it_was_held(tmp_path):
    with gate() as (wait, open_gate):
        with only_maker(tmp_path):
            child = Child(wait)
        with only_maker(tmp_path, seconds=1):
            pass
        open_gate()
    child.end()


def test_temporary_names_differ(tmp_path):
    assert temporary_path(tmp_path) != temporary_path(tmp_path)
    assert temporary_path(tmp_path) != in_child(lambda: temporary_path(tmp_path))
