"""``k3dn deblur NAME@VERSION``: the pairs of a dataset, over a cluster."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.cli import run_command_line
from pipelines.dataset.record import Pair
from pipelines.deblur.result import DeblurResult
from pipelines.errors import UserError
from tests.pipelines.conftest import write_version
from tests.pipelines.deblur.pictures import scene

Sharpen = Callable[..., DeblurResult]
NAMES = [*(f"shot-{number}" for number in range(8)), "attic/1", "100%"]
WRITTEN = {*(f"shot-{number}.png" for number in range(8)), "attic%2F1.png", "100%25.png"}


def write_pairs(root: Path) -> dict[str, np.ndarray]:
    """``shots@v1`` of as many pairs as two tasks take; returns the mean of each pair's views."""
    pairs, means = [], {}
    for number, name in enumerate(NAMES):
        dtype = np.uint16 if number % 2 else np.uint8
        left, right = (scene(shift, 3, dtype, (34, 46 + number)) for shift in (0, 1))
        pairs.append(
            Pair(
                pair_id=name,
                scene_id=name,
                dataset="shots",
                split="test",
                left=left,
                right=right,
                target=left,
            )
        )
        means[name] = (left.astype(float) + right) / 2
    write_version(str(root), "shots", "v1", pairs)
    return means


def damage(root: Path, name: str) -> None:
    """Change a byte of the left view of a pair."""
    (shard,) = root.rglob("*.parquet")
    row = NAMES.index(name)
    group = pq.read_metadata(shard).row_group(row)
    column = next(c for c in map(group.column, range(20)) if c.path_in_schema == "left")
    data = bytearray(shard.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 9] ^= 1
    shard.write_bytes(data)


@pytest.mark.usefixtures("ray_cluster")
def test_all_pairs_of_a_dataset_but_a_damaged_one(
    tmp_path: Path, mean: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    means = write_pairs(root)
    damage(root, "shot-5")
    (out / "test").mkdir(parents=True)
    (out / "test" / "shot-2.png").write_bytes(b"dear")
    words = ["deblur", "shots@v1", "-o", str(out), f"root={root}", f"model={mean}", "--json"]
    assert run_command_line([*words, "precision=fp32"]) == 2
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [failed["name"] for failed in said["failed"]] == ["test/shot-5"]
    assert len(said["pictures"]) == 8 and said["pictures"][0]["model"] == "mean.safetensors"
    assert len(said["kept"]) == 1 and (out / "test" / "shot-2.png").read_bytes() == b"dear"
    assert {path.name for path in (out / "test").iterdir()} == WRITTEN - {"shot-5.png"}
    for name, mean_view in means.items():
        path = out / "test" / f"{name.replace('%', '%25').replace('/', '%2F')}.png"
        if name not in ("shot-2", "shot-5"):
            made = imagecodecs.imread(path)
            assert made.dtype == (np.uint16 if NAMES.index(name) % 2 else np.uint8), name
            assert np.abs(made - mean_view).max() <= (1 if made.dtype == np.uint8 else 2), name
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    damage(root, "shot-5")  # twice is mended
    assert run_command_line([*words, "precision=fp32"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [Path(made["output"]).name for made in said["pictures"]] == ["shot-5.png"]
    assert {path: path.stat().st_mtime_ns for path in before} == before, "made once"


def test_what_is_there_as_a_file_is_no_dataset(
    tmp_path: Path, sharpen: Sharpen, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    write_pairs(root)
    (tmp_path / "shots").mkdir()
    for name, shift in (("1_L.png", 0), ("1_R.png", 1)):
        Image.fromarray(scene(shift, 3, np.uint8)).save(tmp_path / "shots" / name)
    monkeypatch.chdir(tmp_path)
    (made,) = sharpen("shots", None, "out", root=str(root)).pictures
    assert Path(made.output) == tmp_path / "out" / "1.png"


def test_what_a_dataset_is_not_made_with_is_told_first(tmp_path: Path, sharpen: Sharpen) -> None:
    """Before a cluster is started."""
    root, out = tmp_path / "root", tmp_path / "out"
    write_pairs(root)
    with pytest.raises(UserError, match=r"dataset shots at .* has no version 'v2'; there is v1"):
        sharpen("shots@v2", None, out, root=str(root))
    with pytest.raises(UserError, match=r"there is no picture at .*shot, nor a folder"):
        sharpen("shot", None, out, root=str(root))
    with pytest.raises(UserError, match="many pictures need a folder"):
        sharpen("shots@v1", None, tmp_path / "out.png", root=str(root))
    with pytest.raises(UserError, match="show= is for files, and shots@v1 is a dataset"):
        sharpen("shots@v1", None, out, root=str(root), show=True)
    with pytest.raises(UserError, match=r"there are no weights at .*none\.safetensors"):
        sharpen("shots@v1", None, out, root=str(root), model=f"{tmp_path}/none.safetensors")
    assert not out.exists()
