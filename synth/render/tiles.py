"""Tiles of a batch of pictures, and the groups of blur radii in each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from synth.cells import CELL

_FADE_PX = 8  # tiles of different kernels go over into each other so far on either side
_EDGE_LEVELS = 2.0  # neighbours farther apart than so many levels lie in two groups
_SIDES = (32, 48, 64, 80, 96, 112, 144, 160, 192, 224, 288, 320, 384, 448, 512)  # fast transforms
_SIDE_COST = 1 / 400  # larger tiles hold more levels and groups


class Levels:
    """Steps of blur radius: even up to a radius, growing with it beyond. Counted from the least."""

    def __init__(self, lowest_px: float, highest_px: float, step_px: float, even_px: float) -> None:
        """Levels from below the least to above the greatest signed radius."""
        self.least_step_px, self._even = step_px, even_px / step_px
        self._first = 0
        ends = self.position(torch.tensor([lowest_px, highest_px]))
        self._first = int(ends[0].floor())
        self.count = int(ends[1].ceil()) - self._first + 1

    def position(self, coc_px: Tensor) -> Tensor:
        """Radii in levels; those within rounding of a whole one are set to it."""
        position = coc_px / self.least_step_px
        size = position.abs()
        curved = self._even * (1.0 + (size / self._even).clamp(min=1.0).log())
        position = torch.copysign(torch.minimum(size, curved), position)
        whole = position.round()
        near = ((position - whole).abs() < 1e-3).to(position.dtype)
        return torch.addcmul(position, whole - position, near) - self._first

    def radii(self) -> np.ndarray:
        """The signed radius of each level, float64 (count,)."""
        level = np.arange(self._first, self._first + self.count)
        beyond = np.maximum(np.abs(level), self._even) / self._even - 1.0
        return np.asarray(
            np.clip(level, -self._even, self._even) * np.exp(beyond) * self.least_step_px
        )


class Tiling:
    """Squares that cover a picture and know their surroundings. One size for all.

    A tile is a square of F pixels, of which it shows S; those of neighbours meet, or overlap where
    they are to be faded into each other. Tiles of all pictures of a batch are counted through.
    """

    def __init__(self, height: int, width: int, half: int, *, overlap: bool) -> None:
        """half: how far kernels reach. overlap: whether what tiles show overlaps."""
        self.half = half
        self._size = height, width
        self._fade = _FADE_PX if overlap else 0
        self._halo = -(-(half + self._fade) // CELL) * CELL
        candidates = [side for side in _SIDES if side >= 3 * self._halo + CELL] or [4 * self._halo]

        def cost(side: int) -> float:
            tiles = np.prod([-(-length // (side - 2 * self._halo)) for length in self._size])
            return float(tiles * side**2 * (1.0 + side * _SIDE_COST))

        self.side = min(candidates, key=cost)
        self._core = self.side - 2 * self._halo
        self._grid = -(-height // self._core), -(-width // self._core)

    @property
    def count(self) -> int:
        """Tiles of one picture."""
        return self._grid[0] * self._grid[1]

    @property
    def shown(self) -> int:
        """Side of what a tile shows."""
        return self._core + 2 * self._fade

    @property
    def seen(self) -> slice:
        """Where what a tile shows lies in what is blurred, a kernel's half shifted."""
        start = self._halo - self._fade + self.half
        return slice(start, start + self.shown)

    def place(self, tile: int) -> tuple[int, slice, int, int]:
        """Index of a tile into what `cut` returns."""
        picture, rest = divmod(tile, self.count)
        return picture, slice(None), rest // self._grid[1], rest % self._grid[1]

    def cut(self, planes: Tensor) -> Tensor:
        """Planes (B, P, H, W), gone on mirrored, in tiles: (B, P, rows, columns, F, F), a view."""
        for axis, length, count in zip((2, 3), self._size, self._grid, strict=True):
            planes = _mirrored(planes, axis, self._halo, count * self._core + self._halo - length)
        return planes.unfold(2, self.side, self._core).unfold(3, self.side, self._core)

    def tiles_of_cells(self, cells: Tensor) -> Tensor:
        """Greatest value over the cells of each tile: (B, L, *cells) -> (B tiles, L)."""
        side, core, halo = (length // CELL for length in (self.side, self._core, self._halo))
        (height, width), (rows, columns) = cells.shape[2:], self._grid
        around = (halo, columns * core + halo - width, halo, rows * core + halo - height)
        padded = functional.pad(cells.float(), around, value=-np.inf)
        return functional.max_pool2d(padded, side, stride=core).flatten(2).mT.flatten(0, 1)

    def middles(self) -> Tensor:
        """Middles (tiles, 2) of one picture's tiles as places of the field, (y, x) in [-1, 1]."""
        along = []
        for length, count in zip(self._size, self._grid, strict=True):
            ends = (torch.arange(count + 1) * self._core).clamp(max=length)
            along.append((ends[:-1] + ends[1:]) / length - 1.0)
        return torch.cartesian_prod(*along).reshape(-1, 2)

    def canvas(self, light: Tensor) -> Tensor:
        """Views of pictures, for `put`: zeros (B, 2, 3, H', W')."""
        rows, columns = (count * self._core for count in self._grid)
        return light.new_zeros(len(light), 2, 3, rows, columns)

    def put(self, views: Tensor, tile: np.ndarray, shown: Tensor) -> None:
        """Add what tiles (N,) show, (N, 2, 3, S, S), to a canvas."""
        ramp = (torch.arange(2 * self._fade, device=views.device) + 0.5) / max(2 * self._fade, 1)
        for each, values in zip(tile.tolist(), shown, strict=True):
            picture, _, *place = self.place(each)
            target, source = [], []
            for axis, (number, count) in enumerate(zip(place, self._grid, strict=True)):
                first, last = number == 0, number == count - 1
                start = number * self._core - self._fade * (not first)
                stop = (number + 1) * self._core + self._fade * (not last)
                inside = self._fade * first
                target.append(slice(start, stop))
                source.append(slice(inside, inside + stop - start))
                along = (slice(None), None) if axis == 0 else (None, slice(None))
                if self._fade and not first:
                    values.narrow(axis - 2, 0, 2 * self._fade).mul_(ramp[along])
                if self._fade and not last:
                    start = self.shown - 2 * self._fade
                    values.narrow(axis - 2, start, 2 * self._fade).mul_(1.0 - ramp[along])
            views[picture, :, :, target[0], target[1]] += values[:, :, source[0], source[1]]

    def joined(self, shown: Tensor) -> Tensor:
        """Whole pictures (B, 2, 3, H', W') of what all their tiles show, (B tiles, 2, 3, S, S)."""
        weight = [self._fading(count, shown.device) for count in self._grid]
        shown = shown.unflatten(0, (-1, *self._grid))
        shown = shown * weight[0][:, None, None, None, :, None]
        shown = shown * weight[1][:, None, None, None, :]
        size = tuple(count * self._core + 2 * self._fade for count in self._grid)
        columns = shown.permute(0, 3, 4, 5, 6, 1, 2).flatten(5).flatten(1, 4)
        whole = functional.fold(columns, size, self.shown, stride=self._core)
        inner = slice(self._fade, -self._fade or None)
        return whole.unflatten(1, (2, 3))[..., inner, inner]

    def _fading(self, count: int, device: torch.device) -> Tensor:
        """Weights (count, S) of a row of tiles along it: they fade into each other, and not into
        what lies beyond the picture."""
        weight = torch.ones(count, self.shown)
        if self._fade:
            wide = 2 * self._fade
            ramp = (torch.arange(wide) + 0.5) / wide
            weight[1:, :wide] *= ramp
            weight[:-1, -wide:] *= 1.0 - ramp
        return weight.to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class Group:
    """One group of blur radii of each of N tiles, and the levels in it."""

    tile: np.ndarray
    """int64 (N,), ascending."""
    lower: np.ndarray
    """float32 (N,): from this position on pixels belong to the group."""
    upper: np.ndarray
    """float32 (N,): and before this one."""
    levels: np.ndarray
    """int64 (N, J), nearest first, the last repeated."""
    amount: np.ndarray
    """int64 (N,): how many of the levels there are."""
    farthest: np.ndarray
    """bool (N,): nothing lies behind the group."""

    @property
    def last(self) -> bool:
        """Whether nothing lies behind the group in any tile."""
        return bool(self.farthest.all())

    @property
    def every_tile(self) -> np.ndarray:
        """The tile of each of all levels, int64."""
        return np.repeat(self.tile, self.amount)

    @property
    def every_level(self) -> np.ndarray:
        """All levels, as `every_tile`."""
        return self.levels[np.arange(self.levels.shape[1]) < self.amount[:, None]]

    def of(self, tiles: np.ndarray) -> "Group":
        """The group in some of the tiles."""
        return self._only(np.isin(self.tile, tiles))

    def split(self, wanted: np.ndarray) -> list["Group"]:
        """The wanted tiles (N,), apart where something lies behind the group and where not."""
        parts = [self._only(wanted & there) for there in (~self.farthest, self.farthest)]
        return [part for part in parts if part.tile.size]

    def _only(self, wanted: np.ndarray) -> "Group":
        most = int(self.amount[wanted].max(initial=0))
        return Group(
            self.tile[wanted],
            self.lower[wanted],
            self.upper[wanted],
            self.levels[wanted, :most],
            self.amount[wanted],
            self.farthest[wanted],
        )

    def slots(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each level of the tiles: which have it, (n,), and its pixels' shares, (4, n).

        A pixel at a position p has the lesser of a p + b and c p + d, from 0 to 1: a line that
        rises from the next farther level, and one that falls to the next nearer.
        """
        for slot in range(self.levels.shape[1]):
            at = np.flatnonzero(self.amount > slot)
            level = self.levels[at, slot].astype(np.float32)
            line = np.zeros((4, at.size), dtype=np.float32)
            line[[1, 3]] = 1.0
            farther = self.amount[at] > slot + 1
            if farther.any():
                step = level[farther] - self.levels[at[farther], slot + 1]
                line[:2, farther] = 1.0 / step, 1.0 - level[farther] / step
            if slot > 0:
                step = self.levels[at, slot - 1] - level
                line[2:] = -1.0 / step, 1.0 + level / step
            yield at, line


def groups_of(
    position: Tensor,
    second_share: Tensor,
    near_px: Tensor,
    far_px: Tensor,
    levels: Levels,
    tiling: Tiling,
) -> list[Group]:
    """The groups of all tiles, nearest first.

    position: (B, 2, H, W), in levels, of two pieces a pixel. second_share: (B, H, W), of the second
    piece. near_px, far_px: (B, H, W), extremes of the radius around each pixel. Edges, where these
    differ by more than two levels, are each cut by the boundary of two groups, with the fewest
    boundaries that do so in a tile.
    """
    device, (height, width) = position.device, position.shape[2:]
    cells = len(position), -(-height // CELL), -(-width // CELL)
    row, column = (torch.arange(length, device=device) // CELL for length in (height, width))
    picture = torch.arange(cells[0], device=device)
    cell = (picture[:, None, None] * cells[1] + row[:, None]) * cells[2] + column
    cell, total = cell.flatten(), cells[0] * cells[1] * cells[2]

    # Two rows a level: pixels on it, and pixels between it and the next.
    held = torch.zeros(2 * levels.count * total, dtype=torch.bool, device=device)
    first, second = position.unbind(1)
    held[(first.floor() + first.ceil()).flatten().long() * total + cell] = True
    pixel = (second_share > 0.0).flatten().nonzero()[:, 0]
    place = second.flatten()[pixel]
    held[(place.floor() + place.ceil()).long() * total + cell[pixel]] = True

    # An edge from far to near wants a boundary b, a whole level, with far < b <= near.
    pixel = (near_px - far_px > _EDGE_LEVELS * levels.least_step_px).flatten().nonzero()[:, 0]
    near, far = (levels.position(ends.flatten()[pixel]) for ends in (near_px, far_px))
    steep = (near - far > _EDGE_LEVELS).nonzero()[:, 0]
    pixel, near, far = pixel[steep], near[steep].floor(), far[steep].ceil().long() + 1
    # The earliest end of all edges that begin at a level, negative: greatest values go to tiles.
    end = torch.full((levels.count * total,), -float(levels.count), device=device)
    end.scatter_reduce_(0, far * total + cell[pixel], -near, "amax")

    def of_tiles(values: Tensor) -> np.ndarray:
        by_picture = values.reshape(-1, *cells).movedim(0, 1)
        return tiling.tiles_of_cells(by_picture).cpu().numpy()

    used = of_tiles(held) > 0.0
    on, between = used[:, 0::2], used[:, 1::2]
    return _cut_into_groups(on | between, between, -of_tiles(end))


def _cut_into_groups(used: np.ndarray, between: np.ndarray, end: np.ndarray) -> list[Group]:
    """Groups of tiles by their levels, all (tiles, L).

    used: pixels on a level, or between it and the next; between: the latter. end: where the edges
    that begin at a level must have been cut.
    """
    count = used.shape[1]
    boundary = np.zeros(used.shape, dtype=bool)
    due = np.full(len(used), count, dtype=np.float32)
    for level in range(count):
        due = np.minimum(due, end[:, level])
        boundary[:, level] = due == level
        due[boundary[:, level]] = count
    # Which group a level's pixels belong to, counted from the nearest.
    behind = boundary.cumsum(axis=1)
    number = behind[:, -1:] - behind
    groups = []
    for k in range(int(number.max()) + 1):
        inside = number == k
        here = used & inside
        tile = np.flatnonzero(here.any(axis=1))
        listed = here[tile]
        listed[:, 1:] |= (between & inside)[tile, :-1]
        amount = listed.sum(axis=1)
        order = np.argsort(~listed[:, ::-1], axis=1, kind="stable")[:, : amount.max()]
        slot = np.minimum(np.arange(order.shape[1]), amount[:, None] - 1)
        inside = inside[tile]
        groups.append(
            Group(
                tile,
                inside.argmax(axis=1).astype(np.float32),
                (count - inside[:, ::-1].argmax(axis=1)).astype(np.float32),
                count - 1 - np.take_along_axis(order, slot, axis=1),
                amount,
                number[tile, 0] == k,
            )
        )
    return groups


def _mirrored(planes: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Planes that go on mirrored along an axis, the outermost pixels twice."""
    length = planes.shape[axis]
    if max(before, after) <= length:
        start = planes.narrow(axis, 0, before).flip(axis)
        end = planes.narrow(axis, length - after, after).flip(axis)
        return torch.cat([start, planes, end], dim=axis)
    index = torch.arange(-before, length + after, device=planes.device) % (2 * length)
    return planes.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
