"""The peers: those that are installed, and those that can be fetched into a directory of our own.

Nothing is installed into the system: a Debian package is fetched and unpacked (its service, if it has one, is not
started), which needs no root. So are Python packages.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from . import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loadkeeper" / "bench"
PATIENCE = 120.0


class Tool(Struct, frozen=True):
    """A peer. ``program``: what is executed; ``package``: the Debian package that has it."""

    name: str
    program: str
    package: str
    version: tuple[str, ...] = ("--version",)


TOOLS = {
    tool.program: tool
    for tool in (
        Tool("GNU parallel", "parallel", "parallel"),
        Tool("xargs", "xargs", "findutils"),
        Tool("make", "make", "make"),
        Tool("task-spooler", "tsp", "task-spooler", ("-V",)),
        Tool("earlyoom", "earlyoom", "earlyoom", ("-v",)),
    )
}


class Toolbox:
    """``paths`` by program; ``missing``: why not, by program. ``say`` is told what is done."""

    def __init__(self, say: Callable[[str], None], *, fetch: bool = True) -> None:
        self.paths: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.packed: dict[str, str] = {}
        self._say, self._fetch = say, fetch
        self._built = Path(tempfile.mkdtemp(prefix="loadkeeper-bench-"))

    def find(self, program: str) -> str | None:
        """The path of a peer's program, fetched if need be; None: it is missing."""
        if program in self.missing:
            return None
        if program not in self.paths:
            found = shutil.which(program) or shutil.which(program, path=str(CACHE / "usr" / "bin"))
            found = found or self._fetched(TOOLS[program])
            if found is None:
                return None
            self.paths[program] = found
        return self.paths[program]

    def build(self, source: str) -> str | None:
        """One of our C programs, compiled; None: there is no compiler."""
        name = source.removesuffix(".c")
        if name not in self.paths and name not in self.missing:
            compiler = shutil.which("cc") or shutil.which("gcc")
            if compiler is None:
                self.missing[name] = "no C compiler (apt-get install gcc)"
                self._say(f"{source}: skipped, {self.missing[name]}")
                return None
            target = str(self._built / name)
            subprocess.run([compiler, "-O2", "-o", target, str(ROOT / "bench" / source)], check=True)
            self.paths[name] = target
        return self.paths.get(name)

    def packages(self, name: str, requirements: list[str]) -> str | None:
        """A directory for the path of a program that imports the package ``name``; empty: it is installed here; None:
        it is missing."""
        if name in self.missing:
            return None
        if name not in self.packed:
            target = CACHE / "python" / requirements[0]
            if find_spec(name) is not None:
                self.packed[name] = ""
            elif target.is_dir() or self._packed(name, requirements, target):
                self.packed[name] = str(target)
            else:
                return None
        return self.packed[name]

    def _packed(self, name: str, requirements: list[str], target: Path) -> bool:
        if not self._fetch:
            return self._skip_package(name, "not installed")
        self._say(f"{name}: fetching {', '.join(requirements)} into {target}")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
            try:
                subprocess.run([*command, "--target", folder, *requirements], check=True, timeout=PATIENCE)
            except (subprocess.SubprocessError, OSError) as error:
                return self._skip_package(name, f"cannot be fetched ({type(error).__name__})")
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(folder, target)
        return True

    def _skip_package(self, name: str, why: str) -> bool:
        self.missing[name] = why
        self._say(f"{name}: skipped, {why}")
        return False

    def versions(self) -> dict[str, str]:
        """Of every peer that was asked for: its version, or why it was skipped."""
        found = {
            TOOLS[program].name: _version(path, TOOLS[program])
            for program, path in self.paths.items()
            if program in TOOLS
        }
        return found | {TOOLS[p].name if p in TOOLS else p: f"skipped: {why}" for p, why in self.missing.items()}

    def close(self) -> None:
        shutil.rmtree(self._built, ignore_errors=True)

    def _fetched(self, tool: Tool) -> str | None:
        if not self._fetch:
            return self._skip(tool, f"not installed (apt-get install {tool.package})")
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            return self._skip(tool, "not installed, and packages are fetched on Debian and its kin only")
        self._say(f"{tool.name}: fetching the package {tool.package} into {CACHE}")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            try:
                subprocess.run(
                    ["apt-get", "-qq", "download", tool.package],
                    cwd=folder,
                    check=True,
                    capture_output=True,
                    timeout=PATIENCE,
                )
                package = next(Path(folder).glob("*.deb"))
                subprocess.run(
                    ["dpkg", "-x", str(package), str(CACHE)], check=True, capture_output=True, timeout=PATIENCE
                )
            except (subprocess.SubprocessError, OSError, StopIteration) as error:
                return self._skip(tool, f"the package {tool.package} cannot be fetched ({type(error).__name__})")
        found = shutil.which(tool.program, path=str(CACHE / "usr" / "bin"))
        return found or self._skip(tool, f"the package {tool.package} has no {tool.program}")

    def _skip(self, tool: Tool, why: str) -> None:
        self.missing[tool.program] = why
        self._say(f"{tool.name}: skipped, {why}")


def _version(path: str, tool: Tool) -> str:
    told = subprocess.run([path, *tool.version], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    lines = (told.stdout or told.stderr).splitlines()
    return lines[0].strip() if lines else path
