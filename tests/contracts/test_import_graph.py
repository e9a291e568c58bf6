"""Imports have no circle, and no two rooms need each other."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("k3dn", "synth", "pipelines", "tune")


def module_files(repository: Path) -> dict[str, Path]:
    """Every module of the packages, by dotted name."""
    files = {}
    for package in PACKAGES:
        for file in (repository / package).rglob("*.py"):
            parts = file.relative_to(repository).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


@cache
def import_graph(repository: Path) -> dict[str, set[str]]:
    """The modules that each module imports anywhere in it, inside functions too."""
    files = module_files(repository)
    graph = {}
    for name, file in files.items():
        found = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    below = f"{node.module}.{alias.name}"
                    found.add(below if below in files else node.module)
        graph[name] = (found & files.keys()) - {name}
    return graph


def room_of(module: str) -> str:
    """The folder that a module lies in: a package, or one below pipelines."""
    parts = module.split(".")
    inside = parts[0] == "pipelines" and (REPOSITORY / "/".join(parts[:2])).is_dir()
    return ".".join(parts[:2]) if inside else parts[0]


def check_no_circle(graph: dict[str, set[str]]) -> None:
    tuple(TopologicalSorter(graph).static_order())


def two_way(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Pairs of rooms that import each other; what lies in pipelines itself is below all rooms."""
    arrows = {(room_of(module), room_of(other)) for module in graph for other in graph[module]}
    rooms = {(a, b) for a, b in arrows if a != b and "pipelines" not in (a, b)}
    return {(a, b) for a, b in rooms if (b, a) in rooms and a < b}


def test_no_module_imports_itself_in_the_end() -> None:
    check_no_circle(import_graph(REPOSITORY))


def test_no_two_rooms_need_each_other() -> None:
    assert two_way(import_graph(REPOSITORY)) == set()


def test_the_checks_can_fail() -> None:
    graph = {name: set(used) for name, used in import_graph(REPOSITORY).items()}
    assert "synth.pictures.picture" in graph["synth.pictures.decode"]
    assert "pipelines.synthesis.preset_values" in graph["pipelines.synthesis.config"]  # late
    graph["pipelines.dataset.record"].add("pipelines.making.plan")
    assert two_way(graph) == {("pipelines.dataset", "pipelines.making")}
    with pytest.raises(CycleError):
        check_no_circle(graph)
