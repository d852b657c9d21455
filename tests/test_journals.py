"""Journals of every version load for ever. Saved ones lie in `journals/`, each with what it says as JSON beside it:
`everything` has each word that its version knows, `run` is a real run's, `killed` one that was cut off by kill -9."""

import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from loadkeeper.errors import LoadkeeperError
from loadkeeper.model import Outcome
from loadkeeper.record.journal import SCHEMA, Event, Fate, Header, Journal, Verb
from loadkeeper.record.journal_reader import OtherVersion, read_events, read_header, read_outcomes

SAVED = sorted(Path(__file__).with_name("journals").glob("*.db"))


class Said(msgspec.Struct):
    """All that a journal says."""

    header: Header
    outcomes: list[Fate]
    events: list[Event]


def read(path: Path) -> Said:
    name = str(path)
    return Said(read_header(name), list(read_outcomes(name)), list(read_events(name)))


def put(saved: Path, program, run: str = "11223344") -> Path:
    """Where a run of this user left it."""
    place = program.root / "s" / "loadkeeper" / "runs" / run / "journal.db"
    place.parent.mkdir(parents=True, exist_ok=True)
    for end in ("", "-wal"):
        if Path(f"{saved}{end}").exists():
            shutil.copy(f"{saved}{end}", f"{place}{end}")
    return place


@pytest.mark.parametrize("saved", SAVED, ids=lambda path: path.stem)
def test_a_saved_journal_says_what_it_said(saved, program):
    expected = msgspec.json.decode(saved.with_suffix(".json").read_bytes(), type=Said)
    assert read(put(saved, program)) == expected


def test_every_version_is_saved():
    """Who makes new tables saves a journal that has them."""
    assert {path.name.partition("-")[0] for path in SAVED} == {f"v{version}" for version in range(1, SCHEMA + 1)}


def test_the_verbs_know_the_runs_of_saved_journals(program):
    for saved in SAVED:
        put(saved, program, saved.stem)
    for saved in SAVED:
        said = msgspec.json.decode(saved.with_suffix(".json").read_bytes(), type=Said)
        told = program.call("explain", said.header.run)
        assert told.returncode == 0, told.stderr
        done = sum(fate.outcome is Outcome.DONE for fate in said.outcomes)
        assert f"run {said.header.run} {said.header.name}: began ".encode() in told.stdout
        assert f"{done} tasks done".encode() in told.stdout
        last = said.outcomes[-1].task
        assert program.call("explain", f"{said.header.run}:{last}").stdout.count(b"attempt")
        assert program.call("wait", said.header.name).returncode == 0


def test_what_was_done_to_a_task_is_told_in_the_same_words(program):
    put(next(path for path in SAVED if path.name == "v1-run.db"), program)
    told = program.call("explain", "nightly:3").stdout.decode()
    assert "(slow), attempt 1: failed after 4.2 s, 1.1 s of it paused" in told
    assert "ended for --timeout: it ran 3.0 s, line 3.0 s; it was to be tried again" in told


# ------------------------------------------------------------------------------------------------- of a newer version


def newer(path: Path, change: str) -> None:
    database = sqlite3.connect(path)
    database.execute(change)
    database.commit()
    database.close()


NEWER = {
    "tables": f"PRAGMA user_version={SCHEMA + 1}",
    "outcome": "UPDATE fate SET outcome = 'evaporated'",
    "reason": """UPDATE fate SET why = '{"reason":"full-moon"}'""",
    "verb": "UPDATE event SET verb = 'hypnotise'",
}


@pytest.mark.parametrize("what", NEWER)
def test_a_newer_one_is_one_clear_error(tmp_path, what):
    path = str(tmp_path / "journal.db")
    journal = Journal.open(path, Header("r", "n", "c", 1, 0.0))
    journal.outcome(Fate(1, b"", 1, 1, Outcome.DONE, False))
    journal.event(Event(1.0, Verb.START, "r.1"))
    assert journal.close()
    newer(Path(path), NEWER[what])
    with pytest.raises(OtherVersion, match="read it with the Loadkeeper that wrote it") as caught:
        read(Path(path))
    assert path in str(caught.value)
    assert isinstance(caught.value, LoadkeeperError)


@pytest.mark.parametrize("words", [["explain", "nightly"], ["explain", "nightly", "--at", "+1s"], ["wait", "nightly"]])
def test_the_verbs_say_so(program, words):
    saved = next(path for path in SAVED if path.name == "v1-run.db")
    place = put(saved, program)
    newer(place, NEWER["tables"])
    told = program.call(*words)
    assert told.returncode == 2
    assert b"has tables of version" in told.stderr
    assert told.stderr.count(b"\n") == 1
    other = put(saved, program, "55667788")  # beside one that is readable nobody minds
    assert program.call("explain", "nightly").returncode == 0
    assert other.exists()
