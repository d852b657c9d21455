"""The worker's own part: it stands and ends where its code says, and nowhere else; outside a run it does nothing."""

import os
import pickle
import subprocess
import sys
import time

import pytest
from support.asked import HEAD, OPERATOR, Asked, ended, modules_of
from support.waiting import until

from loadkeeper.act import checkpoint as manager
from loadkeeper.model import PauseMode, Reason, Why
from loadkeeper.worker import Terminated
from loadkeeper.worker.layout import SIZE, SLOTS


@pytest.fixture
def asked(tmp_path):
    made = Asked(tmp_path)
    yield made
    made.close()


# -------------------------------------------------------------------------------------------------------------- pausing


def test_it_stands_at_its_checkpoint_and_goes_on(asked):
    worker = asked.start(
        """
checkpoint.before_pause(lambda: say("before"))
checkpoint.after_pause(lambda: say("after, last"))
checkpoint.after_pause(lambda: say("after, first"))
checkpoint()
say("there")
while not os.path.exists(os.environ["LOG"] + ".stop"):
    checkpoint()
    time.sleep(0.001)
"""
    )
    asked.wait_for("there")
    assert asked.pause()
    until(asked.checkpoint.stands)
    assert asked.said() == ["there", "before"]
    asked.checkpoint.go_on()
    asked.wait_for("after, last")
    assert asked.said()[2:] == ["after, first", "after, last"]
    assert not asked.checkpoint.stands()
    open(f"{asked.log}.stop", "w").close()
    assert ended(worker) == (0, "", "")
    assert asked.checkpoint._read()[SLOTS.start] == 0, "a slot of a process that has ended is free"


def test_a_fault_in_a_callback_stops_neither_the_pause_nor_the_others(asked):
    asked.start(
        """
checkpoint.before_pause(lambda: 1 / 0)
checkpoint.before_pause(lambda: say("before"))
checkpoint()
say("there")
work()
"""
    )
    asked.wait_for("there")
    asked.pause()
    until(asked.checkpoint.stands)
    assert "before" in asked.said()


def test_all_processes_of_a_worker_stand_before_it_does(asked):
    asked.start(
        """
checkpoint()
pid = os.fork()
checkpoint()
say("child" if pid == 0 else "parent")
if pid == 0:
    while not os.path.exists(os.environ["LOG"] + ".go"):
        time.sleep(0.001)
work()
"""
    )
    asked.wait_for("child")
    asked.wait_for("parent")
    asked.pause()
    time.sleep(0.1)
    assert not asked.checkpoint.stands(), "the child does not"
    open(f"{asked.log}.go", "w").close()
    until(asked.checkpoint.stands)


@pytest.mark.parametrize("how", ["spawn", "fork", "forkserver"])
def test_processes_of_multiprocessing_take_part(asked, tmp_path, how):
    script = tmp_path / "many.py"
    script.write_text(
        HEAD
        + f"""
import multiprocessing

def child():
    checkpoint()
    say("child")
    work()

if __name__ == "__main__":
    context = multiprocessing.get_context({how!r})
    for _ in range(2):
        context.Process(target=child, daemon=True).start()
    checkpoint()
    say("parent")
    work()
"""
    )
    environment = {**asked.environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    asked.started.append(process)
    until(lambda: sorted(asked.said()) == ["child", "child", "parent"])
    asked.pause()
    until(asked.checkpoint.stands)
    assert len(list(asked.checkpoint._slots())) == 3
    asked.terminate()
    assert process.wait(10) == 75


def test_a_dead_child_keeps_nobody_waiting(asked):
    asked.start(
        """
checkpoint()
pid = os.fork()
checkpoint()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
say("there")
work()
"""
    )
    asked.wait_for("there")
    asked.pause()
    until(asked.checkpoint.stands)


def test_a_pause_does_not_reach_into_a_critical_section(asked):
    asked.start(
        """
with checkpoint.off():
    say("inside")
    while not os.path.exists(os.environ["LOG"] + ".go"):
        checkpoint()
        time.sleep(0.001)
    say("leaving")
say("outside")
"""
    )
    asked.wait_for("inside")
    asked.pause()
    time.sleep(0.1)
    assert asked.checkpoint.busy()
    assert not asked.checkpoint.stands()
    open(f"{asked.log}.go", "w").close()
    until(asked.checkpoint.stands)
    assert asked.said()[-1] == "leaving", "a checkpoint follows the section at once"


def test_a_critical_section_of_one_thread_holds_up_the_word_that_all_stand(asked):
    asked.start(
        """
def section():
    with checkpoint.off():
        say("inside")
        while not os.path.exists(os.environ["LOG"] + ".go"):
            time.sleep(0.001)

threading.Thread(target=section, daemon=True).start()
checkpoint.before_pause(lambda: say("before"))
work()
"""
    )
    asked.wait_for("inside")
    asked.pause()
    asked.wait_for("before")
    assert not asked.checkpoint.stands()
    open(f"{asked.log}.go", "w").close()
    until(asked.checkpoint.stands)


@pytest.mark.parametrize("made", ["@checkpoint.off()\ndef", "@checkpoint.off()\nasync def"])
def test_a_function_as_a_critical_section(asked, made):
    asked.start(
        f"""
import asyncio
{made} section():
    say("inside")
    while not os.path.exists(os.environ["LOG"] + ".go"):
        checkpoint()
        time.sleep(0.001)
    return 5

found = section()
if asyncio.iscoroutine(found):
    found = asyncio.run(found)
say(found)
"""
    )
    asked.wait_for("inside")
    asked.pause()
    until(asked.checkpoint.busy)
    open(f"{asked.log}.go", "w").close()
    until(asked.checkpoint.stands)
    asked.checkpoint.go_on()
    asked.wait_for("5")


def test_coroutines_go_on_while_one_stands(asked):
    asked.start(
        """
import asyncio

async def stands():
    while True:
        await checkpoint.wait()
        await asyncio.sleep(0.001)

async def goes_on():
    for number in range(10_000):
        say(number)
        await asyncio.sleep(0.001)

async def main():
    await asyncio.gather(stands(), goes_on())

asyncio.run(main())
"""
    )
    asked.wait_for("1")
    asked.pause()
    until(asked.checkpoint.stands)
    before = len(asked.said())
    until(lambda: len(asked.said()) > before + 5)
    asked.checkpoint.go_on()
    until(lambda: not asked.checkpoint.stands())


# --------------------------------------------------------------------------------------------------------------- ending


def test_it_ends_with_reason_and_grace(asked):
    worker = asked.start(
        """
try:
    checkpoint()
    say("there")
    work()
except Terminated as error:
    say(error.reason, round(error.grace))
    raise
"""
    )
    asked.wait_for("there")
    assert asked.terminate(grace=30.0, why=Why(Reason.MEMORY_END))
    assert ended(worker) == (75, "", ""), "and without a traceback"
    assert asked.said()[-1] == "because of memory-end 30"


def test_it_ends_while_it_stands(asked):
    worker = asked.start("checkpoint(); say('there'); work()")
    asked.wait_for("there")
    asked.pause()
    until(asked.checkpoint.stands)
    asked.terminate()
    assert ended(worker)[0] == 75


def test_its_clean_up_is_not_cut_short(asked):
    """Neither in ``except`` nor in ``finally`` nor in what those call; after it the next checkpoint ends it again."""
    worker = asked.start(
        """
checkpoint()
say("there")
for _ in range(2):
    try:
        try:
            work()
        except Terminated:
            checkpoint()
            work(0.05)
            try:
                raise ValueError("of the clean-up")
            except ValueError:
                checkpoint()
                say("cleaned")
            raise
        finally:
            checkpoint()
            say("finally")
    except Terminated:
        say("swallowed")
checkpoint()
"""
    )
    asked.wait_for("there")
    asked.terminate()
    assert ended(worker)[0] == 75
    assert asked.said()[1:] == ["cleaned", "finally", "swallowed"] * 2


def test_an_end_waits_for_the_end_of_a_critical_section(asked):
    worker = asked.start(
        """
with checkpoint.off():
    say("inside")
    work(0.2)
    say("done")
say("not reached")
"""
    )
    asked.wait_for("inside")
    asked.terminate()
    assert asked.checkpoint.busy()
    assert ended(worker)[0] == 75
    assert asked.said() == ["inside", "done"]


def test_what_fails_in_a_critical_section_is_not_masked(asked):
    worker = asked.start(
        """
try:
    with checkpoint.off():
        say("inside")
        time.sleep(0.2)
        raise ValueError("its own")
except ValueError as error:
    say(error)
work()
"""
    )
    asked.wait_for("inside")
    asked.terminate()
    assert ended(worker)[0] == 75
    assert asked.said() == ["inside", "its own"]


def test_a_coroutine_ends(asked):
    worker = asked.start(
        """
import asyncio

async def main():
    try:
        await checkpoint.wait()
        say("there")
        while True:
            await checkpoint.wait()
            await asyncio.sleep(0.001)
    finally:
        say("finally")

asyncio.run(main())
"""
    )
    asked.wait_for("there")
    asked.terminate()
    assert ended(worker)[0] == 75
    assert asked.said()[-1] == "finally"


def test_terminated_is_what_no_broad_except_swallows():
    assert issubclass(Terminated, BaseException)
    assert not issubclass(Terminated, Exception)
    copy = pickle.loads(pickle.dumps(Terminated("why", 2.0)))
    assert (copy.reason, copy.grace, copy.code, str(copy)) == ("why", 2.0, 75, "why; 2.0 s are left")


# -------------------------------------------------------------------------------------------- what it says of itself


def test_progress_and_need_are_told(asked):
    asked.start("progress(0.4, 'page 12'); memory_need(1 << 30); say('told'); time.sleep(60)")
    asked.wait_for("told")
    assert asked.look().words == (0.4, 1 << 30, "page 12")
    assert asked.checkpoint._read()[SLOTS.start] == 0, "who has no checkpoints has no slot"
    assert not asked.pause(), "and nobody waits for it"


@pytest.mark.parametrize(
    "wrong",
    [
        "progress(1.5)",
        "progress(-0.1)",
        "progress('x')",
        "progress(0.5, 3)",
        "progress(float('nan'))",
        "memory_need(-1)",
        "memory_need('2G')",
        "memory_need(float('inf'))",
        "checkpoint.before_pause(3)",
    ],
)
def test_figures_that_are_none_are_errors(asked, wrong):
    code, _, err = ended(asked.start(wrong))
    assert code == 1
    assert "ValueError" in err


def test_long_words_are_cut(asked):
    asked.start("progress(None, 'ä' * 500); say('told'); work()")
    asked.wait_for("told")
    assert len(asked.look().words.text) <= 192
    assert asked.checkpoint.words.text.startswith("ää")


def test_it_is_asked_now_and_then_whether_it_is_still_there(asked):
    asked.start(
        """
checkpoint()
say("there")
while not os.path.exists(os.environ["LOG"] + ".go"):
    time.sleep(0.001)
work()
"""
    )
    asked.wait_for("there")
    now = time.monotonic()
    assert asked.checkpoint.reached(now)
    assert asked.checkpoint.probe(now + manager.PROBE), "it is asked ..."
    assert not asked.checkpoint.reached(now + manager.LATELY + 1), "... and gives no answer"
    assert not asked.checkpoint.pause(OPERATOR, now + manager.LATELY + 1), "so it is stopped instead"
    open(f"{asked.log}.go", "w").close()
    until(lambda: asked.checkpoint.reached(now + manager.LATELY + 1))
    assert not asked.checkpoint.probe(now + manager.LATELY + 1)
    assert asked.checkpoint._read()[0] == 0, "the question is taken back"


def test_time_that_it_stood_is_no_time_that_it_was_away(asked):
    asked.start("checkpoint(); say('there'); time.sleep(60)")
    asked.wait_for("there")
    now = time.monotonic()
    assert asked.checkpoint.reached(now)
    asked.checkpoint.forgive(100.0)
    assert asked.checkpoint.reached(now + 100.0)
    assert not asked.checkpoint.reached(now + 100.0 + manager.LATELY + 0.1)


@pytest.mark.parametrize("mode", [PauseMode.STOP, PauseMode.FREEZE])
def test_modes_that_ask_nobody(tmp_path, mode):
    asked = Asked(tmp_path, mode)
    try:
        asked.start("checkpoint(); say('there'); work()")
        asked.wait_for("there")
        assert not asked.pause()
        assert asked.terminate(), "an end is asked for all the same"
    finally:
        asked.close()


# ------------------------------------------------------------------------------------------------- nothing to do with


def warned(process) -> str:
    """What it says on stderr, once; it works on."""
    code, out, err = ended(process)
    assert (code, out) == (0, "done\n")
    assert err.count("\n") <= 1
    return err


WORKS_ON = """
for _ in range(1000):
    checkpoint()
with checkpoint.off():
    progress(0.5, "x")
memory_need(5)
checkpoint()
print("done")
"""


def test_outside_a_run_it_does_nothing_and_says_nothing(asked):
    assert warned(asked.start(WORKS_ON, LOADKEEPER_WORKER_CHECKPOINT="", LOADKEEPER_WORKER="")) == ""


def test_a_file_that_is_gone(asked, tmp_path):
    said = warned(asked.start(WORKS_ON, LOADKEEPER_WORKER_CHECKPOINT=str(tmp_path / "gone")))
    assert "gone is not there: the worker that this environment was made for is gone" in said


def test_another_workers_file(asked):
    said = warned(asked.start(WORKS_ON, LOADKEEPER_WORKER="0123abcd.2"))
    assert "is another worker's: 0123abcd.1" in said


def test_a_file_of_another_version(asked):
    os.pwrite(asked.checkpoint._descriptor, b"loadkeeper 2\0\0\0", 1)
    assert "loadkeeper 2" in warned(asked.start(WORKS_ON))


def test_a_file_of_another_size(asked):
    os.truncate(asked.checkpoint.path, 100)
    assert "100 bytes instead of 4096" in warned(asked.start(WORKS_ON))


def test_a_directory_a_link_and_a_file_that_may_not_be_opened(asked, tmp_path):
    os.symlink(asked.checkpoint.path, tmp_path / "link")
    for path in (tmp_path, tmp_path / "link"):
        assert "cannot be used" in warned(asked.start(WORKS_ON, LOADKEEPER_WORKER_CHECKPOINT=str(path)))


def test_a_wish_that_is_none(asked):
    worker = asked.start(
        """
checkpoint()
say("there")
while not os.path.exists(os.environ["LOG"] + ".go"):
    time.sleep(0.001)
"""
        + WORKS_ON
    )
    asked.wait_for("there")
    os.pwrite(asked.checkpoint._descriptor, b"#", 0)
    open(f"{asked.log}.go", "w").close()
    assert "somebody has written over" in warned(worker)


def test_all_slots_are_taken(asked):
    """Of living processes: it obeys all the same, and cannot say so."""
    for offset in SLOTS:
        os.pwrite(asked.checkpoint._descriptor, b"s%d" % os.getpid(), offset)
    worker = asked.start("checkpoint(); say('there'); work()")
    asked.wait_for("there")
    asked.terminate()
    assert ended(worker)[0] == 75


def test_slots_of_the_dead_are_taken(asked):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for offset in SLOTS:
        os.pwrite(asked.checkpoint._descriptor, b"r%d" % gone.pid, offset)
    asked.start("checkpoint(); say('there'); work()")
    asked.wait_for("there")
    asked.pause()
    until(asked.checkpoint.stands)


def test_the_import_brings_little_with_it():
    loaded = modules_of("import loadkeeper.worker")
    assert len(loaded) <= 8, loaded
    assert not {"asyncio", "typing", "mmap", "zmq", "msgspec", "threading"} & set(loaded)


# --------------------------------------------------------------------------------------------- the manager's own side


def test_a_file_is_used_again_while_nobody_has_used_it(asked):
    now = time.monotonic()
    assert asked.checkpoint.renew("0123abcd.2", now)
    asked.start("checkpoint(); say('there'); work(0.1)", LOADKEEPER_WORKER="0123abcd.2")
    asked.wait_for("there")
    assert not asked.checkpoint.renew("0123abcd.3", now)


@pytest.mark.parametrize("size", [0, 1, 4095, 4097, 1 << 20])
def test_a_truncated_file_harms_nobody_else(asked, size):
    asked.start("checkpoint(); say('there'); time.sleep(60)")
    asked.wait_for("there")
    os.truncate(asked.checkpoint.path, size)
    assert not asked.look().stands()
    assert not asked.checkpoint.busy()
    asked.pause()
    asked.checkpoint.go_on()
    asked.terminate()
    assert not asked.checkpoint.renew("0123abcd.2", time.monotonic())


@pytest.mark.parametrize("seed", range(20))
def test_scribbled_files_say_nothing_wrong(asked, seed):
    import random

    random = random.Random(seed)
    for _ in range(200):
        content = bytearray(asked.checkpoint._read())
        for _ in range(random.randrange(1, 40)):
            place = random.randrange(256, 1300)
            content[place : place + 8] = random.choice([random.randbytes(8), b"s1\0\0\0\0\0\0", b"1e999999", b"9" * 8])
        os.pwrite(asked.checkpoint._descriptor, bytes(content[:SIZE]), 0)
        words = asked.look().words
        assert words.progress is None or 0 <= words.progress <= 1
        assert words.need is None or 0 <= words.need <= manager.MOST_NEED
        asked.checkpoint.stands(), asked.checkpoint.busy(), asked.checkpoint.probe(time.monotonic())
