"""From linear light to stored values: the sRGB curve, and the contrast that cameras add to it."""

from torch import Tensor

_LINEAR_TO = 0.0031308
_STRAIGHT_TO = 0.04045


def srgb_to_linear(srgb: Tensor) -> Tensor:
    """Decode sRGB values in [0, 1] (IEC 61966-2-1). Any shape."""
    # The straight piece and the curve are added, each held where the other one begins, as choosing
    # between two finished pictures takes longer than making them.
    base = (srgb.clamp_min(_STRAIGHT_TO) + 0.055) / 1.055
    straight = srgb.clamp_max(_STRAIGHT_TO) / 12.92
    return base.log_().mul_(2.4).exp_().add_(straight).sub_(_LINEAR_TO)


def encode(linear: Tensor, contrast: Tensor) -> Tensor:
    """Encode linear light as sRGB and bend it: y + contrast (3 y^2 - 2 y^3 - y).

    linear: (B, ...). contrast: (B,), from -1 to 1; above 0 the middle grows steeper, and shadows
    and highlights flatter, as by a camera's picture style. Black, middle grey and white stay.
    Clipped to [0, 1] before. Returns the shape of linear.
    """
    curve = linear.clamp(_LINEAR_TO, 1.0).log_().mul_(1.0 / 2.4).exp_().mul_(1.055)
    straight = linear.clamp(0.0, _LINEAR_TO).mul_(12.92)
    y = curve.add_(straight).sub_(0.055 + _STRAIGHT_TO)
    if contrast.device.type == "cpu" and not contrast.any():  # to ask a GPU would wait for it
        return y
    bend = contrast.reshape(-1, *(1,) * (linear.dim() - 1))
    return ((3.0 - 2.0 * y).mul_(y).sub_(1.0).mul_(y)).mul_(bend).add_(y)
