"""The learner against a plain loop, number by number: AdamW, rate, clipping, average, shares.

The loop knows the whole batch, one process and the textbook's formulas; its loss is a mean of
squares. In double precision, so that what differs is a mistake and not rounding.
"""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.learner import Learner, as_values
from pipelines.training.loader import Batch
from pipelines.training.order import rank_slice
from tests.pipelines.training.conftest import NETWORKS

PAIRS, STEPS, WARM_UP = 5, 7, 3
CONFIG = TrainConfig(
    model=f"{NETWORKS}:doubled",
    deblur_loss="l2",
    batch_size=PAIRS,
    num_workers=1,
    steps=STEPS,
    lr=0.02,
    weight_decay=0.3,
    warmup_steps=WARM_UP,
    grad_clip=0.05,
    ema=0.2,
)
Rows = list[dict[str, float]]
Weights = dict[str, Tensor]


def batches() -> list[Batch]:
    """Of very different gradients, so that clipping some and not others shows."""
    torch.manual_seed(7)
    found = []
    for step in range(STEPS):
        left, right, target = torch.rand(3, PAIRS, 3, 16, 20, dtype=torch.float64)
        target = (0.5 * (left + right) + 0.3 * (step % 4) * target) / (1 + step)
        found.append(Batch(list(range(PAIRS)), list("abcde"), left, right, target, None))
    return found


def plain_loop(network: nn.Module, config: TrainConfig) -> tuple[Rows, Weights, Weights]:
    """Train the network; return what each step gives, its weights and their average."""
    weights = dict(network.named_parameters())
    first = {name: torch.zeros_like(value) for name, value in weights.items()}
    second = copy.deepcopy(first)
    average = {name: value.detach().clone() for name, value in weights.items()}
    rows = []
    for step, batch in enumerate(batches()):
        loss = (network(batch.left, batch.right) - batch.target).square().mean()
        grads = torch.autograd.grad(loss, list(weights.values()))
        norm = math.sqrt(sum(float(grad.square().sum()) for grad in grads))
        if step < WARM_UP:
            rate = config.lr * (step + 1) / WARM_UP
        else:
            rate = config.lr * math.cos(math.pi / 2 * (step - WARM_UP) / (STEPS - WARM_UP)) ** 2
        kept = min(config.ema, (1 + step) / (10 + step)) if config.ema else 0.0
        for (name, weight), grad in zip(weights.items(), grads, strict=True):
            clipped = (
                grad * min(1.0, config.grad_clip / (norm + 1e-6)) if config.grad_clip else grad
            )
            first[name] = 0.9 * first[name] + 0.1 * clipped
            second[name] = 0.999 * second[name] + 0.001 * clipped**2
            mean = first[name] / (1 - 0.9 ** (step + 1))
            spread = (second[name] / (1 - 0.999 ** (step + 1))).sqrt()
            with torch.no_grad():
                weight -= rate * (config.weight_decay * weight + mean / (spread + 1e-8))
            average[name] = kept * average[name] + (1 - kept) * weight.detach()
        rows.append({"loss": float(loss), "grad_norm": norm})
    return rows, {name: value.detach() for name, value in weights.items()}, average


def learned(config: TrainConfig) -> tuple[Rows, Weights, Weights]:
    """The same by the learner, on this worker's shares."""
    context = ProcessContext()
    learner = Learner(config, context, None)
    rows = []
    for step, batch in enumerate(batches()):
        places = rank_slice(PAIRS, context.rank, context.world_size)
        part = slice(places.start, places.stop)
        share = [pictures[part] for pictures in (batch.left, batch.right, batch.target)]
        own = Batch(batch.index[part], batch.pair_id[part], *share, None)
        rows.append(as_values(learner.step(step, own, stop=context.rank == 1)))
    state = learner.state()
    return rows, state["model"], state.get("average", state["model"])


def check(found: tuple[Rows, Weights, Weights], config: TrainConfig) -> None:
    expected = plain_loop(Learner(config, ProcessContext(), None).network.requires_grad_(), config)
    for row, true in zip(found[0], expected[0], strict=True):
        for name, value in true.items():
            # The learner adds losses up in single precision.
            assert row[name] == pytest.approx(value, rel=1e-6), name
    for weights, true_weights in zip(found[1:], expected[1:], strict=True):
        assert weights.keys() == true_weights.keys()
        for name, value in true_weights.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"ema": 0.0}, {"grad_clip": 0.0}])
def test_it_trains_as_a_plain_loop(changes: dict[str, Any]) -> None:
    config = replace(CONFIG, **changes)
    check(learned(config), config)


def test_the_batches_show_what_they_are_for() -> None:
    """Some gradients are clipped and some are not; the average is shorter at first."""
    rows, weights, average = plain_loop(Learner(CONFIG, ProcessContext(), None)._model, CONFIG)
    norms = [row["grad_norm"] for row in rows]
    assert min(norms) < CONFIG.grad_clip / 2 and max(norms) > 2 * CONFIG.grad_clip
    assert 1 / 10 < CONFIG.ema < STEPS / (9 + STEPS)
    assert any(not torch.allclose(weights[name], average[name]) for name in weights)
