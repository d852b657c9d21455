"""Faults injected at random moments into the real program: `./check faults --rounds N --seed S`.

Each round is a run of some tasks, one to three faults, and what must be true afterwards; its seed gives it again, but
for the moments at which the kernel lets each process run. `rounds` plays them, `peers` does the same to other programs.
"""
