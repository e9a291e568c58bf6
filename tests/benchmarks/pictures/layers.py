"""How layers are put together, and a scene that is focused from near to far."""

from dataclasses import replace

import cv2
import numpy as np

import synth
from synth import Scene
from tests.benchmarks.pictures.drawing import Cell, Picture, signed_colours, table
from tests.benchmarks.pictures.scenes import (
    TEAL,
    bands,
    depth_at,
    disc_before,
    edge_band,
    marked,
    our_parameters,
    photograph,
    profile,
    psf_of,
    radii_of,
    rdpd_lens,
    rms_levels,
)


def composite_sum() -> Picture:
    """Eq. 5 of the paper against the default, on a picture of one colour and on bands."""
    size, lens = (104, 104), rdpd_lens("set_2")
    plain = np.full((*size, 3), 0.7)
    rows: list[list[Cell | None]] = []
    for step, near_px, far_px in (
        (disc_before(plain, plain, depth_at(12, lens), lens.focus_distance_m), 12.0, 0.0),
        (disc_before(plain, plain, lens.focus_distance_m, depth_at(-9, lens)), 0.0, -9.0),
        (
            disc_before(TEAL, bands(size), depth_at(12, lens), lens.focus_distance_m),
            12.0,
            0.0,
        ),
    ):
        over = our_parameters(lens)
        summed, fine = (
            photograph(step.scene, replace(over, composite=c, bit_depth=16)).left / 65535.0
            for c in ("sum", "over")
        )
        truth = step.exact(near_px, far_px, psf_of(over))
        what = radii_of(near_px, far_px)
        eight, made = synth.quantize(summed, 8), synth.quantize(fine, 8)
        if np.ptp(step.scene.image) < 1e-5:
            captions = [_lights_kept(picture, step.scene) for picture in (summed, fine)]
        else:
            where = edge_band(step, near_px)
            captions = [
                f"off by {rms_levels(picture, truth, where):.0f} levels"
                for picture in (eight, made)
            ]
        print("composite_sum:", what.replace("\n", ", "), captions)
        sharp = synth.quantize(step.scene.image, 8)
        rows.append(
            [
                Cell(marked(sharp, 52), what),
                Cell(marked(eight, 52), captions[0]),
                Cell(marked(made, 52), captions[1]),
                Cell(marked(truth, 52)),
                Cell(profile({"Eq. 5": eight, "ours": made, "exact": truth}, 52, (208, 290))),
            ]
        )
    headings = ["scene", "composite=sum (Eq. 5), left", "default, left", "exact, left"]
    return table(rows, headings=headings)


def _lights_kept(picture: np.ndarray, scene: Scene) -> str:
    light = synth.srgb_to_linear(picture) / synth.srgb_to_linear(scene.image)
    return f"light {100 * light.min():.0f}% to {100 * light.max():.0f}%"


def focus_sweep() -> Picture:
    """One scene, focused from near to far by one lens."""
    scene, focus_places_m = cards_on_a_floor()
    near_m, far_m, greatest_px = float(scene.depth_m.min()), float(scene.depth_m.max()), 8.0
    # Pixels such that the lens, focused on the farthest point, blurs the nearest by that much.
    focal_mm, f_number = 35.0, 2.0
    pitch_um = 0.5 * focal_mm**2 / f_number * (1.0 / near_m - 1.0 / far_m) / greatest_px
    pictures: list[Cell | None] = []
    maps: list[Cell | None] = []
    for focus_m in focus_places_m:
        camera = synth.Camera(
            focal_length_mm=focal_mm,
            f_number=f_number,
            focus_distance_m=focus_m,
            pixel_pitch_um=pitch_um,
        )
        pair = photograph(scene, our_parameters(camera))
        low, high = (round(float(v), 1) + 0.0 for v in (pair.coc_px.min(), pair.coc_px.max()))
        print(f"focus_sweep: {focus_m} m: radii {low:+.1f} to {high:+.1f} px")
        pictures.append(Cell(pair.left, f"focus at {focus_m:.1f} m"))
        maps.append(Cell(signed_colours(pair.coc_px, greatest_px), f"{low:+.1f} to {high:+.1f} px"))
    return table([pictures, maps], labels=["left view", "radius:\nnear red,\nfar blue"])


def cards_on_a_floor() -> tuple[Scene, tuple[float, ...]]:
    """Cards that name their distance, on a chequered floor before a brick wall; and distances."""
    height, width, wall_m, near_m, horizon = 150, 212, 8.0, 0.8, 66
    rows, columns = np.mgrid[:height, :width]
    brick = (rows % 8 > 0) & ((columns + rows // 8 % 2 * 9) % 18 > 0)
    image = np.where(brick[..., None], (0.66, 0.34, 0.26), (0.85, 0.80, 0.74))
    down = np.clip((rows - horizon) / (height - 1 - horizon), 0.0, 1.0)
    dioptres = 1.0 / wall_m + down * (1.0 / near_m - 1.0 / wall_m)
    depth_m = 1.0 / dioptres
    # Squares of the floor, in metres: across (x - middle) / f times depth.
    fine_rows, fine_columns = (np.mgrid[: 8 * height, : 8 * width] + 0.5) / 8.0 - 0.5
    fine_m = 1.0 / np.interp(fine_rows[:, :1], np.arange(height), dioptres[:, 0])
    squares = np.floor((fine_columns - width / 2) / 110.0 * fine_m / 0.2) + np.floor(fine_m / 0.2)
    share = (squares % 2).reshape(height, 8, width, 8).mean(axis=(1, 3))[..., None]
    floor = share * (0.28, 0.32, 0.36) + (1.0 - share) * (0.82, 0.82, 0.78)
    image = np.where((rows > horizon)[..., None], floor, image)
    cards = (
        (3.0, 158, (0.95, 0.80, 0.30)),
        (1.6, 100, (0.60, 0.85, 0.95)),
        (1.0, 8, (0.95, 0.95, 0.9)),
    )
    for card_m, left, colour in cards:
        foot = int(np.flatnonzero(depth_m[:, 0] <= card_m)[0])
        high, wide = round(62.0 / card_m**0.75), round(84.0 / card_m**0.75)
        part = np.s_[foot - high : foot, left : left + wide]
        ink = np.zeros((high, wide), np.uint8)
        size = 0.95 / card_m**0.75
        place = (round(0.07 * wide), round(0.66 * high))
        cv2.putText(
            ink, f"{card_m:.1f} m", place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA
        )
        image[part] = np.array(colour) * (1.0 - 0.9 * ink[..., None] / 255.0)
        depth_m[part] = card_m
    scene = Scene("cards", image.astype(np.float32), depth_m.astype(np.float32))
    return scene, (0.8, 1.0, 1.6, 3.0, wall_m)
