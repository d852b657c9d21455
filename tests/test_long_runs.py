"""A run that lasts: what it holds, writes and needs for an answer stays as it was in its first minutes."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support.program import command_of, wait_until

from loadkeeper.model import Want

PAUSE_EVERY = 1.2
"""Seconds: 50 pauses a minute."""
MIB = 1 << 20


class Course:
    """Samples of a run and its load manager."""

    def __init__(self, program, process):
        self.program, self.process = program, process
        self.samples = []  # (tasks done, bytes of both, descriptors of both, seconds for an answer)

    def take(self, done):
        managers = [pid for pid in self.program.managers() if b"load_manager" in command_of(pid)]
        began = time.monotonic()
        answered = self.program.ask() is not None
        seconds = time.monotonic() - began
        pids = [self.process.pid, *managers]
        if answered and len(pids) == 2:
            self.samples.append((done, [resident(pid) for pid in pids], [descriptors(pid) for pid in pids], seconds))


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def size_of(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def follow(program, count):
    """So many tasks of `true`, with 50 pauses a minute."""
    process = program.start(
        "run", "--quiet", "--cpu", "off", "-j", "8", "true", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    feeder = threading.Thread(target=feed, args=(process.stdin, count))
    feeder.start()
    course = Course(program, process)
    wait_until(lambda: (s := program.ask()) and s.runs, 15, "the run does not show")
    paused_at = sampled_at = time.monotonic()
    while process.poll() is None:
        now = time.monotonic()
        if now >= paused_at + PAUSE_EVERY:
            paused_at = now
            program.steer(Want.PAUSE)
            time.sleep(0.05)
            program.steer(Want.RUN)
        if now >= sampled_at + 2.0:
            sampled_at = now
            status = program.ask()
            if status is not None and status.runs:
                course.take(status.runs[0].tasks.done)
        time.sleep(0.05)
    feeder.join()
    assert process.returncode == 0, process.stderr.read()[-500:]
    return course.samples


def feed(stream, count):
    with stream:
        for number in range(count):
            stream.write(b"%d\n" % number)


def flat(samples, record_property, program, count):
    """The last tenth is as the second."""
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 2 * tenth + 1], samples[-tenth:]

    def most(part, which, whose):
        return max(sample[which][whose] for sample in part)

    def median(part):
        return sorted(sample[3] for sample in part)[len(part) // 2]

    kept = size_of(program.root / "s")
    told = (
        f"{count} tasks: process manager {most(early, 1, 0) / MIB:.1f} then {most(late, 1, 0) / MIB:.1f} MiB, "
        f"load manager {most(early, 1, 1) / MIB:.1f} then {most(late, 1, 1) / MIB:.1f}; "
        f"descriptors {most(early, 2, 0)} then {most(late, 2, 0)}; "
        f"an answer takes {1000 * median(early):.1f} then {1000 * median(late):.1f} ms; "
        f"{kept / MIB:.1f} MiB are kept, {kept / count:.0f} bytes a task"
    )
    record_property("measured", told)
    for whose in (0, 1):
        assert most(late, 1, whose) < most(early, 1, whose) + 6 * MIB, told
        assert most(late, 2, whose) <= most(early, 2, whose) + 16, told
    assert median(late) < 3 * median(early) + 0.02, told
    assert kept < 400 * count + 80 * MIB, told
    return told


@pytest.mark.timeout(120)
def test_ten_thousand_tasks_and_pauses(program, record_property):
    flat(follow(program, 10_000), record_property, program, 10_000)


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_a_million_tasks_and_fifty_pauses_a_minute(program, record_property):
    flat(follow(program, 1_000_000), record_property, program, 1_000_000)
