"""Each set in circulation is recognised under its real names, and what is wrong with it is said."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import run_command_line
from pipelines.dataset.images import decode_image, encode_image
from pipelines.errors import UserError
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.ingest import RealPairs, look
from pipelines.ingest.layouts import LAYOUTS, discover
from pipelines.ingest.layouts.files import Discovery
from pipelines.ingest.source_files import open_source
from pipelines.making.plan import LEFT_OUT
from tests.pipelines.dataset.makers import write_dpd_tree

TREES: dict[str, tuple[str, ...]] = {
    "dpd-blur": (
        "train_l/source/1P0A0917_L.png train_r/source/1P0A0917_R.png train_c/target/1P0A0916.png",
        "test_l/source/1P0A1001_L.png test_r/source/1P0A1001_R.png test_c/target/1P0A1002.png",
    ),
    "restormer": (
        "train/inputL/a.png train/inputR/a.png train/inputC/a.png train/target/a.png",
        "test/inputL/b.png test/inputR/b.png test/inputC/b.png test/target/b.png",
    ),
    "restormer-crops": (
        "train/inputL_crops/a-1.png train/inputR_crops/a-1.png train/target_crops/a-1.png",
        "train/inputL_crops/a-2.png train/inputR_crops/a-2.png train/target_crops/a-2.png",
    ),
    "rdpd": (
        "train_l/source/seq_001/1.png train_r/source/seq_001/1.png train_c/target/seq_001/1.png",
        "test_l/source/seq_004/1.png test_r/source/seq_004/1.png test_c/target/seq_004/1.png",
    ),
    "ddd-syn": (
        "training/dp/0001_l.png training/dp/0001_r.png training/gt/0001_m.png",
        "testing/dp/6001_l.png testing/dp/6001_r.png testing/gt/6001_m.png",
        "testing1/dp/6001_l.png testing1/dp/6001_r.png testing1/gt/6001_m.png",
    ),
    "ntire": ("0500_l.png 0500_r.png 0500_g.png", "0501_l.png 0501_r.png 0501_g.png"),
    "dpd-disp": ("001_L.jpg 001_R.jpg 001_B.jpg 001_D.TIF", "002_L.jpg 002_R.jpg 002_B.jpg"),
    "canon-r6ii": (
        "flat/0600/left.png flat/0600/right.png flat/0600/target_left.png "
        "flat/0600/target_right.png",
        "flat/1500/left.png flat/1500/right.png flat/1500/target_left.png "
        "flat/1500/target_right.png",
    ),
    "left-right-sharp": (
        "train/left/a.png train/right/a.png train/sharp/a.png",
        "val/left/b.png val/right/b.png val/sharp/b.png",
    ),
}


def files_of(layout: str, above: str = "") -> dict[str, int]:
    return {above + name: 1 for line in TREES[layout] for name in line.split()}


def find(files: dict[str, int], layout: str = "auto") -> tuple[str, Discovery]:
    return discover(files, layout=layout, source="here")


def test_every_layout_but_the_refused_one_has_a_tree() -> None:
    assert set(TREES) == {name for name, layout in LAYOUTS.items() if layout.refusal is None}


@pytest.mark.parametrize("layout", TREES)
@pytest.mark.parametrize("above", ["", "some/where/"])
def test_each_is_found_by_its_names(layout: str, above: str) -> None:
    name, found = find(files_of(layout, above))
    assert name == layout
    assert len(found.pairs) == len(TREES[layout]) and not found.rejects
    assert find(files_of(layout, above), layout) == (name, found)
    has_target = layout != "dpd-disp"
    for pair in found.pairs:
        assert (pair.target is not None) == has_target
        assert pair.left[0] != pair.right[0]


@pytest.mark.parametrize("layout", TREES)
def test_each_way_to_be_wrong_is_said(layout: str) -> None:
    files = files_of(layout)
    first = find(files)[1].pairs[0]
    right = first.right[0]
    lost = {name: size for name, size in files.items() if name != right}
    found = find(lost, layout)[1]
    assert first.pair_id not in {pair.pair_id for pair in found.pairs}
    assert any("no right picture" in reject.reason for reject in found.rejects)
    twin = right.rpartition(".")[0] + ".tif"
    found = find(files | {twin: 1}, layout)[1]
    assert any("two files are its right picture" in reject.reason for reject in found.rejects)
    found = find(lost | {right.rpartition(".")[0] + ".bmp": 1}, layout)[1]
    assert any(".bmp is not read" in reject.reason for reject in found.rejects)
    hidden = "/".join([*right.split("/")[:-1], "._" + right.split("/")[-1]])
    assert find(files | {hidden: 1}, layout)[1].pairs == find(files)[1].pairs
    with pytest.raises(UserError, match="2 sets"):
        find(files | files_of(layout, "copy/"), layout)
    if first.target is not None:
        less = {name: size for name, size in files.items() if name != first.target[0]}
        found = find(less, layout)[1]
        assert first.pair_id not in {pair.pair_id for pair in found.pairs}
        assert any("missing target" in reject.reason for reject in found.rejects)


def test_scenes_that_share_a_picture_keep_to_one_split() -> None:
    crops = find(files_of("restormer-crops"))[1].pairs
    assert {pair.scene_id for pair in crops} == {"a"} and len(crops) == 2
    both = [p for p in find(files_of("ddd-syn"))[1].pairs if p.split == "test"]
    assert {p.pair_id for p in both} == {"testing/6001", "testing1/6001"}
    assert {p.scene_id for p in both} == {"test/6001"}
    copied = {n.replace("test_", "val_"): 1 for n in files_of("rdpd") if n.startswith("test_")}
    found = find(files_of("rdpd") | copied)[1]
    assert {p.split for p in found.pairs} == {"train", "test"}
    assert {r.reason for r in found.rejects} == {"the same scene is in the test split"}


def test_two_layouts_below_one_source_are_a_question() -> None:
    with pytest.raises(UserError, match=r"layouts restormer .* and restormer-crops"):
        find(files_of("restormer") | files_of("restormer-crops"))
    with pytest.raises(UserError, match="name one with layout="):
        find(files_of("dpd-blur", "a/") | files_of("ntire", "b/"))


def test_pictures_in_and_outside_of_splits_are_a_question() -> None:
    outside = {name.partition("/")[2]: 1 for name in files_of("left-right-sharp")}
    with pytest.raises(UserError, match=r"6 pictures in folders of a split \(\w+\) and 6 outside"):
        find(files_of("left-right-sharp") | outside)


def test_sets_beside_each_other_within_a_split_are_never_merged() -> None:
    one = {n.replace("/", "/DPDD/", 1): 1 for n in files_of("restormer")}
    assert len(find(one)[1].pairs) == 2
    mixed = {n.replace("DPDD", "other") if "inputR" in n else n: 1 for n in one}
    with pytest.raises(UserError, match=r"2 sets .*\{split\}/DPDD .*by patterns"):
        find(mixed)


def test_a_picture_without_a_place_is_listed() -> None:
    files = files_of("left-right-sharp")
    strangers = {"train/left/more/z.png": 1, "valid/x.TIF": 1, "notes.md": 1}
    found = find(files | strangers)[1]
    assert found.pairs == find(files)[1].pairs
    assert {(r.path, r.stage) for r in found.rejects} == {
        ("train/left/more/z.png", LEFT_OUT),
        ("valid/x.TIF", LEFT_OUT),
    }
    assert found.rejects[0].reason == "no place in the layout left-right-sharp"


def test_archives_in_a_folder_are_named() -> None:
    with pytest.raises(UserError, match=r"source=here/set/train\.tgz"):
        find({"set/train.tgz": 1, "readme.txt": 1})


def test_raw_pixel_scenes_are_recognised_and_refused() -> None:
    names = ["003_left.png", "003_right.png", "gt_all_in_focus_im/003_gt.png"]
    with pytest.raises(UserError, match=r"layout pixel4: .*linear light, black level 1024"):
        find(dict.fromkeys(names, 1))


def test_googles_raw_views_are_recognised_and_refused() -> None:
    names = [
        f"{split}/raw_{side}_pd/20180302_1/result_pd_{side}_{phone}.png"
        for split in ("train", "test")
        for side in ("left", "right")
        for phone in ("center", "top")
    ]
    layout = LAYOUTS["google-dual-pixels"]
    places = [layout.place(tuple(name.split("/")[:-1]), name.split("/")[-1][:-4]) for name in names]
    assert {(p.role, p.key, p.split) for p in places if p} == {
        (side, f"20180302_1/{phone}", split)
        for side in ("left", "right")
        for phone in ("center", "top")
        for split in ("train", "test")
    }
    with pytest.raises(UserError, match=r"layout google-dual-pixels: .*linear light"):
        find(dict.fromkeys(names, 1))


def test_what_was_seen_is_said_where_nothing_fits() -> None:
    with pytest.raises(UserError) as caught:
        find({"x/one.png": 1, "x/two.png": 1, "notes.txt": 1})
    for words in ("2 .png in x/", "1 .txt in ./", "nearest layouts", "left='l/*.png'"):
        assert words in str(caught.value)


def test_a_layout_of_ones_own() -> None:
    names = [f"{s}/{v}/{n}.png" for s in ("train", "test") for v in "xyz" for n in ("1", "b/2")]
    patterns = {"left": "{split}/x/*.png", "right": "{split}/y/*.png", "target": "{split}/z/*.png"}
    sizes = {name: index for index, name in enumerate(names)}
    name, found = discover(sizes, layout="auto", source="here", patterns=patterns)  # type: ignore[arg-type]
    assert name == "pattern"
    assert [(p.split, p.left[0]) for p in found.pairs if p.split == "test"] == [
        ("test", "test/x/1.png"),
        ("test", "test/x/b/2.png"),
    ]
    with pytest.raises(UserError, match=r"has one \*"):
        discover(sizes, layout="auto", source="here", patterns={"left": "a", "right": "b"})


def test_the_mean_of_two_target_views(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    views = {}
    for name in ("left", "right", "target_left", "target_right"):
        views[name] = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        (tmp_path / "flat/0600").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"flat/0600/{name}.png").write_bytes(encode_image(views[name]))
    files = open_source(str(tmp_path))
    (unit,) = discover(files.walk(), layout="auto", source="")[1].pairs
    pair = RealPairs(source=files, dataset="d", layout="canon-r6ii")(unit)
    mean = (views["target_left"] / 2 + views["target_right"] / 2 + 0.5).astype(int)
    assert pair.target is not None and np.array_equal(pair.target, mean)
    assert np.array_equal(decode_image(files.read(unit.left[0]), where=""), pair.left)


def test_the_dry_run_says_what_was_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dpd_tree(tmp_path / "set", train=3, val=1, test=1)
    (tmp_path / "set/val_r/source/1P0Aval0000_R.png").unlink()
    assert run_command_line(["ingest", f"source={tmp_path}/set", "--dry-run", "--json"]) == 0
    said = capsys.readouterr().out
    for words in (
        "layout dpd-blur: 3 train, 1 test pairs, 4 with a target",
        "target number minus source number: +1 (3)",
        "there is no right picture, e.g. val_l/source/1P0Aval0000_L.png",
        "24 x 20, 16 bit",
    ):
        assert words in said
    assert said.count("e.g. train") + said.count("e.g. test") == 3
    assert "stop: there is nothing at" in look(IngestConfig(source=str(tmp_path / "no")))[0]


def test_the_samples_are_recognised(samples: Path) -> None:
    for folder, layout, pairs in (("canon-r6ii/flat", "canon-r6ii", 2), ("dpd-blur-mini", "", 8)):
        files = open_source(str(samples / folder)).walk()
        name, found = find(files)
        assert name == (layout or "dpd-blur") and len(found.pairs) == pairs
        assert not found.rejects
    with pytest.raises(UserError, match="pixel4"):
        find(open_source(str(samples / "pixel4")).walk())
