"""The loop without Ray: stopping and going on changes nothing, divergence stops cleanly."""

import math
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
import pytest
import torch

import k3dn
from pipelines.dataset.version import open_version
from pipelines.training.batch import Batch, as_float
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.keeper import BEST, OUTCOME, WEIGHTS, read_best
from pipelines.training.learner import Learner, as_values, learning_rate
from pipelines.training.loader import local_batches
from pipelines.training.loop import Outcome, fit, read_outcome
from pipelines.training.plan import RunPlan, plan_run
from pipelines.training.record import read_rows, read_samples
from pipelines.training.validation import Held, Validation, held_out
from tests.pipelines.training.conftest import NETWORKS
from tests.pipelines.training.versions import make_pair, write_version

Small = Callable[..., TrainConfig]


class Killed(BaseException):
    """Stands for the end of a process."""


def killed_at(step: int):  # type: ignore[no-untyped-def]
    def batches(
        plan: RunPlan, rank: int, world_size: int, start: int, stop: int
    ) -> Generator[Batch, None, None]:
        for number, batch in enumerate(local_batches(plan, rank, world_size, start, stop), start):
            if number == step:
                raise Killed
            yield batch

    return batches


def weights(plan: RunPlan) -> dict[str, torch.Tensor]:
    path = plan.folder.child(WEIGHTS).local_path()
    assert path is not None
    return k3dn.load_weights(path, plan.config.model).state_dict()


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_that_was_killed_ends_as_one_that_was_not(small: Small, ema: float) -> None:
    whole = plan_run(small(name="whole", ema=ema))
    outcome = fit(whole, ProcessContext(), local_batches)
    broken = plan_run(small(name="broken", ema=ema))
    for step in (3, 11, 13):  # before the first checkpoint, behind the second, again there
        with pytest.raises(Killed):
            fit(broken, ProcessContext(), killed_at(step))
        assert read_outcome(broken.folder) is None
    assert fit(broken, ProcessContext(), local_batches) == outcome
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(broken)[key])
    samples = read_samples(whole.folder)
    assert [index for index, _ in samples] == list(range(14 * 4))
    assert read_samples(broken.folder) == samples

    def losses(plan: RunPlan) -> dict[int, float]:
        return {row["step"]: row["loss"] for row in read_rows(plan.folder) if "loss" in row}

    assert list(losses(whole)) == [2, 4, 6, 8, 10, 12, 14]
    assert losses(broken).keys() >= losses(whole).keys() - {12}
    for step in losses(broken).keys() & {2, 4, 6, 8, 14}:
        assert losses(broken)[step] == losses(whole)[step]


def test_killed_between_the_last_checkpoint_and_the_end(small: Small) -> None:
    plan = plan_run(small())
    outcome = fit(plan, ProcessContext(), local_batches)
    before = weights(plan)
    plan.folder.child(OUTCOME).delete()
    plan.folder.child(WEIGHTS).delete()
    assert fit(plan, ProcessContext(), local_batches) == outcome
    assert all(torch.equal(value, weights(plan)[key]) for key, value in before.items())


def test_it_learns(small: Small) -> None:
    outcome = fit(plan_run(small(steps=60)), ProcessContext(), local_batches)
    assert outcome.validation["val_psnr"] > outcome.validation["val_psnr_input"] + 1


def test_divergence_ends_the_run_and_keeps_the_weights(small: Small) -> None:
    plan = plan_run(small(model=f"{NETWORKS}:unstable", network={"at": 8}))
    outcome = fit(plan, ProcessContext(), local_batches)
    assert outcome == Outcome(status="diverged", step=7)
    assert not plan.folder.child(WEIGHTS).exists()
    assert read_rows(plan.folder)[-1]["event"] == "diverged"


def test_an_optimizer_step_that_is_not_finite_changes_nothing(small: Small) -> None:
    config = small()
    learner = Learner(config, ProcessContext(), None)
    batch = next(local_batches(plan_run(config), 0, 1, 0, 1))
    before = {key: value.clone() for key, value in learner.network.state_dict().items()}
    target = as_float(batch.target) * 1e30
    large = Batch(batch.index, batch.pair_id, batch.left, batch.right, target)
    values = as_values(learner.step(0, large))
    assert not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"]))
    assert all(
        torch.equal(value, before[key]) for key, value in learner.network.state_dict().items()
    )


def test_samples_out_of_order_are_refused(small: Small) -> None:
    def shifted(
        plan: RunPlan, rank: int, world_size: int, start: int, stop: int
    ) -> Generator[Batch, None, None]:
        yield from local_batches(plan, rank, world_size, start + 1, stop)

    with pytest.raises(RuntimeError, match=r"\[4, 5, 6, 7\] arrived where \[0, 1, 2, 3\]"):
        fit(plan_run(small()), ProcessContext(), shifted)


def test_the_rate_rises_and_falls() -> None:
    config = TrainConfig(lr=1.0, warmup_steps=4, steps=20)
    rates = [learning_rate(step, config) for step in range(21)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[12] == pytest.approx(0.5)
    assert rates[20] == pytest.approx(0.0)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_schedules() -> None:
    """Of ten steps, two of which rise."""
    constant, step = (
        [learning_rate(n, TrainConfig(lr=1.0, warmup_steps=2, steps=10, **keys)) for n in range(10)]  # type: ignore[arg-type]
        for keys in (
            {"schedule": "constant"},
            {"schedule": "step", "step_at": [0.5, 0.8], "step_factor": 0.5},
        )
    )
    assert constant == [0.5] + [1.0] * 9
    assert step == [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    by_clock = TrainConfig(lr=1.0, warmup_steps=0, seconds=60.0, schedule="step", step_at=[0.5])
    assert [learning_rate(7, by_clock, share) for share in (0.49, 0.51)] == [1.0, 0.1]
    # The clock says nothing of a run of so many steps.
    by_steps = TrainConfig(lr=1.0, warmup_steps=0, steps=10, schedule="step", step_at=[0.5])
    assert [learning_rate(4, by_steps, share) for share in (None, 0.9)] == [1.0, 1.0]


def test_validation_is_the_mean_over_whole_pictures(small: Small) -> None:
    config = small(steps=8, max_val_pairs=3)
    plan = plan_run(config)
    outcome = fit(plan, ProcessContext(), local_batches)
    path = plan.folder.child(WEIGHTS).local_path()
    assert path is not None
    network = k3dn.load_weights(path, config.model)
    psnr = []
    for name, row in (("soft", 0), ("soft", 1), ("real", 0)):
        pair = open_version(plan.root, name).read_pair("val", row)
        assert pair.target is not None
        peak = np.iinfo(pair.left.dtype).max
        views = [
            torch.tensor(v / peak).float().movedim(-1, 0)[None] for v in (pair.left, pair.right)
        ]
        with torch.no_grad():
            restored = network(*views)[0].movedim(0, -1).clamp(0, 1).numpy()
        error = np.mean((restored - pair.target / peak) ** 2)
        psnr.append(-10 * np.log10(error))
    assert outcome.validation["val_psnr"] == pytest.approx(np.mean(psnr), abs=1e-3)


def test_the_best_weights_so_far_are_kept_however_often_it_is_killed(small: Small) -> None:
    # A rate at which a network of this size goes up and down.
    config = small(steps=40, lr=0.3, warmup_steps=1, val_every=4, max_val_pairs=3)
    for name, kills in (("whole", ()), ("broken", (7, 18, 33))):
        plan = plan_run(replace(config, name=name))
        for step in kills:
            with pytest.raises(Killed):
                fit(plan, ProcessContext(), killed_at(step))
        fit(plan, ProcessContext(), local_batches)
        rows = [row for row in read_rows(plan.folder) if "val_psnr" in row]
        first_best = max(rows, key=lambda row: (row["val_psnr"], -row["step"]))
        best = read_best(plan.folder)
        assert best is not None and best["val_psnr"] == first_best["val_psnr"]
        assert best["step"] == first_best["step"] < 40
        kept = plan.folder.child(BEST).local_path()
        assert kept is not None
        network = k3dn.load_weights(kept, plan.config.model)
        again, _ = Validation(plan, ProcessContext()).measure(network)
        assert again["val_psnr"] == pytest.approx(best["val_psnr"], abs=1e-9)


def test_held_out_pairs_come_in_turns_and_spread(small: Small) -> None:
    plan = plan_run(small())
    assert held_out(plan.val_sources, 0) == []
    assert held_out(plan.val_sources, 3) == [Held(0, 0), Held(0, 1), Held(1, 0)]
    assert held_out(plan.val_sources, 99) == [Held(0, 0), Held(0, 1), Held(0, 2), Held(1, 0)]


def test_without_held_out_pairs_there_is_no_validation(small: Small) -> None:
    config = small(datasets=["only"])
    write_version(config.root, "only", "v1", [make_pair("only", "train", 0)])
    assert fit(plan_run(config), ProcessContext(), local_batches).validation == {}
