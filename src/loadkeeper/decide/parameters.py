"""Every figure that a decision rests on, with its unit and where it comes from.

*measured*: on a real kernel (6.18, two cores, a memory cgroup of 1 GiB). *simulated*: the value that did best, or no
worse than its neighbours, on random worlds. None of these sits on a cliff: half or double costs at most 4 % of time.
"""

from msgspec import Struct

MIB = 1 << 20
GIB = 1 << 30


class Parameters(Struct, frozen=True, kw_only=True):
    """Shares are of the total of the node (or of the budget) unless said otherwise; times are seconds."""

    # lines of memory, as parts of the user's knob, and the least they may be on a node
    pause_of_knob: float = 0.6  # simulated: 0.4 gives a quarter more ends, 0.8 a quarter more pauses
    end_of_knob: float = 0.3
    least_hold: int = (
        160 * MIB
    )  # measured: 30 MiB are gone in 20 to 30 ms, before anybody can act; so lines have a floor
    least_pause: int = 112 * MIB
    least_end: int = 56 * MIB
    pressure_memory_hold: float = 0.1  # where there is swap: above it, pages are fetched back instead of work done

    # learning
    samples: int = 64  # lives remembered of a kind; older ones fall out, so that a drift of input sizes is followed
    kinds: int = 1000  # remembered at once, as many as are kept on disk: a service that lives for years does not grow
    change: int = 6  # lives in a row beyond all before them that make what came before forgotten
    quantile: float = 0.75  # of like workers, for the need. simulated: 0.5 gives half as many ends more, 0.95 is slower
    alike: float = 0.8  # a life is like a worker when its peak reached this part of what the worker holds
    bigger: float = 1.25  # a worker bigger than all of its kind: its need ...
    bigger_expected: float = 1.12  # ... and what admission expects of it
    fill_rate: float = 0.2  # least weight of a new life in a kind's fill
    fill_least: float = 0.3
    cpu_rate: float = 0.1  # least weight of an exit in a kind's cpu
    cpu_memory: float = 1.0  # s over which sweeps teach a kind's cpu
    cpu_age: float = 0.5  # s: younger workers say nothing about their kind's cpu
    full: float = 0.97  # of the cores: on a fuller node a worker's share is only a lower bound of its want

    # the first guess of an unknown kind
    guess: float = 0.25  # of total / cpus; simulated: 0.1 to 0.6 are alike
    guess_half_life: float = 5.0  # s in which the guess halves while nobody grows into it
    guess_growth: float = 1.1  # of the biggest live worker of the kind
    horizon: float = 10.0  # s of growth. simulated: 3 gives a third more ends, 30 is slower

    # speed and strange growth
    speed_filter: float = 0.3  # s. simulated: 0.6 gives more ends
    strange_filter: float = 0.08  # s. measured: with 0.3 a worker's own spike was taken for foreign growth
    scatter_filter: float = 1.0  # s
    doubt: float = 2.0  # deviations of its scatter that strange growth must exceed to count
    slope_window: float = 0.2  # s, at least
    window_most: float = 2.0  # s: two sweeps further apart say nothing about strange growth
    pause_takes: float = 0.005  # s: measured, SIGSTOP to stopped 0.25 to 4 ms; then a fresh baseline of speed ...
    baseline: float = 0.02  # ... of this length
    react: float = 0.15  # s of own growth between a look and its effect. simulated: 0.05 gives a third more ends
    react_strange: float = 0.5  # s of strange growth, which no pause stops
    obey_most: float = 0.65  # s: measured, a writer stalled on dirty pages took 646 ms to stop
    obey_half_life: float = 60.0  # s in which a slow stop is forgotten by half
    obey_recent: float = 2.0  # s: only pauses this young teach how long they take

    # pausing and continuing
    still: float = 0.01  # a need below this share is no lead: it can be had out of the pause line
    grows: float = 0.004  # of total per s: who grows more slowly is left alone
    dwell: float = 1.0  # s: the shortest pause. simulated: 3 makes saw-teeth a third slower
    gap: float = 0.2  # s between two continues
    continue_lead: float = 1.5  # x the lead. simulated: 1 gives a seventh more ends and pauses
    stop_obeyed: float = 0.02  # s: a stop that has not taken by then, near the line, becomes a kill
    stop_near: float = 0.03  # of total above the pause line: that near ...
    stop_ahead: float = 0.02  # ... or so many s from there, for a kill takes 7 to 30 ms to give memory back (measured)

    # ending
    react_end: float = 0.25  # s of strange growth before the end line (measured; 0.75 buried tasks that fit)
    react_goal: float = 0.5  # s of strange growth that an end must make room for
    react_kill: float = 0.2  # s of strange growth before half the end line
    goal_least: float = 0.02  # an end frees at least so much beyond the pause line ...
    goal_most: float = 0.3  # ... and at most this, however much the lead needs
    victim_head_start: float = 0.5  # s added to a victim's active time: it lost a start too
    drop_rise: float = 0.02  # an end not yet begun is dropped when available rose by this and is above the pause line
    begin_most: float = 0.5  # s: an end not begun by then was found needless by who had to begin it; decided anew
    never_fits: float = 0.04  # alone, holding all that was ever there but the end line and this: it can never fit
    stood_alone: float = (
        0.2  # alone for the second time, and all but this share of what was ever there is its own or free
    )
    again: float = 1.2  # a floor of this x what it holds now: it was ended at this size before
    settle: float = 0.0  # s after an exit until its memory is back (measured: a pidfd fires after that)
    back_off: float = 1.0  # s without admission after an end, doubled by each further end ...
    back_off_most: float = 8.0
    back_off_forget: float = 60.0  # ... until none came for so long

    # CPU
    busy_filter: float = 1.0  # s
    charge: float = 1.5  # s in which what a new slot is charged fades, for the gauge shows it by then
    cpu_dwell: float = 5.0  # s over the line before anybody is paused for CPU
    cpu_gap: float = 2.0  # s between two pauses for CPU or another gauge
    cpu_continue_gap: float = 0.5
    cpu_slack: float = 0.25  # of a worker that may be missing to continue it: measured cores are never whole
    foreign_least: float = 0.05  # of the cores: less is noise, not somebody else's load
    throttle_gap: float = 0.5  # s between two changes of a throttle
    throttle_least: float = 0.05

    # slots
    lift: float = 0.25  # of 1 - fill: the dial between throughput (0: twice the pauses) and calm (1: a tenth slower)
    spread: float = 0.6  # deviations of the sum of all workers kept above the pause line
    ramp: float = 0.5  # s to double the slots
    first: int = 2  # slots to begin with
    overdrawn: float = 0.02  # when more than this is missing one slot is taken back

    # other gauges
    gauge_calm: float = 2.0  # s behind the hold line before anybody is continued

    # looks and sweeps
    burst: float = 2.5 * GIB  # bytes/s a core could take: measured 0.7 to 1.9 with 4 KiB pages, to 11 with huge pages
    look_most: float = 0.1
    look_share: float = 0.5  # of the time that a burst would need to the pause line, or the next look comes too late to
    # act; simulated: 1 gives half as many kernel kills more, 0.7 a third
    look_calm: float = 0.25  # while nobody stands and a burst of all cores ...
    look_each: float = 0.0005  # s more for each worker then, for 1,000 idle ones took 13.8 % of a core, now 10 ...
    look_calmest: float = 1.0  # ... up to a quarter of the time that even a burst would need
    calm: float = 4.0  # ... would need so many seconds to the pause line
    look_least: float = 0.005
    look_blind: float = 0.05  # while the CPU's gauge, which takes two looks, shows nothing yet: one slot until then
    look_paused: float = 0.02  # for a while after a pause; simulated: without, OOM kills
    look_paused_for: float = 0.3
    sweep_calm: float = 0.09
    sweep_near: float = 0.012
    sweep_each: float = (
        0.0003  # s per worker at the least: reading one takes 6 us, so that sweeps stay at 2 % of a core
    )
    sweep_most: float = 0.5
    sweep_falling: float = 0.03  # of total per s: falling faster calls for fast sweeps
    sweep_low: float = 0.2  # of total available: less calls for fast sweeps


DEFAULT = Parameters()
