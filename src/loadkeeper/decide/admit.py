"""Slots: how many workers of each pool may live. A worker that ends is replaced without asking.

The base is what was granted and can still be used, not who is alive at this instant: with tasks of 5 ms a look finds
half of the slots between two tasks.
"""

from collections import Counter

from msgspec.structs import replace

from ..model import PoolSeen, PoolVerdict, Reason, Why
from .closed import closed, is_frozen
from .lines import BUDGET, NODE
from .memory import Memory
from .space import Space
from .turns import hand_over, in_turn
from .view import View


def admit(view: View, memory: Memory) -> tuple[dict[str, PoolVerdict], Memory]:
    """The slots of every pool with why not more, and what of them must be remembered."""
    live = Counter([worker.pool.id for worker in view.workers])
    shut = {pool.id: closed(pool, view, memory) for pool in view.pools}
    slots = {pool.id: _usable(pool, live[pool.id], shut[pool.id], memory) for pool in view.pools}
    space = Space(view, memory, {id: max(0, count - live[id]) for id, count in slots.items()})
    round = Round(view, space, slots, live, memory)
    for id, why in shut.items():
        if why is not None:
            round.whys[id] = why
    round.open_up()
    round.take_back()
    hand_over(view, space, round.slots, live, round.whys)
    memory = round.remember(memory)
    return _verdicts(round, shut), memory


def _usable(pool: PoolSeen, live: int, shut: Why | None, memory: Memory) -> int:
    """What was granted, as far as there are workers and tasks for it. After a pause it begins with those alive."""
    granted = memory.slots.get(pool.id, live)
    if shut is not None and not is_frozen(shut):
        return min(granted, live)
    if pool.waiting is not None:
        granted = min(granted, live + pool.waiting)
    return granted if pool.max_workers is None else min(granted, pool.max_workers)


def _verdicts(round: "Round", shut: dict[str, Why | None]) -> dict[str, PoolVerdict]:
    """A closed pool gets no slots at all: what runs there goes on, and nothing takes its place."""
    verdicts = {}
    for id, slots in round.slots.items():
        why = shut[id]
        stands = why is None or is_frozen(why)
        verdicts[id] = PoolVerdict(slots=slots if stands else 0, why=round.whys.get(id))
    return verdicts


class Round:
    """One round of handing out slots. Mutable, for one look only."""

    def __init__(self, view: View, space: Space, slots: dict[str, int], live: dict[str, int], memory: Memory) -> None:
        self.view, self.space, self.slots, self.live = view, space, slots, live
        self.whys: dict[str, Why] = {}
        self._ahead: list[tuple[PoolSeen, Why]] = []  # pools whose turn it was, and that memory refused
        self._ramp(memory)

    # -------------------------------------------------------------------------------------------------------- ramp

    def _ramp(self, memory: Memory) -> None:
        """At most doubling each 0.5 s, so that what was let in shows before more is; beside another user's load
        manager, which does the same, one at a time and not in step with it."""
        view, p, total = self.view, self.view.p, sum(self.slots.values())
        period = p.ramp * (1 + view.seen.jitter) if view.seen.neighbours else p.ramp
        self.ramp_at, self.ramp_base = memory.ramp_at, min(memory.ramp_base, total)
        if view.now - memory.ramp_at >= period:
            self.ramp_at, self.ramp_base = view.now, total
        if view.seen.neighbours:
            self._most, self._ramp_reason = self.ramp_base + 1, Reason.NEIGHBOUR
        else:
            self._most, self._ramp_reason = max(p.first, 2 * self.ramp_base), Reason.RAMP

    # ------------------------------------------------------------------------------------------------------- growth

    def open_up(self) -> None:
        """Slot by slot to the pool whose turn it is, until everybody is refused."""
        able = [pool for pool in self.view.pools if pool.id not in self.whys]
        while able:
            pool = in_turn(able, self.space, self.slots)
            why = self._refuses(pool)
            if why is None:
                self.slots[pool.id] += 1
                self.space.grant(pool)
            else:
                self.whys[pool.id] = why
                able.remove(pool)

    def _refuses(self, pool: PoolSeen) -> Why | None:
        slots, live = self.slots[pool.id], self.live[pool.id]
        if pool.waiting is not None and slots >= live + pool.waiting:
            return Why(Reason.WORK_DONE)
        if pool.max_workers is not None and slots >= pool.max_workers:
            return Why(Reason.JOBS, line=pool.max_workers, reading=live)
        alone = not self.view.workers and not any(self.slots.values())
        why = self._memory_refuses(pool, alone) or self.space.cpu_refuses(pool, alone)
        return why or self.space.cpu_budget_refuses(pool, self._alone_in_run(pool)) or self._ramp_refuses()

    def _memory_refuses(self, pool: PoolSeen, alone: bool) -> Why | None:
        need = self.space.next[pool.id].usual
        for domain in self.view.domains[pool.run]:
            why = self.space.memory_refuses(domain, need, alone if domain.gauge == NODE else self._alone_in_run(pool))
            if why is not None:
                if domain.gauge != BUDGET:
                    self._ahead.append((pool, why))
                return why
            if domain.gauge == NODE and (turn := self._another_waits(pool)):
                return turn
        return None

    def _another_waits(self, pool: PoolSeen) -> Why | None:
        """A pool whose turn it was blocks those behind it, or small tasks would starve big ones; but not when it is
        its own stricter line that keeps it out."""
        node = self.view.domains[pool.run][0]
        for other, why in self._ahead:
            if other.id != pool.id and (why.need or 0.0) > self.space.free(node):
                return replace(why, reason=Reason.TURN, line=node.hold)
        return None

    def _alone_in_run(self, pool: PoolSeen) -> bool:
        pools = [other.id for other in self.view.pools if other.run == pool.run]
        return not any(self.live[id] or self.slots[id] for id in pools)

    def _ramp_refuses(self) -> Why | None:
        total = sum(self.slots.values())
        return Why(self._ramp_reason, line=self._most, reading=total) if total >= self._most else None

    # ------------------------------------------------------------------------------------------------------ shrinking

    def take_back(self) -> None:
        """When those that live will need more than there is: one slot less, of the lowest priority, by attrition; the
        next only when that one has gone. One always stays."""
        view = self.view
        tight = {
            pool.id: pool
            for pool in view.pools
            if self.slots[pool.id] > 0 and any(self.space.overdrawn(domain) for domain in view.domains[pool.run])
        }
        owed = any(self.live[id] > slots for id, slots in self.slots.items())
        if not tight or owed or sum(self.slots.values()) < 2:
            return
        pool = min(tight.values(), key=lambda t: (t.priority, -self.space.dominant_share(t, self.slots[t.id]), t.id))
        self.slots[pool.id] -= 1
        domain = next(domain for domain in view.domains[pool.run] if self.space.overdrawn(domain))
        self.whys[pool.id] = self.space.overdraft(domain)

    # ------------------------------------------------------------------------------------------------------- memory

    def remember(self, memory: Memory) -> Memory:
        ramp = (self.ramp_at, self.ramp_base)
        return replace(memory, slots=dict(self.slots), ramp_at=ramp[0], ramp_base=ramp[1], charges=self.space.charges)
