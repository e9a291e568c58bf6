"""Noise by brightness, told from the flattest places of a picture."""

import numpy as np

from pipelines.compare.light import Floats

BRIGHTNESS = ((0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.9))
"""Ranges of linear light in which noise is told apart."""

_BLOCK_PX = 16
_CELL_PX = 4
_FLATTEST = 0.1
_FEWEST = 5


def noise(light: Floats) -> tuple[float, ...]:
    """Return the standard deviation of the noise in each range of BRIGHTNESS, white is 1.

    light: (H, W), one channel of linear light: a mean of channels would have less noise than they.
    In blocks of 16 px, second differences along rows and columns, in which neither slopes nor bends
    along one axis are left; the median over the tenth of the blocks whose means over 4 px differ
    least, a choice that the noise from pixel to pixel has hardly a part in. NaN where a range has
    fewer than five such blocks. What is correlated over pixels (demosaicing, JPEG) counts less.
    """
    height, width = (side // _BLOCK_PX * _BLOCK_PX for side in light.shape)
    picture = light[:height, :width].astype(np.float64)
    if not picture.size:
        return (float("nan"),) * len(BRIGHTNESS)
    fine = np.zeros_like(picture)
    bend = picture[:-2] - 2.0 * picture[1:-1] + picture[2:]
    fine[1:-1, 1:-1] = bend[:, :-2] - 2.0 * bend[:, 1:-1] + bend[:, 2:]
    inner = np.zeros_like(picture)
    inner[1:-1, 1:-1] = 1.0
    # Coefficients 1 -2 1 by 1 -2 1 add up to 36 times the variance.
    deviation = np.sqrt(_blocks(fine**2).sum((1, 3)) / _blocks(inner).sum((1, 3)) / 36.0)
    cells = picture.reshape(height // _CELL_PX, _CELL_PX, width // _CELL_PX, _CELL_PX).mean((1, 3))
    coarse = _blocks(cells, _BLOCK_PX // _CELL_PX).std((1, 3))
    mean = _blocks(picture).mean((1, 3))
    whole = (_blocks(picture).min((1, 3)) > 0.0) & (_blocks(picture).max((1, 3)) < 1.0)
    found = []
    for low, high in BRIGHTNESS:
        inside = whole & (mean >= low) & (mean < high)
        count = max(int(_FLATTEST * inside.sum()), _FEWEST)
        if inside.sum() < _FEWEST:
            found.append(float("nan"))
            continue
        flattest = np.argsort(coarse[inside], kind="stable")[:count]
        found.append(float(np.median(deviation[inside][flattest])))
    return tuple(found)


def _blocks(picture: np.ndarray, side: int = _BLOCK_PX) -> np.ndarray:
    height, width = picture.shape
    return picture.reshape(height // side, side, width // side, side)
