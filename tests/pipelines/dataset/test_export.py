"""Pictures out of a dataset version: the same pixels again, under the names of the sets."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.dataset.config import ExportConfig
from pipelines.dataset.export import encode_pfm, run
from pipelines.dataset.record import SPLITS
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.ingest import make as ingest
from pipelines.storage import locate
from pipelines.synthesis.config import SynthConfig
from pipelines.synthesis.synthesize import make
from tests.pipelines.synthesis.test_scene_sources import write_nyu

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_what_is_exported_is_ingested_again(tmp_path: Path) -> None:
    root, folder = str(tmp_path / "root"), tmp_path / "pictures"
    keys = {"size": "32x48", "textures": "none", "pairs": 6, "pairs_per_shard": 2}
    make(SynthConfig(root=root, bit_depth=16, **keys))  # type: ignore[arg-type]
    result = run(ExportConfig(root=root, dataset="synth", to=str(folder)))
    assert (result.reference, result.pairs, result.files) == ("synth@v1", 6, 24)
    ingest(IngestConfig(root=root, source=str(folder), dataset="again"))
    before, after = (open_version(locate(root), name) for name in ("synth", "again"))
    for split in SPLITS:
        assert before.rows(split) == after.rows(split) > 0
        for number in range(before.rows(split)):
            one, other = before.read_pair(split, number), after.read_pair(split, number)
            for role in ("left", "right", "target", "combined"):
                np.testing.assert_array_equal(getattr(one, role), getattr(other, role))


def test_scenes_of_a_tree_of_folders_are_exported_into_one(tmp_path: Path) -> None:
    root, folder = str(tmp_path / "root"), tmp_path / "pictures"
    rng = np.random.default_rng(0)
    names = ("attic/0", "attic/1", "hall/0", "hall/1", "attic%2F0")
    for name in names:
        (tmp_path / "rgbd" / name).parent.mkdir(parents=True, exist_ok=True)
        path = str(tmp_path / "rgbd" / name)
        cv2.imwrite(f"{path}_image.png", rng.integers(0, 256, (32, 48, 3), dtype=np.uint8))
        cv2.imwrite(f"{path}_depth.png", np.full((32, 48), 2000, np.uint16))
    make(SynthConfig(root=root, source=str(tmp_path / "rgbd"), size="32x48", pairs=5))
    assert run(ExportConfig(root=root, dataset="synth", to=str(folder))).files == 20
    assert sum(path.is_file() for path in folder.rglob("*")) == 20, "no name was given twice"
    ingest(IngestConfig(root=root, source=str(folder), dataset="again"))
    again = open_version(locate(root), "again")
    ids = {pair_id for split in SPLITS for pair_id in again.pair_ids(split)}
    assert ids == {f"{name.replace('%', '%25').replace('/', '%2F')}-0000" for name in names}


def test_a_published_set_has_its_names_and_its_disparity(tmp_path: Path) -> None:
    root, folder = str(tmp_path / "root"), tmp_path / "pictures"
    write_nyu(tmp_path / "labelled.mat", 2, size=(96, 128))
    source = str(tmp_path / "labelled.mat")
    make(SynthConfig.of_preset("ddd-syn", root=root, source=source, pairs=10, pairs_per_shard=5))
    run(ExportConfig(root=root, dataset="ddd-syn", to=str(folder), splits=["train"]))
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert len(names) == 40
    assert "NYU/training/dp/4002_r.png" in names
    pair = open_version(locate(root), "ddd-syn").read_pair("train", 0)
    assert (pair.pair_id, pair.target is None, pair.coc is None) == ("idx0-0001", False, False)
    target = cv2.imread(str(folder / "NYU/training/gt/0001_m.png"))[..., ::-1]
    assert pair.target is not None
    np.testing.assert_array_equal(target, pair.target)
    pfm = (folder / "NYU/training/disp/0001_dm.pfm").read_bytes()
    header, size, scale, data = pfm.split(b"\n", 3)
    assert (header, size, scale) == (b"Pf", b"640 480", b"-1.0")
    assert pair.coc is not None
    stored = np.frombuffer(data, "<f4").reshape(480, 640)[::-1]
    np.testing.assert_array_equal(stored, pair.coc.astype(np.float32))


def test_pfm_is_what_opencv_reads(tmp_path: Path) -> None:
    plane = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    (tmp_path / "a.pfm").write_bytes(encode_pfm(plane))
    read = cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(read, plane)


def test_nothing_to_export(tmp_path: Path) -> None:
    keys = {"size": "32x48", "textures": "none", "pairs": 2, "test_fraction": 1.0}
    root = str(tmp_path / "root")
    make(SynthConfig(root=root, val_fraction=0.0, **keys))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"synth@v1 has no pairs in train, val"):
        run(ExportConfig(root=root, dataset="synth", to=str(tmp_path), splits=["train", "val"]))
    with pytest.raises(ValueError, match="splits must be among train, val, test, got 'tests'"):
        ExportConfig(dataset="synth", to="x", splits=["tests"])
    with pytest.raises(ValueError, match="splits must name at least one"):
        ExportConfig(dataset="synth", to="x", splits=[])
