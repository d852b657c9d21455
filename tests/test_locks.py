"""What is installed from the lock files is complete, for every Python that we run on."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[1] / "setup"
OTHERS = ("win32", "emscripten", "platform_system == 'Windows'", "PyPy", "pypy", "< '3.11'", '< "3.11"', "< '3.10'")
"""What stands in the markers of requirements that are not ours."""


def named(text):
    return re.match(r"[A-Za-z0-9._-]+", text)[0].lower().replace("_", "-").replace(".", "-")


@pytest.mark.parametrize("package", ["amqp", "click", "msgspec", "pyzmq", "redis", "rich", "vine"])
def test_every_requirement_of_a_package_is_locked(package):
    locked = {named(line) for line in (SETUP / "runtime.lock").read_text().splitlines() if re.match(r"[a-z]", line)}
    needed = [one for one in requires(package) or [] if "extra ==" not in one and not any(o in one for o in OTHERS)]
    assert {named(one) for one in needed} <= locked, needed
