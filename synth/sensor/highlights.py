"""Light above white: what a picture clipped was brighter, and blooms once it is blurred."""

from torch import Tensor

_FROM = 0.9
"""sRGB value from which a pixel counts as partly clipped."""


def expand_highlights(srgb: Tensor, linear: Tensor, brightest: Tensor) -> Tensor:
    """Give clipped pixels more light than white.

    srgb, linear: (B, 3, H, W), one picture in both encodings. brightest: (B,), light of what is
    clipped in all three colours, 1 or more (1 leaves the picture as it is). Pixels whose darkest
    colour lies above 0.9 (sRGB) grow smoothly up to that, all colours by one factor, so that hues
    stay. Returns (B, 3, H, W).
    """
    over = ((srgb.amin(dim=1, keepdim=True) - _FROM) / (1.0 - _FROM)).clamp(0.0, 1.0)
    smooth = over * over * (3.0 - 2.0 * over)
    return linear * (smooth * (brightest[:, None, None, None] - 1.0) + 1.0)
