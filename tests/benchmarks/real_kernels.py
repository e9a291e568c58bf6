"""The blur kernels of real dual-pixel pairs by place in the field: docs/synthesis.md.

    K3DN_SAMPLES=... python -m tests.benchmarks.real_kernels [--pixel4]

In blocks of 124 px, the kernels of left and right that lead from the target to the views with the
least square error of gradients, in linear light, none negative; fitted to them, for each block, a
disc with softened rim whose light the views divide as 1 +- tanh(ramp x + shift). `swap` of preset
`camera` is the slope of the shift over the field, which is 1 half a diagonal from the middle. The
model here is written apart from `synth.lens`. `--pixel4` looks at those scenes, too.
"""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor
from torch.nn.functional import unfold

from tests.benchmarks.real_pictures import canon_r6ii, pixel4_tool

SIDE = 25
BLOCK = 124
WORST_RESIDUAL = 0.5
"""Of the gradients of a block that are not explained; above, the block has no one blur."""
PIXEL4_FIELD = 0.533
"""Half the width of the Pixel 4 crops over half the diagonal of the whole frame."""

Array = NDArray[np.float64]


class Block(NamedTuple):
    """A part of a pair in linear light and its place in the field, left (-) to right (+)."""

    pair: str
    field: float
    left: Array
    right: Array
    target: Array


def kernels(block: Block, steps: int = 1500, ridge: float = 3e-4) -> tuple[Array, float]:
    """Return the views' kernels ``(2, SIDE, SIDE)`` of sum 1, and the worse view's residual."""
    rows = torch.cat([unfold(g[None, None], (SIDE, SIDE))[0].T for g in _gradients(block.target)])
    gram, half = rows.T @ rows / len(rows), SIDE // 2
    scale = gram.diagonal().mean()
    gram_of = gram / scale + ridge * torch.eye(SIDE * SIDE)
    rate = 1.0 / torch.linalg.eigvalsh(gram_of)[-1]
    found, residuals = [], []
    for view in (block.left, block.right):
        wanted = torch.cat([g[half:-half, half:-half].reshape(-1) for g in _gradients(view)])
        slope = rows.T @ wanted / len(rows) / scale
        kernel = ahead = torch.zeros(SIDE * SIDE)
        pace = 1.0
        for _ in range(steps):  # FISTA on the non-negative orthant
            moved = (ahead - rate * (gram_of @ ahead - slope)).clamp(min=0.0)
            faster = 0.5 * (1.0 + (1.0 + 4.0 * pace * pace) ** 0.5)
            ahead = moved + (pace - 1.0) / faster * (moved - kernel)
            kernel, pace = moved, faster
        error = (rows @ kernel - wanted).square().mean().sqrt() / wanted.std()
        residuals.append(float(error))
        # unfold correlates: the kernel that is convolved with is the turned one.
        found.append((kernel / kernel.sum()).reshape(SIDE, SIDE).flip(0, 1).double().numpy())
    return np.stack(found), max(residuals)


def _gradients(picture: Array) -> tuple[Tensor, Tensor]:
    whole = torch.tensor(picture, dtype=torch.float32)
    return whole[:, 1:] - whole[:, :-1], whole[1:] - whole[:-1]


def fit(measured: Array) -> dict[str, float]:
    """Return radius in px, ramp, shift, rim and softness of the disc nearest to both kernels."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2

    def disc(of: Array) -> Array:
        middle_x, middle_y, radius, ramp, shift, rim, softness = of
        u, v = (x - middle_x) / radius, (y - middle_y) / radius
        rho = np.hypot(u, v)
        edge = 1.0 / (1.0 + np.exp(np.clip(2.0 / softness * (rho - 1.0), -30.0, 30.0)))
        light = edge * np.clip(1.0 + rim * (2.0 * rho**2 - 1.0), 0.0, None)
        split = np.tanh(ramp * u + shift)
        views = np.stack([light * (1.0 + split), light * (1.0 - split)])
        return views / views.sum(axis=(1, 2), keepdims=True)

    least, most = [-5, -5, 1, -6, -5, -1, 0.03], [5, 5, 12, 6, 5, 1, 0.9]
    middle = float(np.clip((measured.mean(0) * x).sum(), -4.9, 4.9))
    best = min(
        (
            least_squares(
                lambda of: (disc(of) - measured).ravel(),
                [middle, 0.0, radius, 0.1, shift, 0.2, 0.2],
                bounds=(least, most),
            )
            for shift in (-2.0, 0.0, 2.0)
            for radius in (3.0, 5.0, 8.0)
        ),
        key=lambda result: result.cost,
    )
    of = dict(zip(("radius", "ramp", "shift", "rim", "softness"), best.x[2:], strict=True))
    of["explained"] = 1.0 - 2.0 * best.cost / ((measured - measured.mean()) ** 2).sum()
    return of


def blocks_of(pair: str, views: tuple[Any, Any, Any], half_field: float) -> Iterator[Block]:
    """Cut a pair ``(H, W, 3)``, 8 or 16 bit sRGB, into blocks."""
    left, right, target = (_linear(picture) for picture in views)
    height, width = target.shape
    for top in np.linspace(0, height - BLOCK, 3).astype(int):
        for start in np.linspace(0, width - BLOCK, 6).astype(int):
            part = np.s_[top : top + BLOCK, start : start + BLOCK]
            field = half_field * (2.0 * (start + BLOCK / 2) / width - 1.0)
            yield Block(pair, field, left[part], right[part], target[part])


def _linear(picture: NDArray[Any]) -> Array:
    value = picture.astype(np.float64).mean(-1) / np.iinfo(picture.dtype).max
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pixel4", action="store_true", help="the Pixel 4 scenes, too")
    torch.set_num_threads(1)
    pairs = [(s.name, (s.left, s.right, s.truth), 0.832) for s in canon_r6ii()]
    if parser.parse_args().pixel4:
        pairs += [
            (f"pixel4 {name}", tuple(pictures), PIXEL4_FIELD)
            for name, *pictures in pixel4_tool().scenes(0.5)
        ]
    for pair, views, half_field in pairs:
        for block in blocks_of(pair, views, half_field):
            measured, residual = kernels(block)
            if residual > WORST_RESIDUAL:
                continue
            x = np.arange(SIDE) - SIDE // 2
            apart = float(((measured[0] - measured[1]) * x).sum())
            of = fit(measured)
            print(
                f"{pair}, field {block.field:+.2f}: residual {residual:.2f}, views {apart:+.2f} px "
                "apart, " + ", ".join(f"{key} {value:.2f}" for key, value in of.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
