"""Kernels of all families and forms, of a measured bank, and the sign of their shift."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

import synth
from synth.psf import (
    PSF_FAMILIES,
    KernelPair,
    MeasuredBank,
    combined_kernel,
    published_butterworth,
    published_integral_window,
    published_translating_disk,
)
from synth.psf.measured import centroid_px
from tests.benchmarks.pictures.drawing import (
    BLUE,
    GREY,
    INK,
    RED,
    Cell,
    Colour,
    Picture,
    arrow,
    enlarge,
    line,
    signed_colours,
    stack,
    table,
    write,
)

RADII_PX = (-12.0, -6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 12.0)
BANK_NOTICE = "Pixel 4, calibrated by Xin et al.; MIT, Copyright (c) 2024 shadowfax11"
PUBLISHED_NAMES = {
    "butterworth": "RDPD",
    "integral": "DDD-syn",
    "translating_disk": "published",
}


def kernel_picture(kernel: np.ndarray, reach: int, factor: int) -> Picture:
    """A kernel from black to its brightest, up to `reach` px around the point, which is ticked."""
    half = kernel.shape[0] // 2
    if half < reach:
        kernel = np.pad(kernel, reach - half)
    elif half > reach:
        assert kernel[half - reach : half + reach + 1].sum() > 0.98 * kernel.sum()
        kernel = kernel[half - reach : half + reach + 1, half - reach : half + reach + 1]
    grey = np.rint(255.0 * kernel / kernel.max()).astype(np.uint8)
    picture = enlarge(np.repeat(grey[..., None], 3, axis=2), factor)
    middle, last = picture.shape[0] // 2, picture.shape[0] - 1
    for tick in (0.0, last - 4.0):
        line(picture, (tick, middle), (tick + 4, middle), (90, 150, 255))
        line(picture, (middle, tick), (middle, tick + 4), (90, 150, 255))
    return picture


def shift_px(pair: KernelPair) -> float:
    """s = x_L - x_R between the centroids of two kernels."""
    left, right = (float(centroid_px(kernel / kernel.sum())[0]) for kernel in pair)
    return left - right


def published_pair(family: str, radius_px: float) -> KernelPair | None:
    """What the published generator has for a point of that radius; None: nothing."""
    if family == "butterworth":
        return published_butterworth(round(radius_px), 3, 2.5, 0.1)[:2]
    if family == "integral":
        return published_integral_window(max(int(radius_px), 1)) if radius_px >= 0.0 else None
    left, right = published_translating_disk(radius_px)
    return 2.0 * left, 2.0 * right


def kernels_of(family: str) -> Picture:
    """Left, right and both of one family over the radii, ours above, published below."""
    rows: list[list[Cell | None]] = []
    labels: list[str] = []
    forms: list[tuple[str, Callable[[float], KernelPair | None]]] = [
        ("ours", PSF_FAMILIES[family]),
        (PUBLISHED_NAMES[family], partial(published_pair, family)),
    ]
    for name, form in forms:
        pairs = [form(radius) for radius in RADII_PX]
        shifts = [None if pair is None else shift_px(pair) for pair in pairs]
        print(family, name, "s:", *("-" if s is None else f"{s:+.2f}" for s in shifts))
        captions = [f"s {s:+.2f}" if s is not None else "" for s in shifts]
        for number, view in enumerate(("left", "right", "both")):
            cells: list[Cell | None] = []
            for radius, pair, caption in zip(RADII_PX, pairs, captions, strict=True):
                if pair is None:
                    nothing = np.full((66, 66, 3), 232, np.uint8)
                    write(nothing, "none", x=17, y=38)
                    cells.append(Cell(nothing))
                    continue
                kernel = combined_kernel(pair) if view == "both" else pair[number]
                zoom = _zoom(radius)
                picture = kernel_picture(kernel, 16 // zoom, 2 * zoom)
                cells.append(Cell(picture, caption if view == "both" else ""))
            rows.append(cells)
            labels.append(f"{name}\n{view}")
    return table(rows, headings=_headings(RADII_PX), labels=labels)


def _zoom(radius_px: float) -> int:
    """Small kernels are drawn larger."""
    return 3 if abs(radius_px) <= 3.0 else 1


def _headings(radii_px: Sequence[float]) -> list[str]:
    return [
        f"{radius:+g} px" * (radius != 0.0)
        + "in focus" * (radius == 0.0)
        + f"\n{_zoom(radius)} x larger" * (_zoom(radius) > 1)
        for radius in radii_px
    ]


def kernels_measured(bank: MeasuredBank) -> Picture:
    """Places of a measured bank over the field, and one of them over radii."""
    places, columns = (0, 2, 5), (0, 2, 5, 7)
    rows: list[list[Cell | None]] = []
    for row in places:
        cells: list[Cell | None] = []
        for number in (0, 1):
            for column in columns:
                kernel = bank.kernels[row, column, number]
                x = float(centroid_px(kernel)[0])
                cells.append(Cell(kernel_picture(kernel, 22, 2), f"x {x:+.1f} px"))
        rows.append(cells)
    print(f"kernels_measured: radius {bank.coc_px:.2f} px")
    field = table(
        rows,
        headings=[f"{view}, column {c + 1}" for view in ("left", "right") for c in columns],
        labels=[f"row {row + 1}" for row in places],
        title=f"As measured, far side, blur radius {abs(bank.coc_px):.1f} px ({BANK_NOTICE})",
    )
    radii = (-12.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 12.0)
    psf = bank.psf_at(2, 5)
    pairs = [psf(radius) for radius in radii]
    sweep: list[list[Cell | None]] = []
    for number, view in enumerate(("left", "right", "both")):
        cells = []
        for radius, pair in zip(radii, pairs, strict=True):
            kernel = combined_kernel(pair) if view == "both" else pair[number]
            caption = f"s {shift_px(pair):+.2f}" if view == "both" else ""
            zoom = _zoom(radius)
            cells.append(Cell(kernel_picture(kernel, 19 // zoom, 2 * zoom), caption))
        sweep.append(cells)
    swept = table(
        sweep,
        headings=_headings(radii),
        labels=["left", "right", "both"],
        title="Row 3, column 6, at other radii: scaled, and turned about on the near side",
    )
    return stack(field, swept)


def sign() -> Picture:
    """A near and a far point in both views, and the difference of the views."""
    rows: list[list[Cell | None]] = []
    labels = []
    half, factor = 22, 5
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    dot = np.where(np.hypot(x, y)[..., None] <= 1.5, 1.0, 0.0).repeat(3, axis=2)
    for name, radius in (("nearer\nthan focus", 9.0), ("farther\nthan focus", -9.0)):
        coc = np.full(dot.shape[:2], radius, np.float32)
        views = synth.render_layered(dot.astype(np.float32), coc, PSF_FAMILIES["butterworth"])
        places = [float(centroid_px(view[..., 1] / view[..., 1].sum())[0]) for view in views]
        brightest = max(float(view.max()) for view in views)
        s = places[0] - places[1]
        print(f"sign: radius {radius:+g}, x_L {places[0]:+.2f}, x_R {places[1]:+.2f}, s {s:+.2f}")
        cells: list[Cell | None] = []
        for letter, view, place in zip("LR", views, places, strict=True):
            grey = np.rint(255.0 * view / brightest).astype(np.uint8)
            picture = enlarge(grey, factor)
            _upright(picture, 0.0, GREY)
            _upright(picture, place, RED if letter == "L" else BLUE)
            cells.append(Cell(picture, f"x_{letter} = {place:+.2f} px"))
        difference = signed_colours((views[0] - views[1])[..., 1], brightest)
        picture = enlarge(difference, factor)
        for place, colour in zip(places, (RED, BLUE), strict=True):
            _upright(picture, place, colour)
        tail, tip = ((picture.shape[1] - 1) / 2 + factor * place for place in places[::-1])
        arrow(picture, (tail, 205), (tip, 205), INK)
        write(picture, "s", x=round(0.5 * (tail + tip)) - 4, y=198)
        cells.append(Cell(picture, f"s = x_L - x_R = {s:+.2f} px"))
        rows.append(cells)
        labels.append(f"{name}\nradius\n{radius:+g} px")
    headings = [
        "left view; grey: the point,\nred: x_L, the light's centroid",
        "right view\nblue: x_R",
        "left - right\nred: left brighter, blue: right",
    ]
    return table(rows, headings=headings, labels=labels)


def _upright(picture: Picture, x_px: float, colour: Colour) -> None:
    """A vertical line at x pixels from the middle of a square picture five times enlarged."""
    x = (picture.shape[1] - 1) / 2 + 5 * x_px
    line(picture, (x, 0), (x, picture.shape[0] - 1), colour)
