"""Memory that processes share: which files are used, refused or replaced."""

import logging
import mmap
import os
import stat
import sys
from pathlib import Path

import pytest
from forks import in_child
from zone_heads import COUNTER, SIZE, add_one, check, check_for, prepare, prepare_as

from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.storage.zone.creation_lock import only_maker
from otel_ratelimit.storage.zone.mapping import anonymous, open_file
from otel_ratelimit.storage.zone.zone_files import named_path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture
def path(tmp_path):
    return named_path(tmp_path, "shop")


def opened(path, size=SIZE):
    return open_file(path, size, prepare, check)


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_memory_without_a_name_is_shared_with_children_forked_later():
    memory = anonymous(SIZE)
    assert in_child(lambda: add_one(memory)) == 1
    assert in_child(lambda: add_one(memory)) == 2
    assert add_one(memory) == 3


def test_memory_without_a_name_costs_nothing_until_it_is_used():
    def resident():
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE

    before = resident()
    memory = anonymous(512 * 2**20)
    assert resident() - before < 2**22
    assert len(memory) == 512 * 2**20


def test_memory_that_the_system_refuses_is_an_error_that_says_what_to_do():
    with pytest.raises(ZoneMemoryError, match=r"refuses [0-9.]+ MB .*; choose a smaller capacity"):
        anonymous(sys.maxsize // mmap.PAGESIZE * mmap.PAGESIZE)


def test_a_file_is_made_once_and_then_opened(path):
    made, again = opened(path), opened(path)
    assert (made.is_new, again.is_new) == (True, False)
    assert add_one(made.memory) == 1
    assert add_one(again.memory) == 2
    assert in_child(lambda: add_one(opened(path).memory)) == 3
    assert names(path.parent) == [path.name]


def test_a_file_is_for_its_user_alone(path):
    before = os.umask(0)
    try:
        opened(path)
    finally:
        os.umask(before)
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.geteuid())


def test_a_file_has_its_room_from_the_beginning(path):
    opened(path)
    assert path.stat().st_blocks * 512 >= SIZE


def test_no_descriptor_stays_open_when_the_memory_has_gone(path):
    opened(path)
    before = names(Path("/proc/self/fd"))
    opened(path)
    assert names(Path("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.symlink_to("/etc/hostname"), "it is a symbolic link"),
        (lambda path: path.symlink_to(path.parent / "missing"), "it is a symbolic link"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: os.mkfifo(path, 0o600), "it is not a regular file"),
        (lambda path: (opened(path), path.chmod(0o660)), "its permissions are 0660, and 0600 are needed"),
    ],
    ids=["link", "dangling link", "folder", "pipe", "open to a group"],
)
def test_what_is_not_certainly_ours_is_refused_and_left_alone(path, make, fault):
    make(path)
    before = path.lstat()
    with pytest.raises(ZoneMemoryError) as refused:
        opened(path)
    assert str(refused.value) == f"{path}: {fault}; remove it, or use another name"
    assert os.path.samestat(path.lstat(), before)
    assert names(path.parent) == [path.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("who", [0, 65534], ids=["root", "nobody"])
def test_a_file_of_another_user_is_refused(shared_folder, who):
    path = shared_folder / f"otel-ratelimit-{who}-shop"
    path.write_bytes(bytes(SIZE))
    path.chmod(0o600)
    os.chown(path, 1234, 1234)

    def attempt():
        os.setuid(who)
        with pytest.raises(ZoneMemoryError) as refused:
            opened(named_path(shared_folder, "shop"))
        return str(refused.value)

    fault = f"it belongs to user 1234, and this process runs as user {who}"
    assert in_child(attempt) == f"{path}: {fault}; remove it, or use another name"
    assert path.stat().st_uid == 1234


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        ((SIZE * 2, b"1"), f"it has {SIZE * 2} bytes, and {SIZE} are needed"),
        ((SIZE // 2, b"1"), f"it has {SIZE // 2} bytes, and {SIZE} are needed"),
        ((SIZE, b"0"), "it has version 0, and 1 is needed"),
    ],
    ids=["larger", "smaller", "version"],
)
def test_a_file_of_ours_that_does_not_fit_is_replaced_and_that_is_said(path, old, reason, caplog):
    size, version = old
    before = open_file(path, size, prepare_as(version), check_for(version))
    caplog.set_level(logging.WARNING)
    new = opened(path)
    assert new.is_new
    assert caplog.messages == [f"{path} cannot be used: {reason}; a new one was made"]
    assert opened(path).is_new is False
    # Those that use the old file keep it, and see nothing of the new one.
    before.memory[100:104] = b"kept"
    assert bytes(before.memory[100:104]) == b"kept"
    assert bytes(new.memory[100:104]) == bytes(4)
    assert names(path.parent) == [path.name]


def test_an_empty_file_of_ours_is_replaced(path):
    path.touch(0o600)
    assert opened(path).is_new


def test_nothing_is_left_behind_when_the_head_cannot_be_written(path):
    def fail(memory):
        raise ValueError("no head")

    with pytest.raises(ValueError, match="no head"):
        open_file(path, SIZE, fail, check)
    assert names(path.parent) == []
    assert opened(path).is_new


def test_a_file_that_appears_while_another_is_made_is_never_replaced(path):
    def prepare_too_late(memory):
        prepare(memory)
        if not path.exists():
            path.write_bytes(memory[:])  # by a process that does not respect the lock
            path.chmod(0o600)

    ours = open_file(path, SIZE, prepare_too_late, check)
    assert ours.is_new is False
    ours.memory[COUNTER] = 7
    assert path.read_bytes()[COUNTER] == 7
    assert names(path.parent) == [path.name]


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    path = named_path(tmp_path / "missing", "shop")
    with pytest.raises(ZoneMemoryError, match=r"could not be made or opened \(No such file or directory\)"):
        opened(path)


def test_a_name_that_is_too_long_is_an_error(tmp_path):
    with pytest.raises(ZoneMemoryError, match="File name too long"):
        opened(named_path(tmp_path, "x" * 300))


def test_a_process_that_holds_the_lock_for_too_long_is_an_error(path):
    with only_maker(path.parent), within(0.05):

        def attempt():
            with pytest.raises(ZoneMemoryError) as refused:
                opened(path)
            return str(refused.value)

        said = in_child(attempt)
    assert "another process has locked it for too long; end that process if it is stopped" in said
    assert opened(path).is_new
    assert names(path.parent) == [path.name]


def test_a_lock_that_is_a_link_is_refused(path):
    (path.parent / f"otel-ratelimit-{os.geteuid()}-lock=").symlink_to(path.parent / "elsewhere")
    with pytest.raises(ZoneMemoryError):
        opened(path)
    assert not (path.parent / "elsewhere").exists()
