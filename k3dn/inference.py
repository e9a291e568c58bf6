"""How a network runs while it answers: in what type and layout, in what tiles, what is made once.

All of that is decided here, before the first tile.
"""

import functools
import time
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.frozen import FIXED, freeze
from k3dn.network.model import K3DN, as_k3dn
from k3dn.views import check_number

Precision = Literal["auto", "fp32", "bf16"]

DEFAULT_MEMORY_MIB = 1024
DEFAULT_HALO_PX = 96
DEFAULT_TILE_PX = 512
"""For a network of somebody else's, whose memory nobody knows."""
WORTH_BFLOAT16 = 1.5
"""``auto`` takes bfloat16 where convolutions are at least so many times faster in it."""
_SMALLEST_TILE_PX = 32
FOREIGN_GRID_PX = (16, 16)
"""Tiles, and sizes of an exported graph, are multiples of this for a network that says nothing of
its own grid."""
_FIXED_MIB = 128
"""What does not grow with a tile: strips of scores, the convolutions' own buffers, weights."""
_FULL_SIZE_MAPS = 9
"""Feature maps of full resolution, and what is as large, at the decoder's fullest moment."""
_VIEWS_BYTES = 120
"""A px of the views in float32, of the padded ones, and of the answer."""
_BAND_BYTES = 12
"""A px of the sums over a row of tiles: three float32."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How one picture is cut."""

    tile_px: tuple[int, int]
    """Height and width of a tile without its halo, multiples of the network's grid."""
    halo_px: tuple[int, int]
    """Surroundings that a tile sees, to each side."""


def choose_dtype(model: nn.Module, precision: Precision = "auto") -> torch.dtype | None:
    """What a model computes in; None: it runs as it came.

    precision: ``fp32``, ``bf16``, or ``auto``: bfloat16 where the device is faster in it; weights
    that are not float32 stay what they are. A compiled network, and one of somebody else's, runs as
    it came. Raises ValueError where such a one is asked for bf16, and for another precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of auto, fp32, bf16, got {precision!r}")
    if not isinstance(model, K3DN):
        if precision == "bf16":
            kind = "compiled" if as_k3dn(model) else type(model).__name__
            raise ValueError(f"precision=bf16 is for a K3DN that is not compiled, not for {kind}")
        return None
    parameter = next(model.parameters())
    if precision == "auto":
        held = parameter.dtype
        return faster_dtype(parameter.device) if held == torch.float32 else held
    return torch.bfloat16 if precision == "bf16" else torch.float32


def plan_tiles(
    model: nn.Module,
    height: int,
    width: int,
    dtype: torch.dtype | None = None,
    *,
    memory_mib: int = DEFAULT_MEMORY_MIB,
    tile_px: int | None = None,
    halo_px: int = DEFAULT_HALO_PX,
) -> TilePlan:
    """Decide how a picture of ``height`` x ``width`` px is cut for a model that computes in dtype.

    memory_mib: what tiles may take beside pictures and weights; of the tiles that fit, those are
    taken of which the least is computed twice. tile_px: a size of one's own instead.
    Both lengths are rounded up to the network's grid, so that a tile has the windows of the whole
    picture; a network that resizes (``pad_to_grid=false``) takes a picture whole. Raises
    ValueError for a setting out of range, and where not even the smallest tile fits; TypeError for
    one that is no number.
    """
    check_number("memory_mib", memory_mib)
    check_number("halo_px", halo_px)
    if tile_px is not None:
        check_number("tile_px", tile_px)
    if (tile_px is not None and tile_px < _SMALLEST_TILE_PX) or halo_px < 0:
        raise ValueError(
            f"tile_px must be at least {_SMALLEST_TILE_PX} and halo_px not negative, got "
            f"{tile_px} and {halo_px}"
        )
    if memory_mib < 1:
        raise ValueError(f"memory_mib must be positive, got {memory_mib}")
    network = as_k3dn(model)
    grid = network.config.grid_px if network else FOREIGN_GRID_PX
    halo = (_round_up(halo_px, grid[0]), _round_up(halo_px, grid[1]))
    if network and not network.config.pad_to_grid:
        tile = (_round_up(height, grid[0]), _round_up(width, grid[1]))
    elif tile_px is not None or network is None:
        side = tile_px or DEFAULT_TILE_PX
        tile = (_round_up(side, grid[0]), _round_up(side, grid[1]))
    else:
        bytes_a_px = _bytes_a_px(network, dtype or torch.float32)
        tile = _tile(height, width, grid, halo, bytes_a_px, memory_mib)
    return TilePlan(tile, halo)


def least_memory_mib(
    model: nn.Module,
    height: int,
    width: int,
    dtype: torch.dtype | None = None,
    *,
    halo_px: int = DEFAULT_HALO_PX,
) -> int:
    """Return the least ``memory_mib`` that ``plan_tiles`` takes for a picture; 1 where it counts
    for nothing: in a network that resizes, and in one of somebody else's."""
    network = as_k3dn(model)
    if network is None or not network.config.pad_to_grid:
        return 1
    grid = network.config.grid_px
    halo = (_round_up(halo_px, grid[0]), _round_up(halo_px, grid[1]))
    tile = (_even_parts(height, grid[0])[-1], _even_parts(width, grid[1])[-1])
    needed = _tile_bytes(height, width, tile, halo, _bytes_a_px(network, dtype or torch.float32))
    return _FIXED_MIB + -(-needed // 2**20)


def prepare(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """The network as it runs in a type; a K3DN is copied, and the model itself stays as it is.

    The copy has channels together (channels_last), the type, and kernels and mixing weights in
    place of the spectra and factors that they are made of. dtype None: the model itself.
    """
    return _frozen(model, dtype) if isinstance(model, K3DN) and dtype is not None else model


def compile_shapes(network: nn.Module) -> nn.Module:
    """``torch.compile`` a network, a graph for each shape of tile.

    On CUDA a graph is recorded whole (a CUDA graph): its answer is to be taken away before the
    next call.
    """
    on_cuda = next(network.parameters(), torch.empty(0)).device.type == "cuda"
    mode = "reduce-overhead" if on_cuda else "default"
    return torch.compile(network, dynamic=False, mode=mode)  # type: ignore[return-value]


@functools.cache
def bfloat16_speedup() -> float:
    """How many times faster this machine's CPU convolves in bfloat16 than in float32.

    Measured, once a process: which processors have it and how fast it is, no list says for long.
    """
    layout = torch.channels_last
    with torch.inference_mode():
        x = torch.ones(1, 32, 64, 64).contiguous(memory_format=layout)
        weight = torch.ones(32, 32, 3, 3).contiguous(memory_format=layout)
        seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
        # Alternately, and the best of many short ones: others may use the machine.
        for _ in range(24):
            for dtype, times in seconds.items():
                typed, kernels = x.to(dtype), weight.to(dtype)
                start = time.perf_counter()
                F.leaky_relu(F.conv2d(typed, kernels, padding=1), 0.2)
                times.append(time.perf_counter() - start)
    return min(seconds[torch.float32]) / min(seconds[torch.bfloat16])


def faster_dtype(device: torch.device) -> torch.dtype:
    """What ``precision=auto`` computes in on a device."""
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        faster = device.type == "cpu" and bfloat16_speedup() >= WORTH_BFLOAT16
    return torch.bfloat16 if faster else torch.float32


def _bytes_a_px(network: K3DN, dtype: torch.dtype) -> int:
    """What a px of a tile takes; measured by tests/benchmarks/inference.py."""
    return (network.config.width + 6) * _FULL_SIZE_MAPS * dtype.itemsize + _VIEWS_BYTES


def _tile(
    height: int,
    width: int,
    grid: tuple[int, int],
    halo: tuple[int, int],
    bytes_a_px: int,
    memory_mib: int,
) -> tuple[int, int]:
    """Of the tiles that fit into the memory, the one with the least to compute."""
    budget = (memory_mib - _FIXED_MIB) * 2**20
    best, least = None, 0
    for tile_height in _even_parts(height, grid[0]):
        for tile_width in _even_parts(width, grid[1]):
            tile = (tile_height, tile_width)
            needed = _tile_bytes(height, width, tile, halo, bytes_a_px)
            rows, columns = _seen(height, width, tile, halo)
            computed = -(-height // tile_height) * rows * -(-width // tile_width) * columns
            if needed <= budget and (best is None or computed < least):
                best, least = tile, computed
    if best is None:
        tile = (_even_parts(height, grid[0])[-1], _even_parts(width, grid[1])[-1])
        smallest = _tile_bytes(height, width, tile, halo, bytes_a_px)
        raise ValueError(
            f"memory_mib={memory_mib} is too little: the smallest tile of {height} x {width} px "
            f"with a halo of {max(halo)} px takes {_FIXED_MIB + -(-smallest // 2**20)} "
            "MiB; allow more, or a smaller halo"
        )
    return best


def _tile_bytes(
    height: int, width: int, tile: tuple[int, int], halo: tuple[int, int], bytes_a_px: int
) -> int:
    """What a tile takes, with the sums over its row."""
    rows, columns = _seen(height, width, tile, halo)
    return rows * columns * bytes_a_px + rows * width * _BAND_BYTES


def _seen(height: int, width: int, tile: tuple[int, int], halo: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a tile with its surroundings."""
    return min(tile[0] + 2 * halo[0], height), min(tile[1] + 2 * halo[1], width)


def _even_parts(length: int, grid: int) -> list[int]:
    """Sizes of tiles that cut a length into nearly equal parts, on the grid, largest first."""
    smallest = _round_up(_SMALLEST_TILE_PX, grid)
    parts = range(1, max(length // smallest, 1) + 1)
    return sorted({_round_up(-(-length // count), grid) for count in parts}, reverse=True)


def _round_up(length: int, grid: int) -> int:
    return -(-length // grid) * grid


class _FirstLayer(nn.Module):
    """The encoder's first convolution in float32, in a network that goes on in another type.

    It looks for small differences of large values; rounding its weights costs more than all
    other rounding together, and its time does not count.
    """

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        weight = convolution.weight.float().contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.stride, self.padding = convolution.stride, convolution.padding
        self.dtype = dtype

    def forward(self, views_B6HW: Tensor) -> Tensor:
        found = F.conv2d(views_B6HW, self.weight, None, self.stride, self.padding)
        return found.to(self.dtype)


def _frozen(network: K3DN, dtype: torch.dtype) -> K3DN:
    frozen = freeze(network)
    exact = {name: part for name, part in frozen.named_modules() if isinstance(part, FIXED)}
    for name in exact:
        frozen.set_submodule(name, nn.Identity())
    frozen.to(dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Made of the weights as they came, and kept: rounded ones would be less exact.
    for name, part in exact.items():
        frozen.set_submodule(name, part)
    if dtype == torch.bfloat16:
        first = _FirstLayer(network.encoder.to_half.down, dtype)
        frozen.encoder.to_half.register_module("down", first)
    return frozen
