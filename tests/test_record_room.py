"""Room on disks: what is tried, and what follows when there is none."""

import errno
import os

import pytest

from loadkeeper.linux.quotas import may_have_a_quota
from loadkeeper.record import room as module
from loadkeeper.record.room import EVERY, GROWN, TRY, Room


@pytest.fixture
def quota(monkeypatch):
    """What may be written yet: statvfs says nothing of it."""
    left = [1 << 30]
    real = os.pwrite

    def write(descriptor, content, place):
        if len(content) > left[0]:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return real(descriptor, content, place)

    monkeypatch.setattr(module.os, "pwrite", write)
    monkeypatch.setattr(module, "may_have_a_quota", lambda path: True)
    return left


def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path, quota):
    room = Room([str(tmp_path)])
    room.look(10.0)
    assert not room.short
    quota[0] = 100
    room.look(20.0, soon=True)
    assert room.short
    assert "quota" in room.fault
    assert str(tmp_path) in room.fault
    assert room.was_full_since(15.0), "who ran then is not believed"
    assert not room.was_full_since(21.0)
    quota[0] = 1 << 30
    room.look(21.0 + EVERY)  # tried again though nothing ended
    assert not room.short
    assert room.fault == ""
    room.close()


def test_what_was_tried_takes_little_room_and_has_no_name(tmp_path, quota):
    room = Room([str(tmp_path)])
    for second in range(3 * GROWN):
        room.look(float(second), soon=True)
    (place,) = room._places
    assert place.file is not None
    assert 0 < os.fstat(place.file).st_size <= GROWN * TRY
    assert os.listdir(tmp_path) == []
    room.close()


def test_a_place_where_nothing_can_be_tried_is_believed(tmp_path, monkeypatch, quota):
    def refuse(*_arguments, **_more):
        raise OSError(errno.EOPNOTSUPP, "no such files here")

    monkeypatch.setattr(module.os, "open", refuse)
    room = Room([str(tmp_path)])
    room.look(10.0, soon=True)
    assert not room.short


def test_tries_are_few(tmp_path, monkeypatch, quota):
    """A thousand tasks a second end; ten tries are enough."""
    tries = []
    monkeypatch.setattr(module, "_is_refused", lambda place: bool(tries.append(place)))
    room = Room([str(tmp_path)])
    for millisecond in range(1000):
        room.look(50 + millisecond / 1000, soon=True)
    assert 8 <= len(tries) <= 11


def test_nothing_is_tried_where_there_is_no_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "may_have_a_quota", lambda path: False)
    room = Room([str(tmp_path)])
    room.look(10.0, soon=True)
    assert room._places[0].file is None


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (b"rw,relatime - ext4 /dev/vda rw", False),
        (b"rw,relatime - ext4 /dev/vda rw,quota,usrquota", True),
        (b"rw,relatime - xfs /dev/vda rw,attr2,noquota", False),
        (b"rw,relatime - xfs /dev/vda rw,attr2,usrquota", True),
        (b"rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2", True),
        (b"rw,relatime - fuse.sshfs x rw", True),
        (b"rw,quota - tmpfs none rw", True),
    ],
)
def test_mounts_that_may_have_a_quota(tmp_path, mount, expected):
    device = os.stat(tmp_path).st_dev
    info = tmp_path / "mountinfo"
    other = b"23 1 0:9999 / /other rw - nfs server:/ rw\n"
    info.write_bytes(other + b"24 1 %d:%d / / %s\n" % (os.major(device), os.minor(device), mount))
    assert may_have_a_quota(str(tmp_path), str(info)) is expected
