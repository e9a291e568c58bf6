"""A pack small enough that its pairs are made in no time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.training.config import TrainConfig
from pipelines.training.live.config import LiveConfig, LiveOpticsConfig
from pipelines.training.live.pack import PackedScene, pack_bytes
from tests.pipelines.training.conftest import NETWORKS

SMALL = LiveConfig(made=0.0, optics=LiveOpticsConfig(frame_width=200))
"""Blur of a few pixels, as pictures are so small."""


def packed(name: str, split: str, seed: int, *, depth: bool = True) -> PackedScene:
    """Large flat squares, in two depths where it has any."""
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    depth_mm = np.full((48, 64), 2000, np.uint16)
    depth_mm[12:36, 16:48] = 1200
    return PackedScene(name, split, image, depth_mm if depth else None)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Two scenes and a photograph to train on, and one of each to validate with."""
    pictures = [
        packed("first", "train", 1),
        packed("second", "train", 2),
        packed("held", "val", 3),
        packed("wood", "train", 4, depth=False),
        packed("stone", "val", 5, depth=False),
    ]
    path = tmp_path / "pack"
    path.write_bytes(pack_bytes(pictures))
    return path


@pytest.fixture
def live(pack: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Configurations of short runs on pairs that are made while training."""
    base = TrainConfig(
        root=str(tmp_path / "data"),
        datasets=[f"synth://{pack}"],
        model=f"{NETWORKS}:tiny",
        live=SMALL,
        pair_workers=0,
        steps=8,
        patch=32,
        batch_size=3,
        num_workers=1,
        lr=3e-3,
        warmup_steps=2,
        log_every=2,
        checkpoint_every=3,
        val_every=100,
        max_val_pairs=0,
    )

    def make(**changes: Any) -> TrainConfig:
        return replace(base, **changes)

    return make
