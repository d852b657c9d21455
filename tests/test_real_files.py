"""A real program over 200 real files while workers are paused and ended: every byte as from a plain loop."""

import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from loadkeeper.commands.demo_files import gather
from loadkeeper.model import Outcome, Want, WorkerState
from loadkeeper.record.journal import Verb
from loadkeeper.record.journal_reader import read_events, read_outcomes

FILES = 200
ENOUGH = 20
EACH = 0.06
"""Seconds between two acts of the operator."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """200 files of 128 to 640 KiB, cut from real ones of this machine."""
    folder = tmp_path_factory.mktemp("files")
    chance, made = random.Random(200), []
    whole = b"".join(path.read_bytes() for path in gather(folder, [80]))
    place = 0
    for number in range(FILES):
        size = chance.randint(128, 640) << 10
        path = folder / f"{number:03}.part"
        path.write_bytes(whole[place : place + size])
        place = (place + size) % (len(whole) - (1 << 20))
        made.append(path)
    return made


@pytest.fixture(scope="module")
def expected(files):
    """What a plain loop makes of them."""
    return [subprocess.run(["xz", "-9", "-c", path], stdout=subprocess.PIPE, check=True).stdout for path in files]


def meddle(program, chance):
    """Pause, continue or end somebody who runs."""
    status = program.ask()
    workers = status.runs[0].workers if status and status.runs else []
    running = [worker.id for worker in workers if worker.state == WorkerState.RUNNING]
    paused = [worker.id for worker in workers if worker.state == WorkerState.PAUSED]
    for name in paused:
        program.steer(Want.STOP if chance.random() < 0.3 else Want.RUN, name)
    if running:
        program.steer(chance.choice([Want.PAUSE, Want.PAUSE, Want.STOP]), chance.choice(running))


def test_two_hundred_files_come_out_as_from_a_plain_loop(program, files, expected, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    line = f"xz -9 -c {{}} > {out}/$(basename {{}}).xz && cat {out}/$(basename {{}}).xz | wc -c"
    run = program.start("run", "--cpu", "off", "-j", "4", line, ":::", *map(str, files))
    chance = random.Random(1)
    while run.poll() is None:
        meddle(program, chance)
        time.sleep(EACH)
    printed, err = run.communicate()
    assert run.returncode == 0, err.decode()
    for path, wanted in zip(files, expected, strict=True):
        assert Path(f"{out}/{path.name}.xz").read_bytes() == wanted, path
    assert Counter(map(int, printed.split())) == Counter(map(len, expected)), "each task's output once, in full"
    (journal,) = program.journals()
    fates, events = list(read_outcomes(journal)), list(read_events(journal))
    acts = Counter(event.verb for event in events)
    assert acts[Verb.PAUSE] >= ENOUGH, acts
    assert acts[Verb.END] >= ENOUGH, acts
    assert sum(fate.outcome is Outcome.GIVEN_BACK for fate in fates) >= ENOUGH
    done = [fate.task for fate in fates if fate.outcome is Outcome.DONE]
    assert sorted(done) == list(range(1, FILES + 1)), "each task is done once"
