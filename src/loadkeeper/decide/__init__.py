"""Numbers to verdicts, pure: the same inputs give the same answer, whoever asks (load manager, simulator, replay).

`decide` knows no clock, file, randomness or log. Read `policy` first: its body is a table of contents.
"""

from .kinds import likely_peak
from .memory import Kind, Memory, forgive
from .parameters import DEFAULT, Parameters
from .policy import decide

__all__ = ["DEFAULT", "Kind", "Memory", "Parameters", "decide", "forgive", "likely_peak"]
