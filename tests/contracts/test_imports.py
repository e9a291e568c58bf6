"""Who may import whom, and what an import may bring with it."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.steps import STEPS

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("k3dn", "synth", "pipelines", "tune")
HEAVY = ("ray", "mlflow", "torch", "numpy", "pyarrow", "fsspec", "s3fs", "pandas", "cv2")
SERVICES = ("ray", "mlflow", "s3fs", "fsspec", "pyarrow", "pydantic", "albumentations")


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after running ``statement``."""
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


def imports_of(file: Path) -> Iterator[str]:
    """The absolute modules that a file imports anywhere in it, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import k3dn", (*SERVICES, "synth", "pipelines", "tune", "cv2", "skimage")),
        ("import synth", (*SERVICES, "torch", "k3dn", "pipelines", "tune", "cv2", "skimage")),
        ("import synth.choices, synth.shot_ranges", HEAVY),
        ("import synth.pair, synth.presets", (*SERVICES, "torch", "cv2", "skimage")),
        ("import synth.sources.places, synth.sources.nyu", ("torch", "cv2", "skimage", "h5py")),
        ("import synth.pictures", (*SERVICES, "torch", "k3dn", "pipelines", "tune")),
        # what a reader of a training has: its start is waited for
        ("import pipelines.training.reader as r; r.Augmentation(32)", ("torch", "ray", "mlflow")),
        ("import pipelines.cli", HEAVY),
        ("import pipelines.config_loader", HEAVY),
    ],
)
def test_an_import_brings_nothing_heavy(statement: str, forbidden: tuple[str, ...]) -> None:
    assert modules_after(statement).isdisjoint(forbidden)


def test_the_configuration_of_every_step_is_read_without_the_step() -> None:
    modules = {step.config.partition(":")[0] for step in STEPS.values()}
    statement = "; ".join(f"import {module}" for module in sorted(modules))
    assert modules_after(statement).isdisjoint(HEAVY)


def test_the_import_check_can_fail() -> None:
    """The check sees what a module brings, late and indirect imports as well."""
    assert "sqlite3" in modules_after("import sqlite3.dbapi2")
    assert "numpy" in modules_after("def load():\n import numpy.linalg\nload()")


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("k3dn", {"synth", "pipelines", "tune", "ray", "mlflow", "fsspec", "pydantic"}),
        ("synth", {"k3dn", "pipelines", "tune", "ray", "mlflow", "fsspec", "pydantic"}),
        ("pipelines", {"tune"}),
    ],
)
def test_imports_run_downward_only(room: str, forbidden: set[str]) -> None:
    wrong = [
        f"{file.relative_to(REPOSITORY)} imports {module}"
        for file in sorted((REPOSITORY / room).rglob("*.py"))
        for module in imports_of(file)
        if module.split(".")[0] in forbidden
    ]
    assert wrong == []


def test_every_package_is_in_the_wheel() -> None:
    """A folder that pyproject.toml forgets works from the checkout and is lost in a wheel."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    there = {
        ".".join(file.parent.relative_to(REPOSITORY).parts)
        for room in ROOMS
        for file in (REPOSITORY / room).rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == there
    patterns = project["tool"]["setuptools"]["package-data"]
    left_out = [
        str(file)
        for room in ROOMS
        for file in (REPOSITORY / room).rglob("*")
        if file.is_file()
        and file.suffix not in (".py", ".pyc")
        and not any(
            file.match(pattern)
            for pattern in patterns.get(".".join(file.parent.relative_to(REPOSITORY).parts), [])
        )
    ]
    assert left_out == []


def test_what_synth_offers_is_there() -> None:
    import synth

    assert set(synth.__all__) == set(synth._MODULES)
    # A module of the same name would be found in place of what it holds, once it is imported.
    assert not {name for name in synth.__all__ if (REPOSITORY / "synth" / f"{name}.py").exists()}
    assert all(getattr(synth, name) is not None for name in synth.__all__)
    with pytest.raises(AttributeError, match="no attribute 'render'"):
        synth.__getattr__("render")


def test_the_network_needs_little() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    names = {line.split(">")[0].split("=")[0] for line in project["project"]["dependencies"]}
    assert names == {"torch", "numpy", "safetensors"}


def test_constraints_are_exact_and_without_local_versions() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 100
    assert [pin for pin in pins if "==" not in pin or "+" in pin] == []
