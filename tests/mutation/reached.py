"""Which tests of a file run which lines, and how long each takes: what to run for a changed line.

Made once a test file, by a run of it under `coverage` on the unchanged tree, and kept.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.mutants import Mutant


@dataclass(frozen=True, slots=True)
class Reaching:
    """A test that runs a line."""

    name: str
    """Its node id."""
    seconds: float
    """Processor time on the unchanged tree."""


class Reached:
    """The lines that the tests of a tree run.

    tree: the copy that the tests run in; folder: where maps are kept; run: runs pytest in a child
    of its own with arguments and plugins.
    """

    def __init__(
        self, tree: Path, folder: Path, run: Callable[[list[str], list[object]], object]
    ) -> None:
        self._tree, self._folder, self._run = tree, folder, run
        folder.mkdir(parents=True, exist_ok=True)

    def tests(self, file: str, mutant: Mutant, chosen: list[str]) -> list[Reaching]:
        """Return the tests of a file that run the mutant's statement and pass without the mutant.

        chosen: pytest's arguments that leave tests out.
        """
        known = self._map(file, chosen)
        text = known["texts"].get(mutant.module)
        if text is None:
            return []
        first, last = mutant.statement
        shift = _shift(self._text(text), mutant)
        lines = set(range(first + shift, last + shift + 1))
        return [
            Reaching(name, test["seconds"])
            for name, test in known["tests"].items()
            if lines & set(test["lines"].get(mutant.module, ()))
        ]

    def _map(self, file: str, chosen: list[str]) -> dict[str, Any]:
        digest = hashlib.sha256((self._tree / file).read_bytes()).hexdigest()[:16]
        stored = self._folder / f"{file.replace('/', '.')}.{digest}.json"
        if not stored.exists():
            part = stored.with_suffix(".part")
            self._run([*chosen, file], [Recorder(self._tree, part)])
            known = json.loads(part.read_text()) if part.exists() else {"modules": [], "tests": {}}
            known["texts"] = {module: self._keep(module) for module in known["modules"]}
            stored.write_text(json.dumps(known))
            part.unlink(missing_ok=True)
        return dict(json.loads(stored.read_text()))

    def _keep(self, module: str) -> str:
        text = (self._tree / module).read_bytes()
        digest = hashlib.sha256(text).hexdigest()[:16]
        (self._folder / f"{digest}.txt").write_bytes(text)
        return digest

    def _text(self, digest: str) -> str:
        return (self._folder / f"{digest}.txt").read_text()


def _shift(then: str, mutant: Mutant) -> int:
    """How far the mutant's line has moved since: to the nearest line of the same text."""
    if then == mutant.text:
        return 0
    places = [n for n, line in enumerate(then.splitlines(), 1) if line.strip() == mutant.before]
    return min((place - mutant.line for place in places), key=abs, default=0)


class Recorder:
    """A plugin of pytest: writes which lines of the tree each test runs."""

    def __init__(self, tree: Path, target: Path) -> None:
        from coverage import Coverage

        self._tree, self._target = tree.resolve(), target
        sources = [str(self._tree / name) for name in ("k3dn", "synth", "pipelines", "tune")]
        self._coverage = Coverage(data_file=None, source=sources, config_file=False)
        self._seconds: dict[str, float] = {}
        self._passed: set[str] = set()
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        self._coverage.switch_context(item.nodeid)
        started_s = time.process_time()
        result = yield
        self._seconds[item.nodeid] = round(time.process_time() - started_s, 2)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        modules = {file: str(Path(file).relative_to(self._tree)) for file in data.measured_files()}
        for file, module in modules.items():
            for line, tests in data.contexts_by_lineno(file).items():
                for test in tests:
                    lines[test][module].append(line)
        tests = {
            name: {"seconds": seconds, "lines": lines[name]}
            for name, seconds in self._seconds.items()
            if name in self._passed
        }
        partial = self._target.with_suffix(".writing")
        partial.write_text(json.dumps({"modules": sorted(modules.values()), "tests": tests}))
        partial.replace(self._target)
