"""A run goes on where it was carried to."""

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import k3dn
from pipelines.errors import UserError
from pipelines.training.bare import train_here
from pipelines.training.batch import Batch
from pipelines.training.carry import InConfig, OutConfig, carry_in, carry_out
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.keeper import WEIGHTS, read_best
from pipelines.training.live.source import LiveBatches
from pipelines.training.loop import fit
from pipelines.training.plan import RunPlan, claim, plan_run
from pipelines.training.record import read_samples

CPU = torch.device("cpu")
NETWORK = {"width": 4, "disparity_channels": 8, "psf_blocks": 1}


class Killed(BaseException):
    """Stands for the end of a machine."""


def ends_at(step: int) -> Callable[..., Generator[Batch, None, None]]:
    def batches(
        plan: RunPlan, rank: int, world_size: int, start: int, stop: int | None
    ) -> Generator[Batch, None, None]:
        source = LiveBatches(CPU)(plan, rank, world_size, start, stop)
        for number, batch in enumerate(source, start):
            if number == step:
                raise Killed
            yield batch

    return batches


def test_a_run_goes_on_elsewhere(live: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = live(name="away-1", ema=0.9, val_every=4, max_val_pairs=1)
    plan = plan_run(config)
    claim(plan)
    with pytest.raises(Killed):
        fit(plan, ProcessContext(), ends_at(7))
    carried, elsewhere = tmp_path / "carried", tmp_path / "elsewhere"
    keys = {"name": "away", "root": config.root, "to": str(carried)}
    files = carry_out(OutConfig(**keys, part_mib=0.01))
    assert [f.name for f in files][:2] == ["away.safetensors", "state-00.part"] and len(files) > 2
    assert all(file.stat().st_size <= 0.01 * 2**20 for file in files[1:])
    assert carry_in(InConfig(folder=str(carried), root=str(elsewhere))) == ["away-1"]
    assert read_best(plan_run(replace(config, root=str(elsewhere))).folder) == read_best(
        plan.folder
    )
    there = replace(config, root=str(elsewhere))
    train_here(there)
    train_here(config)  # what was not carried away goes on as well
    found, expected = (
        k3dn.load_weights(plan_run(c).folder.child(WEIGHTS).local_path(), config.model).state_dict()
        for c in (there, config)
    )
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.02, atol=1e-3)
    samples = read_samples(plan_run(there).folder)
    assert samples == read_samples(plan.folder)
    assert [index for index, _ in samples] == list(range(config.steps * config.batch_size))


def test_what_cannot_be_carried_is_said(
    live: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = live(name="whole", steps=2, max_val_pairs=1)
    train_here(config)
    keys = {"name": "whole", "root": config.root, "to": str(tmp_path / "to")}
    (weights,) = carry_out(OutConfig(**keys, most_mib=0.01))
    assert k3dn.load_weights(weights, config.model) is not None
    assert "left here" in capsys.readouterr().out
    with pytest.raises(UserError, match="there is no run other"):
        carry_out(OutConfig(name="other", root=config.root, to=str(tmp_path)))
    with pytest.raises(UserError, match="does not hold a complete run"):
        carry_in(InConfig(folder=str(tmp_path), root=config.root))


def test_weights_larger_than_a_part_are_rounded(
    live: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = live(name="large", model="nano", network=NETWORK, steps=1, max_val_pairs=1)
    train_here(config)
    keys = {"name": "large", "root": config.root, "to": str(tmp_path / "to")}
    weights = carry_out(OutConfig(**keys, part_mib=0.2))[0]
    best = Path(config.root, "_runs", "large", "best.safetensors")
    assert weights.stat().st_size < 0.6 * best.stat().st_size
    found, expected = (k3dn.load_weights(file).state_dict() for file in (weights, best))
    for name, value in expected.items():
        torch.testing.assert_close(found[name].float(), value, rtol=1e-3, atol=1e-4)
