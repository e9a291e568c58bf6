"""How far from focus each place is: the signed blur radius, estimated beside true."""

import html
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.report.page_data import BlurRadius
from pipelines.report.pictures import DIVERGING_CSS, diverging, fit, jpeg

_MAX_PX = 480


def radius_maps(pairs: Sequence[BlurRadius]) -> str:
    """Return a row of pictures a pair and one legend; ValueError where sizes do not fit."""
    if not pairs:
        return ""
    peak = float(np.ceil(max(np.abs(pair.true_px).max() for pair in pairs))) or 1.0
    rows = "".join(_row(pair, peak) for pair in pairs)
    return f'<div class="radii">{rows}</div>{radius_legend(peak)}'


def radius_legend(peak: float) -> str:
    """Return the colour scale of signed radii up to ``peak`` px."""
    return (
        f'<p class="ramp"><span>far, {peak:.0f} px</span>'
        f'<i style="background:{DIVERGING_CSS}"></i><span>near, {peak:.0f} px</span>'
        "<span>grey is in focus</span></p>"
    )


def radius_picture(values_px: NDArray[np.floating], peak: float, max_px: int) -> str:
    """Return signed radii as a data URI, at most ``max_px`` a side."""
    return jpeg(fit(diverging(values_px, peak), max_px))


def _row(pair: BlurRadius, peak: float) -> str:
    height, width = np.asarray(pair.picture).shape[:2]
    for values in (pair.estimated_px, pair.true_px):
        if values.shape != (height, width):
            raise ValueError(
                f"{pair.title}: a radius map is {values.shape}, the picture {(height, width)}"
            )
    title = html.escape(pair.title)
    error = float(np.sqrt(np.mean((pair.estimated_px - pair.true_px.astype(np.float64)) ** 2)))
    tiles = (
        (jpeg(fit(pair.picture, _MAX_PX)), "Blurred", title),
        (
            radius_picture(pair.estimated_px, peak, _MAX_PX),
            "Estimated blur radius",
            f"estimated, {error:.2f} px (RMS) from the truth",
        ),
        (radius_picture(pair.true_px, peak, _MAX_PX), "True blur radius", "true"),
    )
    figures = "".join(
        f'<figure><img src="{source}" alt="{name}: {title}" width="{width}" height="{height}">'
        f"<figcaption>{caption}</figcaption></figure>"
        for source, name, caption in tiles
    )
    return f'<div class="radius">{figures}</div>'
