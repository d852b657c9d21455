"""The way between the managers: places, locks and messages."""

import os
import socket
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loadkeeper.channel.address import Place, listening, place, places, runtime_dir, secure
from loadkeeper.channel.client import Client
from loadkeeper.channel.messages import AskStatus, Steer, Steered, decode_reply, decode_request, encode
from loadkeeper.channel.server import AT_ONCE, Server, Taken
from loadkeeper.errors import ChannelError, PlaceError
from loadkeeper.model import (
    Hello,
    Limits,
    PoolReport,
    Reason,
    Report,
    TaskCounts,
    Verdict,
    Want,
    Welcome,
    Why,
    WorkerReport,
    WorkerState,
)

A_WORKER = WorkerReport(1, "a", "1", 4000, 5000, 1.0, WorkerState.RUNNING, 2.0)


@pytest.fixture
def here(tmp_path):
    return Place(secure(f"{tmp_path}/place"))


def hello(run="r1"):
    return Hello(run, "name", 1, 2, Limits(), 10.0, "true", "/tmp")


def answer_one(server, reply):
    """Serve one request; returns it."""
    poller = socket_poller(server.fileno())
    for _ in range(100):
        for sender, message in server.receive():
            server.send(sender, reply)
            return message
        poller()
    raise AssertionError("nothing arrived")


def socket_poller(descriptor):
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: poll.poll(50)


def test_a_request_reaches_the_server_and_its_reply_comes_back(here):
    server, client = Server(here), Client(here.socket)
    client.send(Steer(Want.PAUSE, ["r1"]))
    assert answer_one(server, Steered(["r1"])) == Steer(Want.PAUSE, ["r1"])
    assert client.ask(AskStatus()) == Steered(["r1"])
    client.close()
    server.close()


def test_a_second_load_manager_leaves_and_the_first_keeps_its_socket(here):
    first = Server(here)
    with pytest.raises(Taken):
        Server(here)
    client = Client(here.socket)
    client.send(AskStatus())
    assert answer_one(first, Steered()) == AskStatus()
    client.close()
    first.close()
    Server(here).close()


def test_without_the_lock_a_second_bind_would_steal_a_living_endpoint(here):
    """The fault that the lock is there for."""
    import zmq

    with zmq.Context() as context:
        first, second = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
        first.bind(f"ipc://{here.socket}")
        second.bind(f"ipc://{here.socket}")  # no error
        first.close(0)
        second.close(0)


def test_only_a_living_process_listens(here):
    assert not listening(here.socket)
    server = Server(here)
    assert listening(here.socket)
    server.close()
    assert not listening(here.socket)
    left = socket.socket(socket.AF_UNIX)
    left.bind(here.socket)
    left.close()  # the name stays on disk, as after a kill
    assert os.path.exists(here.socket)
    assert not listening(here.socket)


def test_the_socket_is_ours_alone(here):
    server = Server(here)
    assert stat.S_IMODE(os.stat(here.socket).st_mode) & 0o077 == 0
    server.close()


def test_what_is_no_message_is_counted_and_dropped(here):
    import zmq

    server, client = Server(here), Client(here.socket)
    with zmq.Context() as context:
        stranger = context.socket(zmq.DEALER)
        stranger.connect(f"ipc://{here.socket}")
        stranger.send(b"\xc1 no msgpack")
        stranger.send_multipart([b"two", b"frames"])
        stranger.send(b"")
        client.send(AskStatus())
        assert answer_one(server, Steered()) == AskStatus()
        for _ in range(100):
            list(server.receive())
            if server.faults == 3:
                break
            socket_poller(server.fileno())()
        assert server.faults == 3
        stranger.close(0)
    client.close()
    server.close()


def test_a_flood_leaves_time_for_other_things(here):
    server, client = Server(here), Client(here.socket)
    for _ in range(900):
        assert client.send(AskStatus())
    heard = []
    while sum(heard) < 900:
        socket_poller(server.fileno())()
        heard.append(len(list(server.receive())))
        assert heard[-1] <= AT_ONCE
        assert server.pending or sum(heard) >= 900 or heard[-1] < AT_ONCE
    assert not server.pending
    client.close()
    server.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"run": "a/b"},
        {"run": ""},
        {"number": -1},
        {"pools": [PoolReport("a", "k", 1), PoolReport("a", "k", 1)]},
        {"pools": [PoolReport("a/b", "k", 1)]},
        {"pools": [PoolReport("a\nb", "k", 1)]},
        {"pools": [PoolReport("a", "k", -1)]},
        {"workers": [A_WORKER, A_WORKER]},
        {"workers": [replace(A_WORKER, pool="b")]},
        {"workers": [replace(A_WORKER, pid=0)]},
        {"workers": [replace(A_WORKER, pid=1)]},
        {"workers": [replace(A_WORKER, pid=-1)]},
        {"workers": [replace(A_WORKER, pid=1 << 31)]},
        {"workers": [replace(A_WORKER, active=float("nan"))]},
        {"workers": [replace(A_WORKER, active=-1.0)]},
        {"workers": [replace(A_WORKER, started=1e308)]},
        {"workers": [replace(A_WORKER, leaf="x")]},
        {"sensors": {"memory": 1.0}},
        {"sensors": {"pressure.io": 1.0}},
        {"sensors": {"gpu": float("inf")}},
        {"wants": {"other.1": Want.STOP}},
        {"tasks": TaskCounts(done=-1)},
    ],
    ids=str,
)
def test_a_report_that_cannot_be_is_refused(wrong):
    right = Report("r", 3, [PoolReport("a", "k", 1)], [A_WORKER], [], TaskCounts())
    assert decode_request(encode(right)) == right
    with pytest.raises(ChannelError):
        decode_request(encode(replace(right, **wrong)))


def test_what_a_load_manager_says_is_checked_too():
    verdict = Verdict("r", 1, 3, {}, {1: Why(Reason.MEMORY, reading=float("nan"))}, {})
    with pytest.raises(ChannelError):
        decode_reply(encode(verdict))
    with pytest.raises(ChannelError, match="version"):
        decode_reply(encode(Welcome(1, 2, protocol=99)))


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_a_message_or_an_error(frame):
    for decode in (decode_request, decode_reply):
        try:
            decode(frame)
        except ChannelError:
            pass


def test_a_message_survives_the_wire():
    report = Report("r", 3, [], [], [], TaskCounts(waiting=None, done=4))
    assert decode_request(encode(report)) == report
    assert decode_request(encode(hello())) == hello()
    verdict = Verdict("r", 1, 3, {}, {}, {})
    assert decode_reply(encode(verdict)) == verdict


def test_runtime_dir_follows_the_environment(tmp_path):
    assert runtime_dir({"XDG_RUNTIME_DIR": "/run/user/7"}) == "/run/user/7/loadkeeper"
    assert runtime_dir({"LOADKEEPER_RUNTIME_DIR": "/x", "XDG_RUNTIME_DIR": "/run/user/7"}) == "/x"
    assert runtime_dir({}).endswith((f"/loadkeeper-{os.getuid()}", "/loadkeeper"))


def test_nodes_that_are_bound_differently_have_places_of_their_own(tmp_path):
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    one, two = place(environment, ""), place(environment, "/sys/fs/cgroup/a")
    assert one != two
    assert place(environment, "") == one
    assert places(environment) == []  # neither has a socket


@pytest.mark.parametrize("how", ["link", "mode", "file", "stranger"])
def test_a_runtime_directory_that_others_could_use_is_refused(tmp_path, how):
    path = tmp_path / "loadkeeper"
    if how == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "mode":
        path.mkdir(mode=0o755)
    elif how == "file":
        path.write_text("")
    else:
        if os.getuid() != 0:
            pytest.skip("only root can make a directory of somebody else's")
        path.mkdir(mode=0o700)
        os.chown(path, 12345, 12345)
    with pytest.raises(PlaceError, match="not safe"):
        secure(str(path))


def test_a_runtime_directory_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaceError, match="set XDG_RUNTIME_DIR"):
        secure(f"{tmp_path}/file/loadkeeper")


def test_too_long_a_path_for_a_socket_is_said(tmp_path):
    with pytest.raises(PlaceError, match="too long"):
        place({"XDG_RUNTIME_DIR": f"{tmp_path}/{'x' * 100}"}, "")
