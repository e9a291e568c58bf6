"""Where the published DDD-syn generator is wrong (Pan et al., CVPR 2021)."""

from dataclasses import replace

import cv2
import numpy as np

import synth
from synth import Camera, Scene
from synth.psf import IntegralParameters
from synth.published_cameras import DDD_SYN_CAMERAS, DddSynCamera
from tests.benchmarks.pictures.drawing import (
    BLUE,
    GREEN,
    RED,
    Cell,
    Curve,
    Picture,
    beside,
    cross,
    enlarge,
    line,
    plot,
    table,
)
from tests.benchmarks.pictures.scenes import (
    TEAL,
    bands,
    disc_before,
    edge_band,
    marked,
    our_parameters,
    photograph,
    profile,
    psf_of,
    published_parameters,
    rms_levels,
    thin_lens,
)


def ddd_lens(camera: DddSynCamera, focus_m: float) -> Camera:
    """DDD-syn's lens, focused at a distance: lengths of the scene divided as it does."""
    return Camera(
        focal_length_mm=1e3 * camera.focal_length_m * camera.depth_divisor,
        f_number=camera.focal_length_px / camera.aperture_px,
        focus_distance_m=focus_m,
        pixel_pitch_um=1e6 * camera.focal_length_m * camera.depth_divisor / camera.focal_length_px,
    )


def ddd_focus_m(camera: DddSynCamera, far_m: float) -> float:
    """The distance that DDD-syn's sensor is focused at, behind the farthest point of a picture."""
    focal = camera.focal_length_px
    far = far_m / camera.depth_divisor / (camera.focal_length_m / focal)
    sensor = focal * far / (far - focal) - camera.sensor_offset_px
    in_scene = camera.depth_divisor * camera.focal_length_m / focal
    return float(focal * sensor / (sensor - focal) * in_scene)


def depth_of_disparity(camera: DddSynCamera, disparity_px: float, far_m: float) -> float:
    """The depth that has a disparity in a picture whose farthest point is far_m away."""
    depth_m = np.geomspace(0.3, far_m, 200001)
    return float(np.interp(-disparity_px, -camera.disparity_px(depth_m), depth_m))


def ddd_window() -> Picture:
    """Where a point goes, and a letter with it."""
    camera, size, side = DDD_SYN_CAMERAS["idx4"], 45, 13
    far_m = 10.0
    near_m = depth_of_disparity(camera, side + 0.01, far_m)
    lens = ddd_lens(camera, ddd_focus_m(camera, far_m))
    square = replace(our_parameters(lens, "integral"), psf=IntegralParameters(height=1.0))
    dot = np.zeros((size, size, 3), np.float32)
    dot[21:24, 21:24] = 1.0
    ink = np.zeros((size, size), np.uint8)
    cv2.putText(ink, "T", (14, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2, cv2.LINE_AA)
    letter = (ink[..., None] / np.float32(255.0)).repeat(3, axis=2)
    rows: list[list[Cell | None]] = []
    for image in (dot, letter):
        # Somewhere in the picture is the far end of the room, or nothing would be blurred.
        canvas = np.pad(image, ((40, 40), (40, 40), (0, 0)))
        inside = np.s_[40:-40, 40:-40]
        depth_m = np.full(canvas.shape[:2], near_m, np.float32)
        depth_m[:10] = far_m
        scene = Scene("letter", canvas, depth_m)
        published = photograph(scene, published_parameters("ddd-syn", "idx4"))
        ours = photograph(scene, square)
        target = published.target[inside]
        at = _centre(target)
        cells: list[Cell | None] = [Cell(_guided(target, at, at), "moved right, down:")]
        for pair, decode in ((published, np.asarray), (ours, synth.srgb_to_linear)):
            # Where the light is: in the values that were blurred.
            at = _centre(decode(pair.target[inside] / 255.0))
            for view in (pair.left, pair.right, pair.combined):
                values = view[inside] / 255.0
                where = _centre(decode(values))
                across, down = (round(w - a, 1) + 0.0 for w, a in zip(where, at, strict=True))
                shown = np.rint(255.0 * values / values.max()).astype(np.uint8)
                cells.append(Cell(_guided(shown, at, where), f"{across:+.1f}, {down:+.1f} px"))
                moved = np.subtract(where, at).round(2)
                print(f"ddd_window: k {side}, moved by {moved}")
        rows.append(cells)
    views = ("left", "right", "both")
    headings = ["target", *(f"{name}\n{view}" for name in ("DDD-syn", "ours") for view in views)]
    return table(rows, headings=headings)


def _centre(picture: np.ndarray) -> tuple[float, float]:
    """Centroid (x, y) in pixels of what is bright in the green channel."""
    light = picture[..., 1].astype(float)
    x, y = np.arange(light.shape[1]), np.arange(light.shape[0])
    return float(light.sum(axis=0) @ x / light.sum()), float(light.sum(axis=1) @ y / light.sum())


def _guided(
    picture: Picture, at: tuple[float, float], where: tuple[float, float], factor: int = 3
) -> Picture:
    """Enlarged, with lines through the target's centroid and a cross at the picture's own."""
    large = enlarge(picture, factor)
    x, y, own_x, own_y = (factor * (v + 0.5) - 0.5 for v in (*at, *where))
    line(large, (0, y), (large.shape[1] - 1, y), GREEN)
    line(large, (x, 0), (x, large.shape[0] - 1), GREEN)
    for shift in (-0.5, 0.5):
        cross(large, own_x + shift, own_y + shift, RED, 6.0)
    return large


def ddd_occlusion() -> Picture:
    """A disc out of focus before bands in focus: averaged by count, or in front."""
    camera, size, near_px, far_m = DDD_SYN_CAMERAS["idx4"], (104, 104), 12.0, 10.0
    near_m = depth_of_disparity(camera, near_px + 0.01, far_m)
    step = disc_before(TEAL, bands(size), near_m, far_m)
    # Ours is focused on the bands, which the published window leaves sharp: k is 1 there.
    lens = thin_lens(near_px * near_m / (far_m - near_m), far_m)
    ours = replace(our_parameters(lens, "integral"), psf=IntegralParameters(height=1.0))
    published = photograph(step.scene, published_parameters("ddd-syn", "idx4"))
    made = photograph(step.scene, ours).left
    truth = step.exact(near_px, 0.0, psf_of(ours))
    where = edge_band(step, near_px)
    errors = [rms_levels(picture, truth, where) for picture in (published.left, made)]
    print(f"ddd_occlusion: near at {near_m:.2f} m, RMS {np.round(errors, 1)} levels")
    row = 52
    cells: list[Cell | None] = [
        Cell(marked(published.target, row), f"object k = {near_px:.0f}\nbackground k = 1"),
        Cell(marked(published.left, row), f"off by {errors[0]:.0f} levels (RMS)\nnear the outline"),
        Cell(
            marked(made, row), f"off by {errors[1]:.0f} levels: what the\nobject hides is guessed"
        ),
        Cell(marked(truth, row)),
        Cell(profile({"published": published.left, "ours": made, "exact": truth}, row, (208, 290))),
    ]
    return table(
        [cells], headings=["scene", "published (DDD-syn), left", "ours, left", "exact, left"]
    )


def ddd_focus() -> Picture:
    """The same card at 2 m in a picture that sees 10 m far, and in one that sees 3 m."""
    camera, card_m = DDD_SYN_CAMERAS["idx4"], 2.0
    size = (72, 104)
    curves: list[Curve] = []
    cells: list[list[Cell | None]] = []
    lens = ddd_lens(camera, card_m)
    for far_m, colour in ((10.0, RED), (3.0, GREEN)):
        depth_m = np.linspace(0.8, far_m, 400)
        disparity_px = camera.disparity_px(depth_m)
        focus_m = ddd_focus_m(camera, far_m)
        np.testing.assert_allclose(
            ddd_lens(camera, focus_m).coc_px(depth_m), disparity_px, rtol=1e-4
        )
        at_card = float(np.interp(card_m, depth_m, disparity_px))
        print(
            f"ddd_focus: farthest {far_m} m: focus {focus_m:.2f} m, at {card_m} m {at_card:.2f} px,"
            f" least {disparity_px.min():.2f} px"
        )
        name = f"published, farthest at {far_m:g} m: focus at {focus_m:.1f} m"
        curves.append(Curve(depth_m, disparity_px, colour, name, 2))
        image = np.broadcast_to((0.55, 0.60, 0.66), (*size, 3)).copy()
        depth = np.full(size, far_m, np.float32)
        image[12:60, 16:88], depth[12:60, 16:88] = (0.95, 0.92, 0.85), card_m
        ink = np.zeros(size, np.uint8)
        cv2.putText(ink, "2 m", (30, 45), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2, cv2.LINE_AA)
        image *= 1.0 - 0.9 * ink[..., None] / 255.0
        scene = Scene("card", image.astype(np.float32), depth)
        published = photograph(scene, published_parameters("ddd-syn", "idx4"))
        ours = photograph(scene, our_parameters(lens, "integral"))
        window = int(camera.window_px(scene.depth_m)[30, 50])
        cells.append(
            [
                Cell(enlarge(published.left, 2), f"k = {window} on the card"),
                Cell(
                    enlarge(ours.left, 2),
                    f"radius {abs(float(ours.coc_px[30, 50])):.1f} px on the card",
                ),
            ]
        )
    depth_m = np.linspace(0.8, 10.0, 400)
    curves.append(Curve(depth_m, lens.coc_px(depth_m), BLUE, "thin lens, focus at 2 m", 2))
    picture = plot(
        (330, 420),
        curves,
        x_ticks=(0.8, 2, 3, 4, 6, 8, 10),
        y_ticks=(-20, -10, 0, 10, 20, 30),
        x_name="blur radius in px over depth in m, configuration idx4",
        legend=(90, 14),
    )
    pictures = table(
        cells,
        headings=["published (DDD-syn), left", "ours, left, focus at 2 m"],
        labels=["wall\nat 10 m", "wall\nat 3 m"],
    )
    return beside(pictures, picture)
