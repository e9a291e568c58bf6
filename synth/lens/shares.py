"""How light that falls between pixels is shared among them, so that blur is quadratic in focus.

A kernel on the pixel grid moves a picture by its centroid and blurs it by its second moment. Split
linearly between two pixels, light at x adds |x| (1 - |x|) to the second moment: a lens of radius r
then blurs by r where it should by r^2, and 5% of the light leave the pixel at r = 0.05 px. Shares
by cubic convolution (Keys, "Cubic convolution interpolation for digital image processing", IEEE
TASSP 29, 1981, a = -1/2) reproduce quadratics: sum, centroid and second moment of a kernel on the
grid are those of the light itself, at any radius. The price are small negative shares, which a
shift by a part of a pixel cannot do without.
"""

import torch
from torch import Tensor

REACH_PX = 2.0
"""Pixels gather light that is less than this away."""


def pixel_shares(places_px: Tensor, half_px: int) -> Tensor:
    """Shares that pixels gather of light at given places.

    places_px: (..., n), from the middle pixel. half_px: pixels -half_px to half_px are there.
    Returns (..., 2 half_px + 1, n). Each column sums to 1 and has the centroid and the second
    moment of its light, where light lies no farther out than half_px - 1.
    """
    pixels = torch.arange(-half_px, half_px + 1, dtype=places_px.dtype, device=places_px.device)
    distance = (places_px.unsqueeze(-2) - pixels[:, None]).abs()
    inner = (1.5 * distance - 2.5) * distance * distance + 1.0
    outer = ((2.5 - 0.5 * distance) * distance - 4.0) * distance + 2.0
    return torch.where(distance < 1.0, inner, outer).where(distance < REACH_PX, 0.0)
