"""The learner against a plain loop, number by number: AdamW, rate, clipping, average, shares.

The loop knows the whole batch, one process and the textbook's formulas; its loss is a mean of
squares. In double precision, so that what differs is a mistake and not rounding.
"""

import copy
import math
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipelines.storage import Location, locate
from pipelines.training.checkpoint import complete_steps
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.keeper import OUTCOME, WEIGHTS
from pipelines.training.learner import Learner, as_values
from pipelines.training.loader import Batch, local_batches
from pipelines.training.loop import fit
from pipelines.training.order import rank_slice
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows, read_samples
from tests.pipelines.training.conftest import NETWORKS
from tests.pipelines.training.versions import write_small_datasets

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


def short(root: str) -> TrainConfig:
    return TrainConfig(
        root=root,
        datasets=["soft"],
        model=f"{NETWORKS}:tiny",
        name="run",
        steps=4,
        patch=32,
        batch_size=3,
        warmup_steps=1,
        log_every=2,
        checkpoint_every=2,
        val_every=2,
    )


def _work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    wrote: list[str] = []
    write = Location.write_bytes

    def write_and_tell(self: Location, data: bytes) -> None:
        wrote.append(self.url)
        write(self, data)

    try:
        config = replace(CONFIG, num_workers=2)
        found = [learned(replace(config, accumulate=parts)) for parts in (1, 2)]
        normalised = learned(replace(config, model=f"{NETWORKS}:normalised"))[1]
        Location.write_bytes = write_and_tell  # type: ignore[method-assign]
        fit(plan_run(short(folder)), ProcessContext(), local_batches)
        torch.save((found, wrote, normalised), Path(folder, f"{rank}.pt"))
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Two processes that learn from two pairs and three, and then train a short run."""
    folder = tmp_path_factory.mktemp("two")
    write_small_datasets(str(folder))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_work, (port, str(folder)), nprocs=2)
    return folder, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_two_workers_of_uneven_shares_train_as_a_plain_loop(
    two_workers: tuple[Path, list[Any]],
) -> None:
    for found, _, _ in two_workers[1]:
        for rows, weights, average in found:
            check((rows, weights, average), CONFIG)
            assert [row["stop"] for row in rows] == [1.0] * STEPS  # one of the two said so


def test_statistics_over_batches_are_the_mean_of_the_workers(
    two_workers: tuple[Path, list[Any]],
) -> None:
    """The loop over the workers' own batches is this test's own."""
    (_, _, first), (_, _, second) = two_workers[1]
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for batch in batches():
        parts = [rank_slice(PAIRS, rank, 2) for rank in range(2)]
        views = [batch.left[part.start : part.stop] for part in parts]
        means = [view.mean(dim=(0, 2, 3)) for view in views]
        variances = [view.var(dim=(0, 2, 3)) for view in views]
        mean = mean + 0.1 * (sum(means) / 2 - mean)
        variance = variance + 0.1 * (sum(variances) / 2 - variance)
    for weights in (first, second):
        torch.testing.assert_close(weights["norm.running_mean"], mean)
        torch.testing.assert_close(weights["norm.running_var"], variance)


def test_one_of_two_workers_writes(two_workers: tuple[Path, list[Any]]) -> None:
    folder, ((_, first, _), (_, second, _)) = two_workers
    assert second == []
    run = locate(str(folder)).child("_runs", "run")
    assert {run.child(WEIGHTS).url, run.child(OUTCOME).url} <= set(first)
    assert complete_steps(run) == [4, 2]
    assert [index for index, _ in read_samples(run)] == list(range(12))
    assert [row["step"] for row in read_rows(run) if "loss" in row] == [2, 4]
