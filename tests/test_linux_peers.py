"""Whose a connection is: the kernel's own tables, and saved ones."""

import os
import socket
import sys

import pytest
from support.children import child

from loadkeeper.linux.peers import has_socket, other_end

CONNECT = "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(10)
        yield made


def test_the_process_at_the_other_end_is_found(listener):
    port = str(listener.getsockname()[1])
    with child(sys.executable, "-c", CONNECT, port) as one, child(sys.executable, "-c", CONNECT, port) as other:
        ends = [listener.accept()[0] for _ in range(2)]
        numbers = [other_end(end.fileno()) for end in ends]
        assert None not in numbers
        holders = [{pid for pid in (one.pid, other.pid) if has_socket(pid, number)} for number in numbers]
        assert sorted(map(len, holders)) == [1, 1]
        assert holders[0] != holders[1]
        assert not has_socket(os.getpid(), numbers[0])
        for end in ends:
            end.close()


def test_an_end_that_is_gone_is_nobodys(listener):
    with socket.create_connection(listener.getsockname()):
        end, _ = listener.accept()
    number = end.fileno()
    end.close()
    assert other_end(number) is None
    assert other_end(listener.fileno()) is None
    file = os.open("/dev/null", os.O_RDONLY)
    assert other_end(file) is None
    os.close(file)
    assert not has_socket(1 << 22, 7)


@pytest.mark.parametrize("content", [None, b"", b"\0\xff\n", b"  sl  local_address rem_address\n   0: 0100007F\n"])
def test_tables_that_say_nothing(listener, tmp_path, content):
    (tmp_path / "self/net").mkdir(parents=True)
    if content is not None:
        (tmp_path / "self/net/tcp").write_bytes(content)
    with socket.create_connection(listener.getsockname()):
        end, _ = listener.accept()
        assert other_end(end.fileno(), str(tmp_path)) is None
        assert other_end(end.fileno()) is not None
        end.close()
