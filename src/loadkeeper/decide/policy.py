"""`decide` itself: a table of contents of the rules, in the order in which they act."""

from msgspec.structs import replace

from ..model import Decision, Lines, Seen
from .admit import admit
from .claims import Claims, claim, limits_of
from .cpu import measure, relieve_cpu
from .end import end, settle
from .end_anyway import grace_is_over, ignored_their_stop, over_their_cap, waited_too_long
from .forecast import forecast
from .gauges import relieve_gauges
from .learn import learn
from .lines import BUDGET_CPU, CPU, cpu_lines, gauge_lines
from .looks import critical, next_look, next_sweep, urgent
from .memory import Memory
from .parameters import DEFAULT, Parameters
from .pause import adopt, one_always_runs, relieve
from .throttle import throttle
from .view import View, look, most_of_budgets
from .whys import endings, pauses
from .workers import in_order, known_pools


def decide(seen: Seen, memory: Memory, parameters: Parameters = DEFAULT) -> tuple[Decision, Memory]:
    """What is wanted of all runs now, and what to remember for the next look.

    Pure, and independent of the order of ``seen.workers`` and ``seen.pools``. A gauge that is None never admits and
    never ends. A second look at the same ``now`` learns from the exits it brings and gives the same answer.
    """
    if memory.last is not None and seen.now == memory.now:
        return memory.last, learn(seen, memory, parameters)
    seen = in_order(seen)
    pools = known_pools(seen)
    memory = learn(seen, memory, parameters)
    memory = adopt(seen, memory)
    memory = measure(seen, memory, parameters)
    memory = forecast(seen, memory, parameters)
    claims = Claims(seen, memory, limits_of(pools.values()), parameters)
    memory = claim(seen, memory, pools, claims)
    view = look(seen, memory, pools, claims, parameters)
    memory = replace(memory, most=most_of_budgets(view))

    memory = settle(view, memory)
    memory = relieve(view, memory)
    memory = relieve_cpu(view, memory)
    memory = throttle(view, memory)
    memory = relieve_gauges(view, memory)
    memory = over_their_cap(view, memory)
    memory = ignored_their_stop(view, memory)
    memory = end(view, memory)
    memory = waited_too_long(view, memory)
    memory = grace_is_over(view, memory)
    memory = one_always_runs(view, memory)
    slots, memory = admit(view, memory)
    given_up, memory = critical(view, memory)

    decision = Decision(
        pools=slots,
        paused=pauses(view, memory),
        ending=endings(view, memory),
        critical=given_up,
        next_look=next_look(view, memory),
        next_sweep=next_sweep(view, memory),
        lines=_all_lines(view),
        urgent=urgent(view),
        throttled=dict(memory.load.throttles),
    )
    return decision, replace(memory, now=seen.now, last=decision)


def _all_lines(view: View) -> dict[str, dict[str, Lines]]:
    """For people: where every gauge's lines lie, by run."""
    return {run: _lines_of(run, view) for run in view.limits}


def _lines_of(run: str, view: View) -> dict[str, Lines]:
    limits, cpus = view.limits[run], view.seen.cpus
    lines = {domain.gauge: domain.lines for domain in view.domains[run]}
    lines[CPU] = cpu_lines(limits, cpus)
    if limits.workers_cpu is not None:
        line = limits.workers_cpu.of(cpus)
        lines[BUDGET_CPU] = Lines(hold=line, pause=line)
    return {**lines, **gauge_lines(limits, view.seen, view.p)}
