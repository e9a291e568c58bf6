"""``k3dn.deblur``: with a network of the caller's, or with the weights in the box."""

import functools
from collections.abc import Callable
from typing import TypedDict, Unpack, overload

import torch
from torch import nn

from k3dn import box, tiling
from k3dn.inference import Precision
from k3dn.tiling import Image


class Settings(TypedDict, total=False):
    """How ``k3dn.deblur`` computes; ``k3dn.tiling.deblur`` says what each means."""

    tile_px: int | None
    halo_px: int
    precision: Precision
    memory_mib: int
    scales: int
    passes: int
    progress: Callable[[int, int], None] | None


@overload
def deblur(
    model: nn.Module, left: Image, right: Image | None = None, **settings: Unpack[Settings]
) -> Image: ...


@overload
def deblur(
    left: Image, right: Image, /, *, weights: str | None = None, **settings: Unpack[Settings]
) -> Image: ...


@overload
def deblur(
    *, left: Image, right: Image, weights: str | None = None, **settings: Unpack[Settings]
) -> Image: ...


def deblur(
    model: nn.Module | Image | None = None,
    left: Image | None = None,
    right: Image | None = None,
    *,
    weights: str | None = None,
    **settings: Unpack[Settings],
) -> Image:
    """Restore a dual-pixel pair: ``sharp = k3dn.deblur(left, right)``.

    left, right: the two views, ``(H, W, 3)`` sRGB, uint8, uint16, or float32 in [0, 1], parallax
    horizontal, at least 16 x 16 px; the answer has their size and type.
    weights: a name in the box, such as ``nano``; none: ``k3dn.box.choose`` takes one by size and
    device. They are read once a process and run on a GPU where there is one.
    With a network of one's own it is ``k3dn.deblur(model, left, right)``, on the device that the
    network is on; one for single pictures takes ``left`` alone.
    tile_px, halo_px, precision, memory_mib, scales, passes, progress: as in ``k3dn.tiling.deblur``.
    Raises ValueError for views that are not a pair, for a setting out of range, and for a name that
    the box does not hold.
    """
    if isinstance(model, nn.Module):
        if left is None or weights is not None:
            raise ValueError("deblur(model, left, right) takes pictures, and no weights beside it")
        return tiling.deblur(model, left, right, **settings)
    views = [view for view in (model, left, right) if view is not None]
    if len(views) != 2:
        raise ValueError(
            f"deblur takes a left and a right view, got {len(views)} pictures; a single one needs "
            "a model for single pictures: deblur(model, picture)"
        )
    tiling.check_arrays(views)
    if views[0].ndim != 3:
        raise ValueError(f"views must be (H, W, 3), got {views[0].shape}")
    height, width = views[0].shape[:2]
    device = box.best_device()
    name = weights or box.choose(height, width, device)
    network = _network(box.entry(name).name, box.entry(name).sha256, device)
    return tiling.deblur(network, *views, **settings)


@functools.lru_cache(maxsize=2)
def _network(name: str, sha256: str, device: torch.device) -> nn.Module:
    """sha256: other weights installed under the name are another network."""
    return box.load(name).to(device)
