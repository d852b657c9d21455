"""Room on disks: what is tried, and what follows when there is none."""

import errno
import os

import pytest

from loadkeeper.record import room as module
from loadkeeper.record.room import EVERY, Room


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
    room.look(21.0 + EVERY)
    assert not room.short
    assert room.fault == ""
    room.close()


def test_what_was_tried_takes_no_room(tmp_path):
    room = Room([str(tmp_path)])
    room.look(10.0)
    (place,) = room._places
    assert place.file is not None
    assert os.fstat(place.file).st_size == 0
    assert os.listdir(tmp_path) == []
    room.close()


def test_a_place_where_nothing_can_be_tried_is_believed(tmp_path, monkeypatch):
    def refuse(*_arguments, **_more):
        raise OSError(errno.EOPNOTSUPP, "no such files here")

    monkeypatch.setattr(module.os, "open", refuse)
    room = Room([str(tmp_path)])
    room.look(10.0)
    assert not room.short


def test_tries_are_few(tmp_path, monkeypatch):
    """A thousand tasks a second ask; a hundred tries are enough."""
    tries = []
    monkeypatch.setattr(module, "_is_refused", lambda place: bool(tries.append(place)))
    room = Room([str(tmp_path)])
    for millisecond in range(1000):
        room.look(50 + millisecond / 1000, soon=True)
    assert 80 < len(tries) <= 101
