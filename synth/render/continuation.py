"""Smooth continuation of what is known of planes, as `synth.extend` does it, on any device."""

import torch
from torch import Tensor


def continue_known(weighted: Tensor, confidence: Tensor) -> Tensor:
    """Fill planes where confidence is below 1 from their surroundings (pull-push).

    weighted: (N, P, H, W), values times confidence. confidence: (N, 1, H, W) in [0, 1]: 1 keeps the
    value, 0 takes the surroundings', in between mixes. Planes become 0 where nothing is known.
    """
    height, width = weighted.shape[-2:]
    if height == 1 and width == 1:
        return weighted / confidence.clamp(min=1e-12)
    # Sums, not means, capped at 1: one known pixel is enough to know its neighbourhood.
    sums = _halve(confidence)
    capped = sums.clamp(min=1.0)
    filled = continue_known(_halve(weighted) / capped, sums / capped)
    fine = _double(_double(filled, -1, width), -2, height)
    return torch.addcmul(weighted, fine, 1.0 - confidence)


def _halve(planes: Tensor) -> Tensor:
    """Sums over 2 x 2 pixels; nothing lies beyond an odd side."""
    height, width = planes.shape[-2:]
    rows = planes[..., 0::2, :].clone() if height % 2 else planes[..., 0::2, :]
    if height % 2:
        rows[..., :-1, :] += planes[..., 1::2, :]
    else:
        rows = rows + planes[..., 1::2, :]
    if width % 2:
        sums = rows[..., 0::2].clone()
        sums[..., :-1] += rows[..., 1::2]
        return sums
    return rows[..., 0::2] + rows[..., 1::2]


def _double(coarse: Tensor, axis: int, length: int) -> Tensor:
    """Interpolate linearly between pixels of twice the side; beyond the ends the last goes on."""
    shape = list(coarse.shape)
    count, shape[axis] = shape[axis], 2 * shape[axis]
    fine = coarse.new_empty(shape)
    even, odd = (_every_second(fine, axis, start) for start in (0, 1))
    # A fine pixel lies a quarter of a coarse one off its middle, before it or after it.
    inner = count - 1
    main = coarse * 0.75
    before, after = coarse.narrow(axis, 0, inner), coarse.narrow(axis, 1, inner)
    torch.add(main.narrow(axis, 1, inner), before, alpha=0.25, out=even.narrow(axis, 1, inner))
    torch.add(main.narrow(axis, 0, inner), after, alpha=0.25, out=odd.narrow(axis, 0, inner))
    even.narrow(axis, 0, 1).copy_(coarse.narrow(axis, 0, 1))
    odd.narrow(axis, inner, 1).copy_(coarse.narrow(axis, inner, 1))
    return fine.narrow(axis, 0, length)


def _every_second(planes: Tensor, axis: int, start: int) -> Tensor:
    return planes[..., start::2, :] if axis == -2 else planes[..., start::2]
