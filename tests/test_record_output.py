"""Printing: whole tasks, in order or as they come, with tags, and nothing lost."""

import errno
import os
import tempfile
import threading
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.children import until

from loadkeeper.record import output
from loadkeeper.record.output import OutputFiles, Printer, tagged


class Reader:
    """A printer whose stdout and stderr are pipes that a thread reads."""

    def __init__(self, root, **options) -> None:
        self.files = OutputFiles(str(root))
        self._pipes = [os.pipe() for _ in range(2)]
        self.read = [b"", b""]
        self._threads = [threading.Thread(target=self._drain, args=(n,), daemon=True) for n in range(2)]
        for thread in self._threads:
            thread.start()
        self.printer = Printer(self.files, self._pipes[0][1], self._pipes[1][1], **options)

    def _drain(self, number: int) -> None:
        while chunk := os.read(self._pipes[number][0], 1 << 16):
            self.read[number] += chunk

    def wrote(self, number: int, out: bytes = b"", err: bytes = b"", tag: bytes = b"", *, shown: bool = True) -> None:
        streams = self.files.take()
        self.printer.follow(number, streams, tag)
        os.write(streams.stdout, out)
        os.write(streams.stderr, err)
        self.printer.put(number, streams, tag, shown=shown)

    def close(self) -> tuple[bytes, bytes]:
        assert self.printer.close(10)
        for number in range(2):
            os.close(self._pipes[number][1])
            self._threads[number].join(10)
            os.close(self._pipes[number][0])
        self.files.close()
        return self.read[0], self.read[1]


@pytest.mark.parametrize("live", [False, True])
def test_tasks_are_printed_as_they_end(tmp_path, live):
    reader = Reader(tmp_path, live=live)
    reader.wrote(2, b"two\n", b"err\n")
    reader.wrote(1, b"one")
    reader.wrote(3)
    assert reader.close() == (b"two\none", b"err\n")


@pytest.mark.parametrize("live", [False, True])
def test_in_order_each_waits_for_those_before_it(tmp_path, live):
    reader = Reader(tmp_path, ordered=True, live=live)
    reader.wrote(4, b"four\n")
    reader.wrote(2, b"two\n")
    reader.printer.skip(3)  # it could not be started
    reader.wrote(1, b"never shown", shown=False)  # it is done again
    reader.wrote(1, b"one\n")
    assert reader.close() == (b"one\ntwo\nfour\n", b"")


def test_at_the_end_what_waits_is_printed_though_some_never_came(tmp_path):
    reader = Reader(tmp_path, ordered=True)
    reader.wrote(3, b"three\n")
    reader.wrote(2, b"two\n")
    assert reader.close() == (b"two\nthree\n", b"")


def test_lines_come_while_their_worker_writes_and_half_a_line_waits(tmp_path):
    reader = Reader(tmp_path, live=True)
    streams = reader.files.take()
    reader.printer.follow(1, streams, b"t ")
    os.write(streams.stdout, b"first\nsec")
    until(lambda: reader.read[0] == b"t first\n")
    os.write(streams.stdout, b"ond\nthird")
    until(lambda: reader.read[0] == b"t first\nt second\n")
    reader.printer.put(1, streams, b"t ")
    assert reader.close() == (b"t first\nt second\nt third", b"")


def test_in_order_only_the_first_that_lives_is_followed(tmp_path):
    reader = Reader(tmp_path, live=True, ordered=True)
    first, second = reader.files.take(), reader.files.take()
    reader.printer.follow(1, first)
    reader.printer.follow(2, second)
    os.write(second.stdout, b"2\n")
    os.write(first.stdout, b"1\n")
    until(lambda: reader.read[0] == b"1\n")
    reader.printer.put(1, first)
    until(lambda: reader.read[0] == b"1\n2\n")
    reader.printer.put(2, second)
    assert reader.close() == (b"1\n2\n", b"")


@given(st.lists(st.binary(max_size=5), max_size=6))
def test_a_tag_stands_before_every_line_however_the_text_is_cut(chunks):
    text = b"".join(chunks)
    made, before = b"", b""
    for chunk in filter(None, chunks):
        made += tagged(chunk, b"T", not before or before.endswith(b"\n"))
        before = chunk
    lines = text.split(b"\n")
    whole = b"\n".join(b"T" + line for line in lines[:-1])
    expected = whole + (b"\n" if len(lines) > 1 else b"") + (b"T" + lines[-1] if lines[-1] else b"")
    assert made == expected


@given(
    st.permutations(range(1, 13)),
    st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), min_size=12, max_size=12),
)
def test_in_order_however_they_end_and_however_few_may_wait_in_files_of_their_own(order, texts):
    with tempfile.TemporaryDirectory() as root, patch.object(output, "KEPT_OPEN", 2):
        reader = Reader(root, ordered=True)
        for number in order:
            reader.wrote(number, *texts[number - 1])
            assert reader.printer.held <= 12
        assert reader.close() == tuple(b"".join(text[stream] for text in texts) for stream in range(2))


def test_thousands_that_wait_for_the_first_take_few_descriptors_and_their_file_is_emptied(tmp_path):
    reader = Reader(tmp_path, ordered=True)
    before = len(os.listdir("/proc/self/fd"))
    texts = {number: b"%d\n" % number * (1 + number % 50) for number in range(2, 3000)}
    for number, text in texts.items():
        reader.wrote(number, text)
    assert len(os.listdir("/proc/self/fd")) - before < 2 * output.KEPT_OPEN + 10
    reader.wrote(1, b"first\n")
    until(lambda: not reader.printer.held)
    spool = reader.printer._spool
    assert os.fstat(spool._file).st_size == 0
    assert reader.close() == (b"first\n" + b"".join(texts.values()), b"")


# ------------------------------------------------------------------------------------------------------------ bad disks


def test_what_a_disk_does_not_give_back_is_told_and_has_no_receipt(tmp_path, monkeypatch):
    """The other tasks' output is printed, and nobody waits for ever."""
    files = OutputFiles(str(tmp_path))
    target = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    printer = Printer(files, target, target)
    bad = files.take()
    real = os.pread

    def read(descriptor, size, place):
        if descriptor == bad.stdout:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, size, place)

    monkeypatch.setattr(output.os, "pread", read)
    for number, streams in enumerate((files.take(), bad, files.take()), 1):
        os.write(streams.stdout, b"%d\n" % number)
        printer.put(number, streams, receipt=number)
    assert printer.close(20)
    assert [receipt for receipt, _ in printer.receipts()] == [1, 3]
    assert [(number, error.errno) for number, error in printer.unread()] == [(2, errno.EIO)]
    monkeypatch.undo()
    assert os.pread(target, 100, 0) == b"1\n3\n"
    os.close(target)


def test_a_directory_that_somebody_tidied_up_is_made_again(tmp_path):
    files = OutputFiles(str(tmp_path / "run"))
    streams = files.take()
    assert os.write(streams.stdout, b"x") == 1
    files.drop(streams)
    files.close()
