"""What comes out of a pack is what went in, and nothing else is one."""

import json
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
