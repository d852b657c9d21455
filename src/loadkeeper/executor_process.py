"""What a process of an `Executor` runs: it takes one call at a time from a socket, and sends back what came of it.

It imports as little as it can, for its start is waited for: `pickle` alone costs 8 ms, `signal` 4, `multiprocessing`
18, a bare interpreter 13 (measured). The other side of the socket uses its `encode` and names of messages.

Each message is a head that says what it is and how long, and so many bytes.
"""

from __future__ import annotations

import _signal
import copyreg
import os
import sys
import time
from _pickle import Pickler, PicklingError, dumps, loads
from io import BytesIO, open_code
from struct import Struct
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any

PROTOCOL = 5
"""Of pickle: the highest that every Python knows on which we run."""
HEAD = Struct("<BQI")
"""Before each message: its kind, the bytes that follow, and, of an answer, microseconds that the call took."""
LONGEST = (1 << 32) - 1

# To a process.
PREPARE, CALL, TRACKER = 1, 2, 3
# From it.
READY, RESULT, RAISED, UNFIT = 4, 5, 6, 7
"""``UNFIT``: it could not be prepared, and no other one can."""

MAIN = "__mp_main__"
"""What the program's main module is called in its processes, by `multiprocessing` too."""
STDIN = 0
_TERM = 15

preparing = False
"""The program's main module is being imported in a process of an executor: one that starts an executor itself has no
``if __name__ == "__main__":``."""


# ------------------------------------------------------------------------------------------------------------ pickles


def encode(value: object, by_value: bool = False) -> bytes:
    """The value as bytes: by pickle, and what pickle cannot take (lambdas, what was defined inside a function) by
    cloudpickle, where that is installed. ``by_value``: by cloudpickle first, for what pickle takes refers to a main
    module that the other side cannot import. Raises whatever the value's own pickling raises."""
    if by_value and (cloudpickle := _cloudpickle()) is not None:
        return _by_value(cloudpickle, value)
    try:
        return _plain(value)
    except (PicklingError, TypeError, AttributeError) as problem:
        cloudpickle = _cloudpickle()
        if cloudpickle is None:
            raise
        try:
            return _by_value(cloudpickle, value)
        except Exception:
            raise problem from None


def _plain(value: object) -> bytes:
    """As `multiprocessing` does it where it is loaded: it knows how to hand on connections and its like."""
    reduction = sys.modules.get("multiprocessing.reduction")
    if reduction is None:
        return dumps(value, PROTOCOL)
    buffer = BytesIO()
    pickler = Pickler(buffer, PROTOCOL)
    pickler.dispatch_table = _reducers(reduction.ForkingPickler._extra_reducers)
    pickler.dump(value)
    return buffer.getvalue()


def _by_value(cloudpickle: Any, value: object) -> bytes:
    """It, too, knows what `multiprocessing` knows, which only a class of its own can be taught."""
    global _both  # noqa: PLW0603 - made once
    reduction, buffer = sys.modules.get("multiprocessing.reduction"), BytesIO()
    pickler = cloudpickle.Pickler
    if reduction is not None:
        if _both is None:
            table = pickler.dispatch_table.new_child(reduction.ForkingPickler._extra_reducers)
            _both = type("Pickler", (pickler,), {"dispatch_table": table})
        pickler = _both
    pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


_both: Any = None
_table: dict[type, Any] = {}
_table_of = (0, 0)


def _reducers(extra: dict[type, Any]) -> dict[type, Any]:
    """A plain dictionary, for the ChainMap of `ForkingPickler` triples the time of a small pickle (measured)."""
    global _table, _table_of
    sizes = (len(copyreg.dispatch_table), len(extra))
    if sizes != _table_of:
        _table, _table_of = {**copyreg.dispatch_table, **extra}, sizes
    return _table


_without_cloudpickle = False


def _cloudpickle() -> ModuleType | None:
    global _without_cloudpickle  # noqa: PLW0603 - a search that finds nothing is dear
    if _without_cloudpickle:
        return None
    try:
        import cloudpickle
    except ImportError:
        _without_cloudpickle = True
        return None
    return cloudpickle  # type: ignore[no-any-return]


def run_chunk(function: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    """Several calls in one, for `Executor.map`."""
    return [function(*arguments) for arguments in chunk]


# --------------------------------------------------------------------------------------------------------- the process


def main() -> None:
    """Serve until the socket ends, or we are asked to end."""
    channel = Channel(_take_socket())
    try:
        if _prepare(channel):
            _serve(channel)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the program is gone
    finally:
        _signal.signal(_TERM, _signal.SIG_DFL)  # nothing is left that it could spare


def _take_socket() -> int:
    """The socket leaves the place of stdin, which is empty from now on, and is not for what calls start."""
    descriptor = os.dup(STDIN)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, STDIN)
    os.close(null)
    return descriptor


class Manners:
    """SIGTERM lets ``finally`` blocks of the call run, and never cuts an answer in two."""

    def __init__(self) -> None:
        self.told = False
        self.answering = False

    def asked(self, _number: int, _frame: object) -> None:
        self.told = True
        if not self.answering:
            raise SystemExit(128 + _TERM)


class Channel:
    """The socket, blocking."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def receive(self) -> tuple[int, bytearray] | None:
        """The next message, ``None``: there is none any more."""
        start = self._read(HEAD.size)
        if start is None:
            return None
        kind, size, _ = HEAD.unpack(start)
        content = self._read(size)
        return None if content is None else (kind, content)

    def _read(self, size: int) -> bytearray | None:
        content = bytearray(size)
        view, got = memoryview(content), 0
        while got < size:
            count = os.readv(self.descriptor, [view[got:]])
            if count == 0:
                return None
            got += count
        return content

    def descriptors(self, count: int) -> list[int]:
        """So many, sent with a byte of their own."""
        import socket

        with socket.socket(fileno=os.dup(self.descriptor)) as channel:
            return list(socket.recv_fds(channel, 1, count)[1])

    def send(self, kind: int, content: bytes, took: float = 0.0) -> None:
        start = HEAD.pack(kind, len(content), min(int(1e6 * took), LONGEST))
        written = os.writev(self.descriptor, [start, content]) - HEAD.size
        while written < len(content):
            written += os.write(self.descriptor, memoryview(content)[max(0, written) :])


def _serve(channel: Channel) -> None:
    manners = Manners()
    _signal.signal(_TERM, manners.asked)
    channel.send(READY, b"")
    while (message := channel.receive()) is not None:
        kind, content = message
        if kind == TRACKER:
            _adopt_tracker(channel.descriptors(1)[0])
            continue
        began = time.monotonic()
        answer = _answer(content, manners)
        del content, message
        try:
            channel.send(*answer, time.monotonic() - began)
        finally:
            manners.answering = False
        del answer
        if manners.told:
            raise SystemExit(128 + _TERM)


def _answer(content: bytearray, manners: Manners) -> tuple[int, bytes]:
    """What came of a call."""
    try:
        function, arguments, named = loads(content)
        result = function(*arguments, **named)
        del function, arguments, named
        encoded = encode(result)
        manners.answering = True
        return RESULT, encoded
    except BaseException as error:
        if manners.told and isinstance(error, SystemExit):
            raise
        manners.answering = True
        return RAISED, _raised(error)


def _raised(error: BaseException) -> bytes:
    """(Its traceback as text, itself pickled): who cannot read the one can read the other."""
    from traceback import format_exception

    text = "".join(format_exception(error))
    error = error.with_traceback(None)
    try:
        pickled = encode(error)
    except BaseException as problem:
        pickled = dumps(PicklingError(f"{type(error).__name__} cannot be pickled: {problem}"))
    return dumps((text, pickled), PROTOCOL)


# --------------------------------------------------------------------------------------------------------- preparation


def _prepare(channel: Channel) -> bool:
    """Become what the program is; False: this cannot be done, which is told."""
    global preparing  # noqa: PLW0603 - executors look at it
    message = channel.receive()
    if message is None:
        return False
    told = loads(message[1])
    handed = channel.descriptors(told["descriptors"]) if told["descriptors"] else []
    _on_import["multiprocessing.process"] = lambda module: _adopt_family(module, told, channel.descriptor)
    if told["tracker"]:
        _adopt_tracker(handed.pop())
    sys.meta_path.insert(0, _OnImport())
    sys.path[:], sys.argv[:] = told["path"], told["argv"]
    try:
        os.chdir(told["directory"])
    except OSError:
        pass  # it is gone, or not ours to enter
    preparing = True
    try:
        _import_main(told)
        _leave_bootstrap()
        preparing = False
        _initialize(told, handed)
    except BaseException as error:
        channel.send(UNFIT, _raised(error))
        raise SystemExit(1) from None
    return True


def _initialize(told: dict[str, Any], handed: list[int]) -> None:
    if told["initializer"] is None:
        return
    descriptors.extend(handed)
    initializer, arguments = loads(told["initializer"])
    try:
        initializer(*arguments)
    except Exception:
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        raise


def _import_main(told: dict[str, Any]) -> None:
    """The program's main module, under another name: what it does under ``if __name__ == "__main__":`` is not done."""
    name, path = told["main_name"], told["main_path"]
    if name is None and path is None:
        return
    module = ModuleType(MAIN)
    if name is None and path.endswith(".py"):
        sys.modules["__main__"] = sys.modules[MAIN] = module
        _run(path, module)
        return
    import runpy  # which costs 15 ms

    run = runpy.run_path(path, None, MAIN) if name is None else runpy.run_module(name, None, MAIN, alter_sys=True)
    module.__dict__.update(run)
    sys.modules["__main__"] = sys.modules[MAIN] = module


def _run(path: str, module: ModuleType) -> None:
    """As the interpreter runs a script."""
    with open_code(path) as file:
        code = compile(file.read(), path, "exec")
    module.__file__ = path
    module.__dict__.update(__cached__=None, __builtins__=__builtins__)
    exec(code, module.__dict__)


# ------------------------------------------------------------------------------------- what multiprocessing would know

descriptors: list[int] = []
"""Those that came with the initializer's arguments."""


class Handed:
    """A descriptor inside the initializer's arguments, by its place among those that were sent."""

    def __init__(self, place: int) -> None:
        self.place = place

    def detach(self) -> int:
        """Once."""
        return descriptors[self.place]


_on_import: dict[str, Callable[[Any], None]] = {}


class _OnImport:
    """Tells parts of `multiprocessing` who we are when, and only when, somebody imports them."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        act = _on_import.pop(name, None)
        if act is None:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None and spec.loader is not None:
                _after(spec.loader, act)
                return spec
        return None


def _after(loader: Any, act: Callable[[Any], None]) -> None:
    """Once the loader has loaded a module, act on it."""
    load = loader.exec_module

    def load_and_act(module: ModuleType) -> None:
        load(module)
        act(module)

    loader.exec_module = load_and_act


def _adopt_family(module: Any, told: dict[str, Any], descriptor: int) -> None:
    """Our name, our parent, and the key by which its managers know each other."""
    me = module.current_process()
    me.authkey, me.name, me._inheriting = told["authkey"], told["name"], preparing
    module._parent_process = module._ParentProcess(told["parent_name"], told["parent"], descriptor)


def _leave_bootstrap() -> None:
    module = sys.modules.get("multiprocessing.process")
    if module is not None:
        module.current_process()._inheriting = False


def _adopt_tracker(descriptor: int) -> None:
    """The program's own tracker of shared memory: one of our own would take away what we used when we end."""

    def adopt(module: Any) -> None:
        module._resource_tracker._fd = descriptor

    name = "multiprocessing.resource_tracker"
    if name in sys.modules:
        adopt(sys.modules[name])
    else:
        _on_import[name] = adopt
