"""Local correlation: each position's scores against its neighbourhood (Eq. 11).

By tiles: all queries of a small rectangle of positions against all keys around it as one matrix
product, of which the window's part is kept. That does a few times the arithmetic where
processors are fastest, and takes features whose channels lie together (channels_last) as they
are. The plain loop over offsets stays for what looks at the operators instead of running them.
tests/benchmarks/correlation.py times both.

Letters: B batch, C channels, H W features, N tiles, Q queries of a tile, S keys around it,
m n tiles down and across.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = (4, 8)
"""Rows and columns of queries in a tile: the fastest of the shapes tried on a CPU with AMX."""
_STRIP_VALUES = 1 << 20
"""Tiles are taken strip by strip, so that no more numbers than this stand in between: as many as
a core's own cache holds."""
_STRIP_VALUES_ON_GPU = 1 << 27
"""There few and large operations count."""


def local_correlation(query_BCHW: Tensor, key_BCHW: Tensor, window: int) -> Tensor:
    """score(p, d) = mean over channels of q(p) . k(p + d), for d in a window x window square.

    No softmax, as in the authors' form; keys outside the picture are zero. Returns
    ``(B, window^2, H, W)``, offsets row by row, top left first.
    """
    # Counted is what the equation asks for, not what tiles add to it; exported are operators that
    # ONNX has, for sizes that are symbols.
    if query_BCHW.is_meta or torch.compiler.is_exporting():
        return by_offsets(query_BCHW, key_BCHW, window)
    scores: Tensor = ByTiles.apply(query_BCHW, key_BCHW, window)
    return scores


def correlate(query_BCHW: Tensor, surrounded_BCHW: Tensor, window: int) -> Tensor:
    """The same by tiles, without gradients, for keys that bring their own surroundings.

    surrounded_BCHW: keys with ``window // 2`` more to each side, so that a part of a picture has
    the scores that it has in the whole. Returns ``(B, window^2, H, W)``, channels together.
    """
    batch, channels, height, width = query_BCHW.shape
    down, across = _tiles(height, width)
    scores = query_BCHW.new_empty(batch, down * TILE[0], across * TILE[1], window**2)
    for rows, queries, keys in _strips(query_BCHW, surrounded_BCHW, window):
        # Divided before the product: half-precision sums over channels stay small.
        products = (queries / channels) @ keys.transpose(1, 2)
        wanted = scores[:, rows].unflatten(1, (-1, TILE[0])).unflatten(3, (across, TILE[1]))
        part = _window_part(products, window).unflatten(0, (batch, -1, across))
        wanted.unflatten(5, (window, window)).copy_(part.transpose(2, 3))
    return scores[:, :height, :width].permute(0, 3, 1, 2)


def by_offsets(query_BCHW: Tensor, key_BCHW: Tensor, window: int) -> Tensor:
    """The definition, offset by offset, in operators that any compiler and exporter knows."""
    surrounded, last = surround(key_BCHW, window), window - 1
    # Counted from the end a slice needs no arithmetic on symbols, and few nodes an offset.
    cuts = [slice(first, first - last or None) for first in range(window)]
    columns = [surrounded[..., cut] for cut in cuts]
    scores = [
        (query_BCHW * keys[..., cut, :]).mean(1, keepdim=True) for cut in cuts for keys in columns
    ]
    return torch.cat(scores, dim=1)


class ByTiles(torch.autograd.Function):
    """Matrix products of tiles, strip by strip; the backward pass cuts the tiles again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(query, key)
        ctx.window = window
        return correlate(query, surround(key, window), window)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key = ctx.saved_tensors
        window, reach = ctx.window, ctx.window // 2
        batch, channels, height, width = query.shape
        down, across = _tiles(height, width)
        grad_scores = _fill_up(grads[0] / channels, down, across).permute(0, 2, 3, 1)
        grad_query = query.new_empty(batch, down * TILE[0], across * TILE[1], channels)
        # The keys around the last tile reach beyond the picture, by up to one tile more.
        sides = [
            count * side + window + side for count, side in zip((down, across), TILE, strict=True)
        ]
        grad_key = key.new_zeros(batch, *sides, channels)
        for rows, queries, keys in _strips(query, surround(key, window), window):
            wanted = (
                grad_scores[:, rows].unflatten(1, (-1, TILE[0])).unflatten(3, (across, TILE[1]))
            )
            wanted = wanted.unflatten(5, (window, window)).transpose(2, 3)
            products = keys.new_zeros(len(queries), queries.shape[1], keys.shape[1])
            _window_part(products, window).unflatten(0, (batch, -1, across)).copy_(wanted)
            for_queries = (products @ keys).unflatten(0, (batch, -1, across)).unflatten(3, TILE)
            grad_query[:, rows] = for_queries.transpose(2, 3).flatten(3, 4).flatten(1, 2)
            _add_overlapping(grad_key, rows, products.transpose(1, 2) @ queries, across, window)
        inside = (slice(None), slice(reach, reach + height), slice(reach, reach + width))
        grad_query = grad_query[:, :height, :width].permute(0, 3, 1, 2)
        return grad_query, grad_key[inside].permute(0, 3, 1, 2), None


def surround(key_BCHW: Tensor, window: int) -> Tensor:
    """Zeros around the keys, as far as a window reaches."""
    reach = window // 2
    return F.pad(key_BCHW, (reach, reach, reach, reach))


def _strips(
    query: Tensor, surrounded: Tensor, window: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows of tiles: queries ``(N, Q, C)`` and the keys around them ``(N, S, C)``."""
    batch, channels, height, width = query.shape
    down, across = _tiles(height, width)
    query = _fill_up(query, down, across).permute(0, 2, 3, 1)
    surrounded = _fill_up(surrounded, down, across, window - 1).permute(0, 2, 3, 1)
    side_y, side_x = TILE[0] + window - 1, TILE[1] + window - 1
    largest = side_y * side_x * max(TILE[0] * TILE[1], channels)
    most = _STRIP_VALUES if query.device.type == "cpu" else _STRIP_VALUES_ON_GPU
    at_once = max(1, most // (largest * batch * across))
    for first in range(0, down, at_once):
        rows = slice(first * TILE[0], min(first + at_once, down) * TILE[0])
        queries = query[:, rows].unflatten(1, (-1, TILE[0])).unflatten(3, (across, TILE[1]))
        keys = surrounded[:, rows.start : rows.stop + window - 1]
        keys = keys.unfold(1, side_y, TILE[0]).unfold(2, side_x, TILE[1])
        yield (
            rows,
            queries.transpose(2, 3).flatten(3, 4).flatten(0, 2),
            keys.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(0, 2),
        )


def _add_overlapping(
    sums_BHWC: Tensor, rows: slice, keys_NSC: Tensor, across: int, window: int
) -> None:
    """Add what the keys of a strip of tiles get to their places, which overlap.

    By pieces of a tile's size: those of one place in all tiles do not overlap.
    """
    side_y, side_x = TILE[0] + window - 1, TILE[1] + window - 1
    keys = keys_NSC.unflatten(0, (len(sums_BHWC), -1, across)).unflatten(3, (side_y, side_x))
    height, width = rows.stop - rows.start, across * TILE[1]
    for y in range(0, side_y, TILE[0]):
        for x in range(0, side_x, TILE[1]):
            piece = keys[:, :, :, y : y + TILE[0], x : x + TILE[1]].transpose(2, 3)
            place = sums_BHWC[:, rows.start + y : rows.start + y + height, x : x + width]
            place = place.unflatten(1, (-1, TILE[0])).unflatten(3, (across, TILE[1]))
            place[:, :, : piece.shape[2], :, : piece.shape[4]] += piece


def _window_part(products: Tensor, window: int) -> Tensor:
    """The products of each query with the keys of its own window, ``(N, *TILE, w, w)``, a view."""
    side_y, side_x = TILE[0] + window - 1, TILE[1] + window - 1
    keys = side_y * side_x
    strides = (TILE[0] * TILE[1] * keys, TILE[1] * keys + side_x, keys + 1, side_x, 1)
    return products.as_strided((len(products), *TILE, window, window), strides)


def _tiles(height: int, width: int) -> tuple[int, int]:
    """How many tiles cover a picture, down and across."""
    return -(-height // TILE[0]), -(-width // TILE[1])


def _fill_up(x_BCHW: Tensor, down: int, across: int, more: int = 0) -> Tensor:
    """Zeros below and to the right up to whole tiles, and ``more``."""
    missing_y = down * TILE[0] + more - x_BCHW.shape[-2]
    missing_x = across * TILE[1] + more - x_BCHW.shape[-1]
    return F.pad(x_BCHW, (0, missing_x, 0, missing_y)) if missing_y or missing_x else x_BCHW
