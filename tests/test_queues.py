"""One contract for every queue, against the real servers: what is taken is answered once, or comes again."""

import os
import sqlite3
import time
from collections import deque
from random import Random
from types import SimpleNamespace

import pytest
from support.waiting import until

from loadkeeper.queues.broker import Answer, Burial, Fate, Message, Past, QueueError
from loadkeeper.queues.registry import broker_of

KINDS = ("spool", "redis", "gearman", "amqp")


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    """Of a queue of its own that is empty."""
    name = f"q{os.urandom(4).hex()}"
    if request.param == "spool":
        return f"spool:{tmp_path}/queue"
    server = request.getfixturevalue({"redis": "redis_server", "gearman": "gearmand", "amqp": "rabbit"}[request.param])
    return server.url(name)


class Taker:
    """Somebody who takes tasks."""

    def __init__(self, url):
        self.broker = broker_of(url)
        self.broker.connect()

    def take(self, count=1, seconds=10.0):
        found, deadline = [], time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            self.broker.want(count - len(found))
            found += self.broker.receive()
            self.broker.tend(time.monotonic())
            time.sleep(0.002)
        self.broker.want(0)
        return found

    def answer(self, *answers):
        waiting = deque(answers)
        self.broker.settle(waiting)
        assert not waiting

    def close(self):
        self.broker.close()


@pytest.fixture
def taker(url):
    made = Taker(url)
    yield made
    made.close()


@pytest.fixture
def other(url):
    made = Taker(url)
    yield made
    made.close()


def put(taker, *payloads):
    return taker.broker.put([Message(payload) for payload in payloads])


def done(delivery, result=b""):
    return Answer(delivery, Fate.DONE, result)


def waiting(taker):
    return taker.broker.count().waiting


BINARY = bytes(range(256)) * 3


def test_what_is_put_comes_once_in_order_with_its_key(taker):
    payloads = [b"one", b"", b"two words\n", BINARY, b"x" * 300_000]
    keys = put(taker, *payloads)
    found = taker.take(5)
    if taker.broker.shown.startswith("gearman:"):  # several connections ask at once
        found.sort(key=lambda one: keys.index(one.key))
    assert [one.payload for one in found] == payloads
    assert [one.key for one in found] == keys
    assert len(set(keys)) == 5
    taker.answer(*map(done, found))
    until(lambda: waiting(taker) == 0)
    assert taker.take(1, 0.5) == []
    assert taker.broker.late == 0


def test_no_more_come_than_are_wanted(taker, other):
    put(taker, *(b"%d" % number for number in range(6)))
    first = taker.take(2)
    assert len(first) == 2
    second = other.take(4)
    assert sorted(one.payload for one in first + second) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    taker.answer(*map(done, first))
    other.answer(*map(done, second))


def test_what_is_given_back_comes_to_somebody_else(taker, other):
    (key,) = put(taker, b"heavy")
    (one,) = taker.take()
    one.past = Past(attempts=1, returns=1, need=7 << 20)
    taker.answer(Answer(one, Fate.BACK))
    (again,) = other.take()
    assert (again.payload, again.key) == (b"heavy", key)
    other.answer(done(again))
    until(lambda: waiting(taker) == 0)


def test_what_somebody_held_who_is_gone_comes_to_somebody_else(taker, other):
    put(taker, b"one", b"two")
    held = taker.take(2)
    assert len(held) == 2
    taker.close()
    if taker.broker.shown.startswith("spool:"):  # it lives as long as its process: here, the lease is taken away
        with sqlite3.connect(taker.broker.shown.partition(":")[2]) as database:
            database.execute("UPDATE owner SET boot = 'another'")
    again = other.take(2, 20)
    assert sorted(one.payload for one in again) == [b"one", b"two"]
    other.answer(*map(done, again))
    until(lambda: waiting(other) == 0)


def test_what_is_buried_lies_there_with_its_reason_until_it_is_put_back(taker):
    key, other_key = put(taker, BINARY, b"other")
    one, two = taker.take(2)
    burial = Burial("it failed 3 times", b"no such \xff file\n", attempts=3, node="here", at=1.5)
    taker.answer(Answer(one, Fate.BURIED, b"", burial), Answer(two, Fate.BURIED, b"", Burial("too big", need=5 << 30)))
    until(lambda: taker.broker.count().buried == 2)
    assert waiting(taker) == 0
    found = {one.key: one for one in taker.broker.peek(10, buried=True)}
    assert found[key].payload == BINARY
    assert (found[key].burial.why, found[key].burial.attempts) == ("it failed 3 times", 3)
    assert found[key].burial.said in (burial.said, b"no such \\xff file\n")
    assert taker.broker.requeue(fits=4 << 30) == 0
    assert taker.broker.requeue(["nobody"]) == 0
    assert taker.broker.requeue(fits=6 << 30) == 1
    (back,) = taker.take()
    assert (back.payload, back.key, back.past.need) == (b"other", other_key, 5 << 30)
    taker.answer(done(back))
    assert taker.broker.requeue([key]) == 1
    (back,) = taker.take()
    assert (back.payload, back.key, back.past) == (BINARY, key, Past())
    taker.answer(done(back))
    until(lambda: tuple(taker.broker.count())[::2] == (0, 0))


def test_peek_takes_nothing_away(taker):
    keys = put(taker, b"a", b"b", b"c")
    assert [(one.key, one.payload) for one in taker.broker.peek(2)] == [(keys[0], b"a"), (keys[1], b"b")]
    assert taker.broker.peek(10, buried=True) == []
    until(lambda: waiting(taker) == 3)
    found = taker.take(3)
    assert sorted(one.payload for one in found) == [b"a", b"b", b"c"]
    taker.answer(*map(done, found))


def test_two_of_one_key_are_one_task_where_the_queue_can_tell(taker):
    taker.broker.put([Message(b"a", "k1"), Message(b"a", "k1"), Message(b"b", "k2")])
    found = taker.take(2)
    assert sorted(one.key for one in found)[0] == "k1"
    taker.answer(*map(done, found))
    if not taker.broker.shown.startswith("amqp:"):  # RabbitMQ cannot: the key is for who does the task
        assert sorted(one.key for one in found) == ["k1", "k2"]
        assert taker.take(1, 0.3) == []


def test_many_go_through_two_at_once(taker, other):
    keys = {
        taker.broker.put([Message(b"%d" % number) for number in range(start, start + 100)])[0]
        for start in range(0, 500, 100)
    }
    assert len(keys) == 5
    seen, deadline = [], time.monotonic() + 30
    while len(seen) < 500 and time.monotonic() < deadline:
        for who in (taker, other):
            who.broker.want(10)
            found = who.broker.receive()
            seen += [int(one.payload) for one in found]
            who.answer(*map(done, found))
    assert sorted(seen) == list(range(500))
    for who in (taker, other):
        who.broker.want(0)
        for one in who.take(1, 0):
            raise AssertionError(one)
    until(lambda: waiting(taker) == 0)
    assert taker.broker.late == other.broker.late == 0


def test_a_task_that_is_kept_stays_ours(taker, other, url):
    """Longer than its claim would last."""
    if not url.startswith("redis:"):
        pytest.skip("a claim that ends by time alone is Redis' own")
    put(taker, b"long")
    (one,) = taker.take()
    other.broker.want(1)
    until_then = time.monotonic() + 5
    while time.monotonic() < until_then:
        taker.broker.keep([one])
        assert other.broker.receive() == []
        time.sleep(0.3)
    taker.answer(done(one))
    assert taker.broker.late == 0


def test_an_answer_that_comes_too_late_is_counted(taker, other, url):
    if not url.startswith("redis:"):
        pytest.skip("a claim that ends by time alone is Redis' own")
    put(taker, b"slow")
    (one,) = taker.take()
    (again,) = other.take(1, 10)
    other.answer(done(again))
    taker.answer(done(one))
    assert (taker.broker.late, other.broker.late) == (1, 0)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_wanted_and_answered_in_whatever_order_nothing_is_forgotten(taker, other, seed):
    """By the end everything that was put is done, and nobody waits for a task that is there."""
    chance = Random(seed)
    held = {taker: [], other: []}
    done_ones, put_ones = [], 0
    for _ in range(250):
        who, step = chance.choice((taker, other)), chance.random()
        if step < 0.25:
            count = chance.choice((1, 1, 1, 5))
            put(who, *(b"%d" % number for number in range(put_ones, put_ones + count)))
            put_ones += count
        elif step < 0.7:
            who.broker.want(chance.choice((0, 1, 1, 3, 8)))
            held[who] += who.broker.receive()
        elif held[who]:
            chance.shuffle(held[who])
            some = [held[who].pop() for _ in range(chance.randint(1, len(held[who])))]
            backs = [chance.random() < 0.1 for _ in some]
            who.answer(*(Answer(one, Fate.BACK) if back else done(one) for one, back in zip(some, backs, strict=True)))
            done_ones += [one.payload for one, back in zip(some, backs, strict=True) if not back]
    deadline = time.monotonic() + 20
    while len(done_ones) < put_ones and time.monotonic() < deadline:
        for who in (taker, other):
            who.broker.want(2)
            found = held[who] + who.broker.receive()
            held[who] = []
            who.broker.tend(time.monotonic())
            who.answer(*map(done, found))
            done_ones += [one.payload for one in found]
    assert sorted(map(int, done_ones)) == list(range(put_ones))


def test_what_comes_when_many_have_been_answered_and_nothing_waits_is_noticed(taker, other):
    put(other, *(b"%d" % number for number in range(12)))
    taker.answer(*map(done, taker.take(12)))
    assert taker.take(1, 0.5) == []
    taker.broker.want(1)
    for _ in range(50):
        assert taker.broker.receive() == []
        time.sleep(0.005)
    put(other, b"late")
    deadline = time.monotonic() + 5
    while not (found := taker.broker.receive()):
        assert time.monotonic() < deadline, "nobody was told"
        time.sleep(0.005)
    taker.answer(*map(done, found))


def test_a_broker_that_is_too_old_is_said():
    amqp = broker_of("amqp://127.0.0.1/q")
    amqp._check_version({"product": "RabbitMQ", "version": "3.10.8"})
    with pytest.raises(QueueError, match=r"RabbitMQ 3\.6\.1 is too old"):
        amqp._check_version({"product": "RabbitMQ", "version": "3.6.1"})
    redis = broker_of("redis://127.0.0.1/s")
    redis._client = SimpleNamespace(ping=lambda: True, info=lambda _: {"redis_version": "5.0.14"})
    with pytest.raises(QueueError, match=r"Redis 5\.0\.14 is too old"):
        redis._check_version()
    redis._client = None


def test_a_file_that_is_no_spool_and_one_of_another_version(tmp_path):
    (tmp_path / "text").write_text("no database at all, but long enough to be taken for one" * 20)
    with sqlite3.connect(tmp_path / "other") as database:
        database.execute("CREATE TABLE mine (a)")
    with sqlite3.connect(tmp_path / "newer") as database:
        database.execute("PRAGMA user_version=9")
    for name, said in (("text", "give the path of a queue"), ("other", "no queue of ours"), ("newer", "version 9")):
        with pytest.raises(QueueError, match=said):
            broker_of(f"spool:{tmp_path}/{name}").connect()
