"""Each process imports what it needs and no more."""

import subprocess
import sys

import pytest


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("pipelines.dataset.config", {"numpy", "pyarrow", "torch", "ray", "mlflow", "cv2"}),
        ("pipelines.synthesis.synthetic_pairs", {"ray", "mlflow", "torch", "pydantic"}),
        ("pipelines.ingest.ingest", {"ray", "mlflow", "torch", "pydantic", "scipy"}),
        ("pipelines.dataset.version", {"ray", "mlflow", "torch", "cv2"}),
        ("pipelines.storage", {"ray", "mlflow", "torch", "numpy", "s3fs", "fsspec"}),
    ],
)
def test_nothing_heavy(module: str, unwanted: set[str]) -> None:
    assert not loaded_by(module) & unwanted


def test_the_check_can_fail() -> None:
    assert "pyarrow" in loaded_by("pipelines.dataset.version")
