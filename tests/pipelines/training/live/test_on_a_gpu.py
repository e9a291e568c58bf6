"""What a GPU would do, without one: torch's meta tensors are on no CPU and have no values.

On them an operation that mixes devices fails, and so does whatever asks for a value, which on a GPU
would wait for it. What a whole step of training asks for is counted on the CPU.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import k3dn
from k3dn import shapes
from pipelines.training.batch import Batch, as_float
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.learner import VALUES, Learner
from pipelines.training.live import pairs as live_pairs
from pipelines.training.live.pack import pack_bytes, read_pack
from pipelines.training.live.scenes import LiveScenes, Unexposed
from pipelines.training.live.vary import draw_variation
from synth import camera_pair
from synth.lens import LensKernels
from synth.render import batched
from tests.pipelines.training.live.conftest import SMALL, packed

GPU = torch.device("meta")
NETWORK = {"width": 4, "disparity_channels": 8, "psf_blocks": 1}
ASKS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "_unique2", "masked_select")
"""Operators that give a value, or a shape that values decide, to the program."""


def test_meta_tensors_tell_what_waits_and_what_mixes_devices() -> None:
    there = torch.ones(3, device=GPU)
    for asks in (
        lambda: float(there.sum()),
        lambda: there.tolist(),
        lambda: there.numpy(),
        lambda: there.nonzero(),
        lambda: there + torch.ones(3),
    ):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            asks()


class Asked(TorchDispatchMode):
    """Keeps the names of the operators that give values to the program."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.operators = 0

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.operators += 1
        self.seen += [name] * (name in ASKS)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "keys",
    [
        {"precision": "bf16", "ema": 0.9, "grad_clip": 0.5, "lambda_1": 0.1, "accumulate": 2},
        {"precision": "fp32", "channels_last": True, "lambda_1": 0.0},
    ],
)
def test_a_step_of_training_asks_for_nothing(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "may_look_at", lambda picture: False)  # as on a GPU
    config = TrainConfig(network=NETWORK, batch_size=2, num_workers=1, patch=32, **keys)
    learner = Learner(config, ProcessContext(), None)
    left, right, target = torch.zeros(3, 2, 32, 32, 3, dtype=torch.int16).movedim(4, 2)
    coc = torch.zeros(2, 1, 32, 32, dtype=torch.float16)
    with Asked() as asked:
        values = learner.step(0, Batch([0, 1], ["a", "b"], left, right, target, coc))
        assert asked.seen == []
        float(values[0])
    assert asked.seen == ["_local_scalar_dense"] and asked.operators > 500
    assert values.shape == (len(VALUES),)


@pytest.mark.parametrize("model", ["nano", "tiny"])
def test_network_and_losses_stay_on_one_device(model: str) -> None:
    network = k3dn.build_model(model, {} if model == "tiny" else NETWORK).to(GPU)
    objective = k3dn.TrainingObjective(network, 0.1, disparity_loss=0.2)
    pictures = torch.zeros(3, 1, 3, 64, 64, dtype=torch.int16, device=GPU)
    coc = torch.zeros(1, 1, 64, 64, dtype=torch.float16, device=GPU)
    loss = objective(*(as_float(p) for p in pictures), as_float(coc), reblur=True)
    assert {term.device.type for term in loss} == {"meta"}
    loss.total.backward()
    assert all(p.grad is None or p.grad.is_meta for p in network.parameters())


def test_pictures_are_looked_at_but_in_training_elsewhere() -> None:
    class Elsewhere:
        is_meta, device = False, torch.device("cuda")

    elsewhere: Any = Elsewhere()
    assert shapes.may_look_at(torch.zeros(1))
    assert not shapes.may_look_at(elsewhere) and not shapes.may_look_at(torch.zeros(1, device=GPU))
    with torch.no_grad():
        assert shapes.may_look_at(elsewhere)


def some(count: int) -> list[Unexposed]:
    data = pack_bytes([packed("one", "train", 1), packed("two", "train", 2)])
    scenes = LiveScenes(read_pack(data, where=""), SMALL, seed=1, split="train")
    return [scenes.take(position, (32, 48)) for position in range(count)]


def test_tiles_are_rendered_without_a_look_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of radii, asked for once a batch, are made here; tiles and kernels there."""
    items = some(6)
    lenses = [camera_pair._lens(item.shot, None) for item in items]
    assert len({item.shot.family for item in items}) > 1  # kernels of several kinds
    real, calls, plain = batched._render_tiles, [], LensKernels(lenses)

    def render_tiles(
        maps: Tensor, chosen: Any, groups: Any, transfers: Any, tiling: Any, **keys: Any
    ) -> Tensor:
        numbers = torch.arange(6)
        radii = transfers._radii.numpy(force=True)
        there = batched._Transfers(LensKernels(lenses, GPU), numbers, radii, tiling, GPU)
        shown = real(torch.empty(maps.shape, device=GPU), chosen, groups, there, tiling, **keys)
        calls.append(tiling.joined(shown).device.type)
        return real(maps, chosen, groups, transfers, tiling, **keys)

    monkeypatch.setattr(batched, "_render_tiles", render_tiles)
    light = torch.from_numpy(np.stack([item.srgb / 65535.0 for item in items])).float()
    coc_px = torch.from_numpy(np.stack([item.coc_px for item in items]))
    batched.render_batch(light.movedim(3, 1), coc_px, plain, together=True)
    assert calls and set(calls) == {"meta"}


def test_pictures_are_read_out_without_a_look_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sensor, tone curve, JPEG and variations, for pairs with and without filters and JPEG."""
    items = some(12)
    assert {item.shot.sensor.demosaicing != "none" for item in items} == {True, False}
    assert {item.shot.views.jpeg_quality is None for item in items} == {True, False}

    def render(light: Tensor, coc_px: Tensor, lenses: Any, *, together: bool) -> Tensor:
        assert together and light.device.type == coc_px.device.type == "meta"
        return light[:, None].repeat(1, 2, 1, 1, 1)

    monkeypatch.setattr(camera_pair, "_render", render)
    monkeypatch.setattr(
        live_pairs, "_streams", lambda items, device: [torch.Generator() for _ in items]
    )
    keys = {"exchange_views": 0.5, "recolour": 0.5, "same_views": 0.3}
    varied = [draw_variation(np.random.default_rng(n), **keys) for n in range(len(items))]
    levels, coc_px = live_pairs.make_pairs(items, varied, GPU)
    assert levels.shape == (12, 3, 3, 32, 48) and coc_px.shape == (12, 32, 48)
    assert levels.device.type == coc_px.device.type == "meta"
