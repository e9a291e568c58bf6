"""What a picture is that a caller gives: checked before anything is computed of it."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

_PEAKS: dict[np.dtype[Any], float] = {
    **{np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0},
    **{np.dtype(kind): 1.0 for kind in (np.float16, np.float32, np.float64)},
}
"""The value of white, by type."""
_BEYOND = 1e-3
"""By so much floating point may leave [0, 1]: what rounding does, and no other range of values."""
_WAYS = {
    "torch.Tensor": "view.permute(1, 2, 0).cpu().numpy() of a (3, H, W) tensor",
    "PIL": "numpy.asarray(picture.convert('RGB'))",
    "str": "names of files are for the command: k3dn deblur LEFT RIGHT",
    "pathlib": "names of files are for the command: k3dn deblur LEFT RIGHT",
}
"""How an array comes of what is given instead, by the class's name or module."""


def check_views(views: Sequence[Image]) -> float:
    """Return the value of white of views ``(H, W, 3)`` of one size and type.

    uint8 and uint16 reach from 0 to their largest value; floating point from 0 to 1, and up to
    0.001 beyond either end, which rounding may bring and the answer does not have. Raises
    ValueError for what is no numpy array or no picture, and for views that do not fit each other.
    """
    for view in views:
        if not isinstance(view, np.ndarray):
            raise ValueError(_no_array(view))
    first = views[0]
    if any(view.shape != first.shape or view.dtype != first.dtype for view in views):
        raise ValueError(
            "left and right must have one size and type, got "
            + " and ".join(f"{view.shape} {view.dtype}" for view in views)
        )
    if first.ndim != 3 or first.shape[2] != 3:
        raise ValueError(f"views must be (H, W, 3), got {first.shape}")
    if not first.size:
        raise ValueError(f"views must have pixels, got {first.shape}")
    if first.dtype not in _PEAKS:
        native = first.dtype.newbyteorder("=")
        way = f"; .astype({native.name!r}) makes them so" if native in _PEAKS else ""
        raise ValueError(
            "views must be uint8, uint16 or floating point of up to 64 bit, in this machine's byte "
            f"order, got {first.dtype}{way}"
        )
    if first.dtype.kind == "f":
        names = ("left", "right") if len(views) == 2 else ("the picture",)
        for name, view in zip(names, views, strict=True):
            _check_range(name, view)
    return _PEAKS[first.dtype]


def check_number(name: str, value: object) -> None:
    """Raise TypeError for a setting that is no whole number, such as a text; bool is none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r} ({type(value).__name__})")


def _check_range(name: str, view: Image) -> None:
    low, high = float(view.min()), float(view.max())
    if np.isnan(low) or np.isnan(high):
        raise ValueError(f"{name} has NaN; values must be in [0, 1]")
    if low < -_BEYOND or high > 1 + _BEYOND:
        white = next((white for white in (255, 65535) if 1 + _BEYOND < high <= white), None)
        hint = f"; divide them by {white}" if low >= 0 and white else ""
        raise ValueError(
            f"floating-point views must be in [0, 1], got {low:.6g} to {high:.6g}{hint}, clip "
            "them, or give uint8 or uint16"
        )


def _no_array(view: object) -> str:
    kind = type(view)
    full = f"{kind.__module__}.{kind.__qualname__}"
    way = next((way for name, way in _WAYS.items() if name in (full, *full.split("."))), None)
    return f"views must be numpy arrays (H, W, 3), got {kind.__name__}; " + (
        way or "numpy.asarray makes one"
    )
