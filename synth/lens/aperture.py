"""A drawn lens: the light that each half of the photodiodes takes from each place of the aperture.

A view is a whole disc with a soft ramp across it, as measured kernels are (a Pixel 4's bank; fits
to Canon R6 II pairs prefer such discs to half discs by 2.5 times the residual). Ray-optically:

- the photodiode halves share the light of a pixel by its direction, half each in the middle:
  w = 1 +- tanh(ramp x + swap X), X the place in the field from left to right. `swap` is the
  microlens's shift against the chief ray: where X swap saturates the tanh, one view is nearly flat
  and the other steep, and they change parts from one side of the field to the other;
- the aperture's light falls or rises to the rim: 1 + rim (2 rho^2 - 1);
- spherical aberration moves the ray of pupil radius rho from rho r to rho r (1 + a (rho^2 - 1)),
  a = spherical_px / r: of one sign for all points, so that the rim of near blur is bright where
  that of far blur is soft. Where it vanishes far kernels are the near ones turned about;
- mechanical vignetting leaves the common part of two discs that lie `cat_eye` radii apart at the
  corners, along the direction to the middle of the picture;
- off the axis the aperture's light falls from one side to the other, 1 + slope . (x, y), so that
  far blur is brighter towards the middle of the picture, near blur away from it: of neither view is
  the other one the mirror image, nor is one its own, top to bottom. All of a Pixel 4's bank is so,
  0.25 near the middle and 0.8 over most of the field. The point stays where the light's middle is;
- the rim is softened by a share of the radius and by a length that does not grow with defocus
  (diffraction, the pixel's own extent), so that small blur has no rim.

All lengths are scaled so that the blur radius of the two views together, sqrt(2 x variance), is
the nominal one on the axis, whatever the light's distribution but for its slope: a network that
learns radii learns one thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

CELLS = 32
"""Cells a side of the aperture."""
_FINE_CELLS = 64
"""Cells where a cell of the coarse grid would be wider than a pixel by much."""
_FINE_FROM_PX = 16.0
_RINGS = 64
_TAIL = 2.5
"""Softnesses beyond the rim after which its light (1%) is cut."""
_SOFTEST = 0.45
"""Largest softness of a rim, in radii."""
_STRONGEST = 0.3
"""Largest spherical aberration in radii: from 0.5 on rays cross within the cone."""
_OFF_AXIS = 0.25
"""Distance from the middle, in halves of the diagonal, from which on the slope hardly grows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApertureParameters:
    """One lens and its dual pixels. All lengths in pixels of the rendered picture."""

    disparity: float
    """Distance of the views' centroids over the blur radius, on the axis, without aberration."""
    rim: float = 0.0
    """Light at the rim over that halfway out, less 1: from -1, dark, to 1, bright (middle dark)."""
    softness: float = 0.06
    """Width of the rim, in blur radii."""
    softness_px: float = 0.0
    """Width of the rim that is there at any radius."""
    spherical_px: float = 0.0
    """How far rays miss the ideal disc's place: > 0 makes far rims bright, near ones soft."""
    cat_eye: float = 0.0
    """Distance in radii of the two discs that limit the aperture at a corner of the frame."""
    swap: float = 0.0
    """What the ramp is shifted by half a frame's diagonal to the right of the middle, before the
    tanh: < 0 makes the left view the flatter one at the left border, > 0 at the right."""
    slope: float = 0.0
    """How much the light falls over a radius of the aperture, far off the axis."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            if not np.isfinite(getattr(self, entry.name)):
                raise ValueError(f"aperture.{entry.name} must be finite")
        if not 0.0 < self.disparity <= 0.8:
            raise ValueError(f"aperture.disparity must lie in (0, 0.8], got {self.disparity}")
        if not -1.0 <= self.rim <= 1.0:
            raise ValueError(f"aperture.rim must lie in [-1, 1], got {self.rim}")
        if not 0.0 <= self.softness <= _SOFTEST or self.softness_px < 0.0:
            raise ValueError(
                f"aperture.softness must lie in [0, {_SOFTEST}] and softness_px be 0 or more, "
                f"got {self.softness} and {self.softness_px}"
            )
        if not 0.0 <= self.cat_eye <= 1.0:
            raise ValueError(f"aperture.cat_eye must lie in [0, 1], got {self.cat_eye}")
        if not 0.0 <= self.slope <= 1.0:
            raise ValueError(f"aperture.slope must lie in [0, 1], got {self.slope}")


class DrawnApertures:
    """The light of several lenses as a function of defocus and field. Satisfies `ViewLight`."""

    def __init__(self, lenses: Sequence[ApertureParameters]) -> None:
        """lenses: one for each picture. Raises ValueError where there is none."""
        if not lenses:
            raise ValueError("there must be at least one lens")
        columns = {
            entry.name: torch.tensor([float(getattr(lens, entry.name)) for lens in lenses])
            for entry in fields(ApertureParameters)
        }
        self._of: dict[str, Tensor] = columns
        self._of["ramp"] = torch.tensor([ramp_of(lens) for lens in lenses])
        self._moved: dict[str, dict[str, Tensor]] = {"cpu": self._of}
        self._slopes = bool((columns["slope"] > 0.0).any())
        self.varies = self._slopes or bool(
            (columns["cat_eye"].abs() + columns["swap"].abs() > 0.0).any()
        )

    def reach_px(self, coc_px: Tensor) -> Tensor:
        """See `ViewLight`."""
        lens = torch.arange(len(self._of["ramp"])).repeat_interleave(len(coc_px))
        radius = coc_px.repeat(len(self._of["ramp"]))
        _, extent, scale = self._rings(lens, radius)
        # The light's middle, which the point stays at, lies less than half a radius off.
        slope = self._get("slope", lens)
        return (radius.abs() * (extent + 0.5 * slope) * scale).reshape(-1, len(coc_px))

    def __call__(self, lens: Tensor, coc_px: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
        """See `ViewLight`."""
        spherical, extent, scale = self._rings(lens, coc_px)
        fine = coc_px.numel() > 0 and self._any_large(coc_px)
        count = _FINE_CELLS if fine else CELLS
        axis = (torch.arange(count, device=coc_px.device) - 0.5 * (count - 1)) * (2.0 / count)
        places = axis * extent[:, None]
        x, y = places[:, None, :], places[:, :, None]
        radius = torch.sqrt(x * x + y * y)
        half_apart = 0.5 * self._get("cat_eye", lens)[:, None] * field
        dy, dx = half_apart[:, 0, None, None], half_apart[:, 1, None, None]
        outer = torch.sqrt(radius * radius + dx * dx + dy * dy + 2.0 * (x * dx + y * dy).abs())
        softness = torch.maximum(self._softness(lens, coc_px), extent * (1.0 / count))
        edge = torch.sigmoid((2.0 / softness)[:, None, None] * (1.0 - outer))
        rho, density = _through(radius, spherical[:, None, None])
        rim = self._get("rim", lens)[:, None, None]
        light = density * edge * (1.0 + rim * (2.0 * rho * rho - 1.0)).clamp_min(0.0)
        # The halves of the diodes divide directions: the place of the ray in the aperture.
        along = x * (rho / radius.clamp_min(1e-6)) * scale[:, None, None]
        shift = self._get("swap", lens) * field[:, 1]
        split = torch.tanh(self._get("ramp", lens)[:, None, None] * along + shift[:, None, None])
        views = torch.stack([light * (1.0 + split), light * (1.0 - split)], dim=1)
        places = (places * scale[:, None])[:, None].expand(-1, 2, -1)
        if not self._slopes:
            return views, places
        off_axis = field / torch.sqrt((field * field).sum(1, keepdim=True) + _OFF_AXIS**2)
        down, right = (self._get("slope", lens)[:, None] * off_axis).unbind(1)
        slope = (1.0 + down[:, None, None] * y + right[:, None, None] * x).clamp_min(0.0)
        sloped = views * slope[:, None]
        return sloped, places - (_middle(sloped, places) - _middle(views, places))[:, :, None]

    def _any_large(self, coc_px: Tensor) -> bool:
        """Whether fine cells are due. To ask a GPU would wait for it, and they cost it little."""
        return coc_px.device.type != "cpu" or float(coc_px.abs().max()) > _FINE_FROM_PX

    def _get(self, name: str, lens: Tensor) -> Tensor:
        where = str(lens.device)
        if where not in self._moved:
            self._moved[where] = {
                key: column.to(lens.device, non_blocking=True) for key, column in self._of.items()
            }
        return self._moved[where][name][lens]

    def _softness(self, lens: Tensor, coc_px: Tensor) -> Tensor:
        grown = self._get("softness_px", lens) / coc_px.abs().clamp_min(1e-3)
        return (self._get("softness", lens) + grown).clamp_max(_SOFTEST)

    def _rings(self, lens: Tensor, coc_px: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spherical aberration, extent of the light, both in radii, and what scales radii."""
        spherical = self._get("spherical_px", lens) * coc_px.sign() / coc_px.abs().clamp_min(1e-3)
        spherical = spherical.clamp(-_STRONGEST, _STRONGEST)
        softness = self._softness(lens, coc_px)
        extent = 1.0 + _TAIL * softness
        scale = _scale(spherical, softness, extent, self._get("rim", lens))
        return spherical, extent, scale


def _middle(views: Tensor, places: Tensor) -> Tensor:
    """Mean of the two views' centroids, (N, 2), y and x: where the point seems to be."""
    of_view = views / views.sum((-2, -1), keepdim=True)
    y = (of_view.sum(-1) * places[:, :1]).sum(-1)
    x = (of_view.sum(-2) * places[:, 1:]).sum(-1)
    return torch.stack([y.mean(1), x.mean(1)], dim=1)


def ramp_of(lens: ApertureParameters) -> float:
    """The steepness of the ramp that gives a lens its disparity. Raises ValueError for none."""
    softness = max(lens.softness, 1.0 / CELLS)
    extent = 1.0 + _TAIL * softness
    axis = (np.arange(CELLS) + 0.5) * (extent / CELLS)
    x, y = np.meshgrid(axis, axis)  # a quarter of the aperture, which is symmetric
    rho = np.hypot(x, y)
    light = np.maximum(1.0 + lens.rim * (2.0 * rho**2 - 1.0), 0.0)
    light /= 1.0 + np.exp(np.minimum(2.0 / softness * (rho - 1.0), 60.0))
    light /= light.sum()
    radius = np.sqrt(2.0 * (light * rho**2).sum())
    low, high = 0.0, 64.0
    for _ in range(40):
        ramp = 0.5 * (low + high)
        disparity = 2.0 * (light * x * np.tanh(ramp * x / radius)).sum() / radius
        low, high = (ramp, high) if disparity < lens.disparity else (low, ramp)
    if high == 64.0:
        raise ValueError(f"aperture.disparity = {lens.disparity} is more than half discs have")
    return ramp


def _through(radius: Tensor, spherical: Tensor) -> tuple[Tensor, Tensor]:
    """Pupil radius of the rays that end at a radius of the blur, and their density there."""
    inner = radius.clamp_max(1.0)
    rho = inner
    for _ in range(4):  # Newton: R(rho) = rho (1 - a) + a rho^3, monotone for |a| < 1/2
        square = rho * rho
        rho = (inner + 2.0 * spherical * square * rho) / (
            1.0 - spherical + 3.0 * spherical * square
        )
    stretch = 1.0 + spherical * (rho * rho - 1.0)
    density = 1.0 / (stretch * (stretch + 2.0 * spherical * rho * rho))
    # The softened rim goes on as the ideal one ends.
    return torch.where(radius > 1.0, radius, rho), density


def _scale(spherical: Tensor, softness: Tensor, extent: Tensor, rim: Tensor) -> Tensor:
    """What radii are to be multiplied by for sqrt(2 x variance) to be 1, without vignetting."""
    rings = (torch.arange(_RINGS, device=extent.device) + 0.5) / _RINGS * extent[:, None]
    rho, density = _through(rings, spherical[:, None])
    softest = torch.maximum(softness, extent * (1.0 / CELLS))[:, None]
    light = density * torch.sigmoid(2.0 / softest * (1.0 - rings)) * rings
    light = light * (1.0 + rim[:, None] * (2.0 * rho * rho - 1.0)).clamp_min(0.0)
    return torch.sqrt(0.5 * light.sum(1) / (light * rings * rings).sum(1).clamp_min(1e-9))
