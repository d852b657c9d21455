"""Runs that take their tasks from a queue, as a user starts them, against the real servers."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.gearmand import Gearmand
from support.memory_group import memory_group, parent
from support.pages import blocks
from support.program import Program, wait_until
from support.servers import RedisServer

from loadkeeper import LoadkeeperError, ProcessManager, Queue, UsageError
from loadkeeper.queues.spool import Spool

KINDS = ("spool", "redis", "gearman", "amqp")
KEPT = """
import os, sys, time
from loadkeeper.worker import tasks, checkpoint
for task in tasks():
    with task:
        print("got", task.text)
        print("err", task.text, file=sys.stderr)
        if task.text == "raise":
            raise ValueError("so bad")
        if task.text == "exit":
            os._exit(3)
        if task.text == "fail":
            task.failed("no luck")
        elif task.text == "later" and task.attempt < 3:
            task.later(0.1)
        elif task.text.startswith("sleep"):
            time.sleep(float(task.text[5:]))
        elif task.text == "pid":
            task.done(str(os.getpid()))
        else:
            task.done({"of": task.text, "key": task.key})
"""


def url_of(kind, request, tmp_path):
    if kind == "spool":
        return f"spool:{tmp_path}/queue"
    server = request.getfixturevalue({"redis": "redis_server", "gearman": "gearmand", "amqp": "rabbit"}[kind])
    return server.url(f"q{os.urandom(4).hex()}")


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    """Of every kind of queue, empty."""
    return url_of(request.param, request, tmp_path)


two_kinds = pytest.mark.parametrize("url", ["spool", "amqp"], indirect=True)
"""Where one of our own and one of the others say enough: `test_queues` holds what each of them does."""


@pytest.fixture
def spool(request, tmp_path):
    return url_of("spool", request, tmp_path)


@pytest.fixture
def queue(url):
    with Queue(url) as made:
        yield made


@pytest.fixture
def kept(tmp_path):
    script = tmp_path / "kept.py"
    script.write_text(KEPT)
    return [sys.executable, str(script)]


def script(tmp_path, text):
    path = tmp_path / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def done(process):
    assert process.returncode == 0, process.stderr.decode()
    return process.stdout.decode()


def run(program, url, *words, until_empty=True, **options):
    return program.call("run", "--queue", url, *(["--until-empty"] if until_empty else []), *words, **options)


# ------------------------------------------------------------------------------------------- one process for each task


def test_each_task_is_an_argument_and_is_done(program, url, queue):
    queue.put("a", "b c", "$(x)", *map(str, range(20)))
    out = done(run(program, url, "--", "printf", "<%s>\\n", "{}"))
    assert sorted(out.splitlines()) == sorted(f"<{one}>" for one in ["a", "b c", "$(x)", *map(str, range(20))])
    assert queue.backlog().waiting == 0
    assert run(program, url, "echo").stdout == b""


def test_a_payload_on_stdin_and_in_a_file(program, spool, tmp_path):
    binary = bytes(range(256)) * 5000
    with Queue(spool) as queue:
        queue.put(binary, "")
        assert done(run(program, spool, "--payload", "stdin", "--", "sh", "-c", "wc -c")).split() == ["1280000", "0"]
        queue.put(binary)
        words = [
            "--payload",
            "file",
            "--",
            "sh",
            "-c",
            'wc -c < "$LOADKEEPER_WORKER_TASK"; echo "$LOADKEEPER_WORKER_TASK"',
        ]
        size, path = done(run(program, spool, *words)).split()
        assert int(size) == len(binary)
        assert not os.path.exists(path)


@two_kinds
def test_what_fails_for_good_is_buried_with_its_reason_and_what_it_said(program, url, queue):
    (key,) = queue.put("x")
    told = run(program, url, "--retries", "2", "--retry-delay", "0.1s", "sh", "-c", "echo try {}; echo bad >&2; exit 7")
    assert told.returncode == 1
    assert b"1 failed" in told.stderr
    (found,) = queue.peek(buried=True)
    assert (found.key, found.payload, found.burial.attempts) == (key, b"x", 2)
    assert found.burial.why == "exit code 7, after 2 tries"
    assert found.burial.said.strip() == b"bad"
    assert found.burial.node == socket.gethostname()
    assert queue.requeue([key]) == 1
    assert done(run(program, url, "echo")) == "x\n"


def test_a_task_that_says_later_is_tried_again_and_has_not_failed(program, spool, tmp_path):
    word = script(
        tmp_path,
        f'n=$(cat {tmp_path}/n 2>/dev/null || echo 0); echo $((n+1)) > {tmp_path}/n; [ "$n" -ge 4 ] || exit 75',
    )
    with Queue(spool) as queue:
        queue.put("x")
        told = run(program, spool, "--retries", "1", "--retry-delay", "0.05s", word)
        assert told.returncode == 0, told.stderr
        assert b"1 done" in told.stderr
        assert (tmp_path / "n").read_text() == "5\n"


def test_no_more_is_taken_than_may_run(program, url, queue):
    queue.put(*map(str, range(12)))
    program.start("run", "--queue", url, "-j", "2", "sh", "-c", "sleep 60; : {}")
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].tasks.running == 2, 20, "two do not run")
    time.sleep(1.5)
    assert queue.backlog().waiting == 10
    assert len(program.ask().runs[0].workers) == 2


def test_a_run_that_is_stopped_gives_its_tasks_back(program, url, queue):
    queue.put("a", "b", "c")
    process = program.start("run", "--queue", url, "-j", "2", "sh", "-c", "sleep 60; : {}")
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].tasks.running == 2, 20, "two do not run")
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"2 not done" in err
    wait_until(lambda: queue.backlog().waiting == 3, 10, "they are not back")
    assert sorted(done(run(program, url, "echo")).split()) == ["a", "b", "c"]


def test_what_a_killed_run_held_is_done_by_another(program, url, queue):
    queue.put("a", "b", "c", "d")
    process = program.start("run", "--queue", url, "-j", "2", "sh", "-c", "sleep 60; : {}")
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].tasks.running == 2, 20, "two do not run")
    process.kill()
    process.wait()
    other = program.start("run", "--queue", url, "echo")
    seen = b""
    os.set_blocking(other.stdout.fileno(), False)
    deadline = time.monotonic() + 20
    while len(seen.split()) < 4 and time.monotonic() < deadline:
        seen += other.stdout.read() or b""
        time.sleep(0.02)
    other.terminate()
    assert sorted(seen.split()) == [b"a", b"b", b"c", b"d"]


@two_kinds
def test_a_run_waits_for_tasks_and_begins_at_once(program, url, queue):
    queue.backlog()
    process = program.start("run", "--queue", url, "--quiet", "echo", "got")
    wait_until(lambda: (s := program.ask()) and s.runs, 20, "the run does not show")
    time.sleep(1.5)
    took = []
    for number in range(3):
        began = time.monotonic()
        queue.put(str(number))
        assert process.stdout.readline() == f"got {number}\n".encode()
        took.append(time.monotonic() - began)
        time.sleep(0.3)
    assert sorted(took)[1] < 0.5
    process.terminate()
    assert process.wait(20) == 143


def test_a_paused_task_stays_ours(program, request, tmp_path):
    """Longer than its claim would last."""
    url = url_of("redis", request, tmp_path)
    with Queue(url) as queue:
        queue.put("x")
        program.start("run", "--name", "held", "--queue", url, "sh", "-c", "sleep 2; echo {}")
        wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].tasks.running == 1, 20, "it does not run")
        assert program.call("pause", "held").returncode == 0
        with Queue(url) as other:
            assert other.take(5) is None
        assert program.call("resume", "held").returncode == 0
        wait_until(lambda: program.ask().runs[0].tasks.done == 1, 10, "it is not done")
        assert queue.backlog().waiting == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--queue", "nowhere", "echo"], "is no queue"),
        (["--queue", "spoool:x", "echo"], "nothing here knows queues of spoool:"),
        (["--queue", "redis://u:secret@h/a/b/c", "echo"], "the path is"),
        (["--queue", "redis://127.0.0.1/s?gruop=x", "echo"], "did you mean group?"),
        (["--queue", "amqp://127.0.0.1:99999/q", "echo"], "is no host"),
        (["--queue", "spool:/nowhere/at/all", "echo"], "is not there; make it"),
        (["--queue", "spool:x", "echo", ":::", "a"], "both name tasks"),
        (["--queue", "spool:x", "--tasks", "3", "echo"], "--tasks says something of a list"),
        (["--kept", "echo", ":::", "a"], "name it: --queue URL"),
        (["--queue", "spool:x", "--kept", "--self-fetching", "echo"], "are two ways"),
        (["--queue", "spool:x", "--kept", "--payload", "stdin", "echo"], "it is not started for one"),
        (["--queue", "spool:x", "--recycle", "tasks=3", "echo"], "is for --kept workers"),
        (["--queue", "spool:x", "--kept", "--recycle", "often", "echo"], "says no end of a worker"),
        (["--queue", "spool:x", "--halt", "now,fail=50%", "echo"], "nobody knows how many"),
    ],
)
def test_bad_words(program, words, said, tmp_path):
    told = program.call("run", *words, cwd=tmp_path)
    assert told.returncode == 2, told.stderr
    assert said in told.stderr.decode()
    assert "secret" not in told.stderr.decode()
    assert told.stderr.count(b"\n") < 8


def test_a_payload_that_is_no_argument_is_buried_and_says_why(program, spool):
    with Queue(spool) as queue:
        queue.put(b"a\0b", b"x" * 300_000, "good")
        told = run(program, spool, "echo")
        assert told.stdout == b"good\n"
        assert told.returncode == 1
        one, two = queue.peek(buried=True)
        assert "NUL" in one.burial.why
        assert "--payload" in two.burial.why
        assert "--payload" in one.burial.why


def test_wrong_credentials_are_said_without_the_password(program, rabbit, tmp_path):
    told = program.call("run", "--queue", rabbit.url("q", "guest:wrongsecret"), "echo")
    assert told.returncode == 2
    assert b"wrongsecret" not in told.stdout + told.stderr
    assert b"user, password" in told.stderr
    server = RedisServer(tmp_path / "locked", "--requirepass", "rightsecret")
    try:
        told = program.call("backlog", f"redis://:wrongsecret@127.0.0.1:{server.port}/s")
        assert told.returncode == 2
        assert b"wrongsecret" not in told.stdout + told.stderr
        assert b"user and password" in told.stdout
        good = f"redis://:rightsecret@127.0.0.1:{server.port}/s"
        assert program.call("put", good, "a").returncode == 0
        assert done(run(program, good, "echo")) == "a\n"
        process = program.start("run", "--queue", good, "sleep")
        wait_until(lambda: (s := program.ask()) and s.runs, 20, "the run does not show")
        told = program.call("status", "--json").stdout + program.call("explain").stdout
        assert b"rightsecret" not in told
        process.terminate()
    finally:
        server.close()


# ------------------------------------------------------------------------------------------------------- kept workers


def test_kept_workers_serve_many_tasks_each(program, url, queue, kept):
    queue.put(*["pid"] * 40, *map(str, range(60)))
    told = run(program, url, "-j", "2", "--kept", *kept, timeout=60)
    out = done(told)
    assert sorted(out.split()) == sorted([*["got"] * 100, *["pid"] * 40, *map(str, range(60))])
    assert told.stderr.decode().count("err ") == 100
    assert queue.backlog().waiting == 0


def test_kept_workers_fail_postpone_and_die_task_by_task(program, spool, kept):
    with Queue(spool) as queue:
        queue.put("raise", "fail", "exit", "later", "good")
        told = run(program, spool, "--retries", "2", "--retry-delay", "0.05s", "--kept", *kept)
        assert told.returncode == 1
        assert b"2 done, 3 failed" in told.stderr
        reasons = {one.payload: one.burial for one in queue.peek(buried=True)}
        assert reasons[b"raise"].said == b"ValueError: so bad"
        assert reasons[b"fail"].said == b"no luck"
        assert reasons[b"exit"].why == "exit code 3, after 2 tries"
        assert reasons[b"exit"].said.strip() == b"err exit"


def test_output_of_kept_workers_is_printed_task_by_task(program, spool, kept):
    with Queue(spool) as queue:
        queue.put(*map(str, range(8)))
        out = done(run(program, spool, "-j", "1", "--keep-order", "--tag", "--kept", *kept))
        assert out == "".join(f"{n}\tgot {n}\n" for n in range(8))


def test_kept_workers_are_recycled_and_leave_when_idle(program, spool, tmp_path):
    worker = tmp_path / "w.py"
    worker.write_text("import os\nfrom loadkeeper.worker import tasks\nfor t in tasks(): print(os.getpid())\n")
    with Queue(spool) as queue:
        queue.put(*map(str, range(10)))
        words = ["-j", "1", "--kept", "--recycle", "tasks=4", "--idle", "0.5s", sys.executable, str(worker)]
        pids = done(run(program, spool, *words)).split()
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [4, 4, 2]
        program.start("run", "--queue", spool, *words)
        queue.put("a")
        wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].tasks.done == 1, 20, "it is not done")
        wait_until(lambda: not program.ask().runs[0].workers, 10, "the idle one stays")
        queue.put("b")
        wait_until(lambda: program.ask().runs[0].tasks.done == 2, 10, "no other one comes")


@pytest.mark.parametrize("recycle", ["age=0.6s", "memory=60M"])
def test_kept_workers_are_recycled_by_age_and_memory(program, spool, tmp_path, recycle):
    worker = tmp_path / "w.py"
    worker.write_text(
        "import os, time\nfrom loadkeeper.worker import tasks\nheld = []\n"
        "for t in tasks(): held.append(b'x' * (20 << 20)); time.sleep(0.25); print(os.getpid())\n"
    )
    with Queue(spool) as queue:
        queue.put(*map(str, range(8)))
        words = ["-j", "1", "--kept", "--recycle", recycle, sys.executable, str(worker)]
        pids = done(run(program, spool, *words)).split()
        assert len(pids) == 8
        assert 2 <= len(set(pids)) <= 5


def test_a_kept_worker_that_does_not_keep_to_the_protocol(program, spool, tmp_path):
    worker = script(
        tmp_path,
        "while read -r word verb number rest; do\n"
        "echo hello >&0; echo loadkeeper done 99 >&0; echo loadkeeper jump $number >&0\n"
        "echo loadkeeper done $number >&0; done",
    )
    with Queue(spool) as queue:
        queue.put("a", "b")
        told = run(program, spool, "-j", "1", "--kept", worker)
        assert told.returncode == 0, told.stderr
        assert told.stderr.count(b"does not keep to the protocol") == 1
        assert b"2 done" in told.stderr


def test_a_kept_worker_in_shell(program, spool, tmp_path):
    worker = script(
        tmp_path,
        "while read -r word verb number attempt key payload; do\n"
        'text=$(printf %s "$payload" | base64 -d); echo "did $text"\n'
        'echo "loadkeeper done $number $(printf %s "$text" | tr a-z A-Z | base64 -w0)" >&0; done',
    )
    with Queue(spool) as queue:
        key, _ = queue.put("hello", "world", result=True)
        assert sorted(done(run(program, spool, "--kept", worker)).splitlines()) == ["did hello", "did world"]
        assert queue.result(key, 1) == b"HELLO"


def test_kept_workers_time_out_by_task(program, spool, kept):
    with Queue(spool) as queue:
        queue.put("sleep0.4", "sleep0.4", "sleep0.4", "sleep30")
        told = run(program, spool, "-j", "1", "--retries", "1", "--timeout", "1.2s", "--kept", *kept)
        assert told.returncode == 1
        assert b"3 done, 1 failed" in told.stderr
        print(queue.peek(buried=True)[0].burial.why)
        assert "1.2 s" in queue.peek(buried=True)[0].burial.why


# ------------------------------------------------------------------------------------------------------ what comes back


def test_results_go_back_where_they_are_waited_for(program, request, tmp_path, rabbit):
    words = ["--payload", "stdin", "--", "tr", "a-z", "A-Z"]
    url = url_of("spool", request, tmp_path)
    with Queue(url) as queue:
        (key,) = queue.put("hello", result=True)
        done(run(program, url, *words))
        assert queue.result(key, 5) == b"HELLO"

    import redis

    url = url_of("redis", request, tmp_path)
    client = redis.Redis.from_url(url.partition("?")[0].rpartition("/")[0])
    client.xadd(url.partition("?")[0].rpartition("/")[2], {"payload": "hello", "reply_to": "answers", "key": "k1"})
    done(run(program, url, *words))
    ((_, fields),) = client.xrange("answers")
    assert fields == {b"key": b"k1", b"outcome": b"done", b"result": b"HELLO"}

    import amqp

    url = url_of("amqp", request, tmp_path)
    with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection:
        channel = connection.channel()
        answers = channel.queue_declare("", exclusive=True).queue
        name = url.rpartition("/")[2]
        channel.queue_declare(name, durable=True, auto_delete=False)
        message = amqp.Message("hello", reply_to=answers, correlation_id="c7")
        channel.basic_publish(message, routing_key=name)
        done(run(program, url, *words))
        answer = channel.basic_get(answers)
        assert (answer.body, answer.properties["correlation_id"]) in (("HELLO", "c7"), (b"HELLO", "c7"))


def test_a_gearman_client_gets_result_progress_and_failure(program, gearmand, tmp_path):
    from loadkeeper.queues.gearman_wire import Connection, Kind

    name = f"f{os.urandom(4).hex()}"
    worker = tmp_path / "w.py"
    worker.write_text(
        "import time\nfrom loadkeeper.worker import tasks\n"
        "for t in tasks():\n"
        "    t.progress(0.5, 'half'); time.sleep(0.3)\n"
        "    t.failed('no such thing') if t.text == 'bad' else t.done(t.text.upper())\n"
    )
    program.start("run", "--retries", "1", "--queue", gearmand.url(name), "--kept", sys.executable, str(worker))
    client = Connection("127.0.0.1", gearmand.port, 5)
    client.send(Kind.SUBMIT_JOB, name.encode(), b"u1", b"good")
    client.wait(frozenset({Kind.JOB_CREATED}), 5)
    status = client.wait(frozenset({Kind.WORK_STATUS}), 20)
    assert status.words(3)[1:] == [b"500", b"1000"]
    assert client.wait(frozenset({Kind.WORK_COMPLETE}), 5).words(2)[1] == b"GOOD"
    client.send(Kind.SUBMIT_JOB, name.encode(), b"u2", b"bad")
    client.wait(frozenset({Kind.WORK_FAIL}), 10)
    client.close()
    with Queue(gearmand.url(name)) as queue:
        (found,) = queue.peek(buried=True)
        assert (found.payload, found.burial.said) == (b"bad", b"no such thing")


# ------------------------------------------------------------------------------------- workers that fetch themselves


@two_kinds
def test_self_fetching_workers_are_started_by_the_backlog(program, url, queue, tmp_path):
    """Each takes two tasks by itself and ends."""
    worker = tmp_path / "w.py"
    worker.write_text(
        "import sys, time\nfrom loadkeeper import Queue\n"
        "with Queue(sys.argv[1]) as queue:\n"
        "    for _ in range(2):\n"
        "        task = queue.take(2)\n"
        "        if task:\n            print(task.payload.decode(), flush=True); time.sleep(0.2); task.done()\n"
    )
    queue.put(*map(str, range(9)))
    out = done(run(program, url, "--self-fetching", "--", sys.executable, str(worker), url, timeout=60))
    assert sorted(map(int, out.split())) == list(range(9))
    assert queue.backlog().waiting == 0


# ---------------------------------------------------------------------------------------------------------- the verbs


@two_kinds
def test_put_take_peek_requeue_backlog(program, url):
    assert program.call("put", url, "a", "b").stderr == b"2 tasks put\n"
    assert program.call("put", url, "-", stdin=b"c\nd e\n").stderr == b"2 tasks put\n"
    name = url.rpartition("/")[2] if not url.startswith("spool:") else url
    assert name.encode() in program.call("backlog", url).stdout
    wait_until(lambda: json.loads(program.call("backlog", "--json", url).stdout)[0]["waiting"] == 4, 10, "no four")
    peeked = json.loads(program.call("peek", "--json", "-n", "2", url).stdout)
    assert [one["payload"] for one in peeked] == ["a", "b"]
    taken = done(program.call("take", "-n", "3", url)).splitlines()
    taken += [json.loads(done(program.call("take", "--json", url)))["payload"]]
    assert sorted(taken) == ["a", "b", "c", "d e"]
    assert program.call("take", url).returncode == 1
    program.call("put", url, "x")
    assert run(program, url, "--retries", "1", "false").returncode == 1
    shown = program.call("peek", "--buried", url).stdout.decode()
    assert "exit code 1" in shown
    assert done(program.call("requeue", url, "--all")) == "1 task put back\n"
    assert program.call("requeue", url, "--all").returncode == 1
    assert done(program.call("take", "--timeout", "5s", url)) == "x\n"


def test_verbs_on_what_is_not_there(program, tmp_path):
    for words in (
        ["put", "redis://127.0.0.1:1/s", "a"],
        ["peek", "gearman://127.0.0.1:1/f"],
        ["take", "amqp://127.0.0.1:1/q"],
    ):
        told = program.call(*words)
        assert told.returncode == 2
        assert b"cannot be reached" in told.stderr
        assert told.stderr.count(b"\n") == 1
    assert program.call("put", "spool:x").returncode == 2
    assert program.call("requeue", f"spool:{tmp_path}/q").returncode == 2


def test_a_broker_that_is_not_there_yet_is_waited_for(program, tmp_path):
    server = RedisServer(tmp_path / "late")
    server.close()
    process = program.start("run", "--queue", server.url("s"), "--until-empty", "echo")
    wait_until(lambda: (s := program.ask()) and s.runs, 20, "the run does not show")
    server.begin()
    with Queue(server.url("s")) as queue:
        queue.put("at last")
    out, err = process.communicate(timeout=40)
    server.close()
    assert process.returncode == 0, err
    assert out in (b"at last\n", b""), "it may have been empty for a moment"


def test_a_failing_worker_does_not_bury_a_queue_in_a_minute(program, spool):
    with Queue(spool) as queue:
        queue.put(*map(str, range(200)))
        process = program.start("run", "--retries", "1", "--queue", spool, "false")
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert 20 <= queue.backlog().buried < 40


# ------------------------------------------------------------------------------------------------------ several servers


def test_two_gearmands_share_and_one_of_them_dies(program, tmp_path):
    one, two = Gearmand(tmp_path / "one"), Gearmand(tmp_path / "two")
    try:
        url = f"gearman://127.0.0.1:{one.port},127.0.0.1:{two.port}/work"
        for server, payloads in ((one, "abc"), (two, "def")):
            with Queue(server.url("work")) as queue:
                queue.put(*payloads)
        with Queue(url) as queue:
            assert queue.backlog().waiting == 6
        process = program.start("run", "--queue", url, "--quiet", "-j", "2", "sh", "-c", "echo {}")
        lines = sorted(process.stdout.readline() for _ in range(6))
        assert lines == [f"{letter}\n".encode() for letter in "abcdef"]
        one.kill()
        with Queue(two.url("work")) as queue:
            queue.put("g")
        assert process.stdout.readline() == b"g\n"
        assert b"one of its servers is down" in process.stderr.readline()
        one.begin()
        with Queue(one.url("work")) as queue:
            queue.put("h")
        assert process.stdout.readline() == b"h\n"
        process.terminate()
        assert process.wait(20) == 143
    finally:
        one.close()
        two.close()


# ------------------------------------------------------------------------------------------------------ in programs


def test_a_queue_in_a_program(spool, here):
    with Queue(spool) as queue:
        key, _ = queue.put("a", b"b", keys=["mine"])
        assert key == "mine"
        with queue.take(1) as task:
            assert (task.payload, task.key, task.again) == (b"a", "mine", False)
        with pytest.raises(ZeroDivisionError), queue.take(1):
            raise ZeroDivisionError
        task = queue.take(1)
        assert (task.payload, task.again) == (b"b", True)
        task.bury("no use")
        with pytest.raises(LoadkeeperError, match="answered already"):
            task.done()
        assert queue.take(0.1) is None
        assert queue.peek(buried=True)[0].burial.why == "no use"
        assert queue.requeue() == 1
        for task in queue:
            task.done()
            break
        assert queue.backlog() == (0, 0, 0)


def test_a_run_of_a_program_takes_from_a_queue(spool, here):
    with Queue(spool) as queue:
        queue.put(*map(str, range(5)))
    said = []
    outcome = ProcessManager(
        ["echo", "got", "{}"], queue=spool, until_empty=True, output=lambda task, out, err: said.append(out)
    ).manage()
    assert (outcome.done, outcome.error) == (5, False)
    assert sorted(said) == [f"got {n}\n".encode() for n in range(5)]
    with pytest.raises(UsageError, match="recycle is for kept workers"):
        ProcessManager("true", queue=spool, recycle={"tasks": 3})
    with pytest.raises(UsageError, match="each names the tasks"):
        ProcessManager("true", queue=spool, tasks=3)
    with pytest.raises(LoadkeeperError, match="is not there; make it"):
        ProcessManager("true", queue="spool:/nowhere/at/all").manage()


def test_the_python_on_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[1] / "docs" / "queues.md"
    exec(compile(blocks(page)[0].code, str(page), "exec"), {})
    assert "b'a.wav'" in capsys.readouterr().out


class Nowhere(Spool):
    """A broker of somebody else's package."""

    def __init__(self, text):
        super().__init__(text.replace("nowhere:", "spool:"))


def test_a_broker_of_another_package(monkeypatch, tmp_path):
    point = SimpleNamespace(name="nowhere", load=lambda: Nowhere)
    found = {"loadkeeper.sources": [point]}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found.get(group, []))
    with Queue(f"nowhere:{tmp_path}/q") as queue:
        queue.put("x")
        assert queue.backlog().waiting == 1
    with pytest.raises(UsageError, match="nothing here knows queues of elsewhere:"):
        Queue("elsewhere:x")


# ----------------------------------------------------------------------------------------------------------- never fits


@pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1")
def test_what_never_fits_on_a_small_node_is_done_by_a_bigger_one(program, spool, tmp_path, tmp_path_factory):
    grow = tmp_path / "grow.py"
    grow.write_text(
        "import sys, time\nheld = []\n"
        "for _ in range(int(sys.argv[1])):\n    held.append(b'x' * (1 << 20)); time.sleep(0.002)\n"
        "print('held', sys.argv[1])\n"
    )
    words = ["--queue", spool, "--cpu", "off", sys.executable, str(grow)]
    with memory_group(256 << 20) as group, Queue(spool) as queue:
        queue.put("400")
        small = Program(tmp_path_factory.mktemp("n"), group.prefix)
        run = small.start("run", "--memory", "15%", *words)
        wait_until(lambda: queue.backlog().buried == 1, 60, "it is not buried")
        (found,) = queue.peek(buried=True)
        assert "never fits here" in found.burial.why
        assert found.burial.need > 256 << 20
        queue.put("20")
        wait_until(lambda: small.ask().runs[0].tasks.done == 1, 20, "the small node does nothing more")
        assert queue.backlog().buried == 1
        process = program.start("run", "--quiet", *words)
        assert process.stdout.readline() == b"held 400\n"
        run.terminate()
        assert run.wait(20) == 143
        small.close()
        assert group.oom_kills() == 0
