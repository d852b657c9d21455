"""Ends that no executor chooses: the interpreter's, and a fork."""

import os
import threading
import weakref

from .engine import Engine

_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()
_copies: list[Engine] = []  # of our parent's, kept: what of them were collected here would be closed here
ending = False
"""The interpreter ends: no more calls are taken."""


def remember(engine: Engine) -> None:
    """It works."""
    _engines.add(engine)


def _at_exit() -> None:
    """As the executors of the standard library: what was submitted is done before the interpreter ends."""
    global ending  # noqa: PLW0603 - there is one interpreter
    ending = True
    engines = list(_engines)
    for engine in engines:
        engine.release()
    for engine in engines:
        engine.thread.join()


def _after_fork() -> None:
    """In the copy nobody works: it lets go of sockets that would tell our parent's processes that it lives."""
    _copies.extend(_engines)
    for engine in _copies:
        engine.forked()
    _engines.clear()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork)
