"""What the network found: its kernels, where it uses them, and what it takes to be in focus."""

import html
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from k3dn.explain import CONTRAST_PERIOD_PX
from pipelines.report.page_data import Findings
from pipelines.report.pictures import RAMP_CSS, diverging, fit, jpeg, png, ramp, signed
from pipelines.report.radius import radius_legend, radius_picture

_MAX_PX = 720
_NUM_MAPS = 6
_MAX_KERNELS = 96
_TAP_PX = 12


def findings(found: Findings) -> str:
    """Return the figures of a picture's kernels and in-focus map; empty where there are none."""
    parts = []
    if found.in_focus is not None:
        parts.append(_focus(found))
    if found.kernels is not None and len(found.kernels):
        if found.kernel_weights is not None:
            parts.append(_maps(found))
        parts.append(_kernels(found))
    return "".join(parts)


def figures_of_findings(found: Findings) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Give the same as pictures (name, RGB), for files: maps as large as they are, kernels on one
    sheet, in the order and colours of the page."""
    if found.in_focus is not None:
        yield "in-focus-map", ramp(np.asarray(found.in_focus, np.float32))
        if found.coc_px is not None:
            yield "blur-radius", diverging(found.coc_px, _peak(found.coc_px))
    if found.kernels is None or not len(found.kernels):
        return
    if found.kernel_weights is not None:
        weights = np.asarray(found.kernel_weights, np.float32)
        chosen, low, high = _scaled(found)
        for index in chosen:
            yield f"use-of-kernel-{index}", ramp((weights[..., index] - low) / (high - low))
    yield "kernels", _sheet(found)


def _sheet(found: Findings) -> NDArray[np.uint8]:
    """The kernels beside each other on white, a tap some pixels wide."""
    assert found.kernels is not None
    tiles = []
    for index in _order(found)[:_MAX_KERNELS]:
        kernel = np.asarray(found.kernels[index], np.float32)
        image = signed(kernel, float(np.abs(kernel).max())).astype(np.float32)
        opacity = image[..., 3:] / 255
        flat = np.rint(opacity * image[..., :3] + (1 - opacity) * 255).astype(np.uint8)
        large = np.kron(flat, np.ones((_TAP_PX, _TAP_PX, 1), np.uint8))
        tiles.append(np.pad(large, ((2, 2), (2, 2), (0, 0)), constant_values=214))
    columns = math.ceil(math.sqrt(len(tiles)))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _peak(coc_px: NDArray[np.floating]) -> float:
    return float(np.ceil(np.abs(coc_px).max())) or 1.0


def _focus(found: Findings) -> str:
    assert found.in_focus is not None
    picture = fit(found.picture, _MAX_PX)
    height, width = picture.shape[:2]
    size = f'width="{width}" height="{height}"'
    import cv2

    small = cv2.resize(np.asarray(found.in_focus, np.float32), (width, height))
    figures = [
        (jpeg(picture), "The blurred picture", "The blurred picture"),
        (
            jpeg(ramp(np.asarray(small, np.float32))),
            "In-focus map of the picture",
            f'In-focus map<span class="ramp"><span>0</span><i style="background:{RAMP_CSS}"></i>'
            "<span>1</span></span>",
        ),
    ]
    if found.coc_px is None:
        about = (
            "1 / (1 + c), where c is how much the PSF blocks change the features of a place, by "
            "their own size."
        )
    else:
        about = (
            "1 where the picture is sharp, 0 where blur has wiped out fine detail. It is the share "
            "of contrast that the estimated blur leaves to stripes that repeat every "
            f"{CONTRAST_PERIOD_PX:.0f} px."
        )
        peak = _peak(found.coc_px)
        figures.append(
            (
                radius_picture(found.coc_px, peak, _MAX_PX),
                "Estimated blur radius of the picture",
                f"Estimated blur radius{radius_legend(peak)}",
            )
        )
    tiles = "".join(
        f'<figure><img src="{source}" alt="{name}" {size}><figcaption>{caption}</figcaption>'
        "</figure>"
        for source, name, caption in figures
    )
    return (
        f'<p class="about">The in-focus map: {about}</p><div class="pair-of-pictures">{tiles}</div>'
    )


def _order(found: Findings) -> list[int]:
    """Kernels by how much their weight changes over the picture, most first."""
    assert found.kernels is not None
    if found.kernel_weights is None:
        return list(range(len(found.kernels)))
    spread = (
        np.asarray(found.kernel_weights, np.float64).reshape(-1, len(found.kernels)).std(axis=0)
    )
    return [int(i) for i in np.argsort(-spread, kind="stable")]


def _scaled(found: Findings) -> tuple[list[int], float, float]:
    """The kernels whose maps are shown, and the range of weights that their colours span."""
    weights = np.asarray(found.kernel_weights, np.float32)
    chosen = _order(found)[:_NUM_MAPS]
    low, high = (float(f(weights[..., chosen])) for f in (np.min, np.max))
    return chosen, low, max(high, low + 1e-6)


def _maps(found: Findings) -> str:
    """Where the kernels that vary most are used, on one scale."""
    assert found.kernels is not None and found.kernel_weights is not None
    weights = np.asarray(found.kernel_weights, np.float32)
    chosen, low, high = _scaled(found)
    height, width = np.asarray(found.picture).shape[:2]
    tiles = []
    for index in chosen:
        values = (weights[..., index] - low) / (high - low)
        tiles.append(
            f'<figure><img class="map" src="{png(ramp(values))}" width="{width}" '
            f'height="{height}" alt="Weight of kernel {index} over the picture">'
            f"<figcaption>{_tile(found, index)}kernel {index}</figcaption></figure>"
        )
    return (
        '<h3>Where kernels are used</h3><p class="about">The six whose weight changes most over '
        "the picture, on one scale. The weights come from the disparity between the two views "
        f'(Eq. 8).</p><div class="maps">{"".join(tiles)}</div>'
        f'<p class="ramp"><span>{low:.2f}</span><i style="background:{RAMP_CSS}"></i>'
        f"<span>{high:.2f}</span> times the mean weight</p>"
    )


def _kernels(found: Findings) -> str:
    assert found.kernels is not None
    order = _order(found)[:_MAX_KERNELS]
    tiles = "".join(_tile(found, index) for index in order)
    side = found.kernels.shape[-1]
    more = len(found.kernels) - len(order)
    rest = f" {more} more are not shown." if more > 0 else ""
    return (
        f"<h3>The kernel set</h3><p class='about'>{len(found.kernels)} trained kernels that "
        f"{'deblur' if found.kernels_deblur else 'blur'}, {side} x {side} taps in feature space, "
        "each symmetric left to right (Eq. 2). "
        '<span class="key plus">above zero</span> <span class="key minus">below zero</span>; '
        f"opacity is the cube root of the tap.{rest}</p>"
        f'<div class="kernels">{tiles}</div>'
    )


def _tile(found: Findings, index: int) -> str:
    assert found.kernels is not None
    kernel = np.asarray(found.kernels[index], np.float32)
    source = png(signed(kernel, float(np.abs(kernel).max())))
    side = kernel.shape[-1]
    alt = html.escape(f"Kernel {index}")
    return f'<img class="kernel" src="{source}" alt="{alt}" width="{side}" height="{side}">'
