"""What a GPU would do, without one: torch's fake tensors know devices, and have no values.

On them an operation that mixes devices fails, and so does whatever asks for a value, which on a GPU
would wait for it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pipelines.live import pairs as live_pairs
from pipelines.live.pack import pack_bytes, read_pack
from pipelines.live.scenes import LiveScenes, Unexposed
from pipelines.live.vary import draw_variation
from pipelines.training.batch import Batch
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.learner import VALUES, Learner
from synth import camera_pair
from synth.lens import LensKernels
from synth.render import batched
from tests.pipelines.live.conftest import SMALL, packed

GPU = torch.device("cuda")
NETWORK = {"width": 4, "disparity_channels": 8, "psf_blocks": 1}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def test_the_fakes_see_what_waits_and_what_mixes_devices(fake: None) -> None:
    there = torch.ones(3, device=GPU)
    for asks in (lambda: float(there.sum()), lambda: there.tolist(), lambda: there + torch.ones(3)):
        with pytest.raises(Exception, match=r"(?i)data.?dependent|device"):
            asks()


@pytest.mark.parametrize(
    "keys",
    [
        {"precision": "bf16", "ema": 0.9, "grad_clip": 0.5, "lambda_1": 0.1, "accumulate": 2},
        {"precision": "fp32", "channels_last": True, "train_only": []},
    ],
)
def test_a_step_of_training_waits_for_nothing(fake: None, keys: dict[str, Any]) -> None:
    config = TrainConfig(network=NETWORK, batch_size=2, num_workers=1, patch=32, **keys)
    learner = Learner(config, ProcessContext(GPU), None)
    left, right, target = torch.zeros(3, 2, 32, 32, 3, dtype=torch.int16, device=GPU).movedim(4, 2)
    coc = torch.zeros(2, 1, 32, 32, dtype=torch.float16, device=GPU)
    values = learner.step(0, Batch([0, 1], ["a", "b"], left, right, target, coc))
    assert values.shape == (len(VALUES),) and values.device.type == "cuda"


def some(count: int) -> list[Unexposed]:
    data = pack_bytes([packed("one", "train", 1), packed("two", "train", 2)])
    scenes = LiveScenes(read_pack(data, where=""), SMALL, seed=1, split="train")
    return [scenes.take(position, (32, 48)) for position in range(count)]


def test_tiles_are_rendered_without_a_look_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of radii, asked for once a batch, are made here; tiles and kernels there."""
    items = some(2)
    lenses = [camera_pair._lens(item.shot, None) for item in items]
    real, calls = batched._render_tiles, []

    def render_tiles(
        maps: Tensor, chosen: Any, groups: Any, transfers: Any, tiling: Any, **keys: Any
    ) -> Tensor:
        with FakeTensorMode(allow_non_fake_inputs=True):
            there = batched._Transfers(
                LensKernels(lenses, GPU),
                torch.arange(2, device=GPU),
                transfers._radii.numpy(force=True),
                tiling,
                GPU,
            )
            shown = real(torch.empty(maps.shape, device=GPU), chosen, groups, there, tiling, **keys)
            calls.append(tiling.joined(shown).device.type)
        return real(maps, chosen, groups, transfers, tiling, **keys)

    monkeypatch.setattr(batched, "_render_tiles", render_tiles)
    light, coc_px = (
        torch.stack(
            [torch.from_numpy(item.srgb / 65535.0).float().movedim(2, 0) for item in items]
        ),
        torch.stack([torch.from_numpy(item.coc_px) for item in items]),
    )
    batched.render_batch(light, coc_px, LensKernels(lenses), together=True)
    assert calls and set(calls) == {"cuda"}


def test_pictures_are_read_out_without_a_look_at_them(
    monkeypatch: pytest.MonkeyPatch, fake: None
) -> None:
    """Sensor, tone curve, JPEG and variations, for pairs with and without filters and JPEG."""
    items = some(12)
    assert {item.shot.sensor.demosaicing != "none" for item in items} == {True, False}
    assert {item.shot.views.jpeg_quality is None for item in items} == {True, False}

    def render(light: Tensor, coc_px: Tensor, lenses: Any, *, together: bool) -> Tensor:
        assert together and light.device.type == coc_px.device.type == "cuda"
        return light[:, None].repeat(1, 2, 1, 1, 1)

    monkeypatch.setattr(camera_pair, "_render", render)
    monkeypatch.setattr(
        live_pairs, "_streams", lambda items, device: [torch.Generator() for _ in items]
    )
    keys = {"exchange_views": 0.5, "recolour": 0.5, "same_views": 0.3}
    varied = [draw_variation(np.random.default_rng(n), **keys) for n in range(len(items))]
    levels, coc_px = live_pairs.make_pairs(items, varied, GPU)
    assert levels.shape == (12, 3, 3, 32, 48) and coc_px.shape == (12, 32, 48)
    assert levels.device.type == coc_px.device.type == "cuda"
