"""Whether two pictures show the same scene, sharp or blurred: by their structure from afar.

A signature is the picture at 64 px, less what is coarser than 5 px of these, each place by its own
contrast. Blur by a hundredth of the width leaves it as it is, brightness and tone nearly so.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Signature = NDArray[np.float32]

SIDE_PX = 64
_COARSE_PX = 5.0
_FLAT = 0.01
"""Contrast, of values in [0, 1], that counts for little."""
_REACH_PX = 3
_HASH_SIDE = 8


def small_grey(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Return a picture ``(H, W, 3)`` of 8 or 16 bit as grey in [0, 1], ``SIDE_PX`` at its longer
    side."""
    return np.asarray(small(picture).mean(axis=2, dtype=np.float32), np.float32)


def small(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Return a picture ``(H, W, 3)`` of 8 or 16 bit in [0, 1], ``SIDE_PX`` at its longer side."""
    import cv2

    height, width = picture.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    white = np.float32(np.iinfo(picture.dtype).max)
    return np.asarray(reduced / white, np.float32)


def signature(grey: NDArray[np.float32]) -> Signature:
    """Return the signature of what ``small_grey`` gives, of its shape."""
    import cv2

    fine = grey - cv2.GaussianBlur(grey, (0, 0), _COARSE_PX)
    contrast = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), _COARSE_PX))
    return np.asarray(fine / (contrast + _FLAT), np.float32)


def likeness(one: Signature, other: Signature, *, in_place: bool = False) -> float:
    """Return the correlation of two signatures, at most 1, where they fit best within 3 px.

    in_place: as they lie. 0 for signatures of other shapes: pictures of other proportions.
    """
    import cv2

    if one.shape != other.shape or min(one.shape) < 3 * _REACH_PX:
        return 0.0
    if in_place:
        return float(cv2.matchTemplate(other, one, cv2.TM_CCOEFF_NORMED).max())
    inner = np.ascontiguousarray(one[_REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX])
    return float(cv2.matchTemplate(other, inner, cv2.TM_CCOEFF_NORMED).max())


def perceptual_hash(grey: NDArray[np.float32]) -> int:
    """Return 64 bits that pictures of one scene have in common (pHash: the signs of the lowest
    frequencies of a cosine transform, beside their median)."""
    import cv2

    side = 4 * _HASH_SIDE
    square = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    low = cv2.dct(square)[:_HASH_SIDE, :_HASH_SIDE].ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def mirrored_hash(hashes: NDArray[np.uint64], *, across: bool, down: bool) -> NDArray[np.uint64]:
    """Return the hashes of mirrored pictures, but for a bit or two.

    across: left and right exchanged; down: top and bottom. Frequencies that are odd along the axis
    change their sign.
    """
    row, column = np.divmod(np.arange(_HASH_SIDE**2), _HASH_SIDE)
    odd = (across & (column % 2 == 1)) ^ (down & (row % 2 == 1))
    return hashes ^ np.uint64(int.from_bytes(np.packbits(odd).tobytes(), "big"))


def nearest_of(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64], *, within: int
) -> list[tuple[int, int]]:
    """Return the pairs of indices whose hashes differ in at most so many bits, in order.

    Looks at each of one list against all of the other: a second for some 10^9 of them.
    """
    found: list[tuple[int, int]] = []
    for index, value in enumerate(hashes):
        apart = np.bitwise_count(others ^ value)
        found += [(index, int(other)) for other in np.flatnonzero(apart <= within)]
    return found
