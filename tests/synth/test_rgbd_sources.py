"""RGB-D from folders and the motorcycle: pairing, units, holes, and what is refused."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synth import Scene, generator
from synth.sources.fit import fit_scene
from synth.sources.folder import RGBDFile, pair_files, read_rgbd
from synth.sources.holes import fill_depth
from synth.sources.motorcycle import motorcycle_scene
from synth.sources.rgbd import LonelyFile
from synth.sources.vary import mirrored, recoloured

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEPTH_MM = np.random.default_rng(1).integers(500, 9000, (20, 30), dtype=np.uint16)


def png(array):
    array = array[..., ::-1] if array.ndim == 3 else array
    return io.BytesIO(cv2.imencode(".png", array)[1].tobytes())


def jpeg(array):
    return cv2.imencode(".jpg", array[..., ::-1])[1].tobytes()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    return file


def test_files_are_paired_by_stem():
    names = [
        "b/002_depth.png",
        "001_image.png",
        "001_depth.png",
        "b/002_image.jpg",
        "003_image.png",
        "notes.md",
        "004_depth.png",
        "005_rgb.png",
        "006_image.txt",
    ]
    pairs, lonely = pair_files(names)
    assert pairs == [
        RGBDFile("001", "001_image.png", "001_depth.png"),
        RGBDFile("b/002", "b/002_image.jpg", "b/002_depth.png"),
    ]
    assert lonely == [
        LonelyFile("003", "003_image.png", "depth"),
        LonelyFile("004", "004_depth.png", "image"),
        LonelyFile("005", "005_rgb.png", "depth"),
    ]


def test_two_images_of_one_scene_are_refused():
    with pytest.raises(ValueError, match="both the image"):
        pair_files(["1_image.png", "1_image.jpg", "1_depth.png"])


def test_a_scene_is_read_in_its_unit():
    scene = read_rgbd(png(IMAGE), png(DEPTH_MM), scene_id="s", depth_unit="mm")
    np.testing.assert_allclose(scene.image, IMAGE / 255.0, atol=1e-6)
    np.testing.assert_allclose(scene.depth_m, DEPTH_MM / 1000.0, rtol=1e-6)
    metres = read_rgbd(png(IMAGE), npy(DEPTH_MM / 1000.0), scene_id="s", depth_unit="m")
    np.testing.assert_allclose(metres.depth_m, scene.depth_m, rtol=1e-6)
    steps = read_rgbd(png(IMAGE), png(DEPTH_MM), scene_id="s", depth_unit=0.0002)
    np.testing.assert_allclose(steps.depth_m, DEPTH_MM * 0.0002, rtol=1e-6)


def test_sixteen_bit_pictures_keep_their_levels():
    image = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    scene = read_rgbd(png(image), png(DEPTH_MM), scene_id="s")
    np.testing.assert_array_equal(np.rint(scene.image.astype(float) * 65535), image)


def test_a_film_behind_a_photograph_is_no_matter():
    scene = read_rgbd(io.BytesIO(jpeg(IMAGE) + b"film" * 9999), png(DEPTH_MM), scene_id="s")
    assert scene.image.shape == (20, 30, 3)


def with_hole(value, rows=slice(0, 20), columns=slice(0, 1)):
    depth = DEPTH_MM.astype(np.float32)
    depth[rows, columns] = value
    return depth


def claiming(shape):
    """An array file whose header says more than there is, more than any memory holds."""
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return io.BytesIO(file.getvalue())


def enlarged(data):
    """The same PNG with a header that says it is huge."""
    header = b"IHDR" + struct.pack(">II", 99999, 99999) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize(
    ("image", "depth", "message"),
    [
        (io.BytesIO(b""), png(DEPTH_MM), "s: image: the file is empty"),
        (io.BytesIO(b"GIF89a no picture"), png(DEPTH_MM), "s: image: not an image"),
        (io.BytesIO(png(IMAGE).read()[:-40]), png(DEPTH_MM), "s: image: truncated"),
        (png(IMAGE), io.BytesIO(npy(DEPTH_MM).read()[:100]), "s: depth is not a readable array"),
        (png(IMAGE), png(DEPTH_MM[:-2]), "s: depth is 30 x 18, the image 30 x 20"),
        (png(IMAGE), png(IMAGE), "s: depth must have one channel"),
        (png(IMAGE), npy(with_hole(np.nan, columns=slice(0, 9))), "s: 30.0% of the depth"),
        (png(IMAGE), npy(with_hole(np.inf)), "s: depth holds infinite"),
        (png(IMAGE), npy(with_hole(-3.0)), "s: depth holds infinite or negative"),
        (png(IMAGE), npy(np.array(["a"])), "s: depth is an array"),
        (png(IMAGE), npy(DEPTH_MM * 1000.0), "s: depth begins at [56].. m .*another unit"),
        (png(IMAGE), npy(1.0 + DEPTH_MM / 1000.0), "s: depth begins at 0.001.* m .*another unit"),
        (png(IMAGE), npy(np.zeros((20, 30, 0))), "s: depth is an array"),
        (png(IMAGE), claiming((10**7, 10**7)), "s: depth is not a readable array"),
        (io.BytesIO(enlarged(png(IMAGE).read())), png(DEPTH_MM), "s: image: 99999 x 99999 pix"),
        (npy(IMAGE.astype(np.float32)), png(DEPTH_MM), r"s: the image must lie in \[0, 1\]"),
        (
            npy(IMAGE.astype(np.int64)),
            png(DEPTH_MM),
            "s: a picture must be uint8, uint16 or float",
        ),
        (io.BytesIO(jpeg(IMAGE)[:-200] + b"film" * 999), png(DEPTH_MM), "s: image: truncated"),
    ],
)
def test_what_is_no_scene_is_refused_with_its_name(image, depth, message):
    image.seek(0)
    depth.seek(0)
    with pytest.raises(ValueError, match=message):
        read_rgbd(image, depth, scene_id="s")


@pytest.mark.parametrize("unit", ["inch", 0.0, -1.0])
def test_unknown_units_are_refused(unit):
    with pytest.raises(ValueError, match="depth_unit"):
        read_rgbd(png(IMAGE), png(DEPTH_MM), scene_id="s", depth_unit=unit)


def test_a_few_holes_are_filled():
    scene = read_rgbd(png(IMAGE), npy(with_hole(0.0, slice(3, 9), slice(4, 6))), scene_id="s")
    assert scene.depth_m.min() >= 0.5


@given(
    depth=hnp.arrays(np.float32, (5, 7), elements=st.floats(0.5, 9.0, width=32)),
    known=hnp.arrays(bool, (5, 7)),
)
def test_holes_take_the_farther_of_their_neighbours(depth, known):
    known[2, 3] = True
    filled = fill_depth(depth, known, max_unknown=1.0)
    np.testing.assert_array_equal(filled[known], depth[known])
    for row, column in np.argwhere(~known):
        if not known[row].any():
            rows = [r for r in range(5) if known[r].any()]
            nearest = min(rows, key=lambda r: abs(r - row))
            assert filled[row, column] == filled[nearest, column]
            continue
        left = [c for c in range(column) if known[row, c]][-1:]
        right = [c for c in range(column, 7) if known[row, c]][:1]
        assert filled[row, column] == max(depth[row, c] for c in left + right)


@pytest.mark.parametrize("size", [(16, 16), (10, 30), (25, 12), (64, 80)])
def test_fitting_keeps_picture_and_depth_together(size):
    """Depth that is written into the picture must still be there after both were resized."""
    ramp = np.tile(np.linspace(0.0, 1.0, 60, dtype=np.float32), (40, 1))
    scene = Scene("ramp", np.repeat(ramp[..., None], 3, axis=2), 1.0 + ramp)
    for rng in (None, generator(0, "a"), generator(1, "b")):
        fitted = fit_scene(scene, size, rng)
        assert fitted.image.shape == (*size, 3)
        np.testing.assert_allclose(fitted.image[..., 0], fitted.depth_m - 1.0, atol=0.03)


def test_random_fits_differ_and_depth_is_never_a_mean_over_an_edge():
    depth = np.where(np.arange(80) < 40, 1.0, 5.0).astype(np.float32)[None].repeat(60, axis=0)
    scene = Scene("edge", np.zeros((60, 80, 3), np.float32), depth)
    fits = [fit_scene(scene, (17, 19), generator(n, "x")).depth_m for n in range(8)]
    assert len({fit.tobytes() for fit in fits}) > 1
    assert set(np.unique(np.stack(fits))) <= {np.float32(1.0), np.float32(5.0)}


def test_motorcycle_has_metric_depth_without_holes():
    scene = motorcycle_scene()
    assert scene.image.shape == (500, 741, 3)
    # The machine stands between two and three and a half metres from the camera, the shed behind.
    assert 1.9 < scene.depth_m.min() < 2.3
    assert 4.0 < np.quantile(scene.depth_m, 0.95) < 8.0
    assert motorcycle_scene((64, 96)).image.shape == (64, 96, 3)


def test_samples_are_read():
    folder = os.environ.get("K3DN_SAMPLES")
    if not folder or not (Path(folder) / "rgbd").is_dir():
        pytest.skip("K3DN_SAMPLES is unset or has no rgbd folder: no path-traced scenes to read")
    rgbd = Path(folder) / "rgbd"
    files, _ = pair_files(path.name for path in rgbd.iterdir())
    assert len(files) >= 10
    with (rgbd / files[0].image).open("rb") as image, (rgbd / files[0].depth).open("rb") as depth:
        scene = read_rgbd(image, depth, scene_id=files[0].scene_id, depth_unit="mm")
    assert scene.image.shape == (600, 800, 3)
    assert 0.4 <= scene.depth_m.min() < scene.depth_m.max() <= 26.5


def test_a_mirrored_scene_is_picture_and_depth_turned_left_for_right():
    rng = np.random.default_rng(0)
    scene = Scene(
        "s", rng.random((9, 12, 3)).astype(np.float32), 1 + rng.random((9, 12)).astype(np.float32)
    )
    turned = mirrored(scene)
    np.testing.assert_array_equal(turned.image[4, 1], scene.image[4, 10])
    np.testing.assert_array_equal(turned.depth_m[4, 1], scene.depth_m[4, 10])
    np.testing.assert_array_equal(mirrored(turned).image, scene.image)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_recolouring_keeps_depth_and_detail(strength):
    rng = np.random.default_rng(0)
    scene = Scene(
        "s",
        rng.uniform(0.1, 0.7, (40, 50, 3)).astype(np.float32),
        1 + rng.random((40, 50)).astype(np.float32),
    )
    colours = []
    for number in range(20):
        found = recoloured(scene, generator(number, "x"), strength)
        np.testing.assert_array_equal(found.depth_m, scene.depth_m)
        colours.append(found.image.mean(axis=(0, 1)))
        grey = [image.mean(axis=2).ravel() for image in (found.image, scene.image)]
        assert np.corrcoef(*grey)[0, 1] > 0.75
        assert (found.image >= 1.0).mean() < 0.011
        if strength == 0.0:
            np.testing.assert_allclose(found.image, scene.image, atol=1e-5)
    assert (np.std(colours, axis=0) > 0.03).all() or strength == 0.0


def test_recolouring_by_more_than_wholly_is_refused():
    scene = Scene("s", np.zeros((4, 4, 3), np.float32), np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match="0 to 1"):
        recoloured(scene, generator(0, "x"), 1.5)
