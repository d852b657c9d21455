"""The worker's own part at unusual moments: signal handlers, interrupts, files that go."""

import signal
import time
from pathlib import Path

import pytest
from support.asked import Asked, ended
from support.waiting import until

from loadkeeper.worker.layout import RUNS, SLOTS


@pytest.fixture
def asked(tmp_path):
    made = Asked(tmp_path)
    yield made
    made.close()


def test_a_signal_handler_may_come_to_a_checkpoint_at_any_moment(asked):
    """It interrupts its own thread anywhere, also where that thread holds what the threads of a process share."""
    code = """
import signal
handled = 0
def handle(*_):
    global handled
    handled += 1
    with checkpoint.off():
        pass
    checkpoint()
    if time.monotonic() < until:
        signal.setitimer(signal.ITIMER_REAL, 0.00005)
signal.signal(signal.SIGALRM, handle)
until = time.monotonic() + 1
signal.setitimer(signal.ITIMER_REAL, 0.00005)
while time.monotonic() < until + 0.1:
    with checkpoint.off():
        pass
say(handled)
"""
    assert ended(asked.start(code), 20)[0] == 0
    assert int(asked.said()[0]) > 10


def test_an_exception_out_of_a_signal_handler_leaves_nobody_standing(asked):
    """The worker goes on with something else: it must not be taken for one that stands."""
    process = asked.start("""
import signal
def handle(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, handle)
try:
    work()
except KeyboardInterrupt:
    say("interrupted")
    time.sleep(60)
""")
    until(lambda: asked.look().reached(time.monotonic()))
    assert asked.pause()
    until(asked.checkpoint.stands)
    process.send_signal(signal.SIGINT)
    asked.wait_for("interrupted")
    assert not asked.checkpoint.stands()


def test_an_exception_while_it_comes_to_stand_leaves_nobody_standing(asked):
    asked.start("""
from loadkeeper.worker import checkpoints
def interrupted(*_):
    raise KeyboardInterrupt
checkpoint()
say("there")
while not checkpoints._wanted[0]: time.sleep(0.001)
checkpoints.file.File.seen = interrupted
try:
    checkpoint()
except KeyboardInterrupt:
    say("interrupted")
while checkpoints._wanted[0]: time.sleep(0.001)
with checkpoint.off():
    pass
say("on")
time.sleep(60)
""")
    asked.wait_for("there")
    assert asked.pause()
    asked.wait_for("interrupted")
    asked.checkpoint.go_on()
    asked.wait_for("on")
    assert Path(asked.checkpoint.path).read_bytes()[SLOTS.start] == RUNS


def test_a_file_that_is_removed_before_the_first_checkpoint(asked):
    removed = "progress(0.5); os.unlink(os.environ['LOADKEEPER_WORKER_CHECKPOINT']); "
    process = asked.start(f"{removed}checkpoint(); work(0.1); print('done')")
    code, out, err = ended(process)
    assert (code, out, err.count("\n")) == (0, "done\n", 1)
    assert "cannot be used" in err


def test_a_warning_needs_no_stderr(asked, tmp_path):
    gone = str(tmp_path / "gone")
    for stderr in ("None", "open(os.devnull)"):
        code = f"sys.stderr = {stderr}; checkpoint(); print('done')"
        assert ended(asked.start(code, LOADKEEPER_WORKER_CHECKPOINT=gone))[:2] == (0, "done\n")


def test_what_is_called_around_a_pause_may_call_code_that_has_checkpoints(asked):
    process = asked.start("""
@checkpoint.before_pause
def release():
    say("release")
    checkpoint()

@checkpoint.after_pause
def take_again():
    checkpoint()
    say("again")

work()
""")
    until(lambda: asked.look().reached(time.monotonic()))
    assert asked.pause()
    until(asked.checkpoint.stands)
    asked.checkpoint.go_on()
    asked.wait_for("again")
    assert asked.said() == ["release", "again"]
    asked.terminate()
    assert ended(process)[::2] == (75, "")
