"""`explain`: the right sentence for every name, the present and the past."""

import io

import pytest
from support.people import ENDED, NOW, PAUSED, RUN, WAITS, a_run, a_status, a_worker

from loadkeeper.errors import UsageError
from loadkeeper.model import Outcome, Reason, RunState, TaskCounts, Why
from loadkeeper.record.journal import NAME, Event, Fate, Header, Journal, Verb
from loadkeeper.record.sentences import sentence
from loadkeeper.show.bygone import bygone_runs, explain_bygone, explain_latest
from loadkeeper.show.explain import explain, past, print_explained
from loadkeeper.show.history import Files
from loadkeeper.status import Status

MIB = 1 << 20
OPERATOR = Why(Reason.OPERATOR)
BACK = Fate(18, b"v", 1, 3, Outcome.GIVEN_BACK, True, 0, 15, 1e9, 12.0, 3.0, 300 * MIB, 1.0, ENDED)


@pytest.fixture
def status(tmp_path):
    """A run with one of each worker and a journal in which task 18 was given back once, and task 3 is done."""
    journal = Journal.open(str(tmp_path / NAME), Header(RUN, "demo", "xz", 1, 1e9))
    journal.outcome(BACK)
    journal.outcome(Fate(3, b"v", 1, 5, Outcome.DONE, False, 0, 0, 1e9, 30.0, 0.0, 400 * MIB, 1.0))
    journal.outcome(Fate(4, b"v", 1, 6, Outcome.FAILED, True, 3, 0, 1e9, 2.0))
    journal.event(Event(NOW.timestamp() - 12, Verb.PAUSE, f"{RUN}.18", 18, PAUSED))
    assert journal.close()
    workers = [a_worker(17), a_worker(18, "paused", PAUSED), a_worker(19, "ending", ENDED)]
    return a_status(a_run(workers, state_dir=str(tmp_path)))


def said(*given) -> str:
    return "\n".join(map(str, explain(*given)))


def told(status, name=None) -> dict[str, str]:
    return {each.subject: each.sentence for each in explain(status, name, now=NOW)}


def test_a_run_says_why_nothing_starts_and_who_does_not_run(status):
    for name in (None, "demo", RUN, "main", f"{RUN}/main", "demo/main"):
        sentences = told(status, name)
        assert sentences[f"run {RUN} demo"] == (
            f"1 worker runs, 1 is paused, 1 is ending; {sentence(WAITS, kind='xz')}"
        )
        assert len(sentences) == 3
        assert sentences[f"worker {RUN}.19 (task 19, file-19.wav)"] == sentence(ENDED)


def test_a_paused_worker_says_why_when_it_goes_on_and_since_when(status):
    for name in (f"{RUN}.18", "1018"):
        why = told(status, name)[f"worker {RUN}.18 (task 18, file-18.wav)"]
        assert why.startswith(sentence(PAUSED))
        assert "it goes on when about 352 MiB are available" in why
        assert why.endswith("; it has stood for 12 s")


def test_a_worker_that_was_continued_does_not_stand(status, tmp_path):
    journal = Journal.open(str(tmp_path / NAME), Header(RUN, "demo", "xz", 1, 1e9))
    journal.event(Event(NOW.timestamp(), Verb.CONTINUE, f"{RUN}.18", 18))
    assert journal.close()
    assert told(status, f"{RUN}.18")[f"worker {RUN}.18 (task 18, file-18.wav)"] == sentence(PAUSED)


def test_a_number_is_a_task_before_it_is_a_pid():
    workers = [a_worker(18), a_worker(5, pid=18)]
    assert told(a_status(a_run(workers)), "18").keys() == {f"worker {RUN}.18 (task 18, file-18.wav)"}


def test_a_task_tells_its_past_and_its_present(status):
    sentences = told(status, "18")
    assert list(sentences) == [f"task {RUN}:18, attempt 1", f"worker {RUN}.18 (task 18, file-18.wav)"]
    assert sentences[f"task {RUN}:18, attempt 1"] == (
        "given back after 12 s, 3.0 s of it paused, at most 300 MiB; "
        "ended for memory: 40 MiB available, the end line is 56 MiB, it held 300 MiB; it is tried again"
    )


def test_a_task_that_is_done_says_so_and_no_more(status):
    assert told(status, "demo:3") == {f"task {RUN}:3, attempt 1": "done after 30 s, at most 400 MiB"}


def test_a_task_that_failed_and_waits_again(status):
    sentences = list(told(status, "4").values())
    assert sentences == [
        "failed with exit code 3 after 2.0 s; it is tried again",
        f"it waits to be started again; {sentence(WAITS, kind='xz')}",
    ]


def test_a_task_that_was_not_started(status):
    assert told(status, "24") == {f"task {RUN}:24": f"it has not been started; {sentence(WAITS, kind='xz')}"}


def test_a_worker_that_is_gone(status):
    assert told(status, f"{RUN}.3") == {f"worker {RUN}.3 (task {RUN}:18, attempt 1)": past(BACK)}


def test_a_worker_that_runs(status):
    assert told(status, f"{RUN}.17") == {
        f"worker {RUN}.17 (task 17, file-17.wav)": ("runs, and nothing holds it back; it holds 300 MiB and uses 1 core")
    }


def test_what_the_operator_asked_for_names_the_way_back():
    workers = [a_worker(1, "paused", OPERATOR), a_worker(2, "ending", OPERATOR)]
    text = said(a_status(a_run(workers, OPERATOR, state=RunState.PAUSED)))
    assert f"`loadkeeper resume {RUN}.1` continues it" in text
    assert f"`loadkeeper resume {RUN}` lets it go on" in text
    assert "the whole run is paused" in text
    assert "its task is given back" in text


def test_a_run_that_nothing_holds_back():
    assert said(a_status(a_run([a_worker(1)], None))) == (
        f"run {RUN} demo: 1 worker runs; nothing holds back the 8 that wait"
    )


def test_a_critical_run_says_that_it_gives_up():
    assert "the run gives up" in said(a_status(a_run([], state=RunState.CRITICAL)))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dmeo", "'demo'"),
        (f"{RUN}/mian", f"'{RUN}/main'"),
        ("qqq", "name a run, pool, worker or task"),
        ("999", "name"),
    ],
)
def test_an_unknown_name_is_the_users_error_and_the_nearest_is_named(status, name, hint):
    with pytest.raises(UsageError) as caught:
        explain(status, name)
    assert repr(name) in str(caught.value)
    assert hint in str(caught.value)
    assert "loadkeeper list" in str(caught.value)


def test_without_a_run():
    assert said(Status()) == "loadkeeper: no run of this user is alive"
    with pytest.raises(UsageError, match="no run of this user is alive"):
        explain(Status(), "demo")


def test_a_journal_that_cannot_be_read_leaves_the_present(tmp_path):
    run = a_run([a_worker(18, "paused", PAUSED)], state_dir=str(tmp_path / "none"))
    files = Files()
    assert sentence(PAUSED) in said(a_status(run), "18", files)
    assert all(str(tmp_path) in fault for fault in files.faults)
    assert files.faults


@pytest.mark.parametrize(
    ("fate", "expected"),
    [
        (Fate(1, b"", 1, 1, Outcome.FAILED, False, 0, 9, 1.0, 2.0), "failed by signal 9 after 2.0 s"),
        (Fate(1, b"", 1, 1, Outcome.DONE, False), "done"),
        (
            Fate(1, b"", 1, 1, Outcome.FAILED, False, 0, 15, 1.0, 30.1, why=Why(Reason.TIMEOUT, reading=30.1, line=30)),
            "failed after 30 s; ended for --timeout: it ran 30 s, line 30 s",
        ),
        (
            Fate(1, b"", 2, 1, Outcome.BURIED, False, 0, 9, 1.0, 3.0, why=Why(Reason.NEVER_FITS, held=900 * MIB)),
            "buried after 3.0 s; ended, for it cannot fit here even alone: it held 900 MiB",
        ),
    ],
)
def test_how_an_attempt_ended(fate, expected):
    assert past(fate) == expected


def test_where_nobody_knows_how_many_tasks_there_are_any_may_come():
    run = a_run([], tasks=TaskCounts(waiting=None, running=0, done=2))
    assert "it has not been started" in said(a_status(run), "1000")


def test_sentences_fold_between_words_on_a_terminal_and_nowhere_else(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "60")
    told, terminal, pipe = explain(a_status(a_run([a_worker(18, "paused", PAUSED)]))), Terminal(), io.StringIO()
    print_explained(told, terminal)
    print_explained(told, pipe)
    assert pipe.getvalue().splitlines() == [str(each) for each in told]
    assert max(map(len, terminal.getvalue().splitlines())) <= 60
    assert terminal.getvalue().split() == pipe.getvalue().split()


# ------------------------------------------------------------------------------------------------- runs that are over


def left_behind(state, run: str, name: str, began: float, *fates: Fate) -> None:
    folder = state / "runs" / run
    folder.mkdir(parents=True)
    journal = Journal.open(str(folder / NAME), Header(run, name, "xz {}", 1, began))
    for fate in fates:
        journal.outcome(fate)
    assert journal.close()


@pytest.fixture
def state(tmp_path):
    done = Fate(1, b"a", 1, 1, Outcome.DONE, False, 0, 0, 1e9, 3.0)
    left_behind(tmp_path, "aaaa0001", "nightly", 1e9, done)
    failed = Fate(2, b"b c", 1, 2, Outcome.FAILED, False, 3, 0, 1e9, 2.0)
    left_behind(tmp_path, "aaaa0002", "nightly", 2e9, done, failed, BACK)
    many = [Fate(n, b"v", 1, n, Outcome.FAILED, False, 1, 0, 1e9, 1.0) for n in range(1, 31)]
    left_behind(tmp_path, "aaaa0003", "broken", 1.5e9, *many)
    (tmp_path / "runs" / "no-run").mkdir()
    return str(tmp_path)


def of_the_past(state, name: str) -> dict[str, str]:
    return {each.subject: each.sentence for each in explain_bygone(bygone_runs(state, set()), name)}


def test_a_run_that_is_over_says_what_became_of_it(state):
    told = of_the_past(state, "nightly")
    assert "1 task done, 1 failed, 1 attempt given back; 3.0 s of pauses; xz {}" in told["run aaaa0002 nightly"]
    assert told["task aaaa0002:2 (b c), attempt 1"] == "failed with exit code 3 after 2.0 s"
    assert "given back" in told["task aaaa0002:18 (v), attempt 1"]
    assert "1 task done" in of_the_past(state, "aaaa0001")["run aaaa0001 nightly"]


def test_a_task_and_a_worker_of_a_run_that_is_over(state):
    assert set(of_the_past(state, "nightly:2")) == {"task aaaa0002:2 (b c), attempt 1"}
    assert set(of_the_past(state, "2")) == {"task aaaa0002:2 (b c), attempt 1"}, "of the latest run"
    assert set(of_the_past(state, "aaaa0001.1")) == {"worker aaaa0001.1 (task aaaa0001:1)"}
    assert of_the_past(state, "nobody") == {}
    with pytest.raises(UsageError, match="no attempt at a task 77"):
        of_the_past(state, "nightly:77")


def test_of_many_that_failed_some_are_told_and_the_others_counted(state):
    told = explain_bygone(bygone_runs(state, set()), "broken")
    assert len(told) == 22
    assert told[-1].sentence.startswith("10 more attempts")


def test_living_runs_are_not_of_the_past(state):
    assert [run.header.run for run in bygone_runs(state, {"aaaa0002"})] == ["aaaa0003", "aaaa0001"]
    assert explain_latest([]) == []
    assert "aaaa0002" in explain_latest(bygone_runs(state, set()))[0].subject
