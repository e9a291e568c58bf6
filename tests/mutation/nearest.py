"""Which test files are nearest to a module: by name, then by what they import."""

import ast
from collections import defaultdict, deque
from pathlib import Path

_WHOLE = ("e2e", "infra")
"""Folders of tests that run everything."""


class TestMap:
    """The test files of a tree, and how far each is from a module."""

    def __init__(self, root: Path, packages: tuple[str, ...]) -> None:
        self._root = root
        files = [file for package in packages for file in sorted((root / package).rglob("*.py"))]
        self.modules = {_dotted(file.relative_to(root)): file for file in files}
        self._imports = {name: self._of(file) for name, file in self.modules.items()}
        self.tests = sorted((root / "tests").rglob("test_*.py"))
        self._test_imports = {test: self._of(test) for test in self.tests}

    def nearest(self, module: Path) -> list[str]:
        """Return the test files that have to do with a module, nearest first.

        module: relative to the root.
        """
        name, words = _dotted(module), _words(module)
        away = self._distances(name)
        ranked = []
        for test, imported in self._test_imports.items():
            near = [away[found] for found in imported if found in away]
            named = bool(words) and words <= _words(test)
            if (not near and not named) or test.parts[-2] in _WHOLE:
                continue
            beside = test.parent.name == module.parent.name
            same = module.parts[0] in test.parts
            distance = (min(near) if near else 4) - 2 * named - 0.5 * beside - 1.5 * same
            ranked.append((distance, -len(near), str(test.relative_to(self._root))))
        return [path for _, _, path in sorted(ranked)]

    def _distances(self, name: str) -> dict[str, int]:
        """How many imports lie between each module and ``name``."""
        users: dict[str, set[str]] = defaultdict(set)
        for user, imported in self._imports.items():
            for used in imported:
                users[used].add(user)
        away, queue = {name: 0}, deque([name])
        while queue:
            here = queue.popleft()
            for user in users[here]:
                if user not in away:
                    away[user] = away[here] + 1
                    queue.append(user)
        return away

    def _of(self, file: Path) -> set[str]:
        found = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                head, colon, _ = node.value.partition(":")  # steps name their modules as text
                if colon and head.replace(".", "_").isidentifier():
                    found.add(head)
        return {name for name in found if name in self.modules}


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _words(path: Path) -> set[str]:
    return set(path.stem.removeprefix("test_").split("_")) - {"config", "init", ""}
