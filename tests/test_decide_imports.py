"""`decide` is pure: of ours it reaches `model` alone, of others only what counts and compares."""

import ast
from pathlib import Path

import loadkeeper.decide

FOLDER = Path(loadkeeper.decide.__file__).parent
OURS = {"model"}
OTHERS = {"bisect", "collections", "collections.abc", "functools", "itertools", "math", "typing", "msgspec", "enum"}
OTHERS |= {"msgspec.structs", "operator"}
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "__import__", "hash", "id"}


def _imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import in a file, wherever it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


def _reaches(path: Path) -> list[str]:
    siblings = {file.stem for file in path.parent.glob("*.py")}
    allowed = {0: OTHERS, 1: siblings, 2: OURS}
    return [f"{'.' * level}{module}" for level, module in _imports(path) if module not in allowed[level]]


def test_decide_reaches_model_alone() -> None:
    files = sorted(FOLDER.glob("*.py"))
    assert len(files) > 5
    assert {path.name: _reaches(path) for path in files if _reaches(path)} == {}


def test_the_walk_finds_what_it_looks_for(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    import time\n    from ..linux import proc\n")
    assert _reaches(file) == ["time", "..linux"]


def test_decide_calls_nothing_impure() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in IMPURE_CALLS, f"{path.name}:{node.lineno} calls {node.func.id}"
