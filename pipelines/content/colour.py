"""Whether pictures of one scene have its colours: channels exchanged, grey, another balance."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.content.findings import Finding
from pipelines.content.likeness import small

_EXCHANGED = 0.05
"""Distance (RMS, of the mean) from which exchanged channels are looked for."""
_BALANCE = 1.15
_COLOURED = 0.03
"""Distance of a picture from its grey (RMS, of the mean) that makes it one in colour."""


def of_colours(role: str, picture: NDArray[Any], left: NDArray[Any]) -> list[Finding]:
    """Tell of a picture whose colours are not those of the left view; ``(H, W, 3)`` each.

    role: what the picture is, for messages. Both must show the same scene.
    """
    one, other = (small(p) for p in (picture, left))
    one, other = (p / max(float(p.mean()), 1e-6) for p in (one, other))
    found = _of_two(role, one, other)
    return [] if found is None else [found]


def _of_two(role: str, other: NDArray[np.float32], left: NDArray[np.float32]) -> Finding | None:
    apart = _rms(other - left)
    if apart > _EXCHANGED and _rms(other[..., ::-1] - left) < apart / 2:
        text = f"red and blue of the {role} picture are exchanged, beside the left view"
        return Finding("colour", text, apart, fault=True)
    grey, coloured = (_rms(p - p.mean(axis=2, keepdims=True)) for p in (other, left))
    if grey < coloured / 4 and coloured > _COLOURED:
        return Finding("colour", f"the {role} picture is grey, the left view is not", grey)
    balance = other.mean(axis=(0, 1)) / np.maximum(left.mean(axis=(0, 1)), 1e-6)
    ratio = float(balance.max() / max(float(balance.min()), 1e-6))
    if ratio > _BALANCE:
        text = f"the {role} picture has another colour balance than the left view ({ratio:.2f})"
        return Finding("colour", text, ratio)
    return None


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float32))))
