"""CPython's own tests of executors, run against ours, by an interpreter that has them.

`support.cpython_executor` names those that are left out, each with its reason."""

import functools
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import loadkeeper

ROOT = Path(__file__).parent
QUICK = ("InitializerTest", "ProcessPoolExecutorTest")
"""What runs each time; all of it takes minutes, for most of them sleep."""
MISSING = (
    f"no Python {sys.version_info.major}.{sys.version_info.minor} with CPython's tests is installed "
    f"(on Debian: apt-get install libpython{sys.version_info.major}.{sys.version_info.minor}-testsuite)"
)


@functools.cache
def interpreter() -> str | None:
    """One of our version, so that compiled packages work in it; most distributors leave the tests out."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = [candidate, "-c", "import test.test_concurrent_futures"]
        if os.path.exists(candidate) and not subprocess.run(command, capture_output=True, check=False).returncode:
            return candidate
    return None


def run_theirs(program, *words: str) -> str:
    if interpreter() is None:
        pytest.skip(MISSING)
    paths = [str(ROOT), str(Path(loadkeeper.__file__).parent.parent), sysconfig.get_path("purelib")]
    environment = {**program.environment, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [interpreter(), "-m", "support.cpython_executor", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.mark.parametrize("name", QUICK)
def test_theirs(program, name):
    assert "\nOK" in run_theirs(program, "spawn", name, "quick")


@pytest.mark.long
@pytest.mark.timeout(580)
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_all_of_theirs(program, method, record_property):
    said = run_theirs(program, method)
    record_property("measured", said.splitlines()[0] + "; " + said.strip().splitlines()[-1])
