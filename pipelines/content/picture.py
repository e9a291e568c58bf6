"""What one picture shows by itself: nothing, a part that is missing, fewer bits than it has."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.content.findings import Finding

_NOTHING = 0.0015
"""Standard deviation of grey in [0, 1] at 64 px, where noise is averaged away."""
_DARK = 4 / 255
_BLOCK_PX = 16
_MISSING = 0.08
"""Share of the blocks."""
_STRUCTURE = 3 / 255
"""Standard deviation within a block that is not even."""


def of_light(role: str, picture: NDArray[Any], grey: NDArray[np.float32]) -> list[Finding]:
    """Tell of a picture of one value, or of none that is bright.

    grey: the picture as ``small_grey`` has it.
    """
    level = float(grey.mean())
    if float(grey.std()) < _NOTHING:
        word = "black" if level < _DARK else "white" if level > 1 - _DARK else "of one value"
        text = f"the {role} picture shows nothing: it is {word} ({255 * level:.0f} of 255)"
        return [Finding("constant", text, level, fault=True)]
    high = float(np.quantile(picture[::4, ::4], 0.999)) / np.iinfo(picture.dtype).max
    if high < 2 * _DARK:
        text = f"the {role} picture is nearly black: 99.9% of it below {255 * high:.1f} of 255"
        return [Finding("dark", text, high)]
    return []


def of_missing_parts(pictures: Mapping[str, NDArray[Any]]) -> list[Finding]:
    """Tell of a picture that is even, to the bit, where another one of its pair has structure."""
    sizes = {picture.shape for picture in pictures.values()}
    if len(sizes) != 1 or min(next(iter(sizes))[:2]) < 4 * _BLOCK_PX:
        return []
    even, structure = {}, {}
    for role, picture in pictures.items():
        blocks = _blocks(picture)
        lowest, highest = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3))
        # White at its end is light that was too much for the sensor.
        even[role] = (lowest == highest) & (highest < np.iinfo(picture.dtype).max)
        structure[role] = (
            blocks.std(axis=(1, 3), dtype=np.float32) > _STRUCTURE * np.iinfo(picture.dtype).max
        )
    findings = []
    for role in pictures:
        others = [structure[other] for other in pictures if other != role]
        if not others:
            continue
        share = float((even[role] & np.any(others, axis=0)).mean())
        if share > _MISSING:
            text = f"{share:.0%} of the {role} picture is missing: even where others show detail"
            findings.append(Finding("missing", text, share, fault=True))
    return findings


def _blocks(picture: NDArray[Any]) -> NDArray[Any]:
    """Return the green of a picture as ``(rows, 16, columns, 16)``."""
    rows, columns = (n // _BLOCK_PX for n in picture.shape[:2])
    cut = picture[: rows * _BLOCK_PX, : columns * _BLOCK_PX, 1]
    return cut.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX)


def real_bits(picture: NDArray[Any]) -> int:
    """Return how many bits the samples of a 16-bit picture really have; 8 for one of 8 bit.

    16 where no bit is the same in all, or follows from others. Fewer bits may be stored with zeros
    below, or repeated below (8 bit times 257), or at the lower end (a raw's 12 bit as they are).
    """
    if picture.dtype == np.uint8:
        return 8
    samples = np.ascontiguousarray(picture[::2, ::2]).ravel()
    for bits in range(8, 16):
        rest = 16 - bits
        below = samples & np.uint16((1 << rest) - 1)
        if np.all(below == below[0]) or (
            rest <= bits and np.array_equal(below, samples >> np.uint16(16 - rest))
        ):
            return bits
    return 16


def of_depth(pictures: Mapping[str, NDArray[Any]]) -> list[Finding]:
    """Tell of 16-bit pictures that hold values of 8 bit, or of a raw file's 10 to 14."""
    findings = []
    for role, picture in pictures.items():
        if picture.dtype != np.uint16:
            continue
        most = int(picture.max())
        if 0 < most < 1 << 14:
            text = f"the values of the {role} picture end at {most} of 65535, as a raw file's do"
            findings.append(Finding("depth", text, float(most)))
        elif real_bits(picture) == 8:
            text = f"the {role} picture has values of 8 bit in 16"
            findings.append(Finding("depth", text, 8.0))
    return findings
