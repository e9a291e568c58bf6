"""What comes out of a pack is what went in, and nothing else is one."""

import json
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.errors import UserError
from pipelines.training.live.make_pack import PackConfig, make_pack
from pipelines.training.live.pack import PackedScene, pack_bytes, read_pack
from tests.pipelines.training.live.conftest import packed

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_pictures_and_depth_are_kept_exactly(data: st.DataObject) -> None:
    height, width = data.draw(sizes)
    image = data.draw(hnp.arrays(np.uint8, (height, width, 3)))
    depth = data.draw(st.none() | hnp.arrays(np.uint16, (height, width)))
    written = pack_bytes([PackedScene("name", "val", image, depth)])
    found = read_pack(written, where="here")
    (picture,) = found.scenes + found.photographs
    assert (picture.name, picture.split) == ("name", "val")
    assert np.array_equal(picture.image, image)
    assert (picture.depth_mm is None) == (depth is None) == (not found.scenes)
    assert depth is None or np.array_equal(picture.depth_mm, depth)
    assert written == pack_bytes([PackedScene("name", "val", image, depth)])


def test_what_is_no_pack_is_refused_in_a_line(tmp_path: Path) -> None:
    whole = pack_bytes([packed("first", "train", 1)])
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("pack.json", json.dumps({"pack": 9, "pictures": []}))
    for data in (b"", b"PK", whole[:-30], other.read_bytes()):
        with pytest.raises(UserError, match=r"^here is not a pack of scenes \(.*_pack makes one$"):
            read_pack(data, where="here")


def test_folders_become_a_pack(tmp_path: Path) -> None:
    """Smaller, every second one held out; depth stays in millimetres and has no new values."""
    for number in range(2):
        scene = packed("", "", number)
        cv2.imwrite(str(tmp_path / f"{number}_image.png"), scene.image[:, :, ::-1])
        cv2.imwrite(str(tmp_path / f"{number}_depth.png"), scene.depth_mm)
        cv2.imwrite(str(tmp_path / f"texture{number}.png"), scene.image[:, :, ::-1])
    output = tmp_path / "out" / "pack"
    keys = {"scenes": str(tmp_path), "output": str(output), "height": 24, "val": 2}
    size = make_pack(PackConfig(**keys))
    found = read_pack(output.read_bytes(), where="")
    assert output.stat().st_size == size
    assert [(s.split, s.image.shape) for s in found.scenes] == [
        ("train", (24, 32, 3)),
        ("val", (24, 32, 3)),
    ]
    assert set(np.unique(found.scenes[0].depth_mm)) == {1200, 2000}
    averaged = packed("", "", 0).image.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    error = np.abs(found.scenes[0].image.astype(float) - averaged)
    assert error[1::4, 1::4].max() <= 1.0  # within the squares, which are 4 px wide now
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (tmp_path / "texture0.png").rename(photographs / "texture0.png")
    make_pack(PackConfig(photographs=str(photographs), output=str(output), side=16))
    (photograph,) = read_pack(output.read_bytes(), where="").photographs
    assert photograph.image.shape == (16, 16, 3)
    with pytest.raises(UserError, match=r"more than most_mib=0.0001; lower height \(24\)"):
        make_pack(PackConfig(**keys, most_mib=1e-4))


def test_pictures_as_jpegs_are_nearly_the_same_and_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours come back as colours, depth exactly; without OpenCV it says what to install."""
    y, x = np.mgrid[:96, :128]
    waves = [128 + 90 * np.sin(x / a + y / b) for a, b in ((7, 11), (13, 5), (9, 17))]
    noise = np.random.default_rng(0).normal(0, 4, (96, 128, 3))
    image = np.clip(np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)
    depth = (1000 + 3 * x + y).astype(np.uint16)
    pictures = [PackedScene("a", "train", image, depth), PackedScene("b", "val", image, None)]
    coded = pack_bytes(pictures, jpeg=95)
    assert len(coded) < 0.6 * len(pack_bytes(pictures))
    found = read_pack(coded, where="here")
    for picture in (*found.scenes, *found.photographs):
        difference = picture.image.astype(int) - image
        assert np.abs(difference).mean() < 4.0 and abs(difference.mean()) < 0.3
        assert picture.image.dtype == np.uint8 and picture.image.flags.c_contiguous
    assert np.array_equal(found.scenes[0].depth_mm, depth)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"here holds JPEGs, for which OpenCV is needed; install"):
        read_pack(coded, where="here")


@pytest.mark.parametrize("quality", [79, 101])
def test_a_quality_that_spoils_pictures_is_refused(tmp_path: Path, quality: int) -> None:
    cv2.imwrite(str(tmp_path / "wood.png"), packed("", "", 0).image)
    config = PackConfig(photographs=str(tmp_path), output=str(tmp_path / "p"), jpeg=quality)
    with pytest.raises(UserError, match=f"jpeg must lie in 80 to 100, got {quality}"):
        make_pack(config)
    assert not (tmp_path / "p").exists()
