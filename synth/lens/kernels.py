"""The kernels of a batch of lenses: light by view, scaled by radius, coloured, put on pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synth.lens.aperture import ApertureParameters, DrawnApertures
from synth.lens.light import BankLight, FixedApertures, ViewLight
from synth.lens.shares import REACH_PX, pixel_shares
from synth.psf.family import Aperture
from synth.psf.measured import MeasuredBank

_TABLE_STEP_PX = 0.25
_CHUNK = {"cpu": 512}
"""Kernels made at once: what they need then stays in the cache."""
_ANY_CHUNK = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Chromatic:
    """How red and blue are imaged, against green. In pixels of the rendered picture."""

    lateral_px: tuple[float, float] = (0.0, 0.0)
    """How far red and blue lie outwards of green at a corner of the frame; grows with distance."""
    axial_px: tuple[float, float] = (0.0, 0.0)
    """What is added to the signed radius for red and blue: their focus lies elsewhere."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (*self.lateral_px, *self.axial_px)):
            raise ValueError("chromatic.lateral_px and axial_px must be finite")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameWindow:
    """Which part of a camera's frame a picture is; the field's effects go by the frame."""

    frame_px: tuple[float, float]
    """Height and width of the frame, in pixels of the picture."""
    size_px: tuple[float, float]
    """Height and width of the picture."""
    middle: tuple[float, float] = (0.0, 0.0)
    """The picture's middle (y, x), the frame's middle 0, its borders -1 and 1."""

    def __post_init__(self) -> None:
        for part, whole, middle in zip(self.size_px, self.frame_px, self.middle, strict=True):
            if not 0.0 < part <= whole or abs(middle) > 1.0 - part / whole + 1e-6:
                raise ValueError(f"{self} does not lie within its frame")

    @property
    def half_diagonal_px(self) -> float:
        """Distance of the frame's corners from its middle."""
        return 0.5 * math.hypot(*self.frame_px)

    @property
    def half_frame(self) -> tuple[float, float]:
        """Half height and half width of the frame, in halves of its diagonal."""
        height, width = (0.5 * side / self.half_diagonal_px for side in self.frame_px)
        return height, width

    @property
    def in_field(self) -> tuple[list[float], list[float]]:
        """The picture's middle, and half its sides, both (y, x) in halves of the frame's diagonal:
        what its places, borders -1 and 1, are scaled by to be places of the field."""
        middle = [m * half for m, half in zip(self.middle, self.half_frame, strict=True)]
        return middle, [0.5 * side / self.half_diagonal_px for side in self.size_px]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lens:
    """The lens of one picture."""

    light: ApertureParameters | Aperture | MeasuredBank
    """Drawn; of a family of `synth.psf`; or measured."""
    window: FrameWindow
    chromatic: Chromatic = Chromatic()
    shift_px: tuple[float, float] = (0.0, 0.0)
    """How far the picture as a whole is moved down and to the right."""


class LensKernels:
    """Kernels of a batch of pictures, a lens each. Satisfies `BatchKernels`.

    Each colour has its own radius and shift. Below a radius of about 1 px shares of light are
    slightly negative in places (`synth.lens.shares`), which an occlusion's division by what is seen
    of a layer cannot have: they are cut, and kernels are not negative. Blur stays quadratic in the
    radius but for that, and the views' distance is off by less than 0.05 px.
    """

    def __init__(self, lenses: Sequence[Lens], device: torch.device | str = "cpu") -> None:
        """lenses: one for each picture of the batch. device: where kernels will be asked for.

        Raises ValueError where there is none.
        """
        if not lenses:
            raise ValueError("there must be at least one lens")
        middle, size = zip(*(lens.window.in_field for lens in lenses), strict=True)
        self._middle, self._size = torch.tensor(middle), torch.tensor(size)
        self._groups = _groups(lenses)
        self._lateral = torch.tensor([_of_colours(lens.chromatic.lateral_px) for lens in lenses])
        self._axial = torch.tensor([_of_colours(lens.chromatic.axial_px) for lens in lenses])
        self._shift = torch.tensor([lens.shift_px for lens in lenses], dtype=torch.float32)
        self._coloured = bool((self._lateral.abs() + self._axial.abs() > 0.0).any())
        self._bends = bool((self._lateral != 0.0).any())
        self._most_axial = float(self._axial.abs().max())
        self._most_shift = float(self._lateral.abs().max() + self._shift.abs().max())
        self._halves = [1]
        for name in ("_middle", "_size", "_lateral", "_axial", "_shift"):
            # Without waiting for what the device is at; there all of it stays.
            setattr(self, name, getattr(self, name).to(device, non_blocking=True))

    @property
    def varies(self) -> bool:
        """Whether kernels vary over the field of a picture."""
        return self._bends or any(light.varies for light, _ in self._groups)

    def half_px(self, coc_px: float) -> int:
        """How far kernels reach; not less for a larger radius."""
        step = math.ceil(abs(coc_px) / _TABLE_STEP_PX)
        if step >= len(self._halves):
            radii = torch.arange(2 * step + 1) * _TABLE_STEP_PX + self._most_axial
            reach = torch.stack([torch.zeros_like(radii)])
            for light, _ in self._groups:
                reach = torch.cat([reach, light.reach_px(radii), light.reach_px(-radii)])
            most = reach.max(dim=0).values.cummax(dim=0).values
            self._halves = (
                torch.ceil(most + self._most_shift + REACH_PX - 1.0).int().clamp_min(1).tolist()
            )
        return int(self._halves[step])

    def __call__(self, picture: Tensor, coc_px: Tensor, place: Tensor, half_px: int) -> Tensor:
        """See `BatchKernels`."""
        side = 2 * half_px + 1
        device = coc_px.device
        kernels = coc_px.new_empty(len(coc_px), 2, 3, side, side)
        there = picture.to(device, non_blocking=True)
        field = self._middle[there] + place * self._size[there]
        most = _CHUNK.get(device.type, _ANY_CHUNK)
        for light, numbers in self._groups:
            own = numbers[picture]
            for chosen in torch.nonzero(own >= 0)[:, 0].split(most):
                at, lens = (t.to(device, non_blocking=True) for t in (chosen, own[chosen]))
                kernels[at] = self._of_group(light, lens, there[at], coc_px[at], field[at], half_px)
        return kernels

    def _of_group(
        self,
        light: ViewLight,
        lens: Tensor,
        picture: Tensor,
        coc_px: Tensor,
        field: Tensor,
        half_px: int,
    ) -> Tensor:
        cells, places = light(lens, coc_px, field)
        radius, shift = coc_px[:, None], self._shift[picture][:, None]
        if self._coloured:
            radius = radius + self._axial[picture]
            shift = shift + self._lateral[picture][:, :, None] * field[:, None]
        # (N, colours, axis, n): where each cell falls.
        fallen = places[:, None] * radius[:, :, None, None] + shift[..., None]
        shares = pixel_shares(fallen, half_px)
        down, across = shares[:, :, None, 0], shares[:, :, None, 1]
        kernels = (down @ (cells[:, None] @ across.transpose(-1, -2))).clamp_min_(0.0)
        kernels = kernels / kernels.sum(dim=(-2, -1), keepdim=True)
        return kernels.transpose(1, 2).expand(-1, 2, 3, -1, -1)


def _of_colours(red_blue: tuple[float, float]) -> tuple[float, float, float]:
    return red_blue[0], 0.0, red_blue[1]


def _groups(lenses: Sequence[Lens]) -> list[tuple[ViewLight, Tensor]]:
    """Lenses by family, each with the number of every picture's lens in it, -1 for no such."""
    drawn: list[tuple[int, ApertureParameters]] = []
    fixed: list[tuple[int, Aperture]] = []
    groups: list[tuple[ViewLight, Tensor]] = []
    for number, lens in enumerate(lenses):
        if isinstance(lens.light, ApertureParameters):
            drawn.append((number, lens.light))
        elif isinstance(lens.light, Aperture):
            fixed.append((number, lens.light))
        else:
            light = BankLight(lens.light, lens.window.half_frame)
            groups.append((light, _numbers([number], len(lenses))))
    if drawn:
        apertures = DrawnApertures([light for _, light in drawn])
        groups.append((apertures, _numbers([number for number, _ in drawn], len(lenses))))
    if fixed:
        own = FixedApertures([light for _, light in fixed])
        groups.append((own, _numbers([number for number, _ in fixed], len(lenses))))
    return groups


def _numbers(pictures: list[int], count: int) -> Tensor:
    numbers = torch.full((count,), -1)
    numbers[pictures] = torch.arange(len(pictures))
    return numbers
