"""From process-load-manager: its examples as they stand on the page, its options, and what a worker of it calls."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.pages import blocks
from support.program import Program, wait_until

from loadkeeper import Limits, LoadManager, UsageError, coming_over
from loadkeeper.coming_over import DEFAULTS, MEANINGLESS, Pm
from loadkeeper.model import Amount
from loadkeeper.worker import Terminated

PAGE = Path(__file__).parents[1] / "docs" / "coming-over.md"
MANAGER, OURS, LOAD_MANAGER, WORKER = (block.code for block in blocks(PAGE))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = Program(tmp_path_factory.mktemp("over") / "p")
    yield made
    made.close()


def run(program, code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**program.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=program.root,
    )
    assert done.returncode == 0, done.stderr
    return done


# ----------------------------------------------------------------------------------------------------------- the page


def test_the_manager_and_its_load_manager_as_they_stand_on_the_page(program):
    (program.root / "lm.py").write_text(f"open({str(program.root / 'lm-was-here')!r}, 'w')\n{LOAD_MANAGER}")
    load_manager = f"{sys.executable} {program.root / 'lm.py'}"
    whatever = "task_id=task_id, limits=Limits(cpu='off')"  # else runs slowly when others keep this machine busy
    code = "from loadkeeper import Limits\n" + MANAGER.replace("task_id=task_id", whatever)
    assert whatever in code
    done = run(program, code, LOAD_MANAGER=load_manager, WORKER="echo worker; test -n '' || true")
    *lines, result = done.stdout.splitlines()
    assert lines == ["worker"] * 5
    told = json.loads(result)
    assert (told["task_id"], told["done"], told["error"], told["critical"]) == ("4711", 5, False, False)
    assert "pmLmRequestAddress" in done.stderr
    assert (program.root / "lm-was-here").exists()


def test_the_same_in_our_own_words(program):
    done = run(program, OURS.replace('cpu="90%"', 'cpu="off"'), WORKER="exit 1")
    told = json.loads(done.stdout)
    assert (told["task_id"], told["done"], told["failed"], told["error"]) == ("4711", 0, 5, True)


def test_the_worker_as_it_stands_on_the_page(capsys):
    exec(compile(WORKER, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "part 0\npart 1\npart 2\n"


STANDS = """
import sys, time
from loadkeeper.coming_over import TerminatorPauseStander, TerminatorPauseStanderException

stander = TerminatorPauseStander({"pid": 1})
stander.setPublisherPmSocketAddress("tcp://127.0.0.1:6268")
stander.setUSleepTime(5_000_000)
try:
    print("begins", flush=True)
    while True:
        stander.checkPmCommand()
        stander.check_pm_command()
        time.sleep(0.001)
except TerminatorPauseStanderException as error:
    open(sys.argv[1], "w").write(error.reason)
"""


@pytest.mark.parametrize("publisher", [(), ("--checkpoint", "zmq://127.0.0.1:0")])
def test_what_a_worker_calls_and_catches(program, tmp_path, publisher):
    """With the publisher that PHP workers listen to, too."""
    (tmp_path / "worker.py").write_text(STANDS)
    words = ["run", "--cpu", "off", "--sigterm-blocking", *publisher, "--tasks", "1", "--"]
    run = program.start(*words, sys.executable, str(tmp_path / "worker.py"), str(tmp_path / "ended"))
    pid = wait_until(lambda: worker_of(program.ask()), 15, "no worker")
    wait_until(lambda: "/dev/shm/" in Path(f"/proc/{pid}/maps").read_text(), 10, "it has come to no checkpoint")
    run.send_signal(signal.SIGTERM)
    assert run.wait(20) == 143
    assert (tmp_path / "ended").read_text() == "ended because the run stops; its task is given back"


def worker_of(status):
    return next((worker.pid for run in status.runs for worker in run.workers), None) if status else None


def test_the_names_of_the_reference():
    assert coming_over.TerminatorPauseStanderException is Terminated
    assert coming_over.Lm is LoadManager


def test_a_worker_loads_nothing_of_ours_but_its_part():
    code = "import sys; import loadkeeper.coming_over; print(*(n for n in sys.modules if n.startswith('loadkeeper')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["loadkeeper", "loadkeeper.coming_over"]


# ------------------------------------------------------------------------------------------------------------ options


def test_the_page_names_every_option_with_its_default():
    page = PAGE.read_text()
    for name in [*DEFAULTS, *MEANINGLESS]:
        if not name.endswith(("PulsarSocketAddress", "RsSocketAddress")) and name != "pids":
            assert f"`{name}`" in page
    assert "100,000 KiB" in page
    assert "300,000 KiB" in page


def test_defaults_are_the_references():
    made = Pm(workerProcessCommand="x", tasksNumber=3).keywords()
    assert made == {
        "command": "x",
        "tasks": 3,
        "limits": made["limits"],
    }
    limits = made["limits"]
    assert limits.cpu == Amount(share=0.99)
    assert limits.workers_memory == Amount(share=0.5)
    assert limits.memory_gap == 100_000 * 1024
    assert limits.memory_end == Amount(absolute=300_000 * 1024.0)
    assert limits.memory == Limits().model.memory


def test_options_by_keyword_setter_and_nested_mapping_are_the_same():
    flat = Pm(
        tasksNumber=5,
        workerProcessCommand="w",
        loadManagerProcessCommand="l",
        maxSimultaneousProcesses=2,
        moduleName="m",
        sigTermBlockingAgent=True,
        publisherPmSocketAddress="tcp://127.0.0.1:6268",
        cpuUsagePercentageLimit=90,
        cpuGapPercentage=5,
        memFreeUsagePercentageLimit=20,
        standardMemoryGap=200_000,
        minMemFreeSize=400_000,
        pauseForbidden=True,
    )
    nested = Pm(
        {
            "tasksNumber": 5,
            "workerProcessCommand": "w",
            "loadManagerProcessCommand": "l",
            "maxSimultaneousProcesses": 2,
            "moduleName": "m",
            "performerSocketsParams": {"publisherPmSocketAddress": "tcp://127.0.0.1:6268"},
            "loadManagerDto": {
                "moduleName": "of its log",
                "cpuUsagePercentageLimit": 90,
                "cpuGapPercentage": 5,
                "memFreeUsagePercentageLimit": 20,
                "standardMemoryGap": 200_000,
                "minMemFreeSize": 400_000,
                "pauseForbidden": True,
            },
        }
    )
    nested.setSigTermBlockingAgent(True)
    assert flat.keywords() == nested.keywords()
    assert nested.getTasksNumber() == 5
    assert nested.isPauseForbidden() is True
    made = flat.keywords()
    assert (made["jobs"], made["name"], made["lm_command"], made["pause"]) == (2, "m", "l", "never")
    assert (made["sigterm_blocking"], made["checkpoint"]) == (True, "zmq://127.0.0.1:6268")
    assert made["limits"].cpu == Amount(share=0.85)
    assert made["limits"].memory_end == Amount(absolute=400_000 * 1024.0)


def test_a_workers_share_is_a_cap_in_bytes():
    cap = Pm(memFreeUsagePercentageLimitPerProcess=50).keywords()["limits"].memory_per_worker
    assert 1 << 20 < cap < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_what_means_nothing_is_said_once(program, caplog):
    told = []
    manager = Pm(workerProcessCommand="true", tasksNumber=-1, interMessageInterval=1, uSleepTime=2)
    with pytest.raises(UsageError, match="tasksNumber: -1: it must be a whole number from 0"):
        manager.manage(on_message=told.append)
    (text,) = told
    assert text.startswith(
        "these options of process-load-manager mean nothing here: interMessageInterval (nobody waits"
    )
    assert "uSleepTime (" in text
    with pytest.raises(UsageError):
        manager.manage()
    assert caplog.messages == [f"loadkeeper: {text}"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"taskNumber": 1}, "taskNumber is no option of process-load-manager; did you mean tasksNumber?"),
        ({"nothing": 1}, "nothing is no option of process-load-manager$"),
        ({"cpuUsagePercentageLimit": 0}, "cpuUsagePercentageLimit: 0: it must be per cent"),
        ({"cpuUsagePercentageLimit": 5, "cpuGapPercentage": 5}, "cpuGapPercentage: 5.0: it must be below"),
        ({"standardMemoryGap": "200M"}, "standardMemoryGap: '200M': it must be a whole number"),
        ({"publisherPmSocketAddress": "ipc://x"}, "publisherPmSocketAddress: 'ipc://x': write it as tcp://"),
    ],
)
def test_what_cannot_be(options, told):
    with pytest.raises(UsageError, match=told):
        Pm(options).keywords()
    name, value = next(iter(options.items()))
    if "no option" in told:
        with pytest.raises(UsageError, match=told):
            getattr(Pm(), f"set{name[0].upper()}{name[1:]}")(value)


def test_a_process_manager_with_a_command_that_fails_says_so(program):
    """Three crashes of three were success there."""
    code = textwrap.dedent(
        """
        from loadkeeper import Limits
        from loadkeeper.coming_over import Pm
        outcome = Pm(workerProcessCommand="kill -SEGV $$", tasksNumber=3).manage(limits=Limits(cpu="off"))
        print(outcome.error, outcome.critical, outcome.failed, outcome.failures[0].signal)
        """
    )
    assert run(program, code).stdout == "True False 3 11\n"


def test_the_most_at_once_are_alive_at_once(program):
    """Tasks 5, at most 2: two ran there, and success was reported."""
    code = textwrap.dedent(
        """
        from loadkeeper import Limits
        from loadkeeper.coming_over import Pm
        most = []
        manager = Pm(workerProcessCommand="sleep 1.2", tasksNumber=5, maxSimultaneousProcesses=2)
        outcome = manager.manage(limits=Limits(cpu="off"), on_progress=lambda p: most.append(p.running))
        print(outcome.done, max(most), manager.outcome is outcome)
        """
    )
    assert run(program, code).stdout == "5 2 True\n"
