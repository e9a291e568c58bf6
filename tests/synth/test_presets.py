"""The presets against the facts of the published sets: counts, names, splits, settings."""

import json
from collections import Counter

import numpy as np
import pytest

from synth.presets import PRESETS, OwnPreset, PublishedPreset
from synth.psf import PSF_FAMILIES, published_butterworth

SYNTHIA_SF_FRAMES = {3: 201}  # the sequence that is tested on; all six have 2224
PUBLISHED = [preset for preset in PRESETS.values() if isinstance(preset, PublishedPreset)]


def test_the_presets_are_these():
    assert sorted(PRESETS) == ["camera", "ddd-syn", "k3dn", "rdpd"]
    assert all(name == preset.name for name, preset in PRESETS.items())
    assert {
        p.name: getattr(p, "ranges", p).renderer for p in PRESETS.values() if p.name != "camera"
    } == {
        "ddd-syn": "scatter",
        "rdpd": "gather",
        "k3dn": "layered",
    }


@pytest.mark.parametrize("preset", PUBLISHED, ids=lambda preset: preset.name)
def test_no_scene_straddles_splits_and_no_name_is_given_twice(preset):
    splits = {}
    paths, ids = [], []
    for part in preset.parts:
        for scene in part.scenes:
            splits.setdefault(preset.scene_id(scene), set()).add(part.split)
            ids.append(part.pair_id(scene))
            for files in (part.files, *part.copies):
                paths += files.of(part.number(scene), "000001.png").values()
    assert all(len(of_scene) == 1 for of_scene in splits.values())
    assert len(set(ids)) == len(ids)
    assert len(set(paths)) == len(paths)
    assert not any("{" in path for path in paths)


def test_ddd_syn_has_the_published_pictures():
    preset = PRESETS["ddd-syn"]
    counts = Counter()
    for part in preset.parts:
        counts[part.split] += len(part.scenes)
    assert dict(counts) == preset.pairs
    names = {part.camera.name: part for part in preset.parts}
    idx4 = names["idx4"]
    assert idx4.files.of(idx4.number(1000)) == {
        "left": "NYU/training/dp/5000_l.png",
        "right": "NYU/training/dp/5000_r.png",
        "target": "NYU/training/gt/5000_m.png",
        "disparity": "NYU/training/disp/5000_dm.pfm",
    }
    assert names["testing"].number(1350) == 6350
    testing1 = names["testing1"]
    assert testing1.files.of(testing1.number(1001))["left"] == "NYU/testing1/dp/6001_l.png"
    assert testing1.pair_id(1001) == "testing1-6001"
    with pytest.raises(ValueError, match="must be from 1001 to 1350, got 1000"):
        names["testing"].number(1000)


def test_rdpd_has_the_published_sequences():
    preset = PRESETS["rdpd"]
    assert [part.number(part.scenes[0]) for part in preset.parts] == list(range(1, 31))
    tested = [part for part in preset.parts if part.split == "test"]
    assert [part.number(3) for part in tested] == [3, 9, 15, 21, 27]
    assert len(tested) * SYNTHIA_SF_FRAMES[3] == preset.pairs["test"]
    assert sum(preset.pairs.values()) == 5 * 2224
    part = tested[1]
    root = "dd_dp_dataset_synth_vid"
    assert part.files.of(9, "0000007.png") == {
        "left": f"{root}/test_l/source/seq_009/0000007.png",
        "right": f"{root}/test_r/source/seq_009/0000007.png",
        "target": f"{root}/test_c/target/seq_009/0000007.png",
        "combined": f"{root}/test_c/source/seq_009/0000007.png",
    }
    assert part.copies[0].of(9, "a.png")["left"] == f"{root}/val_l/source/seq_009/a.png"
    assert part.pair_id(3, "0000007.png") == "set_1-009-0000007"


def test_rdpd_settings_are_those_of_the_reference_renders(reference):
    items = json.loads((reference / "rdpd_renders.json").read_text())["items"]
    assert len(items) == 15
    parts = {part.number(part.scenes[0]): part for part in PRESETS["rdpd"].parts}
    for item in items:
        part = parts[item["out_seq"]]
        kernels = part.kernels
        assert (kernels.order, kernels.cutoff, kernels.beta, kernels.smoothing) == (
            item["order"],
            item["cut_off_factor"],
            item["beta"],
            item["smooth_strength"],
        )
        assert part.camera.focal_length == item["camera"]["focal_len"]
        assert part.camera.f_number == item["camera"]["f_stop"]
        assert part.camera.focus_distance_m == item["camera"]["focus_dis"]
        assert PRESETS["rdpd"].max_coc_px == item["coc_max"]
        assert part.split == item["split"]
        assert item["radial"] is None, "as the preset without its option"


def test_rdpd_kernels_are_the_published_ones_and_of_whole_radii():
    kernels = PRESETS["rdpd"].parts[5].kernels
    for kernel, published in zip(
        kernels(-7.0), published_butterworth(-7, 6, 2.5, 0.2)[:2], strict=True
    ):
        np.testing.assert_array_equal(kernel, published)
    with pytest.raises(ValueError, match="must be a whole number"):
        kernels(1.5)


def test_ours_draws_from_every_family_but_the_window():
    preset = PRESETS["k3dn"]
    assert isinstance(preset, OwnPreset)
    assert sorted((*preset.ranges.families, "integral")) == sorted(PSF_FAMILIES)


def test_rdpd_distorts_on_demand_and_ddd_syn_cannot():
    rdpd, ddd_syn = PRESETS["rdpd"], PRESETS["ddd-syn"]
    part = rdpd.parts[0]
    assert rdpd.parameters(part).radial_distortion is None
    distorted = rdpd.parameters(part, radial_distortion=True)
    assert distorted.radial_distortion == (0.01, 0.0028, 0.0028, 0.9)
    with pytest.raises(ValueError, match="ddd-syn has no radial distortion"):
        ddd_syn.parameters(ddd_syn.parts[0], radial_distortion=True)
