"""Patches of a pool: what they are cut from, how often, and the same again when a run goes on."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.training import train
from pipelines.training.batch import Batch
from pipelines.training.config import TrainConfig
from pipelines.training.live import pool, source
from pipelines.training.live.pool import Cut, Pool, PoolSize, draw_cuts, pool_size
from pipelines.training.live.source import LiveBatches, LivePairs, Made
from pipelines.training.live.vary import PLAIN, Noise, Variation, add_noise, draw_noise
from pipelines.training.plan import plan_run
from tests.pipelines.training.live.conftest import SMALL

Live = Callable[..., TrainConfig]
CPU = torch.device("cpu")
POOLED = replace(SMALL, repeat=2.0, pool=8, pool_px=40)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are made four at once, which takes less time."""
    monkeypatch.setattr(pool, "AT_ONCE", 4)
    monkeypatch.setattr(source, "AT_ONCE", 4)


def batches(config: TrainConfig, start: int, count: int) -> list[Batch]:
    return list(islice(LiveBatches(CPU)(plan_run(config), 0, 1, start, None), count))


@given(
    pairs=st.integers(1, 500),
    side=st.integers(32, 400),
    repeat=st.floats(1.0, 20.0),
    batch=st.integers(1, 64),
)
def test_each_pixel_is_trained_on_as_often_as_asked(
    pairs: int, side: int, repeat: float, batch: int
) -> None:
    size = pool_size(pairs=pairs, side_px=side, repeat=repeat, patch_px=32, batch=batch)
    steps = 20_000
    trained, made = steps * batch * 32**2, size.made(steps - 1) - size.made(0)
    assert made * side**2 * repeat == pytest.approx(trained, abs=64 * side**2 * repeat)
    before = 0
    for step in range(0, steps, 997):
        kept = size.kept(step)
        assert len(kept) <= size.pairs and size.pairs >= pairs
        assert kept.stop % 64 == kept.start % 64 == 0 and kept.stop >= before
        before = kept.stop


def test_all_pairs_and_all_places_are_drawn_alike() -> None:
    size = PoolSize(pairs=128, side_px=10, per_step=0.0)
    cuts = draw_cuts(size, 0, 6000, 8, seed=0, exchange_views=0.25, recolour=0.0, same_views=0.0)
    for values, count in (
        ([c.position for c in cuts], 128),
        ([c.top for c in cuts], 3),
        ([c.left for c in cuts], 3),
    ):
        found = np.bincount(values, minlength=count)
        expected = len(cuts) / count
        assert len(found) == count and np.abs(found - expected).max() < 5 * expected**0.5
    exchanged = np.mean([cut.variation.order == (1, 0, 2) for cut in cuts])
    assert exchanged == pytest.approx(0.25, abs=0.03)
    again = draw_cuts(size, 1, 3, 8, seed=0, exchange_views=0, recolour=0, same_views=0)
    assert [c.position for c in again] != [c.position for c in cuts[:3]]


def test_a_cut_is_that_part_of_its_pair_and_new_pairs_take_the_place_of_the_oldest() -> None:
    rng = np.random.default_rng(0)
    levels = torch.from_numpy(rng.integers(0, 256, (6, 3, 3, 12, 12))).float()
    coc_px = torch.from_numpy(rng.normal(size=(6, 12, 12))).half()
    held = Pool(PoolSize(pairs=4, side_px=12, per_step=1.0), CPU)
    held.put([0, 1, 2, 3], levels[:4], coc_px[:4], list("abcd"))
    held.put([4, 5], levels[4:], coc_px[4:], list("ef"))
    cuts = [Cut(5, 0, 4, PLAIN), Cut(2, 3, 1, PLAIN), Cut(4, 4, 0, PLAIN)]
    found, radii = held.cut(cuts, 8)
    for cut, one, radius in zip(cuts, found, radii, strict=True):
        part = slice(cut.top, cut.top + 8), slice(cut.left, cut.left + 8)
        assert torch.equal(one, levels[cut.position][:, :, *part])
        assert torch.equal(radius, coc_px[cut.position][part].float())
    assert held.names(cuts) == ["f", "c", "e"]


@pytest.mark.usefixtures("few")
def test_a_run_that_goes_on_cuts_the_same_patches_of_the_same_pairs(live: Live) -> None:
    config = live(live=POOLED, noise=0.05, exchange_views=0.5, recolour=0.3, same_views=0.3)
    whole = batches(config, 0, 9)
    for start in (1, 6, 8):
        for found, expected in zip(batches(config, start, 9 - start), whole[start:], strict=True):
            assert (found.index, found.pair_id) == (expected.index, expected.pair_id)
            for name in ("left", "right", "target"):
                assert torch.equal(getattr(found, name), getattr(expected, name)), (start, name)
    assert [batch.index for batch in whole[:2]] == [[0, 1, 2], [3, 4, 5]]
    early, late = (
        {n.split("/")[1] for b in part for n in b.pair_id} for part in (whole[:2], whole[7:])
    )
    assert not early & late - {"4", "5", "6", "7"}  # eight pairs are kept, and four new ones came
    by_two = batches(replace(config, pair_workers=2), 2, 2)
    assert all(torch.equal(a.left, b.left) for a, b in zip(by_two, whole[2:], strict=False))


@pytest.mark.usefixtures("few")
def test_patches_are_parts_of_the_pairs_of_their_names(live: Live) -> None:
    config = live(live=POOLED, exchange_views=0.0)
    pairs = LivePairs(plan_run(config), (40, 40), varied=False)
    (batch,) = batches(config, 3, 1)
    for number, name in enumerate(batch.pair_id):
        made = pairs[int(name.split("/")[1])]
        assert isinstance(made, Made) and made.name == name
        whole = torch.from_numpy(made.levels).movedim(3, 1) / 255.0
        triple = torch.stack([batch.left[number], batch.right[number], batch.target[number]])
        places = [
            (top, left)
            for top in range(9)
            for left in range(9)
            if torch.equal(triple, whole[:, :, top : top + 32, left : left + 32])
        ]
        assert len(places) == 1


def test_a_pool_is_for_one_process(live: Live) -> None:
    plan = plan_run(live(live=POOLED))
    with pytest.raises(UserError, match=r"live\.repeat=2 is for one worker, here are 2"):
        next(LiveBatches(CPU)(plan, 0, 2, 0, None))
    with pytest.raises(UserError, match=r"live\.repeat=2 keeps its pairs in one process"):
        train.run(live(live=POOLED))
    with pytest.raises(UserError, match=r"patch must be at most live\.pool_px=40, got 48"):
        next(LiveBatches(CPU)(plan_run(live(live=POOLED, patch=48)), 0, 1, 0, None))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"repeat": 0.5}, r"live\.repeat must be at least 1"),
        ({"pool": 0}, r"live\.pool must be at least 1"),
        ({"pool_px": 8}, r"live\.pool_px must be at least 16"),
        ({"kernels": ["aperture", "gauss"]}, r"live\.kernels must be among aperture, .*'gauss'"),
        ({"kernels": []}, r"live\.kernels must be among"),
        ({"kernels": ["aperture"]}, r"live\.kernel_weights=.* live\.kernels=aperture, give both"),
        ({"kernel_weights": [0.0, 0.0, 0.0]}, r"live\.kernel_weights=0\.0,0\.0,0\.0 .*not all 0"),
    ],
)
def test_impossible_keys_are_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **keys)  # type: ignore[arg-type]


def test_kernels_of_other_families_are_drawn_by_their_weights(live: Live) -> None:
    chosen = replace(SMALL, kernels=["aperture", "butterworth"], kernel_weights=[0.25, 0.75])
    pairs = LivePairs(plan_run(live(live=chosen)), (32, 32), exposed=False)
    families = [pairs[n][0].shot.family for n in range(200)]  # type: ignore[index, union-attr]
    assert set(families) == {"aperture", "butterworth"}
    assert np.mean([f == "butterworth" for f in families]) == pytest.approx(0.75, abs=0.1)
    (batch,) = batches(live(live=replace(chosen, kernel_weights=[0.0, 1.0])), 0, 1)
    assert batch.left.isfinite().all() if batch.left.is_floating_point() else True


def test_noise_is_of_its_strength_in_the_views_alone() -> None:
    levels = torch.full((3, 3, 3, 96, 96), 128.0)
    alike = Variation((0, 0, 0), PLAIN.mix, float("nan"))
    noise = [Noise(0.03, shared=False), Noise(0.05, shared=True), Noise(0.02, shared=False)]
    rng = torch.Generator().manual_seed(0)
    found = (add_noise(levels, [PLAIN, PLAIN, alike], noise, rng) - 128.0) / 255.0
    for number, one in enumerate(noise):
        spread = found[number, :2].std(dim=(-1, -2))
        assert spread.sub(one.strength).abs().max() < 0.05 * one.strength + 1e-3
    assert not found[:2, 2].any()  # targets stay clean
    assert torch.equal(found[2, 0], found[2, 1]) and torch.equal(found[2, 0], found[2, 2])
    for number, expected in ((0, 0.0), (1, 2 / 3)):
        left, right = found[number, 0].flatten(), found[number, 1].flatten()
        assert abs(float(torch.corrcoef(torch.stack([left, right]))[0, 1])) < 0.05
        beside = torch.stack(
            [found[number, 0, :, :, 1:].flatten(), found[number, 0, :, :, :-1].flatten()]
        )
        assert float(torch.corrcoef(beside)[0, 1]) == pytest.approx(expected, abs=0.05)
    none = [Noise(0.0, shared=False)] * 3
    assert torch.equal(add_noise(levels, [PLAIN] * 3, none, rng), levels)


def test_half_of_the_pairs_get_noise_evenly_up_to_the_most() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_noise(rng, 0.04).strength for _ in range(4000)])
    assert np.mean(drawn == 0.0) == pytest.approx(0.5, abs=0.03)
    some = drawn[drawn > 0]
    assert some.max() <= 0.04 and some.mean() == pytest.approx(0.02, abs=0.001)


def test_pairs_made_one_a_patch_get_noise_too_and_held_out_ones_do_not(live: Live) -> None:
    clean, noisy = (batches(live(noise=most), 0, 4) for most in (0.0, 0.2))
    changed = [
        not torch.equal(a.left[n], b.left[n])
        for a, b in zip(clean, noisy, strict=True)
        for n in range(3)
    ]
    assert 2 <= sum(changed) <= 10
    assert all(torch.equal(a.target, b.target) for a, b in zip(clean, noisy, strict=True))
    plans = [plan_run(live(noise=most, max_val_pairs=1)) for most in (0.0, 0.2)]
    held = [LivePairs(plan, (32, 32), split="val")[0].levels for plan in plans]  # type: ignore[union-attr]
    np.testing.assert_array_equal(*held)
