"""Fixtures of the tests of training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.training.config import TrainConfig
from tests.pipelines.training.versions import write_small_datasets

NETWORKS = "tests.pipelines.training.networks"


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., TrainConfig]:
    """Configurations of short runs of the tiny network on two small datasets."""
    root = str(tmp_path / "data")
    datasets = write_small_datasets(root)
    base = TrainConfig(
        root=root,
        datasets=datasets,
        model=f"{NETWORKS}:tiny",
        steps=14,
        patch=32,
        batch_size=4,
        lr=3e-3,
        warmup_steps=3,
        log_every=2,
        checkpoint_every=5,
        val_every=8,
    )

    def make(**changes: Any) -> TrainConfig:
        return replace(base, **changes)

    return make
