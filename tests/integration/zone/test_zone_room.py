"""A folder for shared memory that is small or full, as in containers."""

import os

from components import MissingError

PROGRAM = """
import json, mmap, os, sys
from pathlib import Path
from forks import at_once, in_child
from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.storage.zone.mapping import open_file
from otel_ratelimit.storage.zone.server import ServerZones
from zone_heads import SIZE, check, prepare

folder = Path(sys.argv[1])

def attempt(size):
    try:
        return open_file(folder / "zone", size, prepare, check).is_new
    except ZoneMemoryError as error:
        return str(error)
"""


def test_too_little_room_is_an_error_that_says_how_much_is_needed(in_namespaces, tmp_path):
    ask = PROGRAM + "print(json.dumps([attempt(50_000_000), os.listdir(folder), attempt(900_000)]))"
    said, left, made = in_namespaces("-m", f"mount -t tmpfs -o size=1m none {tmp_path}", ask, tmp_path)
    assert said == (
        f"{tmp_path}/zone: 50.0 MB are needed, and 1.0 MB are free; choose a smaller capacity,"
        f" or make {tmp_path} larger (docker run --shm-size)"
    )
    assert left == []
    assert made is True


def test_room_that_others_take_later_does_not_kill_who_writes(in_namespaces, tmp_path):
    ask = f"""{PROGRAM}
memory = open_file(folder / "zone", 600_000, prepare, check).memory
try:
    (folder / "others").write_bytes(bytes(1_000_000))
except OSError as error:
    full = error.strerror
memory[100:] = bytes(599_900)
print(json.dumps(full))"""
    full = in_namespaces("-m", f"mount -t tmpfs -o size=1m none {tmp_path}", ask, tmp_path)
    assert full == "No space left on device"


def test_workers_that_start_at_once_need_room_for_one_zone(in_namespaces, tmp_path):
    ask = PROGRAM + "print(json.dumps(at_once([lambda: attempt(900_000)] * 8)))"
    made = in_namespaces("-m", f"mount -t tmpfs -o size=1m none {tmp_path}", ask, tmp_path)
    assert sorted(made, key=str) == [False] * 7 + [True]


def test_a_worker_without_room_gets_the_error(in_namespaces, tmp_path):
    ask = f"""{PROGRAM}
zones = ServerZones(lambda: folder)
def worker():
    try:
        return zones.memory_for_next(2_000_000, prepare, check).origin
    except ZoneMemoryError as error:
        return str(error)
print(json.dumps(in_child(worker)))"""
    said = in_namespaces("-m", f"mount -t tmpfs -o size=1m none {tmp_path}", ask, tmp_path)
    assert "2.0 MB are needed, and 1.0 MB are free" in said
    assert "\n" not in said


def test_a_folder_that_is_read_only_is_an_error_that_says_who_must_write(in_namespaces, tmp_path):
    ask = PROGRAM + "print(json.dumps(attempt(1000)))"
    said = in_namespaces("-m", f"mount -t tmpfs -o ro none {tmp_path}", ask, tmp_path)
    assert "(Read-only file system)" in said
    assert f"must be able to write to {tmp_path}" in said


def test_a_folder_of_another_user_is_an_error_that_says_who_must_write(in_namespaces, tmp_path):
    if os.geteuid() != 0:
        raise MissingError("another user", "run the tests as root")
    ask = PROGRAM + "os.setuid(65534)\nprint(json.dumps(attempt(1000)))"
    said = in_namespaces("-m", f"mount -t tmpfs -o mode=755 none {tmp_path}", ask, tmp_path)
    assert "(Permission denied); user 65534 must be able to write" in said
