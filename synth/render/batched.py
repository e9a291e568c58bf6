"""The layered renderer by tiles, for a batch of pictures, on any device.

It renders what `synth.render.layered` renders, by few and large operations. A picture is cut into
tiles that overlap. In each, pixels on depth edges taken apart (`synth.render.batch_edges`), the
radii are cut into groups, nearest first, so that each depth edge lies between two groups
(`synth.render.tiles`): within a group radii change slowly and nothing hides anything. So the blurs
of a group's levels of radius are summed as products of Fourier transforms and go back together.
With kernels K_i of levels i, the group's pixels A, shared linearly among its levels (A_i), and what
lies behind the group, shared as the radii of the group's nearest pixels say (B_i):

    colour = sum_i K_i * (A_i I) / sum_i K_i * (A_i + B_i)
    alpha  = sum_i K_i * A_i     / sum_i K_i * (A_i + B_i)
    view   = sum over groups of colour * prod over nearer groups of (1 - alpha)

which for groups of one level is the formula of `layered`. A tile pays for its own groups and levels
only, and for no group that its nearer ones hide.
"""

import numpy as np
import torch
from torch import Tensor

from synth.render.batch_edges import COC, SHARE, extremes, separate_pieces, whole_pieces
from synth.render.batch_kernels import BatchKernels
from synth.render.layered import KNOWN
from synth.render.tiles import Group, Levels, Tiling, groups_of

_ROUNDING = 1e-5  # what sums of shares may be off
_OPAQUE = 1e-3  # light that still passes when all behind is taken as hidden
_NEAR_PX = 1.0  # what is unknown is continued from pixels as near as this, if there are any
_LEAST = 1e-6  # what is divided by, at least
_EVEN_PX = 4.0  # up to this radius levels lie evenly, beyond it farther and farther apart
_TILES_PX = 1 << 16  # of tiles worked on at a time, measured: about what stays in a cache
_TOGETHER_PX = 1 << 24


def render_batch(
    light: Tensor,
    coc_px: Tensor,
    kernels: BatchKernels,
    *,
    step_px: float = 0.5,
    mixed_edges: bool = True,
    together: bool | None = None,
) -> Tensor:
    """Render the two dual-pixel views of a batch of sharp pictures.

    light: float32 (B, 3, H, W), linear, may exceed 1. coc_px: float32 (B, H, W), signed blur
    radius, near positive. step_px: distance of neighbouring levels of radius near focus; it grows
    with the radius beyond 4 px. mixed_edges: pixels on depth edges hold light of both sides and are
    taken apart; False takes each pixel as of one depth. together: whether pictures are worked on at
    once, in few and large operations that do not look at what others gave, as suits a GPU; None:
    not on a CPU. Returns float32 (B, 2, 3, H, W), left and right view, on the device of light. The
    scene goes on mirrored beyond the borders.

    Not together, pictures are worked on one by one: the bytes of one do not depend on the batch it
    is in, as long as `kernels.half_px` does not. Together, groups of a tile that nothing of can be
    seen are not left out, and the batch shares its levels of radius.
    Raises ValueError on shapes that do not fit, values that are not finite, or a step that is not
    positive.
    """
    _check(light, coc_px, step_px)
    together = light.device.type != "cpu" if together is None else together
    size = coc_px.shape[1] * coc_px.shape[2]
    count = max(1, _TOGETHER_PX // size) if together else 1
    views = torch.empty(light.shape[0], 2, *light.shape[1:], device=light.device)
    for start in range(0, light.shape[0], count):
        part = slice(start, start + count)
        numbers = torch.arange(light.shape[0])[part]
        views[part] = _render(
            light[part],
            coc_px[part],
            kernels,
            numbers,
            step_px=step_px,
            mixed_edges=mixed_edges,
            together=together,
        )
    return views


def _check(light: Tensor, coc_px: Tensor, step_px: float) -> None:
    if light.ndim != 4 or light.shape[1] != 3:
        raise ValueError(f"light must be (B, 3, H, W), got {tuple(light.shape)}")
    if coc_px.shape != (light.shape[0], *light.shape[2:]):
        raise ValueError(f"coc_px is {tuple(coc_px.shape)}, light {tuple(light.shape)}")
    if not step_px > 0.0:
        raise ValueError(f"step_px must be positive, got {step_px}")


def _render(
    light: Tensor,
    coc_px: Tensor,
    kernels: BatchKernels,
    numbers: Tensor,
    *,
    step_px: float,
    mixed_edges: bool,
    together: bool,
) -> Tensor:
    """Pictures at once. numbers: (B,), on the CPU, which of the batch they are.

    Returns (B, 2, 3, H, W).
    """
    height, width = coc_px.shape[1:]
    # Asked for together, so that a GPU is waited for once.
    ends = torch.stack([*torch.aminmax(coc_px), *torch.aminmax(light)])
    lowest, highest, *brightness = ends.tolist()
    if not np.isfinite([lowest, highest, *brightness]).all():
        raise ValueError("light and coc_px must be finite")
    levels = Levels(lowest, highest, step_px, max(_EVEN_PX, step_px))
    radii = levels.radii()
    half = max(kernels.half_px(float(c)) for c in (radii[0], radii[-1], min(radii, key=abs)))
    tiling = Tiling(height, width, half, overlap=kernels.varies)

    near, far = extremes(coc_px)
    pieces = (
        separate_pieces(light, coc_px, near, far) if mixed_edges else whole_pieces(light, coc_px)
    )
    pieces[:, :, COC] = levels.position(pieces[:, :, COC])
    groups = groups_of(pieces[:, :, COC], pieces[:, 1, SHARE], near, far, levels, tiling)
    tiles = tiling.cut(pieces.flatten(1, 2))
    transfers = _Transfers(kernels, numbers, radii, tiling, light.device)
    views = tiling.canvas(light)
    total = tiling.count * len(light)
    amount = _TOGETHER_PX if together else _TILES_PX
    count = max(1, amount // tiling.side**2)
    if together:  # whole pictures, which can be put together at once
        count = max(1, count // tiling.count) * tiling.count
    for start in range(0, total, count):
        chosen = np.arange(start, min(start + count, total))
        if together:
            part = slice(start // tiling.count, (start + count) // tiling.count)
            maps = tiles[part].permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        else:
            maps = torch.stack([tiles[tiling.place(tile)] for tile in chosen.tolist()])
        shown = _render_tiles(maps, chosen, groups, transfers, tiling, together=together)
        if together:
            views[part] = tiling.joined(shown)
        else:
            tiling.put(views, chosen, shown)
    return views[..., :height, :width]


class _Transfers:
    """Transforms of kernels, for tiles and levels."""

    def __init__(
        self,
        kernels: BatchKernels,
        numbers: Tensor,
        radii: np.ndarray,
        tiling: Tiling,
        device: torch.device,
    ) -> None:
        """numbers: (B,), on the CPU, which of the batch the pictures are. radii: of the levels."""
        self._kernels, self._numbers, self._tiling = kernels, numbers, tiling
        self._radii = torch.from_numpy(radii.astype(np.float32)).to(device)
        self._middles = tiling.middles().to(device)
        self._known = np.empty(0, dtype=np.int64)
        self._spectra = torch.empty(0)
        self.near = _nearness(tiling.side, device)

    def prepare(self, tile: np.ndarray, level: np.ndarray) -> int:
        """Make what is needed for these N tiles and levels. Returns of how many colours, 1 or 3."""
        keys = np.unique(self._keys(tile, level))
        if self._kernels.varies:  # each is of one tile: none will be asked for again
            self._known, self._spectra = self._known[:0], torch.empty(0)
        missing = np.setdiff1d(keys, self._known, assume_unique=True)
        if missing.size:
            made = self._made(missing)
            if self._known.size:
                colours = max(made.shape[2], self._spectra.shape[2])
                both = [t.expand(-1, -1, colours, -1, -1, -1) for t in (self._spectra, made)]
                made = torch.cat(both)
            order = np.argsort(np.concatenate([self._known, missing]))
            self._known = np.concatenate([self._known, missing])[order]
            if (order[1:] < order[:-1]).any():
                made = made[_index(order, made.device)]
            self._spectra = made
        return int(self._spectra.shape[2])

    def _made(self, keys: np.ndarray) -> Tensor:
        """Transforms of N kernels, complex64 (N, 2, 1 or 3 colours, 1, F, F // 2 + 1)."""
        device = self._radii.device
        owner, radius = np.divmod(keys, len(self._radii))
        radii = self._radii[_index(radius, device)]
        if self._kernels.varies:
            picture = self._numbers[torch.from_numpy(owner // self._tiling.count)]
            place = self._middles[_index(owner % self._tiling.count, device)]
        else:
            picture = self._numbers[torch.from_numpy(owner)]
            place = torch.zeros(len(keys), 2, device=device)
        made = self._kernels(picture, radii, place, self._tiling.half)
        # What a GPU holds is not looked at, which would wait for it: colours stay apart there.
        if device.type == "cpu" and torch.equal(made, made[:, :, :1].expand_as(made)):
            made = made[:, :, :1]
        side = self._tiling.side
        return torch.fft.rfft2(made, s=(side, side))[:, :, :, None]

    def __call__(self, tile: np.ndarray, level: np.ndarray) -> Tensor:
        """Of N tiles and levels: complex64 (N or 1, 2, colours, 1, F, F // 2 + 1)."""
        at = np.searchsorted(self._known, self._keys(tile, level))
        if (at == at[0]).all():
            return self._spectra[int(at[0])][None]
        return self._spectra[_index(at, self._spectra.device)]

    def _keys(self, tile: np.ndarray, level: np.ndarray) -> np.ndarray:
        """One number for each kernel: tile or picture, then level."""
        owner = tile if self._kernels.varies else tile // self._tiling.count
        return np.asarray(owner * len(self._radii) + level)


def _index(at: np.ndarray, device: torch.device) -> Tensor:
    """Integers on a device, without waiting for what it is at."""
    return torch.from_numpy(np.ascontiguousarray(at, dtype=np.int64)).to(device, non_blocking=True)


def _render_tiles(
    maps: Tensor,
    chosen: np.ndarray,
    groups: list[Group],
    transfers: _Transfers,
    tiling: Tiling,
    *,
    together: bool,
) -> Tensor:
    """Tiles N, by number chosen, which ascend without gaps. maps: (N, 10, F, F), two pieces.

    together: never look at what was computed. Returns (N, 2, 3, S, S), what the tiles show.
    """
    here = [group.of(chosen) for group in groups]
    colours = transfers.prepare(
        *(
            np.concatenate([getattr(group, name) for group in here])
            for name in ("every_tile", "every_level")
        )
    )
    shown = tiling.shown
    views = maps.new_zeros(len(maps), 2, colours, 3 // colours, shown, shown)
    passing = maps.new_ones(len(maps), 2, colours, 1, shown, shown)
    lit = np.ones(len(maps), dtype=bool)
    for nearest, group in zip([True] + [False] * (len(here) - 1), here, strict=True):
        for part in group.split(lit[group.tile - chosen[0]]):
            at = part.tile - chosen[0]
            index = _index(at, maps.device) if at.size < len(maps) else None
            through = passing if index is None else passing[index]
            spectra = _blur(maps if index is None else maps[index], part, transfers, colours)
            light = _normalise(
                spectra, through, transfers.near, tiling, certain=nearest, everywhere=together
            )
            alpha = light[:, :, :, -1:].clamp(0.0, 1.0)
            if index is None:
                views.addcmul_(through, light[:, :, :, :-1])
                passing = torch.addcmul(through, through, alpha, value=-1.0)
                rest = passing
            else:
                views.index_add_(0, index, through * light[:, :, :, :-1])
                rest = torch.addcmul(through, through, alpha, value=-1.0)
                passing[index] = rest
            if not together:
                lit[at] = (rest.flatten(1).amax(1) > _OPAQUE).numpy(force=True)
    # Each group's light was divided by what is known of it; the rest that passes all is rounding.
    views /= (1.0 - passing).clamp(min=1e-3)
    return views.flatten(2, 3)


def _blur(maps: Tensor, group: Group, transfers: _Transfers, colours: int) -> Tensor:
    """What a group of pixels sends, each level of it under its kernels.

    maps: (n, 10, F, F), two pieces. Returns transforms (n, 2, colours, P, F, F // 2 + 1) of the
    views' light, 3 / colours planes, matte, and, where anything lies behind the group, what is
    known: matte and what lies behind.
    """
    side, device = maps.shape[-1], maps.device
    one, two = maps[:, :5], maps[:, 5:]
    lower, upper = (
        torch.from_numpy(bound).to(device, non_blocking=True)[:, None, None]
        for bound in (group.lower, group.upper)
    )
    nearer_one, nearer_two = (piece[:, COC] < upper for piece in (one, two))
    in_one, in_two = (
        ((piece[:, COC] >= lower) & nearer).to(maps.dtype)
        for piece, nearer in ((one, nearer_one), (two, nearer_two))
    )
    planes = maps.new_empty(len(maps), 4 if group.last else 5, side, side)
    torch.mul(one[:, 1:], in_one[:, None], out=planes[:, :4])
    planes[:, :4].addcmul_(two[:, 1:], in_two[:, None])
    position = torch.where(in_one > 0.0, one[:, COC], two[:, COC])
    if not group.last:
        torch.mul(one[:, SHARE], nearer_one.to(maps.dtype), out=planes[:, 4])
        planes[:, 4].addcmul_(two[:, SHARE], nearer_two.to(maps.dtype))
        position = _spread(position, planes[:, 3], transfers.near)

    repeated = [[0, 1, 2, 3, 4], [0, 3, 4, 1, 3, 4, 2, 3, 4]][colours == 3]
    if group.last:
        repeated = [plane for plane in repeated if plane != 4]
    total: Tensor | None = None
    for slot, (at, line) in enumerate(group.slots()):
        index = _index(at, device) if at.size < len(maps) else None
        these = planes if index is None else planes[index]
        if group.levels.shape[1] > 1:
            where = position if index is None else position[index]
            a, b, c, d = torch.from_numpy(line).to(device, non_blocking=True)[..., None, None]
            share = torch.minimum(torch.addcmul(b, where, a), torch.addcmul(d, where, c))
            these = these * share.clamp_(0.0, 1.0)[:, None]
        spectrum = torch.fft.rfft2(these)
        if colours == 3:
            spectrum = spectrum[:, repeated]
        spectrum = spectrum.unflatten(1, (colours, -1))[:, None]
        transfer = transfers(group.tile[at], group.levels[at, slot])
        if total is None:
            total = spectrum * transfer
        elif index is None:
            total.addcmul_(spectrum, transfer)
        else:
            total.index_add_(0, index, spectrum * transfer)
    assert total is not None
    return total


def _spread(position: Tensor, matte: Tensor, near: Tensor) -> Tensor:
    """Positions (n, F, F) of a group where its matte is; elsewhere those of its pixels nearby.

    near: spectrum of `_nearness`.
    """
    here = (matte > 0.0).to(position.dtype)
    position = position * here
    spectra = torch.fft.rfft2(torch.stack([position, here])) * near
    total, weight = torch.fft.irfft2(spectra, s=matte.shape[-2:])
    return torch.addcmul(position, total / weight.clamp(min=_LEAST), 1.0 - here)


def _nearness(side: int, device: torch.device) -> Tensor:
    """Transform (F, F // 2 + 1) of weights that fall with the distance, by its fourth power."""
    along = torch.arange(side, device=device)
    square = torch.minimum(along, side - along).float() ** 2
    weight = (1.0 + (square[:, None] + square) / _NEAR_PX**2) ** -2.0
    return torch.fft.rfft2(weight / weight.sum())


def _normalise(
    spectra: Tensor,
    through: Tensor,
    near: Tensor,
    tiling: Tiling,
    *,
    certain: bool,
    everywhere: bool,
) -> Tensor:
    """Divide by what is known of a group; continue it where that is nothing.

    spectra: as `_blur` returns them. through: (n, 2, colours, 1, S, S), the light that comes
    through nearer groups. near: spectrum of `_nearness`. certain: whether nothing is nearer.
    everywhere: continue it in all tiles, without a look at which of them need it. Returns
    (n, 2, colours, P, S, S): light and matte.
    """
    count = 3 // through.shape[2] + 1
    blurred = _back(spectra, tiling)
    known = blurred[:, :, :, -1:]
    if certain:
        return blurred[:, :, :, :count] / known.clamp(min=KNOWN)
    known = known * (known >= _ROUNDING)
    light = blurred[:, :, :, :count] / known.clamp(min=KNOWN)
    if everywhere:
        around = _back(spectra * near, tiling)
        unknown = 1.0 - (known / KNOWN).clamp(max=1.0)
        unknown /= around[:, :, :, -1:].clamp(min=_LEAST)
        return light.addcmul_(around[:, :, :, :count], unknown)
    holes = ((known < KNOWN) & (through > _OPAQUE)).flatten(1).any(1).nonzero()[:, 0]
    if holes.shape[0]:
        if holes.shape[0] < len(light):
            spectra, known = spectra[holes], known[holes]
        around = _back(spectra * near, tiling)
        unknown = 1.0 - (known / KNOWN).clamp(max=1.0)
        unknown /= around[:, :, :, -1:].clamp(min=_LEAST)
        light.index_add_(0, holes, around[:, :, :, :count] * unknown)
    return light


def _back(spectra: Tensor, tiling: Tiling) -> Tensor:
    """From transforms (..., F, F // 2 + 1) to what tiles show of them, (..., S, S)."""
    rows = torch.fft.ifft(spectra, dim=-2)[..., tiling.seen, :]
    return torch.fft.irfft(rows, n=tiling.side, dim=-1)[..., tiling.seen]
