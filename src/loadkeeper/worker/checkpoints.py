"""`checkpoint` and what hangs on it.

The way that is gone through millions of times is two lines long: a byte is looked at, which is not 0 before the first
checkpoint either. Everything else is in `_obey`.
"""

import atexit
import os
import sys
import time
from _thread import RLock, get_ident

from . import file
from .layout import ANSWER, CRITICAL, ENDING, GO_ON, PAUSE, RUNS, STANDS, TERMINATE
from .terminated import Terminated

TYPE_CHECKING = False  # see `file`
if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from types import TracebackType
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

SHORTEST, LONGEST = 0.002, 0.015
"""Seconds between two looks of one who stands: doubled up to the longest; the manager usually stops it meanwhile."""
_COROUTINE = 0x80
"""In ``co_flags``: an ``async def``."""

_NOT_YET = b"\x01"
_NEVER = b"\0"
_wanted: "mmap | bytes" = _NOT_YET  # its first byte is what is wanted
_file: file.File | None = None
_lock = RLock()  # a signal handler and a __del__ may come to a checkpoint while their own thread holds it
_off: dict[int, int] = {}  # critical sections around each thread
_calling: set[int] = set()  # threads in what is called around a pause: a checkpoint there would begin it again
_standing: set[object] = set()  # one for each that stands: a thread, or a coroutine
_told = False  # to end
_attaching = False  # a signal handler that comes to a checkpoint meanwhile would wait for itself
_before: "list[Callable[[], object]]" = []
_after: "list[Callable[[], object]]" = []


# --------------------------------------------------------------------------------------------------- in a worker's code


def _checkpoint() -> None:
    if _wanted[0]:
        _obey()


async def wait() -> None:
    """A checkpoint in a coroutine: while it stands the others go on, until the manager stops the whole process."""
    if not _wanted[0]:
        return
    from asyncio import sleep

    attached = _attached()
    if attached is None or _is_off():
        return
    if _wanted[0] == PAUSE:
        pause, me = SHORTEST, object()
        _call(_before)
        try:
            while _stands(attached, me):
                await sleep(pause)
                pause = min(2 * pause, LONGEST)
        finally:
            _go_on(attached, me)
    if _wanted[0]:
        _obey()


class Off:
    """A critical section: ``with checkpoint.off():``, ``async with`` the same, or ``@checkpoint.off()`` over a
    function. Nobody is paused or ended inside it, checkpoints in it do nothing; one follows at its end."""

    def __enter__(self) -> None:
        attached, me = _attached(), get_ident()
        with _lock:
            _off[me] = _off.get(me, 0) + 1
            _tell(attached)

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self._end()
        if error is None:
            _checkpoint()

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self._end()
        if error is None:
            await wait()

    @staticmethod
    def _end() -> None:
        me = get_ident()
        with _lock:
            if left := _off[me] - 1:  # a signal handler may have a section of its own between any two steps
                _off[me] = left
            else:
                _off.pop(me, None)
            _tell(_file)

    def __call__(self, function: "F") -> "F":
        from functools import wraps

        if getattr(getattr(function, "__code__", None), "co_flags", 0) & _COROUTINE:

            @wraps(function)
            async def protected_coroutine(*arguments: "Any", **named: "Any") -> "Any":
                async with Off():
                    return await function(*arguments, **named)

            return protected_coroutine  # type: ignore[return-value]

        @wraps(function)
        def protected(*arguments: "Any", **named: "Any") -> "Any":
            with Off():
                return function(*arguments, **named)

        return protected  # type: ignore[return-value]


def before_pause(call: "F") -> "F":
    """Call this before the worker stands at a checkpoint: to release a lock, to commit. Decorates, too."""
    _before.append(_callable(call))
    return call


def after_pause(call: "F") -> "F":
    """Call this when it goes on, the last one first."""
    _after.insert(0, _callable(call))
    return call


def _callable(call: "F") -> "F":
    if not callable(call):
        raise ValueError(f"what is called around a pause is a function, not {call!r}")
    return call


if TYPE_CHECKING:

    class _Checkpoint:
        off = Off
        wait = staticmethod(wait)
        before_pause = staticmethod(before_pause)
        after_pause = staticmethod(after_pause)

        def __call__(self) -> None: ...

    checkpoint: _Checkpoint
else:
    checkpoint = _checkpoint
    checkpoint.__name__ = checkpoint.__qualname__ = "checkpoint"
    checkpoint.__doc__ = """A place where it is safe to pause or to end this worker.

    Does nothing in about two empty function calls when nothing is wanted, and outside Loadkeeper. Stands here while a
    pause is wanted. Raises `Terminated` when the worker must end, at each checkpoint but those inside its handling."""
    checkpoint.off = Off
    checkpoint.wait = wait
    checkpoint.before_pause = before_pause
    checkpoint.after_pause = after_pause


def progress(fraction: float | None = None, text: str | None = None) -> None:
    """Say how far the worker is (0 to 1) and what it is at: `status` and `explain` show it. Raises ValueError."""
    if fraction is not None and not (isinstance(fraction, (int, float)) and 0 <= fraction <= 1):
        raise ValueError(f"progress is a share from 0 to 1, not {fraction!r}")
    if text is not None and not isinstance(text, str):
        raise ValueError(f"what a worker is at is a text, not {text!r}")
    opened = _opened()
    if opened is not None:
        opened.progress(fraction, text)


def memory_need(size: int) -> None:
    """Declare how many bytes the worker will hold at its peak: so much is kept for it instead of what others of its
    kind have needed. Raises ValueError."""
    if not isinstance(size, (int, float)) or not 0 <= size < float("inf"):
        raise ValueError(f"a need is a number of bytes, not {size!r}")
    opened = _opened()
    if opened is not None:
        opened.need(int(size))


# -------------------------------------------------------------------------------------------------------------- obeying


def _opened() -> file.File | None:
    """The worker's file; looked for once."""
    global _file, _wanted  # noqa: PLW0603 - a process has one
    if _file is None and _wanted is _NOT_YET:
        _file = file.attach(os.environ)
        if _file is None:
            _wanted = _NEVER
    return _file


def _attached() -> file.File | None:
    """The same, with a slot in it: only who has checkpoints has one."""
    if _wanted is _NOT_YET:
        with _lock:
            opened = _opened()
            if opened is not None and _wanted is _NOT_YET and not _attaching:
                _attach(opened)
    return None if _wanted is _NOT_YET else _file


def _attach(opened: file.File) -> None:
    """Under the lock."""
    global _attaching, _file, _wanted  # noqa: PLW0603 - a process has one
    _attaching = True
    try:
        opened.take_slot()
    except OSError as error:  # it was removed since it was opened, or no descriptor is left
        _file, _wanted = None, _NEVER
        file.warn(f"{opened.path} cannot be used: {error}")
    else:
        _wanted = opened.map
        _tell(opened)
    finally:
        _attaching = False


def _obey() -> None:
    attached = _attached()
    if attached is None or _is_off():
        return
    while (wanted := attached.map[0]) != GO_ON:
        if wanted == PAUSE:
            _pause(attached)
        elif wanted == TERMINATE:
            _end(attached)
            return
        elif wanted == ANSWER:
            attached.seen(attached.number())
            return
        else:
            _detach(f"somebody has written over {attached.path}: {bytes([wanted])!r} is no wish")
            return


def _pause(attached: file.File) -> None:
    pause, me = SHORTEST, object()
    _call(_before)
    try:
        while _stands(attached, me):
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)
    finally:
        _go_on(attached, me)


def _stands(attached: file.File, me: object) -> bool:
    """Whether a pause is wanted; then it is said that ``me`` stands for it. Another pause may have followed the one
    before; the wish is read after its number, so that nobody stands for one that is not wanted yet."""
    number = attached.number()
    if attached.map[0] != PAUSE:
        return False
    with _lock:
        _standing.add(me)
        attached.seen(number)
        _tell(attached)
    return True


def _go_on(attached: file.File, me: object) -> None:
    """An exception (a signal's handler may raise it anywhere) may have come before ``me`` stood."""
    with _lock:
        _standing.discard(me)
        _tell(attached)
    _call(_after)


def _end(attached: file.File) -> None:
    global _told  # noqa: PLW0603 - of this process
    with _lock:
        _told = True
        attached.seen(attached.number())
        _tell(attached)
    if not _is_handled():
        raise Terminated(attached.reason(), attached.grace())


def _is_handled() -> bool:
    """This thread is inside an ``except`` or ``finally`` that `Terminated` has led to: its own clean-up must not be cut
    short."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, Terminated):
        error = error.__context__
    return error is not None


def _tell(attached: file.File | None) -> None:
    """The state of this process, under the lock."""
    if attached is not None:
        attached.tell(ENDING if _told else CRITICAL if _off else STANDS if _standing else RUNS)


def _is_off() -> bool:
    """Checkpoints do nothing in this thread: it is in a critical section, or in what is called around a pause."""
    me = get_ident()
    return me in _off or me in _calling


def _call(calls: "list[Callable[[], object]]") -> None:
    """Those of the user's; a fault in one stops neither the pause nor the others."""
    me = get_ident()
    _calling.add(me)
    try:
        for call in calls:
            try:
                call()
            except Exception:
                from traceback import print_exc

                print_exc()
    finally:
        _calling.discard(me)


def _detach(why: str) -> None:
    global _file, _wanted
    with _lock:
        _file, _wanted = None, _NEVER
    file.warn(why)


def _forked() -> None:
    """In a child: another process, with the sections of the thread that forked."""
    global _file, _wanted, _lock, _off, _standing, _told, _attaching  # noqa: PLW0603 - what there was is the parent's
    me = get_ident()
    _lock = RLock()
    _calling.intersection_update((me,))
    _off = {me: _off[me]} if me in _off else {}
    _standing, _told, _attaching, _file = set(), False, False, None
    if _wanted is not _NEVER:
        _wanted = _NOT_YET


def _leave() -> None:
    if _file is not None:
        _file.leave()


os.register_at_fork(after_in_child=_forked)
atexit.register(_leave)
