"""Augmentation that dual-pixel geometry allows.

The disparity axis is horizontal: a vertical flip is free, a horizontal flip also swaps the views,
and turns by 90 degrees and transposes are not allowed. albumentations is used in this file only.
"""

import random
from typing import Any, NamedTuple

import numpy as np

from pipelines.dataset.images import Pixels
from pipelines.environment import prepare_environment


class Patch(NamedTuple):
    """A training sample, each ``(P, P, 3)`` sRGB, uint8 or uint16."""

    left: Pixels
    right: Pixels
    target: Pixels


class Augmentation:
    """Cut a square patch at random and flip it at random.

    patch_px: its side; smaller pictures are continued by their border. Not by reflection: that
    mirrors each view without swapping them, which turns far into near.
    """

    def __init__(self, patch_px: int) -> None:
        prepare_environment()  # else the import asks the network for a newer version
        import albumentations
        import cv2

        self._pipeline = albumentations.ReplayCompose(
            [
                albumentations.RandomCrop(
                    patch_px,
                    patch_px,
                    pad_if_needed=True,
                    border_mode=cv2.BORDER_REPLICATE,
                    p=1.0,
                ),
                albumentations.HorizontalFlip(p=0.5),
                albumentations.VerticalFlip(p=0.5),
            ],
            additional_targets={"right": "image", "target": "image"},
        )

    def __call__(self, left: Pixels, right: Pixels, target: Pixels, *, seed: int) -> Patch:
        """Return the patch that a seed gives; values and bit depth stay as they are."""
        # Not set_random_seed: it gives every transform the same numbers, so that a picture is
        # flipped in both directions or in none.
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        done = self._pipeline(image=left, right=right, target=target)
        left, right = done["image"], done["right"]
        if _was_flipped_horizontally(done["replay"]):
            left, right = right, left
        return Patch(left, right, done["target"])


def _was_flipped_horizontally(replay: dict[str, Any]) -> bool:
    return any(
        step["applied"] and step["__class_fullname__"].endswith("HorizontalFlip")
        for step in replay["transforms"]
    )
