"""Local correlation: each position's scores against its neighbourhood (Eq. 11).

Two ways to one result. By offsets: for each of the window's offsets, a product and a mean over
channels; little memory, but all features are read once an offset. By tiles: all queries of a
square of positions against all keys around it as one matrix product, of which the window's part
is kept; it does three times the arithmetic where processors are fastest. Which is faster depends
on the channels: tests/benchmarks/correlation.py.

Letters: B batch, C channels, H W features, N tiles, T side of a tile, S side of its keys.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
FEWEST_CHANNELS_FOR_TILES = 24
"""On a CPU; below, cutting out tiles costs more than it saves."""
_STRIP_VALUES = 1 << 22
"""Tiles are taken strip by strip, so that no more numbers than this stand in between."""


def local_correlation(query_BCHW: Tensor, key_BCHW: Tensor, window: int) -> Tensor:
    """score(p, d) = mean over channels of q(p) . k(p + d), for d in a window x window square.

    No softmax, as in the authors' form; keys outside the picture are zero. Returns
    ``(B, window^2, H, W)``, offsets row by row, top left first.
    """
    if torch.compiler.is_exporting():
        return correlation_by_plain_operators(query_BCHW, key_BCHW, window)
    few = query_BCHW.shape[1] < FEWEST_CHANNELS_FOR_TILES and not query_BCHW.is_cuda
    # Counted (on the meta device) is what the equation asks for, not what tiles add to it.
    way = ByOffsets if few or query_BCHW.is_meta else ByTiles
    scores: Tensor = way.apply(query_BCHW, key_BCHW, window)
    return scores


def correlation_by_plain_operators(query_BCHW: Tensor, key_BCHW: Tensor, window: int) -> Tensor:
    """The same for an exported graph: sizes may be symbols, and every operator is in ONNX."""
    padded, last = _pad(key_BCHW, window), window - 1
    # Counted from the end a slice needs no arithmetic on symbols, and few nodes an offset.
    cuts = [slice(first, first - last or None) for first in range(window)]
    columns = [padded[..., cut] for cut in cuts]
    scores = [
        (query_BCHW * keys[..., cut, :]).mean(1, keepdim=True) for cut in cuts for keys in columns
    ]
    return torch.cat(scores, dim=1)


class ByOffsets(torch.autograd.Function):
    """A loop over the offsets, with its own backward pass.

    Autograd's would fill one array of the size of all keys with zeros for each of the offsets,
    which took a third of a training step on the CPU.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(query, key)
        ctx.window = window
        padded = _pad(key, window)
        batch, _, height, width = query.shape
        scores = query.new_empty(batch, window * window, height, width)
        for index, (rows, columns) in enumerate(_offsets(window, height, width)):
            torch.mean(query * padded[..., rows, columns], dim=1, out=scores[:, index])
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key = ctx.saved_tensors
        height, width = query.shape[-2:]
        reach = ctx.window // 2
        padded = _pad(key, ctx.window)
        grad_query, grad_padded = torch.zeros_like(query), torch.zeros_like(padded)
        grad_scores = grads[0] / query.shape[1]
        for index, (rows, columns) in enumerate(_offsets(ctx.window, height, width)):
            grad = grad_scores[:, index, None]
            grad_query.addcmul_(grad, padded[..., rows, columns])
            grad_padded[..., rows, columns].addcmul_(grad, query)
        grad_key = grad_padded[..., reach : reach + height, reach : reach + width]
        return grad_query, grad_key, None


class ByTiles(torch.autograd.Function):
    """Matrix products of tiles, strip by strip; the backward pass cuts the tiles again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(query, key)
        ctx.window = window
        batch, channels, height, width = query.shape
        scores = query.new_empty(batch, window * window, height, width)
        for rows, queries, keys in _strips(query, key, window):
            # Divided before the product: half-precision sums over channels stay small.
            products = (queries / channels).transpose(1, 2) @ keys
            strip = _window_part(products, window)
            strip = strip.unflatten(0, (batch, -1, _round_up(width) // TILE))
            strip = strip.permute(0, 5, 6, 1, 3, 2, 4).flatten(5).flatten(3, 4).flatten(1, 2)
            scores[:, :, rows] = strip[:, :, : rows.stop - rows.start, :width]
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key = ctx.saved_tensors
        window, side, reach = ctx.window, TILE + ctx.window - 1, ctx.window // 2
        batch, channels, height, width = query.shape
        full_height, full_width = _round_up(height), _round_up(width)
        grad_query = torch.empty_like(query)
        grad_key = key.new_zeros(batch, channels, full_height + 2 * reach, full_width + 2 * reach)
        grad_scores = grads[0] / channels
        for rows, queries, keys in _strips(query, key, window):
            wanted = _to_tiles(grad_scores[:, :, rows], TILE)
            products = wanted.new_zeros(len(wanted), TILE * TILE, side * side)
            part = wanted.unflatten(1, (window, window)).unflatten(3, (TILE, TILE))
            _window_part(products, window).copy_(part.permute(0, 3, 4, 1, 2))
            strip_height = _round_up(rows.stop - rows.start)
            for_queries = _from_tiles(
                keys @ products.transpose(1, 2), batch, (strip_height, full_width), TILE
            )
            grad_query[:, :, rows] = for_queries[:, :, : rows.stop - rows.start, :width]
            shape = (strip_height + 2 * reach, full_width + 2 * reach)
            for_keys = _from_tiles(queries @ products, batch, shape, side)
            grad_key[:, :, rows.start : rows.start + shape[0]] += for_keys
        return grad_query, grad_key[..., reach : reach + height, reach : reach + width], None


def _strips(query: Tensor, key: Tensor, window: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows of tiles: queries ``(N, C, T * T)`` and the keys around them ``(N, C, S * S)``."""
    batch, channels, height, width = query.shape
    side, reach = TILE + window - 1, window // 2
    down, across = _round_up(height) - height, _round_up(width) - width
    query = F.pad(query, (0, across, 0, down))
    key = F.pad(key, (reach, across + reach, reach, down + reach))
    largest = max(side * side * TILE * TILE, channels * side * side)
    tile_rows = max(1, _STRIP_VALUES // (largest * batch * (width + across) // TILE))
    for first in range(0, height + down, tile_rows * TILE):
        last = min(first + tile_rows * TILE, height + down)
        yield (
            slice(first, min(last, height)),
            _to_tiles(query[:, :, first:last], TILE),
            _to_tiles(key[:, :, first : last + 2 * reach], side),
        )


def _to_tiles(x_BCHW: Tensor, side: int) -> Tensor:
    """Cut squares, TILE px apart and filled up with zeros, ``(N, C, side * side)``."""
    down, across = -x_BCHW.shape[-2] % TILE, -x_BCHW.shape[-1] % TILE
    if side == TILE and (down or across):
        x_BCHW = F.pad(x_BCHW, (0, across, 0, down))
    squares = x_BCHW.unfold(2, side, TILE).unfold(3, side, TILE).permute(0, 2, 3, 1, 4, 5)
    return squares.flatten(4).flatten(0, 2)


def _from_tiles(tiles_NCS: Tensor, batch: int, size: tuple[int, int], side: int) -> Tensor:
    """Put squares back in their places and add where they overlap, ``(B, C, *size)``."""
    columns = tiles_NCS.unflatten(0, (batch, -1)).flatten(2).transpose(1, 2)
    return F.fold(columns, size, side, stride=TILE)


def _round_up(length: int) -> int:
    return -(-length // TILE) * TILE


def _window_part(products: Tensor, window: int) -> Tensor:
    """The products of each query with the keys of its own window, ``(N, T, T, w, w)``, a view."""
    side = TILE + window - 1
    strides = (TILE * TILE * side * side, TILE * side * side + side, side * side + 1, side, 1)
    return products.as_strided((len(products), TILE, TILE, window, window), strides)


def _pad(key: Tensor, window: int) -> Tensor:
    reach = window // 2
    return F.pad(key, (reach, reach, reach, reach))


def _offsets(window: int, height: int, width: int) -> list[tuple[slice, slice]]:
    return [
        (slice(dy, dy + height), slice(dx, dx + width))
        for dy in range(window)
        for dx in range(window)
    ]
