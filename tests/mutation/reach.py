"""Which tests reach which functions: a plugin of pytest that notes it, and the map made of that.

    python -m pytest -p tests.mutation.reach -m "not (ray or s3 or browser or demo)"

writes to the file that K3DN_REACH names, a line of JSON a test: its name, its processor time, the
functions of the four packages that it called, by module and qualified name. Functions that ran in
a fixture of several tests count for each of them. What ran in another process is not seen.
"""

import ast
import json
import os
import resource
import sys
import threading
from collections import defaultdict
from collections.abc import Container, Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("k3dn", "synth", "pipelines", "tune")
_FOLDERS = tuple(f"{ROOT / package}{os.sep}" for package in PACKAGES)


@dataclass
class _Noted:
    """What was called since a test began."""

    now: set[tuple[str, str]] = field(default_factory=set)
    of_fixture: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict)
    started_s: float = 0.0


_noted = _Noted()


def _trace(frame: FrameType, event: str, arg: object) -> None:
    code = frame.f_code
    if code.co_filename.startswith(_FOLDERS):
        _noted.now.add((code.co_filename, code.co_qualname))  # type: ignore[attr-defined]


def pytest_sessionstart() -> None:
    """Watch every call from here on, in threads, too."""
    threading.settrace(_trace)
    sys.settrace(_trace)


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None]:
    """Keep what a fixture of several tests calls."""
    if fixturedef.scope == "function":
        yield
        return
    before, _noted.now = _noted.now, set()
    yield
    _noted.of_fixture[(fixturedef.baseid, fixturedef.argname)] = _noted.now
    _noted.now = before | _noted.now


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None]:
    """Write down what a test called."""
    _noted.now, _noted.started_s = set(), _processor_s()
    yield
    called = set(_noted.now)
    for name, found in getattr(item, "_fixtureinfo").name2fixturedefs.items():  # noqa: B009
        for one in found:
            called |= _noted.of_fixture.get((one.baseid, name), set())
    line = {
        "test": item.nodeid,
        "cpu_s": round(_processor_s() - _noted.started_s, 3),
        "calls": sorted(f"{Path(path).relative_to(ROOT)}:{name}" for path, name in called),
    }
    with Path(os.environ["K3DN_REACH"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _processor_s() -> float:
    own, others = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


class Reach:
    """The tests that reach each function.

    file: what the plugin wrote; there: the names of the tests that there are now.
    """

    def __init__(self, file: Path, there: Container[str]) -> None:
        self._tests: dict[str, dict[str, float]] = defaultdict(dict)
        self._costs: dict[str, float] = defaultdict(float)
        for line in file.read_text().splitlines():
            row = json.loads(line)
            if row["test"] not in there:
                continue
            for name in (row["test"], row["test"].partition("::")[0]):
                self._costs[name] += row["cpu_s"]
            for call in row["calls"]:
                module, _, function = call.partition(":")
                for place in (module, call) if function != "<module>" else ():
                    self._tests[place][row["test"]] = row["cpu_s"]

    def cost_s(self, name: str) -> float | None:
        """The processor time of a test or of a whole file; None where it is not known."""
        return self._costs.get(name)

    def tests(self, module: str, line: int, text: str) -> dict[str, float]:
        """Tests that call the function in which a line stands, and the processor time of each.

        Where it stands in none, those that call any function of the module.
        """
        function = _function_at(ast.parse(text), line)
        return self._tests.get(f"{module}:{function}" if function else module, {})


def _function_at(tree: ast.Module, line: int) -> str:
    """The qualified name of the innermost function whose body holds a line; '' for none."""
    found = ""

    def look(node: ast.AST, names: tuple[str, ...]) -> None:
        nonlocal found
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                if child.body[0].lineno <= line <= (child.end_lineno or 0):
                    found = ".".join((*names, child.name))
                inner = (*names, child.name, "<locals>")
            elif isinstance(child, ast.ClassDef):
                inner = (*names, child.name)
            look(child, inner)

    look(tree, ())
    return found
