"""Which memory the RateLimits of a process get, in real trees of processes."""

import ctypes
import os
import struct
import sys
from pathlib import Path

import pytest
from forks import Child, at_once, gate, in_child
from zone_heads import COUNTER, SIZE, add_one, check, check_for, prepare, prepare_as

from otel_ratelimit.storage.zone.process_tree import own_identity
from otel_ratelimit.storage.zone.server import ServerZones, named_memory

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="workers are known on Linux only"
)


@pytest.fixture
def zones(shared_folder):
    return ServerZones(lambda: shared_folder)


def following(zones, size=SIZE):
    found = zones.memory_for_next(size, prepare, check)
    assert check(found.memory) == ""
    return found


def counted(zones, times=1):
    """How each of the next ones of this process is made, and what it counts."""
    found = [following(zones) for _ in range(times)]
    return [(each.origin, add_one(each.memory)) for each in found]


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_each_of_a_process_that_is_no_worker_has_fresh_memory_of_its_own(zones, shared_folder):
    assert counted(zones, 200) == [("own", 1)] * 200
    assert names(shared_folder) == []


@pytest.mark.parametrize("is_reserved", [False, True], ids=["own", "reserved"])
def test_memory_is_unmapped_when_nothing_refers_to_it(zones, is_reserved):
    def mapped():
        return Path("/proc/self/maps").read_text(encoding="ascii").count("/dev/zero")

    before = mapped()
    if is_reserved:
        zones.reserve()
    kept = following(zones)
    assert kept.origin == ("reserved" if is_reserved else "own")
    assert mapped() == before + 1
    del kept
    assert mapped() == before


def test_siblings_share_by_the_number_of_the_ratelimit(zones, shared_folder):
    assert in_child(lambda: counted(zones, 2)) == [("server", 1), ("server", 1)]
    assert in_child(lambda: counted(zones, 3)) == [("server", 2), ("server", 2), ("server", 1)]
    assert in_child(lambda: counted(zones)) == [("server", 3)]
    assert len(names(shared_folder)) == 3


def test_siblings_that_start_at_once_share_one(zones, shared_folder):
    def sign(index):
        found = following(zones)
        found.memory[COUNTER + index] = 1
        return found.is_new

    assert at_once([lambda index=index: sign(index) for index in range(8)]).count(True) == 1
    found = in_child(lambda: bytes(following(zones).memory[COUNTER : COUNTER + 8]))
    assert found == b"\1" * 8
    assert len(names(shared_folder)) == 1


def test_other_sizes_are_other_zones(zones):
    assert in_child(lambda: following(zones).is_new) is True
    assert in_child(lambda: following(zones, 2 * SIZE).is_new) is True
    assert in_child(lambda: following(zones).is_new) is False


def test_a_zone_of_another_version_is_replaced(zones):
    in_child(lambda: zones.memory_for_next(SIZE, prepare_as(b"0"), check_for(b"0")).is_new)
    assert in_child(lambda: following(zones).is_new) is True
    assert in_child(lambda: following(zones).is_new) is False


def test_children_inherit_what_is_open_and_count_their_own_from_one(zones):
    inherited = following(zones)
    assert in_child(lambda: (add_one(inherited.memory), *counted(zones))) == (1, ("server", 1))
    assert in_child(lambda: (add_one(inherited.memory), *counted(zones))) == (2, ("server", 2))
    assert add_one(inherited.memory) == 3


def test_children_forked_in_c_count_their_own_from_one(zones):
    """As uWSGI forks: no hook of Python runs."""
    following(zones)
    following(zones)
    reader, writer = os.pipe()
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        try:
            os.write(writer, following(zones).path.name.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        name = answer.read().decode()
    assert name.endswith(f"-{own_identity().pid}-{own_identity().start}-1-{SIZE}")


def test_memory_that_was_reserved_serves_the_first_of_each_worker(zones, shared_folder):
    zones.reserve()
    assert in_child(lambda: counted(zones, 2)) == [("reserved", 1), ("server", 1)]
    assert in_child(lambda: counted(zones, 2)) == [("reserved", 2), ("server", 2)]
    assert in_child(lambda: in_child(lambda: counted(zones))) == [("reserved", 3)]
    assert counted(zones) == [("reserved", 4)]
    assert len(names(shared_folder)) == 1


def test_workers_of_a_daemon_use_what_was_reserved_before(zones):
    zones.reserve()
    assert in_child(lambda: (os.setsid(), in_child(lambda: counted(zones)))[1]) == [("reserved", 1)]
    assert in_child(lambda: (os.setsid(), in_child(lambda: counted(zones)))[1]) == [("reserved", 2)]


def test_memory_that_an_ancestor_uses_is_not_used_again(zones):
    zones.reserve()
    ours = following(zones)
    assert ours.origin == "reserved"
    assert in_child(lambda: (add_one(ours.memory), *counted(zones))) == (1, ("server", 1))
    assert counted(zones) == [("own", 1)]
    assert add_one(ours.memory) == 2


def test_memory_reserved_for_another_size_makes_way_for_a_file(zones):
    zones.reserve()
    assert in_child(lambda: following(zones).origin) == "reserved"

    def other():
        found = zones.memory_for_next(2 * SIZE, prepare_as(b"2"), check_for(b"2"))
        return found.origin, counted(zones)

    assert in_child(other) == ("server", [("server", 1)])


def test_more_than_was_reserved_is_a_file(zones):
    zones.reserve()
    assert in_child(lambda: following(zones, 257 * 2**20).origin) == "server"


def test_a_worker_reserves_nothing_because_its_siblings_would_not_have_it(zones):
    def worker():
        zones.reserve()
        return counted(zones)

    assert in_child(worker) == [("server", 1)]
    assert in_child(worker) == [("server", 2)]


def test_memory_reserved_late_is_for_children_alone(zones):
    following(zones)
    zones.reserve()
    assert in_child(lambda: counted(zones)) == [("reserved", 1)]
    assert counted(zones) == [("own", 1)]
    assert in_child(lambda: counted(zones)) == [("reserved", 2)]


def test_a_second_reservation_changes_nothing(zones):
    zones.reserve()
    assert in_child(lambda: counted(zones)) == [("reserved", 1)]
    zones.reserve()
    assert in_child(lambda: counted(zones)) == [("reserved", 2)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_that_dropped_their_privileges_share(zones, shared_folder):
    def worker():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return counted(zones)

    assert in_child(worker) == [("server", 1)]
    assert in_child(worker) == [("server", 2)]
    [path] = shared_folder.iterdir()
    assert (path.stat().st_uid, path.name.partition("-server=")[0]) == (65534, "otel-ratelimit-65534")


def test_workers_of_another_server_have_another_zone(zones):
    with gate() as (wait, open_gate):

        def server():
            found = in_child(lambda: counted(zones))
            wait()
            return found

        servers = [Child(server) for _ in range(2)]
        open_gate()
        assert [child.result() for child in servers] == [[("server", 1)], [("server", 1)]]


def test_the_file_of_a_server_that_has_ended_is_removed_when_the_next_one_is_made(zones, shared_folder):
    in_child(lambda: in_child(lambda: following(zones).is_new))
    [stale] = names(shared_folder)
    in_child(lambda: following(zones).is_new)
    [name] = names(shared_folder)
    assert name != stale


def test_threads_of_a_process_never_get_the_same_number(zones, shared_folder):
    def worker():
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            return len({found.path for found in pool.map(lambda _: following(zones), range(32))})

    assert in_child(worker) == 32


def test_a_named_zone_is_that_of_all_processes_of_the_user(shared_folder, program_output):
    def opened():
        return named_memory("shop", SIZE, prepare, check, lambda: shared_folder)

    made = opened()
    assert (made.origin, made.path, made.is_new) == (
        "named",
        shared_folder / f"otel-ratelimit-{os.geteuid()}-shop",
        True,
    )
    made.memory[COUNTER : COUNTER + 8] = struct.pack("<Q", 41)
    program = """
        import sys
        from pathlib import Path
        from zone_heads import SIZE, check, prepare, add_one
        from otel_ratelimit.storage.zone.server import named_memory
        print(add_one(named_memory("shop", SIZE, prepare, check, lambda: Path(sys.argv[1])).memory))
    """
    assert program_output(program, shared_folder) == 42
    assert made.memory[COUNTER] == 42
    assert opened().is_new is False
