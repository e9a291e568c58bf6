"""NYU's file, SYNTHIA-SF's folders and measured kernels, through the whole step."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import synth
from pipelines.dataset.record import SPLITS, Pair
from pipelines.dataset.version import DatasetVersion, open_version
from pipelines.errors import UserError
from pipelines.making.publish import REJECTED
from pipelines.storage import locate
from pipelines.synthesis.camera_config import OpticsConfig, SensorConfig, TargetConfig
from pipelines.synthesis.config import KERNEL_FAMILIES, PRESETS, PUBLISHED_PRESETS, SynthConfig
from pipelines.synthesis.lens_config import BankConfig, LensConfig
from pipelines.synthesis.scene_sources import Picture, SceneUnit, open_scenes
from pipelines.synthesis.synthesize import make
from pipelines.synthesis.synthetic_pairs import ranges_of, shot_ranges_of
from synth.choices import MEASURED
from synth.distortion import source_scale
from synth.presets import CameraPreset, OwnPreset, PublishedPreset
from synth.published_cameras import RDPD_CAMERAS
from synth.render import render_gather
from synth.render.interface import Psf

SMALL: dict[str, Any] = {"size": "48x64", "max_coc_px": 4.0, "pairs_per_shard": 4}


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}-{os.getpid()}"


def made(config: SynthConfig) -> DatasetVersion:
    result = make(config)
    return open_version(locate(config.root), f"{result.dataset}@{result.version}")


def pairs_of(version: DatasetVersion) -> list[Pair]:
    return [version.read_pair(s, n) for s in SPLITS for n in range(version.rows(s))]


def write_nyu(path: Path, count: int, size: tuple[int, int] = (60, 80)) -> NDArray[np.uint8]:
    """A file in the form of the published one, two pictures a room; return its pictures."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    images = np.stack([cv2.resize(picture, size[::-1]) for picture in coarse]).astype(np.uint8)
    depths = np.full((count, *size), 3.0, np.float32)
    depths[:, 20:40, 20:50] = 1.5
    with h5py.File(path, "w") as file:
        file["images"] = images.transpose(0, 3, 2, 1)
        file["depths"] = depths.transpose(0, 2, 1)
        cells = file.create_dataset("scenes", (1, count), dtype=h5py.ref_dtype)
        for number in range(count):
            name = f"#refs#/{number}"
            file[name] = np.array([[ord(letter)] for letter in f"room_{number // 2}"], np.uint16)
            cells[0, number] = file[name].ref
    return images


def write_synthia(folder: Path, frames: dict[int, int], size: tuple[int, int] = (60, 80)) -> None:
    """Sequences with so many frames each, a near box before a far wall."""
    rng = np.random.default_rng(0)
    depth_m = np.full(size, 40.0)
    depth_m[20:40, 20:50] = 3.0
    code = np.rint(depth_m * (2**24 - 1) / 1000.0).astype(np.int64)
    bgr = np.stack([code // 65536, code // 256 % 256, code % 256], axis=-1).astype(np.uint8)
    for sequence, count in frames.items():
        for kind in ("RGBLeft", "DepthLeft"):
            (folder / f"SEQ{sequence}" / kind).mkdir(parents=True)
        for number in range(count):
            picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), size[::-1])
            place = folder / f"SEQ{sequence}"
            cv2.imwrite(str(place / "RGBLeft" / f"{number:06d}.png"), picture)
            cv2.imwrite(str(place / "DepthLeft" / f"{number:06d}.png"), bgr)


def test_pictures_of_nyu(root: str, tmp_path: Path) -> None:
    file = tmp_path / "nyu_depth_v2_labeled.mat"
    images = write_nyu(file, 12)
    as_it_is = {"size": None, "mirror": 0.0, "recolour": 0.0}
    config = SynthConfig(root=root, source=str(file), pairs=24, **SMALL | as_it_is)
    pairs = pairs_of(made(config))
    assert len(pairs) == 24
    rooms: dict[str, set[str]] = {}
    for pair in pairs:
        rooms.setdefault(pair.scene_id, set()).add(pair.split)
        (source,) = pair.provenance.sources
        number = int(source.file.removeprefix("nyu_depth_v2_labeled.mat#"))
        assert pair.scene_id == f"nyu-room_{(number - 1) // 2}"
        assert pair.pair_id.startswith(f"nyu-{number:04d}-")
        assert len(source.sha256) == 64
        assert pair.target is not None
        np.testing.assert_array_equal(pair.target, images[number - 1])
    assert len(rooms) == 6
    assert all(len(splits) == 1 for splits in rooms.values())
    assert make(config).existed
    with h5py.File(file, "r+") as opened:  # same name, same size
        opened["images"][0, 0, 0, 0] ^= 1
    with pytest.raises(UserError, match="content of its input files has changed"):
        make(config)


def test_a_picture_of_nyu_without_a_room_or_with_bad_depth_stops_nothing(
    root: str, tmp_path: Path
) -> None:
    file = tmp_path / "labelled.mat"
    write_nyu(file, 8)
    with h5py.File(file, "r+") as opened:
        opened["#refs#/3"][...] = 0  # the room's name: no letters
        opened["depths"][5, 10:40] = np.nan
    config = SynthConfig(root=root, source=str(file), pairs=7, max_rejected=0.3, **SMALL)
    version = made(config)
    assert len(pairs_of(version)) == 6
    with version.location.child(REJECTED).open() as table:
        found = {row["path"]: row["reason"] for row in pq.read_table(table).to_pylist()}
    assert sorted(found) == ["nyu-0004", "nyu-0006"]
    assert "NYU image 4: its scene's name is empty" in found["nyu-0004"]
    assert "NYU image 6: 37.5% of the depth is unknown" in found["nyu-0006"]
    with h5py.File(file, "r+") as opened:
        for name in opened["#refs#"].values():
            name[...] = 0
    with pytest.raises(UserError, match="NYU image 1: its scene's name is empty"):
        make(SynthConfig(root=root, version="v2", source=str(file)))


def test_frames_of_synthia(root: str, tmp_path: Path) -> None:
    write_synthia(tmp_path, {1: 3, 2: 3, 3: 3, 4: 4})
    (tmp_path / "SEQ2" / "RGBLeft" / "000001.png").write_bytes(b"\x89PNG")
    (tmp_path / "SEQ4" / "DepthLeft" / "000002.png").unlink()
    config = SynthConfig(root=root, source=str(tmp_path), pairs=12, max_rejected=0.2, **SMALL)
    version = made(config)
    pairs = pairs_of(version)
    assert len(pairs) == 11
    assert {pair.scene_id for pair in pairs} == {f"synthia-sf-000{n}" for n in (1, 2, 3, 4)}
    streets = {(pair.scene_id, pair.split) for pair in pairs}
    assert len(streets) == 4, "all frames of a street lie in one split"
    with version.location.child(REJECTED).open() as opened:
        found = {row["path"]: row["reason"] for row in pq.read_table(opened).to_pylist()}
    assert sorted(found) == ["SEQ2/RGBLeft/000001.png", "SEQ4/RGBLeft/000002.png"]
    assert "SEQ2 000001.png: image: not an image" in found["SEQ2/RGBLeft/000001.png"]
    assert found["SEQ4/RGBLeft/000002.png"] == "there is no depth for it"
    with pytest.raises(UserError, match=r"a unit of its own and .*: leave depth_unit and scene_of"):
        make(SynthConfig(root=root, source=str(tmp_path), depth_unit="m"))


def test_rejects_count_among_what_the_source_holds(root: str, tmp_path: Path) -> None:
    """One frame of 18 without a partner does not fail a version of four pairs."""
    write_synthia(tmp_path, {1: 6, 2: 6, 3: 6})
    (tmp_path / "SEQ2" / "DepthLeft" / "000005.png").unlink()
    keys = SMALL | {"source": str(tmp_path), "pairs": 4}
    version = made(SynthConfig(root=root, max_rejected=0.1, **keys))
    assert len(pairs_of(version)) == 4
    assert version.manifest["rejected"] == 1
    with pytest.raises(UserError, match="1 of 18 inputs were rejected"):
        make(SynthConfig(root=root, version="v2", max_rejected=0.05, **keys))


def test_a_bad_picture_of_many_pairs_is_one_reject(root: str, tmp_path: Path) -> None:
    write_synthia(tmp_path, {1: 2, 2: 2})
    (tmp_path / "SEQ1" / "RGBLeft" / "000000.png").write_bytes(b"\x89PNG")
    keys = SMALL | {"source": str(tmp_path), "pairs": 12}
    version = made(SynthConfig(root=root, max_rejected=0.3, **keys))
    assert len(pairs_of(version)) == 9
    assert version.manifest["rejected"] == 1
    with pytest.raises(UserError, match="3 of 12 pairs were rejected"):
        make(SynthConfig(root=root, version="v2", max_rejected=0.2, **keys))


def test_lost_pairs_and_lonely_files_add_up(root: str, tmp_path: Path) -> None:
    write_synthia(tmp_path, {1: 5, 2: 5})
    (tmp_path / "SEQ1" / "RGBLeft" / "000000.png").write_bytes(b"\x89PNG")
    (tmp_path / "SEQ2" / "DepthLeft" / "000000.png").unlink()
    config = SynthConfig(root=root, source=str(tmp_path), pairs=9, max_rejected=0.2, **SMALL)
    with pytest.raises(UserError, match="1 of 10 inputs and 1 of 9 pairs were rejected"):
        make(config)
    assert len(pairs_of(made(replace(config, max_rejected=0.25)))) == 8


def test_the_published_rdpd_from_its_frames(root: str, tmp_path: Path) -> None:
    """Every camera takes every frame; names, splits and pixels are the generator's."""
    write_synthia(tmp_path, dict.fromkeys(range(1, 7), 2))
    config = SynthConfig.of_preset("rdpd", root=root, source=str(tmp_path), pairs=60)
    pairs = {pair.pair_id: pair for pair in pairs_of(made(config))}
    assert len(pairs) == 60
    assert {p.scene_id for p in pairs.values() if p.split == "test"} == {"synthia-sf-0003"}
    assert sum(p.split == "test" for p in pairs.values()) == 10
    pair = pairs["set_2-016-000001"]
    assert pair.provenance.kernel_family == "rdpd"
    names = pair.provenance.parameters["files"]
    assert [n["left"] for n in names] == [
        "dd_dp_dataset_synth_vid/train_l/source/seq_016/000001.png"
    ]
    tested = pairs["set_0-003-000000"].provenance.parameters["files"]
    assert [n["left"].split("/")[1] for n in tested] == ["test_l", "val_l"]
    # The camera's radii, gathered from gamma-encoded values, without noise.
    camera = RDPD_CAMERAS["set_2"]
    picture = cv2.imread(str(tmp_path / "SEQ4" / "RGBLeft" / "000001.png"))[..., ::-1]
    depth_m = np.full((60, 80), 40.0)
    depth_m[20:40, 20:50] = 3.0
    coc_px = camera.coc_px(depth_m)
    assert pair.coc is not None
    np.testing.assert_array_equal(pair.coc, coc_px.astype(np.float16))
    part = next(
        part
        for part in synth.PRESETS["rdpd"].parts
        if part.camera.name == "set_2" and 4 in part.scenes
    )
    psf: Psf = part.kernels
    left, _ = render_gather(picture / np.float32(255.0), coc_px, psf, border="reflect")
    np.testing.assert_allclose(pair.left, 255.0 * left, atol=0.6)


@pytest.mark.slow
def test_the_published_ddd_syn_from_its_pictures(root: str, tmp_path: Path) -> None:
    file = tmp_path / "labelled.mat"
    write_nyu(file, 6, size=(96, 128))
    config = SynthConfig.of_preset("ddd-syn", root=root, source=str(file), pairs=30)
    pairs = pairs_of(made(config))
    assert {pair.pair_id for pair in pairs} == {
        f"idx{camera}-{1000 * camera + number:04d}" for camera in range(5) for number in range(1, 7)
    }
    for pair in pairs:
        assert pair.left.shape == (480, 640, 3)
        assert pair.coc is not None
        assert pair.coc.min() > 0, "all blur is of one side"
        assert pair.provenance.parameters["shot_noise"] == 0.0
    wanted = pairs[0].provenance.parameters["files"][0]
    assert wanted["disparity"].startswith("NYU/training/disp/")


def test_more_pairs_than_a_published_set_has(root: str, tmp_path: Path) -> None:
    write_synthia(tmp_path, {3: 2})
    config = SynthConfig.of_preset("rdpd", root=root, source=str(tmp_path), pairs=20000)
    with pytest.raises(UserError, match="preset rdpd has 11120 pairs, got pairs=20000"):
        make(config)


def test_a_preset_without_its_pictures_says_how_many_there_are(root: str, tmp_path: Path) -> None:
    write_synthia(tmp_path, {3: 2})
    config = SynthConfig.of_preset("rdpd", root=root, source=str(tmp_path))
    with pytest.raises(
        UserError, match=r"pictures for 10 \(10 test\) of the 11120 pairs.*with pairs=10"
    ):
        make(config)
    other = SynthConfig.of_preset("ddd-syn", root=root, source=str(tmp_path), pairs=1)
    with pytest.raises(UserError, match=r"made from NYU Depth v2's labelled file.*is synthia-sf"):
        make(other)


def test_the_keys_of_our_preset_are_its_ranges() -> None:
    preset = synth.PRESETS["k3dn"]
    assert isinstance(preset, OwnPreset)
    assert ranges_of(SynthConfig.of_preset("k3dn")) == preset.ranges


def test_the_keys_of_preset_camera_are_its_ranges() -> None:
    preset = synth.PRESETS["camera"]
    assert isinstance(preset, CameraPreset)
    assert shot_ranges_of(SynthConfig.of_preset("camera")) == preset.ranges
    # Each key of the lens, the sensor and the target has a say.
    plain = SynthConfig.of_preset("camera")
    for group in ("optics", "sensor", "target"):
        section = getattr(plain, group)
        for entry in fields(section):
            value = getattr(section, entry.name)
            other: Any = [0.3, 0.4] if isinstance(value, list) else 1.0
            if entry.name in ("balance", "highlights", "jpeg_quality"):
                other = [1.5, 1.6]
            elif entry.name in ("blur", "spherical"):
                other = [0.01, 0.02]
            elif entry.name in ("lateral", "axial"):
                other = 0.01
            elif entry.name in ("near_share", "exposure"):
                other = 0.25
            elif entry.name == "frame_width":
                other = 2048
            elif isinstance(value, bool):
                other = True
            changed = replace(plain, **{group: replace(section, **{entry.name: other})})
            assert shot_ranges_of(changed) != preset.ranges, f"{group}.{entry.name}"


def test_pairs_of_preset_camera(root: str) -> None:
    keys = {"root": root, "pairs": 6, "size": "48x64", "textures": "none"}
    optics = OpticsConfig(blur=[0.05], frame_width=128)
    config = SynthConfig.of_preset(
        "camera",
        **keys,
        kernels=["aperture", "butterworth"],
        kernel_weights=[1.0, 3.0],
        optics=optics,
        target=TargetConfig(blur=[0.1]),
    )
    pairs = pairs_of(made(config))
    assert {pair.provenance.kernel_family for pair in pairs} <= {"aperture", "butterworth"}
    for pair in pairs:
        parameters = pair.provenance.parameters
        assert parameters["window"]["frame_px"] == [128 / 1.5, 128.0]
        assert parameters["target_blur"] == 0.1
        assert pair.coc is not None
        assert 0 < np.abs(pair.coc.astype(np.float64)).max() <= 1.25 * 0.05 * 128 + 0.01
        assert pair.left.dtype == np.uint8
        assert not np.array_equal(pair.left, pair.right)
    with pytest.raises(UserError, match="made from other input or settings"):
        make(replace(config, optics=replace(optics, cat_eye=[0.1])))


def test_our_preset_draws_from_its_ranges(root: str) -> None:
    config = SynthConfig.of_preset("k3dn", root=root, pairs=8, size="32x48", textures="none")
    assert (config.bit_depth, config.max_coc_px, config.min_coc_px) == (16, 16.0, 1.0)
    pairs = pairs_of(made(config))
    assert all(pair.left.dtype == np.uint16 for pair in pairs)
    gains = [pair.provenance.parameters["gain"][0] for pair in pairs]
    assert len(set(gains)) == 8
    assert all(0.95 <= gain <= 1.05 for gain in gains)
    assert all(pair.provenance.parameters["radial_distortion"] for pair in pairs)
    assert max(float(np.abs(pair.coc).max()) for pair in pairs if pair.coc is not None) > 8


def test_a_lens_that_was_asked_for(root: str) -> None:
    """A 50 mm f/2 focused at 4 m, and what the closed form of a thin lens says of it."""
    lens = LensConfig(focal_length_mm=[50.0], f_number=[2.0], focus_distance_m=[4.0])
    keys = SMALL | {"textures": "none", "pairs": 3, "lens": lens, "max_coc_px": 100.0}
    for pair in pairs_of(made(SynthConfig(root=root, **keys))):
        reader = open_scenes(SynthConfig(root=root, **keys)).reader
        picture = Picture(picture_id=pair.scene_id, scene_id=pair.scene_id)
        unit = SceneUnit(
            pair_id=pair.pair_id, scene_id=pair.scene_id, split=pair.split, picture=picture
        )
        depth_mm = 1e3 * reader.read(unit)[0].depth_m.astype(np.float64)
        magnified = 50.0**2 / 2.0 * (1.0 / depth_mm - 1.0 / 4000.0) / (1.0 - 50.0 / 4000.0)
        radius_px = 0.5 * magnified / (36.0 / 64)
        assert pair.coc is not None
        np.testing.assert_allclose(pair.coc, radius_px, rtol=2e-3, atol=1e-3)


def test_lenses_of_a_range(root: str) -> None:
    lens = LensConfig(focal_length_mm=[24.0, 85.0])
    keys = SMALL | {"textures": "none", "pairs": 6, "lens": lens}
    cameras = [
        pair.provenance.parameters["camera"]
        for pair in pairs_of(made(SynthConfig(root=root, **keys)))
    ]
    lengths = {camera["focal_length_mm"] for camera in cameras}
    assert len(lengths) == 6
    assert 24.0 <= min(lengths) < max(lengths) <= 85.0
    assert all(1.4 <= camera["f_number"] <= 8.0 for camera in cameras)


def test_measured_kernels(root: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "bank.npz"
    np.savez(file, kernels=rng.random((2, 3, 2, 7, 7)), notes=np.zeros(3))
    bank = BankConfig(file=str(file), radius_px=3.0)
    keys = SMALL | {"pairs": 3, "textures": "none", "kernels": ["measured"], "bank": bank}
    version = made(SynthConfig(root=root, **keys))
    for pair in pairs_of(version):
        assert pair.provenance.kernel_family == "measured"
        (source,) = pair.provenance.sources
        assert (source.role, source.file) == ("kernels", "bank.npz")
        assert source.sha256 == locate(str(file)).sha256()
    with pytest.raises(UserError, match="made from other input or settings"):
        make(SynthConfig(root=root, **keys | {"bank": BankConfig(file=str(file), radius_px=2.0)}))
    # Another calibration under the same name is told from the first, wherever scenes come from.
    np.savez(file, kernels=rng.random((2, 3, 2, 7, 7)), notes=np.zeros(3))
    with pytest.raises(UserError, match="made from other input or settings"):
        make(SynthConfig(root=root, **keys))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (None, "there is no such file"),
        (np.zeros((2, 2)), r"must be \(rows, columns, 2, k, k\)"),
        (np.zeros((1, 1, 2, 3, 3)), "is all zero"),
    ],
)
def test_unusable_measured_kernels(
    root: str, tmp_path: Path, array: NDArray[np.float64] | None, words: str
) -> None:
    file = tmp_path / "bank.npy"
    if array is not None:
        np.save(file, array)
    config = SynthConfig(root=root, kernels=["measured"], bank=BankConfig(file=str(file)))
    with pytest.raises(UserError, match=rf"bank\.file .*bank\.npy: .*{words}"):
        make(config)


def test_measured_kernels_that_an_object_store_does_not_have(root: str) -> None:
    config = SynthConfig(root=root, kernels=["measured"], bank=BankConfig(file=f"{root}/bank.npy"))
    with pytest.raises(UserError, match=r"bank\.file memory://.*/bank\.npy: there is no such file"):
        make(config)


def test_a_file_that_is_not_nyu_s(root: str, tmp_path: Path) -> None:
    file = tmp_path / "other.mat"
    for content in (b"", b"MATLAB 5.0 MAT-file, and no HDF5 at all" * 20):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"source .*other\.mat: NYU Depth v2 file"):
            make(SynthConfig(root=root, source=str(file)))
    with pytest.raises(UserError, match=r"source .*gone\.mat: there is no such file"):
        make(SynthConfig(root=root, source=str(tmp_path / "gone.mat")))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"preset": "rdpd2"}, "preset must be one of ddd-syn, rdpd, k3dn, camera, got 'rdpd2'"),
        ({"kernels": ["measured"]}, "kernels=measured and bank.file"),
        ({"kernels": ["aperture"]}, "kernels=aperture is only for preset=camera"),
        ({"kernel_weights": [1.0]}, r"kernel_weights=1\.0 does not fit kernels="),
        (
            {"sensor": SensorConfig(contrast=[0.1])},
            "sensor.contrast would change nothing: it is for preset=camera",
        ),
        ({"bank": BankConfig(file="x.npy")}, "kernels=measured and bank.file"),
        ({"renderer": "scatter"}, "give kernels=integral with it"),
        ({"renderer": "gather", "composite": "sum"}, "composite=sum goes with renderer=layered"),
        ({"max_coc_px": None}, "max_coc_px=none is only for preset ddd-syn"),
        ({"min_coc_px": 9.0}, "min_coc_px must be above 0 and at most max_coc_px"),
        (
            {"bank": BankConfig(side="near")},
            "bank.side would change nothing: there is no bank.file",
        ),
        (
            {"lens": LensConfig(f_number=[2.0])},
            "lens.f_number would change nothing: there is no lens.focal_length_mm",
        ),
        (
            {"lens": LensConfig(focal_length_mm=[50.0]), "min_coc_px": 1.0},
            "min_coc_px would change nothing: blur follows from the lens",
        ),
        (
            {"preset": "k3dn", "lens": LensConfig(focal_length_mm=[50.0]), "min_coc_px": 2.5},
            "min_coc_px would change nothing: blur follows from the lens",
        ),
        (
            {"source": "motorcycle", "scene_of": "picture"},
            "scene_of would change nothing: scene_of is for a folder",
        ),
        ({"source": "x", "textures": "none"}, "textures would change nothing: textures are for"),
        ({"depth_unit": "m"}, "depth_unit would change nothing"),
        ({"source": "nyu.mat", "depth_unit": "m"}, "depth_unit would change nothing"),
        (
            {"source": "x", "depth_unit": "nan"},
            "depth_unit must be m, dm, cm, mm, or the metres of",
        ),
        ({"size": "480x640", "radial_distortion": 0.15}, "below 0.136, where the corners fold"),
        ({"gain": -0.1}, "gain must be from 0 to 0.9"),
        ({"radial_distortion": 1.0}, "radial_distortion must be from 0 to 0.2"),
        ({"device": "tpu"}, "device must be cpu or cuda, got 'tpu'"),
        ({"device": "cuda:1"}, "device must be cpu or cuda, got 'cuda:1'"),
    ],
)
def test_impossible_settings(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SynthConfig(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"gain": 2.0}, "gain must be from 0 to 0.9, got 2"),
        ({"renderer": "gather"}, "preset camera has renderer=layered, not gather; leave"),
        ({"max_coc_px": 4.0}, "preset camera has max_coc_px=none, not 4"),
        (
            {"lens": LensConfig(focal_length_mm=[50.0])},
            "lens.focal_length_mm would change nothing: preset camera has its cameras",
        ),
        ({"kernels": ["square"]}, "kernels must be among aperture, butterworth"),
        (
            {"kernel_weights": [0.0]},
            r"kernel_weights=.* does not fit kernels=aperture",
        ),
    ],
)
def test_what_preset_camera_does_not_take(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SynthConfig.of_preset("camera", **keys)


def test_what_no_lens_and_no_sensor_has() -> None:
    with pytest.raises(ValueError, match=r"optics\.cat_eye must be one number, or the least and"):
        OpticsConfig(cat_eye=[0.5, 0.2])
    with pytest.raises(ValueError, match=r"sensor\.jpeg_share must be from 0 to 1, got 2"):
        SensorConfig(jpeg_share=2.0)
    with pytest.raises(ValueError, match=r"target\.blur must be one number"):
        TargetConfig(blur=[])


def test_what_a_published_preset_fixes_stays_as_it_is() -> None:
    with pytest.raises(ValueError, match=r"preset rdpd has renderer=gather, not layered; leave"):
        SynthConfig.of_preset("rdpd", source="x", renderer="layered")
    with pytest.raises(ValueError, match=r"preset ddd-syn has size=none, not 256x256"):
        SynthConfig.of_preset("ddd-syn", source="x", size="256x256")
    with pytest.raises(ValueError, match=r"preset ddd-syn has radial_distortion=0\.0, not 0\.02"):
        SynthConfig.of_preset("ddd-syn", source="x", radial_distortion=0.02)
    assert SynthConfig.of_preset("rdpd", source="x", radial_distortion=1.0).radial_distortion


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"source": "procedural"}, "preset rdpd is made from SYNTHIA-SF.*; give source="),
        ({"source": "motorcycle"}, "preset rdpd is made from SYNTHIA-SF.*; give source="),
        ({"radial_distortion": -1.0}, "radial_distortion in preset rdpd must be 0, or 1 for"),
        ({"seed": 7}, "seed would change nothing: in preset rdpd nothing is drawn"),
        ({"val_fraction": 0.3}, "val_fraction would change nothing: preset rdpd has its splits"),
        ({"bank": BankConfig(file="b.npz")}, "bank.file would change nothing: preset rdpd has its"),
        ({"textures": "none"}, "textures would change nothing"),
        ({"depth_unit": "m"}, "depth_unit would change nothing"),
    ],
)
def test_what_a_published_preset_has_no_use_for_is_refused(
    keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        SynthConfig.of_preset("rdpd", **{"source": "x"} | keys)


def test_distortion_as_strong_as_allowed_is_never_refused(root: str) -> None:
    """At the corner of this size the strongest lens allowed all but folds the picture."""
    keys = SMALL | {"size": "48x64", "radial_distortion": 0.136, "textures": "none"}
    assert len(pairs_of(made(SynthConfig(root=root, pairs=6, **keys)))) == 6
    # B = -0.136, the strongest of those drawn, which six pairs need not meet.
    source_scale((48, 64), (0.0, -0.136, 0.0, 1.136))


def test_what_may_be_chosen_is_there() -> None:
    """`synth.choices` lists names, from which help is printed; what they name is elsewhere."""
    assert set(KERNEL_FAMILIES) == {*synth.PSF_FAMILIES, MEASURED}
    assert set(PRESETS) == set(synth.PRESETS)
    published = {name for name, p in synth.PRESETS.items() if isinstance(p, PublishedPreset)}
    assert set(PUBLISHED_PRESETS) == published


@pytest.mark.usefixtures("ray_cluster")
def test_a_gpu_that_is_not_there_is_not_waited_for(tmp_path: Path) -> None:
    config = SynthConfig(root=str(tmp_path), device="cuda", pairs=2, textures="none", **SMALL)
    with pytest.raises(UserError, match="device=cuda: no node of the Ray cluster has a GPU"):
        make(config)


@pytest.mark.parametrize("ends", [[], [0.0], [3.0, 2.0], [1.0, 2.0, 3.0], [float("inf")]])
def test_lenses_that_cannot_be(ends: list[float]) -> None:
    with pytest.raises(ValueError, match="lies within the focal length of 60 mm"):
        LensConfig(focal_length_mm=[50.0, 60.0], focus_distance_m=[0.05])
    with pytest.raises(ValueError, match=r"lens\.focal_length_mm must be one positive number, or"):
        LensConfig(focal_length_mm=ends)
