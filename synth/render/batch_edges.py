"""Pixels on depth edges taken apart, as `synth.edges` does it, for a batch on any device.

What is done and why, and what the numbers mean, is said there.
"""

from typing import Any

import torch
from torch import Tensor

_EDGE_PX = 1.0
_LEAST_SHARE = 0.02
_LEAST_CONTRAST = 1e-4
_BEYOND = 0.2
_BESIDE = 0.3
_MIXED_WEIGHT = 1e-3

COC, LIGHT, SHARE = 0, slice(1, 4), 4
"""Planes of a piece: signed radius, light weighted by the share, share of the pixel."""


def extremes(coc_px: Tensor) -> tuple[Tensor, Tensor]:
    """Greatest and least radius over 3 x 3 pixels of (B, H, W), nothing beyond the borders."""

    def over(values: Tensor, axis: int, choose: Any) -> Tensor:
        length = values.shape[axis]
        result = values.clone()
        here, before = (result.narrow(axis, start, length - 1) for start in (0, 1))
        choose(here, values.narrow(axis, 1, length - 1), out=here)
        choose(before, values.narrow(axis, 0, length - 1), out=before)
        return result

    near, far = (
        over(over(coc_px, 2, choose), 1, choose) for choose in (torch.maximum, torch.minimum)
    )
    return near, far


def whole_pieces(light: Tensor, coc_px: Tensor) -> Tensor:
    """Each pixel as one piece of its own depth, and a second one of no share.

    light: (B, 3, H, W). coc_px: (B, H, W). Returns (B, 2, 5, H, W), see `COC`, `LIGHT`, `SHARE`.
    """
    pieces = light.new_empty(light.shape[0], 2, 5, *coc_px.shape[1:])
    pieces[:, 0, COC] = coc_px
    pieces[:, 0, LIGHT] = light
    pieces[:, 0, SHARE] = 1.0
    pieces[:, 1] = 0.0
    return pieces


def separate_pieces(light: Tensor, coc_px: Tensor, near_most: Tensor, far_most: Tensor) -> Tensor:
    """Split the pixels on depth edges in two, as `synth.edges.separate_edges`.

    near_most, far_most: `extremes`. Returns (B, 2, 5, H, W) as `whole_pieces`; the radius of a
    second piece is 0 where it has no share.
    """
    pieces = whole_pieces(light, coc_px)
    height, width = coc_px.shape[1:]
    mixed = near_most - far_most > _EDGE_PX
    pixel = mixed.flatten().nonzero()[:, 0]
    if pixel.shape[0] == 0:
        return pieces
    planes = [plane.flatten() for plane in light.unbind(1)]
    radius = coc_px.flatten()
    weight = torch.where(mixed, _MIXED_WEIGHT, 1.0).flatten()
    near, far = near_most.flatten()[pixel], far_most.flatten()[pixel]
    middle = 0.5 * (near + far)
    own = torch.stack([plane[pixel] for plane in planes])

    lowest, highest, colours = own.clone(), own.clone(), torch.empty_like(own)
    front, back = torch.zeros_like(own), torch.zeros_like(own)
    front_weight, back_weight = torch.zeros_like(middle), torch.zeros_like(middle)
    row, column = pixel // width % height, pixel % width
    columns = [(column + step).clamp(0, width - 1) - column for step in range(-2, 3)]
    for down in range(-2, 3):
        start = pixel + ((row + down).clamp(0, height - 1) - row) * width
        for across in columns:
            around = start + across
            for plane, result in zip(planes, colours, strict=True):
                torch.index_select(plane, 0, around, out=result)
            torch.minimum(lowest, colours, out=lowest)
            torch.maximum(highest, colours, out=highest)
            before = (radius.index_select(0, around) > middle).to(weight.dtype)
            amount = weight.index_select(0, around)
            before *= amount
            amount -= before
            front.addcmul_(colours, before)
            back.addcmul_(colours, amount)
            front_weight += before
            back_weight += amount
    front /= front_weight
    back /= back_weight

    in_front = radius[pixel] > middle
    contrast = ((front - back) ** 2).sum(0)
    cover = ((own - back) * (front - back)).sum(0) / contrast.clamp(min=_LEAST_CONTRAST)
    beside = ((own - back - cover * (front - back)) ** 2).sum(0)
    mixture = ((cover - 0.5).abs() <= 0.5 + _BEYOND) & (beside <= _BESIDE * contrast)
    other = torch.where(in_front, back, front)
    share = torch.where(in_front, 1.0 - cover.clamp(0.5, 1.0), cover.clamp(0.0, 0.5))
    share = torch.minimum(share, _fitting(own, other, lowest, highest))
    whole = ~mixture | (share < _LEAST_SHARE) | (contrast < _LEAST_CONTRAST)
    share = torch.where(whole, 0.0, share)
    rest = (own - share * other) / (1.0 - share)
    rest = torch.minimum(torch.maximum(rest, lowest), highest)  # of rounding alone

    split = (share > 0.0).nonzero()[:, 0]
    pixel, share, in_front = pixel[split], share[split], in_front[split]
    picture, place = pixel // (height * width), pixel % (height * width)
    flat = pieces.flatten(3)
    flat[picture, 0, SHARE, place] = 1.0 - share
    flat[picture, 1, SHARE, place] = share
    flat[picture, 1, COC, place] = torch.where(in_front, far[split], near[split])
    for channel in range(3):
        flat[picture, 0, 1 + channel, place] = rest[channel, split] * (1.0 - share)
        flat[picture, 1, 1 + channel, place] = other[channel, split] * share
    return pieces


def _fitting(own: Tensor, other: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """The greatest share of another colour in a pixel whose rest is a colour found nearby."""
    bound = torch.where(other < own, highest, lowest)
    room, distance = (bound - own).abs(), (bound - other).abs()
    return torch.where(distance > room, room / distance, 1.0).amin(0)
