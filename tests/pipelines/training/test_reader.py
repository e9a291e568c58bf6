"""What a reader gives for a step: the right samples, values as stored, the same from everyone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dataset.images import as_16_bit
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.storage import locate
from pipelines.training import reader as reader_module
from pipelines.training.batch import as_float
from pipelines.training.config import TrainConfig
from pipelines.training.loader import local_batches
from pipelines.training.plan import plan_run
from pipelines.training.reader import SampleReader, read_training_pair
from tests.pipelines.training.versions import make_pair, write_version

Small = Callable[..., TrainConfig]


def test_three_workers_see_what_one_sees(small: Small) -> None:
    plan = plan_run(small())
    for step in (0, 2, 13):
        steps = {"step": np.array([step])}
        one = SampleReader(plan, 0, 1, with_coc=True)(steps)
        three = [SampleReader(plan, rank, 3, with_coc=True)(steps) for rank in range(3)]
        for column in ("index", "pair_id", "pictures", "coc"):
            joined = np.concatenate([part[column] for part in three])
            assert np.array_equal(joined, one[column], equal_nan=column == "coc")


def test_samples_are_cut_from_the_pair_they_name(small: Small) -> None:
    config = small(datasets=["real"])
    columns = SampleReader(plan_run(config), 0, 1)({"step": np.array([0, 1, 2])})
    version = open_version(locate(config.root), "real")
    pairs = {
        pair_id: version.read_pair("train", i)
        for i, pair_id in enumerate(version.pair_ids("train"))
    }
    assert columns["index"].tolist() == list(range(12))
    for pair_id, (left, right, target) in zip(columns["pair_id"], columns["pictures"], strict=True):
        pair = pairs[pair_id.removeprefix("real@v1/")]
        assert pair.target is not None
        assert np.isin(target, pair.target).all()  # 16-bit noise: values tell where they are from
        views = np.stack([left, right]).astype(int) - target
        assert set(np.unique(views[0])) | set(np.unique(views[1])) == {
            8191,
            int(pair.pair_id[-2:]),
        }


def test_the_radius_comes_with_its_patch_where_it_is_known_and_only_when_asked_for(
    small: Small,
) -> None:
    config = small(datasets=["known", "soft"], batch_size=12, exchange_views=0.5)
    write_version(
        config.root,
        "known",
        "v1",
        [make_pair("known", "train", i, with_coc=True) for i in range(3)],
    )
    plan = plan_run(config)
    batch = next(local_batches(plan, 0, 1, 0, 1))
    assert batch.coc is not None and batch.coc.shape == (12, 1, 32, 32)
    signs = set()
    for name, target, coc in zip(batch.pair_id, as_float(batch.target), batch.coc, strict=True):
        if name.startswith("soft"):
            assert coc.isnan().all()
            continue
        signs.add(float(coc[0, 0, 0].sign()))
        np.testing.assert_allclose(coc[0].abs(), target[0] * 255 / 64, rtol=2e-3)
    assert signs == {-1.0, 1.0}
    for off in (
        replace(config, disparity_loss=0.0),
        replace(config, model="nano", network={"coc_readout": False}),
        replace(config, model="nano", network={"single_picture": True}),
        replace(config, model="nano", network={"psf_blocks": 0}),
        replace(config, model="nano", network={"form": "paper"}),
    ):
        plain = next(local_batches(plan_run(off), 0, 1, 0, 1))
        assert plain.coc is None
        assert np.array_equal(plain.left, batch.left)
    own = plan_run(replace(config, model="nano", network={}))
    assert next(local_batches(own, 0, 1, 0, 1)).coc is not None


def test_a_damaged_radius_is_named(small: Small) -> None:
    config = small(datasets=["known"])
    pair = make_pair("known", "train", 0, with_coc=True)
    object.__setattr__(pair, "coc", pair.coc[1:])  # type: ignore[index]
    write_version(config.root, "known", "v1", [pair])
    with pytest.raises(UserError, match=r"known@v1.*train-00: damaged coc"):
        SampleReader(plan_run(config), 0, 1, with_coc=True)({"step": np.array([0])})


def test_eight_bits_lie_on_the_sixteen_bit_scale_exactly() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(as_16_bit(values) / 65535.0, values / 255.0)
    deep = np.array([0, 1, 257, 65535], np.uint16)
    assert np.array_equal(as_16_bit(deep), deep)


def test_batches_are_pictures_in_0_1(small: Small) -> None:
    plan = plan_run(small())
    batch = next(local_batches(plan, 1, 3, 5, 6))
    assert batch.index == [21]
    assert batch.left.shape == (1, 3, 32, 32)
    columns = SampleReader(plan, 1, 3)({"step": np.array([5])})
    for view, tensor in enumerate(map(as_float, (batch.left, batch.right, batch.target))):
        expected = columns["pictures"][0, view].transpose(2, 0, 1) / 65535.0
        np.testing.assert_allclose(tensor[0].numpy(), expected, atol=1e-7)


def test_a_full_cache_changes_nothing(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_run(small())
    steps = np.arange(8)
    kept = SampleReader(plan, 0, 1)({"step": steps})
    monkeypatch.setattr(reader_module, "CACHE_BYTES", 20_000)  # room for one pair
    evicting = SampleReader(plan, 0, 1)
    assert np.array_equal(evicting({"step": steps})["pictures"], kept["pictures"])
    assert len(evicting._cache) == 1


@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    bits=st.sampled_from([8, 16]),
    patch=st.sampled_from([16, 32, 64]),
    grey=st.booleans(),
    seed=st.integers(0, 2**16),
    old=st.booleans(),
)
def test_a_patch_that_is_read_alone_is_the_one_that_is_cut_from_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int],
    bits: int,
    patch: int,
    grey: bool,
    seed: int,
    old: bool,
) -> None:
    """Whatever its place, its flips, what continues a small picture, and the version's schema."""
    root = str(tmp_path_factory.mktemp("root"))
    pairs = [make_pair("p", "train", n, size=size, bits=bits, with_coc=n > 0) for n in range(2)]
    for pair in pairs if grey else ():
        for picture in (pair.left, pair.right, pair.target):
            assert picture is not None
            picture[..., 1:] = picture[..., :1]
    write_version(root, "p", "v1", pairs)
    config = TrainConfig(
        root=root, datasets=["p"], model="nano", patch=patch, seed=seed, batch_size=6,
        exchange_views=0.5, recolour=0.5, same_views=0.2, noise=0.1,
    )  # fmt: skip
    steps = {"step": np.array([0, 1])}
    whole = SampleReader(plan_run(config), 0, 1, with_coc=True)(steps)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reader_module, "CACHE_BYTES", 0)
        if old:
            patched.setattr(reader_module, "index_of", lambda _: None)
        else:
            patched.delattr(reader_module, "read_training_pair")
        parts = SampleReader(plan_run(config), 0, 1, with_coc=True)(steps)
    for column in whole:
        assert np.array_equal(whole[column], parts[column], equal_nan=column == "coc"), column


def test_a_damaged_strip_is_named(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(datasets=["real"])
    version = open_version(locate(config.root), "real")
    location = version.shards("train")[0].location
    data = bytearray(location.read_bytes())
    for place in range(100, len(data) * 3 // 4, 50):
        data[place] ^= 1
    location.write_bytes(bytes(data))
    monkeypatch.setattr(reader_module, "CACHE_BYTES", 0)
    with pytest.raises(UserError, match=r"real@v1.*train-0\d, left: damaged"):
        SampleReader(plan_run(config), 0, 1)({"step": np.array([0])})


def test_a_pair_without_a_target_is_named(tmp_path: Path) -> None:
    pair = make_pair("views", "train", 0)
    object.__setattr__(pair, "target", None)
    write_version(str(tmp_path), "views", "v1", [pair])
    with pytest.raises(ValueError, match="views@v1/train-00 has no target"):
        read_training_pair(open_version(locate(str(tmp_path)), "views"), 0)
