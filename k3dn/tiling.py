"""Restore a picture of any size, tile by tile, in a bounded amount of memory."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from k3dn.equal_views import keep_equal
from k3dn.inference import (
    DEFAULT_HALO_PX,
    DEFAULT_MEMORY_MIB,
    Precision,
    choose_dtype,
    compile_shapes,
    least_memory_mib,
    plan_tiles,
    prepare,
)
from k3dn.modes import evaluating
from k3dn.network.model import K3DN, as_k3dn
from k3dn.scales import MOST_SCALES, PictureAndBlur, SmallerAnswer, scale_factors, shrink
from k3dn.views import Image, check_number, check_views

_Span = tuple[slice, NDArray[np.float32]]
"""Where a tile lies along an axis, and its blending weights."""

_SMALLEST_PX = 16
"""No tile is cut smaller."""
_ROWS_AT_ONCE = 64
"""Of a finished row of tiles, so many rows are brought to the picture's type at a time."""
_MOST_SHAPES = 64
"""Of tiles that a compiled network keeps graphs for."""
_FLIPS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((),),
    2: ((), (-1,)),
    4: ((), (-1,), (-2,), (-2, -1)),
}
"""How the views are turned over in each of so many passes, by axis."""


def deblur(
    model: nn.Module,
    left: Image,
    right: Image | None = None,
    *,
    tile_px: int | None = None,
    halo_px: int = DEFAULT_HALO_PX,
    precision: Precision = "auto",
    memory_mib: int = DEFAULT_MEMORY_MIB,
    scales: int = MOST_SCALES,
    passes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Image:
    """Restore a dual-pixel pair, or a single picture with a model for that.

    The model is prepared for it each time: to restore many pictures, keep a ``Restorer``, which
    says more of the settings and of the errors.
    """
    restorer = Restorer(model, precision=precision)
    return restorer(
        left,
        right,
        tile_px=tile_px,
        halo_px=halo_px,
        memory_mib=memory_mib,
        scales=scales,
        passes=passes,
        progress=progress,
    )


class Restorer:
    """A model prepared to restore pictures, of one size or of many; later changes of its weights
    do not reach it.

    precision: ``auto`` computes in bfloat16 where that is faster, which changes the picture by
    about a step of 255 at most; ``fp32`` gives one answer on all machines (``choose_dtype`` says
    more). compiled: each shape of tile runs as a graph of ``torch.compile``, made when it first
    comes, which takes from seconds to minutes; all tiles of a picture then have one shape, or
    two a side where its size is not a multiple of the network's grid.
    A model of somebody else's, and one that came compiled, runs as it is, in evaluation mode, and
    is left in the mode it came in.
    """

    def __init__(
        self, model: nn.Module, *, precision: Precision = "auto", compiled: bool = False
    ) -> None:
        self._dtype = choose_dtype(model, precision)
        self._network = prepare(model, self._dtype)
        self._finds_blur = isinstance(self._network, K3DN) and self._network.knows_coc
        self._answer = self._network
        if isinstance(self._network, K3DN) and self._finds_blur:
            self._answer = PictureAndBlur(self._network)
        if compiled:
            self._answer = compile_shapes(self._answer)
        self._compiled = compiled

    def __call__(
        self,
        left: Image,
        right: Image | None = None,
        *,
        tile_px: int | None = None,
        halo_px: int = DEFAULT_HALO_PX,
        memory_mib: int = DEFAULT_MEMORY_MIB,
        scales: int = MOST_SCALES,
        passes: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> Image:
        """Restore a dual-pixel pair, or a single picture with a model for that.

        left, right: ``(H, W, 3)`` sRGB, uint8, uint16, or float32 in [0, 1]; the answer has their
        type. A picture that does not fit into ``memory_mib`` is cut into tiles with ``halo_px`` of
        surroundings, whose overlaps are blended; ``tile_px`` sets their size instead
        (``plan_tiles`` says more of these three). scales: so many sizes at most, the full one, its
        half, a quarter and so on, are restored by a network that knows how strong the blur is
        (``k3dn.scales``); 1 restores the full size alone. passes: 2 and 4 restore the picture
        mirrored, and upside down, too, and take the mean: a little better in that many times the
        time. progress: called with the number of tiles done and of all, after each.
        Raises ValueError for views that do not fit each other or are not pictures (``check_views``
        says more), for a setting out of range, and for a model whose answer is not a picture;
        TypeError for settings that are no numbers.
        """
        views = [left] if right is None else [left, right]
        peak = check_views(views)
        check_number("passes", passes)
        if passes not in _FLIPS:
            raise ValueError(f"passes must be 1, 2 or 4, got {passes}")
        height, width = left.shape[:2]
        scaled = [
            self._scale(
                height, width, factor, memory_mib=memory_mib, tile_px=tile_px, halo_px=halo_px
            )
            for factor in scale_factors(height, width, scales)[: None if self._finds_blur else 1]
        ]
        total, done = sum(scale.tiles for scale in scaled), 0

        def told() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total)

        image = np.empty_like(left)
        smaller: SmallerAnswer | None = None
        with evaluating(self._answer), self._many_shapes():
            for scale in reversed(scaled[1:]):
                answer = np.empty((scale.height, scale.width, 4), np.float16)
                self._tiles(scale, views, peak, passes, smaller, told, answer.__setitem__)
                smaller = SmallerAnswer(answer[..., :3], answer[..., 3])

            def keep(rows: slice, sums: NDArray[np.float32]) -> None:
                image[rows] = _from_unit(sums, peak, left.dtype)

            self._tiles(scaled[0], views, peak, passes, smaller, told, keep)
        return image

    def least_memory_mib(self, height: int, width: int, *, halo_px: int = DEFAULT_HALO_PX) -> int:
        """Return the least ``memory_mib`` that a picture of a size in px can be restored in."""
        factors = scale_factors(height, width)[: None if self._finds_blur else 1]
        return max(
            least_memory_mib(
                self._network, -(-height // n), -(-width // n), self._dtype, halo_px=halo_px
            )
            for n in factors
        )

    def _scale(
        self,
        height: int,
        width: int,
        factor: int,
        *,
        memory_mib: int,
        tile_px: int | None,
        halo_px: int,
    ) -> "_Scale":
        height, width = -(-height // factor), -(-width // factor)
        plan = plan_tiles(
            self._network,
            height,
            width,
            self._dtype,
            memory_mib=memory_mib,
            tile_px=tile_px,
            halo_px=halo_px,
        )
        network = as_k3dn(self._network)
        # A second pass on the mirrored picture counts its windows from the right edge.
        mirrored = network is not None and network.config.mirror_whole
        beyond = width % network.config.grid_px[1] if network and mirrored else 0
        alike = self._compiled
        rows = _spans(height, plan.tile_px[0], plan.halo_px[0], alike=alike)
        columns = _spans(width, plan.tile_px[1], plan.halo_px[1], beyond, alike=alike)
        return _Scale(factor, height, width, rows, columns)

    def _tiles(
        self,
        scale: "_Scale",
        views: Sequence[Image],
        peak: float,
        passes: int,
        smaller: SmallerAnswer | None,
        told: Callable[[], None],
        finished: Callable[[slice, NDArray[np.float32]], None],
    ) -> None:
        """Restore the picture at one of its sizes and hand on some rows at a time from the top
        down, ``(rows, W, 3)``; of a smaller size its change to the mean of the views and the
        radius, ``(rows, W, 4)``. None of them is kept here.
        """
        band = _Band(scale.width, 3 if scale.factor == 1 else 4)
        for index, (rows, row_weight) in enumerate(scale.rows):
            band.move_to(rows)
            for columns, column_weight in scale.columns:
                restored = self._restore(scale.factor, views, rows, columns, peak, passes, smaller)
                band.add(columns, restored, row_weight[:, None] * column_weight)
                told()
            last = index + 1 == len(scale.rows)
            stop = rows.stop if last else scale.rows[index + 1][0].start
            for first in range(rows.start, stop, _ROWS_AT_ONCE):
                some = slice(first, min(first + _ROWS_AT_ONCE, stop))
                finished(some, band.finished(some))

    def _restore(
        self,
        factor: int,
        views: Sequence[Image],
        rows: slice,
        columns: slice,
        peak: float,
        passes: int,
        smaller: SmallerAnswer | None,
    ) -> NDArray[np.float32]:
        """One tile, ``(H, W, 3)``, or of a smaller scale ``(H, W, 4)``."""
        device = next(self._network.parameters(), torch.empty(0)).device
        dtype = torch.promote_types(self._dtype or torch.float32, torch.float32)
        covered = tuple(slice(span.start * factor, span.stop * factor) for span in (rows, columns))
        tiles = [_to_tensor(view[covered], peak, device, dtype) for view in views]
        tiles = [shrink(tile, factor) for tile in tiles]
        restored = self._answered(tiles, passes)
        if len(tiles) == 2 and as_k3dn(self._network) is not None:
            restored = keep_equal(restored, *tiles)
        if smaller is not None or factor > 1:
            mean = torch.stack(tiles).mean(dim=0)
            if smaller is not None:
                restored = smaller.blend(restored, mean, rows.start, columns.start)
            if factor > 1:
                restored = torch.cat((restored[:, :3] - mean, restored[:, 3:]), dim=1)
        if factor == 1:
            restored = restored[:, :3]
        return restored[0].float().movedim(0, -1).cpu().numpy()

    def _answered(self, tiles: Sequence[Tensor], passes: int) -> Tensor:
        """The network's answer to views ``(1, 3, H, W)``, the mean of several passes."""
        total: Tensor | None = None
        for axes in _FLIPS[passes]:
            # Mirrored, the left view is what a right one is: the parallax changes its sign.
            given = tiles[::-1] if -1 in axes else tiles
            answer = self._answer(*(tile.flip(axes) for tile in given))
            answer = _checked(answer, tiles[0].shape, blur=self._finds_blur).flip(axes)
            total = answer if total is None else total + answer
        assert total is not None
        return total / len(_FLIPS[passes])

    def _many_shapes(self) -> AbstractContextManager[object]:
        """Shapes of tiles are few for a picture, but for many pictures more than torch takes for
        a mistake."""
        if not self._compiled:
            return nullcontext()
        import torch._dynamo

        return torch._dynamo.config.patch(recompile_limit=_MOST_SHAPES)


@dataclass(frozen=True)
class _Scale:
    """A picture at one of its sizes, and its tiles."""

    factor: int
    """How many times smaller it is than the picture that came."""
    height: int
    width: int
    rows: list[_Span]
    columns: list[_Span]

    @property
    def tiles(self) -> int:
        return len(self.rows) * len(self.columns)


class _Band:
    """Weighted sums of the tiles over the rows that are not finished yet."""

    def __init__(self, width: int, channels: int) -> None:
        self._first = 0
        self._total = np.zeros((0, width, channels), np.float32)

    def move_to(self, rows: slice) -> None:
        """Go on to these rows; sums of those before them are dropped, of shared ones kept."""
        kept = self._total[rows.start - self._first :].copy()
        self._total = np.zeros((0, *kept.shape[1:]), np.float32)  # before the new one is made
        self._total = np.zeros((rows.stop - rows.start, *kept.shape[1:]), np.float32)
        self._total[: len(kept)] = kept
        self._first = rows.start

    def add(
        self, columns: slice, restored: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> None:
        """Add a tile over all rows of the band."""
        restored *= weight[..., None]
        self._total[:, columns] += restored

    def finished(self, rows: slice) -> NDArray[np.float32]:
        """The sums of rows that no further tile reaches."""
        return self._total[rows.start - self._first : rows.stop - self._first]


def _spans(
    length: int, tile: int, halo: int, beyond: int = 0, *, alike: bool = False
) -> list[_Span]:
    """Cut a length into tiles with halo, and the blending weight of each sample.

    beyond: this much more of the halo at a tile's end. alike: tiles at the rims see more of the
    picture instead of less, so that all but the last have one length; the last is that long too,
    or longer where the picture's length is none of whole windows.

    Weights rise linearly from a quarter of the halo outside the tile to as far inside, so that
    the outer rim, which sees the least of its surroundings, does not count. Those of a sample
    sum to one.
    """
    spans: list[_Span] = []
    total = np.zeros(length, np.float32)
    whole, step = tile + 2 * halo + beyond, math.gcd(tile, halo)  # a multiple of the grid
    for start in range(0, length, tile):
        if start and length - start < _SMALLEST_PX:
            break  # a sliver: the tile before takes it along
        stop = start + tile if length - start - tile >= _SMALLEST_PX else length
        first, last = max(start - halo, 0), min(stop + halo + beyond, length)
        if alike and first == 0:
            last = min(whole, length)
        elif alike and last == length:
            first = max(length - whole, 0) // step * step
        positions = np.arange(first, last, dtype=np.float32)
        inside = np.full_like(positions, np.inf)  # px to the nearer cut, negative beyond it
        if first > 0:
            inside = positions - start
        if last < length:
            inside = np.minimum(inside, stop - 1 - positions)
        ramp = max(halo / 2, 1.0)
        span = slice(first, last)
        spans.append((span, np.clip(inside / ramp + 0.5, 0.0, 1.0).astype(np.float32)))
        total[span] += spans[-1][1]
    return [(span, weight / total[span]) for span, weight in spans]


def _to_tensor(view: Image, peak: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``(1, 3, H, W)`` in [0, 1], channels together; 8 and 16 bit travel to the device as such."""
    # The batch first: put before a picture whose axes were moved, it gets a stride by which torch
    # takes the layout for another one, and all that follows lies the wrong way.
    tile = torch.from_numpy(np.array(view))[None]
    if device.type == "cuda":
        tile = tile.pin_memory().to(device, non_blocking=True)
    return (tile.to(device).to(dtype) / peak).movedim(-1, 1)


def _checked(answer: object, views: torch.Size, *, blur: bool) -> Tensor:
    """The network's answer to views ``(1, 3, H, W)``, with a fourth channel for the blur."""
    expected = torch.Size((views[0], 4 if blur else 3, *views[2:]))
    if not isinstance(answer, Tensor) or answer.shape != expected:
        found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise ValueError(f"the network must return a tensor {tuple(views)}, got {found}")
    return answer


def _from_unit(image: NDArray[np.float32], peak: float, dtype: np.dtype[np.generic]) -> Image:
    if not np.isfinite(image).all():
        raise ValueError("the network returned NaN or infinite values for this pair")
    image = np.clip(image, 0.0, 1.0)
    if np.issubdtype(dtype, np.floating):
        return image
    return np.rint(image * peak).astype(dtype)
