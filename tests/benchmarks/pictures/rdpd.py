"""Where the published RDPD generator is wrong (Abuolaim et al., ICCV 2021)."""

from dataclasses import replace

import cv2
import numpy as np

import synth
from synth import Scene
from synth.psf.measured import centroid_px
from synth.published_cameras import RDPD_CAMERAS
from tests.benchmarks.pictures.drawing import (
    BLUE,
    PAPER,
    RED,
    Cell,
    Curve,
    Picture,
    enlarge,
    plot,
    signed_colours,
    table,
)
from tests.benchmarks.pictures.scenes import (
    ORANGE,
    TEAL,
    bands,
    depth_at,
    disc_before,
    edge_band,
    lights,
    marked,
    our_parameters,
    photograph,
    profile,
    psf_of,
    published_parameters,
    radii_of,
    rdpd_lens,
    rms_levels,
)


def rdpd_occlusion() -> Picture:
    """A disc before bands, near blurred; a disc before lights, far blurred."""
    size, lens = (104, 104), rdpd_lens("set_2")
    scale, focus_m = lens.coc_scale_px, lens.focus_distance_m
    rows: list[list[Cell | None]] = []
    for step, what in (
        (disc_before(TEAL, bands(size), depth_at(12, lens), focus_m), "near"),
        (disc_before(ORANGE, lights(size), focus_m, depth_at(-9, lens)), "far"),
    ):
        near_px, far_px = (round(scale * (focus_m - z) / z, 9) for z in (step.near_m, step.far_m))
        ours = our_parameters(lens)
        gathered = replace(ours, renderer="gather")
        left = photograph(step.scene, published_parameters("rdpd", "set_2")).left
        made = photograph(step.scene, ours).left
        truth = step.exact(near_px, far_px, psf_of(ours))
        where = edge_band(step, max(near_px, -far_px))
        errors = [
            rms_levels(p, truth, where) for p in (left, photograph(step.scene, gathered).left, made)
        ]
        print(f"rdpd_occlusion, {what} {near_px or far_px:+g} px: RMS {np.round(errors, 1)} levels")
        row = 52 if what == "near" else 58
        sharp = synth.quantize(step.scene.image, 8)
        rows.append(
            [
                Cell(marked(sharp, row), radii_of(near_px, far_px)),
                Cell(marked(left, row), f"off by {errors[0]:.0f} levels (RMS)\nnear the outline"),
                Cell(
                    marked(made, row),
                    f"off by {errors[2]:.0f} levels: what the\nobject hides is guessed",
                ),
                Cell(marked(truth, row), ""),
                Cell(profile({"published": left, "ours": made, "exact": truth}, row, (208, 290))),
            ]
        )
    headings = ["scene", "published (RDPD), left", "ours, left", "exact, left"]
    return table(rows, headings=headings)


def rdpd_in_focus() -> Picture:
    """Stripes and letters at the focus distance."""
    lens, parameters = rdpd_lens("set_0"), published_parameters("rdpd", "set_0")
    size, periods, begin = (46, 80), (2, 3, 4, 6), 4
    image = np.full((*size, 3), 230.0)
    for period, count in zip(periods, (7, 5, 4, 3), strict=True):
        dark = np.arange(count * period - period // 2) % period < (period + 1) // 2
        image[3:22, begin : begin + dark.size][:, dark] = 25.0
        begin += dark.size + 6
    ink = np.zeros(size, np.uint8)
    cv2.putText(ink, "In focus", (3, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 255, 1, cv2.LINE_AA)
    image = np.rint(image * (1.0 - 0.9 * ink[..., None] / 255.0)).astype(np.float32)
    depth_m = np.full(size, lens.focus_distance_m, np.float32)
    scene = Scene("focus", image / np.float32(255.0), depth_m)
    published = photograph(scene, parameters)
    ours = photograph(scene, our_parameters(lens))
    assert (ours.left == ours.target).all()
    assert (ours.right == ours.target).all()
    mean_square = np.mean((published.left / 255.0 - published.target / 255.0) ** 2)
    psnr_db = -10.0 * np.log10(mean_square)
    kernels = parameters.psf(0.0)
    s = float(centroid_px(kernels[0])[0] - centroid_px(kernels[1])[0])
    columns, offsets = kernels[0].sum(axis=0), np.arange(-1, 2)
    kept = [abs((columns * np.exp(2j * np.pi * offsets / p)).sum()) for p in periods]
    print(f"rdpd_in_focus: PSNR {psnr_db:.1f} dB, s {s:+.2f} px")
    print("rdpd_in_focus: contrast kept at periods", periods, np.round(kept, 2))
    shares = ", ".join(f"{100 * share:.0f}%" for share in kept)
    pictures: list[Cell | None] = [
        Cell(enlarge(published.target, 4), "stripes of period 2, 3, 4 and 6 px"),
        Cell(enlarge(published.left, 4), f"contrast kept of them: {shares}"),
        Cell(enlarge(ours.left, 4), "the target itself"),
    ]
    differences: list[Cell | None] = [None]
    for pair, caption in ((published, f"s = {s:+.2f} px, as if far"), (ours, "s = 0: all equal")):
        difference = (pair.left.astype(float) - pair.right)[..., 1]
        differences.append(Cell(enlarge(signed_colours(difference, 255.0), 4), caption))
    return table(
        [pictures, differences],
        headings=["target", "published (RDPD)", "ours"],
        labels=["left", "left\n- right"],
    )


def rdpd_radii() -> Picture:
    """A thin line over a slope: its width is the blur's."""
    lens, camera = rdpd_lens("set_0"), RDPD_CAMERAS["set_0"]
    columns: list[list[Cell | None]] = []
    for (near_m, far_m), height, zoom, x_ticks, y_ticks in (
        ((0.4, 1.2), 66, 1, (0.4, 0.5, 0.625, 0.75, 0.875, 1, 1.2), (0, 8, 16, 24, 32)),
        ((2.5, 14.0), 15, 4, (2.5, 3.25, 4.25, 6.125, 11.375, 14), (-3, -2, -1, 0, 1, 2, 3)),
    ):
        width = 440 // zoom
        depth_m = np.geomspace(near_m, far_m, width)
        fine_m = np.geomspace(near_m, far_m, 2000)
        radius = [np.asarray(c.coc_px(fine_m), float) for c in (camera, lens)]
        picture = plot(
            (170, 471),
            [
                Curve(fine_m, radius[0], RED, "published", 2),
                Curve(fine_m, radius[1], BLUE, "thin lens", 2),
            ],
            x_ticks=x_ticks,
            y_ticks=y_ticks,
            x_name="blur radius in px over depth in m",
            log_x=True,
            legend=(300, 14),
        )
        image = np.zeros((height, width, 3), np.float32)
        image[height // 2] = 1.0
        depth = np.broadcast_to(depth_m, (height, width)).astype(np.float32)
        scene = Scene("slope", image, depth)
        cells: list[Cell | None] = [
            Cell(picture, "a line of 1 px, both views, brightness stretched column by column:")
        ]
        # Encoded values in both, so that the radii alone differ.
        ours = replace(our_parameters(lens), light="srgb")
        for parameters in (published_parameters("rdpd", "set_0"), ours):
            pair = photograph(scene, replace(parameters, bit_depth=16))
            grey = pair.combined[..., 1] / pair.combined[..., 1].max(axis=0)
            strip = np.rint(255.0 * grey[..., None]).astype(np.uint8).repeat(3, axis=2)
            strip = np.pad(enlarge(strip, zoom), ((0, 0), (31, 0), (0, 0)), constant_values=PAPER)
            cells.append(Cell(strip))
        columns.append(cells)
        difference = np.abs(radius[0] - radius[1])
        print(f"rdpd_radii: {near_m} to {far_m} m: largest difference {difference.max():.2f} px")
        steps = radius[0][np.flatnonzero(np.diff(radius[0]))]
        print("rdpd_radii: published radii", steps.tolist(), radius[0][-1])
    return table(
        list(zip(*columns, strict=True)),
        headings=["near: bins of 0.125 m", "about the focus at 5 m: whole radii, and never 0"],
        labels=["", "published\n(RDPD)", "ours"],
    )


def rdpd_highlights() -> Picture:
    """Lights at night, far out of focus."""
    lens = rdpd_lens("set_2")
    size = (96, 140)
    image = np.broadcast_to((0.10, 0.11, 0.16), (*size, 3)).copy()
    y, x = np.mgrid[: size[0], : size[1]]
    spots = (
        (24, 26, 2.0, (1, 1, 1)),
        (24, 68, 3.0, (1, 0.9, 0.5)),
        (24, 112, 4.0, (1, 0.35, 0.25)),
        (70, 28, 3.0, (0.5, 1, 0.6)),
        (70, 72, 4.0, (1, 1, 1)),
        (70, 114, 2.0, (0.6, 0.8, 1)),
    )
    for row, column, radius, colour in spots:
        image[np.hypot(y - row, x - column) <= radius] = colour
    scene = Scene("night", image.astype(np.float32), np.full(size, depth_at(-9, lens), np.float32))
    published = photograph(scene, published_parameters("rdpd", "set_2"))
    ours = photograph(scene, our_parameters(lens))

    def light(picture: Picture) -> float:
        """Linear light above the ground about the white spot."""
        part = picture[part_of_white].astype(float) / 255.0
        return float((synth.srgb_to_linear(part) - synth.srgb_to_linear(part[:1, :1])).sum())

    part_of_white = np.s_[53:87, 55:89]
    cells: list[Cell | None] = [Cell(enlarge(published.target, 2), "lights of radius 2 to 4 px")]
    for pair in (published, ours):
        brightest = int(pair.combined[part_of_white].max())
        share = light(pair.combined) / light(published.target)
        print(f"rdpd_highlights: {100 * share:.1f}% of the light, brightest {brightest}")
        caption = (
            f"white light, lower middle: {100 * share:.0f}%\n"
            f"of its light, at most {brightest} of 255"
        )
        cells.append(Cell(enlarge(pair.combined, 2), caption))
    return table([cells], headings=["scene", "published (RDPD), both views", "ours, both views"])
