"""Augmentation that dual-pixel geometry allows.

The disparity axis is horizontal: a vertical flip is free, a horizontal flip also swaps the views,
and turns by 90 degrees and transposes are not allowed. Views that change places without a flip
show near for far. albumentations is used in this file only.
"""

import random
import sys
from types import ModuleType
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.images import Pixels
from pipelines.dataset.packed import Region
from pipelines.environment import prepare_environment


class Patch(NamedTuple):
    """A pair, or a training sample cut from one."""

    left: Pixels
    """``(H, W, 3)`` sRGB, uint8 or uint16, as right and target."""
    right: Pixels
    target: Pixels
    coc: NDArray[np.float16] | None = None
    """``(H, W)`` signed blur radius in px, positive nearer than focus, NaN where not known; None
    where nobody asked."""


class Augmentation:
    """Cut a square patch at random, flip it at random, and exchange its views at random.

    patch_px: its side; smaller pictures are continued by their border. Not by reflection: that
    mirrors each view without swapping them, which turns far into near.
    exchange_views: probability that left and right change places without a flip, which turns near
    into far and far into near. Exact for kernels that mirror each other (K_L = flip(K_R)); where
    near and far meet, a real camera would hide and show other things.
    recolour: probability that the pictures of a patch change their channels alike: half of those
    turn grey, half get their channels in another order.
    same_views: probability that both views of a patch are one picture, which is also the target:
    half of those its sharp target, half its left view. What is sharp comes back as it is, and blur
    that no disparity tells of stays.
    noise: greatest standard deviation, of values in [0, 1], of noise that half of all patches get,
    each view its own. It lies in sRGB values; every second time neighbouring pixels share it, as
    after demosaicing. The target stays clean. Views that are one picture share one noise, and
    have it in their target too: what both views show is the picture, grain or dither.
    """

    def __init__(
        self,
        patch_px: int,
        exchange_views: float = 0.0,
        *,
        recolour: float = 0.0,
        same_views: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        import cv2

        albumentations = _albumentations()
        self._exchange_views, self._same_views = exchange_views, same_views
        self._noise = noise
        # Grey or shuffled, each with half of the probability; the second is asked after the first.
        colours = [
            albumentations.ToGray(p=recolour / 2),
            albumentations.ChannelShuffle(p=recolour / (2 - recolour)),
        ]
        crop = albumentations.RandomCrop(
            patch_px, patch_px, pad_if_needed=True, border_mode=cv2.BORDER_REPLICATE, p=1.0
        )
        self._crop = albumentations.ReplayCompose([crop])
        self._pipeline = albumentations.ReplayCompose(
            [
                crop,
                albumentations.HorizontalFlip(p=0.5),
                albumentations.VerticalFlip(p=0.5),
                *(colours if recolour else ()),
            ],
            additional_targets={"right": "image", "target": "image"},
        )

    def region(self, height: int, width: int, *, seed: int) -> Region:
        """Return the part of a picture that ``__call__`` looks at: of it alone it makes the same.

        The crop is the first to be drawn, and draws the same numbers whatever the size; of a
        picture of the patch's size it takes all.
        """
        self._crop.set_random_state(np.random.default_rng(seed), random.Random(seed))
        nothing = np.broadcast_to(np.uint8(0), (height, width, 1))
        drawn = self._crop(image=nothing)["replay"]["transforms"][0]["params"]
        left, top, right, bottom = drawn["crop_coords"]
        pad = drawn["pad_params"] or {"pad_top": 0, "pad_left": 0}
        return Region(
            max(top - pad["pad_top"], 0),
            min(bottom - pad["pad_top"], height),
            max(left - pad["pad_left"], 0),
            min(right - pad["pad_left"], width),
        )

    def __call__(
        self,
        left: Pixels,
        right: Pixels,
        target: Pixels,
        coc: NDArray[np.float16] | None = None,
        *,
        seed: int,
    ) -> Patch:
        """Return the patch that a seed gives; values and bit depth stay as they are.

        coc goes with the pictures and changes its sign where the views are exchanged.
        """
        # Not set_random_seed: it gives every transform the same numbers, so that a picture is
        # flipped in both directions or in none.
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        # OpenCV continues no float16; float32 holds each of its values.
        mask = {} if coc is None else {"mask": coc.astype(np.float32)}
        done = self._pipeline(image=left, right=right, target=target, **mask)
        left, right = done["image"], done["right"]
        if coc is not None:
            coc = done["mask"].astype(np.float16)
        if _was_flipped_horizontally(done["replay"]):
            left, right = right, left  # near stays near
        # Numbers of its own, so that crops and flips do not depend on it.
        if np.random.default_rng((seed, 1)).random() < self._exchange_views:
            left, right = right, left
            coc = None if coc is None else -coc
        return self._made_same(Patch(left, right, done["target"], coc), seed)

    def _made_same(self, patch: Patch, seed: int) -> Patch:
        drawn = np.random.default_rng((seed, 2)).random()
        if drawn >= self._same_views:
            return self._made_noisy(patch, seed)
        sharp = drawn < self._same_views / 2
        picture = patch.target if sharp else patch.left
        rng = np.random.default_rng((seed, 3))
        strength, shared = self._drawn_noise(rng)
        if strength:
            picture = _noisy(picture, strength, shared, rng)
        coc = patch.coc
        if coc is not None:
            coc = np.full_like(coc, 0.0 if sharp else np.nan)
        return Patch(picture, picture, picture, coc)

    def _made_noisy(self, patch: Patch, seed: int) -> Patch:
        rng = np.random.default_rng((seed, 3))
        strength, shared = self._drawn_noise(rng)
        if not strength:
            return patch
        left, right = (_noisy(view, strength, shared, rng) for view in (patch.left, patch.right))
        return Patch(left, right, patch.target, patch.coc)

    def _drawn_noise(self, rng: np.random.Generator) -> tuple[float, bool]:
        strength = self._noise * max(2.0 * rng.random() - 1.0, 0.0)
        return strength, bool(rng.random() < 0.5)


def _noisy(view: Pixels, strength: float, shared: bool, rng: np.random.Generator) -> Pixels:
    """Add noise of a standard deviation. shared: each pixel's reaches its neighbours."""
    noise = rng.standard_normal(view.shape, np.float32)
    if shared:
        for axis in (0, 1):
            noise = 2.0 * noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
        noise /= 6.0  # the root of 4 + 1 + 1, the squared weights, for each axis
    white = np.iinfo(view.dtype).max
    noisy = np.rint(view + np.float32(strength * white) * noise).clip(0, white)
    return noisy.astype(np.uint8) if view.dtype == np.uint8 else noisy.astype(np.uint16)


def _was_flipped_horizontally(replay: dict[str, Any]) -> bool:
    return any(
        step["applied"] and step["__class_fullname__"].endswith("HorizontalFlip")
        for step in replay["transforms"]
    )


def _albumentations() -> ModuleType:
    """Import it without its part for PyTorch, if that is not there yet.

    A reader has no other use for torch, which would take it two seconds and 200 MB.
    """
    prepare_environment()  # else the import asks the network for a newer version
    part = "albumentations.pytorch"
    left_out = part not in sys.modules
    if left_out:
        sys.modules[part] = None  # type: ignore[assignment]  # so an import of it fails, for now
    try:
        import albumentations
    finally:
        if left_out:
            del sys.modules[part]
    return cast(ModuleType, albumentations)
