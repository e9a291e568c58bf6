"""Pairs made in the loop: functions of seed and position, whoever makes them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import UserError
from pipelines.training.batch import Batch, as_float
from pipelines.training.config import TrainConfig
from pipelines.training.live.config import LiveConfig
from pipelines.training.live.pack import pack_bytes, read_pack
from pipelines.training.live.pairs import make_pairs
from pipelines.training.live.scenes import LANES, LiveScenes, ranges_of
from pipelines.training.live.source import LiveBatches, LiveHeldOut, LivePairs, LiveReader
from pipelines.training.live.vary import PLAIN, draw_variation, vary
from pipelines.training.plan import plan_run
from synth.camera_pair import photograph
from synth.scene import Scene
from tests.pipelines.training.live.conftest import SMALL, packed

Live = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def batches(config: TrainConfig, start: int, count: int, rank: int = 0, of: int = 1) -> list[Batch]:
    return list(islice(LiveBatches(CPU)(plan_run(config), rank, of, start, None), count))


def check_equal(found: Batch, expected: Batch) -> None:
    assert (found.index, found.pair_id) == (expected.index, expected.pair_id)
    for name in ("left", "right", "target"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_pairs_are_the_same_whoever_makes_them_and_wherever_it_goes_on(live: Live) -> None:
    config = live(exchange_views=0.5, recolour=0.5, same_views=0.2)
    whole = batches(config, 0, 4)
    by_two = batches(replace(config, pair_workers=2), 1, 3)
    for found, expected in zip(by_two, whole[1:], strict=True):
        check_equal(found, expected)
    assert whole[0].left.shape == (3, 3, 32, 32)
    assert [batch.index for batch in whole] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    parts = [batches(config, 2, 1, rank, 2)[0] for rank in range(2)]
    assert [part.index for part in parts] == [[6], [7, 8]]
    assert torch.equal(torch.cat([part.left for part in parts]), whole[2].left)
    columns = LiveReader(plan_run(config), 0, 1)({"step": np.array([2])})  # Ray's readers
    expected = columns["pictures"][:, 0].transpose(0, 3, 1, 2) / 65535.0
    np.testing.assert_allclose(as_float(whole[2].left), expected, atol=1e-7)
    other = batches(replace(config, seed=1), 2, 1)[0]
    assert not torch.equal(other.left, whole[2].left)


def test_pairs_are_photographs_of_the_packs_scenes(live: Live, pack: Path) -> None:
    """Left, right and target as ``synth.photograph`` gives them, but for the noise."""
    quiet = replace(SMALL, shot_noise=0.0, read_noise=0.0)
    scenes = LiveScenes(read_pack(pack.read_bytes(), where=""), quiet, seed=3, split="train")
    for position in range(3):
        item = scenes.take(position, (40, 48))
        shot = replace(item.shot, views=replace(item.shot.views, jpeg_quality=None))
        depth_m = depths_of(item.coc_px, shot.camera)
        scene = Scene("", item.srgb.astype(np.float32) / 65535, depth_m)
        (pair,) = photograph([scene], [shot], [np.random.default_rng(0)])
        levels, coc_px = make_pairs([replace_shot(item, shot)], [PLAIN], CPU)
        for found, expected in zip(levels[0], (pair.left, pair.right, pair.target), strict=True):
            difference = (found.permute(1, 2, 0).numpy() - expected).astype(float)
            assert np.abs(difference).max() <= 1.0
        np.testing.assert_allclose(coc_px[0], pair.coc_px, atol=0.01)


def depths_of(coc_px: np.ndarray, camera: object) -> np.ndarray:
    """The depth that a radius comes from, c = s (u - z) / z."""
    scale, focus = camera.coc_scale_px, camera.focus_distance_m  # type: ignore[attr-defined]
    return (scale * focus / (coc_px.astype(np.float64) + scale)).astype(np.float32)


def replace_shot(item, shot):  # type: ignore[no-untyped-def]
    return type(item)(item.position, item.name, item.srgb, item.coc_px, shot, item.seed)


def test_on_a_gpu_pairs_are_made_together_and_mean_the_same(pack: Path) -> None:
    config = replace(SMALL, shot_noise=0.0, read_noise=0.0)
    scenes = LiveScenes(read_pack(pack.read_bytes(), where=""), config, seed=0, split="train")
    items = [scenes.take(position, (48, 64)) for position in range(3)]
    alone = torch.cat([make_pairs([item], [PLAIN], CPU)[0] for item in items])
    together, _ = make_pairs(items, [PLAIN] * 3, CPU, together=True)
    error = ((alone - together) / 255).square().mean(dim=(1, 2, 3, 4))
    assert (-10 * error.log10() > 45).all()


def test_scenes_made_up_are_looked_at_again_and_then_change(pack: Path) -> None:
    config = LiveConfig(made=1.0, places=0.0, reuse=4)
    scenes = LiveScenes(read_pack(pack.read_bytes(), where=""), config, seed=0, split="train")
    names = [scenes.take(7 + turn * LANES, (16, 16)).name for turn in range(9)]
    runs = [names.count(name) for name in dict.fromkeys(names)]
    assert max(runs) == 4 and len(runs) >= 3
    assert names == sorted(names, key=names.index)  # one after the other
    assert scenes.take(8, (16, 16)).name != names[0]


def test_variations_keep_near_near() -> None:
    levels = torch.arange(9.0).reshape(1, 3, 3, 1, 1).expand(1, 3, 3, 2, 2).contiguous()
    coc_px = torch.full((1, 2, 2), 3.0)

    def made(**shares: float) -> tuple[torch.Tensor, torch.Tensor]:
        keys = {"exchange_views": 0.0, "recolour": 0.0, "same_views": 0.0} | shares
        variation = draw_variation(np.random.default_rng(0), **keys)
        return vary(levels, coc_px, [variation])

    same, radius = made()
    assert torch.equal(same, levels) and torch.equal(radius, coc_px)
    exchanged, radius = made(exchange_views=1.0)
    assert torch.equal(exchanged, levels[:, [1, 0, 2]]) and torch.equal(radius, -coc_px)
    kinds = set()
    for seed in range(8):
        keys = {"exchange_views": 0.0, "recolour": 0.0, "same_views": 1.0}
        alike, radius = vary(levels, coc_px, [draw_variation(np.random.default_rng(seed), **keys)])
        sharp = bool((radius == 0).all())
        assert sharp or bool(radius.isnan().all())
        assert torch.equal(alike, levels[:, [2 if sharp else 0] * 3])
        kinds.add(sharp)
        keys = {"exchange_views": 0.0, "recolour": 1.0, "same_views": 0.0}
        found, radius = vary(levels, coc_px, [draw_variation(np.random.default_rng(seed), **keys)])
        grey = torch.equal(found[:, :, :1].expand_as(found), found)
        assert grey or torch.equal(found.sort(dim=2).values, levels)
        assert torch.equal(radius, coc_px)
    assert kinds == {True, False}


def test_held_out_pairs_are_of_held_out_scenes_alone(live: Live) -> None:
    plan = plan_run(live(max_val_pairs=2))
    names = {LivePairs(plan, (16, 16), split="val")[n].name.split("/")[-1] for n in range(6)}
    assert names == {"held"}
    trained = {n.rpartition("/")[2] for b in batches(live(), 0, 4) for n in b.pair_id}
    assert trained == {"first", "second"}
    held = LiveHeldOut(plan)
    first = list(held.pairs([0, 1]))
    assert [p.shape for p in first[0]] == [(256, 256, 3)] * 3
    assert all(a is b for a, b in zip(first[1], next(iter(held.pairs([1]))), strict=True))


def test_keys_of_the_camera_arrive() -> None:
    ranges = ranges_of(LiveConfig(shot_noise=0.02, gain=0.01))
    assert ranges.shot_noise == (0.0, 0.02) and ranges.gain == 0.01
    assert ranges.blur == (0.001, 0.016) and ranges.frame_width_px == 1000.0
    assert ranges.slope == (0.0, 0.9) and ranges.disparity == (0.15, 0.55)
    assert ranges.families == ("aperture", "butterworth", "translating_disk")
    assert ranges.weights == (0.7, 0.15, 0.15)


def test_what_decides_the_pairs_decides_the_name(live: Live, pack: Path) -> None:
    base = plan_run(live())
    assert plan_run(live(pair_workers=2, pair_device="cpu")).name == base.name
    assert plan_run(live(live=replace(SMALL, reuse=3))).name != base.name
    pack.write_bytes(pack_bytes([packed("other", "train", 9), packed("held", "val", 3)]))
    assert plan_run(live()).name != base.name
    with pytest.raises(UserError, match="changed while run"):
        LivePairs(replace(base, sources=(replace(base.sources[0], digest="0" * 64),)), (16, 16))


def test_a_pack_stands_alone_and_must_be_there(live: Live, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stands alone"):
        plan_run(live(datasets=["soft", "synth://pack"]))
    with pytest.raises(UserError, match=r"no pack of scenes at .*nowhere"):
        plan_run(live(datasets=[f"synth://{tmp_path / 'nowhere'}"]))
