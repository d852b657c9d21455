"""What must hold at every look of every history. `Watch` is given each look by the simulator."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from loadkeeper.decide import DEFAULT, Kind, Memory, Parameters, decide
from loadkeeper.decide.lines import node_lines
from loadkeeper.model import Decision, Limits, Reason, Seen, Why, WorkerSeen, WorkerState

MEMORY_PAUSES = {Reason.MEMORY_PAUSE, Reason.LEAD, Reason.BUDGET_PAUSE}
MEMORY_ENDS = {Reason.MEMORY_END, Reason.MEMORY_AHEAD, Reason.NEVER_FITS, Reason.BUDGET_END}
CPU_PAUSES = {Reason.FOREIGN_CPU, Reason.CPU_PROMISE, Reason.BUDGET_CPU_PAUSE}
DEADLOCK = 60.0


@dataclass
class Watch:
    """Raises AssertionError, with the name of the invariant, at the look that breaks it."""

    idle_since: float | None = None
    looks: int = 0
    recent: list[set[str]] = field(default_factory=list)
    totals: list[tuple[float, int]] = field(default_factory=list)
    paused_at: dict[str, float] = field(default_factory=dict)  # of those paused for memory
    random: Random = field(default_factory=lambda: Random(1))
    parameters: Parameters = DEFAULT  # those that `decide` was given; what holds is held against the defaults

    def __call__(self, seen: Seen, before: Memory, decision: Decision, after: Memory) -> None:
        self.looks += 1
        one_runs(seen, decision)
        some_are_left(seen, before, decision)
        ends_are_awaited(seen, before, decision)
        ends_are_the_last_resort(seen, before, decision, after)
        slots_rise_within_the_forecast(seen, before, decision, after)
        self.no_flapping(seen, before, decision)
        nobody_new_beside_the_paused(seen, decision, after)
        self.slots_double_at_most(seen, decision, after)
        unknown_does_nothing(seen, before, decision)
        patience_ends(seen, decision, after)
        whys_have_figures(seen, decision)
        assert not decision.paused.keys() & decision.ending.keys(), "nobody is both paused and ending"
        if self.looks % 20 == 0:
            same_again(seen, before, decision, after, self)
        self.no_deadlock(seen, decision)
        self.only_the_paused_stand(seen, decision)

    def slots_double_at_most(self, seen: Seen, decision: Decision, after: Memory) -> None:
        """I5: slots at most double each 0.5 s. Any half second touches two such steps."""
        total = sum(after.slots.values())
        self.totals = [(at, count) for at, count in self.totals if seen.now - at < 0.499]
        if self.totals:
            least = min(count for _, count in self.totals)
            assert total <= max(4, 4 * least), f"I5 {self.totals} then {total}"
        self.totals.append((seen.now, total))

    def no_flapping(self, seen: Seen, before: Memory, decision: Decision) -> None:
        """Who stands for memory stands for the dwell at least, but the one that goes on because nobody runs."""
        live = {worker.id for worker in seen.workers}
        ran = [w.id for w in staying(seen, before) if w.id not in before.paused]
        for id, since in list(self.paused_at.items()):
            if id in live and (id in decision.paused or id in decision.ending):
                continue  # an end that is dropped leaves it standing: its pause did not begin anew
            del self.paused_at[id]
            if id in live and ran and not seen.wants:
                assert seen.now - since >= DEFAULT.dwell - 1e-6, f"{id} stood for {seen.now - since}"
        for id, why in decision.paused.items():
            if why.reason in MEMORY_PAUSES:
                self.paused_at.setdefault(id, seen.now)

    def no_deadlock(self, seen: Seen, decision: Decision) -> None:
        end = node_lines(Limits(), seen.total, DEFAULT).end or 0.0
        waits = any(pool.waiting for pool in seen.pools) or bool(seen.workers)
        blind = seen.available is None or seen.available < end or seen.busy is None
        moves = [w for w in seen.workers if w.id not in decision.paused]
        if moves or blind or not waits:
            self.idle_since = None
            return
        self.idle_since = seen.now if self.idle_since is None else self.idle_since
        assert seen.now - self.idle_since < DEADLOCK, f"deadlock since {self.idle_since}: {decision.pools}"

    def only_the_paused_stand(self, seen: Seen, decision: Decision) -> None:
        """Nobody is stopped who was not in the paused set at one of the last two looks."""
        wanted = set().union(*self.recent[-2:], decision.paused) if self.recent else set(decision.paused)
        standing = {worker.id for worker in seen.workers if worker.state is WorkerState.PAUSED}
        assert standing <= wanted, f"stands unasked: {standing - wanted}"
        self.recent = [*self.recent[-2:], set(decision.paused)]


def staying(seen: Seen, before: Memory) -> list[WorkerSeen]:
    """Workers that are not on their way out before this look."""
    return [
        worker
        for worker in seen.workers
        if worker.state is not WorkerState.ENDING
        and not worker.exiting
        and worker.id not in before.ending
        and not (worker.rss == 0 and before.workers.get(worker.id) and before.workers[worker.id].rss)
    ]


def new_ends(before: Memory, decision: Decision, reasons: set[Reason]) -> dict[str, Why]:
    return {
        id: ending.why
        for id, ending in decision.ending.items()
        if id not in before.ending and ending.why.reason in reasons and not ending.kill
    }


def one_runs(seen: Seen, decision: Decision) -> None:
    """I1: when a worker lives, none is ending and memory can be read, at least one is running."""
    ending = decision.ending or any(w.state is WorkerState.ENDING or w.rss == 0 for w in seen.workers)
    if seen.available is None or ending or not seen.workers:
        return
    assert any(worker.id not in decision.paused for worker in seen.workers), "I1"


def some_are_left(seen: Seen, before: Memory, decision: Decision) -> None:
    """I2: ends never take all of several workers; and a lone one only at the line itself."""
    ends, stay = new_ends(before, decision, MEMORY_ENDS), staying(seen, before)
    if ends and len(stay) > 1:
        assert len(ends) < len(stay), f"I2 {ends}"
    if ends and len(seen.workers) == 1:
        end = node_lines(Limits(), seen.total, DEFAULT).end
        assert seen.available is not None
        assert end is not None
        assert seen.available < end, f"a lone worker was ended at {seen.available} above {end}"


def ends_are_awaited(seen: Seen, before: Memory, decision: Decision) -> None:
    """I3: while an end's effect is awaited no other is chosen."""
    live = {worker.id for worker in seen.workers}
    awaited = {id for id, end in before.ending.items() if id in live and end.gauge == "memory"}
    still = {id for id in awaited if id in decision.ending}
    if still:
        chosen = new_ends(before, decision, MEMORY_ENDS - {Reason.BUDGET_END})
        assert not chosen, f"I3: {still} awaited, {chosen} chosen"


def ends_are_the_last_resort(seen: Seen, before: Memory, decision: Decision, after: Memory) -> None:
    """Memory ends somebody only below the end line, or when growth that is nobody's of ours is about to take it there:
    where pausing could not help."""
    for id, why in new_ends(before, decision, MEMORY_ENDS - {Reason.BUDGET_END, Reason.NEVER_FITS}).items():
        assert seen.available is not None, f"{id} is ended blind"
        assert why.line is not None
        strange = max(0.0, after.trend.strange - after.trend.doubt)
        assert seen.available - DEFAULT.react_end * strange < why.line, f"{id} is ended at {seen.available}"
        assert (why.reason is Reason.MEMORY_END) == (seen.available < why.line)


def slots_rise_within_the_forecast(seen: Seen, before: Memory, decision: Decision, after: Memory) -> None:
    """I5: after slots rose, what those that live and those that may start will hold at a usual time still fits above
    the hold line; reckoned anew here. The first worker of an empty node needs no forecast."""
    live = Counter(worker.pool for worker in seen.workers)
    rose = [id for id, slots in after.slots.items() if slots > before.slots.get(id, live[id])]
    if not rose or not seen.workers:
        return
    limits = {pool.run: pool.limits for pool in sorted(seen.pools, key=lambda p: p.id, reverse=True)}
    pools = {pool.id: pool for pool in seen.pools}
    assert seen.available is not None, "slots rise blind"
    held = growth = variance = 0.0
    for worker in seen.workers:
        if _leaves(worker, before, after):
            continue
        kind, claim = after.kinds.get(worker.kind, Kind()), after.claims[worker.id].expected
        held += after.workers[worker.id].rss or 0
        growth += (kind.fill + DEFAULT.lift * (1 - kind.fill)) * claim
        variance += kind.fill * (1 - kind.fill) * claim**2
    for id in rose:
        lines = node_lines(limits[pools[id].run], seen.total, DEFAULT)
        if lines.hold is None or (live[id] == 0 and after.slots[id] == 1):
            continue
        keep = max(lines.hold, (lines.pause or 0.0) + DEFAULT.spread * variance**0.5)
        assert seen.available - (growth - held) - keep >= -1, f"slots of {id} rise beyond the forecast"


def _leaves(worker: WorkerSeen, before: Memory, after: Memory) -> bool:
    course = after.workers[worker.id]
    gone = worker.exiting or (worker.rss == 0 and bool(course.rss))
    return worker.state is WorkerState.ENDING or gone or worker.id in after.ending or worker.id in before.ending


def nobody_new_beside_the_paused(seen: Seen, decision: Decision, after: Memory) -> None:
    """I4: while a worker is paused for memory or an end is awaited, no new worker is admitted."""
    paused = [why for why in decision.paused.values() if why.reason in MEMORY_PAUSES]
    if paused or any(end.gauge == "memory" for end in after.ending.values()):
        open_pools = {id: verdict for id, verdict in decision.pools.items() if verdict.slots}
        assert not open_pools, f"I4 {open_pools}"


def unknown_does_nothing(seen: Seen, before: Memory, decision: Decision) -> None:
    """I6: a gauge that is None neither admits nor ends."""
    if seen.available is None:
        assert all(verdict.slots == 0 for verdict in decision.pools.values()), "I6: admits without memory"
        assert not new_ends(before, decision, MEMORY_ENDS), "I6: ends without memory"
    if seen.busy is None:
        cpu = {id for id, why in decision.paused.items() if why.reason in CPU_PAUSES}
        assert cpu <= before.paused.keys(), "I6: pauses for an unknown CPU"


def patience_ends(seen: Seen, decision: Decision, after: Memory) -> None:
    """I7: nobody waits longer than its patience but behind another that is ending."""
    for worker in seen.workers:
        pause = after.paused.get(worker.id)
        if pause is not None and worker.paused_for + seen.now - pause.since > worker.patience:
            assert after.ending, f"I7 {worker.id} waits since {pause.since}, patience {worker.patience}"


def whys_have_figures(seen: Seen, decision: Decision) -> None:
    """Whoever is paused for memory is told the reading of this very look, and the line."""
    for why in decision.paused.values():
        if why.gauge == "memory" and why.reason in MEMORY_PAUSES and seen.available is not None:
            assert why.reading == seen.available
            assert why.line is not None
    for verdict in decision.pools.values():
        assert verdict.why is not None, "a pool without a why"
        if verdict.why.reason is Reason.MEMORY:
            assert verdict.why.reading == seen.available


def same_again(seen: Seen, before: Memory, decision: Decision, after: Memory, watch: Watch) -> None:
    """I8: a second look at the same now, and any other order, give the same."""
    random, parameters = watch.random, watch.parameters
    assert decide(seen, after, parameters)[0] == decision, "I8: a second look"
    workers, pools = list(seen.workers), list(seen.pools)
    random.shuffle(workers)
    random.shuffle(pools)
    shuffled = Seen(**{**{f: getattr(seen, f) for f in seen.__struct_fields__}, "workers": tuple(workers)})
    shuffled = Seen(**{**{f: getattr(shuffled, f) for f in seen.__struct_fields__}, "pools": tuple(pools)})
    assert decide(shuffled, before, parameters)[0] == decision, "I8: another order"
