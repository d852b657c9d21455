"""One round: a run of some tasks, faults at random moments, `--resume` until all is done, and what must hold then."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from support.program import Program, command_of, marked, stands, state_of

from loadkeeper.model import Want

TASK = str(Path(__file__).with_name("task.sh"))
SHAPES = ("plain", "plain", "forks", "stubborn", "daemon")
PAUSES = ("auto", "stop", "freeze")
RECOVERY = 2.0
"""Seconds after a fault within which nobody may be frozen or orphaned any more."""
NEXT_MANAGER = 1.0
"""Seconds after the death of a load manager within which the next one stands."""
SLACK = 0.25
"""Seconds of those two that a look at all processes and a busy machine may cost."""
TARGETS = ("pm", "lm", "worker", "member", "both", "pm-stopped", "lm-stopped")


@dataclass
class Round:
    """What came of one."""

    seed: int
    faults: list[str] = field(default_factory=list)
    """As ``pm 0.41``: whom, and seconds after the start."""
    tasks: int = 0
    lost: int = 0
    twice: int = 0  # done again though they were told as done
    again: int = 0  # done again because they were in flight
    orphaned: int = 0
    frozen: int = 0
    recovery: float = 0.0  # the longest
    problems: list[str] = field(default_factory=list)


@dataclass
class Fault:
    target: str
    at: float  # seconds after the start of the run


def play(seed: int, root: Path) -> Round:
    """Everything of the round is a child of ours or found below ``root``; nothing is left of it."""
    chance = random.Random(f"faults {seed}")
    program = Program(root / "p")
    program.environment["LOADKEEPER_CPU"] = "off"
    injector = _Injector(chance, program, root, Round(seed))
    try:
        injector.play()
    finally:
        injector.close()
        with contextlib.suppress(AssertionError):
            program.close()
    return injector.round


class _Injector:
    def __init__(self, chance: random.Random, program: Program, root: Path, round: Round) -> None:
        self.chance, self.program, self.round = chance, program, round
        self.ledger, self.joblog = root / "ledger", root / "joblog"
        self.hang = root / "ledger.hang"  # nobody who is left behind may end by himself
        self.ledger.touch()
        count = chance.randint(16, 40)
        self.values = [f"{n} {chance.choice(SHAPES)} {chance.uniform(0.02, 0.5):.2f}" for n in range(1, count + 1)]
        round.tasks = count
        self.words = ["run", "--quiet", "-j", str(chance.randint(2, 5)), "--grace", "1", "--retries", "6"]
        self.words += ["--pause", chance.choice(PAUSES), "--joblog", str(self.joblog), "--colsep", " "]
        self.run: subprocess.Popen[bytes] | None = None
        self.runs: set[str] = set()  # that were seen before a fault

    # ---------------------------------------------------------------------------------------------------- the course

    def play(self) -> None:
        faults = sorted(
            (
                Fault(self.chance.choice(TARGETS), self.chance.uniform(0.0, 1.6))
                for _ in range(self.chance.randint(1, 3))
            ),
            key=lambda fault: fault.at,
        )
        self._start()
        began = time.monotonic()
        pauses_at = began + self.chance.uniform(0.2, 1.5) if self.chance.random() < 0.4 else None
        for fault in faults:
            self._until(began + fault.at, pauses_at)
            pauses_at = pauses_at if pauses_at and pauses_at > time.monotonic() else None
            self._inject(fault, time.monotonic() - began)
            if self.run is None or self.run.poll() is not None:
                self._start()
        self._finish()
        self._judge()

    def _until(self, at: float, pauses_at: float | None) -> None:
        """Sleep until then; on the way the operator may pause the run."""
        if pauses_at is not None and pauses_at < at:
            time.sleep(max(0.0, pauses_at - time.monotonic()))
            self.program.steer(Want.PAUSE)
            self.round.faults.append("(paused)")
        time.sleep(max(0.0, at - time.monotonic()))

    def _start(self) -> None:
        """Begin, or go on where the last run was killed; what it left must soon be gone."""
        told = self._told()
        with open(self.ledger, "a") as file:
            file.write(f"run {' '.join(map(str, sorted(told)))}\n")
        resume = ["--resume"] if self.joblog.exists() else []
        words = [*self.words, *resume, "sh", TASK, str(self.ledger), "{1}", "{2}", "{3}", ":::", *self.values]
        self.run = self.program.start(*words, stdout=subprocess.DEVNULL)
        self._wait_until_nobody_is_left(set(self.runs), "of a run whose managers died")

    def _finish(self) -> None:
        """To the end, without any more faults."""
        for _ in range(6):
            assert self.run is not None
            try:
                code = self._end()
            except subprocess.TimeoutExpired:
                self._problem(f"the run does not end: {self._ledger()[-3:]}")
                self.run.kill()
                return
            if code == 0:
                return
            error = self.run.stderr.read().decode(errors="replace") if self.run.stderr else ""
            if code != -signal.SIGKILL:
                self._problem(f"exit code {code}: {error[-300:]}")
                return
            self._start()
        self._problem("it was started six times and is not done")

    def _end(self) -> int:
        """Its exit code. A load manager that has just come up knows no run yet: the operator says it again."""
        assert self.run is not None
        until = time.monotonic() + 40
        while True:
            self.program.steer(Want.RUN)
            try:
                return self.run.wait(1)
            except subprocess.TimeoutExpired:
                if time.monotonic() > until:
                    raise

    # -------------------------------------------------------------------------------------------------------- faults

    def _inject(self, fault: Fault, at: float) -> None:
        assert self.run is not None
        if self.run.poll() is not None:
            return
        self.round.faults.append(f"{fault.target} {at:.2f}")
        known = self._announced()
        self.runs |= known
        managers = self._managers()
        if fault.target in ("pm", "both"):
            self.hang.touch()
            victims = [self.run.pid, *(managers if fault.target == "both" else [])]
            self.chance.shuffle(victims)
            _send(signal.SIGKILL, *victims)
            self.run.wait()
            if fault.target == "pm" and managers:
                self._wait_until_nobody_is_left(known, "of a killed process manager")
        elif fault.target == "lm" and managers:
            _send(signal.SIGKILL, *managers)
            self._wait_for_the_next(managers)
        elif fault.target in ("worker", "member"):
            self._kill_one(known, leader=fault.target == "worker")
        elif fault.target.endswith("-stopped"):
            victims = [self.run.pid] if fault.target == "pm-stopped" else managers
            _send(signal.SIGSTOP, *victims)
            time.sleep(self.chance.uniform(0.1, 1.5))
            _send(signal.SIGCONT, *victims)

    def _kill_one(self, known: set[str], *, leader: bool) -> None:
        pids = [pid for run in known for pid in marked(run)]
        chosen = [pid for pid in pids if (b"task.sh" in command_of(pid)) == leader]
        if chosen:
            _send(signal.SIGKILL, self.chance.choice(chosen))

    # ---------------------------------------------------------------------------------------------------- recoveries

    def _wait_until_nobody_is_left(self, runs: set[str], whose: str) -> None:
        """Living processes of these runs, in any state."""
        began = time.monotonic()
        while left := [pid for run in runs for pid in marked(run)]:
            if time.monotonic() > began + RECOVERY + SLACK:
                self.round.orphaned += len(left)
                self.round.frozen += sum(stands(pid) for pid in left)
                self._problem(f"{len(left)} processes are left {whose}: {[command_of(pid)[:60] for pid in left]}")
                _send(signal.SIGKILL, *left)
                break
            time.sleep(0.01)
        self.hang.unlink(missing_ok=True)
        self.round.recovery = max(self.round.recovery, time.monotonic() - began)

    def _wait_for_the_next(self, dead: list[int]) -> None:
        began = time.monotonic()
        assert self.run is not None
        while self.run.poll() is None and not set(self._managers()) - set(dead):
            if time.monotonic() > began + NEXT_MANAGER + SLACK:
                self._problem("no other load manager came up")
                return
            time.sleep(0.01)
        self.round.recovery = max(self.round.recovery, time.monotonic() - began)

    def _announced(self) -> set[str]:
        """Runs of which something may live."""
        runs = self.program.root / "r" / "loadkeeper" / "runs"
        return {path.name for path in runs.glob("*") if "." not in path.name}

    def _managers(self) -> list[int]:
        """Load managers of this round."""
        return [pid for pid in self.program.managers() if b"loadkeeper.load_manager" in command_of(pid)]

    # --------------------------------------------------------------------------------------------------------- judge

    def _judge(self) -> None:
        ends: Counter[str] = Counter()
        told: set[str] = set()
        for line in self._ledger():
            word, *rest = line.split()
            if word == "run":
                told = set(rest)
            elif word == "begin" and rest[0] in told:
                self.round.twice += 1
                self._problem(f"task {rest[0]} was told as done and began again")
            elif word == "end":
                ends[rest[0]] += 1
        numbers = [value.split()[0] for value in self.values]
        self.round.lost = sum(not ends[number] for number in numbers)
        self.round.again = sum(ends[number] > 1 for number in numbers)
        if self.round.lost:
            self._problem(f"{self.round.lost} tasks were never done")
        if missing := set(numbers) - self._told():
            self._problem(f"not in the job log: {sorted(missing)}")
        self._wait_until_nobody_is_left(self._announced() | self.runs, "when all is done")

    def _ledger(self) -> list[str]:
        return self.ledger.read_text().splitlines()

    def _told(self) -> set[str]:
        """Numbers of tasks that the job log has as done well."""
        if not self.joblog.exists():
            return set()
        whole = [line.split("\t") for line in self.joblog.read_text().splitlines(keepends=True)[1:] if line[-1] == "\n"]
        return {fields[0] for fields in whole if fields[6:8] == ["0", "0"]}

    def _problem(self, what: str) -> None:
        self.round.problems.append(what)

    def close(self) -> None:
        for run in self.runs | self._announced():
            _send(signal.SIGKILL, *marked(run))
        if self.run is not None and self.run.poll() is None:
            self.run.kill()
        if self.run is not None:
            self.run.wait()


def _send(number: int, *pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            if state_of(pid):
                os.kill(pid, number)
