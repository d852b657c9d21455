"""The house: arrows run downwards only, no circle; who may know whom; what only `linux` may touch.

CONTRIBUTING.md has the picture. `test_decide_imports` holds that `decide` is pure.
"""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import loadkeeper

ROOT = Path(loadkeeper.__file__).parent
FLOORS = (
    {"model", "units", "errors", "masking", "status", "linux", "queues", "worker", "saying", "executor_process"},
    {"settings", "sense", "decide", "act", "sources", "record", "channel"},
    {
        "doctor",
        "guard",
        "launcher",
        "load_manager",
        "member",
        "obey",
        "preparing",
        "process_manager",
        "roster",
        "show",
        "simulate",
        "words",
    },
    {"coming_over", "executor", "joblib", "program"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
ALONE = "executor_process"
"""What processes of an executor import: nothing else of ours, for each pays for it."""
STRANGERS = {"sense", "decide", "act", "sources", "record", "channel", "settings"}
"""None of these knows another of them: what needs two of them stands above."""
KERNEL_CALLS = {
    ("os", "kill"),
    ("os", "killpg"),
    ("os", "fork"),
    ("os", "posix_spawn"),
    ("os", "posix_spawnp"),
    ("os", "execv"),
    ("os", "execve"),
    ("os", "execvp"),
    ("os", "system"),
    ("os", "popen"),
    ("os", "waitpid"),
    ("os", "wait4"),
    ("os", "waitid"),
    ("os", "pidfd_open"),
    ("os", "setpriority"),
    ("signal", "pidfd_send_signal"),
}
KERNEL_MODULES = {"subprocess", "ctypes", "resource"}
KERNEL_TREES = ("/proc/", "/sys/")


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    """The top-level module or folder that a file belongs to; empty for the package root."""
    parts = path.relative_to(ROOT).parts
    return parts[0].removesuffix(".py") if parts != ("__init__.py",) else ""


def imports(path: Path, root: Path = ROOT) -> Iterator[str]:
    """The rooms that a file imports, wherever the import stands."""
    package = ("loadkeeper", *path.relative_to(root).parts[:-1])
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = list(package[: len(package) - node.level + 1]) if node.level else []
            module = [*start, *(node.module.split(".") if node.module else [])]
            names = [module] if len(module) > 1 else [[*module, alias.name] for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == "loadkeeper" and len(name) > 1)


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All but what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from nodes(node)


@functools.cache
def arrows() -> set[tuple[str, str]]:
    found = {(room(path), to) for path in files() for to in imports(path)}
    return {(here, there) for here, there in found if here != there and not there.startswith("__version__")}


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


def test_every_room_has_a_floor():
    assert {room(path) for path in files()} - {""} == set().union(*FLOORS)


def test_arrows_never_run_upwards():
    assert {(here, there) for here, there in arrows() if here and floor(there) > floor(here)} == set()


def test_the_package_root_imports_nothing():
    """But it hands names on, which are loaded when they are asked for."""
    assert [there for here, there in arrows() if not here] == []
    done = subprocess.run(
        [sys.executable, "-c", "import sys; a = set(sys.modules); import loadkeeper; print(len(set(sys.modules) - a))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) <= 1


@pytest.mark.parametrize("name", loadkeeper._HANDED_ON)
def test_what_the_package_root_hands_on_is_there_and_known_to_type_checkers(name):
    assert getattr(loadkeeper, name).__name__ == name
    assert name in dir(loadkeeper)
    typed = {
        alias.asname
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert name in typed


def test_the_package_root_hands_on_nothing_else():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        loadkeeper.Nothing  # noqa: B018


def test_a_process_of_an_executor_imports_little():
    assert [there for here, there in arrows() if here == ALONE] == []
    code = "import sys; a = set(sys.modules); import loadkeeper.executor_process; print(*set(sys.modules) - a)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dear = {"pickle", "re", "enum", "signal", "socket", "typing", "threading", "multiprocessing", "traceback", "zmq"}
    assert dear.isdisjoint(done.stdout.split())


def test_those_that_do_not_know_each_other():
    assert {(here, there) for here, there in arrows() if here in STRANGERS and there in STRANGERS} == set()


def test_a_workers_part_knows_nobody():
    """It is imported into other people's programs: what it drags in they pay for."""
    assert [there for here, there in arrows() if here == "worker"] == []


def test_no_circle():
    left = {here: {there for h, there in arrows() if h == here} for here, _ in arrows()}
    while free := [name for name, to in left.items() if not to & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}, "these import each other, in a circle"


def test_only_linux_touches_the_kernel():
    touches = {str(path.relative_to(ROOT)): found for path in files() if (found := list(kernel_touches(path)))}
    assert {name: found for name, found in touches.items() if not name.startswith(("linux/", "worker/"))} == {}
    assert touches, "and linux does"


def kernel_touches(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values[1:]}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in KERNEL_CALLS:
                yield f"{node.lineno}: {node.value.id}.{node.attr}"
        elif isinstance(node, ast.Import):
            yield from (f"{node.lineno}: {alias.name}" for alias in node.names if alias.name in KERNEL_MODULES)
        elif isinstance(node, ast.Constant) and id(node) not in texts and str(node.value).startswith(KERNEL_TREES):
            yield f"{node.lineno}: {node.value!r}"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import subprocess\n", ["1: subprocess"]),
        ("import os\nos.kill(1, 9)\n", ["2: os.kill"]),
        ("open('/proc/stat')\n", ["1: '/proc/stat'"]),
        ('"""/proc/stat"""\n', []),
    ],
)
def test_the_walk_finds_what_it_looks_for(tmp_path, code, found):
    file = tmp_path / "bad.py"
    file.write_text(code)
    assert list(kernel_touches(file)) == found


def test_imports_are_read_from_every_form(tmp_path):
    (tmp_path / "act").mkdir()
    file = tmp_path / "act" / "bad.py"
    file.write_text(
        "def f():\n    from ..sense.node import X\n    import loadkeeper.decide\n    from .. import guard\n"
    )
    assert sorted(imports(file, tmp_path)) == ["decide", "guard", "sense"]


STAMPS = {
    "channel/register.py",
    "commands/kinds.py",
    "executor/duty.py",
    "executor/records.py",
    "load_manager/__init__.py",
    "load_manager/keeping.py",
    "load_manager/knowledge.py",
    "member.py",
    "process_manager/__init__.py",
    "process_manager/attempt.py",
    "process_manager/records.py",
    "program/queue.py",
    "queues/amqp.py",
    "queues/spool.py",
    "sources/queue.py",
    "obey/troubles.py",
    "record/events.py",
    "record/pruning.py",
}
"""Where the wall's clock is read: for times that people read, and for the age of files. It may jump by hours; whatever
is waited for or held against a limit is CLOCK_MONOTONIC."""


def test_the_wall_clock_is_read_for_stamps_alone():
    found = {str(path.relative_to(ROOT)) for path in files() if "time.time()" in path.read_text()}
    assert found == STAMPS
