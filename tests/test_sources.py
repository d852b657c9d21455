"""Where tasks come from: one contract for all, and what each adds."""

import os
import threading
import time

import pytest

from loadkeeper.sources.base import Burial
from loadkeeper.sources.commands import AHEAD, Stream, Values, at_most, columns_by, first, linked, one_each, repeated
from loadkeeper.sources.count import Count


def rows(*values: bytes) -> list[tuple[bytes, ...]]:
    return list(one_each(values))


def stream_of(content: bytes, woken=lambda: None) -> Stream:
    read, write = os.pipe()

    def feed():
        with os.fdopen(write, "wb") as pipe:
            pipe.write(content)

    threading.Thread(target=feed, daemon=True).start()
    return Stream(read, woken)


def take_all(source, seconds=10.0):
    """Everything the source has to give, waiting where it is a stream."""
    found, until = [], time.monotonic() + seconds
    while not source.exhausted():
        assert time.monotonic() < until, "the source neither gives nor ends"
        task = source.take()
        if task is None:
            threading.Event().wait(0.001)
        else:
            found.append(task)
    return found


SOURCES = {
    "count": lambda: Count(5),
    "values": lambda: Values(rows(b"a", b"b", b"c", b"d", b"e")),
    "stream": lambda: stream_of(b"a\nb\nc\nd\ne\n"),
}


@pytest.fixture(params=SOURCES)
def source(request):
    made = SOURCES[request.param]()
    yield made
    made.close()


def test_every_task_comes_once_and_is_numbered_from_one(source):
    assert [task.number for task in take_all(source)] == [1, 2, 3, 4, 5]
    assert source.waiting() == 0
    assert source.take() is None


def test_what_is_given_back_comes_again_and_the_source_is_not_exhausted_before(source):
    tasks = take_all(source)
    source.give_back(tasks[2])
    assert not source.exhausted()
    assert source.waiting() == 1
    assert source.take() is tasks[2]
    assert source.exhausted()


def test_done_and_bury_take_a_task_out_for_good(source):
    first, second, *_ = take_all(source)
    source.done(first)
    source.bury(second, Burial("it failed"))
    assert source.exhausted()


def test_a_stream_gives_its_first_value_before_its_end():
    read, write = os.pipe()
    woken = threading.Event()
    source = Stream(read, woken.set)
    os.write(write, b"first\nsec")
    assert woken.wait(5)
    task = source.take()
    assert task is not None
    assert task.value == b"first"
    assert source.waiting() is None
    assert not source.exhausted()
    os.close(write)
    assert [task.value for task in take_all(source)] == [b"sec"]


def test_values_are_bytes_as_they_came_empty_ones_too():
    hostile = [b"", b" ", b"\xff\xfe", b"a\0b", b"-rf", b"*", b"x" * 300_000]
    assert [task.value for task in take_all(stream_of(b"\n".join(hostile) + b"\n"))] == hostile


def test_an_endless_producer_is_not_read_ahead():
    read, write = os.pipe()
    os.set_blocking(write, False)
    source = Stream(read, lambda: None)
    written = 0
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 0.3:
        try:
            written += os.write(write, b"y\n" * 512)
            quiet_since = time.monotonic()
        except BlockingIOError:
            threading.Event().wait(0.01)
    assert written <= 2 * (AHEAD + 1) + (1 << 16) * 3, "the reader took more than its queue and a pipe hold"
    source.close()
    os.close(write)


def test_closing_a_stream_lets_its_thread_go():
    read, write = os.pipe()
    os.write(write, b"v\n" * 10_000)
    source = Stream(read, lambda: None)
    until = time.monotonic() + 5
    while len(source._ready) < AHEAD and time.monotonic() < until:
        threading.Event().wait(0.001)
    source.close()
    source._thread.join(5)
    assert not source._thread.is_alive()
    os.close(write)


# ------------------------------------------------------------------------------------------------------ several inputs


def test_groups_make_every_combination_the_last_changing_fastest():
    source = Values(rows(b"a", b"b"), rows(b"1", b"2", b"3"))
    assert source.waiting() == 6
    assert [task.value for task in take_all(source)] == [b"a 1", b"a 2", b"a 3", b"b 1", b"b 2", b"b 3"]


def test_an_input_without_values_makes_no_task():
    assert Values(rows(b"a"), rows()).exhausted()


def test_a_product_is_never_made_as_a_whole():
    many = rows(*(b"%d" % n for n in range(1000)))
    source = Values(many, many, many, many)
    assert source.waiting() == 10**12
    assert source.take().values == (b"0", b"0", b"0", b"0")


def test_linked_inputs_go_side_by_side_as_far_as_the_shortest():
    assert linked([rows(b"a", b"b", b"c"), rows(b"1", b"2")]) == [(b"a", b"1"), (b"b", b"2")]


def test_columns_are_separated_by_a_regular_expression_and_trimmed():
    assert list(columns_by(rb"[,;]")([b"a b , c;d", b""])) == [(b"a b", b"c", b"d"), (b"",)]


def test_so_many_values_make_a_row_and_the_last_has_the_rest():
    assert list(at_most(2)(iter([b"a", b"b", b"c"]))) == [(b"a", b"b"), (b"c",)]
    assert list(at_most(2)([])) == []


def test_a_short_input_begins_again():
    assert repeated(rows(b"a", b"b"), 5) == rows(b"a", b"b", b"a", b"b", b"a")
    assert repeated([], 3) == []


def test_a_stream_hands_out_a_row_as_soon_as_it_is_complete():
    read, write = os.pipe()
    woken = threading.Event()
    source = Stream(read, woken.set, rows=at_most(2))
    os.write(write, b"a\n")
    time.sleep(0.05)
    assert source.take() is None
    os.write(write, b"b\n")
    assert woken.wait(5)
    task = source.take()
    assert task is not None
    assert task.values == (b"a", b"b")
    os.close(write)


@pytest.mark.parametrize("separator", [b"\n", b"\0", "é".encode()])
def test_the_first_value_is_read_and_nothing_behind_it(separator):
    read, write = os.pipe()
    os.write(write, b"a b" + separator + b"c" + separator)
    assert first(read, separator) == b"a b"
    assert os.read(read, 100) == b"c" + separator
    os.close(write)
    assert first(read, separator) == b""
    os.close(read)


def test_a_stream_that_breaks_ends_and_says_so():
    """Whatever broke: a run must not wait for ever."""

    def broken(values):
        for value in values:
            if value == b"b":
                raise MemoryError
            yield (value,)

    read, write = os.pipe()
    os.write(write, b"a\nb\nc\n")
    woken = threading.Event()
    source = Stream(read, woken.set, rows=broken)
    deadline = time.monotonic() + 10
    while not source.exhausted() and time.monotonic() < deadline:
        if source.take() is None:
            woken.wait(0.1)
    assert source.exhausted()
    assert "cannot be read to its end: MemoryError" in source.fault
    os.close(read)
    os.close(write)
