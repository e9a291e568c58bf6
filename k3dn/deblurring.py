"""``k3dn.deblur``: with a network of the caller's, or with the weights in the box."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack, overload

import torch
from torch import nn

from k3dn import box, tiling
from k3dn.inference import Precision
from k3dn.views import Image, check_views


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
    left: Image, /, *, right: Image, weights: str | None = None, **settings: Unpack[Settings]
) -> Image: ...


@overload
def deblur(
    *, left: Image, right: Image, weights: str | None = None, **settings: Unpack[Settings]
) -> Image: ...


def deblur(
    *given: nn.Module | Image | None,
    model: nn.Module | None = None,
    left: Image | None = None,
    right: Image | None = None,
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
    Pictures by position are left, then right; ``left=`` beside one is refused.
    Raises ValueError for views that are not a pair, floating point out of [0, 1] (beyond what
    rounding does, 0.001), a setting out of range, and a name that the box does not hold; TypeError
    for settings that are no numbers.
    """
    views: list[Any] = list(given)
    if views and isinstance(views[0], nn.Module):
        if model is not None:
            raise ValueError("deblur takes one model, got one by position and one as model=")
        model = views.pop(0)
    if views and left is not None:
        raise ValueError(
            "the first picture by position is the left one, so there is none for left=; give "
            "deblur(left, right), or left= and right="
        )
    if model is not None and ((left is None and not views) or weights is not None):
        raise ValueError("deblur(model, left, right) takes pictures, and no weights beside it")
    if len(views) == 2 and views[1] is None:  # of a caller whose right view may be missing
        views.pop()
    views += [view for view in (left, right) if view is not None]
    if len(views) != 2 and not (model is not None and len(views) == 1):
        raise ValueError(
            f"deblur takes a left and a right view, got {len(views)} pictures; a single one needs "
            "a model for single pictures: deblur(model, picture)"
        )
    if model is not None:
        return tiling.deblur(model, *views, **settings)
    return _by_the_box(views, weights, settings)


def _by_the_box(views: Sequence[Image], weights: str | None, settings: Settings) -> Image:
    check_views(views)
    height, width = views[0].shape[:2]
    device = box.best_device()
    name = weights or box.choose(height, width, device)
    network = _network(box.entry(name).name, box.entry(name).sha256, device)
    return tiling.deblur(network, *views, **settings)


@functools.lru_cache(maxsize=2)
def _network(name: str, sha256: str, device: torch.device) -> nn.Module:
    """sha256: other weights installed under the name are another network."""
    return box.load(name).to(device)
