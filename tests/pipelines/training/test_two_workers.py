"""Two workers of uneven shares, in processes of their own that all tests here share."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pipelines.storage import Location, locate
from pipelines.training.checkpoint import complete_steps
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.keeper import OUTCOME, WEIGHTS
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.order import rank_slice
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows, read_samples
from tests.pipelines.training.conftest import NETWORKS
from tests.pipelines.training.test_learner import SMALL, check_equal, two_steps
from tests.pipelines.training.test_plain_loop import (
    CONFIG,
    PAIRS,
    STEPS,
    batches,
    check,
    learned,
)
from tests.pipelines.training.versions import write_small_datasets

pytestmark = pytest.mark.slow  # two processes import torch
IN_PARTS = replace(SMALL, num_workers=2, reblur_every=2)


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
        in_parts = {n: two_steps(replace(IN_PARTS, accumulate=n)) for n in (1, 2, 3)}
        torch.save((found, wrote, normalised, in_parts), Path(folder, f"{rank}.pt"))
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
    for found, _, _, _ in two_workers[1]:
        for rows, weights, average in found:
            check((rows, weights, average), CONFIG)
            assert [row["stop"] for row in rows] == [1.0] * STEPS  # one of the two said so


def test_two_workers_with_uneven_shares_in_parts_give_the_gradient_of_the_whole(
    two_workers: tuple[Path, list[Any]],
) -> None:
    """Two pairs and three; in two or three parts each, of which one worker has no third."""
    expected = two_steps(IN_PARTS)
    for _, _, _, in_parts in two_workers[1]:
        for found in in_parts.values():
            check_equal(found, expected)


def test_statistics_over_batches_are_the_mean_of_the_workers(
    two_workers: tuple[Path, list[Any]],
) -> None:
    """The loop over the workers' own batches is this test's own."""
    (_, _, first, _), (_, _, second, _) = two_workers[1]
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
    folder, ((_, first, _, _), (_, second, _, _)) = two_workers
    assert second == []
    run = locate(str(folder)).child("_runs", "run")
    assert {run.child(WEIGHTS).url, run.child(OUTCOME).url} <= set(first)
    assert complete_steps(run) == [4, 2]
    assert [index for index, _ in read_samples(run)] == list(range(12))
    assert [row["step"] for row in read_rows(run) if "loss" in row] == [2, 4]
