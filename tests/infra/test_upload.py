"""What ``ray job submit --working-dir .`` would send, packed by Ray's own code."""

import shutil
import zipfile
from pathlib import Path

from ray._private.runtime_env.packaging import create_package

from tests.infra.manifests import REPOSITORY

LIMIT_BYTES = 5_000_000
WANTED = ("k3dn", "synth", "pipelines", "tune")


def _packed(folder: Path, archive: Path) -> set[str]:
    create_package(str(folder), archive, include_gitignore=True)
    with zipfile.ZipFile(archive) as opened:
        return {name for name in opened.namelist() if not name.endswith("/")}


def test_the_repository_is_sent_small_and_without_what_nodes_do_not_need(tmp_path: Path) -> None:
    names = _packed(REPOSITORY, tmp_path / "sent.zip")
    assert {f"{package}/__init__.py" for package in WANTED} <= names
    assert {name.split("/")[0] for name in names} & {"tests", "infra", "docs", ".git"} == set()
    assert (tmp_path / "sent.zip").stat().st_size < LIMIT_BYTES


def test_data_secrets_and_environments_stay_behind(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in (".gitignore", ".rayignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    kept = ("k3dn/model.py", "pyproject.toml", "my-settings.yaml")
    left = (
        ".env",
        "infra/compose/.env",
        ".venv/bin/python",
        "k3dn-data/synth/v1/split=train/00000.parquet",
        "mlflow.db",
        "weights.safetensors",
        "k3dn/__pycache__/model.pyc",
    )
    for name in (*kept, *left):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    names = _packed(folder, tmp_path / "sent.zip")
    assert set(kept) <= names
    assert names & set(left) == set()
