"""The crop and resize of DDD-syn: Keys' bicubic by hand, the published frame."""

import numpy as np
import pytest

from synth import PRESETS, Scene, generator, synthesize
from synth.crop import crop_and_resize


def keys(distance):
    """Keys' kernel, a = -1/2."""
    x = abs(distance)
    if x <= 1.0:
        return 1.5 * x**3 - 2.5 * x**2 + 1.0
    return -0.5 * x**3 + 2.5 * x**2 - 4.0 * x + 2.0 if x < 2.0 else 0.0


def enlarged_by_hand(row, length):
    """Bicubic enlargement of a row; what lies beyond its ends is left out."""
    result = []
    for place in range(length):
        source = (place + 0.5) * len(row) / length - 0.5
        weights = np.array([keys(source - n) for n in range(len(row))])
        result.append(weights @ row / weights.sum())
    return np.array(result)


def test_enlargement_is_bicubic_by_hand():
    picture = np.random.default_rng(0).random((12, 14)).astype(np.float32)
    part = (slice(2, 11), slice(1, 12))
    rows = np.array([enlarged_by_hand(row, 13) for row in picture[part]])
    expected = np.array([enlarged_by_hand(column, 10) for column in rows.T]).T
    np.testing.assert_allclose(crop_and_resize(picture, part, (10, 13)), expected, atol=1e-5)
    colour = crop_and_resize(np.repeat(picture[..., None], 3, axis=2), part, (10, 13))
    np.testing.assert_allclose(colour, np.repeat(expected[..., None], 3, axis=2), atol=1e-5)


def test_a_crop_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"nothing is left of a picture of \(20, 20\)"):
        crop_and_resize(np.zeros((20, 20)), (slice(14, 5), slice(0, 20)), (10, 10))


def test_a_pair_of_ddd_syn_is_cropped_and_resized_all_alike():
    """A scene of one depth: views are means over the window, the target is not shifted."""
    preset = PRESETS["ddd-syn"]
    part = preset.parts[1]
    rng = np.random.default_rng(1)
    scene = Scene(
        "nyu-0001",
        rng.random((480, 640, 3)).astype(np.float32),
        np.full((480, 640), 3.0, np.float32),
    )
    pair = synthesize(scene, preset.parameters(part), generator(0, ""))
    rows, columns = part.camera.crop(480, 640)
    assert (rows, columns) == (slice(14, 465), slice(14, 625))
    target = crop_and_resize(scene.image, (rows, columns), (480, 640)).clip(0.0, 1.0)
    np.testing.assert_allclose(pair.target, target * 255.0, atol=0.51)
    side = int(part.camera.window_px(scene.depth_m).max())
    assert side == 2, "not all windows are one pixel"
    shifts = list(np.ndindex(side, side))
    for view, across_sign in ((pair.left, 1), (pair.right, -1)):
        moved = (np.roll(scene.image, (d, across_sign * a), axis=(0, 1)) for d, a in shifts)
        blurred = np.sum(list(moved), axis=0) / side**2
        expected = crop_and_resize(blurred, (rows, columns), (480, 640)).clip(0.0, 1.0)
        np.testing.assert_allclose(view, expected * 255.0, atol=0.51)
    both = (pair.left.astype(float) + pair.right) / 2.0
    np.testing.assert_allclose(pair.combined, both, atol=1.0)
    np.testing.assert_allclose(
        pair.coc_px, part.camera.disparity_px(scene.depth_m).max(), rtol=1e-6
    )
