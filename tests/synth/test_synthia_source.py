"""SYNTHIA-SF: its folders, its encoded depth, and what is refused."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synth.presets import PRESETS, PublishedPreset
from synth.sources.synthia import SynthiaFrame, decode_depth, pair_frames, read_frame

STEP_M = 1000.0 / (2**24 - 1)
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEPTH_M = np.random.default_rng(1).uniform(0.5, 1000.0, (20, 30))
FRAME = SynthiaFrame(3, "0000012.png", "SEQ3/RGBLeft/0000012.png", "SEQ3/DepthLeft/0000012.png")


def encode(depth_m):
    """The encoding the other way round, in whole numbers: low byte red, high byte blue."""
    code = np.rint(np.asarray(depth_m) / STEP_M).astype(np.int64)
    return np.stack([code % 256, code // 256 % 256, code // 65536], axis=-1).astype(np.uint8)


def png(array):
    order = [2, 1, 0, 3][: array.shape[2]] if array.ndim == 3 else slice(None)
    array = array[..., order] if array.ndim == 3 else array
    return io.BytesIO(cv2.imencode(".png", array)[1].tobytes())


def test_frames_are_found_in_the_folders_of_the_sequences():
    names = [
        "SYNTHIA-SF/SEQ2/RGBLeft/0000001.png",
        "SYNTHIA-SF/SEQ2/DepthLeft/0000001.png",
        "SYNTHIA-SF/SEQ10/RGBLeft/0000000.png",
        "SYNTHIA-SF/SEQ10/DepthLeft/0000000.png",
        "SYNTHIA-SF/SEQ2/RGBLeft/0000000.png",
        "SYNTHIA-SF/SEQ2/DepthLeft/0000000.png",
        "SYNTHIA-SF/SEQ2/RGBRight/0000000.png",
        "SYNTHIA-SF/SEQ2/DepthRight/0000000.png",
        "SYNTHIA-SF/SEQ2/GTLeft/0000000.png",
        "SYNTHIA-SF/SEQ2/RGBLeft/0000002.png",
        "SYNTHIA-SF/SEQ2/DepthLeft/0000003.png",
        "SYNTHIA-SF/SEQ2/DepthLeft/notes.txt",
    ]
    frames, lonely = pair_frames(names)
    assert [(f.sequence, f.frame) for f in frames] == [
        (2, "0000000.png"),
        (2, "0000001.png"),
        (10, "0000000.png"),
    ]
    assert frames[0].image == "SYNTHIA-SF/SEQ2/RGBLeft/0000000.png"
    assert frames[0].depth == "SYNTHIA-SF/SEQ2/DepthLeft/0000000.png"
    assert [(f.scene_id, f.name.rpartition("/")[2], f.missing) for f in lonely] == [
        ("synthia-sf-0002", "0000002.png", "depth"),
        ("synthia-sf-0002", "0000003.png", "image"),
    ]
    assert pair_frames([FRAME.depth, FRAME.image]) == ([FRAME], [])


def test_scenes_are_sequences_by_the_name_the_preset_gives_them():
    preset = PRESETS["rdpd"]
    assert isinstance(preset, PublishedPreset)
    assert FRAME.scene_id == preset.scene_id(3)


def test_two_copies_of_one_frame_are_refused():
    with pytest.raises(ValueError, match=r"a/SEQ1/RGBLeft/0\.png and b/SEQ1/RGBLeft/0\.png"):
        pair_frames(["a/SEQ1/RGBLeft/0.png", "b/SEQ1/RGBLeft/0.png"])


@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(STEP_M, 1000.0)))
def test_depth_comes_back_within_one_step(depth_m):
    image = np.zeros((4, 6, 3), np.uint8)
    scene = read_frame(png(image), png(encode(depth_m)), FRAME)
    assert np.abs(scene.depth_m.astype(np.float64) - depth_m).max() <= STEP_M


@pytest.mark.parametrize(
    ("rgb", "metres"),
    [
        ((255, 255, 255), 1000.0),
        ((1, 0, 0), STEP_M),
        ((0, 1, 0), 256 * STEP_M),
        ((0, 0, 1), 65536 * STEP_M),
    ],
)
def test_bytes_count_as_published(rgb, metres):
    decoded = decode_depth(np.array([[rgb]], np.uint8))
    np.testing.assert_allclose(decoded, [[metres]], rtol=1e-6)


def test_a_frame_is_read():
    alpha = np.full((20, 30, 1), 255, np.uint8)
    scene = read_frame(png(IMAGE), png(np.concatenate([encode(DEPTH_M), alpha], axis=2)), FRAME)
    assert scene.scene_id == "synthia-sf-0003"
    np.testing.assert_array_equal(np.rint(scene.image * 255.0), IMAGE)
    np.testing.assert_allclose(scene.depth_m, DEPTH_M, atol=STEP_M)
    assert read_frame(png(IMAGE), png(encode(DEPTH_M)), FRAME, size=(10, 12)).image.shape == (
        10,
        12,
        3,
    )


def with_holes(columns):
    depth_m = DEPTH_M.copy()
    depth_m[:, :columns] = 0.0
    return png(encode(depth_m))


def test_a_few_holes_are_filled():
    assert read_frame(png(IMAGE), with_holes(1), FRAME).depth_m.min() >= 0.5


@pytest.mark.parametrize(
    ("image", "depth", "message"),
    [
        (io.BytesIO(b""), png(encode(DEPTH_M)), "image: the file is empty"),
        (io.BytesIO(png(IMAGE).read()[:-40]), png(encode(DEPTH_M)), "image: truncated"),
        (png(IMAGE), io.BytesIO(b"no picture"), "depth: not an image"),
        (png(IMAGE), png(encode(DEPTH_M)[:-2]), "depth is 30 x 18, the image 30 x 20"),
        (png(IMAGE), png(encode(DEPTH_M)[..., 0]), r"depth must be .* three channels"),
        (png(IMAGE), png(encode(DEPTH_M).astype(np.uint16)), r"depth must be a picture of 8 bits"),
        (png(IMAGE), with_holes(9), r"30.0% of the depth is unknown"),
    ],
)
def test_what_is_no_scene_is_refused_with_its_name(image, depth, message):
    image.seek(0)
    depth.seek(0)
    with pytest.raises(ValueError, match=r"^SYNTHIA-SF SEQ3 0000012\.png: " + message) as refused:
        read_frame(image, depth, FRAME)
    assert len(str(refused.value).splitlines()) == 1
